//! Notices, from a worker through the node to a browser: what is read is written as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearlight_protocol::notice::Notice;

fuzz_target!(|bytes: &[u8]| {
    let Ok(notice) = serde_json::from_slice::<Notice>(bytes) else {
        return;
    };
    let text = serde_json::to_vec(&notice).expect("a notice is plain JSON");
    assert_eq!(serde_json::from_slice::<Notice>(&text).ok(), Some(notice));
});
