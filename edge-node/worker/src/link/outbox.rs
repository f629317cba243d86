//! What waits for the agent. Shared by the event loop, the encoder's thread and the sound server's,
//! so that an access unit goes from the encoder into the socket without a detour.
//!
//! Owns the write half. Nothing here blocks: what the socket does not take at once waits in one
//! bounded backlog that the event loop flushes. Each kind has its own bound: video is dropped first,
//! up to the next key frame; then sound; notices and counters are kept until the agent counts as
//! dead.
//!
//! **Invariant:** a frame is written whole or not begun. Video never starts in the middle: after
//! a drop, and on a new connection, the next access unit that goes out is a key frame.

use crate::limits::{LINK_AUDIO_BACKLOG_BYTES, LINK_BACKLOG_BYTES_MAX, LINK_VIDEO_BACKLOG_BYTES};
use nearlight_protocol::worker::{FromWorker, Video};
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What became of an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    /// Written, or in the backlog.
    Taken,
    /// Dropped: no agent, or it is behind.
    Behind,
}

/// How the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing waits.
    Empty,
    /// The socket is full.
    Waiting,
    /// It broke, or the backlog grew past its bound.
    Dead,
}

/// The write half of the link; clones share it.
#[derive(Clone, Debug)]
pub struct Outbox(Arc<Mutex<Inner>>);

struct Inner {
    stream: Option<UnixStream>,
    backlog: Vec<u8>,
    sent: usize,
    needs_key: bool,
    dead: bool,
    audio_packets: u64,
    /// Called when the backlog begins: the event loop waits for the socket to become writable.
    wake: Box<dyn Fn() + Send>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("backlog", &self.waiting())
            .finish_non_exhaustive()
    }
}

impl Outbox {
    /// An outbox without an agent. `wake` is called from any thread and must not block.
    pub fn new(wake: impl Fn() + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            stream: None,
            backlog: Vec::new(),
            sent: 0,
            needs_key: true,
            dead: false,
            audio_packets: 0,
            wake: Box::new(wake),
        })))
    }

    /// A new agent, in place of the old one; `stream` must be non-blocking.
    pub fn connect(&self, stream: UnixStream) {
        let mut inner = self.lock();
        inner.reset();
        inner.stream = Some(stream);
    }

    /// No agent any more.
    pub fn disconnect(&self) {
        self.lock().reset();
    }

    /// Hands over an access unit, or drops it.
    pub fn offer_video(&self, video: Video) -> Handed {
        let mut inner = self.lock();
        let behind = inner.waiting() > LINK_VIDEO_BACKLOG_BYTES;
        if inner.stream.is_none() || behind || (inner.needs_key && !video.key) {
            inner.needs_key = true;
            return Handed::Behind;
        }
        inner.needs_key = false;
        inner.write(&FromWorker::Video(video));
        Handed::Taken
    }

    /// Hands over an Opus packet, or drops it.
    pub fn offer_audio(&self, pts_us: u64, opus: &[u8]) {
        let mut inner = self.lock();
        if inner.stream.is_some() && inner.waiting() <= LINK_AUDIO_BACKLOG_BYTES {
            inner.audio_packets += 1;
            inner.write(&FromWorker::Audio {
                pts_us,
                data: opus.to_vec(),
            });
        }
    }

    /// Hands over anything else; lost without an agent.
    pub fn send(&self, message: &FromWorker) {
        let mut inner = self.lock();
        if inner.stream.is_some() {
            inner.write(message);
        }
    }

    /// Writes what waits, as far as the socket takes it.
    pub fn flush(&self) -> Flushed {
        self.lock().flush()
    }

    /// Opus packets handed over so far.
    pub fn audio_packets(&self) -> u64 {
        self.lock().audio_packets
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn reset(&mut self) {
        self.stream = None;
        self.backlog = Vec::new();
        self.sent = 0;
        self.needs_key = true;
        self.dead = false;
    }

    fn waiting(&self) -> usize {
        self.backlog.len() - self.sent
    }

    fn write(&mut self, message: &FromWorker) {
        let was_empty = self.waiting() == 0;
        message.encode_into(&mut self.backlog);
        if self.waiting() > LINK_BACKLOG_BYTES_MAX {
            self.dead = true;
        }
        if was_empty {
            match self.flush() {
                Flushed::Empty => {}
                Flushed::Waiting | Flushed::Dead => (self.wake)(),
            }
        }
    }

    fn flush(&mut self) -> Flushed {
        let Some(stream) = &mut self.stream else {
            return Flushed::Empty;
        };
        while !self.dead && self.sent < self.backlog.len() {
            match stream.write(&self.backlog[self.sent..]) {
                Ok(0) => self.dead = true,
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    // Moving what is left is rare and bounded; a ring would split every write.
                    self.backlog.drain(..self.sent);
                    self.sent = 0;
                    return Flushed::Waiting;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.dead = true,
            }
        }
        self.backlog.clear();
        self.sent = 0;
        if self.dead {
            Flushed::Dead
        } else {
            Flushed::Empty
        }
    }
}

#[cfg(test)]
#[path = "outbox/test.rs"]
mod test;
