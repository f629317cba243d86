//! Recorded input, played anew.
//!
//! ```text
//! nearlight input v1
//! 0 move 32768 32768        at so many milliseconds: the pointer, 0 to 65535 across the display
//! 40 key 30 1               evdev code, 1 down or 0 up
//! 90 button 0 1             DOM number, 1 down or 0 up
//! 120 wheel 0 120           1/120 of a notch
//! ```
//!
//! A recording that is played the same way each time is known again by whoever saw it once. So each [`Replay`] begins
//! elsewhere in it, at a tempo of its own, with each pause and each place a little different, and goes round when it is
//! through.
//!
//! **Invariants.** A recording ends with nothing held, and what a replay pressed is released when it stops. Pure: times
//! and chance come in.

use nearlight_protocol::input::Event;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const HEAD: &str = "nearlight input v1";
/// The longest recording, events.
const EVENTS_MAX: usize = 100_000;
/// Tempo of a replay, thousandths of the recording's.
const TEMPO: std::ops::RangeInclusive<u64> = 850..=1200;
/// A pause is longer or shorter by up to so many thousandths.
const PAUSE_PERMILLE: u64 = 150;
/// How far the pointer's places are moved, of 65,536.
const SHIFT: i32 = 2500;

/// Why a file is no recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// It begins with something else.
    #[error("a recording begins with the line `{HEAD}`")]
    Head,
    /// A line says nothing that can be played.
    #[error("line {0} is no input of `{HEAD}`")]
    Line(usize),
    /// There is nothing in it, or too much.
    #[error("a recording has between 2 and {EVENTS_MAX} inputs")]
    Length,
    /// Something stays pressed.
    #[error("the recording ends with something held: press and release in pairs")]
    Held,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Move(u16, u16),
    Key(u16, bool),
    Button(u8, bool),
    Wheel(i16, i16),
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Milliseconds from the one before, and what happens then.
    acts: Vec<(u64, Act)>,
}

impl Recording {
    /// Reads one.
    ///
    /// # Errors
    /// [`RecordingError`].
    pub fn parse(text: &str) -> Result<Self, RecordingError> {
        let mut lines = text.lines().enumerate();
        if lines.next().map(|(_, line)| line) != Some(HEAD) {
            return Err(RecordingError::Head);
        }
        let (mut acts, mut before_ms, mut held) = (Vec::new(), 0, Held::default());
        for (index, line) in lines {
            let wrong = RecordingError::Line(index + 1);
            let (at_ms, act) = read(line).ok_or(wrong.clone())?;
            let pause_ms = u64::checked_sub(at_ms, before_ms).ok_or(wrong.clone())?;
            before_ms = at_ms;
            if acts.len() == EVENTS_MAX || !held.take(act) {
                return Err(wrong);
            }
            acts.push((pause_ms, act));
        }
        match (acts.len() >= 2, held.is_empty()) {
            (true, true) => Ok(Self { acts }),
            (true, false) => Err(RecordingError::Held),
            (false, _) => Err(RecordingError::Length),
        }
    }

    /// Where nothing is held, so that a replay may begin.
    fn beginnings(&self) -> Vec<usize> {
        let mut held = Held::default();
        let free = self
            .acts
            .iter()
            .enumerate()
            .filter_map(|(index, (_, act))| {
                let is_free = held.is_empty();
                held.take(*act);
                is_free.then_some(index)
            });
        free.collect()
    }
}

fn read(line: &str) -> Option<(u64, Act)> {
    let mut words = line.split(' ');
    let at_ms = words.next()?.parse().ok()?;
    let kind = words.next()?;
    let (a, b) = (words.next()?, words.next()?);
    let pressed = match b {
        "1" => Some(true),
        "0" => Some(false),
        _ => None,
    };
    let act = match kind {
        "move" => Act::Move(a.parse().ok()?, b.parse().ok()?),
        "key" => Act::Key(a.parse().ok()?, pressed?),
        "button" => Act::Button(a.parse().ok()?, pressed?),
        "wheel" => Act::Wheel(a.parse().ok()?, b.parse().ok()?),
        _ => return None,
    };
    words.next().is_none().then_some((at_ms, act))
}

/// What is down.
#[derive(Clone, Debug, Default)]
struct Held(Vec<Act>);

impl Held {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether that can be: nothing is pressed twice, and nothing released that is up.
    fn take(&mut self, act: Act) -> bool {
        let (down, is_press) = match act {
            Act::Key(code, pressed) => (Act::Key(code, true), pressed),
            Act::Button(button, pressed) => (Act::Button(button, true), pressed),
            Act::Move(..) | Act::Wheel(..) => return true,
        };
        let at = self.0.iter().position(|held| *held == down);
        match (is_press, at) {
            (true, None) => self.0.push(down),
            (false, Some(at)) => drop(self.0.swap_remove(at)),
            _ => return false,
        }
        true
    }
}

/// A recording, being played.
#[derive(Debug)]
pub struct Replay {
    recording: Recording,
    chance: StdRng,
    tempo_permille: u64,
    shift: (i32, i32),
    next: usize,
    next_us: u64,
    held: Held,
    place: (u16, u16),
    presses: u32,
}

