//! Messages of the control stream, both ways: what is read is written as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearlight_protocol::control::{FromEdge, ToEdge, Unread};
use serde::{Serialize, de::DeserializeOwned};

fuzz_target!(|bytes: &[u8]| {
    round_trip::<FromEdge>(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let is_read = serde_json::from_str::<FromEdge>(text).is_ok();
        match FromEdge::read(text) {
            Ok(_) => assert!(is_read),
            Err(Unread::Newer { kind, .. }) => assert!(!is_read && FromEdge::KINDS.contains(&kind)),
            Err(Unread::Broken(_)) => assert!(!is_read),
        }
    }
    // A key set is free JSON, whose fractions need not survive; nothing of ours has any.
    match serde_json::from_slice::<ToEdge>(bytes) {
        Ok(ToEdge::Welcome(welcome)) => drop(welcome),
        Ok(_) => round_trip::<ToEdge>(bytes),
        Err(_) => {}
    }
});

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(message) = serde_json::from_slice::<T>(bytes) else {
        return;
    };
    let text = serde_json::to_vec(&message).expect("a message is plain JSON");
    assert_eq!(serde_json::from_slice::<T>(&text).ok(), Some(message));
}
