//! What the program knows: inputs as they came, and the picture's content that follows from them.
//!
//! Pure: no Wayland, no clock. Every press of a key or button counts as one input and flips the
//! background; some keys also ask for an [`Action`].

use crate::barcode::{Payload, crc32, flag};
use crate::picture::Model;
use nearlight_protocol::keycode::KEYS;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Events that the text remembers.
const EVENTS_MAX: usize = 16;
/// Evdev codes of the mouse buttons that have a name.
const BUTTONS: [(&str, u16); 5] = [
    ("BTN_LEFT", 0x110),
    ("BTN_RIGHT", 0x111),
    ("BTN_MIDDLE", 0x112),
    ("BTN_SIDE", 0x113),
    ("BTN_EXTRA", 0x114),
];

/// What a key asks the program to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// F1.
    TogglePointerLock,
    /// F2.
    NextCursor,
    /// F3.
    Copy,
    /// F4.
    Paste,
    /// F5.
    Abort,
    /// F6 and F7.
    Exit(u8),
    /// F8.
    ExhaustMemory,
    /// F9.
    ToggleFreeze,
    /// F10.
    ToggleMode,
}

impl Action {
    fn of_key(code: u16) -> Option<Self> {
        Some(match code {
            59 => Self::TogglePointerLock,
            60 => Self::NextCursor,
            61 => Self::Copy,
            62 => Self::Paste,
            63 => Self::Abort,
            64 => Self::Exit(0),
            65 => Self::Exit(3),
            66 => Self::ExhaustMemory,
            67 => Self::ToggleFreeze,
            68 => Self::ToggleMode,
            _ => return None,
        })
    }
}

/// Everything that was seen so far.
#[derive(Debug)]
pub(crate) struct State {
    title: String,
    immediate: bool,
    committed: u64,
    inputs: u64,
    code: u16,
    held: BTreeSet<u16>,
    has_keyboard: bool,
    pointer_inside: bool,
    locked: bool,
    pointer: (f64, f64),
    relative: (f64, f64),
    wheel: (f64, f64),
    clipboard: Option<String>,
    events: VecDeque<String>,
}

impl State {
    /// Nothing seen yet.
    pub(crate) fn new(immediate: bool) -> Self {
        Self {
            title: String::new(),
            immediate,
            committed: 0,
            inputs: 0,
            code: 0,
            held: BTreeSet::new(),
            has_keyboard: false,
            pointer_inside: false,
            locked: false,
            pointer: (0.0, 0.0),
            relative: (0.0, 0.0),
            wheel: (0.0, 0.0),
            clipboard: None,
            events: VecDeque::new(),
        }
    }

    /// `title` heads the text.
    pub(crate) fn set_title(&mut self, title: String) {
        self.title = title;
    }

    /// The mode is another.
    pub(crate) fn set_immediate(&mut self, immediate: bool) {
        self.immediate = immediate;
    }

    /// A key went down or up.
    pub(crate) fn key(&mut self, at: Duration, code: u16, down: bool) -> Option<Action> {
        self.button(at, code, down);
        down.then(|| Action::of_key(code)).flatten()
    }

    /// A mouse button went down or up.
    pub(crate) fn button(&mut self, at: Duration, code: u16, down: bool) {
        if down {
            self.inputs += 1;
            self.code = code;
            self.held.insert(code);
        } else {
            self.held.remove(&code);
        }
        let way = if down { "down" } else { "up" };
        self.note(at, format!("{} ({code}) {way}", name(code)));
    }

    /// The keyboard came, with these keys held, or went.
    pub(crate) fn keyboard(&mut self, at: Duration, held: Option<Vec<u16>>) {
        self.has_keyboard = held.is_some();
        let way = if self.has_keyboard { "in" } else { "out" };
        self.note(at, format!("keyboard {way}"));
        self.held = held.into_iter().flatten().collect();
    }

    /// The pointer is at a place of the picture.
    pub(crate) fn pointer_at(&mut self, x: f64, y: f64) {
        self.pointer_inside = true;
        self.pointer = (x, y);
    }

    /// The pointer left the picture.
    pub(crate) fn pointer_left(&mut self) {
        self.pointer_inside = false;
    }

    /// The mouse moved so far.
    pub(crate) fn moved(&mut self, dx: f64, dy: f64) {
        self.relative.0 += dx;
        self.relative.1 += dy;
    }

    /// The wheel turned so far.
    pub(crate) fn scrolled(&mut self, at: Duration, dx: f64, dy: f64) {
        self.wheel.0 += dx;
        self.wheel.1 += dy;
        self.note(at, format!("wheel {dx:+.1} {dy:+.1}"));
    }

    /// The pointer was locked or freed.
    pub(crate) fn pointer_locked(&mut self, at: Duration, locked: bool) {
        self.locked = locked;
        let way = if locked { "locked" } else { "free" };
        self.note(at, format!("pointer {way}"));
    }

    /// The clipboard was read; `None` if it has no text.
    pub(crate) fn pasted(&mut self, at: Duration, text: Option<String>) {
        let size = text.as_ref().map_or(0, String::len);
        self.note(at, format!("clipboard read, {size} bytes"));
        self.clipboard = text;
    }

    /// Remembers a line for the text.
    pub(crate) fn note(&mut self, at: Duration, line: String) {
        self.events.truncate(EVENTS_MAX - 1);
        let line = format!("{:9.3}  {line}", at.as_secs_f64());
        self.events.push_front(line);
    }

