//! The worker socket: the edge agent's one connection to this session.
//!
//! ```text
//!   alone  --connects-->  connected  --closes, breaks, or breaks the protocol-->  alone
//!                             ^ |
//!                             +-+  another one connects: it replaces the old
//! ```
//!
//! Owns the listener, the read half and the deadline for living without an agent. Writing is
//! [`outbox`]'s.
//!
//! **What it does not know:** what a message makes the session do.

pub mod inbox;
pub mod outbox;

use crate::limits::AGENT_ABSENT_MAX;
use inbox::{Inbox, ReadError};
use nearlight_protocol::worker::ToWorker;
use outbox::Outbox;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// The agent's connection.
#[derive(Debug)]
pub struct Link {
    listener: UnixListener,
    outbox: Outbox,
    connection: Option<(UnixStream, Inbox)>,
    absent_since_us: u64,
}

impl Link {
    /// Listens at `path`, for the owner only. A leftover socket of an earlier worker is replaced.
    ///
    /// # Errors
    /// If the directory is not ours to write in.
    pub fn listen(path: &Path, outbox: Outbox, now: u64) -> io::Result<Self> {
        let listener = bind(path, 0o600)?;
        Ok(Self {
            listener,
            outbox,
            connection: None,
            absent_since_us: now,
        })
    }

    /// The listener, to wait for.
    ///
    /// # Errors
    /// If there are no file descriptors left.
    pub fn listener_fd(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    /// The connection, to wait for.
    ///
    /// # Errors
    /// If there are no file descriptors left.
    pub fn connection_fd(&self) -> io::Result<Option<OwnedFd>> {
        let stream = self.connection.as_ref().map(|(stream, _)| stream);
        stream
            .map(|stream| stream.as_fd().try_clone_to_owned())
            .transpose()
    }

    /// Takes a new connection, if there is one, and says whether there was.
    ///
    /// # Errors
    /// If it broke at once.
    pub fn accept(&mut self) -> io::Result<bool> {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) => return Err(e),
        };
        stream.set_nonblocking(true)?;
        self.outbox.connect(stream.try_clone()?);
        self.connection = Some((stream, Inbox::default()));
        Ok(true)
    }

    /// Reads once.
    ///
    /// # Errors
    /// [`ReadError`] if the connection is over; call [`Self::close`] then.
    pub fn read(&mut self) -> Result<Vec<ToWorker>, ReadError> {
        let (stream, inbox) = self.connection.as_mut().ok_or(ReadError::Closed)?;
        inbox.read(stream)
    }

    /// Forgets the connection.
    pub fn close(&mut self, now: u64) {
        self.outbox.disconnect();
        self.connection = None;
        self.absent_since_us = now;
    }

    /// Whether an agent is connected.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Whether nobody has come for so long that the session is lost.
    pub fn is_orphaned(&self, now: u64) -> bool {
        let absent_us = AGENT_ABSENT_MAX.as_micros() as u64;
        self.connection.is_none() && now.saturating_sub(self.absent_since_us) > absent_us
    }
}

/// A non-blocking listener at `path` with `mode`. The mode is set before anybody can know the path
/// is there: the directory belongs to us.
///
/// # Errors
/// If the directory is not ours to write in.
pub fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
