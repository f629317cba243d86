//! Session lifecycle, claims and epochs as pure state machines.
//!
//! In reading order:
//!
//! 1. [`epoch`]: the fencing number of a slot, and the edge's journal that never runs two of them.
//! 2. [`lifecycle`]: from queued to ended, as the broker sees it.
//! 3. [`queue`]: who is next when every slot is taken, and when.
//! 4. [`cluster`]: the one fate of a cluster's replicas.
//! 5. [`bill`]: what a session costs, and when a budget is spent.
//!
//! **Invariants.** Same inputs, same outputs: no clock, no socket, no file, no randomness. Time
//! comes in as [`nearlight_protocol::unit::MonoTime`], decisions go out as values.
//!
//! **What it does not know:** HTTP, SQL, the control stream, containers.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod bill;
pub mod cluster;
pub mod epoch;
pub mod lifecycle;
pub mod queue;

pub use epoch::{Admission, Denial, Epoch, EpochJournal, JournalEntry, Occupant};
pub use lifecycle::{Claim, Effect, Event, Lifecycle, Limits, Outcome, Phase, Stopped, Use};
pub use queue::Queue;
