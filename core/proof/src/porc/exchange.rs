//! The exchange: what a checker and a node say to each other in a probe, step by step.
//!
//! ```text
//! checker                                   node
//!  | -- begin: signed, three hashes --------> |  who asks, what sizes, which secrets are committed to
//!  | <---------------------------- its key -- |
//!  | -- fill: the nonce --------------------> |  the seed is known: all legs start, the clock runs
//!  | <------------------- root of the fill -- |
//!  | -- matrix ---- frames -----------------> |
//!  | <----- root of C, root of the frames --- |
//!  | -- reads: the read secret -------------> |
//!  | <------------------ root of the reads -- |
//!  | -- open: the open secret --------------> |
//!  | <--------------- what it draws, opened - |  megabytes: rows, paths, one segment a lane
//!  | -- sign: the receipt ------------------> |
//!  | <------- the node's signature, or why not|
//! ```
//!
//! - [`begin`]: the first message, and what a node takes on; [`said`]: every later one, and the transcript.
//! - [`opening`]: what is opened, in which bytes; [`trees`]: the paths of a node that holds its leaves.
//! - [`record`]: what was said, as evidence.
//! - [`program`]: what a node's agent and the program that computes on a GPU say to each other.
//! - [`exam`]: the checker's machine; [`sitting`]: the node's.
//!
//! **Invariants.** Each message is signed over all messages before it, so that none can be moved to another
//! probe or another place. Each has a bound; of what is opened the exact length is known beforehand. A step is taken
//! once, in order.
//!
//! **What it does not know:** time (microseconds are handed in), how messages travel, threads.

pub mod begin;
pub mod exam;
pub mod opening;
pub mod program;
pub mod record;
pub mod said;
pub mod sitting;
pub mod trees;

/// A step of the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Who asks for what.
    Begin,
    /// The nonce, for the root of the fill.
    Fill,
    /// The root of C.
    Matrix,
    /// The root of the frames.
    Frames,
    /// The read secret, for the root of the reads.
    Reads,
    /// The open secret, for what is opened.
    Open,
    /// The receipt, for the node's signature.
    Sign,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 7] = [
        Self::Begin,
        Self::Fill,
        Self::Matrix,
        Self::Frames,
        Self::Reads,
        Self::Open,
        Self::Sign,
    ];

    /// Its name in addresses and in what is signed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Fill => "fill",
            Self::Matrix => "matrix",
            Self::Frames => "frames",
            Self::Reads => "reads",
            Self::Open => "open",
            Self::Sign => "sign",
        }
    }

    /// The step of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.name() == name)
    }

    /// The step after it.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::Begin => Some(Self::Fill),
            Self::Fill => Some(Self::Matrix),
            Self::Matrix => Some(Self::Frames),
            Self::Frames => Some(Self::Reads),
            Self::Reads => Some(Self::Open),
            Self::Open => Some(Self::Sign),
            Self::Sign => None,
        }
    }
}

/// The longest message of a checker, bytes: an entry of a log.
pub const ASK_BYTES_MAX: usize = crate::log::tile::ENTRY_BYTES_MAX;

#[cfg(test)]
#[path = "exchange/test.rs"]
mod test;
