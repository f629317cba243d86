//! Every bound of the transport: queues, deadlines, and work per wake. Where a number is not plain
//! taste, its comment says where it comes from.

use std::time::Duration;

/// Commands that wait for the thread. Past it callers wait; the thread takes them on every wake.
pub(crate) const COMMANDS_MAX: usize = 1024;
/// Commands carried out per wake.
pub(crate) const COMMANDS_PER_WAKE: usize = 64;
/// Datagrams read from one socket per wake, so that a flood cannot starve the workers.
pub(crate) const DATAGRAMS_PER_WAKE: usize = 128;
/// Bytes read from one worker per wake: two frames of 8 Mbit/s, or a piece of a key frame.
pub(crate) const WORKER_BYTES_PER_WAKE: usize = 256 * 1024;
/// Frames taken from one worker per wake.
pub(crate) const WORKER_FRAMES_PER_WAKE: usize = 32;
/// Bytes that wait for a worker to read them. A worker that lets them pile up is taken for dead.
pub(crate) const WORKER_BACKLOG_BYTES_MAX: usize = 512 * 1024;

/// Largest datagram taken in. Browsers keep to an MTU of 1200 to 1500.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 2048;
/// Largest RTP packet sent: libwebrtc's own 1200, below any tunnel's MTU.
pub(crate) const PACKET_BYTES: usize = 1200;
/// What of [`PACKET_BYTES`] is no payload: RTP header 12, extension block 4 + 8, SRTP tag 16, and 2 for the number of
/// one that is sent again.
pub(crate) const PACKET_OVERHEAD_BYTES: usize = 42;
/// The same of a packet that is protected: what repairs it has an RTP header 12, an extension block 4 + 4, FlexFEC's
/// header 24 and an SRTP tag 16 around the protected one's extension block and payload.
pub(crate) const PROTECTED_OVERHEAD_BYTES: usize = 72;

/// Least rate of an attachment, whatever its path does, kbit/s: sound, and a picture that moves.
pub(crate) const KBPS_MIN: u32 = 200;
/// Between two looks at what the path carries while no feedback comes.
pub(crate) const STEER_INTERVAL: Duration = Duration::from_millis(100);
/// Between two divisions of the node's uplink among the sessions.
pub(crate) const SHARE_INTERVAL: Duration = Duration::from_millis(250);
/// Between two words to the agent on what the uplink carries.
pub(crate) const UPLINK_NEWS_INTERVAL: Duration = Duration::from_secs(10);

/// Media bytes that may wait for the kernel before whole frames are dropped: 64 ms at 8 Mbit/s.
pub(crate) const BACKLOG_BYTES_MAX: usize = 64 * 1024;
/// Packets that may wait for the kernel in any case; the rest is lost as on any network.
pub(crate) const BACKLOG_PACKETS_MAX: usize = 4096;
/// What the UDP socket asks the kernel to hold each way. The kernel caps it at its own limit.
pub(crate) const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Notices that wait for the player to be greeted.
pub(crate) const NOTICES_WAITING_MAX: usize = 64;
/// Bytes on the control channel that the viewer has not acknowledged. Past it the viewer is gone.
pub(crate) const CONTROL_OUTSTANDING_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of marks that are under way; past it marks are skipped, for stale ones help nobody.
pub(crate) const MARKS_OUTSTANDING_BYTES_MAX: usize = 16 * 1024;
/// The same for a line check, whose trains are under way beside its pongs.
pub(crate) const TRAINS_OUTSTANDING_BYTES_MAX: usize = 512 * 1024;
/// Marks of frames that leave in one packet, and how long the first of them waits for the others: ten
/// packets a second where a packet for each mark would be sixty.
pub(crate) const MARKS_TOGETHER: usize = 6;
/// See [`MARKS_TOGETHER`].
pub(crate) const MARKS_WAIT: Duration = Duration::from_millis(100);

