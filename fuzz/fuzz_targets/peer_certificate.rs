//! Certificates that a peer shows on the node listener: a name that is taken is one of ours.
#![no_main]

use libfuzzer_sys::fuzz_target;
use name::spiffe_of;
use rustls_pki_types::CertificateDer;

#[allow(unreachable_pub, reason = "a module of the kit")]
#[path = "../../kit/src/pki/name.rs"]
mod name;

fuzz_target!(|der: &[u8]| {
    if let Some(name) = spiffe_of(&CertificateDer::from(der)) {
        assert!(name.starts_with("spiffe://nearlight/"));
    }
});
