//! Paths as files: two directions, a seed, and changes at given times.
//!
//! ```toml
//! seed = 7
//!
//! [down]            # node to player; [up] is the way back
//! rate = "8mbit"
//! queue = "100ms"   # or "64kb"
//! delay = "20ms"    # one way
//! jitter = "2ms"
//! jitter_shape = "exponential"
//! loss = "2%"
//! burst = "10 every 2s"
//! reorder = "1%"
//! reorder_by = "5ms"
//!
//! [[step]]
//! at = "30s"
//! down = { rate = "4.8mbit" }
//! ```

use super::conditions::{Conditions, JitterShape, Queue};
use super::written::{Bursts, Rate, Share, Span};
use serde::Deserialize;

/// A path of two directions.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Of every random stream.
    pub seed: u64,
    /// From node to player.
    pub down: Conditions,
    /// From player to node.
    pub up: Conditions,
    /// What changes when.
    pub schedule: Schedule,
}

/// Why a profile cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Not the format: where, and what stands there.
    #[error("the profile is not understood: {0}")]
    Format(String),
    /// The steps are not in the order of their times.
    #[error("step {0} of the profile is earlier than the one before it: put the steps in order")]
    Order(usize),
}

impl Profile {
    /// Reads a profile.
    pub fn from_toml(text: &str) -> Result<Self, ProfileError> {
        let file: File =
            toml::from_str(text).map_err(|error| ProfileError::Format(error.to_string()))?;
        Ok(Self {
            seed: file.seed,
            down: file.down.applied(&Conditions::CLEAN),
            up: file.up.applied(&Conditions::CLEAN),
            schedule: Schedule::new(file.step)?,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    down: Change,
    #[serde(default)]
    up: Change,
    #[serde(default)]
    step: Vec<Step>,
}

/// Something else for some of the conditions; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Change {
    /// [`Conditions::loss`].
    pub loss: Option<Share>,
    /// [`Conditions::burst`].
    pub burst: Option<Bursts>,
    /// [`Conditions::delay_us`].
    pub delay: Option<Span>,
    /// [`Conditions::jitter_us`].
    pub jitter: Option<Span>,
    /// [`Conditions::jitter_shape`].
    pub jitter_shape: Option<JitterShape>,
    /// [`Conditions::reorder`].
    pub reorder: Option<Share>,
    /// [`Conditions::reorder_us`].
    pub reorder_by: Option<Span>,
    /// [`Conditions::rate_kbps`].
    pub rate: Option<Rate>,
    /// [`Conditions::queue`].
    pub queue: Option<Queue>,
}

impl Change {
    /// `before` with the change made.
    #[must_use]
    pub fn applied(&self, before: &Conditions) -> Conditions {
        Conditions {
            loss: self.loss.map_or(before.loss, |share| share.0),
            burst: self.burst.map_or(before.burst, |bursts| bursts.0),
            delay_us: self.delay.map_or(before.delay_us, |span| span.us),
            jitter_us: self.jitter.map_or(before.jitter_us, |span| span.us),
            jitter_shape: self.jitter_shape.unwrap_or(before.jitter_shape),
            reorder: self.reorder.map_or(before.reorder, |share| share.0),
            reorder_us: self.reorder_by.map_or(before.reorder_us, |span| span.us),
            rate_kbps: self.rate.map_or(before.rate_kbps, |rate| rate.kbps),
            queue: self.queue.unwrap_or(before.queue),
        }
    }
}

/// Changes of both directions at one time.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Since the beginning.
    pub at: Span,
    /// From node to player.
    #[serde(default)]
    pub down: Change,
    /// From player to node.
    #[serde(default)]
    pub up: Change,
}

/// Steps in the order of their times, taken one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schedule {
    steps: Vec<Step>,
    taken: usize,
}

impl Schedule {
    /// The steps, which must be in order.
    pub fn new(steps: Vec<Step>) -> Result<Self, ProfileError> {
        match steps.windows(2).position(|two| two[0].at.us > two[1].at.us) {
            Some(before) => Err(ProfileError::Order(before + 2)),
            None => Ok(Self { steps, taken: 0 }),
        }
    }

    /// The next step, if its time has come; call until there is none. `elapsed_us` is since the
    /// beginning.
    pub fn take_due(&mut self, elapsed_us: u64) -> Option<&Step> {
        let step = self.steps.get(self.taken)?;
        if step.at.us > elapsed_us {
            return None;
        }
        self.taken += 1;
        Some(step)
    }

    /// When the next step is due, since the beginning.
    pub fn next_us(&self) -> Option<u64> {
        self.steps.get(self.taken).map(|step| step.at.us)
    }
}
