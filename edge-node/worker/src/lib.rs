//! The session worker: one unprivileged process per session that holds its desktop, its sound
//! server and its encoders, and parses everything that a hostile app can send.
//!
//! A frame, in reading order: [`desktop`] takes a commit, [`pace`] says whether it is shown now,
//! [`desktop::capture`] converts it, [`encode`] makes an access unit of it, [`link`] hands that to
//! the edge agent, and [`ledger`] knows what became of every commit. Input goes the other way:
//! [`link`] reads it and [`desktop::input`] injects it at once. [`session`] wires them together in
//! one event loop on the main thread; the encoder and the sound server have threads of their own
//! that hand their packets straight to [`link::outbox`].
//!
//! **Invariants.** No capture timer: a frame exists because the app committed one, or because a
//! viewer needs the last one again. No queue is unbounded and no wait on a peer is without a
//! deadline ([`limits`]). A peer, be it app or agent, can end this process's session, never
//! crash the process or make it grow without bound.
//!
//! **What it does not know:** networks, containers, users, other sessions.

pub mod bench;
pub mod cli;
pub mod clock;
pub mod desktop;
pub mod encode;
pub mod harden;
pub mod ledger;
pub mod limits;
pub mod link;
pub mod notices;
pub mod pace;
mod ran;
pub mod session;
pub mod watchdog;
