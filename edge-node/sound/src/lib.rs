//! An in-process PulseAudio server: a session's sound, mixed and encoded with Opus.
//!
//! ```text
//!  game ──unix socket──> reactor ──bytes──> frame ──> desk ──> stream ──> resample ─┐
//!                           │ every 10 ms                                            │
//!                           └──────────> encode <─────────── 480 frames of the mix ──┘
//!                                          │
//!                                          └─> on_packet(pts, Opus)
//! ```
//!
//! [`start`] gives a session's worker a server on a socket whose permissions are its only guard:
//! any cookie is let in. Programs see one sink, `nearlight`, of 48 kHz stereo, with a queue of
//! 20 ms unless they ask for more. Everything runs on one thread of its own; the handle's methods
//! never block on it.
//!
//! **Invariant:** a client cannot crash the server, make it wait, or make it hold more than
//! `limits.rs` says. One that breaks the protocol or does not read is cut off and counted.
//!
//! What is left out on purpose: shared memory (a client could change samples while they are read),
//! recording, sample caches, modules, cards. Such commands are answered with an error that says so.

mod buffer;
mod desk;
mod encode;
mod frame;
#[doc(hidden)]
pub mod fuzz;
mod limits;
mod priority;
mod reactor;
mod resample;
mod sample;
mod server;
mod stream;

pub use server::{Counters, Options, PacketSink, SoundServer, StartError, start};
