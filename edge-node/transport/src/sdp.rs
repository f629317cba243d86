//! SDP in and out (RFC 8866, RFC 9429), as WHEP uses it.
//!
//! The viewer's offer is read here, by an allow-list: [`offer`] keeps the few facts that matter and
//! writes a small offer of its own for the crate `rtc`, which so never parses a viewer's text.
//! [`answer`] turns what `rtc` answers into what the viewer gets. [`fragment`] reads trickled
//! candidates.

pub(crate) mod answer;
pub(crate) mod fragment;
pub(crate) mod offer;
