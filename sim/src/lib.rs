//! Network paths on a virtual clock: the same model drives the path relay of `loadtest`. And what
//! shares them: a stream under our own congestion control, and a Cubic flow.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod cubic;
pub mod path;
pub mod stream;
