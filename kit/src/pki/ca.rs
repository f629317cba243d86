//! The certificate authority: who gets a certificate is others' business, what is in it is decided
//! here alone. Of a request it takes the public key.

use super::{Identity, PkiError, file_error, issue_error, pem_error, read, write};
use crate::clock::WallClock;
use crate::files::write_atomic;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKey, PublicKeyData,
    SanType,
};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const DAY_S: u64 = 24 * 3600;
/// Ten years: the CA lives as long as its directory.
const CA_LIFETIME: Duration = Duration::from_secs(3650 * DAY_S);
/// A day: what a thief has of a stolen key, and how often the way to a new one is tried.
pub const LEAF_LIFETIME: Duration = Duration::from_secs(DAY_S);
/// Clocks of two hosts may disagree by so much.
pub(super) const BACKDATED: Duration = Duration::from_secs(3600);
/// For so long after its end a certificate can still be renewed.
pub const LATE_MAX: Duration = Duration::from_secs(90 * DAY_S);
const COMMON_NAME_CHARS_MAX: usize = 64;
/// Largest request that is looked at, bytes. Ours have about 400.
pub const REQUEST_BYTES_MAX: usize = 4096;
/// Largest certificate with its chain that is looked at, bytes of PEM. Ours have about 1400.
pub const CHAIN_BYTES_MAX: usize = 16 * 1024;

/// A certificate authority that lives in a directory: `ca.pem` and `ca.key.pem`. If `ca.pem` holds
/// several certificates, the one that goes with the key signs and all are believed.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    /// The CA as a former one certifies it.
    cross: Option<CertificateDer<'static>>,
    bundle: String,
    clock: WallClock,
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of logs.
        f.debug_struct("Ca").finish_non_exhaustive()
    }
}

/// Why a request is not one that we sign, or a proof none.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Not a request, or not signed with its own key.
    #[error("the certificate request cannot be read, or is not signed with its own key")]
    Request(#[source] rcgen::Error),
    /// Too long.
    #[error("the certificate or its request is too long")]
    TooLong,
    /// Another kind of key.
    #[error("the key of the certificate request is not ECDSA P-256")]
    Key,
    /// No certificate.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// Not of this CA, or altered.
    #[error("the certificate is not of this broker's CA")]
    Foreign(#[source] webpki::Error),
    /// Not yet.
    #[error("the certificate is not valid yet; look at the clock of this broker")]
    Early,
    /// Too long ago.
    #[error("the certificate ended more than {} days ago; join again with a new token", LATE_MAX.as_secs() / DAY_S)]
    TooLate,
    /// Not signed with the certificate's key.
    #[error("the proof is not signed with the key of the certificate")]
    Proof(#[source] webpki::Error),
}

/// A request for a certificate: nothing of it counts but its key.
#[derive(Clone, Debug)]
pub struct SigningRequest {
    key: PublicKey,
}

impl SigningRequest {
    /// Reads a PKCS #10 request in PEM, and checks that it is signed with its own key.
    pub fn parse(pem: &str) -> Result<Self, RequestError> {
        if pem.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::TooLong);
        }
        let request =
            CertificateSigningRequestParams::from_pem(pem).map_err(RequestError::Request)?;
        if *request.public_key.algorithm() != rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(RequestError::Key);
        }
        Ok(Self {
            key: request.public_key,
        })
    }

    /// SHA-256 of the public key: whoever asks again with it is the same.
    pub fn key_hash(&self) -> [u8; 32] {
        Sha256::digest(self.key.der_bytes()).into()
    }
}

/// The CA of `dir` on the system's clock; made if the directory has none yet.
pub fn ensure_ca(dir: &Path) -> Result<Ca, PkiError> {
    Ca::ensure(dir, WallClock::system())
}

impl Ca {
    /// The CA of `dir`, made if the directory has none yet.
    ///
    /// The key is written before the certificate, and both atomically: a crash in between leaves a
    /// key without a certificate, which the next call replaces.
    pub fn ensure(dir: &Path, clock: WallClock) -> Result<Self, PkiError> {
        let certificate_path = dir.join("ca.pem");
        let key_path = dir.join("ca.key.pem");
        if !certificate_path.exists() {
            std::fs::create_dir_all(dir).map_err(file_error(dir))?;
            let key = KeyPair::generate().map_err(issue_error("ca"))?;
            let made = ca_params(clock.now()).self_signed(&key);
            write(&key_path, &key.serialize_pem(), 0o600)?;
            write(
                &certificate_path,
                &made.map_err(issue_error("ca"))?.pem(),
                0o644,
            )?;
        }
        let key = KeyPair::from_pem(&read(&key_path)?).map_err(issue_error("ca"))?;
        Self::of_key(dir, key, clock)
    }

