//! The worker process: what it is started with, and the way to its socket.

use crate::cgroup::{CPU_WEIGHT_FIRST, Ceiling};
use crate::config::Config;
use crate::limits::{WORKER_ADDRESS_BYTES_MAX, WORKER_FILES_MAX, WORKER_PIDS_MAX};
use crate::process::{Launch, Limit, Process, ProcessId};
use crate::session::dirs;
use crate::session::host::Host;
use crate::session::record::Record;
use nearlight_protocol::app::DisplayMode;
use nearlight_protocol::id::SessionId;
use nix::sys::resource::Resource;
use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Memory of a worker: an encoder, its frames, and what a hostile client makes it map.
const WORKER_MEM_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Between two attempts to connect while the worker starts.
const CONNECT_POLL: Duration = Duration::from_millis(10);
/// What a worker may inherit: how GStreamer finds and logs, and how we log.
const PASSED_ON: [&str; 6] = [
    "GST_PLUGIN_PATH",
    "GST_PLUGIN_SYSTEM_PATH",
    "GST_DEBUG",
    "LD_LIBRARY_PATH",
    "NEARLIGHT_LOG",
    "NEARLIGHT_LOG_FORMAT",
];

/// A desktop to be started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Desk<'a> {
    /// What it is named after: the session, or nobody's yet.
    pub(crate) name: &'a SessionId,
    /// Its directory.
    pub(crate) dir: &'a Path,
    /// It decides user and GPU.
    pub(crate) slot_index: usize,
    pub(crate) display: DisplayMode,
    pub(crate) keyboard_layout: &'a str,
}

impl<'a> From<&'a Record> for Desk<'a> {
    fn from(record: &'a Record) -> Self {
        Self {
            name: record.desk_name(),
            dir: &record.dir,
            slot_index: record.slot_index,
            display: record.display,
            keyboard_layout: &record.keyboard_layout,
        }
    }
}

/// Starts the worker of a desktop, in a directory made afresh.
pub(crate) fn spawn(host: &Host, desk: Desk<'_>) -> io::Result<Process> {
    let user = host.worker_user(desk.slot_index);
    dirs::make(desk.dir, user.as_ref())?;
    let cgroup = match &host.cgroups {
        Some(cgroups) => Some(cgroups.create(
            &cgroup_name(desk.name),
            Ceiling {
                mem_bytes: WORKER_MEM_BYTES_MAX,
                cpu_milli: None,
                cpu_weight: CPU_WEIGHT_FIRST,
                pids: WORKER_PIDS_MAX,
            },
        )?),
        None => None,
    };
    let mut limits = vec![
        Limit(Resource::RLIMIT_CORE, 0),
        Limit(Resource::RLIMIT_NOFILE, WORKER_FILES_MAX),
    ];
    if host.gpus.is_empty() {
        limits.push(Limit(Resource::RLIMIT_AS, WORKER_ADDRESS_BYTES_MAX));
    }
    let procs = match &cgroup {
        Some(cgroup) => cgroup.procs()?,
        None => Vec::new(),
    };
    with_environment(
        Launch::new(host.config.worker.clone(), "edge-worker"),
        &dirs::desk(desk.dir),
        &host.gst_registry(),
    )
    .env("GST_REGISTRY_UPDATE", "no")
    .envs(visible_gpus(&host.config))
    .args(arguments(host, desk))
    .user(user)
    .limits(limits)
    .cgroups(procs)
    .stderr(dirs::log_for_writing(&dirs::worker_log(desk.dir))?)
    .spawn()
}

/// The environment of every run of the worker's program.
pub(crate) fn with_environment(launch: Launch, home: &Path, gst_registry: &Path) -> Launch {
    let mut launch = launch
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LANG", "C.UTF-8")
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .env("GST_REGISTRY", gst_registry)
        // Without a display server GStreamer's OpenGL works on EGL's own device.
        .env("GST_GL_PLATFORM", "egl")
        .env("GST_GL_WINDOW", "egl-device");
    for key in PASSED_ON {
        if let Some(value) = std::env::var_os(key) {
            launch = launch.env(key, value);
        }
    }
    launch
}

