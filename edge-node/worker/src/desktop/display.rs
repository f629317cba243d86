//! The display: what size and rate apps see, and how it follows the player's screen and the path.
//!
//! ```text
//! wanted --at most one change per DISPLAY_INTERVAL, the newest--> output mode, windows configured,
//!                                            pictures, encoder and pacing of the new size and rate
//! ```
//!
//! Nothing restarts for the app: it sees an output change its mode and its windows get a configure.
//! Until it draws at the new size, its old picture is shown centred or cut; an app that keeps its
//! size (X11 apps on a rootful Xwayland keep the one they started with) is shown so for good. The
//! player's input is a part of the display each way, so it stays right across a change.
//!
//! **What it does not know:** who wants a size, and why.

use super::{Desktop, DesktopError};
use crate::limits::{DISPLAY_INTERVAL, PICTURE_MIN};
use nearlight_protocol::app::DisplayMode;
use nearlight_protocol::limits::{DISPLAY_HZ_MAX, DISPLAY_SIDE_MAX};
use nearlight_protocol::worker::PicturePath;
use smithay::output::Mode;
use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_toplevel::State;
use smithay::wayland::shell::xdg::ToplevelSurface;

const INTERVAL_US: u64 = DISPLAY_INTERVAL.as_micros() as u64;
/// Slower displays make no game playable.
const HZ_MIN: u32 = 30;

/// The display that apps see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisplaySize {
    /// Pixels, even.
    pub width: u32,
    /// Pixels, even.
    pub height: u32,
    /// Frames per second.
    pub hz: u32,
}

impl DisplaySize {
    /// The display nearest to what a player's screen wants of at most so many pixels a second: slower
    /// if that is too many, and at the slowest rate smaller, of the same shape.
    pub fn fitting(mode: DisplayMode, pixels_per_s_max: u64) -> Self {
        let side = |side: u32, min: u32| side.clamp(min, DISPLAY_SIDE_MAX) & !1;
        let (width, height) = (
            side(mode.width, PICTURE_MIN.0),
            side(mode.height, PICTURE_MIN.1),
        );
        let pixels = u64::from(width) * u64::from(height);
        let hz_most = u32::try_from(pixels_per_s_max / pixels).unwrap_or(u32::MAX);
        let hz = mode.hz.min(hz_most).clamp(HZ_MIN, DISPLAY_HZ_MAX);
        let most = pixels_per_s_max as f64 / f64::from(hz);
        let shrink = (most / pixels as f64).sqrt().min(1.0);
        let smaller = |length: u32, min: u32| side((f64::from(length) * shrink) as u32, min);
        Self {
            width: smaller(width, PICTURE_MIN.0),
            height: smaller(height, PICTURE_MIN.1),
            hz,
        }
    }

    /// Width as Wayland counts.
    pub fn w(&self) -> i32 {
        self.width as i32
    }

    /// Height as Wayland counts.
    pub fn h(&self) -> i32 {
        self.height as i32
    }

    /// Its mode, as an output announces it.
    pub(crate) fn mode(&self) -> Mode {
        Mode {
            size: (self.w(), self.h()).into(),
            refresh: self.hz as i32 * 1000,
        }
    }
}

/// Holds wishes back so that a window being dragged costs few changes.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    newest: Option<DisplaySize>,
    changed_us: Option<u64>,
}

impl Wishes {
    fn want(&mut self, size: DisplaySize) {
        self.newest = Some(size);
    }

    fn due_us(&self) -> Option<u64> {
        self.newest
            .map(|_| self.changed_us.map_or(0, |at| at + INTERVAL_US))
    }

    fn take(&mut self, now: u64) -> Option<DisplaySize> {
        self.due_us().filter(|due| *due <= now)?;
        self.changed_us = Some(now);
        self.newest.take()
    }
}

impl Desktop {
    /// The player's screen wants this display; it gets it soon.
    pub fn want_display(&mut self, mode: DisplayMode) {
        let size = DisplaySize::fitting(mode, self.pixels_per_s_max);
        self.wishes.want(size);
    }

    /// When [`Self::on_display_due`] wants to be called.
    pub fn display_due_us(&self) -> Option<u64> {
        let redraw = self.capture.redraw_due_us();
        [self.wishes.due_us(), redraw].into_iter().flatten().min()
    }

    /// Changes the display if that is due, and shows a changed one that no app has drawn on.
    /// Returns whether it changed.
    ///
    /// # Errors
    /// [`DesktopError`] if there is no memory for the new size.
    pub fn on_display_due(&mut self, now: u64) -> Result<bool, DesktopError> {
        self.redraw_if_due(now);
        match self.wishes.take(now) {
            Some(size) => self.set_display(size, now),
            None => Ok(false),
        }
    }

