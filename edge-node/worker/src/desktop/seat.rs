//! `wl_seat`: one keyboard and one pointer, both the player's.

use super::Desktop;
use super::keymap::config;
use smithay::delegate_seat;
use smithay::input::keyboard::KeyboardHandle;
use smithay::input::pointer::{CursorImageStatus, PointerHandle};
use smithay::input::{Seat, SeatHandler, SeatState};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{DisplayHandle, Resource};
use smithay::wayland::selection::data_device::set_data_device_focus;

/// Key repeat, as most desktops have it. Apps repeat by themselves.
const REPEAT_DELAY_MS: i32 = 500;
const REPEAT_PER_SECOND: i32 = 30;

/// No keyboard.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot load the keyboard layout {layout:?} (is the package xkb-data installed?): {source}"
)]
pub struct SeatError {
    layout: String,
    source: smithay::input::keyboard::Error,
}

/// The seat, its keyboard and its pointer.
pub(crate) type Started = (
    Seat<Desktop>,
    KeyboardHandle<Desktop>,
    PointerHandle<Desktop>,
);

/// Makes the seat.
pub(crate) fn start(
    display: &DisplayHandle,
    state: &mut SeatState<Desktop>,
    layout: &str,
) -> Result<Started, SeatError> {
    let mut seat = state.new_wl_seat(display, "player");
    let keyboard = seat
        .add_keyboard(config(layout), REPEAT_DELAY_MS, REPEAT_PER_SECOND)
        .map_err(|source| SeatError {
            layout: layout.to_owned(),
            source,
        })?;
    let pointer = seat.add_pointer();
    Ok((seat, keyboard, pointer))
}

impl SeatHandler for Desktop {
    type KeyboardFocus = WlSurface;
    type PointerFocus = WlSurface;
    type TouchFocus = WlSurface;

    fn seat_state(&mut self) -> &mut SeatState<Self> {
        &mut self.seat_state
    }

    fn focus_changed(&mut self, seat: &Seat<Self>, focused: Option<&WlSurface>) {
        let client = focused.and_then(Resource::client);
        set_data_device_focus(&self.display, seat, client);
        self.text_inputs.focus(focused);
    }

    fn cursor_image(&mut self, _seat: &Seat<Self>, image: CursorImageStatus) {
        self.cursor_wanted(image);
    }
}

delegate_seat!(Desktop);
