//! The gate that a viewer's messages pass: decoded once, counted, and let through within limits.
//!
//! Pure. Three malformed messages within a second end the attachment: a browser of ours never sends
//! one, so it is another program, or a version that we cannot understand. A kind that we do not know is none of
//! them: a later player may have more to say.

use crate::limits::{STRIKE_WINDOW, STRIKES_MAX};
use nearlight_protocol::app::DisplayMode;
use nearlight_protocol::input::{DecodeError, Event, Packet, Shown};
use std::time::{Duration, Instant};

/// What to do with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Hand it to the worker.
    Forward {
        /// Whether the player did something.
        activity: bool,
    },
    /// Answer with a pong.
    Pong {
        /// The ping's own time.
        client_us: u64,
    },
    /// What the player allows the stream at most; 0 is no limit.
    Wish {
        /// Everything sent, kbit/s.
        kbps_max: u32,
        /// Height of the encoded picture, pixels.
        height_max: u16,
        /// Frames per second.
        fps_max: u16,
    },
    /// What the player's screen shows best.
    Display(DisplayMode),
    /// How the player's browser showed some frames.
    Shown(Vec<Shown>),
    /// No input packet, or too many a second: drop it.
    Drop,
    /// No input packet, once too often: end the attachment.
    StrikeOut,
}

/// The gate.
#[derive(Debug)]
pub(crate) struct Gate {
    per_second: u32,
    strikes: u32,
    strikes_since: Option<Instant>,
    taken: u32,
    second: Option<Instant>,
}

impl Gate {
    /// Lets `per_second` messages through.
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            per_second,
            strikes: 0,
            strikes_since: None,
            taken: 0,
            second: None,
        }
    }

    /// Judges one message.
    pub(crate) fn judge(&mut self, now: Instant, text: bool, message: &[u8]) -> Verdict {
        if !self.has_budget(now) {
            return Verdict::Drop;
        }
        let packet = if text {
            None
        } else {
            match Packet::decode(message) {
                // A later player's: it may speak of what we know nothing of, and means no harm.
                Err(DecodeError::Kind(_)) => return Verdict::Drop,
                packet => packet.ok(),
            }
        };
        let Some(packet) = packet else {
            return self.strike(now);
        };
        match packet.event {
            Event::Ping => Verdict::Pong {
                client_us: packet.client_us,
            },
            Event::Wish {
                kbps_max,
                height_max,
                fps_max,
            } => Verdict::Wish {
                kbps_max,
                height_max,
                fps_max,
            },
            Event::Display { width, height, hz } => Verdict::Display(DisplayMode {
                width: width.into(),
                height: height.into(),
                hz: hz.into(),
            }),
            Event::Shown(frames) => Verdict::Shown(frames),
            event => Verdict::Forward {
                activity: event.is_activity(),
            },
        }
    }

    /// Counts a breach of the protocol.
    pub(crate) fn strike(&mut self, now: Instant) -> Verdict {
        if is_over(self.strikes_since, now, STRIKE_WINDOW) {
            self.strikes_since = Some(now);
            self.strikes = 0;
        }
        self.strikes += 1;
        if self.strikes >= STRIKES_MAX {
            Verdict::StrikeOut
        } else {
            Verdict::Drop
        }
    }

    fn has_budget(&mut self, now: Instant) -> bool {
        if is_over(self.second, now, Duration::from_secs(1)) {
            self.second = Some(now);
            self.taken = 0;
        }
        self.taken += 1;
        self.taken <= self.per_second
    }
}

fn is_over(since: Option<Instant>, now: Instant, window: Duration) -> bool {
    since.is_none_or(|since| now.saturating_duration_since(since) >= window)
}

#[cfg(test)]
mod test {
    use super::*;

    const INPUTS_PER_SECOND: u32 = 500;

    fn packet(event: Event) -> Vec<u8> {
        Packet {
            seq: 1,
            client_us: 42,
            event,
        }
        .encode()
    }

    #[test]
    fn input_is_forwarded_and_pings_are_answered() {
        let now = Instant::now();
        let mut gate = Gate::new(INPUTS_PER_SECOND);
        let key = packet(Event::PointerAbsolute { x: 1, y: 2 });
        let forward = Verdict::Forward { activity: true };
        assert_eq!(gate.judge(now, false, &key), forward);
        let release = packet(Event::ReleaseAll);
        let quiet = Verdict::Forward { activity: false };
        assert_eq!(gate.judge(now, false, &release), quiet);
        let pong = Verdict::Pong { client_us: 42 };
        assert_eq!(gate.judge(now, false, &packet(Event::Ping)), pong);
    }

    #[test]
    fn settings_are_not_input() {
        let mut gate = Gate::new(100);
        let wish = packet(Event::Wish {
            kbps_max: 4000,
            height_max: 540,
            fps_max: 30,
        });
        let expected = Verdict::Wish {
            kbps_max: 4000,
            height_max: 540,
            fps_max: 30,
        };
        assert_eq!(gate.judge(Instant::now(), false, &wish), expected);
        let display = packet(Event::Display {
            width: 1920,
            height: 1080,
            hz: 120,
        });
        let expected = Verdict::Display(DisplayMode {
            width: 1920,
            height: 1080,
            hz: 120,
        });
        assert_eq!(gate.judge(Instant::now(), false, &display), expected);
    }

    #[test]
    fn what_the_browser_measured_does_not_go_to_the_app() {
        let mut gate = Gate::new(100);
        let frames = vec![Shown {
            decode: 200,
            present: 800,
        }];
        let said = packet(Event::Shown(frames.clone()));
        let verdict = gate.judge(Instant::now(), false, &said);
        assert_eq!(verdict, Verdict::Shown(frames));
    }

    #[test]
    fn the_third_strike_within_a_second_is_the_last() {
        let mut now = Instant::now();
        let mut gate = Gate::new(INPUTS_PER_SECOND);
        for _ in 0..10 {
            assert_eq!(gate.judge(now, false, b"garbage"), Verdict::Drop);
            assert_eq!(gate.judge(now, true, &packet(Event::Ping)), Verdict::Drop);
            now += STRIKE_WINDOW;
        }
        assert_eq!(gate.judge(now, false, b""), Verdict::Drop);
        assert_eq!(gate.judge(now, false, b""), Verdict::Drop);
        assert_eq!(gate.judge(now, false, b""), Verdict::StrikeOut);
    }

    #[test]
    fn what_a_later_player_says_is_dropped_without_strikes_and_within_the_budget() {
        let now = Instant::now();
        let mut gate = Gate::new(10);
        let mut unknown = packet(Event::Ping);
        unknown[1] = 0x7f;
        for _ in 0..10 {
            assert_eq!(gate.judge(now, false, &unknown), Verdict::Drop);
        }
        let motion = packet(Event::PointerRelative { dx: 1, dy: 1 });
        assert_eq!(gate.judge(now, false, &motion), Verdict::Drop);
        assert_eq!(gate.strike(now), Verdict::Drop, "the first one");
    }

    #[test]
    fn a_flood_is_dropped_without_strikes() {
        let now = Instant::now();
        let mut gate = Gate::new(INPUTS_PER_SECOND);
        let motion = packet(Event::PointerRelative { dx: 1, dy: 1 });
        let forward = Verdict::Forward { activity: true };
        for _ in 0..INPUTS_PER_SECOND {
            assert_eq!(gate.judge(now, false, &motion), forward);
        }
        assert_eq!(gate.judge(now, false, &motion), Verdict::Drop);
        let later = now + Duration::from_secs(1);
        assert_eq!(gate.judge(later, false, &motion), forward);
    }
}
