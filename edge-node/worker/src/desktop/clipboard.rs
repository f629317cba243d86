//! `wl_data_device`: clipboard text both ways. Drag and drop works between the app's own windows.
//!
//! Owns no file descriptor for longer than a call: it asks the event loop for [`Transfer`]s, which
//! has deadlines and polls.

use super::Desktop;
use crate::limits::CLIPBOARD_TRANSFERS_MAX;
use nearlight_protocol::limits::CLIPBOARD_BYTES_MAX;
use nix::fcntl::OFlag;
use smithay::delegate_data_device;
use smithay::input::Seat;
use smithay::wayland::selection::data_device::{
    ClientDndGrabHandler, DataDeviceHandler, DataDeviceState, ServerDndGrabHandler,
    request_data_device_client_selection, set_data_device_selection,
};
use smithay::wayland::selection::{SelectionHandler, SelectionSource, SelectionTarget};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Names of plain UTF-8 text, best first.
const TEXT: [&str; 4] = [
    "text/plain;charset=utf-8",
    "UTF8_STRING",
    "text/plain",
    "STRING",
];

/// Bytes that the event loop moves.
#[derive(Debug)]
pub enum Transfer {
    /// From the app: the text ends where the pipe does.
    Read(OwnedFd),
    /// To the app.
    Write(OwnedFd, Arc<str>),
}

/// What is to be moved.
#[derive(Debug, Default)]
pub struct Clipboard {
    offered: Option<&'static str>,
    transfers: Vec<Transfer>,
}

impl SelectionHandler for Desktop {
    type SelectionUserData = Arc<str>;

    fn new_selection(
        &mut self,
        target: SelectionTarget,
        source: Option<SelectionSource>,
        _seat: Seat<Self>,
    ) {
        if target != SelectionTarget::Clipboard {
            return;
        }
        let offered = source.map(|source| source.mime_types()).unwrap_or_default();
        self.clipboard.offered = TEXT
            .into_iter()
            .find(|text| offered.iter().any(|mime| mime == text));
    }

    fn send_selection(
        &mut self,
        _target: SelectionTarget,
        _mime: String,
        fd: OwnedFd,
        _seat: Seat<Self>,
        text: &Arc<str>,
    ) {
        if self.clipboard.transfers.len() < CLIPBOARD_TRANSFERS_MAX {
            self.clipboard
                .transfers
                .push(Transfer::Write(fd, Arc::clone(text)));
        }
    }
}

impl Desktop {
    /// The player's clipboard becomes the app's.
    pub(crate) fn offer_clipboard(&mut self, text: String) -> bool {
        let names = TEXT.iter().map(|name| (*name).to_owned()).collect();
        set_data_device_selection::<Self>(&self.display, &self.seat, names, text.into());
        true
    }

    /// After each round: what the event loop is to move. Reading starts here and not when the app
    /// announces its text, for only now is it the current selection.
    pub fn take_transfers(&mut self) -> Vec<Transfer> {
        if let Some(mime) = self.clipboard.offered.take() {
            match self.ask_for(mime) {
                Ok(fd) => self.clipboard.transfers.push(Transfer::Read(fd)),
                Err(error) => tracing::debug!(error, "the app's clipboard cannot be read"),
            }
        }
        std::mem::take(&mut self.clipboard.transfers)
    }

    fn ask_for(&self, mime: &str) -> Result<OwnedFd, String> {
        let (read, write) =
            nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(|e| e.to_string())?;
        request_data_device_client_selection::<Self>(&self.seat, mime.to_owned(), write)
            .map_err(|e| e.to_string())?;
        Ok(read)
    }

    /// The app's text arrived. Too long a text is cut at a character.
    pub fn clipboard_read(&mut self, bytes: &[u8]) {
        let mut end = bytes.len().min(CLIPBOARD_BYTES_MAX);
        let whole = String::from_utf8_lossy(bytes);
        end = end.min(whole.len());
        while !whole.is_char_boundary(end) {
            end -= 1;
        }
        let text = whole[..end].replace('\0', "");
        if !text.is_empty() {
            self.notices.clipboard(text);
        }
    }
}

impl DataDeviceHandler for Desktop {
    fn data_device_state(&self) -> &DataDeviceState {
        &self.globals.data_device
    }
}

impl ClientDndGrabHandler for Desktop {}
impl ServerDndGrabHandler for Desktop {}

delegate_data_device!(Desktop);
