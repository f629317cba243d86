//! Access units, from a worker that a hostile app may have taken over: cut into packets that fit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearlight_fuzz::pieces;

// A panic of the crate that cuts is expected, and caught; libFuzzer's hook would end the process.
// What is not caught still ends it.
fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |bytes: &[u8]| {
    if let Some((codec, units)) = bytes.split_first() {
        nearlight_transport::fuzz::access_units(*codec, &pieces(units));
    }
});
