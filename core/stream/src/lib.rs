//! What a stream may send, and how: congestion control, pacing, the ladder over size and rate, and
//! protection against loss; and the marker that its pictures carry. Pure: times come in, decisions go out.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod arrears;
pub mod congestion;
pub mod key_frames;
pub mod ladder;
pub mod marker;
pub mod pacing;
pub mod repair;
pub mod uplink;
