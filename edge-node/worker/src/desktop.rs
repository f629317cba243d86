//! The session's desktop: a headless Wayland compositor with one output, one seat, and the app.
//!
//! One file per global; what they share is here. In reading order: [`clients`] (who is connected
//! and what they may use up), [`surfaces`] (a commit), [`scene`] (what is visible), [`capture`]
//! (from a commit to a picture for the encoder), [`frames`] (when apps may draw), [`display`] (its
//! size and rate, which follow the player's screen), [`input`] (from the player to the app). Where
//! the session has a GPU, [`gpu`] draws, [`dmabuf`] takes what apps drew on it, and [`fences`]
//! says when that is finished.
//!
//! Owns everything an app can make here. Runs on the main thread only.
//!
//! **Invariant:** a client's buffer is read inside `shm::with_buffer_contents` and nowhere else, so
//! that an app that truncates its file is cut off instead of killing us. Every bound of
//! [`crate::limits`] that an app can reach ends in `Desktop::violated`.
//!
//! X11 apps bring their own Xwayland: it runs beside them in the container, rootful, and is one
//! fullscreen window here like any other. (Rootless needs Xwayland 23.1, which Debian 12 has not.)
//!
//! **What it does not know:** sockets to the agent, codecs, sessions.

pub mod capture;
pub mod clients;
pub mod clipboard;
pub mod composite;
pub mod constraints;
pub mod cursor;
pub mod decoration;
pub mod display;
pub mod dmabuf;
pub mod fences;
pub mod frames;
pub mod globals;
pub mod gpu;
pub mod input;
pub mod keymap;
pub mod layout;
mod painter;
pub mod pixels;
pub mod presentation;
mod record;
pub mod regions;
#[cfg(test)]
mod rig;
pub mod scene;
pub mod seat;
pub mod shell;
pub mod shm;
pub mod surfaces;
pub mod text_input;
mod way;

use crate::encode::Feed;
use crate::encode::picture::PictureError;
use crate::ledger::Ledger;
use crate::notices::Notices;
use capture::Capture;
use clients::Clients;
use clipboard::Clipboard;
use cursor::CursorWatch;
pub use display::DisplaySize;
use display::Wishes;
use dmabuf::Dmabufs;
use fences::Fences;
use frames::Frames;
use globals::Globals;
use gpu::Gpu;
use input::Injected;
use painter::Painter;
use scene::Scene;
use seat::SeatError;
use smithay::desktop::PopupManager;
use smithay::input::keyboard::KeyboardHandle;
use smithay::input::pointer::PointerHandle;
use smithay::input::{Seat, SeatState};
use smithay::output::Output;
use smithay::reexports::wayland_server::{DisplayHandle, Resource};
use std::collections::BTreeMap;
use std::path::PathBuf;
use text_input::TextInputs;

/// Why there is no desktop.
#[derive(Debug, thiserror::Error)]
pub enum DesktopError {
    /// No memory for pictures.
    #[error(transparent)]
    Pictures(#[from] PictureError),
    /// No keyboard.
    #[error(transparent)]
    Seat(#[from] SeatError),
    /// No software renderer.
    #[error("cannot composite: {0}")]
    Compositor(#[from] composite::CompositeError),
}

/// What the desktop works with, made by the session.
#[derive(Debug)]
pub struct Parts {
    /// The display's size and rate.
    pub size: DisplaySize,
    /// Pixels a second of any display that a player's screen may have.
    pub pixels_per_s_max: u64,
    /// The first keyboard layout.
    pub layout: String,
    /// Where pictures go.
    pub feed: Feed,
    /// Where commits are counted.
    pub ledger: Ledger,
    /// Where the browser is told things.
    pub notices: Notices,
    /// Record the first pictures here.
    pub record: Option<(PathBuf, u32)>,
    /// The GPU to draw on, if the session has one.
    pub gpu: Option<Gpu>,
}

/// The state behind every Wayland object.
#[derive(Debug)]
pub struct Desktop {
    pub(crate) display: DisplayHandle,
    pub(crate) size: DisplaySize,
    pub(crate) pixels_per_s_max: u64,
    pub(crate) wishes: Wishes,
    pub(crate) globals: Globals,
    pub(crate) clients: Clients,
    pub(crate) seat_state: SeatState<Self>,
    pub(crate) seat: Seat<Self>,
    pub(crate) keyboard: KeyboardHandle<Self>,
    pub(crate) pointer: PointerHandle<Self>,
    pub(crate) output: Output,
    pub(crate) popups: PopupManager,
    pub(crate) scene: Scene,
    pub(crate) frames: Frames,
    pub(crate) capture: Capture,
    pub(crate) dmabufs: Dmabufs,
    pub(crate) fences: Fences,
    pub(crate) painter: Painter,
    pub(crate) injected: Injected,
    pub(crate) cursor: CursorWatch,
    pub(crate) clipboard: Clipboard,
    pub(crate) text_inputs: TextInputs,
    pub(crate) notices: Notices,
    violation: Option<String>,
}

impl Desktop {
    /// A desktop without clients.
    ///
    /// # Errors
    /// [`DesktopError`] if a library that it stands on does not start.
    pub fn new(display: &DisplayHandle, parts: Parts) -> Result<Self, DesktopError> {
        let size = parts.size;
        let mut seat_state = SeatState::new();
        let (seat, keyboard, pointer) = seat::start(display, &mut seat_state, &parts.layout)?;
        Ok(Self {
            display: display.clone(),
            size,
            pixels_per_s_max: parts.pixels_per_s_max,
            wishes: Wishes::default(),
            globals: Globals::new(display),
            clients: Clients::default(),
            seat_state,
            seat,
            keyboard,
            pointer,
            output: globals::output(display, size),
            popups: PopupManager::default(),
            scene: Scene::new(size),
            frames: Frames::new(size.hz),
            capture: Capture::new(parts.feed, parts.ledger, size, parts.record)?,
            dmabufs: Dmabufs::new(display, parts.gpu.as_ref()),
            fences: Fences::new(display, parts.gpu.as_ref()),
            painter: Painter::new(parts.gpu, size)?,
            injected: Injected::new(parts.layout),
            cursor: CursorWatch::default(),
            clipboard: Clipboard::default(),
            text_inputs: TextInputs::default(),
            notices: parts.notices,
            violation: None,
        })
    }

    /// An app broke a bound: cut it off and end the session. `resource` is what it did it with.
    pub(crate) fn violated(&mut self, resource: &impl Resource, what: &str) {
        // wl_display error 3 is `implementation`; no interface has a code for "too much".
        resource.post_error(3_u32, what);
        self.violation(what);
    }

    /// The same where no object is to blame.
    pub(crate) fn violation(&mut self, what: &str) {
        tracing::warn!(what, "the app broke the rules of its desktop");
        self.violation.get_or_insert_with(|| what.to_owned());
    }

    /// After each round of requests.
    pub fn after_round(&mut self) {
        self.check_gone();
        self.check_constraint();
    }

    /// Tells the browser about this desktop, or stops to.
    pub fn notices_attached(&mut self, attached: bool) {
        if attached {
            self.notices.attach(crate::clock::mono_us());
        } else {
            self.notices.detach();
        }
    }

    /// Width and height.
    pub fn display_size(&self) -> (u32, u32) {
        (self.size.width, self.size.height)
    }

    /// Input events injected, by kind.
    pub fn injected_counts(&self) -> BTreeMap<String, u64> {
        self.injected.counts()
    }

    /// What an app did that ends the session.
    pub fn take_violation(&mut self) -> Option<String> {
        self.violation.take()
    }
}
