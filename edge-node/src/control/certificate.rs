//! The node's certificate: shown at each dial, renewed over the stream when it is due, and at the
//! broker's door when it is over.
//!
//! ```text
//!   holds --two thirds of its life, a stream--> asked --Renewed--> replaced: the next dial shows it
//!     `--over (the node was off, or the broker)--> renewed late, with proof of its key --> dialled
//! ```
//!
//! **Invariants.** A certificate is used only after it is on the disk with its key. It speaks for the
//! same node as the one before.
//!
//! **What it does not know:** when to dial.

use nearlight_kit::clock::WallClock;
use nearlight_kit::enrol::{EnrolError, renew_late};
use nearlight_kit::pki::{AnswerError, Credentials, Issued, PendingKey, PkiError};
use nearlight_protocol::enrol::Renewed;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The identity's name in the PKI directory: node.pem.
const NAME: &str = "node";

/// The certificate of this node.
#[derive(Debug)]
pub(crate) struct Certificate {
    dir: PathBuf,
    clock: WallClock,
    /// Where in the spread of renewals this node is, 0 to 1.
    chance: f64,
    /// Held for a look-up, never across an await.
    current: Mutex<Arc<Credentials>>,
}

/// Why a certificate was not replaced.
#[derive(Debug, thiserror::Error)]
pub(super) enum RenewError {
    /// The broker's answer.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// Our files.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

impl Certificate {
    /// That of the PKI directory.
    pub(crate) fn load(dir: &Path, clock: WallClock) -> Result<Self, PkiError> {
        Ok(Self {
            current: Mutex::new(Arc::new(Credentials::load(dir, NAME)?)),
            dir: dir.to_owned(),
            chance: rand::random(),
            clock,
        })
    }

    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        self.current().validity.is_over(self.clock.now())
    }

    /// Whether it is time for the next one.
    pub(super) fn is_due(&self) -> bool {
        self.clock.now() >= self.current().renew_at(self.chance)
    }

    /// TLS that shows it.
    pub(super) fn tls(&self) -> Result<Arc<ClientConfig>, PkiError> {
        self.current().client_config(&self.clock)
    }

    /// Takes what the broker has signed for `key`.
    pub(super) fn take(&self, key: &PendingKey, renewed: &Renewed) -> Result<(), RenewError> {
        let issued = key.accept(&renewed.certificate, &renewed.ca, &self.clock)?;
        if issued.spiffe != self.current().spiffe {
            return Err(AnswerError::OtherName(issued.spiffe).into());
        }
        Ok(self.replace(&issued)?)
    }

    /// Has one that is over renewed.
    pub(super) async fn renew_late(
        &self,
        address: &str,
        server: &ServerName<'static>,
    ) -> Result<(), EnrolError> {
        let key = PendingKey::generate()?;
        let former = self.current();
        let issued = renew_late(address, server, &former, &key, &self.clock).await?;
        self.replace(&issued)?;
        tracing::info!("the node's certificate was over and is renewed");
        Ok(())
    }

    fn current(&self) -> Arc<Credentials> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    /// A few milliseconds of the disk, once in two thirds of a day.
    fn replace(&self, issued: &Issued) -> Result<(), PkiError> {
        issued.save(&self.dir, NAME)?;
        let loaded = Arc::new(Credentials::load(&self.dir, NAME)?);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }
}
