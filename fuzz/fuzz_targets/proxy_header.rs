//! What a load balancer sends before a connection's first byte.

#![no_main]

#[path = "../../session-broker/src/proxied/header.rs"]
#[allow(dead_code, unreachable_pub)]
mod header;

use header::{FIXED_BYTES, Header, REST_BYTES_MAX, parse, rest_len};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
        return;
    };
    let Ok(len) = rest_len(fixed) else { return };
    assert!(len <= REST_BYTES_MAX);
    let Some(rest) = rest.get(..len) else { return };
    if let Ok(Header::Of(client)) = parse(fixed, rest) {
        let source = match client.ip() {
            std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
            std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        assert!(rest.starts_with(&source), "the client is the source");
    }
});
