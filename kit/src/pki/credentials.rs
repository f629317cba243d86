//! A node's own identity: its key, its certificate, and the CA that it believes.
//!
//! ```text
//!   PendingKey --request--> broker --certificate--> accept --> Issued --save--> Credentials
//! ```
//!
//! A key that was renewed is in one file with its certificate, so that one rename replaces both:
//! whatever crashes, the directory holds an identity that works. Files of before (`name.key.pem`
//! beside `name.pem`) are read, and the key beside is removed once it is of no use.

use super::{
    PkiError, Validity, certificate_path, file_error, issue_error, key_path, provider, read,
    spiffe_of, tls_error,
};
use crate::clock::WallClock;
use crate::files::write_atomic;
use rcgen::{CertificateParams, KeyPair, SigningKey};
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What a late renewal signs begins with, so that the signature is good for nothing else.
const PROOF_LABEL: &[u8] = b"nearlight late renewal 1\0";
/// Certificates of a CA bundle: the one that signs, and those that are on their way in or out.
const BUNDLE_MAX: usize = 8;

/// What a late renewal signs: the broker's nonce, and the request that it is for.
pub fn renewal_proof(nonce: &str, request_pem: &str) -> Vec<u8> {
    [PROOF_LABEL, nonce.as_bytes(), b"\0", request_pem.as_bytes()].concat()
}

/// A key without a certificate yet. It never leaves this host.
pub struct PendingKey {
    key: KeyPair,
}

impl fmt::Debug for PendingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingKey").finish_non_exhaustive()
    }
}

impl PendingKey {
    /// A fresh key: ECDSA P-256.
    pub fn generate() -> Result<Self, PkiError> {
        let key = KeyPair::generate().map_err(issue_error("node"))?;
        Ok(Self { key })
    }

    /// The key of `path`, made if there is none: a request that lost its answer is asked again with
    /// the same key.
    pub fn ensure(path: &Path) -> Result<Self, PkiError> {
        if path.exists() {
            let key = KeyPair::from_pem(&read(path)?).map_err(issue_error("node"))?;
            return Ok(Self { key });
        }
        let pending = Self::generate()?;
        super::write(path, &pending.key.serialize_pem(), 0o600)?;
        Ok(pending)
    }

    /// A PKCS #10 request for a certificate, in PEM. It asks for no name: the CA chooses.
    pub fn request(&self) -> Result<String, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params.serialize_request(&self.key);
        request
            .and_then(|request| request.pem())
            .map_err(issue_error("node"))
    }

    /// Takes a certificate that was issued for this key.
    ///
    /// # Errors
    /// [`AnswerError`] if it is for another key, of a CA that is not in `bundle`, or not valid now.
    pub fn accept(
        &self,
        chain_pem: &str,
        bundle_pem: &str,
        clock: &WallClock,
    ) -> Result<Issued, AnswerError> {
        let leaf = CertificateDer::from_pem_slice(chain_pem.as_bytes());
        let leaf = leaf.map_err(|_| AnswerError::Unreadable)?;
        let public = super::public_key_of(&leaf).ok_or(AnswerError::Unreadable)?;
        if public != self.key.public_key_raw() {
            return Err(AnswerError::OtherKey);
        }
        let mut roots = RootCertStore::empty();
        for (n, root) in CertificateDer::pem_slice_iter(bundle_pem.as_bytes()).enumerate() {
            let root = root.map_err(|_| AnswerError::Unreadable)?;
            if n >= BUNDLE_MAX || roots.add(root).is_err() {
                return Err(AnswerError::Unreadable);
            }
        }
        let since = clock.now().duration_since(SystemTime::UNIX_EPOCH);
        let end_entity = webpki::EndEntityCert::try_from(&leaf);
        let end_entity = end_entity.map_err(|_| AnswerError::Unreadable)?;
        end_entity
            .verify_for_usage(
                provider().signature_verification_algorithms.all,
                &roots.roots,
                &[],
                UnixTime::since_unix_epoch(since.unwrap_or_default()),
                webpki::KeyUsage::client_auth(),
                None,
                None,
            )
            .map_err(AnswerError::NotValid)?;
        Ok(Issued {
            spiffe: spiffe_of(&leaf).ok_or(AnswerError::Unreadable)?,
            key_pem: self.key.serialize_pem(),
            chain_pem: chain_pem.to_owned(),
            bundle_pem: bundle_pem.to_owned(),
        })
    }
}