    /// What the next commit shows, with `lines` of text.
    pub(crate) fn commit(&mut self, lines: usize, sound: bool) -> Model {
        self.committed += 1;
        Model {
            payload: self.payload(sound),
            lines: self.lines(lines),
        }
    }

    /// Commits so far.
    pub(crate) fn committed(&self) -> u64 {
        self.committed
    }

    /// Presses of keys and buttons so far.
    pub(crate) fn inputs(&self) -> u64 {
        self.inputs
    }

    fn payload(&self, sound: bool) -> Payload {
        let flags = [
            (self.inputs % 2 == 1, flag::LIGHT),
            (self.locked, flag::LOCKED),
            (self.pointer_inside, flag::POINTER_INSIDE),
            (self.has_keyboard, flag::KEYBOARD),
            (sound, flag::SOUND),
            (self.immediate, flag::IMMEDIATE),
        ];
        Payload {
            counter: self.committed as u32,
            inputs: self.inputs as u8,
            flags: flags.iter().filter(|f| f.0).fold(0, |all, f| all | f.1),
            code: self.code,
            pointer: (self.pointer.0 as u16, self.pointer.1 as u16),
            relative: (wrapped(self.relative.0), wrapped(self.relative.1)),
            wheel: (wrapped(self.wheel.0), wrapped(self.wheel.1)),
            clipboard: self
                .clipboard
                .as_ref()
                .map_or(0, |text| crc32(text.bytes())),
        }
    }

    fn lines(&self, count: usize) -> Vec<String> {
        let (x, y) = self.pointer;
        let (dx, dy) = self.relative;
        let (across, down) = self.wheel;
        let held: Vec<_> = self.held.iter().map(|code| name(*code)).collect();
        let clipboard = self.clipboard.as_deref().map_or_else(
            || "not read".into(),
            |text| format!("{:08x} {:?}", crc32(text.bytes()), shortened(text)),
        );
        let head = [
            self.title.clone(),
            format!("frame {}  inputs {}", self.committed, self.inputs),
            format!("pointer {x:.1} {y:.1}  relative {dx:.1} {dy:.1}  wheel {across:.1} {down:.1}"),
            format!("held {}", held.join(" ")),
            format!("clipboard {clipboard}"),
        ];
        let lines = head.into_iter().chain(self.events.iter().cloned());
        lines.take(count).collect()
    }
}

/// The start of a text, as much as a line has room for.
fn shortened(text: &str) -> String {
    text.chars().take(48).collect()
}

/// Whole units, rounded down, of which the picture has 16 bits.
fn wrapped(sum: f64) -> i16 {
    sum.floor() as i64 as i16
}

fn name(code: u16) -> &'static str {
    KEYS.iter()
        .chain(&BUTTONS)
        .find(|(_, known)| *known == code)
        .map_or("unknown", |(name, _)| name)
}

#[cfg(test)]
mod test {
    use super::*;

    const NOW: Duration = Duration::from_millis(1500);

    fn state() -> State {
        State::new(false)
    }

    #[test]
    fn only_presses_count_and_each_flips() {
        let mut state = state();
        for (down, inputs, light) in [(true, 1, 1), (false, 1, 1), (true, 2, 0), (true, 3, 1)] {
            state.key(NOW, 30, down);
            let payload = state.commit(4, false).payload;
            assert_eq!(
                (payload.inputs, payload.flags & flag::LIGHT),
                (inputs, light)
            );
            assert_eq!(payload.code, 30);
        }
    }

    #[test]
    fn function_keys_act_when_pressed() {
        let mut state = state();
        assert_eq!(state.key(NOW, 59, true), Some(Action::TogglePointerLock));
        assert_eq!(state.key(NOW, 59, false), None);
        assert_eq!(state.key(NOW, 65, true), Some(Action::Exit(3)));
        assert_eq!(state.key(NOW, 30, true), None);
    }

    #[test]
    fn the_flags_name_the_mode() {
        let mut state = state();
        assert_eq!(state.key(NOW, 68, true), Some(Action::ToggleMode));
        for (immediate, shown) in [(true, flag::IMMEDIATE), (false, 0)] {
            state.set_immediate(immediate);
            let flags = state.commit(4, false).payload.flags;
            assert_eq!(flags & flag::IMMEDIATE, shown);
        }
    }

    #[test]
    fn sums_round_down_and_wrap() {
        let mut state = state();
        state.moved(-0.5, 40_000.0);
        assert_eq!(state.commit(4, false).payload.relative, (-1, -25_536));
    }

    #[test]
    fn losing_the_keyboard_releases_what_is_held() {
        let mut state = state();
        state.keyboard(NOW, Some(vec![]));
        state.key(NOW, 30, true);
        assert_eq!(state.commit(9, false).lines[3], "held KeyA");
        state.keyboard(NOW, None);
        assert_eq!(state.commit(9, false).lines[3], "held ");
    }

    #[test]
    fn the_text_names_what_happened_last_first() {
        let mut state = state();
        for _ in 0..40 {
            state.key(NOW, 30, true);
        }
        state.button(NOW, 0x110, true);
        let lines = state.commit(99, false).lines;
        assert_eq!(lines[5], "    1.500  BTN_LEFT (272) down");
        assert_eq!(lines.len(), 5 + EVENTS_MAX);
    }
}