    /// The CA of `dir` that has this key.
    pub(super) fn of_key(dir: &Path, key: KeyPair, clock: WallClock) -> Result<Self, PkiError> {
        let path = dir.join("ca.pem");
        let bundle = read(&path)?;
        let first = CertificateDer::from_pem_slice(bundle.as_bytes()).map_err(pem_error(&path))?;
        let of_key = certificates(&bundle).find(|(_, der)| is_of(der, &key));
        let (pem, certificate) = match of_key {
            Some((pem, der)) => (pem.to_owned(), der),
            None => (bundle.clone(), first),
        };
        let cross = std::fs::read(dir.join("ca.cross.pem")).ok();
        let cross = cross.and_then(|pem| CertificateDer::from_pem_slice(&pem).ok());
        let cross = cross.filter(|der| is_of(der, &key));
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(issue_error("ca"))?;
        Ok(Self {
            issuer,
            certificate,
            pem,
            cross,
            bundle,
            clock,
        })
    }

    /// The certificate that goes with the key, in PEM.
    pub(super) fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// The certificate of another CA by this one, in PEM, for those who believe this one alone.
    pub(super) fn certify_ca(&self, key: &KeyPair) -> Result<String, PkiError> {
        let certified = ca_params(self.clock.now()).signed_by(key, &self.issuer);
        Ok(certified.map_err(issue_error("ca"))?.pem())
    }

    /// Issues `name` afresh: `dir/name.pem` and `dir/name.key.pem`. A peer that holds the former one
    /// goes on; both are of the same CA.
    pub fn issue(&self, dir: &Path, name: &str, identity: Identity) -> Result<(), PkiError> {
        let key = KeyPair::generate().map_err(issue_error(name))?;
        let certificate = self.sign(&key, name, identity)?;
        std::fs::create_dir_all(dir).map_err(file_error(dir))?;
        let key_file = super::key_path(dir, name);
        write(&key_file, &key.serialize_pem(), 0o600)?;
        let certificate_file = super::certificate_path(dir, name);
        // Who reads it does so for the certificate alone.
        write_atomic(&certificate_file, certificate.pem().as_bytes(), 0o644)
            .map_err(file_error(&certificate_file))
    }

    /// A certificate for the key of `request`, in PEM, with this identity and nothing that was asked
    /// for.
    pub fn certify(
        &self,
        request: &SigningRequest,
        identity: Identity,
    ) -> Result<String, PkiError> {
        // A common name has 64 characters at most (RFC 5280), and who it is stands in the URI name.
        let name: String = identity
            .spiffe
            .chars()
            .take(COMMON_NAME_CHARS_MAX)
            .collect();
        Ok(self.sign(&request.key, &name, identity)?.pem())
    }

    /// An identity for this process, with a key that is kept nowhere else, and when to have it
    /// replaced. Its chain ends with the CA's own certificate, so that a peer can compare that with a
    /// hash it was told.
    pub fn certified_key(
        &self,
        provider: &CryptoProvider,
        name: &str,
        identity: Identity,
    ) -> Result<CertifiedKey, PkiError> {
        let key = KeyPair::generate().map_err(issue_error(name))?;
        let certificate = self.sign(&key, name, identity)?;
        let mut chain = vec![certificate.der().clone(), self.certificate.clone()];
        chain.extend(self.cross.clone());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        CertifiedKey::from_der(chain, key, provider).map_err(super::tls_error(name))
    }

