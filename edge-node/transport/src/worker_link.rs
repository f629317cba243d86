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

/// Bytes read in one system call.
const READ_BYTES: usize = 64 * 1024;
/// Room that an empty inbox keeps.
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
    /// Room to read into; what was read lies between `start` and `end`.
    inbox: Vec<u8>,
    /// Where in `inbox` the first frame starts that was not taken.
    start: usize,
    end: usize,
    outbox: Vec<u8>,
    readable: bool,
    writable: bool,
    /// The poll has told that the peer will send no more.
    closing: bool,
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
            end: 0,
            outbox: Vec::new(),
            readable: true,
            writable: true,
            // The poll has told of nothing yet, not even of an end.
            closing: false,
            ended: false,
        })
    }

    /// The stream, to register it.
    pub(crate) fn source(&mut self) -> &mut UnixStream {
        &mut self.stream
    }

    /// Notes what the poll said; `closing`: the peer will send no more.
    pub(crate) fn ready(&mut self, readable: bool, writable: bool, closing: bool) {
        self.readable |= readable;
        self.writable |= writable;
        self.closing |= closing;
    }

    /// Whether there is something to read, or to write, right now.
    pub(crate) fn has_work(&self) -> bool {
        self.readable || (self.writable && !self.outbox.is_empty())
    }

    /// Whether everything sent has left.
    pub(crate) fn is_flushed(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Reads a share, and appends the frames that are whole.
    ///
    /// # Errors
    /// [`LinkError`]: the link is over, after the frames that were appended.
    pub(crate) fn pull(&mut self, frames: &mut Vec<FromWorker>) -> Result<(), LinkError> {
        let mut left = WORKER_BYTES_PER_WAKE;
        while self.readable && !self.ended && left > 0 && !self.has_frames(WORKER_FRAMES_PER_WAKE) {
            left -= self.read(left)?;
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

    /// Reads once, at most `most` bytes; says how many came.
    fn read(&mut self, most: usize) -> Result<usize, LinkError> {
        let share = most.min(READ_BYTES);
        if self.inbox.len() < self.end + share {
            self.inbox.resize(self.end + share, 0);
        }
        let room = &mut self.inbox[self.end..self.end + share];
        match self.stream.read(room) {
            Ok(0) => self.ended = true,
            Ok(count) => {
                self.end += count;
                // Less than there was room for: it is empty, and says so when something comes. An
                // end that was told of already is not told of again, and has to be read.
                self.readable = count == share || self.closing;
                return Ok(count);
            }
            Err(error) if is_again(&error) => self.readable = false,
            Err(error) => return Err(error.into()),
        }
        Ok(0)
    }

    /// What was read and not taken.
    fn unread(&self) -> &[u8] {
        &self.inbox[self.start..self.end]
    }

    fn has_frames(&self, count: usize) -> bool {
        let mut bytes = self.unread();
        for _ in 0..count {
            match frame_len(bytes) {
                Ok(Some(len)) => match bytes.get(len..) {
                    Some(rest) => bytes = rest,
                    None => return false,
                },
                Ok(None) => return false,
                // The error comes out where frames are taken.
                Err(_) => return true,
            }
        }
        true
    }

    fn next_frame(&mut self) -> Result<Option<FromWorker>, LinkError> {
        let bytes = self.unread();
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

    /// Moves what is left of a frame to the front, and lets go of what a large one needed.
    fn compact(&mut self) {
        if self.start > 0 {
            self.inbox.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == 0 {
            self.inbox.truncate(INBOX_BYTES_KEPT);
            self.inbox.shrink_to(INBOX_BYTES_KEPT);
        }
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
