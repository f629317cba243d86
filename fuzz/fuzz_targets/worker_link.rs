//! The node's end of a worker's socket, with the worker's bytes cut as the input says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearlight_fuzz::pieces;

fuzz_target!(|bytes: &[u8]| {
    let writes: Vec<&[u8]> = pieces(bytes).into_iter().map(|(_, piece)| piece).collect();
    nearlight_transport::fuzz::worker_link(&writes);
});
