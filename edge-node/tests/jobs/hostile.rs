//! A hostile job beside a neighbour that is asked all the while: what it can get is bounded, and its neighbour goes on.

use super::direct::call;
use super::support::jobs::{alone, docker, end_of, get, ready, served, site, stopped, traces};
use super::support::line::KEEPER;
use super::support::node::{Agent, Site, until};
use super::{NOTHING, container};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::id::SessionId;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Between two requests to the neighbour. Nothing depends on it.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// CPU time of both for which their shares are compared: many periods of the kernel's.
const COMPARED_NS: u64 = 2_000_000_000;
/// What the agent itself may write meanwhile: records, and how sessions ended.
pub(super) const SLACK: u64 = 1 << 20;

/// A job that is asked through its endpoint, one request after the other, until the test is over.
pub(super) struct Neighbour {
    pub(super) session: SessionId,
    pid: i32,
    was: Condition,
    answers: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    asking: JoinHandle<()>,
}

/// What of a container changes if anything happens to it.
#[derive(Debug, PartialEq)]
struct Condition {
    /// Its first process, when that was started, how often it was again, whether its memory was short.
    shown: String,
    /// The processes in it, and when the kernel started each.
    processes: Vec<(i32, String)>,
    memory_kills: u64,
}

impl Condition {
    fn of(session: &SessionId, pid: i32) -> Self {
        let format = "{{.Id}} {{.State.Pid}} {{.State.StartedAt}} {{.RestartCount}} {{.State.OOMKilled}} {{.State.Status}}";
        let shown = docker(&["inspect", "-f", format, &container(session)]).unwrap();
        let id = shown.split(' ').next().unwrap().to_owned();
        Self {
            processes: processes(&id),
            memory_kills: memory_kills(pid),
            shown,
        }
    }
}

impl Neighbour {
    pub(super) fn new(at: SocketAddr, site: &Site, session: SessionId) -> Self {
        let ticket = site.broker.ticket(&session);
        let (answers, over) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (count, stop, asked) = (answers.clone(), over.clone(), session.clone());
        // By a thread of the kit's own: the test's looks at containers meanwhile.
        let asking = KEEPER.spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let (status, env) = call(at, &asked, &ticket).await;
                assert!(status == 200 && env.contains("HOME="), "{status} {env}");
                count.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(ASK_EVERY).await;
            }
        });
        let format = ["inspect", "-f", "{{.State.Pid}}", &container(&session)];
        let pid = docker(&format).unwrap().parse().unwrap();
        Self {
            was: Condition::of(&session, pid),
            session,
            pid,
            answers,
            over,
            asking,
        }
    }

    /// How often it has to have answered before one request has come and gone from now on: the next answer may be of
    /// one that was on its way.
    pub(super) fn soon(&self) -> u64 {
        self.answers.load(Ordering::SeqCst) + 2
    }

    pub(super) fn has_answered(&self, soon: u64) -> bool {
        assert!(
            !self.asking.is_finished(),
            "it was asked, and did not answer"
        );
        self.answers.load(Ordering::SeqCst) >= soon
    }

    /// Does something again and again until it has answered meanwhile; what came of the first time.
    pub(super) async fn answers_during<T>(&self, attack: impl AsyncFn() -> T) -> T {
        let soon = self.soon();
        let first = attack().await;
        while !self.has_answered(soon) {
            attack().await;
        }
        first
    }

    /// It answers while something lasts.
    pub(super) async fn answers(&self) {
        let soon = self.soon();
        until("it answers", || self.has_answered(soon)).await;
    }

    /// Every request was answered, by the very process that was there before.
    pub(super) async fn unharmed(self) -> SessionId {
        self.answers().await;
        self.over.store(true, Ordering::SeqCst);
        self.asking.await.expect("every request is answered");
        assert_eq!(Condition::of(&self.session, self.pid), self.was);
        assert_eq!(self.was.memory_kills, 0);
        self.session
    }
}

/// Processes of this host that are in a container, and when the kernel started each.
pub(super) fn processes(container: &str) -> Vec<(i32, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // It may have ended by now.
        let read = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        if read("cgroup").contains(container) {
            // proc(5): field 22, counted from the end of the name, which may have anything in it.
            let stat = read("stat");
            let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
            found.push((pid, after.split(' ').nth(19).unwrap_or_default().to_owned()));
        }
    }
    found.sort_unstable();
    found
}

