//! Placement: an index of the fleet, a request and a policy in; a node, or counted reasons why
//! not, out.
//!
//! ```text
//!   NodeView, NodeState --> FleetIndex ---+
//!                                         v
//!   SessionRequest, Policy --> search the nearest cells first --> best few --> pick --> Place
//!                                         |
//!                                         +--> nobody: count the whole fleet --> Reject
//! ```
//!
//! **The index.** A node's region is its *cell*. A cell keeps its nodes in blocks of 64, each value in
//! a column of its own and each yes-or-no as a bit, with the least and the greatest of each column.
//! So most of a request's demands are answered for 64 nodes at once. Where a region has many nodes,
//! those of one kind share blocks, and a rare demand reads few of them. A change of one node touches
//! its block alone.
//!
//! **Filters** rule nodes out, each for a [`Reason`], what never changes first: region, reach, GPU
//! class, VRAM, encoder, runtime, VRAM that receipts stand for, trust, size, price, image where the policy requires it; then
//! offline, draining, failed checks, outbox, slots, CPU, memory, uplink, the cap on unproven nodes; who refused it,
//! what is held for others; and last, too far for the latency step. [`check()`] is their specification, node by node.
//!
//! **The score** is a sum of points, 100 to the millisecond of round trip; fewest is best:
//!
//! | part | points |
//! |---|---|
//! | round trip | 100 a millisecond, estimated by cell; the policy says what an unknown one counts as |
//! | image | 4000 if it, or an asset of the job, has to be fetched first |
//! | desktop | 300 if one has to be started, and the session could use one that is ready |
//! | GPU | 2000 if the node has one and the session needs none: another one may |
//! | load | 1 for each thousandth of slots or CPU taken afterwards, whichever is more: 1000 at most |
//! | uplink | half as much for each thousandth of the uplink: 500 at most; 0 where it is not known |
//! | receipts | half a point for each thousandth that is missing of a full rank: 500 without any; 0 where nobody checks nodes |
//! | price | 1 for each thousandth of the currency an hour that it costs there, with the encoder's CPU and the job's GPUs |
//! | spread | 500 times the share of the tenant's sessions that the node's operator has already |
//!
//! So a missing image weighs more than everything about load and GPUs together, and as much as 40 ms. A
//! ready desktop saves half a second once: it decides between nodes that are about as near and as busy.
//!
//! **The search** takes cells by round trip and stops where the round trip alone is worse than
//! everything found. Within a cell it leaves out blocks that cannot hold a better node. It finds
//! the same best few as ranking every node would.
//!
//! **Latency steps.** Who asks first gets near nodes only; the [`Policy`]'s steps widen the circle with
//! the time that the session has waited. A step holds nobody back from a node that is farther away
//! where no nearer node is there that could run the session once something is free. [`Step`] says which
//! one was in force.
//!
//! **Clusters.** [`together()`] finds the site that has room for all replicas of one job. [`hold()`] holds room for
//! who would else be overtaken by the small for ever; a request names the nodes that are held against it.
//!
//! The answer is a wish: committing the claim is the caller's, who may lose the race and then asks
//! again with a fresh index, a bounded number of times.
//!
//! **Invariants.** Same nodes, request, policy and chance: same answer, in whatever order the nodes
//! came and changed. The node that is placed on passes every filter. "No capacity" is a value, not an
//! error, and counts each node once.
//!
//! **What it does not know:** the ledger, the control stream, queues, which slot of a node is free,
//! where round trips come from, time.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod check;
mod count;
mod decide;
mod hold;
mod index;
mod job;
mod nearest;
mod node;
mod opening;
mod pick;
mod policy;
mod price;
mod reason;
mod request;
mod score;
mod search;
mod sieve;
mod together;

pub use check::check;
pub use count::Rejection;
pub use decide::{Decision, decide};
pub use hold::{Busy, Hold, Need, Running, hold};
pub use index::FleetIndex;
pub use job::{JobNeed, PriceCap, choose_gpus, gpu_suits};
pub use nearest::nearest;
pub use node::{NodeState, NodeView, Trust};
pub use opening::{Opening, opening};
pub use policy::{LatencyStep, Policy, Step};
pub use price::Rates;
pub use reason::Reason;
pub use request::{Rtts, SessionRequest};
pub use score::Why;
pub use together::{Together, TooFew, has_room_beside, site_of, together};
