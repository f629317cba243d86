//! Two PulseAudio clients on one desk, their bytes cut and interleaved as the input says, and sound
//! mixed in between: no panic, and nobody makes the desk hold more than its limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearlight_fuzz::pieces;

fuzz_target!(|bytes: &[u8]| nearlight_sound::fuzz::desk(&pieces(bytes)));
