//! What a client may take. Each bound holds however hostile the client is.

/// Clients at a time.
pub(crate) const CLIENTS_MAX: usize = 32;
/// Streams of one client, and of all.
pub(crate) const STREAMS_PER_CLIENT_MAX: usize = 16;
/// See [`STREAMS_PER_CLIENT_MAX`].
pub(crate) const STREAMS_MAX: usize = 24;
/// Largest command. Property lists may carry an icon; real ones stay below 64 KiB.
pub(crate) const COMMAND_BYTES_MAX: usize = 128 * 1024;
/// Largest block of samples. libpulse cuts at 64 KiB, other clients at the buffer's length.
pub(crate) const BLOCK_BYTES_MAX: usize = BUFFER_BYTES_MAX as usize;
/// Longest buffer of a stream: 5.4 s of 48 kHz stereo in 32-bit samples.
pub(crate) const BUFFER_BYTES_MAX: u32 = 2 * 1024 * 1024;
/// Bytes that wait for a client to read them. Several times the longest list there can be.
pub(crate) const OUTBOX_BYTES_MAX: usize = 512 * 1024;
/// Property bytes that are kept of a client or stream; the rest is dropped.
pub(crate) const PROPS_BYTES_MAX: usize = 4 * 1024;
/// Longest property value that is kept.
pub(crate) const PROP_BYTES_MAX: usize = 1024;
/// Messages and bytes that are taken from a client in a tick of 10 ms; the rest waits its turn.
pub(crate) const MESSAGES_PER_TICK: usize = 100;
/// See [`MESSAGES_PER_TICK`].
pub(crate) const BYTES_PER_TICK: usize = 1024 * 1024;
/// How long a new client may take to say who it is, microseconds.
pub(crate) const GREETING_US_MAX: u64 = 5_000_000;
/// How long a client may leave a full socket unread, microseconds.
pub(crate) const STALL_US_MAX: u64 = 5_000_000;
/// Sample rates that are resampled, Hz.
pub(crate) const RATE_MIN: u32 = 4_000;
/// See [`RATE_MIN`].
pub(crate) const RATE_MAX: u32 = 192_000;
/// Channels of a stream.
pub(crate) const CHANNELS_MAX: usize = 8;
