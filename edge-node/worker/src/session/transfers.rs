//! Clipboard bytes in motion: non-blocking, bounded in number, size and time.

use super::Session;
use crate::desktop::clipboard::Transfer;
use crate::limits::{CLIPBOARD_DEADLINE, CLIPBOARD_TRANSFERS_MAX};
use nearlight_protocol::limits::CLIPBOARD_BYTES_MAX;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{Interest, Mode, PostAction, RegistrationToken};
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

const DEADLINE_US: u64 = CLIPBOARD_DEADLINE.as_micros() as u64;

/// Transfers under way, oldest first. One that is over stays until its time is, which only costs
/// a slot.
#[derive(Debug, Default)]
pub(super) struct Transfers(VecDeque<(u64, RegistrationToken)>);

impl Session {
    pub(super) fn begin_transfer(&mut self, transfer: Transfer, now: u64) {
        if self.transfers.0.len() >= CLIPBOARD_TRANSFERS_MAX {
            tracing::debug!("too many clipboard transfers at a time, dropped");
            return;
        }
        let begun = match transfer {
            Transfer::Read(fd) => self.read_clipboard(fd),
            Transfer::Write(fd, text) => self.write_clipboard(fd, &text),
        };
        match begun {
            Ok(token) => self.transfers.0.push_back((now + DEADLINE_US, token)),
            Err(error) => tracing::debug!(error, "a clipboard transfer did not begin"),
        }
    }

    /// Cuts off transfers whose app is too slow.
    pub(super) fn expire_transfers(&mut self, now: u64) {
        while let Some((_, token)) = self.transfers.0.pop_front_if(|(due, _)| *due <= now) {
            self.handle.remove(token);
        }
    }

    fn read_clipboard(&mut self, fd: OwnedFd) -> Result<RegistrationToken, String> {
        let mut bytes = Vec::new();
        let source = Generic::new(fd, Interest::READ, Mode::Level);
        let inserted = self
            .handle
            .insert_source(source, move |_, fd, session: &mut Self| {
                let mut chunk = [0; 16 * 1024];
                match nix::unistd::read(fd.as_fd(), &mut chunk) {
                    Ok(n) if n > 0 && bytes.len() <= CLIPBOARD_BYTES_MAX => {
                        bytes.extend_from_slice(&chunk[..n]);
                        return Ok(PostAction::Continue);
                    }
                    Err(Errno::EAGAIN | Errno::EINTR) => return Ok(PostAction::Continue),
                    Ok(_) => session.desktop.clipboard_read(&bytes),
                    Err(error) => tracing::debug!(%error, "the app's clipboard broke off"),
                }
                Ok(PostAction::Remove)
            });
        inserted.map_err(|e| e.to_string())
    }

    fn write_clipboard(&mut self, fd: OwnedFd, text: &str) -> Result<RegistrationToken, String> {
        fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|e| e.to_string())?;
        let mut left = VecDeque::from(text.as_bytes().to_vec());
        let source = Generic::new(fd, Interest::WRITE, Mode::Level);
        let inserted = self
            .handle
            .insert_source(source, move |_, fd, _: &mut Self| {
                match nix::unistd::write(fd.as_fd(), left.make_contiguous()) {
                    Ok(n) => drop(left.drain(..n)),
                    Err(Errno::EAGAIN | Errno::EINTR) => {}
                    Err(error) => {
                        tracing::debug!(%error, "the app did not take the clipboard");
                        return Ok(PostAction::Remove);
                    }
                }
                Ok(if left.is_empty() {
                    PostAction::Remove
                } else {
                    PostAction::Continue
                })
            });
        inserted.map_err(|e| e.to_string())
    }
}
