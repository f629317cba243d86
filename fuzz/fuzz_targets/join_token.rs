//! Join tokens: what is taken is written as it was read, and every address can be dialled.
#![no_main]

use join::{ADDRESSES_MAX, JoinToken, TOKEN_BYTES_MAX, is_address};
use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unreachable_pub, reason = "a module of the kit")]
#[path = "../../kit/src/join.rs"]
mod join;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(token) = text.parse::<JoinToken>() {
        assert!(text.trim().len() <= TOKEN_BYTES_MAX + 8);
        assert!((1..=ADDRESSES_MAX).contains(&token.addresses.len()));
        assert!(token.addresses.iter().all(|address| is_address(address)));
        assert_eq!(token.to_string(), text.trim());
    }
});