/// The control group of a process for a controller, of version 1 or 2.
fn group(pid: i32, controller: &str) -> PathBuf {
    let all = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let of = |wanted: &dyn Fn(&str) -> bool| {
        all.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            wanted(controllers).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let root = Path::new("/sys/fs/cgroup");
    match of(&|controllers| controllers.split(',').any(|one| one == controller)) {
        Some(path) => root.join(controller).join(path),
        None => root.join(of(&str::is_empty).unwrap()),
    }
}

/// How often the kernel has killed a process of its group for memory.
fn memory_kills(pid: i32) -> u64 {
    let dir = group(pid, "memory");
    let text = fs::read_to_string(dir.join("memory.oom_control"));
    let text = text.unwrap_or_else(|_| fs::read_to_string(dir.join("memory.events")).unwrap());
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.unwrap().parse().unwrap()
}

/// CPU time of its group.
fn cpu_ns(pid: i32) -> u64 {
    let dir = group(pid, "cpuacct");
    if let Ok(text) = fs::read_to_string(dir.join("cpuacct.usage")) {
        return text.trim().parse().unwrap();
    }
    let text = fs::read_to_string(dir.join("cpu.stat")).unwrap();
    let mut lines = text.lines();
    let used_us = lines.find_map(|line| line.strip_prefix("usage_usec "));
    used_us.unwrap().parse::<u64>().unwrap() * 1000
}

/// Bytes on disk below a directory.
fn held(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    // One that is gone by now holds nothing.
    let of = |path: PathBuf| match path.symlink_metadata() {
        Ok(about) if about.is_dir() => held(&path),
        about => about.map_or(0, |about| about.blocks() * 512),
    };
    entries.map(|entry| of(entry.path())).sum()
}

/// Bytes of the node's data but for logs of jobs that are over, which stay up to a bound of their own.
pub(super) fn held_by_node(site: &Site) -> u64 {
    held(&site.data()) - held(&site.data().join("job-logs"))
}

/// Loop devices on files of the node's data.
pub(super) fn loops(site: &Site) -> Vec<String> {
    let place = site.data().display().to_string();
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let files = devices.filter_map(|d| fs::read_to_string(d.path().join("loop/backing_file")).ok());
    files.filter(|file| file.contains(&place)).collect()
}

/// What is not its own it can neither write nor read.
pub(super) async fn is_locked_in(hostile: &SessionId) {
    for place in [
        "x",
        "bin/x",
        "etc/x",
        "etc/hosts",
        "proc/sys/kernel/hostname",
        "sys/x",
        "run/secrets/x",
        "home/x",
    ] {
        let said = get(hostile, &format!("/touch/{place}")).await;
        assert!(said.starts_with("failed"), "{place}: {said}");
    }
    for place in [
        "var/run/docker.sock",
        "run/docker.sock",
        "dev/mem",
        "proc/kcore",
    ] {
        let said = get(hostile, &format!("/read/{place}")).await;
        assert!(
            said.is_empty() || said.starts_with("failed"),
            "{place}: {said}"
        );
    }
}

/// Calls that take a right.
pub(super) const CALLS: [&str; 7] = [
    "unshare", "user", "chroot", "device", "clock", "root", "raw",
];

async fn has_no_rights(hostile: &SessionId) {
    for call in CALLS {
        let said = get(hostile, &format!("/call/{call}")).await;
        assert_eq!(said, "EPERM", "{call}");
    }
}

/// All cores, with all threads that it takes: it gets what its limit says, and so does a neighbour that wants as much.
pub(super) async fn burns(hostile: &SessionId, neighbour: &Neighbour) {
    let format = ["inspect", "-f", "{{.State.Pid}}", &container(hostile)];
    let pid: i32 = docker(&format).unwrap().parse().unwrap();
    for job in [hostile, &neighbour.session] {
        let cores: u32 = get(job, "/scorch").await.parse().unwrap();
        assert!(cores > 0);
    }
    let used = || (cpu_ns(pid), cpu_ns(neighbour.pid));
    let since = |(hostiles, neighbours): (u64, u64)| {
        let now = used();
        (now.0 - hostiles, now.1 - neighbours)
    };
    let began = used();
    neighbour.answers().await;
    until("both compute", || {
        let (hostiles, neighbours) = since(began);
        hostiles + neighbours > COMPARED_NS
    })
    .await;
    let (hostiles, neighbours) = since(began);
    for job in [hostile, &neighbour.session] {
        get(job, "/calm").await;
    }
    assert!(
        neighbours * 4 >= hostiles * 3,
        "{neighbours} ns beside {hostiles} ns"
    );
}

/// One disk for all its places; nothing of it is the node's.
pub(super) async fn fills_its_disk(hostile: &SessionId, neighbour: &Neighbour, site: &Site) {
    let before = held_by_node(site);
    let fill = async || {
        get(hostile, "/touch/tmp/fat").await;
        let on_disk: u32 = get(hostile, "/fill/tmp/fat").await.parse().unwrap();
        on_disk
    };
    let on_disk = neighbour.answers_during(fill).await;
    assert!((16..=32).contains(&on_disk), "{on_disk} MiB");
    let more: u32 = get(hostile, "/fill/home/job/fat").await.parse().unwrap();
    let declared: u32 = get(hostile, "/fill/data/fat").await.parse().unwrap();
    assert_eq!((more, declared), (0, 0));
    assert!(held_by_node(site) <= before + SLACK);
}

/// Shared memory of its own size.
pub(super) async fn fills_its_memory(hostile: &SessionId, neighbour: &Neighbour) {
    let fill = async || {
        get(hostile, "/touch/dev/shm/fat").await;
        let shared: u32 = get(hostile, "/fill/dev/shm/fat").await.parse().unwrap();
        shared
    };
    let shared = neighbour.answers_during(fill).await;
    assert!(shared <= 8, "{shared} MiB");
}

/// The directory of its log, which is of a bounded size.
pub(super) async fn floods(hostile: &SessionId, neighbour: &Neighbour) -> PathBuf {
    let flood = async || get(hostile, "/flood/24").await;
    neighbour.answers_during(flood).await;
    let log = docker(&["inspect", "-f", "{{.LogPath}}", &container(hostile)]).unwrap();
    let dir = Path::new(&log).parent().unwrap();
    let files = fs::read_dir(dir).unwrap().flatten();
    let logs = files.filter(|file| file.file_name().to_string_lossy().contains("-json.log"));
    let bytes: u64 = logs.map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes < 9 << 20, "{bytes} bytes of log");
    dir.to_owned()
}

