//! SDP offers, the body of a WHEP POST: what is taken is answered, section by section.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|sdp: &str| nearlight_transport::fuzz::offer(sdp));
