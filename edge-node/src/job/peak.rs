//! The most memory that a container had, as version 2 of control groups keeps it (`memory.peak`, from Linux 5.19 on).
//! Engines do not tell it.
//!
//! **What it does not know:** engines; version 1, whose peak they tell.

use super::inside::groups::without_ours;
use std::fs;
use std::path::{Component, Path};

/// Of the container with this first process, bytes; `None` where that is not known.
pub(super) fn peak_bytes(pid: i32) -> Option<u64> {
    peak_below(Path::new("/proc"), Path::new("/sys/fs/cgroup"), pid)
}

fn peak_below(proc: &Path, cgroups: &Path, pid: i32) -> Option<u64> {
    let text = fs::read_to_string(proc.join(pid.to_string()).join("cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // A job's processes can be in a group below the container's.
    let dir = Path::new(without_ours(path));
    // What is not below this agent's root has no name here.
    let is_plain = |part| matches!(part, Component::Normal(_));
    if path.is_empty() || !dir.components().all(is_plain) {
        return None;
    }
    let peak = fs::read_to_string(cgroups.join(dir).join("memory.peak")).ok()?;
    peak.trim().parse().ok()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_peak_is_the_whole_containers_and_nobody_elses() {
        let tree = tempfile::tempdir().unwrap();
        let (proc, cgroups) = (tree.path().join("proc"), tree.path().join("cgroup"));
        let container = cgroups.join("system.slice/docker-1.scope");
        fs::create_dir_all(container.join("nearlight-job")).unwrap();
        fs::write(container.join("memory.peak"), "734003200\n").unwrap();
        fs::write(container.join("nearlight-job/memory.peak"), "5\n").unwrap();
        fs::write(tree.path().join("memory.peak"), "9\n").unwrap();
        fs::write(cgroups.join("memory.peak"), "9\n").unwrap();
        fs::create_dir_all(cgroups.join("old")).unwrap();
        for (pid, groups, expected) in [
            (1, "0::/system.slice/docker-1.scope\n", Some(734_003_200)),
            (
                2,
                "0::/system.slice/docker-1.scope/nearlight-job\n",
                Some(734_003_200),
            ),
            (
                3,
                "5:pids:/docker/1\n0::/system.slice/docker-1.scope\n",
                Some(734_003_200),
            ),
            (4, "5:pids:/docker/1\n", None),
            (5, "0::/\n", None),
            (6, "0::/../..\n", None),
            (7, "0::/old\n", None),
        ] {
            let dir = proc.join(pid.to_string());
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("cgroup"), groups).unwrap();
            assert_eq!(peak_below(&proc, &cgroups, pid), expected, "{groups:?}");
        }
        assert_eq!(peak_below(&proc, &cgroups, 8), None, "it has ended");
    }
}