    /// Gives the display this size and rate now. Returns whether that changed anything.
    fn set_display(&mut self, size: DisplaySize, now: u64) -> Result<bool, DesktopError> {
        let old = std::mem::replace(&mut self.size, size);
        if old == size {
            return Ok(false);
        }
        tracing::info!(?old, new = ?size, "display changes");
        self.output.delete_mode(old.mode());
        self.output
            .change_current_state(Some(size.mode()), None, None, None);
        self.output.set_preferred(size.mode());
        self.frames.pacer.set_rates(size.hz, self.capture.fps_max());
        self.capture.reshape(size, now)?;
        if (old.width, old.height) != (size.width, size.height) {
            self.painter.resize(size)?;
            self.scene.resize(size);
            for window in self.scene.toplevels() {
                configure(window, size);
            }
            self.keep_pointer_part(old);
            self.notices.display((size.width, size.height));
        }
        Ok(true)
    }

    /// The pointer stays at the same part of the display.
    fn keep_pointer_part(&mut self, old: DisplaySize) {
        let at = self.pointer.current_location();
        let scaled = |at: f64, old: u32, new: u32| at * f64::from(new) / f64::from(old);
        let to = (
            scaled(at.x, old.width, self.size.width),
            scaled(at.y, old.height, self.size.height),
        )
            .into();
        if self.pointer_is_locked() {
            self.pointer.set_location(self.clamp(to));
        } else {
            self.move_pointer(to);
        }
    }

    /// The encoded picture is this part of the display, and shows at most so many frames a second.
    /// Returns whether that changed anything.
    ///
    /// # Errors
    /// [`DesktopError`] if there is no memory for the new size.
    pub fn set_target(
        &mut self,
        scale_percent: u8,
        fps_max: u32,
        now: u64,
    ) -> Result<bool, DesktopError> {
        let fps_max = fps_max.clamp(1, DISPLAY_HZ_MAX);
        if !self.capture.set_target(scale_percent, fps_max) {
            return Ok(false);
        }
        self.frames.pacer.set_rates(self.size.hz, fps_max);
        self.capture.reshape(self.size, now)?;
        Ok(true)
    }

    /// The way of the newest picture to the encoder.
    pub fn picture_path(&self) -> PicturePath {
        self.capture.path()
    }

    /// Whether the newest picture carries the session's marker, if it is large enough for one.
    pub fn is_marked(&self) -> bool {
        self.capture.is_marked()
    }

    /// The display, and the frames a second that are encoded of it at most.
    pub fn display(&self) -> (DisplayMode, u32) {
        let DisplaySize { width, height, hz } = self.size;
        (
            DisplayMode { width, height, hz },
            hz.min(self.capture.fps_max()),
        )
    }
}

/// Tells a window the display's size: a dialog only as its bounds.
pub(crate) fn configure(toplevel: &ToplevelSurface, size: DisplaySize) {
    let dialog = toplevel.parent().is_some();
    toplevel.with_pending_state(|state| {
        state.bounds = Some((size.w(), size.h()).into());
        state.states.set(State::Activated);
        if !dialog {
            state.size = Some((size.w(), size.h()).into());
            state.states.set(State::Fullscreen);
        }
    });
    if toplevel.is_initial_configure_sent() {
        toplevel.send_pending_configure();
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn wishes_are_brought_within_what_encoders_and_games_take() {
        for ((width, height, hz), expected) in [
            ((1280, 720, 60), (1280, 720, 60)),
            ((1367, 767, 144), (1366, 766, 144)),
            ((1, 9000, 1), (192, 4096, 30)),
            ((0, 0, 1000), (192, 128, 240)),
        ] {
            let size = DisplaySize::fitting(DisplayMode { width, height, hz }, u64::MAX);
            assert_eq!((size.width, size.height, size.hz), expected);
        }
    }

    #[test]
    fn a_display_of_more_pixels_a_second_than_the_slot_has_is_slower_and_then_smaller() {
        for ((width, height, hz), expected) in [
            ((2560, 1440, 144), (2560, 1440, 144)),
            ((3840, 2160, 144), (3840, 2160, 72)),
            ((4096, 4096, 240), (4096, 4096, 35)),
        ] {
            let size = DisplaySize::fitting(DisplayMode { width, height, hz }, 600_000_000);
            assert_eq!((size.width, size.height, size.hz), expected);
        }
        let wanted = DisplayMode {
            width: 3840,
            height: 2160,
            hz: 60,
        };
        let size = DisplaySize::fitting(wanted, 28_000_000);
        assert_eq!((size.width, size.height, size.hz), (1288, 724, 30));
        // Nothing is smaller than encoders take.
        let size = DisplaySize::fitting(wanted, 1);
        assert_eq!((size.width, size.height, size.hz), (192, 128, 30));
    }

    #[test]
    fn the_first_wish_is_met_at_once_and_the_last_one_in_time() {
        let size = |width| DisplaySize {
            width,
            height: 64,
            hz: 60,
        };
        let mut wishes = Wishes::default();
        assert_eq!(wishes.due_us(), None);
        let mut changes = Vec::new();
        for n in 0..100 {
            let now = 1_000_000 + n * 10_000;
            wishes.want(size(100 + n as u32));
            changes.extend(wishes.take(now).map(|s| s.width));
        }
        let due = wishes.due_us().unwrap();
        changes.extend(wishes.take(due).map(|s| s.width));
        assert_eq!(changes, [100, 125, 150, 175, 199]);
        assert_eq!(wishes.due_us(), None);
    }
}
