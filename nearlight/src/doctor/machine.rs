//! The role programs, the port, cores and memory, limits of the kernel.

use super::Finding;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

/// Below so many cores an encoder and an app fight for one.
const CORES_MIN: usize = 2;
/// What one session of a built-in app claims at most, and the roles beside it.
const MEMORY_MIB_MIN: u64 = 2048;
/// 20 Mbit/s for a fifth of a second, twice: what a burst of key frames may wait in the socket.
const SOCKET_BUFFER_BYTES_MIN: u64 = 1 << 20;
/// A session holds about thirty descriptors in the agent.
const OPEN_FILES_MIN: u64 = 4096;

pub(super) fn programs() -> Finding {
    const SUBJECT: &str = "programs";
    let beside = std::env::current_exe().ok();
    let dir = beside
        .as_deref()
        .and_then(Path::parent)
        .unwrap_or(Path::new("."));
    let absent: Vec<_> = ["session-broker", "edge-node", "edge-worker"]
        .into_iter()
        .filter(|program| !dir.join(program).is_file())
        .collect();
    if absent.is_empty() {
        return Finding::ok(SUBJECT, "all roles are built");
    }
    Finding::missing(
        SUBJECT,
        format!("{} not in {}", absent.join(", "), dir.display()),
        "build them with `cargo build --release --locked`, or `make play`",
    )
}

pub(super) fn port(listen: SocketAddr) -> Finding {
    const SUBJECT: &str = "port";
    match TcpListener::bind(listen) {
        Ok(_free) => Finding::ok(SUBJECT, format!("{listen} is free")),
        Err(error) => Finding::hint(
            SUBJECT,
            format!("{listen}: {error}"),
            "a running `nearlight up` has it, or another program; choose another with --listen",
        ),
    }
}

pub(super) fn cores_and_memory() -> Finding {
    const SUBJECT: &str = "cores, memory";
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory_mib = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| field_kib(&text, "MemTotal:"))
        .map_or(0, |kib| kib / 1024);
    let found = format!("{cores} cores, {memory_mib} MiB");
    if cores < CORES_MIN || memory_mib < MEMORY_MIB_MIN {
        let advice = "one session at a time will be slow; two cores and 2 GiB are the least";
        return Finding::hint(SUBJECT, found, advice);
    }
    Finding::ok(SUBJECT, found)
}

pub(super) fn kernel_limits() -> Vec<Finding> {
    vec![socket_buffers(), open_files()]
}

fn socket_buffers() -> Finding {
    const SUBJECT: &str = "socket buffers";
    let read = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/core/{name}"));
        text.ok().and_then(|text| text.trim().parse::<u64>().ok())
    };
    match (read("rmem_max"), read("wmem_max")) {
        (Some(receive), Some(send)) if receive.min(send) < SOCKET_BUFFER_BYTES_MIN => {
            Finding::hint(
                SUBJECT,
                format!("{receive} bytes to receive, {send} to send"),
                "bursts may be lost at many sessions: sysctl -w net.core.rmem_max=4194304 net.core.wmem_max=4194304",
            )
        }
        (Some(receive), Some(send)) => Finding::ok(
            SUBJECT,
            format!("{receive} bytes to receive, {send} to send"),
        ),
        _ => Finding::hint(
            SUBJECT,
            "the kernel does not say",
            "nothing to do in a container",
        ),
    }
}

fn open_files() -> Finding {
    const SUBJECT: &str = "open files";
    use nix::sys::resource::{Resource, getrlimit};
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_soft, hard)) if hard < OPEN_FILES_MIN => Finding::hint(
            SUBJECT,
            format!("at most {hard}"),
            "many sessions need more: ulimit -Hn 65536, or LimitNOFILE in the service's unit",
        ),
        Ok((_soft, hard)) => Finding::ok(SUBJECT, format!("at most {hard}")),
        Err(error) => Finding::hint(SUBJECT, error.to_string(), "nothing to do"),
    }
}

/// The number after `name` in a file like /proc/meminfo.
fn field_kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:       24680436 kB\nMemFree: 1 kB\n";
        assert_eq!(field_kib(text, "MemTotal:"), Some(24_680_436));
        assert_eq!(field_kib(text, "Swap:"), None);
    }

    #[test]
    fn a_taken_port_is_a_hint_with_its_flag() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let finding = port(taken.local_addr().unwrap());
        assert_eq!(finding.verdict, Verdict::Hint);
        assert!(finding.advice.contains("--listen"));
    }
}
