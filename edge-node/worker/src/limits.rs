//! The bounds of one session's worker. Past a desktop limit the client is cut off with a protocol
//! error and the session fails with `desktop-violation`; past a link limit data is dropped and
//! counted.
//!
//! Desktop limits hold for the whole session, not per client: an app could split itself up.

use std::time::Duration;

/// Wayland clients at a time. Browsers use two or three, Xwayland one.
pub const CLIENTS_MAX: usize = 32;
/// Surfaces alive. A browser with many menus stays below 50; toolkits leak a few.
pub const SURFACES_MAX: usize = 512;
/// Shared-memory pools alive, and as many buffers. Each pool costs us one file descriptor, held
/// while the pool or one of its buffers lives.
pub const POOLS_MAX: usize = 1024;
/// See [`POOLS_MAX`].
pub const BUFFERS_MAX: usize = 1024;
/// Buffers on the GPU alive. An app has three or four for each surface; each costs us up to four
/// file descriptors.
pub const DMABUFS_MAX: usize = 256;
/// Such buffers that an app is about to describe, each with up to four descriptors.
pub const DMABUF_PARAMS_MAX: usize = 64;
/// Commits that wait for their GPU; each costs a descriptor. A game is one or two pictures ahead.
pub const GPU_WAITS_MAX: usize = 64;
/// Largest pool, bytes. Xwayland and Firefox keep one pool per buffer, GTK grows one.
pub const POOL_BYTES_MAX: i32 = 512 * 1024 * 1024;
/// Largest buffer side, pixels: twice the largest display, for apps that supersample.
pub const BUFFER_SIDE_MAX: i32 = 8192;
/// Largest buffer, bytes of rows: the largest display at twice the resolution.
pub const BUFFER_BYTES_MAX: i64 = 256 * 1024 * 1024;
/// Rectangles of one region; the cost of using it grows with their square.
pub const REGION_RECTS_MAX: usize = 512;
/// Damage rectangles of one commit; past it the whole surface counts as damaged (no violation).
pub const DAMAGE_RECTS_MAX: usize = 128;
/// Frame callbacks and presentation feedbacks that wait at a time.
pub const CALLBACKS_MAX: usize = 4096;
/// Objects of every kind that one client may hold; checked every [`HOUSEKEEPING`].
pub const OBJECTS_MAX: usize = 16_384;
/// Bytes of events that wait for one client that does not read; libwayland servers allow as much.
pub const CLIENT_BACKLOG_BYTES: usize = 1024 * 1024;
/// Memory of our own, not shared with a client; checked every [`HOUSEKEEPING`]. A 4096 x 4096
/// display needs 64 MiB to composite, 5 x 24 MiB of pictures and x264's own 150 MiB.
pub const OWN_MEMORY_BYTES_MAX: u64 = 768 * 1024 * 1024;
/// What a GPU's driver and its encoder take beside that: OpenGL and CUDA keep 200 to 400 MiB for a
/// process.
pub const GPU_DRIVER_BYTES: u64 = 512 * 1024 * 1024;
/// How often slow limits are checked.
pub const HOUSEKEEPING: Duration = Duration::from_millis(250);
/// How long one round of the event loop may take while we run before the desktop counts as flooded. A program
/// that waits for its buffers or callbacks cannot get there: both go out at the end of a round.
pub const ROUND_MAX: Duration = Duration::from_secs(5);
/// How long an app may take to hand over or take a clipboard text.
pub const CLIPBOARD_DEADLINE: Duration = Duration::from_secs(2);
/// Clipboard transfers at a time.
pub const CLIPBOARD_TRANSFERS_MAX: usize = 8;
/// Characters of one text event that are typed through a temporary keymap at a time.
pub const TYPED_SYMBOLS_MAX: usize = 128;
/// Between two images of a cursor that are read; an animated cursor may be faster.
pub const CURSOR_INTERVAL: Duration = Duration::from_millis(50);
/// Between two notices of one kind, of those that an app can cause with every commit: more would go
/// ahead of sound and picture.
pub const NOTICE_INTERVAL: Duration = Duration::from_millis(50);

/// Smallest picture that every encoder takes (NVENC's AV1 is the pickiest). Neither a display that
/// a player asks for nor a smaller picture of one goes below.
pub const PICTURE_MIN: (u32, u32) = (192, 128);
/// The display changes at most this often: each change costs an encoder start and a key frame.
pub const DISPLAY_INTERVAL: Duration = Duration::from_millis(250);
/// How long a changed display waits for an app to draw on it before it is shown as it is.
pub const REDRAW_WAIT: Duration = Duration::from_millis(100);

/// Bytes that may wait for the agent before video is dropped up to the next key frame.
pub const LINK_VIDEO_BACKLOG_BYTES: usize = 512 * 1024;
/// Bytes that may wait for the agent before sound is dropped.
pub const LINK_AUDIO_BACKLOG_BYTES: usize = 768 * 1024;
/// Bytes that may wait for the agent before it counts as dead and is cut off.
pub const LINK_BACKLOG_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Largest frame that the agent may send: a clipboard text and its headers.
pub const LINK_FRAME_BYTES_MAX: usize = nearlight_protocol::limits::INPUT_PACKET_BYTES_MAX + 64;
/// How long the worker lives on without an agent.
pub const AGENT_ABSENT_MAX: Duration = Duration::from_secs(15 * 60);
/// How long the last messages may take to reach the agent before the worker exits anyway.
pub const FAREWELL_MAX: Duration = Duration::from_secs(10);

/// Key frames are at least this far apart: at most 4 per second.
pub const KEY_INTERVAL: Duration = Duration::from_millis(250);
/// How long an encoder may hold a frame before it counts as broken, by the time that we ran.
pub const ENCODE_MAX: Duration = Duration::from_secs(2);
/// How long an encoder that failed is left alone, and how long at most after it has failed again and
/// again: what keeps a GPU's encoder away often passes, and each try costs a viewer its picture.
pub const ENCODER_REST: Duration = Duration::from_secs(60);
/// See [`ENCODER_REST`].
pub const ENCODER_REST_MAX: Duration = Duration::from_secs(60 * 60);
/// How long an encoder on a GPU waits for the one before it to be closed: there may be no room for both.
pub const ENCODER_CLOSE_MAX: Duration = Duration::from_millis(500);
/// How long one encoder may take to prove that it works.
pub const PROBE_MAX: Duration = Duration::from_secs(5);
/// How long a session's start may take to find out which encoders read pictures on the GPU, all
/// together: the agent waits ten seconds for a worker.
pub const ZERO_COPY_TRIALS_MAX: Duration = Duration::from_secs(3);
/// After the last commit the picture is encoded again this often, this far apart, so that its
/// quality converges on a static screen.
pub const REFINEMENTS: u32 = 6;
/// See [`REFINEMENTS`]. Longer than the frame time of any game, so that it never competes.
pub const REFINE_INTERVAL: Duration = Duration::from_millis(100);
