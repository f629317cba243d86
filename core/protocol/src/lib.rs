//! Every wire type of Nearlight, and nothing that moves bytes.
//!
//! Four wires meet here, in reading order:
//!
//! 1. **HTTP API** between people's programs and the broker: [`api`], [`app`], [`attach`], [`identity`],
//!    [`placement`], [`problem`], [`region`], [`usage`], [`versions`]; [`inside`] of jobs.
//! 2. **Control stream** between the broker and an edge node: [`control`], [`grant`]; before it,
//!    [`enrol`].
//! 3. **Data channels** between the browser and the edge: [`input`] (binary, browser to edge),
//!    [`notice`] (edge to browser).
//! 4. **Worker socket** between the edge agent and a session worker on one host: [`worker`].
//!
//! Shared by all: [`id`], [`mod@unit`], [`limits`], [`plain`], [`keycode`], [`stage`].
//!
//! **Invariants.** Decoding never panics and never allocates more than the limits allow, whatever
//! the bytes. Every 64-bit value in JSON is a decimal string ([`unit::U64`]): JavaScript and
//! RFC 8785 lose integers above 2^53-1. Unknown JSON fields are ignored on read, so that a peer one
//! version ahead can talk to us; unknown binary kinds are an error that the caller counts.
//!
//! **What it does not know:** sockets, clocks, files, and what any message makes the receiver do.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod api;
pub mod app;
pub mod attach;
pub mod checker;
pub mod control;
pub mod dispute;
pub mod endpoint;
pub mod enrol;
pub mod gpu;
pub mod grant;
pub mod id;
pub mod identity;
pub mod input;
pub mod inside;
pub mod job;
pub mod keycode;
pub mod limits;
pub mod notice;
pub mod placement;
pub mod plain;
pub mod problem;
pub mod prove;
pub mod quality;
pub mod receipt;
pub mod region;
pub mod registry;
pub mod revocation;
pub mod stage;
pub mod stake;
pub mod standing;
pub mod tunnel;
pub mod unit;
pub mod usage;
pub mod versions;
pub mod volume;
pub mod webhook;
pub mod work;
pub mod worker;

mod bytes;

#[cfg(test)]
mod typescript;
