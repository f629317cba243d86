//! The command that people type.
//!
//! - [`cli`]: the command line.
//! - [`up`]: `nearlight up`, all roles on one machine as supervised child processes.
//! - [`client`]: the broker's HTTP API, as the other commands use it.
//! - [`command`]: `play`, `session`, `node`, `app`.
//! - [`table`]: tables for people.
//!
//! **Exit codes.** 0 done; 1 it did not work, and the last line on stderr says what to do; 2 the
//! command line is wrong; 64 a configuration file is wrong; 130 stopped by a second Ctrl-C.
//!
//! **What it does not know:** how a role works. It starts the same programs that an operator
//! would, and speaks the same HTTP that anyone can.

#![forbid(unsafe_code)]

pub mod cli;
pub mod client;
pub mod command;
pub mod table;
pub mod up;