impl Replay {
    /// Begins at `now_us`, in a way that follows from `seed`.
    #[must_use]
    pub fn new(recording: Recording, seed: u64, now_us: u64) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let beginnings = recording.beginnings();
        let next = beginnings[chance.random_range(0..beginnings.len())];
        let shift = (
            chance.random_range(-SHIFT..=SHIFT),
            chance.random_range(-SHIFT..=SHIFT),
        );
        Self {
            tempo_permille: chance.random_range(TEMPO),
            chance,
            shift,
            next,
            next_us: now_us,
            held: Held::default(),
            place: (32_768, 32_768),
            presses: 0,
            recording,
        }
    }

    /// The next input, if it is due.
    pub fn due(&mut self, now_us: u64) -> Option<Event> {
        if now_us < self.next_us {
            return None;
        }
        let (_, act) = *self.recording.acts.get(self.next)?;
        self.next = (self.next + 1) % self.recording.acts.len();
        let pause_ms = self.recording.acts.get(self.next)?.0;
        let varied = 1000 - PAUSE_PERMILLE + self.chance.random_range(0..=2 * PAUSE_PERMILLE);
        // From when it was due: a late turn makes none of the others late.
        self.next_us += pause_ms * self.tempo_permille * varied / 1000;
        self.held.take(act);
        Some(self.event(act))
    }

    /// Releases what is held; then `None`. Nothing is played any more.
    pub fn release(&mut self) -> Option<Event> {
        self.next_us = u64::MAX;
        match self.held.0.pop()? {
            Act::Key(code, _) => Some(self.event(Act::Key(code, false))),
            Act::Button(button, _) => Some(self.event(Act::Button(button, false))),
            Act::Move(..) | Act::Wheel(..) => None,
        }
    }

    /// Keys and buttons that were pressed so far.
    #[must_use]
    pub fn presses(&self) -> u32 {
        self.presses
    }

    fn event(&mut self, act: Act) -> Event {
        match act {
            Act::Move(x, y) => {
                self.place = (moved(x, self.shift.0), moved(y, self.shift.1));
                let (x, y) = self.place;
                Event::PointerAbsolute { x, y }
            }
            Act::Key(code, pressed) => {
                self.presses += u32::from(pressed);
                Event::Key { code, pressed }
            }
            Act::Button(button, pressed) => {
                self.presses += u32::from(pressed);
                Event::PointerButton {
                    button,
                    pressed,
                    position: Some(self.place),
                }
            }
            Act::Wheel(dx, dy) => Event::Wheel { dx, dy },
        }
    }
}

fn moved(place: u16, by: i32) -> u16 {
    let moved = (i32::from(place) + by).clamp(0, i32::from(u16::MAX));
    u16::try_from(moved).unwrap_or(place)
}

#[cfg(test)]
mod test {
    use super::*;

    const SMALL: &str = "nearlight input v1\n0 move 100 200\n10 key 30 1\n60 key 30 0\n80 button 0 1\n\
                         120 button 0 0\n150 wheel 0 120\n200 move 65535 0\n";

    fn play(seed: u64, until_us: u64) -> Vec<Event> {
        let mut replay = Replay::new(Recording::parse(SMALL).unwrap(), seed, 0);
        let mut events = Vec::new();
        for now_us in (0..until_us).step_by(1000) {
            while let Some(event) = replay.due(now_us) {
                events.push(event);
            }
        }
        while let Some(event) = replay.release() {
            events.push(event);
        }
        let presses = events.iter().filter(|event| {
            matches!(
                event,
                Event::Key { pressed: true, .. } | Event::PointerButton { pressed: true, .. }
            )
        });
        assert_eq!(presses.count(), replay.presses() as usize);
        events
    }

    #[test]
    fn no_two_replays_are_the_same_and_each_leaves_nothing_held() {
        let (one, other) = (play(1, 3_000_000), play(2, 3_000_000));
        assert_ne!(one, other);
        assert_eq!(one, play(1, 3_000_000), "what follows from a seed");
        for events in [one, other] {
            let mut down = 0;
            for event in &events {
                match event {
                    Event::Key { pressed, .. } | Event::PointerButton { pressed, .. } => {
                        down += if *pressed { 1 } else { -1 };
                    }
                    _ => {}
                }
                assert!((0..=1).contains(&down));
            }
            assert_eq!(down, 0);
            assert!(events.len() > 40, "it goes round: {}", events.len());
        }
    }

    #[test]
    fn what_is_no_recording_is_refused() {
        let refused = |text: &str| Recording::parse(text).unwrap_err();
        assert_eq!(refused("nearlight input v2\n"), RecordingError::Head);
        assert_eq!(refused("nearlight input v1\n"), RecordingError::Length);
        let with = |line: &str| refused(&format!("{HEAD}\n5 move 1 1\n{line}\n"));
        assert_eq!(with("9 key 30 1"), RecordingError::Held);
        for line in [
            "4 move 1 1",
            "9 key 30 0",
            "9 key 30 2",
            "9 move 1",
            "9 jump 1 1",
            "9 move 1 1 1",
            "",
        ] {
            assert_eq!(with(line), RecordingError::Line(3), "{line}");
        }
    }

    #[test]
    fn the_recording_that_ships_can_be_played() {
        let recording = Recording::parse(crate::play::RECORDED).unwrap();
        assert!(recording.acts.len() > 500);
        assert!(recording.acts.iter().all(|(_, act)| {
            match act {
                Act::Key(code, _) => nearlight_protocol::keycode::KEYS
                    .iter()
                    .any(|(_, known)| known == code),
                _ => true,
            }
        }));
    }
}
