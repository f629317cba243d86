//! From the player to the app: every event is injected the moment it arrives.
//!
//! Owns which keys and buttons are down, so that losing the player releases them all, and the
//! newest input, which the next commit's latency is measured from.

use super::{Desktop, keymap};
use crate::clock::{event_ms, mono_us};
use nearlight_protocol::input::{Event, Packet};
use smithay::backend::input::{Axis, AxisSource, ButtonState, KeyState};
use smithay::input::keyboard::{FilterResult, KeyboardTarget, Keycode};
use smithay::input::pointer::{AxisFrame, ButtonEvent, MotionEvent, RelativeMotionEvent};
use smithay::utils::{Logical, Point, SERIAL_COUNTER};
use std::collections::{BTreeMap, BTreeSet};

/// xkb's key codes are evdev's plus this.
const XKB_OFFSET: u32 = 8;
/// One notch of a wheel, as the protocol counts it.
const NOTCH: i32 = 120;
/// One notch of a wheel in pixels of `wl_pointer.axis`; every desktop uses 10 to 15.
const NOTCH_PIXELS: f64 = 15.0;
/// `linux/input-event-codes.h`: `BTN_LEFT`, and the DOM's buttons in its order.
const BUTTONS: [u32; 5] = [0x110, 0x112, 0x111, 0x113, 0x114];

/// What was injected and what is held down.
#[derive(Debug)]
pub struct Injected {
    counts: BTreeMap<&'static str, u64>,
    keys: BTreeSet<u16>,
    buttons: BTreeSet<u32>,
    motion_seq: Option<u32>,
    newest: (u64, u64),
    layout: String,
}

impl Injected {
    pub(crate) fn new(layout: String) -> Self {
        Self {
            counts: BTreeMap::new(),
            keys: BTreeSet::new(),
            buttons: BTreeSet::new(),
            motion_seq: None,
            newest: (0, 0),
            layout,
        }
    }

    /// Browser time and host time of the newest input, or zeros.
    pub(crate) fn newest(&self) -> (u64, u64) {
        self.newest
    }

    /// Events injected, by kind.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.counts
            .iter()
            .map(|(kind, n)| ((*kind).to_owned(), *n))
            .collect()
    }

    /// Whether a motion packet is newer than all before it. The channel does not keep order.
    fn is_newest_motion(&mut self, seq: u32) -> bool {
        let newer = self
            .motion_seq
            .is_none_or(|last| (seq.wrapping_sub(last) as i32) > 0);
        if newer {
            self.motion_seq = Some(seq);
        }
        newer
    }
}

impl Desktop {
    /// Another viewer: its packets count anew.
    pub fn forget_player(&mut self) {
        self.release_all();
        self.injected.motion_seq = None;
        self.injected.newest = (0, 0);
    }

    /// Injects one packet that the agent got at `host_us`.
    pub fn inject(&mut self, packet: Packet, host_us: u64) {
        let kind = kind(&packet.event);
        let active = packet.event.is_activity();
        if active {
            self.injected.newest = (packet.client_us, host_us);
        }
        let injected = match packet.event {
            Event::Key { code, pressed } => self.inject_key(code, pressed),
            Event::Text(text) => self.inject_text(&text),
            Event::PointerAbsolute { x, y } => {
                self.injected.is_newest_motion(packet.seq) && self.inject_position(x, y)
            }
            Event::PointerRelative { dx, dy } => self.inject_relative(dx, dy),
            Event::PointerButton {
                button,
                pressed,
                position,
            } => {
                if let Some((x, y)) = position {
                    self.inject_position(x, y);
                }
                self.inject_button(button, pressed)
            }
            Event::Wheel { dx, dy } => self.inject_wheel(dx, dy),
            Event::ReleaseAll => {
                self.release_all();
                true
            }
            Event::Clipboard(text) => self.offer_clipboard(text),
            Event::Layout(layout) => self.change_layout(layout),
            // The agent answers these. The others are reserved: counted, nothing to inject into.
            Event::Ping | Event::Display { .. } | Event::Wish { .. } | Event::Shown(_) => false,
            Event::Gamepad { .. } | Event::Touch { .. } => true,
            Event::Phase { shift_us } => {
                self.frames.pacer.shift(shift_us.into());
                true
            }
        };
        if injected && active {
            self.frames.on_input(mono_us());
        }
        if injected {
            *self.injected.counts.entry(kind).or_default() += 1;
        }
    }

