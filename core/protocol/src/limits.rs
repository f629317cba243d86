//! The bounds of every wire. A limit lives here when two programs must agree on it.

/// The keyboard of desktops that are ready before a session: it cannot be changed later, and most have it.
pub const SPARE_KEYBOARD_LAYOUT: &str = "us";
/// Largest JSON body of an API request, bytes.
pub const API_BODY_BYTES_MAX: usize = 64 * 1024;
/// Largest SDP in an offer or an answer, bytes. Chromium's offers are 5 to 8 KiB.
pub const SDP_BYTES_MAX: usize = 48 * 1024;
/// Largest message on the control stream, bytes.
pub const CONTROL_MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Parts before the last one in which a node shows what it runs: 256 sessions with the largest grants are eight.
pub const RUNNING_PARTS_MAX: usize = 16;
/// Commands to one edge that wait for an acknowledgement; past it the stream closes and re-attaches.
pub const CONTROL_OUTBOX_MAX: usize = 64;
/// Largest input packet on a data channel, bytes: a full clipboard and its header.
pub const INPUT_PACKET_BYTES_MAX: usize = CLIPBOARD_BYTES_MAX + 32;
/// Frames of which one packet says how they were shown.
pub const SHOWN_FRAMES_MAX: usize = 64;
/// Largest clipboard text either way, bytes of UTF-8.
pub const CLIPBOARD_BYTES_MAX: usize = 60 * 1024;
/// Largest composed text (IME) in one input packet, bytes of UTF-8.
pub const TEXT_BYTES_MAX: usize = 1024;
/// Largest JSON notice on the control data channel, bytes. Browsers take at least 256 KiB, the
/// interoperable minimum is 64 KiB (RFC 8841 section 6).
pub const NOTICE_BYTES_MAX: usize = 64 * 1024;
/// Largest cursor image side, pixels; Chromium ignores larger custom cursors.
pub const CURSOR_SIDE_MAX: u32 = 128;
/// Largest frame on the worker socket, bytes: a key frame of noise at 4K. Frames of other kinds are no
/// larger than a notice.
pub const WORKER_FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Smallest and largest display side, pixels.
pub const DISPLAY_SIDE_MIN: u32 = 64;
/// See [`DISPLAY_SIDE_MIN`].
pub const DISPLAY_SIDE_MAX: u32 = 4096;
/// Highest display rate, Hz.
pub const DISPLAY_HZ_MAX: u32 = 240;
/// Gamepad seats per session.
pub const GAMEPAD_SEATS: u8 = 4;
/// Sessions one guest may hold at a time, queued ones counted.
pub const GUEST_SESSIONS_MAX: u32 = 2;
/// Watch links of one session that work at a time.
pub const WATCH_LINKS_MAX: u32 = 16;
/// Longest time for which a watch link works, seconds.
pub const WATCH_LINK_S_MAX: u32 = 24 * 3600;
/// Longest time for which a join token works, seconds.
pub const JOIN_TOKEN_S_MAX: u32 = 3600;
/// Longest notice with which a node's capacity is taken back, seconds: a week.
pub const RECLAIM_S_MAX: u32 = 7 * 24 * 3600;
/// Longest word of why, bytes.
pub const RECLAIM_REASON_BYTES_MAX: usize = 200;
/// Longest name of whoever runs a node or a checker, bytes.
pub const OPERATOR_BYTES_MAX: usize = 64;
/// Longest name or region that a join token gives a node, bytes.
pub const NODE_NAME_BYTES_MAX: usize = 64;
/// Largest body of enrolment and late renewal either way, bytes.
pub const ENROL_BODY_BYTES_MAX: usize = 32 * 1024;
/// Longest time for which the former secret of a rotated key goes on working, seconds.
pub const KEY_OVERLAP_S_MAX: u32 = 30 * 24 * 3600;
/// Longest code with which a program asks what became of its login, bytes.
pub const DEVICE_CODE_BYTES_MAX: usize = 4096;
/// Longest name of a tenant or a key, characters.
pub const NAME_CHARS_MAX: usize = 80;
/// Entries of one page of keys or of the audit log.
pub const PAGE_ENTRIES_MAX: u32 = 200;
/// Entries of one list of a job: words of its command, variables, secrets, what it may reach.
pub const JOB_ENTRIES_MAX: usize = 256;
/// Longest label of a job, bytes.
pub const JOB_LABEL_BYTES_MAX: usize = 256;
/// Volumes of one node; an inventory lists them all.
pub const VOLUMES_PER_NODE_MAX: usize = 1024;
/// Assets that an inventory lists, the last used.
pub const ASSETS_LISTED_MAX: usize = 512;
/// Containers of one cluster.
pub const JOB_REPLICAS_MAX: u32 = 64;
/// Longest time for which a job runs, seconds: thirty days.
pub const JOB_TIME_S_MAX: u32 = 30 * 24 * 3600;
/// Longest time for which an endpoint ticket works, seconds.
pub const ENDPOINT_TICKET_S_MAX: u32 = 30 * 24 * 3600;
/// Largest head of a request to a job or of its answer, bytes.
pub const ENDPOINT_HEAD_BYTES_MAX: u32 = 64 * 1024;

/// Metros that an app may have staged at a time.
pub const STAGED_METROS_MAX: usize = 256;

/// Images that a broker wants a node to have.
pub const IMAGES_WANTED_MAX: usize = 256;
/// Desktops that an app may ask a node to keep ready.
pub const WARM_PER_APP_MAX: u32 = 16;
/// Apps for which a broker wants a node to keep desktops ready.
pub const WARM_WANTED_MAX: usize = 64;

/// Assets that a node is asked to have ahead of jobs, at most.
pub const ASSETS_WANTED_MAX: usize = 64;

/// Versions of an app that are shown, the newest; and those in use.
pub const APP_VERSIONS_SHOWN_MAX: usize = 50;
/// Beacons of one answer of `GET /v1/regions`: a browser times them all before it plays.
pub const BEACONS_MAX: usize = 6;
/// Round trips that one create brings.
pub const RTTS_MAX: usize = 16;
/// A longer round trip counts as this, milliseconds.
pub const RTT_MS_MAX: u32 = 1000;
/// Longest name of a region that a create names, bytes.
pub const REGION_BYTES_MAX: usize = 64;
/// Sessions whose round trips one heartbeat tells.
pub const HEARTBEAT_RTTS_MAX: usize = 256;
/// The highest budget, millionths of a currency's unit: every program that reads JSON counts so far.
pub const BUDGET_MICRO_MAX: u64 = (1 << 53) - 1;
/// Days that one question about usage may span.
pub const USAGE_DAYS_MAX: u64 = 400;

/// GPUs, MIG slices one by one, that a node offers to jobs at most: eight of today's largest in seven
/// slices each are 56.
pub const NODE_GPUS_MAX: usize = 64;
/// Processes of one GPU that a node tells of, most memory first.
pub const GPU_PROCESSES_MAX: usize = 16;
/// Different XIDs of one GPU that a node tells of.
pub const GPU_XIDS_MAX: usize = 16;
