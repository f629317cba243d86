//! Every bound of the agent that no other program must agree on. The shared ones live in
//! `core/protocol/limits.rs`.

use std::time::Duration;

/// Messages from all tasks that wait for the agent. It never waits on a peer, so this holds many
/// times what one wake-up brings.
pub(crate) const AGENT_INBOX_MAX: usize = 1024;
/// Events that wait for one session's task.
pub(crate) const SESSION_INBOX_MAX: usize = 64;
/// Messages that wait for the control stream. An introduction is one of them for each ended session
/// that is kept and up to three for each slot, and must fit. Past it the stream is closed and dialled
/// again: what counts is kept as the newest state and is said afresh.
pub(crate) const CONTROL_OUT_MAX: usize = 2048;
/// Ended sessions whose report is kept for a broker that asks again.
pub(crate) const ENDED_KEPT_MAX: usize = 256;

/// Dialling, TLS, the WebSocket handshake and the welcome, all together.
pub(crate) const ATTACH_DEADLINE: Duration = Duration::from_secs(10);
/// Heartbeat intervals without a word from the broker before the stream counts as dead.
pub(crate) const SILENT_HEARTBEATS_MAX: u32 = 3;
/// One message on its way into the socket.
pub(crate) const SEND_DEADLINE: Duration = Duration::from_secs(10);

/// The least that a measured uplink counts for in admission. It is measured by what viewers report:
/// two of them on bad lines of their own, or who lie, must not close the node to everybody else.
pub(crate) const MEASURED_UPLINK_KBPS_MIN: u32 = 10_000;

/// The worker's start: its socket must take connections after this.
pub(crate) const WORKER_CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// An adopted worker listens already.
pub(crate) const ADOPT_CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// Before the next attempt, where no desktop could be kept ready.
pub(crate) const WARM_AGAIN: Duration = Duration::from_secs(30);
/// Between `Shutdown` and the kill of a worker.
pub(crate) const WORKER_EXIT_DEADLINE: Duration = Duration::from_secs(3);
/// How long an app's crash waits for the worker to say that it was thrown out for a violation, and
/// a worker's exit for its last words.
pub(crate) const LAST_WORDS_DEADLINE: Duration = Duration::from_millis(400);
/// Between SIGTERM and SIGKILL of an app.
pub(crate) const APP_STOP_GRACE: Duration = Duration::from_secs(3);
/// One request to the container engine that should be quick.
pub(crate) const ENGINE_DEADLINE: Duration = Duration::from_secs(30);
/// Removing what an earlier agent left and no session holds, of one session.
pub(crate) const CLEAR_DEADLINE: Duration = Duration::from_secs(180);
/// Asking whether a container engine is there at all.
pub(crate) const ENGINE_PROBE_DEADLINE: Duration = Duration::from_secs(5);
/// Between two looks at whether the engine answers.
pub(crate) const ENGINE_LOOK_EVERY: Duration = Duration::from_secs(5);
/// Between two looks at an engine that went away.
pub(crate) const ENGINE_RETRY: Duration = Duration::from_secs(1);
/// `edge-worker --probe-encoders`: the first run scans every GStreamer plugin.
pub(crate) const PROBE_DEADLINE: Duration = Duration::from_secs(60);
/// Between two tries to write a journal that could not be written: a full disk is found empty soon.
pub(crate) const JOURNAL_RETRY: Duration = Duration::from_secs(5);
/// Between two times that a broker is told what was read of the GPUs for jobs. Of 100,000 nodes with eight each that
/// is 2 MB/s for all brokers together; `/metrics` of the node has every look.
pub(crate) const GPU_TELL_EVERY: Duration = Duration::from_secs(60);
/// Everything that a drain does.
pub(crate) const DRAIN_DEADLINE: Duration = Duration::from_secs(20);