    /// Lets go of every key and button.
    pub(crate) fn release_all(&mut self) {
        for code in std::mem::take(&mut self.injected.keys) {
            self.key(u32::from(code) + XKB_OFFSET, false);
        }
        for button in std::mem::take(&mut self.injected.buttons) {
            self.button(button, false);
        }
    }

    /// The window under the pointer may have changed without the pointer moving.
    pub(crate) fn refocus_pointer(&mut self) {
        let location = self.pointer.current_location();
        self.move_pointer(location);
    }

    fn inject_key(&mut self, code: u16, pressed: bool) -> bool {
        // A browser repeats a held key; apps repeat by themselves.
        let changed = if pressed {
            self.injected.keys.insert(code)
        } else {
            self.injected.keys.remove(&code)
        };
        if changed {
            self.key(u32::from(code) + XKB_OFFSET, pressed);
        }
        changed
    }

    fn key(&mut self, xkb_code: u32, pressed: bool) {
        let state = if pressed {
            KeyState::Pressed
        } else {
            KeyState::Released
        };
        let serial = SERIAL_COUNTER.next_serial();
        let time = event_ms(mono_us());
        let keyboard = self.keyboard.clone();
        keyboard.input::<(), _>(
            self,
            Keycode::new(xkb_code),
            state,
            serial,
            time,
            |_, _, _| FilterResult::Forward,
        );
    }

    fn inject_text(&mut self, text: &str) -> bool {
        if text.is_empty() || self.text_inputs.commit(text) {
            return !text.is_empty();
        }
        self.keeping_locks(|desktop| desktop.type_out(text));
        true
    }

    /// Types a text with keymaps made for it.
    fn type_out(&mut self, text: &str) {
        let keyboard = self.keyboard.clone();
        for piece in keymap::pieces(text) {
            let (typing, keys) = keymap::typing(&piece);
            if let Err(error) = keyboard.set_keymap_from_string(self, typing) {
                tracing::warn!(%error, "cannot type a text");
                break;
            }
            for key in keys {
                self.key(key, true);
                self.key(key, false);
            }
        }
        self.load_layout();
    }

    /// Runs what changes the keymap, and puts back Caps Lock and Num Lock, which a new one forgets: the
    /// player sees them on.
    fn keeping_locks<T>(&mut self, change: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.keyboard.modifier_state();
        let changed = change(self);
        let mut mods = self.keyboard.modifier_state();
        (mods.caps_lock, mods.num_lock) = (before.caps_lock, before.num_lock);
        let keyboard = self.keyboard.clone();
        if keyboard.set_modifier_state(mods) != 0
            && let Some(focus) = keyboard.current_focus()
        {
            let (seat, serial) = (self.seat.clone(), SERIAL_COUNTER.next_serial());
            // With the masks of the new keymap.
            let mods = keyboard.modifier_state();
            KeyboardTarget::modifiers(&focus, &seat, self, mods, serial);
        }
        changed
    }

    fn change_layout(&mut self, layout: String) -> bool {
        if layout == self.injected.layout {
            return true;
        }
        let old = std::mem::replace(&mut self.injected.layout, layout);
        let loaded = self.keeping_locks(Self::load_layout);
        if !loaded {
            self.injected.layout = old;
        }
        loaded
    }

    fn load_layout(&mut self) -> bool {
        let layout = self.injected.layout.clone();
        let keyboard = self.keyboard.clone();
        let loaded = keyboard.set_xkb_config(self, keymap::config(&layout));
        if let Err(error) = &loaded {
            tracing::warn!(layout, %error, "unknown keyboard layout");
        }
        loaded.is_ok()
    }

    fn inject_position(&mut self, x: u16, y: u16) -> bool {
        if self.pointer_is_locked() {
            return false;
        }
        let scale = |part: u16, side: i32| f64::from(part) * f64::from(side) / 65_536.0;
        let to = Point::from((scale(x, self.size.w()), scale(y, self.size.h())));
        let delta = to - self.pointer.current_location();
        self.move_relative(delta);
        self.move_pointer(to);
        true
    }

    fn inject_relative(&mut self, dx: i32, dy: i32) -> bool {
        let delta: Point<f64, Logical> = (f64::from(dx) / 256.0, f64::from(dy) / 256.0).into();
        self.move_relative(delta);
        if self.pointer_is_locked() {
            let pointer = self.pointer.clone();
            pointer.frame(self);
        } else {
            let to = self.pointer.current_location() + delta;
            self.move_pointer(to);
        }
        true
    }

