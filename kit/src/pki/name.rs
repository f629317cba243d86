//! Who a certificate speaks for.

use rustls_pki_types::CertificateDer;

/// What every name of ours begins with.
const TRUST_DOMAIN: &str = "spiffe://nearlight/";

/// The SPIFFE id of a certificate whose chain was verified: its URI name, if it has exactly one and
/// that one is of ours.
pub fn spiffe_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let leaf = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut names = leaf.valid_uri_names();
    let only = names.next()?;
    // An X.509-SVID has one URI name; a second would make it ambiguous who speaks.
    if names.next().is_some() || !only.starts_with(TRUST_DOMAIN) {
        return None;
    }
    Some(only.to_owned())
}
