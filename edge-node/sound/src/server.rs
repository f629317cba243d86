//! The handle of a session's sound server: what its owner can do with it from any thread.

use crate::encode::Packets;
use crate::reactor::Reactor;
use mio::Waker;
use std::fmt;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

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
    /// How often everybody was cut off, because code of ours panicked.
    pub restarts: u64,
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

/// What the handle and the thread share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) stop: AtomicBool,
    pub(crate) active: AtomicBool,
    pub(crate) packets: AtomicU64,
    pub(crate) underrun_ms: AtomicU64,
    pub(crate) clients: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) restarts: AtomicU64,
}

/// A running server. Dropping it stops its thread, disconnects its clients and removes its socket.
#[derive(Debug)]
pub struct SoundServer {
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
}

/// Starts a server that listens at `socket_path`, whose permissions are the only guard of it.
///
/// A socket that is left there by a process that died is replaced.
///
/// # Errors
/// [`StartError`] if the socket, the thread or the encoder cannot be had.
pub fn start(socket_path: &Path, options: Options) -> Result<SoundServer, StartError> {
    let packets = Packets::new(options.bitrate_bps, options.on_packet)
        .map_err(|error| StartError::Encoder(error.to_string()))?;
    let listener = bind(socket_path).map_err(|source| StartError::Bind {
        path: socket_path.display().to_string(),
        source,
    })?;
    let shared = Arc::new(Shared::default());
    let (reactor, waker) =
        Reactor::new(listener, packets, Arc::clone(&shared)).map_err(StartError::Thread)?;
    let thread = std::thread::Builder::new()
        .name("sound".into())
        .spawn(move || {
            let real_time = crate::priority::raise();
            tracing::debug!(real_time, "sound server runs");
            reactor.run();
        })
        .map_err(StartError::Thread)?;
    Ok(SoundServer {
        shared,
        waker,
        thread: Some(thread),
        path: socket_path.to_owned(),
    })
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            // Someone who answers is alive: leave the socket to it.
            if UnixStream::connect(path).is_ok() {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

impl Drop for SoundServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Should the waker fail, the clock wakes the thread within 10 ms.
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its hook.
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
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
            restarts: self.shared.restarts.load(Ordering::Relaxed),
        }
    }
}