    fn move_relative(&mut self, delta: Point<f64, Logical>) {
        let focus = self.scene.under(self.pointer.current_location());
        let utime = mono_us();
        let event = RelativeMotionEvent {
            delta,
            delta_unaccel: delta,
            utime,
        };
        let pointer = self.pointer.clone();
        pointer.relative_motion(self, focus, &event);
    }

    pub(crate) fn move_pointer(&mut self, to: Point<f64, Logical>) {
        let location = self.confine(self.clamp(to));
        let focus = self.scene.under(location);
        let serial = SERIAL_COUNTER.next_serial();
        let event = MotionEvent {
            location,
            serial,
            time: event_ms(mono_us()),
        };
        let pointer = self.pointer.clone();
        pointer.motion(self, focus, &event);
        pointer.frame(self);
        self.check_constraint();
    }

    fn inject_button(&mut self, button: u8, pressed: bool) -> bool {
        let Some(button) = BUTTONS.get(usize::from(button)).copied() else {
            return false;
        };
        let changed = if pressed {
            self.injected.buttons.insert(button)
        } else {
            self.injected.buttons.remove(&button)
        };
        if changed {
            self.button(button, pressed);
        }
        changed
    }

    fn button(&mut self, button: u32, pressed: bool) {
        let state = if pressed {
            ButtonState::Pressed
        } else {
            ButtonState::Released
        };
        let serial = SERIAL_COUNTER.next_serial();
        let event = ButtonEvent {
            serial,
            time: event_ms(mono_us()),
            button,
            state,
        };
        if pressed {
            self.focus_clicked_window();
        }
        let pointer = self.pointer.clone();
        pointer.button(self, &event);
        pointer.frame(self);
    }

    /// A click gives the keyboard to the window under it, unless a menu holds it.
    fn focus_clicked_window(&mut self) {
        let keyboard = self.keyboard.clone();
        if keyboard.is_grabbed() || self.pointer.is_grabbed() {
            return;
        }
        let at = self.pointer.current_location();
        let clicked = self.scene.under(at).map(|(mut surface, _)| {
            while let Some(parent) = smithay::wayland::compositor::get_parent(&surface) {
                surface = parent;
            }
            surface
        });
        if let Some(surface) = clicked.filter(|s| self.scene.find(s).is_some())
            && keyboard.current_focus().as_ref() != Some(&surface)
        {
            keyboard.set_focus(self, Some(surface), SERIAL_COUNTER.next_serial());
        }
    }

    fn inject_wheel(&mut self, dx: i16, dy: i16) -> bool {
        let mut frame = AxisFrame::new(event_ms(mono_us())).source(AxisSource::Wheel);
        for (axis, steps) in [(Axis::Horizontal, dx), (Axis::Vertical, dy)] {
            if steps != 0 {
                let pixels = f64::from(steps) / f64::from(NOTCH) * NOTCH_PIXELS;
                frame = frame.v120(axis, i32::from(steps)).value(axis, pixels);
            }
        }
        let pointer = self.pointer.clone();
        pointer.axis(self, frame);
        pointer.frame(self);
        true
    }
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::Key { .. } => "key",
        Event::Text(_) => "text",
        Event::PointerAbsolute { .. } => "pointer-absolute",
        Event::PointerRelative { .. } => "pointer-relative",
        Event::PointerButton { .. } => "pointer-button",
        Event::Wheel { .. } => "wheel",
        Event::ReleaseAll => "release-all",
        Event::Clipboard(_) => "clipboard",
        Event::Layout(_) => "layout",
        Event::Ping => "ping",
        Event::Gamepad { .. } => "gamepad",
        Event::Touch { .. } => "touch",
        Event::Display { .. } => "display",
        Event::Wish { .. } => "wish",
        Event::Phase { .. } => "phase",
        Event::Shown(_) => "shown",
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn stale_motion_is_told_from_new_across_the_wrap() {
        let mut injected = Injected::new("us".into());
        let mut check = |seq, newer| assert_eq!(injected.is_newest_motion(seq), newer, "{seq}");
        check(u32::MAX - 1, true);
        check(u32::MAX, true);
        check(u32::MAX, false);
        check(3, true);
        check(u32::MAX, false);
        check(2, false);
        check(4, true);
    }
}