/// Why a certificate that a broker sent is not taken.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// It cannot be read.
    #[error("the broker's answer holds no usable certificate")]
    Unreadable,
    /// It is for another key.
    #[error("the broker's answer holds a certificate for another key")]
    OtherKey,
    /// It does not verify now.
    #[error(
        "the broker's answer holds a certificate that is not valid here; is this host's clock right?"
    )]
    NotValid(#[source] webpki::Error),
    /// It is for another node.
    #[error("the broker's answer holds a certificate for {0}")]
    OtherName(String),
}

/// A certificate with its key, not on the disk yet.
#[derive(Clone)]
pub struct Issued {
    /// Who it speaks for.
    pub spiffe: String,
    key_pem: String,
    chain_pem: String,
    bundle_pem: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("spiffe", &self.spiffe)
            .finish_non_exhaustive()
    }
}

impl Issued {
    /// Replaces the identity `name` in `dir`. A crash at any point leaves the former or the new one.
    ///
    /// The CA goes first: it still has the certificate that the former identity was issued by, or the
    /// broker's word would not have been believed.
    pub fn save(&self, dir: &Path, name: &str) -> Result<(), PkiError> {
        std::fs::create_dir_all(dir).map_err(file_error(dir))?;
        let ca = dir.join("ca.pem");
        if std::fs::read_to_string(&ca).ok().as_deref() != Some(self.bundle_pem.as_str()) {
            super::write(&ca, &self.bundle_pem, 0o644)?;
        }
        let path = certificate_path(dir, name);
        let both = format!("{}{}", self.chain_pem, self.key_pem);
        write_atomic(&path, both.as_bytes(), 0o600).map_err(file_error(&path))?;
        // The key of before. If it stays, nobody reads it.
        match std::fs::remove_file(key_path(dir, name)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => {
                tracing::warn!(%error, name, "the former key cannot be removed");
                Ok(())
            }
        }
    }
}

/// An identity that can be used.
pub struct Credentials {
    /// Who it speaks for.
    pub spiffe: String,
    /// From when to when.
    pub validity: Validity,
    name: String,
    key: PrivateKeyDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    roots: Arc<RootCertStore>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("spiffe", &self.spiffe)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// The identity `name` of `dir`.
    pub fn load(dir: &Path, name: &str) -> Result<Self, PkiError> {
        let roots = super::roots(dir)?;
        let (chain, key) = super::load_identity(dir, name)?;
        let path = certificate_path(dir, name);
        let none = || PkiError::Pem {
            path: path.clone(),
            source: rustls_pki_types::pem::Error::NoItemsFound,
        };
        let leaf = chain.first().ok_or_else(none)?;
        Ok(Self {
            spiffe: spiffe_of(leaf).ok_or_else(none)?,
            validity: Validity::of(leaf).ok_or_else(none)?,
            name: name.to_owned(),
            key,
            roots,
            chain,
        })
    }

    /// TLS for dialling out as this identity; only servers of our CA are believed.
    pub fn client_config(&self, clock: &WallClock) -> Result<Arc<ClientConfig>, PkiError> {
        let config = ClientConfig::builder_with_details(provider(), Arc::new(clock.clone()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| {
                builder
                    .with_root_certificates(self.roots.clone())
                    .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            });
        let mut config = config.map_err(tls_error(&self.name))?;
        // A stream is dialled once and stays; who dials again is to be looked at again.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// TLS for asking without a certificate; only servers of our CA are believed.
    pub fn anonymous_config(&self, clock: &WallClock) -> Result<Arc<ClientConfig>, PkiError> {
        let config = ClientConfig::builder_with_details(provider(), Arc::new(clock.clone()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map(|builder| {
                builder
                    .with_root_certificates(self.roots.clone())
                    .with_no_client_auth()
            });
        config.map(Arc::new).map_err(tls_error(&self.name))
    }

    /// The certificate in PEM.
    pub fn certificate_pem(&self) -> String {
        super::to_pem(&self.chain[..1])
    }

    /// A signature with this identity's key.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PkiError> {
        let key = KeyPair::try_from(&self.key).map_err(issue_error(&self.name))?;
        key.sign(message).map_err(issue_error(&self.name))
    }

    /// When to ask for the next one: at two thirds of its life, and up to a 24th of it later by
    /// `chance` (0 to 1), so that nodes that came together do not ask together.
    pub fn renew_at(&self, chance: f64) -> SystemTime {
        let life = self.validity.life();
        let late = Duration::from_secs_f64(life.as_secs_f64() / 24.0 * chance.clamp(0.0, 1.0));
        self.validity.not_before + life * 2 / 3 + late
    }
}