    /// SHA-256 of the CA's certificate: what a join token pins.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.certificate).into()
    }

    /// Every certificate that is believed, in PEM.
    pub fn bundle(&self) -> &str {
        &self.bundle
    }

    /// The clock that certificates are judged by.
    pub fn clock(&self) -> &WallClock {
        &self.clock
    }

    /// Whose certificate this is, in PEM: of our CA, and valid or over for less than [`LATE_MAX`].
    /// `signature` has to be one of its key over `message`.
    pub fn recognise_late(
        &self,
        pem: &str,
        message: &[u8],
        signature: &[u8],
    ) -> Result<String, RequestError> {
        if pem.len() > CHAIN_BYTES_MAX {
            return Err(RequestError::TooLong);
        }
        let der =
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| RequestError::Unreadable)?;
        let validity = super::Validity::of(&der).ok_or(RequestError::Unreadable)?;
        let leaf = webpki::EndEntityCert::try_from(&der).map_err(|_| RequestError::Unreadable)?;
        let now = self.clock.now();
        if now < validity.not_before {
            return Err(RequestError::Early);
        }
        if now > validity.not_after + LATE_MAX {
            return Err(RequestError::TooLate);
        }
        // As it was judged in its last moment, if that is over.
        let judged_at = now.min(validity.not_after);
        let provider = super::provider();
        let algorithms = provider.signature_verification_algorithms;
        let roots = self.roots();
        leaf.verify_for_usage(
            algorithms.all,
            &roots.roots,
            &[],
            unix_time(judged_at),
            webpki::KeyUsage::client_auth(),
            None,
            None,
        )
        .map_err(RequestError::Foreign)?;
        let proven = verify(&leaf, algorithms.all, message, signature);
        proven.map_err(RequestError::Proof)?;
        super::spiffe_of(&der).ok_or(RequestError::Unreadable)
    }

    /// Who verifies clients: with a certificate of ours they are known, without one they are nobody.
    pub(super) fn client_verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, rustls::server::VerifierBuilderError> {
        rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::new(self.roots()),
            provider,
        )
        .allow_unauthenticated()
        .build()
    }

    pub(super) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let believed = CertificateDer::pem_slice_iter(self.bundle.as_bytes()).flatten();
        roots.add_parsable_certificates(believed);
        roots
    }

    fn sign(
        &self,
        key: &impl PublicKeyData,
        name: &str,
        identity: Identity,
    ) -> Result<Certificate, PkiError> {
        leaf_params(name, identity, self.clock.now())
            .and_then(|params| params.signed_by(key, &self.issuer))
            .map_err(issue_error(name))
    }
}

/// The certificates of a bundle, each as text and read.
fn certificates(bundle: &str) -> impl Iterator<Item = (&str, CertificateDer<'static>)> {
    bundle
        .split_inclusive("-----END CERTIFICATE-----\n")
        .filter_map(|pem| Some((pem, CertificateDer::from_pem_slice(pem.as_bytes()).ok()?)))
}

/// Whether a certificate is for this key.
fn is_of(certificate: &CertificateDer<'_>, key: &KeyPair) -> bool {
    let parsed = x509_parser::parse_x509_certificate(certificate);
    parsed.is_ok_and(|(_, parsed)| parsed.public_key().raw == key.subject_public_key_info())
}

/// From when on the first certificate of `pem` holds.
pub(super) fn not_before(pem: &str) -> Option<SystemTime> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    super::Validity::of(&der).map(|validity| validity.not_before)
}

/// Whichever of the algorithms the key is for.
fn verify(
    leaf: &webpki::EndEntityCert<'_>,
    algorithms: &[&dyn rustls_pki_types::SignatureVerificationAlgorithm],
    message: &[u8],
    signature: &[u8],
) -> Result<(), webpki::Error> {
    let mut last = webpki::Error::InvalidSignatureForPublicKey;
    for algorithm in algorithms {
        match leaf.verify_signature(*algorithm, message, signature) {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn unix_time(at: SystemTime) -> UnixTime {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    UnixTime::since_unix_epoch(since.unwrap_or_default())
}

pub(super) fn ca_params(now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Nearlight CA");
    // It signs leaves only.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    set_lifetime(&mut params, now, CA_LIFETIME);
    params
}

fn leaf_params(
    name: &str,
    identity: Identity,
    now: SystemTime,
) -> Result<CertificateParams, rcgen::Error> {
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
    set_lifetime(&mut params, now, LEAF_LIFETIME);
    Ok(params)
}

fn set_lifetime(params: &mut CertificateParams, now: SystemTime, lifetime: Duration) {
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + lifetime).into();
}
