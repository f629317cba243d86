//! What is run in which order, and how long each press waits for its turn.
//!
//! Pure. One session's median moves by up to 10 ms with the phase between the clocks of app, display
//! and browser: each run is a session of its own, and presses come at random intervals.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// Between a picture that was seen and the next press.
const WAIT_US: std::ops::RangeInclusive<u64> = 100_000..=400_000;

/// When the app commits an answer. Every latency names its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    /// At once: the path alone.
    Immediate,
    /// With the next frame callback, as games do.
    Paced,
}

impl Mode {
    /// As it is written in names of figures.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Paced => "paced",
        }
    }
}

/// What one run measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A canvas of the browser's own, with no network.
    Floor,
    /// A session of the product.
    Session(Mode),
}

impl Subject {
    /// As it is written in tables.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Session(mode) => mode.name(),
        }
    }
}

/// One page, opened afresh, and its presses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// What is measured.
    pub(super) subject: Subject,
    /// Which of its runs this is, from 0.
    pub(super) round: u32,
}

/// The whole measurement.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Runs of each subject.
    pub(super) sessions: u32,
    /// Presses in each run.
    pub(super) presses: u32,
    /// The modes to measure; the floor always is.
    pub(super) modes: Vec<Mode>,
    /// The same seed waits the same times.
    pub(super) seed: u64,
}

impl Plan {
    /// Every run. Sessions and floor take turns, so that what else the machine does meets both; a
    /// session is first, so that one that cannot be played is told at once.
    pub(super) fn runs(&self) -> Vec<Run> {
        let sessions = self.modes.iter().copied().map(Subject::Session);
        let subjects: Vec<_> = sessions.chain([Subject::Floor]).collect();
        (0..self.sessions)
            .flat_map(|round| subjects.iter().map(move |&subject| Run { subject, round }))
            .collect()
    }

    /// How long each press of `run` waits after the picture of the one before it.
    pub(super) fn waits(&self, run: Run) -> impl Iterator<Item = Duration> + use<> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let subject = match run.subject {
            Subject::Floor => 0,
            Subject::Session(Mode::Immediate) => 1,
            Subject::Session(Mode::Paced) => 2,
        };
        rng.set_stream(u64::from(run.round) * 3 + subject);
        (0..self.presses).map(move |_| Duration::from_micros(rng.random_range(WAIT_US)))
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn plan() -> Plan {
        Plan {
            sessions: 2,
            presses: 300,
            modes: vec![Mode::Immediate, Mode::Paced],
            seed: 7,
        }
    }

    #[test]
    fn floor_and_sessions_take_turns() {
        let names: Vec<_> = plan()
            .runs()
            .iter()
            .map(|run| (run.subject.name(), run.round))
            .collect();
        let turn = |round| [("immediate", round), ("paced", round), ("floor", round)];
        assert_eq!(names, [turn(0), turn(1)].concat());
    }

    #[test]
    fn waits_are_the_seeds_and_differ_between_runs() {
        let plan = plan();
        let runs = plan.runs();
        let waits = |run| plan.waits(run).collect::<Vec<_>>();
        assert_eq!(waits(runs[0]), waits(runs[0]));
        for (i, a) in runs.iter().enumerate() {
            assert_eq!(waits(*a).len(), 300);
            for b in &runs[i + 1..] {
                assert_ne!(waits(*a), waits(*b), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn waits_fall_on_every_phase_of_a_frame() {
        let plan = plan();
        let mut phases = [0; 8];
        for wait in plan.waits(plan.runs()[1]) {
            assert!(WAIT_US.contains(&u64::try_from(wait.as_micros()).unwrap()));
            phases[(wait.as_micros() % 16_667 * 8 / 16_667) as usize] += 1;
        }
        assert!(phases.iter().all(|&count| count > 15), "{phases:?}");
    }
}
