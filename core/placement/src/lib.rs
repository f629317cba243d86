//! Placement: fleet snapshot, request and policy in; a slot, or counted reasons why not, out.
//!
//! ```text
//!   FleetSnapshot --filter--> candidates --rank--> best first --pick--> Place { slot, why }
//!                    |
//!                    +--> reasons, counted over the whole fleet --> Reject
//! ```
//!
//! Each stage is a file. The answer is a wish: committing the claim is the caller's, who may lose
//! the race and then asks again with a fresh snapshot, a bounded number of times.
//!
//! **Invariants.** Same snapshot, request, policy and chance: same answer. A slot that is placed was
//! free in the snapshot, on a node that passed every filter. "No capacity" is a value, not an error.
//!
//! **What it does not know:** the ledger, the control stream, queues, time.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod decide;
mod filter;
mod fleet;
mod pick;
mod rank;

pub use decide::{Decision, Rejection, could_ever, decide};
pub use filter::Reason;
pub use fleet::{FleetSnapshot, NodeView, Policy, SessionRequest};
pub use rank::Why;
