//! Network paths on a virtual clock: the same model drives the path relay of `loadtest`. And what
//! shares them: a stream under our own congestion control, and a Cubic flow. And a region's day: nodes,
//! players and a broker around the real core crates.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod cubic;
pub mod fleet;
pub mod path;
pub mod stream;
