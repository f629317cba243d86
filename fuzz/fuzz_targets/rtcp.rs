//! What a viewer reports, decrypted: compounds, one after the other, through the interceptors and the controller.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearlight_fuzz::pieces;

fuzz_target!(|bytes: &[u8]| {
    let compounds: Vec<&[u8]> = pieces(bytes).into_iter().map(|(_, piece)| piece).collect();
    nearlight_transport::fuzz::rtcp(&compounds);
});