/// Between two progress reports of one pull.
pub(crate) const PULL_REPORT_EVERY: Duration = Duration::from_millis(500);
/// Between two looks at the log files of a session.
pub(crate) const LOG_CHECK_EVERY: Duration = Duration::from_secs(30);
/// A log file above this is cut to nothing: a hostile app must not fill the disk with complaints.
pub(crate) const LOG_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Last output that is kept as the detail of an end.
pub(crate) const DETAIL_BYTES_MAX: usize = 2 * 1024;

/// Processes and threads in one container.
pub(crate) const APP_PIDS_MAX: i64 = 512;
/// Processes and threads of one worker.
pub(crate) const WORKER_PIDS_MAX: u64 = 256;
/// Open files of one worker: its clients' surfaces each bring descriptors.
pub(crate) const WORKER_FILES_MAX: u64 = 4096;
/// Address space of a worker on a node without a GPU; GPU drivers map far more than they use.
pub(crate) const WORKER_ADDRESS_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// Open files of one app process.
pub(crate) const APP_FILES_MAX: u64 = 4096;
/// Images named in an inventory, which must fit in one control message.
pub(crate) const IMAGES_LISTED_MAX: usize = 512;
/// `bwrap` says the pid of its child after this.
pub(crate) const SANDBOX_START_DEADLINE: Duration = Duration::from_secs(5);

/// A program of the host's that should be quick: mkfs.ext4, mount, iptables.
pub(crate) const COMMAND_DEADLINE: Duration = Duration::from_secs(60);
/// Looking a volume's file system over, or making it grow: of a large one all of it is read.
pub(crate) const VOLUME_COMMAND_DEADLINE: Duration = Duration::from_secs(900);
/// Until a mount of a volume's former job lets go of it.
pub(crate) const VOLUME_DETACH_DEADLINE: Duration = Duration::from_secs(20);
/// Between two looks at volumes that nobody knows.
pub(crate) const VOLUMES_TIDY_EVERY: Duration = Duration::from_secs(600);
/// The smallest disk of a job; ext4 takes some of it for itself.
pub(crate) const DISK_MIB_MIN: u32 = 16;
/// Open files of one process of a job: servers have one a connection. More than an engine has itself it cannot
/// give, and those of some distributions have 20,000.
pub(crate) const JOB_FILES_MAX: u64 = 16_384;
/// A job's log: so many files of so many MiB, the oldest is dropped.
pub(crate) const JOB_LOG_FILES: u32 = 2;
/// See [`JOB_LOG_FILES`].
pub(crate) const JOB_LOG_FILE_MIB: u32 = 4;
/// Of a log that is kept after its job's end, the newest. What an engine keeps has a longer frame for each line.
pub(crate) const ENDED_LOG_BYTES_MAX: usize =
    JOB_LOG_FILES as usize * JOB_LOG_FILE_MIB as usize * 1024 * 1024;