/// Where some GPUs are for jobs, an encoder must not take one of them: NVENC takes the first that it sees.
pub(crate) fn visible_gpus(config: &Config) -> Option<(&'static str, &str)> {
    let uuids = config.visible_gpus.as_deref()?;
    Some(("CUDA_VISIBLE_DEVICES", uuids))
}

fn arguments(host: &Host, desk: Desk<'_>) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    let mut add = |name: &str, value: OsString| {
        args.push(name.into());
        args.push(value);
    };
    let display = desk.display;
    add("--session", desk.name.as_str().into());
    add("--dir", dirs::desk(desk.dir).into());
    add("--width", display.width.to_string().into());
    add("--height", display.height.to_string().into());
    add("--hz", display.hz.to_string().into());
    add(
        "--mpixels-max",
        host.config.display_mpixels_s.to_string().into(),
    );
    add("--layout", desk.keyboard_layout.into());
    add("--kbps", host.config.kbps_start.to_string().into());
    add("--threads", host.config.worker_threads.to_string().into());
    if let Some(node) = host.render_node_of(desk.slot_index) {
        add("--render-node", node.path.into());
    }
    args
}

/// Connects to a worker's socket, which a fresh worker has yet to bind. The directory is the worker's to write: whoever
/// listens there has to be it, and one that takes no connection holds nobody up.
pub(crate) async fn connect(
    dir: &Path,
    worker: ProcessId,
    deadline: Duration,
) -> io::Result<UnixStream> {
    let path = dirs::agent_socket(dir);
    let attempts = async {
        loop {
            match tokio::net::UnixStream::connect(&path).await {
                Ok(stream) => {
                    // unix(7): of the process that called listen(2).
                    let listener = stream.peer_cred()?.pid();
                    if listener != Some(worker.pid) || !worker.is_alive() {
                        return Err(io::Error::new(
                            io::ErrorKind::PermissionDenied,
                            "somebody else listens at the worker's socket",
                        ));
                    }
                    return stream.into_std();
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound
                            | io::ErrorKind::ConnectionRefused
                            // Its queue of connections is full.
                            | io::ErrorKind::WouldBlock
                    ) =>
                {
                    tokio::time::sleep(CONNECT_POLL).await;
                }
                Err(error) => return Err(error),
            }
        }
    };
    match tokio::time::timeout(deadline, attempts).await {
        Ok(connected) => connected,
        Err(_elapsed) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the worker did not open its socket in time",
        )),
    }
}

/// The worker's control group.
pub(crate) fn cgroup_name(desk: &SessionId) -> String {
    format!("{desk}-worker")
}

#[cfg(test)]
mod test {
    use super::*;
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
    use nix::sys::socket::{bind, listen, socket};
    use std::os::fd::AsRawFd;

    fn here() -> ProcessId {
        let pid = i32::try_from(std::process::id()).unwrap();
        ProcessId::of(pid).unwrap()
    }

    fn desk() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dirs::desk(dir.path())).unwrap();
        dir
    }

    #[tokio::test]
    async fn whoever_listens_in_place_of_the_worker_is_not_taken_for_it() {
        let dir = desk();
        let _listener =
            std::os::unix::net::UnixListener::bind(dirs::agent_socket(dir.path())).unwrap();
        let deadline = Duration::from_secs(30);
        connect(dir.path(), here(), deadline).await.unwrap();
        let others = [
            ProcessId { pid: 1, ..here() },
            // One that had this pid before.
            ProcessId {
                start_ticks: here().start_ticks - 1,
                ..here()
            },
        ];
        for worker in others {
            let refused = connect(dir.path(), worker, deadline).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        }
    }

    #[tokio::test]
    async fn a_worker_that_takes_no_connection_holds_nobody_up() {
        let dir = desk();
        let path = dirs::agent_socket(dir.path());
        let kind = SockType::Stream;
        let listener = socket(AddressFamily::Unix, kind, SockFlag::empty(), None).unwrap();
        bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let wait = Duration::from_millis(50);
        let mut queued = Vec::new();
        let late = loop {
            match connect(dir.path(), here(), wait).await {
                Ok(stream) => queued.push(stream),
                Err(late) => break late,
            }
        };
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }
}
