//! Public randomness that nobody could know before: which round it is, and its value.
//!
//! [`drand`] is the League of Entropy's quicknet, for open networks; [`chain`] is a hash chain whose
//! end stands in the log ([`anchor`]), for closed ones. Both give 32 bytes a round. [`used`] says which of them a network's
//! rounds take their values from.
//!
//! **What it does not know:** what time it is. Which round is due is the caller's to say.

pub mod anchor;
pub mod chain;
pub mod drand;
mod entry;
pub mod used;
