//! Trickled candidates, the body of a WHEP PATCH.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|fragment: &str| nearlight_transport::fuzz::fragment(fragment));
