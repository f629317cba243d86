//! WebRTC for all sessions of a node on one UDP port: sans-IO core, one thread, no async runtime.
#![deny(missing_docs)]

mod config;
mod counters;
mod event;
mod handle;

pub use config::{Config, StartError};
pub use counters::{Counters, VideoDropReason};
pub use event::Event;
pub use handle::{Handle, start};