/// From the answer to media.
pub(crate) const CONNECT_DEADLINE: Duration = Duration::from_secs(15);
/// A line check from its answer to its end.
pub(crate) const LINE_CHECK_DEADLINE: Duration = Duration::from_secs(10);
/// The start of a line check, when only pongs are sent.
pub(crate) const LINE_CHECK_QUIET: Duration = Duration::from_secs(1);
/// How long a train of a line check waits for the one before it to be acknowledged.
pub(crate) const TRAIN_PATIENCE: Duration = Duration::from_secs(1);
/// Line checks at a time: each takes what its line carries for a second or two.
pub(crate) const LINE_CHECKS_MAX: usize = 4;
/// Silence after which another offer may replace the attachment without taking over.
pub(crate) const STALE_AFTER: Duration = Duration::from_secs(3);
/// Silence after which the attachment is over. Chromium checks a stable path every 2.5 s.
pub(crate) const SILENCE_DEADLINE: Duration = Duration::from_secs(5);
/// For the last notice to be acknowledged before the connection is closed.
pub(crate) const GOODBYE_DEADLINE: Duration = Duration::from_millis(500);
/// For everything to be closed at shutdown.
pub(crate) const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(1);
/// Silence of the current path after which a nominated other one takes its place.
pub(crate) const PATH_SILENT_AFTER: Duration = Duration::from_secs(2);
/// Addresses of one viewer that are known at a time; of more, those that were silent longest are
/// forgotten.
pub(crate) const ADDRESSES_MAX: usize = 32;
/// Candidates of a viewer that full ICE checks.
pub(crate) const REMOTE_CANDIDATES_MAX: usize = 32;
/// Attachments being closed at a time; the oldest of them is cut off beyond it.
pub(crate) const LEAVING_MAX: usize = 256;

/// Between two key frames that a viewer asks for.
pub(crate) const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(300);
/// Between two key frames for watchers, who share the player's encode: one costs the player what a
/// dozen frames do.
pub(crate) const WATCHER_KEY_FRAME_INTERVAL: Duration = Duration::from_secs(2);
/// Between two key frames that one watcher may ask for, after the one that it starts with.
pub(crate) const WATCHER_WISH_INTERVAL: Duration = Duration::from_secs(10);
/// Watchers of one session, those that are still connecting included: of these the oldest makes room.
pub(crate) const WATCHERS_MAX: usize = 16;
/// Malformed input within [`STRIKE_WINDOW`] that ends an attachment.
pub(crate) const STRIKES_MAX: u32 = 3;
/// See [`STRIKES_MAX`].
pub(crate) const STRIKE_WINDOW: Duration = Duration::from_secs(1);
/// Input packets per second taken from a viewer: an 8 kHz mouse. The rest is dropped and counted.
pub(crate) const INPUTS_PER_SECOND: u32 = 8000;
/// Pings per second taken from a viewer that may not play.
pub(crate) const PINGS_PER_SECOND: u32 = 100;
/// Between two [`crate::Event::InputSeen`].
pub(crate) const INPUT_SEEN_INTERVAL: Duration = Duration::from_secs(10);
/// Between two [`crate::Event::Counters`].
pub(crate) const COUNTERS_INTERVAL: Duration = Duration::from_secs(1);
/// Between two RTCP sender reports, each of which also gives a round trip.
pub(crate) const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Between two questions to the STUN servers: keeps the NAT's mapping alive (RFC 8445 asks for 15 s).
pub(crate) const GATHER_INTERVAL: Duration = Duration::from_secs(15);
/// Between two questions while no server has answered.
pub(crate) const GATHER_RETRY: Duration = Duration::from_millis(250);
/// How long an offer waits for the first reflexive address.
pub(crate) const GATHER_DEADLINE: Duration = Duration::from_secs(1);
/// How long an offer waits for a viewer that holds the session to go: a page that is reloaded offers
/// some milliseconds before its old connection has been closed.
pub(crate) const RELEASE_DEADLINE: Duration = Duration::from_millis(500);
/// Offers that wait for either.
pub(crate) const OFFERS_WAITING_MAX: usize = 64;
