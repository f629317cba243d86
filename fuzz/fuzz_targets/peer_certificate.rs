//! Certificates that a peer shows on the node listener: a name that is taken is one of ours.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pki::spiffe_of;
use rustls_pki_types::CertificateDer;

#[allow(
    dead_code,
    unreachable_pub,
    reason = "a module of the kit, of which one function is fuzzed"
)]
#[path = "../../kit/src/pki.rs"]
mod pki;

#[allow(dead_code, reason = "a module of the kit, for `pki`")]
#[path = "../../kit/src/files.rs"]
mod files;

fuzz_target!(|der: &[u8]| {
    if let Some(name) = spiffe_of(&CertificateDer::from(der)) {
        assert!(name.starts_with("spiffe://nearlight/"));
    }
});
