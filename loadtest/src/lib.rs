//! Load and impaired paths against the real roles. docs/loadtest.md says how each is used.

#![forbid(unsafe_code)]

pub mod churn;
pub mod day;
pub mod edge;
pub mod fleet;
pub mod history;
pub mod net_cpu;
pub mod path;
pub mod proxy;
pub mod receipts;
pub mod recording;
mod report;
pub mod sessions;
pub mod stream;
pub mod streams;
