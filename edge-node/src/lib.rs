//! The edge agent: runs sessions on one host for a broker.
//!
//! In reading order:
//!
//! 1. Start: [`args`], [`config`], [`preflight`], [`identity`], [`node`] (puts it all together).
//! 2. What the node has: `gpu`, `encoders`, `inventory`.
//! 3. The broker: `control` (the stream), `grant`, `journal`, `board` (what it should know).
//! 4. The owner of it all: `agent`.
//! 5. Sessions: `session`, `adopt`, `saves`; jobs: `job`, `tunnel`, [`copier`].
//! 6. What they run on: [`runtime`], `streams` (the transport), `process`, `cgroup`.
//! 7. Callers of jobs: [`tunnel`]; checkers: `prover`.
//! 8. Being looked at: `admin`, `meters`.
//!
//! **Invariants.** A slot never runs two epochs. A session's worker and app outlive the agent, and
//! the next agent takes them over or clears them away. No session can touch another, the agent's
//! keys, or the container engine.

#![deny(missing_docs)]

pub mod args;
pub mod config;
pub mod copier;
pub mod gpu_check;
pub mod identity;
pub mod node;
pub mod preflight;

mod encoders;
mod engine;
mod gpu;
mod images;
mod inventory;

mod board;
mod control;
mod grant;
mod journal;

mod agent;

mod adopt;
mod ended;
mod job;
mod left;
mod prover;
mod records;
mod saves;
mod session;
mod stubborn;
pub mod tunnel;
mod warm;

mod cgroup;
mod process;
pub mod runtime;
mod streams;

mod admin;
mod limits;
mod meters;
