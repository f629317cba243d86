//! The network's edge: the UDP socket, what of STUN is judged before any state is touched, and our
//! own candidates.

pub(crate) mod candidates;
pub(crate) mod gather;
pub(crate) mod ports;
pub(crate) mod socket;
pub(crate) mod stun;
