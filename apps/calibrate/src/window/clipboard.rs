//! The clipboard: text both ways. Reading never blocks the window, writing is a few bytes.

use super::Window;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;
use wayland_client::globals::GlobalList;
use wayland_client::protocol::wl_data_device::{self, WlDataDevice};
use wayland_client::protocol::wl_data_device_manager::WlDataDeviceManager;
use wayland_client::protocol::wl_data_offer::{self, WlDataOffer};
use wayland_client::protocol::wl_data_source::{self, WlDataSource};
use wayland_client::protocol::wl_seat::WlSeat;
use wayland_client::{
    Connection, Dispatch, Proxy, QueueHandle, delegate_noop, event_created_child,
};

/// Types of text, best first.
const TYPES: [&str; 3] = ["text/plain;charset=utf-8", "UTF8_STRING", "text/plain"];
/// Longest text that is read, bytes.
const TEXT_MAX: usize = nearlight_protocol::limits::CLIPBOARD_BYTES_MAX;

/// The clipboard, as far as the compositor has one.
#[derive(Debug)]
pub(crate) struct Clipboard {
    maker: Option<WlDataDeviceManager>,
    device: Option<WlDataDevice>,
    source: Option<WlDataSource>,
    selection: Option<WlDataOffer>,
    reading: Option<(File, Vec<u8>)>,
}

/// The types that an offer has, best one kept.
#[derive(Debug, Default)]
pub(crate) struct OfferedType(Mutex<Option<usize>>);

impl Clipboard {
    pub(super) fn bind(
        globals: &GlobalList,
        queue: &QueueHandle<Window>,
        seat: Option<&WlSeat>,
    ) -> Self {
        let maker: Option<WlDataDeviceManager> = globals.bind(queue, 1..=3, ()).ok();
        Self {
            device: maker
                .as_ref()
                .zip(seat)
                .map(|(maker, seat)| maker.get_data_device(seat, queue, ())),
            maker,
            source: None,
            selection: None,
            reading: None,
        }
    }

    /// Puts `text` on the clipboard.
    pub(super) fn copy(&mut self, text: String, serial: u32, queue: &QueueHandle<Window>) {
        let (Some(maker), Some(device)) = (&self.maker, &self.device) else {
            return;
        };
        let source = maker.create_data_source(queue, text);
        for name in TYPES {
            source.offer(name.into());
        }
        device.set_selection(Some(&source), serial);
        if let Some(old) = self.source.replace(source) {
            old.destroy();
        }
    }

    /// Asks for the clipboard's text; `false` if it has none.
    pub(super) fn paste(&mut self) -> bool {
        let Some(offer) = &self.selection else {
            return false;
        };
        let best = offer
            .data::<OfferedType>()
            .and_then(|offered| *offered.0.lock().expect("no holder of this lock panics"));
        let Some(best) = best else {
            return false;
        };
        let Ok((end, far_end)) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK) else {
            return false;
        };
        offer.receive(TYPES[best].into(), far_end.as_fd());
        self.reading = Some((end.into(), Vec::new()));
        true
    }

    /// The pipe that text comes on.
    pub(crate) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.reading.as_ref().map(|(pipe, _)| pipe.as_fd())
    }

    /// Reads what has come: the text once it is whole, `Some(None)` if it is none.
    pub(super) fn read(&mut self) -> Option<Option<String>> {
        let (pipe, text) = self.reading.as_mut()?;
        let mut chunk = [0; 4096];
        loop {
            match pipe.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) if text.len() + count > TEXT_MAX => break,
                Ok(count) => text.extend(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let (_, text) = self.reading.take()?;
        Some(String::from_utf8(text).ok())
    }
}

impl Dispatch<WlDataDevice, ()> for Window {
    fn event(
        window: &mut Self,
        _: &WlDataDevice,
        event: wl_data_device::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_data_device::Event::Selection { id } = event {
            let old = std::mem::replace(&mut window.clipboard.selection, id);
            if let Some(old) = old {
                old.destroy();
            }
        }
    }

    event_created_child!(Window, WlDataDevice, [
        wl_data_device::EVT_DATA_OFFER_OPCODE => (WlDataOffer, OfferedType::default()),
    ]);
}

impl Dispatch<WlDataOffer, OfferedType> for Window {
    fn event(
        _: &mut Self,
        _: &WlDataOffer,
        event: wl_data_offer::Event,
        offered: &OfferedType,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_data_offer::Event::Offer { mime_type } = event {
            let Some(place) = TYPES.iter().position(|name| *name == mime_type) else {
                return;
            };
            let mut best = offered.0.lock().expect("no holder of this lock panics");
            *best = Some(best.map_or(place, |best| best.min(place)));
        }
    }
}

impl Dispatch<WlDataSource, String> for Window {
    fn event(
        window: &mut Self,
        source: &WlDataSource,
        event: wl_data_source::Event,
        text: &String,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            wl_data_source::Event::Send { fd, .. } => {
                if let Err(error) = File::from(fd).write_all(text.as_bytes()) {
                    crate::complain(&error.into());
                }
            }
            wl_data_source::Event::Cancelled => {
                source.destroy();
                if window.clipboard.source.as_ref() == Some(source) {
                    window.clipboard.source = None;
                }
            }
            _ => {}
        }
    }
}

delegate_noop!(Window: WlDataDeviceManager);
