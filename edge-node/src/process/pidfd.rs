//! A pidfd that can be awaited.
#![allow(
    unsafe_code,
    reason = "tokio registers a descriptor only on the word of the caller that it stays open"
)]

use rustix::process::{Pid, PidfdFlags, Signal};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A pin on one process: while it is held the pid is given to no other.
#[derive(Debug)]
pub(super) struct Pidfd(AsyncFd<OwnedFd>);

impl Pidfd {
    pub(super) fn open(pid: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("pid 0 names no process"))?;
        let fd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        // SAFETY: `AsyncFd` owns the `OwnedFd`, which is open, stays open until it is dropped, and
        // always answers with the same descriptor; nobody else has it.
        let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        Ok(Self(registered?))
    }

    /// Waits for the end of the process.
    pub(super) async fn exited(&self) -> io::Result<()> {
        self.0.ready(Interest::READABLE).await.map(drop)
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(rustix::process::pidfd_send_signal(
            self.0.get_ref(),
            signal,
        )?)
    }
}