/// Such logs that are in memory at a time, on their way from the engine to the disk.
pub(crate) const ENDED_LOGS_GATHERED_MAX: usize = 4;
/// Between two looks at whether some are too old.
pub(crate) const ENDED_LOGS_SWEEP_EVERY: Duration = Duration::from_secs(600);
/// Tunnels to them at a time: they are none of a job that runs.
pub(crate) const ENDED_TUNNELS_MAX: usize = 32;
/// For which one of these is there, and what is read over it: the largest log by 28 kB a second. Who takes longer has
/// the rest after the last line, and who waits for a place gets one.
pub(crate) const ENDED_TUNNEL_FOR: Duration = Duration::from_secs(300);
/// Largest /etc/passwd of an image that is read.
pub(crate) const PASSWD_BYTES_MAX: usize = 256 * 1024;
/// Images whose user is remembered.
pub(crate) const USERS_KNOWN_MAX: usize = 256;
/// Between the first two checks of a job that has yet to be healthy: it should be seen as soon as it is.
pub(crate) const HEALTH_POLL_FIRST: Duration = Duration::from_millis(10);
/// Between two later ones, at the most.
pub(crate) const HEALTH_POLL: Duration = Duration::from_millis(250);
/// The head of a health check's answer that is read, up to its status.
pub(crate) const HEALTH_HEAD_BYTES_MAX: usize = 1024;
/// Between two reports that a job was asked something.
pub(crate) const INPUT_SEEN_EVERY: Duration = Duration::from_secs(5);
/// Between two looks at what a job uses, and between two words about it to the broker.
pub(crate) const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// One such look: the last one is waited for before a job is stopped.
pub(crate) const SAMPLE_DEADLINE: Duration = Duration::from_secs(2);
pub(crate) const USED_TOLD_EVERY: Duration = Duration::from_secs(60);
/// Between two looks at the addresses of the names that a job may reach, and at the rules that hold it.
pub(crate) const EGRESS_REFRESH_EVERY: Duration = Duration::from_secs(60);
/// Addresses of one name that a job may reach, the newest.
pub(crate) const EGRESS_ADDRESSES_MAX: usize = 64;
/// Looking one name up.
pub(crate) const RESOLVE_DEADLINE: Duration = Duration::from_secs(5);
/// Between SIGTERM and SIGKILL of a job when its node shuts down, however long its spec asks for.
pub(crate) const DRAIN_STOP_GRACE: Duration = Duration::from_secs(8);
/// Between two looks at whether the containers of a cluster are all made.
pub(crate) const BARRIER_LOOK_EVERY: Duration = Duration::from_millis(200);
/// Networks that are tried for a job before it is said that all are taken.
pub(crate) const SUBNET_TRIES: u32 = 64;
/// Between two looks at the GPUs for jobs.
pub(crate) const GPU_LOOK_EVERY: Duration = Duration::from_secs(5);
/// The same while the memory of a job that is over is waited for.
pub(crate) const GPU_LOOK_SOON: Duration = Duration::from_millis(200);
/// Without a look for so long the driver is taken to hang.
pub(crate) const GPU_LOOK_DEADLINE: Duration = Duration::from_secs(60);
/// How long a job's end waits for the memory of its GPUs; after that they are held back without it.
pub(crate) const GPU_RELEASE_DEADLINE: Duration = Duration::from_secs(10);

/// Readers of one job's log at a time.
pub(crate) const LOG_READERS_MAX: usize = 32;
/// Events of a log that are sent in one piece, about.
pub(crate) const LOG_BATCH_BYTES: usize = 32 * 1024;
/// A reader of a log that says nothing is told so.
pub(crate) const LOG_PING_EVERY: Duration = Duration::from_secs(10);
/// A log that is read again is over, as far as it was written, after so long without a line.
pub(crate) const LOG_QUIET: Duration = Duration::from_secs(1);
/// Between two looks at the log of a container that does not run.
pub(crate) const LOG_REOPEN_EVERY: Duration = Duration::from_secs(1);
/// Commands in one job at a time.
pub(crate) const EXECS_MAX: usize = 16;
/// From a command's stream to its order.
pub(crate) const EXEC_ORDER_DEADLINE: Duration = Duration::from_secs(10);
/// A command that says nothing: whether its caller is there is found out by a word.
pub(crate) const EXEC_BEAT_EVERY: Duration = Duration::from_secs(10);
/// From the end of a command's output to its exit status.
pub(crate) const EXEC_STATUS_DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks at a command that starts or ends.
pub(crate) const EXEC_LOOK_EVERY: Duration = Duration::from_millis(20);
/// Looks at what is left of a command before its processes are given up.
pub(crate) const EXEC_KILLS_MAX: u32 = 100;
/// Copies of files out of one job and into it at a time.
pub(crate) const COPIES_MAX: usize = 4;
/// What a copier says before its archive, or after it.
pub(crate) const COPY_WORDS_BYTES_MAX: u64 = 16 * 1024;
/// From the order, or the archive's end, to a copier's word.
pub(crate) const COPY_WORD_DEADLINE: Duration = Duration::from_secs(120);
/// Of an archive that was refused, so much more is read, so that its sender hears why.
pub(crate) const COPY_REFUSED_BYTES_MAX: u64 = 64 * 1024 * 1024;
