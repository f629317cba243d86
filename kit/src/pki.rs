//! The development CA and the mTLS identities of the node listener.
//!
//! Who is who stands in the certificate's one URI name (a SPIFFE id): `spiffe://nearlight/broker`,
//! `spiffe://nearlight/node/<node id>`. Edges verify the broker by its DNS name; the broker verifies
//! that an edge's certificate is of its CA and reads the node id with [`spiffe_of`].
//!
//! **Invariants.** Only TLS 1.3; only certificates of this directory's CA; no listener of this
//! module takes a peer without one. Private keys are written 0600 and never leave the directory.
//!
//! **What it does not know:** revocation. A node is shut out by the broker, which knows nodes by id.

use crate::files::write_atomic;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Ten years: a development CA lives as long as its data directory.
const CA_LIFETIME: Duration = Duration::from_secs(3650 * DAY_S);
/// A year: `nearlight up` issues again at each start.
const LEAF_LIFETIME: Duration = Duration::from_secs(365 * DAY_S);
/// Clocks of two hosts may disagree by so much.
const BACKDATED: Duration = Duration::from_secs(3600);
const DAY_S: u64 = 24 * 3600;

/// Why an identity cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds no usable certificate or key.
    #[error("{} holds no usable certificate or key; delete it to have a new one made", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// A certificate cannot be made.
    #[error("cannot make the certificate `{name}`")]
    Issue {
        /// For whom.
        name: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The certificate and the key do not make a TLS identity.
    #[error("the certificate and key `{name}` are not usable for TLS")]
    Tls {
        /// Whose.
        name: String,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The CA cannot verify anyone.
    #[error("the CA in {} cannot verify its peers", dir.display())]
    Verifier {
        /// Where.
        dir: PathBuf,
        /// Why.
        #[source]
        source: rustls::server::VerifierBuilderError,
    },
}

/// Who a certificate speaks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The SPIFFE id, such as `spiffe://nearlight/broker`.
    pub spiffe: String,
    /// Names that a client verifies.
    pub dns: Vec<String>,
    /// Addresses that a client verifies.
    pub ips: Vec<IpAddr>,
}

/// A certificate authority that lives in a directory: `ca.pem` and `ca.key.pem`.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of logs.
        f.debug_struct("Ca").finish_non_exhaustive()
    }
}

/// The CA of `dir`, made if the directory has none yet.
///
/// The key is written before the certificate, and both atomically: a crash in between leaves a key
/// without a certificate, which the next call replaces.
pub fn ensure_ca(dir: &Path) -> Result<Ca, PkiError> {
    let certificate_path = dir.join("ca.pem");
    let key_path = dir.join("ca.key.pem");
    let issue_error = |source| PkiError::Issue {
        name: "ca".to_owned(),
        source,
    };
    if !certificate_path.exists() {
        std::fs::create_dir_all(dir).map_err(file_error(dir))?;
        let key = KeyPair::generate().map_err(issue_error)?;
        let certificate = ca_params().self_signed(&key).map_err(issue_error)?;
        write(&key_path, &key.serialize_pem(), 0o600)?;
        write(&certificate_path, &certificate.pem(), 0o644)?;
    }
    let key = KeyPair::from_pem(&read(&key_path)?).map_err(issue_error)?;
    let issuer = Issuer::from_ca_cert_pem(&read(&certificate_path)?, key).map_err(issue_error)?;
    Ok(Ca { issuer })
}

impl Ca {
    /// Issues `name` afresh: `dir/name.pem` and `dir/name.key.pem`. A peer that holds the former one
    /// goes on; both are of the same CA.
    pub fn issue(&self, dir: &Path, name: &str, identity: Identity) -> Result<(), PkiError> {
        let issue_error = |source| PkiError::Issue {
            name: name.to_owned(),
            source,
        };
        let key = KeyPair::generate().map_err(issue_error)?;
        let certificate = leaf_params(name, identity)
            .and_then(|params| params.signed_by(&key, &self.issuer))
            .map_err(issue_error)?;
        std::fs::create_dir_all(dir).map_err(file_error(dir))?;
        write(&key_path(dir, name), &key.serialize_pem(), 0o600)?;
        write(&certificate_path(dir, name), &certificate.pem(), 0o644)
    }
}

