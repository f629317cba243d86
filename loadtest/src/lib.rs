//! Load and impaired paths against the real roles. docs/loadtest.md says how each is used.

#![forbid(unsafe_code)]

pub mod barcode;
pub mod broker;
pub mod churn;
pub mod clock;
pub mod day;
pub mod decode;
pub mod edge;
pub mod fleet;
pub mod frames;
pub mod history;
pub mod net_cpu;
pub mod path;
pub mod proxy;
pub mod recording;
pub mod sessions;
pub mod started;
pub mod stream;
pub mod streams;
pub mod viewer;
