//! A stream on a virtual clock: the controller, the pacer and the ladder of `core/stream` with a
//! model of an encoder before them and a model of a browser behind a [`Path`].
//!
//! ```text
//! encoder ─> pacer ─> Path ─> browser
//!    ^                          │ feedback, requests to send again, for key frames
//!    └──── controller, ladder <─┘
//! ```
//!
//! Owns the loop and what it measures ([`Outcome`]). Invariants: everything follows from the
//! scenario and its seed. Does not know: bits of any codec, encryption, real sockets; what the
//! models leave out, the tests with real browsers have.

mod browser;
mod crowd;
mod encoder;
mod outcome;
mod sender;
mod stalls;

pub use crowd::{Crowd, Crowded};
pub use outcome::{Outcome, Span};
pub use stalls::Stalls;

use crate::cubic::Cubic;
use crate::path::{Conditions, Fate, Path};
use browser::Browser;
use sender::Sender;

/// The grain of the clock, which is that of a real sender's timers.
const TICK_US: u64 = 1_000;

/// What happens in a run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Conditions towards the browser, and since when they hold. The first is of 0.
    pub steps: Vec<(u64, Conditions)>,
    /// One way back, microseconds; nothing is lost there.
    pub back_us: u64,
    /// The rate to begin with and the most, kbit/s.
    pub kbps_start: u32,
    /// See `kbps_start`.
    pub kbps_max: u32,
    /// The most that the scene makes the encoder produce, kbit/s, and since when.
    pub scene_kbps: Vec<(u64, u32)>,
    /// A larger picture now and then, as an app shows that was quiet and is used: between two of
    /// them, microseconds, and its bytes. With it there is no sound, and a picture only ten times a
    /// second.
    pub flips: Option<(u64, u32)>,
    /// Until when the flips go on.
    pub flips_until_us: u64,
    /// When the browser has other things to do.
    pub stalls: Option<Stalls>,
    /// When a Cubic flow begins and ends, if there is one.
    pub cubic_us: Option<(u64, u64)>,
    /// Between two feedback messages, microseconds.
    pub feedback_us: u64,
    /// How long it runs, microseconds.
    pub length_us: u64,
}

impl Scenario {
    /// A scene of noise over a path of so many kbit/s, 40 ms of base round trip and a drop-tail
    /// queue of `queue_us`, for a minute.
    pub fn bottleneck(kbps: u32, queue_us: u64) -> Self {
        Self {
            steps: vec![(0, bottleneck(kbps, queue_us))],
            back_us: 20_000,
            kbps_start: 8_000,
            kbps_max: 20_000,
            scene_kbps: vec![(0, u32::MAX)],
            flips: None,
            flips_until_us: 0,
            stalls: None,
            cubic_us: None,
            feedback_us: 50_000,
            length_us: 60_000_000,
        }
    }

    /// The same, with other rates from other times on.
    #[must_use]
    pub fn with_steps(mut self, steps: &[(u64, u32)], queue_us: u64) -> Self {
        let steps = steps.iter();
        self.steps = steps
            .map(|(at_us, kbps)| (*at_us, bottleneck(*kbps, queue_us)))
            .collect();
        self
    }

    /// Runs it.
    pub fn run(&self, seed: u64) -> Outcome {
        let mut path = Path::new(self.steps[0].1, seed);
        let mut sender = Sender::new(self, seed);
        let stalls = self.stalls.map(|stalls| stalls.over(self.length_us, seed));
        let mut browser = Browser::new(self.feedback_us, stalls.unwrap_or_default());
        let mut cubic: Option<Cubic> = None;
        let mut outcome = Outcome::default();
        let mut steps = self.steps.iter().peekable();
        for now_us in (0..self.length_us).step_by(TICK_US as usize) {
            while let Some((_, conditions)) = steps.next_if(|(at, _)| *at <= now_us) {
                path.set(*conditions);
            }
            for report in browser.reports(now_us, self.back_us) {
                sender.on_report(&report, now_us);
            }
            sender.encode(now_us, &mut outcome);
            sender.release(now_us, |packet, encoded_us| {
                outcome.paced(now_us, encoded_us);
                let fate = path.offer(now_us, packet.wire_bytes);
                if let Fate::Deliver { at_us, queued_us } = fate {
                    outcome.waited(now_us, queued_us);
                    browser.arrives(packet, at_us);
                }
            });
            if let Some((from, to)) = self.cubic_us
                && (from..to).contains(&now_us)
            {
                let cubic = cubic.get_or_insert_with(|| Cubic::new(now_us));
                let before = cubic.delivered_bytes();
                cubic.step(now_us, &mut path, self.back_us);
                outcome.cubic(now_us, cubic.delivered_bytes() - before);
            }
            browser.watch(now_us, &mut outcome);
        }
        outcome
    }
}

fn bottleneck(kbps: u32, queue_us: u64) -> Conditions {
    Conditions {
        rate_kbps: Some(kbps),
        delay_us: 20_000,
        queue: crate::path::Queue::Span { us: queue_us },
        ..Conditions::CLEAN
    }
}

/// A packet of the stream.
#[derive(Clone, Copy, Debug)]
struct Packet {
    /// Transport-wide.
    sequence: u16,
    what: What,
    wire_bytes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Audio,
    /// A packet of the picture, by its own number; sent again or not.
    Video {
        number: u64,
        frame: Frame,
        again: bool,
    },
}

/// The frame that a packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    number: u64,
    key: bool,
    encoded_us: u64,
    /// Its packets, by their numbers.
    first: u64,
    last: u64,
}