/// Processes, then threads: these stay until it ends, and no more is to be had meanwhile.
async fn multiplies(hostile: &SessionId, neighbour: &Neighbour) {
    let fork = async || get(hostile, "/forks").await.parse::<u32>().unwrap();
    let forks = neighbour.answers_during(fork).await;
    assert!((1..64).contains(&forks), "{forks} processes");
    let threads: u32 = get(hostile, "/threads").await.parse().unwrap();
    assert!((1..64).contains(&threads), "{threads} threads");
    neighbour.answers().await;
}

/// The address at which this node takes callers itself.
pub(super) fn direct(agent: &mut Agent) -> SocketAddr {
    let told = agent.ready();
    told["direct"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_hostile_job_is_bounded_and_its_neighbour_goes_on() {
    let Some(mut site) = site().await else { return };
    let _alone = alone();
    site.config = "[jobs.direct]\nlisten = \"127.0.0.1:0\"\n".to_owned();
    let mut agent = site.agent();
    let mut edge = site.broker.attach().await;
    let at = direct(&mut agent);
    let neighbour = ready(&site, &mut edge, 0, 1, served()).await;
    assert_eq!(get(&neighbour, "/touch/tmp/x").await, "wrote");
    let neighbour = Neighbour::new(at, &site, neighbour);
    let (before, disks) = (held_by_node(&site), loops(&site));

    let hostile = ready(&site, &mut edge, 1, 1, served()).await;
    let id = docker(&["inspect", "-f", "{{.Id}}", &container(&hostile)]).unwrap();
    assert_ne!(processes(&id), []);
    assert_ne!(loops(&site), disks);
    is_locked_in(&hostile).await;
    has_no_rights(&hostile).await;
    burns(&hostile, &neighbour).await;
    fills_its_disk(&hostile, &neighbour, &site).await;
    fills_its_memory(&hostile, &neighbour).await;
    let log = floods(&hostile, &neighbour).await;
    multiplies(&hostile, &neighbour).await;
    stopped(&mut edge, &hostile).await;
    assert_eq!(processes(&id), []);
    assert!(!log.exists());

    let (soon, mut epoch) = (neighbour.soon(), 1);
    while epoch == 1 || !neighbour.has_answered(soon) {
        epoch += 1;
        let hog = ready(&site, &mut edge, 1, epoch, served()).await;
        get(&hog, "/hog").await;
        assert_eq!(end_of(&mut edge, &hog).await.0, EndReason::JobOutOfMemory);
    }
    until("their disks are the node's again", || loops(&site) == disks).await;
    assert!(held_by_node(&site) <= before + SLACK);
    assert_eq!(get(&neighbour.session, "/read/tmp/x").await, "x");
    let neighbour = neighbour.unharmed().await;
    stopped(&mut edge, &neighbour).await;
    assert_eq!(traces(&site), NOTHING);
}
