//! The socket to one session worker: frames in and out, bounded both ways.
//!
//! A worker parses what a hostile game sends, so it may itself be hostile: a frame that is none, a
//! length out of range, or a reader that never reads ends the link. It cannot make this thread
//! panic, wait, or hold more than one largest frame.

use crate::limits::{WORKER_BACKLOG_BYTES_MAX, WORKER_BYTES_PER_WAKE, WORKER_FRAMES_PER_WAKE};
use crate::net::ports::is_again;
use mio::net::UnixStream;
use nearlight_protocol::worker::{FrameError, FromWorker, ToWorker, frame_len};
use std::io::{Read, Write};

/// Capacity that an empty inbox keeps.
const INBOX_BYTES_KEPT: usize = 1024 * 1024;

/// Why a link is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the worker closed its socket")]
    Closed,
    #[error("the worker's socket failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("the worker sent what is no frame: {0}")]
    Frame(#[from] FrameError),
    #[error("the worker does not read its socket")]
    Behind,
}

/// The link.
pub(crate) struct WorkerLink {
    stream: UnixStream,
    inbox: Vec<u8>,
    /// Where in `inbox` the first unread frame starts.
    start: usize,
    outbox: Vec<u8>,
    readable: bool,
    writable: bool,
    /// The peer will send no more; what is in `inbox` is still good.
    ended: bool,
}

impl WorkerLink {
    /// Takes over a connected stream.
    pub(crate) fn new(stream: std::os::unix::net::UnixStream) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: UnixStream::from_std(stream),
            inbox: Vec::new(),
            start: 0,
            outbox: Vec::new(),
            readable: true,
            writable: true,
            ended: false,
        })
    }

    /// The stream, to register it.
    pub(crate) fn source(&mut self) -> &mut UnixStream {
        &mut self.stream
    }

    /// Notes what the poll said.
    pub(crate) fn ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Whether there is something to read, or to write, right now.
    pub(crate) fn has_work(&self) -> bool {
        self.readable || (self.writable && !self.outbox.is_empty())
    }

    /// Whether everything sent has left.
    pub(crate) fn is_flushed(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Reads a share, and appends the frames that are whole. `scratch` is the caller's buffer.
    ///
    /// # Errors
    /// [`LinkError`]: the link is over, after the frames that were appended.
    pub(crate) fn pull(
        &mut self,
        scratch: &mut [u8],
        frames: &mut Vec<FromWorker>,
    ) -> Result<(), LinkError> {
        let mut left = WORKER_BYTES_PER_WAKE;
        while self.readable && !self.ended && left > 0 && !self.has_frames(WORKER_FRAMES_PER_WAKE) {
            let share = scratch.len().min(left);
            match self.stream.read(&mut scratch[..share]) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.inbox.extend_from_slice(&scratch[..count]);
                    left -= count;
                }
                Err(error) if is_again(&error) => self.readable = false,
                Err(error) => return Err(error.into()),
            }
        }
        let mut taken = 0;
        while taken < WORKER_FRAMES_PER_WAKE {
            let Some(frame) = self.next_frame()? else {
                break;
            };
            frames.push(frame);
            taken += 1;
        }
        let starved = taken < WORKER_FRAMES_PER_WAKE;
        self.compact();
        if self.ended && starved {
            return Err(LinkError::Closed);
        }
        // Frames left in the inbox need another turn though the socket may have nothing new.
        self.readable |= !starved;
        Ok(())
    }

    fn has_frames(&self, count: usize) -> bool {
        let mut at = self.start;
        for _ in 0..count {
            match frame_len(&self.inbox[at..]) {
                Ok(Some(len)) if self.inbox.len() - at >= len => at += len,
                Ok(_) => return false,
                // The error comes out where frames are taken.
                Err(_) => return true,
            }
        }
        true
    }

    fn next_frame(&mut self) -> Result<Option<FromWorker>, LinkError> {
        let bytes = &self.inbox[self.start..];
        let Some(len) = frame_len(bytes)? else {
            return Ok(None);
        };
        let Some(whole) = bytes.get(..len) else {
            return Ok(None);
        };
        let frame = FromWorker::decode(whole)?;
        self.start += len;
        Ok(Some(frame))
    }

    fn compact(&mut self) {
        if self.start == self.inbox.len() {
            self.inbox.clear();
            self.inbox.shrink_to(INBOX_BYTES_KEPT);
        } else if self.start > 0 {
            self.inbox.drain(..self.start);
        }
        self.start = 0;
    }

    /// Sends a message, now as far as the socket takes it.
    ///
    /// # Errors
    /// [`LinkError`]: the link is over.
    pub(crate) fn send(&mut self, message: &ToWorker) -> Result<(), LinkError> {
        if self.outbox.len() > WORKER_BACKLOG_BYTES_MAX {
            return Err(LinkError::Behind);
        }
        message.encode_into(&mut self.outbox);
        self.flush()
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// [`LinkError`]: the link is over.
    pub(crate) fn flush(&mut self) -> Result<(), LinkError> {
        let mut written = 0;
        while self.writable && written < self.outbox.len() {
            match self.stream.write(&self.outbox[written..]) {
                Ok(0) => return Err(LinkError::Closed),
                Ok(count) => written += count,
                Err(error) if is_again(&error) => self.writable = false,
                Err(error) => return Err(error.into()),
            }
        }
        self.outbox.drain(..written);
        Ok(())
    }
}

#[cfg(test)]
#[path = "worker_link/test.rs"]
mod test;
