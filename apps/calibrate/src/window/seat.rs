//! Keyboard and pointer: events become calls of the state, presses also clicks and actions.

use super::Window;
use wayland_client::globals::GlobalList;
use wayland_client::protocol::wl_keyboard::{self, WlKeyboard};
use wayland_client::protocol::wl_pointer::{self, Axis, ButtonState, WlPointer};
use wayland_client::protocol::wl_seat::{self, Capability, WlSeat};
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{Connection, Dispatch, QueueHandle, WEnum, delegate_noop};
use wayland_protocols::wp::pointer_constraints::zv1::client::zwp_locked_pointer_v1::{
    self, ZwpLockedPointerV1,
};
use wayland_protocols::wp::pointer_constraints::zv1::client::zwp_pointer_constraints_v1::{
    Lifetime, ZwpPointerConstraintsV1,
};
use wayland_protocols::wp::relative_pointer::zv1::client::zwp_relative_pointer_manager_v1::ZwpRelativePointerManagerV1;
use wayland_protocols::wp::relative_pointer::zv1::client::zwp_relative_pointer_v1::{
    self, ZwpRelativePointerV1,
};

/// The devices, as far as the compositor has them.
#[derive(Debug)]
pub(super) struct Seat {
    seat: Option<WlSeat>,
    keyboard: Option<WlKeyboard>,
    pointer: Option<WlPointer>,
    relative_source: Option<ZwpRelativePointerManagerV1>,
    constraints: Option<ZwpPointerConstraintsV1>,
    lock: Option<ZwpLockedPointerV1>,
}

impl Seat {
    pub(super) fn bind(globals: &GlobalList, queue: &QueueHandle<Window>) -> Self {
        Self {
            seat: globals.bind(queue, 1..=7, ()).ok(),
            keyboard: None,
            pointer: None,
            relative_source: globals.bind(queue, 1..=1, ()).ok(),
            constraints: globals.bind(queue, 1..=1, ()).ok(),
            lock: None,
        }
    }

    pub(super) fn seat(&self) -> Option<&WlSeat> {
        self.seat.as_ref()
    }

    pub(super) fn pointer(&self) -> Option<&WlPointer> {
        self.pointer.as_ref()
    }

    /// Locks the pointer to where it is, or frees it.
    pub(super) fn toggle_lock(&mut self, surface: &WlSurface, queue: &QueueHandle<Window>) {
        if let Some(lock) = self.lock.take() {
            lock.destroy();
        } else if let (Some(constraints), Some(pointer)) = (&self.constraints, &self.pointer) {
            let lifetime = Lifetime::Persistent;
            self.lock = Some(constraints.lock_pointer(surface, pointer, None, lifetime, queue, ()));
        }
    }

    fn is_locking(&self) -> bool {
        self.lock.is_some()
    }
}

impl Dispatch<WlSeat, ()> for Window {
    fn event(
        window: &mut Self,
        seat: &WlSeat,
        event: wl_seat::Event,
        (): &(),
        _: &Connection,
        queue: &QueueHandle<Self>,
    ) {
        let wl_seat::Event::Capabilities {
            capabilities: WEnum::Value(has),
        } = event
        else {
            return;
        };
        if has.contains(Capability::Keyboard) && window.seat.keyboard.is_none() {
            window.seat.keyboard = Some(seat.get_keyboard(queue, ()));
        }
        if has.contains(Capability::Pointer) && window.seat.pointer.is_none() {
            let pointer = seat.get_pointer(queue, ());
            window.cursor.bind_pointer(&pointer, queue);
            if let Some(source) = &window.seat.relative_source {
                source.get_relative_pointer(&pointer, queue, ());
            }
            window.seat.pointer = Some(pointer);
        }
    }
}

impl Dispatch<WlKeyboard, ()> for Window {
    fn event(
        window: &mut Self,
        _: &WlKeyboard,
        event: wl_keyboard::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let at = window.now();
        match event {
            wl_keyboard::Event::Enter { keys, .. } => {
                let codes = keys.chunks_exact(4).filter_map(|key| {
                    let code = u32::from_ne_bytes(key.try_into().ok()?);
                    u16::try_from(code).ok()
                });
                window.state.keyboard(at, Some(codes.collect()));
            }
            wl_keyboard::Event::Leave { .. } => window.state.keyboard(at, None),
            wl_keyboard::Event::Key {
                serial, key, state, ..
            } => {
                let down = state == WEnum::Value(wl_keyboard::KeyState::Pressed);
                let Ok(code) = u16::try_from(key) else {
                    return;
                };
                let action = window.state.key(at, code, down);
                if down {
                    window.pressed();
                }
                if let Some(action) = action {
                    window.act(action, serial);
                }
            }
            _ => {}
        }
    }
}

impl Dispatch<WlPointer, ()> for Window {
    fn event(
        window: &mut Self,
        pointer: &WlPointer,
        event: wl_pointer::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let at = window.now();
        match event {
            wl_pointer::Event::Enter {
                serial,
                surface_x,
                surface_y,
                ..
            } => {
                window.cursor.entered(pointer, serial);
                window.state.pointer_at(surface_x, surface_y);
            }
            wl_pointer::Event::Leave { .. } => window.state.pointer_left(),
            wl_pointer::Event::Motion {
                surface_x,
                surface_y,
                ..
            } => window.state.pointer_at(surface_x, surface_y),
            wl_pointer::Event::Button { button, state, .. } => {
                let down = state == WEnum::Value(ButtonState::Pressed);
                let Ok(code) = u16::try_from(button) else {
                    return;
                };
                window.state.button(at, code, down);
                if down {
                    window.pressed();
                }
            }
            wl_pointer::Event::Axis { axis, value, .. } => match axis {
                WEnum::Value(Axis::HorizontalScroll) => window.state.scrolled(at, value, 0.0),
                WEnum::Value(Axis::VerticalScroll) => window.state.scrolled(at, 0.0, value),
                WEnum::Value(_) | WEnum::Unknown(_) => {}
            },
            _ => {}
        }
    }
}

impl Dispatch<ZwpRelativePointerV1, ()> for Window {
    fn event(
        window: &mut Self,
        _: &ZwpRelativePointerV1,
        event: zwp_relative_pointer_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let zwp_relative_pointer_v1::Event::RelativeMotion { dx, dy, .. } = event {
            window.state.moved(dx, dy);
        }
    }
}

impl Dispatch<ZwpLockedPointerV1, ()> for Window {
    fn event(
        window: &mut Self,
        _: &ZwpLockedPointerV1,
        event: zwp_locked_pointer_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let at = window.now();
        match event {
            zwp_locked_pointer_v1::Event::Locked => {
                let wanted = window.seat.is_locking();
                window.state.pointer_locked(at, wanted);
            }
            zwp_locked_pointer_v1::Event::Unlocked => window.state.pointer_locked(at, false),
            _ => {}
        }
    }
}

delegate_noop!(Window: ZwpRelativePointerManagerV1);
delegate_noop!(Window: ZwpPointerConstraintsV1);
