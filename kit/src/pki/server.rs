//! The broker's own identity on the node listener. It is issued in memory when the first edge comes,
//! and again when it is due, by the handshake that finds it so: a broker that runs for months, or
//! sleeps through its certificate's end, always shows one that holds.

use super::ca::LEAF_LIFETIME;
use super::{Ca, Identity, PkiError, provider, tls_error};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// The identity of a server that holds the CA.
#[derive(Debug)]
pub struct ServerIdentity {
    ca: Arc<Ca>,
    identity: Identity,
    /// Held for the signing of one certificate, 0.1 ms in two thirds of a day.
    shown: Mutex<Option<Shown>>,
}

#[derive(Clone, Debug)]
struct Shown {
    key: Arc<CertifiedKey>,
    since: SystemTime,
}

impl ServerIdentity {
    /// An identity of `ca`.
    pub fn new(ca: Arc<Ca>, identity: Identity) -> Self {
        Self {
            ca,
            identity,
            shown: Mutex::default(),
        }
    }

    /// TLS for the node listener. A client may show a certificate of our CA, and none that is not:
    /// what it may do without one, the listener decides.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, PkiError> {
        // Whoever starts a listener learns at once what it lacks.
        self.current()?;
        let verifier = self.ca.client_verifier(provider());
        let verifier = verifier.map_err(|source| PkiError::Verifier {
            dir: "ca.pem".into(),
            source,
        })?;
        let clock = Arc::new(self.ca.clock().clone());
        let config = ServerConfig::builder_with_details(provider(), clock)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(tls_error("broker"))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(self.clone());
        let mut config = config;
        // A resumed session would bring a certificate along that nobody looks at again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// TLS for dialling others of the same kind, as this identity; only servers of our CA are believed.
    pub fn client_config(self: &Arc<Self>) -> Result<Arc<ClientConfig>, PkiError> {
        let clock = Arc::new(self.ca.clock().clone());
        let config = ClientConfig::builder_with_details(provider(), clock)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(tls_error("broker"))?
            .with_root_certificates(self.ca.roots())
            .with_client_cert_resolver(self.clone());
        let mut config = config;
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// The certificate to show now.
    fn current(&self) -> Result<Arc<CertifiedKey>, PkiError> {
        let now = self.ca.clock().now();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back makes it new, too.
        if let Some(shown) = shown.as_ref()
            && let Ok(age) = now.duration_since(shown.since)
            && age < LEAF_LIFETIME * 2 / 3
        {
            return Ok(shown.key.clone());
        }
        let made = self
            .ca
            .certified_key(&provider(), "broker", self.identity.clone())?;
        let key = Arc::new(made);
        *shown = Some(Shown {
            key: key.clone(),
            since: now,
        });
        Ok(key)
    }
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.shown_now()
    }
}

impl ResolvesClientCert for ServerIdentity {
    fn resolve(&self, _roots: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.shown_now()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ServerIdentity {
    fn shown_now(&self) -> Option<Arc<CertifiedKey>> {
        match self.current() {
            Ok(key) => Some(key),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the broker cannot renew its own certificate"
                );
                None
            }
        }
    }
}
