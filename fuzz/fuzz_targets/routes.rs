//! Which viewer a datagram belongs to, while viewers come, move and go: against a plain model.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|steps: Vec<(u8, u8, u8)>| nearlight_transport::fuzz::routes(&steps));
