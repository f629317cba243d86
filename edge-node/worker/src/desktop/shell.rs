//! `xdg-shell`: windows and their popups.
//!
//! A window without a parent gets the display's size, fullscreen; a dialog keeps its own. Requests
//! to move, resize, minimize or leave fullscreen are answered with what is.

use super::Desktop;
use super::display::configure;
use crate::clock::mono_us;
use smithay::backend::renderer::utils::with_renderer_surface_state;
use smithay::delegate_xdg_shell;
use smithay::desktop::{
    PopupKeyboardGrab, PopupKind, PopupPointerGrab, PopupUngrabStrategy, Window,
    find_popup_root_surface, get_popup_toplevel_coords,
};
use smithay::input::Seat;
use smithay::input::pointer::Focus;
use smithay::reexports::wayland_server::protocol::wl_output::WlOutput;
use smithay::reexports::wayland_server::protocol::wl_seat::WlSeat;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Rectangle, SERIAL_COUNTER, Serial};
use smithay::wayland::seat::WaylandFocus;
use smithay::wayland::shell::xdg::{
    PopupSurface, PositionerState, ToplevelSurface, XdgShellHandler, XdgShellState,
};

impl XdgShellHandler for Desktop {
    fn xdg_shell_state(&mut self) -> &mut XdgShellState {
        &mut self.globals.shell
    }

    fn new_toplevel(&mut self, surface: ToplevelSurface) {
        self.output.enter(surface.wl_surface());
        self.scene.add(Window::new_wayland_window(surface));
    }

    fn toplevel_destroyed(&mut self, surface: ToplevelSurface) {
        if self.scene.remove(surface.wl_surface()) {
            self.windows_changed();
            self.picture_changed(mono_us());
        }
    }

    fn new_popup(&mut self, surface: PopupSurface, positioner: PositionerState) {
        self.place_popup(&surface, positioner);
        if let Err(error) = self.popups.track_popup(PopupKind::Xdg(surface)) {
            tracing::debug!(%error, "popup without a living parent");
        }
    }

    fn popup_destroyed(&mut self, _surface: PopupSurface) {
        self.popups.cleanup();
        self.refocus_pointer();
        self.picture_changed(mono_us());
    }

    fn reposition_request(
        &mut self,
        surface: PopupSurface,
        positioner: PositionerState,
        token: u32,
    ) {
        self.place_popup(&surface, positioner);
        surface.send_repositioned(token);
    }

    fn grab(&mut self, surface: PopupSurface, seat: WlSeat, serial: Serial) {
        let kind = PopupKind::Xdg(surface);
        let Some(seat) = Seat::<Self>::from_resource(&seat) else {
            return;
        };
        let Ok(root) = find_popup_root_surface(&kind) else {
            return;
        };
        let Ok(mut grab) = self.popups.grab_popup(root, kind, &seat, serial) else {
            return;
        };
        let (keyboard, pointer) = (self.keyboard.clone(), self.pointer.clone());
        let other = |held: bool, by: bool| held && !by;
        let previous = grab.previous_serial().unwrap_or(serial);
        let by_us = |has: &dyn Fn(Serial) -> bool| has(serial) || has(previous);
        if other(keyboard.is_grabbed(), by_us(&|s| keyboard.has_grab(s)))
            || other(pointer.is_grabbed(), by_us(&|s| pointer.has_grab(s)))
        {
            grab.ungrab(PopupUngrabStrategy::All);
            return;
        }
        keyboard.set_focus(self, grab.current_grab(), serial);
        keyboard.set_grab(self, PopupKeyboardGrab::new(&grab), serial);
        pointer.set_grab(self, PopupPointerGrab::new(&grab), serial, Focus::Keep);
    }

    fn fullscreen_request(&mut self, surface: ToplevelSurface, _output: Option<WlOutput>) {
        answer(&surface);
    }

    fn unfullscreen_request(&mut self, surface: ToplevelSurface) {
        answer(&surface);
    }

    fn maximize_request(&mut self, surface: ToplevelSurface) {
        answer(&surface);
    }

    fn unmaximize_request(&mut self, surface: ToplevelSurface) {
        answer(&surface);
    }
}

/// Every request about a window's state must be answered, with what it already is.
fn answer(surface: &ToplevelSurface) {
    if surface.is_initial_configure_sent() {
        surface.send_configure();
    }
}

impl Desktop {
    /// A commit of a window, a popup, or one of their children, whose root is `root`. Returns
    /// whether it is or was visible.
    pub(crate) fn shell_committed(&mut self, root: &WlSurface) -> bool {
        if let Some(PopupKind::Xdg(popup)) = self.popups.find_popup(root) {
            if !popup.is_initial_configure_sent() {
                // Fails for a popup that was configured before, which this one was not.
                let _ = popup.send_configure();
            }
            let parent = find_popup_root_surface(&PopupKind::Xdg(popup));
            return parent.is_ok_and(|p| self.scene.find(&p).is_some_and(|w| w.mapped));
        }
        let size = self.size;
        let Some(placed) = self.scene.find(root) else {
            return false;
        };
        placed.window.on_commit();
        let Some(toplevel) = placed.window.toplevel() else {
            return false;
        };
        if !toplevel.is_initial_configure_sent() {
            configure(toplevel, size);
            toplevel.send_configure();
        }
        let mapped = with_renderer_surface_state(root, |s| s.buffer().is_some()).unwrap_or(false);
        let was_mapped = std::mem::replace(&mut placed.mapped, mapped);
        if mapped != was_mapped {
            self.windows_changed();
        }
        mapped || was_mapped
    }

    /// A window came or went: the one on top has the keyboard.
    fn windows_changed(&mut self) {
        let top = self
            .scene
            .top()
            .and_then(|w| w.wl_surface().map(|s| s.into_owned()));
        let keyboard = self.keyboard.clone();
        if keyboard.current_focus() != top {
            keyboard.set_focus(self, top, SERIAL_COUNTER.next_serial());
        }
        self.refocus_pointer();
    }

    /// Moves a popup so that it is on the display as far as its positioner allows.
    fn place_popup(&self, popup: &PopupSurface, positioner: PositionerState) {
        let kind = PopupKind::Xdg(popup.clone());
        let display = Rectangle::from_size((self.size.w(), self.size.h()).into());
        let root = find_popup_root_surface(&kind).ok();
        let parent_at = self
            .scene
            .visible()
            .find(|(window, _)| window.wl_surface().as_deref() == root.as_ref())
            .map(|(window, at)| at + window.geometry().loc)
            .unwrap_or_default();
        let mut room = display;
        room.loc -= parent_at + get_popup_toplevel_coords(&kind);
        popup.with_pending_state(|state| {
            state.geometry = positioner.get_unconstrained_geometry(room);
            state.positioner = positioner;
        });
    }
}

delegate_xdg_shell!(Desktop);