/// TLS for a listener: identity `name`, and every client must show a certificate of our CA.
pub fn server_config(dir: &Path, name: &str) -> Result<Arc<ServerConfig>, PkiError> {
    let provider = provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(dir)?, provider.clone())
        .build()
        .map_err(|source| PkiError::Verifier {
            dir: dir.to_owned(),
            source,
        })?;
    let (certificates, key) = load_identity(dir, name)?;
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| {
            builder
                .with_client_cert_verifier(verifier)
                .with_single_cert(certificates, key)
        })
        .map(Arc::new)
        .map_err(tls_error(name))
}

/// TLS for dialling out: identity `name`, and only servers of our CA are believed.
pub fn client_config(dir: &Path, name: &str) -> Result<Arc<ClientConfig>, PkiError> {
    let roots = roots(dir)?;
    let (certificates, key) = load_identity(dir, name)?;
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| {
            builder
                .with_root_certificates(roots)
                .with_client_auth_cert(certificates, key)
        })
        .map(Arc::new)
        .map_err(tls_error(name))
}

/// The SPIFFE id of a certificate whose chain was verified: its URI name, if it has exactly one and
/// that one is of ours.
pub fn spiffe_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let leaf = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut names = leaf.valid_uri_names();
    let only = names.next()?;
    // An X.509-SVID has one URI name; a second would make it ambiguous who speaks.
    if names.next().is_some() || !only.starts_with("spiffe://nearlight/") {
        return None;
    }
    Some(only.to_owned())
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Nearlight development CA");
    // It signs leaves only.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    set_lifetime(&mut params, CA_LIFETIME);
    params
}

fn leaf_params(name: &str, identity: Identity) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
        .subject_alt_names
        .push(SanType::URI(identity.spiffe.try_into()?));
    for dns in identity.dns {
        params
            .subject_alt_names
            .push(SanType::DnsName(dns.try_into()?));
    }
    let ips = identity.ips.into_iter().map(SanType::IpAddress);
    params.subject_alt_names.extend(ips);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    set_lifetime(&mut params, LEAF_LIFETIME);
    Ok(params)
}

fn set_lifetime(params: &mut CertificateParams, lifetime: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + lifetime).into();
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(dir: &Path) -> Result<Arc<RootCertStore>, PkiError> {
    let path = dir.join("ca.pem");
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&path)? {
        roots.add(certificate).map_err(tls_error("ca"))?;
    }
    Ok(Arc::new(roots))
}

type KeyAndChain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn load_identity(dir: &Path, name: &str) -> Result<KeyAndChain, PkiError> {
    let key_path = key_path(dir, name);
    let key = PrivateKeyDer::from_pem_file(&key_path).map_err(pem_error(&key_path))?;
    Ok((certificates(&certificate_path(dir, name))?, key))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(pem_error(path))
}

fn certificate_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.pem"))
}

fn key_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.key.pem"))
}

fn read(path: &Path) -> Result<String, PkiError> {
    std::fs::read_to_string(path).map_err(file_error(path))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    write_atomic(path, text.as_bytes(), mode).map_err(file_error(path))
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> PkiError {
    let path = path.to_owned();
    move |source| PkiError::File { path, source }
}

fn pem_error(path: &Path) -> impl FnOnce(rustls_pki_types::pem::Error) -> PkiError {
    let path = path.to_owned();
    move |source| PkiError::Pem { path, source }
}

fn tls_error(name: &str) -> impl FnOnce(rustls::Error) -> PkiError {
    let name = name.to_owned();
    move |source| PkiError::Tls { name, source }
}

#[cfg(test)]
#[path = "pki/test.rs"]
mod test;
