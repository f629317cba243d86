//! TLS for whoever comes: a certificate that the public trusts, from PEM files, read again when they are renewed.
//!
//! **Invariant.** What is shown is always a chain with its own key: files that do not go together, or are half written,
//! leave the one before in place, and the log says so.
//!
//! **What it does not know:** who renews them. Nodes and brokers know each other by certificates of their own
//! ([`crate::pki`]).

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Between two looks at the files. Certificates are renewed weeks before they end.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum PublicTlsError {
    /// A file holds none.
    #[error("{} holds no usable certificate or key", file.display())]
    Pem {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// They do not go together.
    #[error("the certificate {} and the key {} do not go together", cert.display(), key.display())]
    Pair {
        /// One file.
        cert: PathBuf,
        /// The other.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

/// A certificate with its key, as the files have them.
#[derive(Debug)]
pub struct PublicTls {
    cert: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    /// Held for a look-up.
    shown: RwLock<Arc<CertifiedKey>>,
}

impl PublicTls {
    /// Reads both files.
    ///
    /// # Errors
    /// [`PublicTlsError`] with the file.
    pub fn open(cert: &Path, key: &Path) -> Result<Arc<Self>, PublicTlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let shown = certified(cert, key, chain_in(cert)?, &provider)?;
        Ok(Arc::new(Self {
            cert: cert.to_owned(),
            key: key.to_owned(),
            provider,
            shown: RwLock::new(Arc::new(shown)),
        }))
    }

    /// TLS that shows what the files have at that time, and agrees on one of `protocols` (RFC 7301).
    ///
    /// # Panics
    /// Never: ring has what it takes.
    pub fn acceptor(self: &Arc<Self>, protocols: &[&[u8]]) -> TlsAcceptor {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for the versions that are the default")
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    /// Looks at the files every minute.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let cert = self.cert.display();
            match self.look() {
                Ok(true) => tracing::info!(%cert, "a renewed certificate is shown from now on"),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "the certificate before stays"),
            }
        }
    }

    /// Takes what the files have. Whether that is another certificate.
    ///
    /// # Errors
    /// As [`PublicTls::open`]; the one before stays.
    pub fn look(&self) -> Result<bool, PublicTlsError> {
        let chain = chain_in(&self.cert)?;
        if chain == self.shown().cert {
            return Ok(false);
        }
        let renewed = certified(&self.cert, &self.key, chain, &self.provider)?;
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(renewed);
        Ok(true)
    }

    fn shown(&self) -> Arc<CertifiedKey> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        shown.clone()
    }
}

impl ResolvesServerCert for PublicTls {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown())
    }
}

fn pem(file: &Path) -> impl FnOnce(rustls_pki_types::pem::Error) -> PublicTlsError + use<> {
    let file = file.to_owned();
    move |source| PublicTlsError::Pem { file, source }
}

fn chain_in(cert: &Path) -> Result<Vec<CertificateDer<'static>>, PublicTlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect);
    let chain = chain.map_err(pem(cert))?;
    if chain.is_empty() {
        return Err(pem(cert)(rustls_pki_types::pem::Error::NoItemsFound));
    }
    Ok(chain)
}

fn certified(
    cert: &Path,
    key_file: &Path,
    chain: Vec<CertificateDer<'static>>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, PublicTlsError> {
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(pem(key_file))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|source| PublicTlsError::Pair {
        cert: cert.to_owned(),
        key: key_file.to_owned(),
        source,
    })
}

#[cfg(test)]
mod test {
    use super::*;

    /// A new certificate; its PEM, and its key's.
    fn made() -> (String, String) {
        let names = vec!["*.jobs.example".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_renewed_certificate_is_taken_with_its_key_and_nothing_half() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let ((first, first_key), (second, second_key)) = (made(), made());
        std::fs::write(&cert, &first).unwrap();
        std::fs::write(&key, &second_key).unwrap();
        assert!(matches!(
            PublicTls::open(&cert, &key),
            Err(PublicTlsError::Pair { .. })
        ));
        std::fs::write(&key, &first_key).unwrap();
        let tls = PublicTls::open(&cert, &key).unwrap();
        assert!(!tls.look().unwrap(), "nothing is new");
        let before = tls.shown();

        std::fs::write(&cert, &second).unwrap();
        assert!(
            matches!(tls.look(), Err(PublicTlsError::Pair { .. })),
            "half renewed"
        );
        std::fs::write(&cert, "").unwrap();
        assert!(matches!(tls.look(), Err(PublicTlsError::Pem { .. })));
        assert!(Arc::ptr_eq(&tls.shown(), &before));

        std::fs::write(&cert, &second).unwrap();
        std::fs::write(&key, &second_key).unwrap();
        assert!(tls.look().unwrap());
        assert_ne!(tls.shown().cert, before.cert);
    }
}
