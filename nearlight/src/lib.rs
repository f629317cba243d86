//! The command that people type.
//!
//! - [`cli`]: the command line; [`program`]: what it comes to.
//! - [`up`]: `nearlight up`, all roles on one machine as supervised child processes.
//! - [`client`]: the broker's HTTP API, as the other commands use it.
//! - [`command`]: `play`, `session`, `node`; [`apps`]: `app`.
//! - [`job`]: `session start -f`, a job from its file; [`compose`]: the job that a compose file is.
//! - [`inside`]: `session logs`, `exec` and `cp`, the inside of a job.
//! - [`mod@join`]: `node join`, this machine as a node of a broker elsewhere.
//! - [`identity`]: `login`, `logout`, `whoami`, `tenant`, `key`, `admin`; [`profile`]: what `login`
//!   remembers; `device`: a login in a browser.
//! - [`mod@bench`]: `nearlight bench latency`, input to picture in a real browser.
//! - [`outside`]: `registry`, `webhook`: what a tenant has outside.
//! - [`mod@usage`]: `usage`, what ran and what it costs.
//! - [`receipt`]: `receipt`, fetched from a broker and verified without one.
//! - [`doctor`]: what this machine has for running sessions, and what it lacks.
//! - [`failure`]: which exit status a failure has; `nearlight --help` lists them.
//! - [`table`], [`terminal`]: what people and scripts read.
//!
//! **What it does not know:** how a role works. It starts the same programs that an operator
//! would, and speaks the same HTTP that anyone can.

#![forbid(unsafe_code)]

pub mod apps;
pub mod bench;
pub mod checker;
pub mod cli;
pub mod client;
pub mod command;
pub mod compose;
mod device;
mod dispute;
pub mod doctor;
mod explain;
pub mod failure;
pub mod identity;
pub mod inside;
pub mod job;
pub mod join;
pub mod keeping;
mod node_list;
mod node_show;
mod node_status;
pub mod outside;
mod pace;
pub mod profile;
pub mod program;
pub mod receipt;
pub mod recipe;
pub mod stake;
pub mod table;
mod target;
pub mod terminal;
pub mod up;
pub mod usage;
pub mod volume;
