//! The gate that a viewer's messages pass, text and binary, some milliseconds apart.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearlight_fuzz::pieces;

fuzz_target!(|bytes: &[u8]| nearlight_transport::fuzz::gate(&pieces(bytes)));
