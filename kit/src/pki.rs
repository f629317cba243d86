//! The built-in CA, and the mTLS identities of the node listener.
//!
//! Who is who stands in the certificate's one URI name (a SPIFFE id): `spiffe://nearlight/broker`,
//! `spiffe://nearlight/node/<node id>`, `spiffe://nearlight/checker/<key id>/<account>`. Edges and checkers
//! verify the broker by its DNS name; the broker verifies that their certificate is of its CA and reads with
//! [`spiffe_of`] who they are.
//!
//! - [`ca`]: issues; decides what is in a certificate.
//! - [`credentials`]: a node's or a checker's own key and certificate, and how they are replaced.
//! - [`name`]: who a certificate speaks for.
//! - [`pin`]: believing a CA by its hash.
//! - [`rotation`]: another CA in place of the one that there is.
//! - [`server`]: TLS of the node listener, whose own certificate renews itself.
//!
//! **Invariants.** Only TLS 1.3, no resumption: each connection shows its certificate afresh. Only
//! certificates of this directory's CA. Private keys are written 0600 and never leave the host that
//! made them. Time is a [`crate::clock::WallClock`], handed in.
//!
//! **What it does not know:** revocation. A node or a checker is shut out by the broker, which knows them by id.

use crate::clock::WallClock;
use crate::files::write_atomic;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

mod ca;
mod credentials;
mod name;
mod names;
mod pin;
pub mod rotation;
mod server;

pub use ca::{
    CHAIN_BYTES_MAX, Ca, LATE_MAX, LEAF_LIFETIME, REQUEST_BYTES_MAX, RequestError, SigningRequest,
    ensure_ca,
};
pub use credentials::{AnswerError, Credentials, Issued, PendingKey, renewal_proof};
pub use name::spiffe_of;
pub use names::{CheckerName, NoChecker, certified_node, checker_of, node_of};
pub use pin::pinned_config;
pub use server::ServerIdentity;

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

/// From when to when a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub not_before: SystemTime,
    /// Not after.
    pub not_after: SystemTime,
}

impl Validity {
    /// That of a certificate; `None` if it cannot be read.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let at = |time: x509_parser::time::ASN1Time| {
            let seconds = u64::try_from(time.timestamp()).ok()?;
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
        };
        Some(Self {
            not_before: at(certificate.validity().not_before)?,
            not_after: at(certificate.validity().not_after)?,
        })
    }

    /// How long it holds.
    pub fn life(&self) -> Duration {
        let life = self.not_after.duration_since(self.not_before);
        life.unwrap_or_default()
    }

    /// Whether it is over.
    pub fn is_over(&self, now: SystemTime) -> bool {
        now > self.not_after
    }
}

/// TLS for dialling out on the system's clock: identity `name` of `dir`, and only servers of its CA
/// are believed.
pub fn client_config(dir: &Path, name: &str) -> Result<Arc<ClientConfig>, PkiError> {
    Credentials::load(dir, name)?.client_config(&WallClock::system())
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
    let path = certificate_path(dir, name);
    // Read once: it may be replaced meanwhile, key and certificate together.
    let text = read(&path)?;
    let chain = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(pem_error(&path))?;
    let key = match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
        Ok(key) => key,
        Err(_) => {
            let key_path = key_path(dir, name);
            PrivateKeyDer::from_pem_file(&key_path).map_err(pem_error(&key_path))?
        }
    };
    Ok((chain, key))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(pem_error(path))
}

/// The public key of a certificate, as its bits.
fn public_key_of(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let key = &certificate.public_key().subject_public_key;
    Some(key.data.to_vec())
}

/// Certificates in PEM.
fn to_pem(certificates: &[CertificateDer<'_>]) -> String {
    use base64::Engine as _;
    let mut pem = String::new();
    for certificate in certificates {
        let text = base64::engine::general_purpose::STANDARD.encode(certificate);
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in text.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|byte| char::from(*byte)));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
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

fn issue_error(name: &str) -> impl FnOnce(rcgen::Error) -> PkiError {
    let name = name.to_owned();
    move |source| PkiError::Issue { name, source }
}

fn tls_error(name: &str) -> impl FnOnce(rustls::Error) -> PkiError {
    let name = name.to_owned();
    move |source| PkiError::Tls { name, source }
}

#[cfg(test)]
mod test;
#[cfg(test)]
mod test_renewal;
