//! WebRTC for all sessions of a node on one UDP port: sans-IO core, one thread, no async runtime.
//!
//! ```text
//!            commands (bounded) + waker
//!   agent ------------------------------> reactor thread <-----> worker sockets (one a session)
//!     ^   <------------------------------      |
//!            events (a callback)               +---> UDP port(s) <-----> viewers
//! ```
//!
//! **Owns** the UDP port with ICE, DTLS, SRTP and SCTP of every viewer, and the sockets of all session
//! workers, in one `mio` loop: an access unit goes from the worker's socket to the wire without
//! changing threads, and so does input the other way.
//!
//! **States.** A session is known from [`Handle::add_session`] to [`Handle::end_session`]; a viewer's
//! connection (an attachment) lives as `attachment` has it: one player to a session, and watchers
//! beside it that see the same encode.
//!
//! **Invariants.**
//! - Nothing that is not authentic creates state: a datagram from a new address counts only if it is
//!   a STUN request that names an attachment and proves its password.
//! - Work per wake is bounded for every source, and every queue is bounded (`limits`).
//! - A frame is sent to the player, or counted as dropped with a reason, never silently lost:
//!   `video_in == video_sent + sum(video_dropped)` whenever nothing waits for the socket.
//! - Watchers cost the player at most a key frame every two seconds.
//! - A panic of third-party parsing code on a viewer's bytes ends that viewer's attachment, not the
//!   thread: every call into it is caught.
//!
//! **Allocation.** For a frame our own code allocates a list and a buffer that its packets share;
//! for a packet nothing but the list of header extensions that `rtc`'s header wants (a test counts
//! both). `rtc` allocates six times for each packet; another test holds them, by the functions that
//! do it. See docs/performance.md, and docs/adr/0001-transport.md for what that costs.
//!
//! **Does not know** who may attach: tickets, owners and origins are the broker's and the agent's.

#![deny(missing_docs)]

mod attachment;
mod clock;
mod config;
mod counters;
#[cfg(test)]
mod counting;
mod event;
#[doc(hidden)]
pub mod fuzz;
mod handle;
mod limits;
mod meters;
mod net;
mod picture;
mod quality;
mod reactor;
mod routes;
mod sdp;
mod session;
mod worker_link;

pub use config::{Config, StartError};
pub use counters::{Counters, FlowGauges, VideoDropReason, WatcherCounters};
pub use event::Event;
#[doc(hidden)]
pub use handle::{Census, start_unsegmented};
pub use handle::{Handle, start};
pub use meters::describe_metrics;
pub use quality::Played;
