//! Binary marks, from a node to a browser or a native client: what is taken is canonical.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearlight_protocol::notice::Mark;

fuzz_target!(|bytes: &[u8]| {
    if let Some(mark) = Mark::decode(bytes) {
        assert_eq!(mark.encode(), bytes, "one mark, one encoding");
    }
});
