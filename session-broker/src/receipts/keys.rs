//! What the brokers of a ledger sign with for the log, and begin their rounds with, derived from one file.
//!
//! `receipts.key` in the PKI directory has 32 secret bytes in hex. It is made on the first start, backed
//! up, and copied to the other brokers with the rest of that directory.

use crate::checks::ChainSecret;
use anyhow::{Context, ensure};
use nearlight_kit::files::write_atomic;
use nearlight_proof::encoding::{array_from_hex, hex, sha256};
use nearlight_proof::key::SecretKey;
use std::io::ErrorKind;
use std::path::Path;

/// The file in the PKI directory.
pub(crate) const KEY_FILE: &str = "receipts.key";

/// See the module.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Signs checkpoints.
    pub(crate) log: SecretKey,
    /// Signs the directory.
    pub(crate) directory: SecretKey,
    /// Issues what the broker itself says.
    pub(crate) broker: SecretKey,
    /// Issues what execution says of disputes.
    pub(crate) referee: SecretKey,
    /// What the chain of rounds begins with.
    pub(crate) chain: ChainSecret,
}

impl Keys {
    /// Those of a PKI directory, which are made if there are none.
    pub(crate) fn open_in(pki: &Path) -> anyhow::Result<Self> {
        let file = pki.join(KEY_FILE);
        let shown = file.display();
        let text = match std::fs::read_to_string(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let made = hex(&rand::random::<[u8; 32]>());
                write_atomic(&file, made.as_bytes(), 0o600)
                    .with_context(|| format!("cannot write {shown}"))?;
                made
            }
            read => read.with_context(|| format!("cannot read {shown}"))?,
        };
        let seed: Option<[u8; 32]> = array_from_hex(text.trim());
        ensure!(
            seed.is_some(),
            "{shown} is damaged: it has not 64 hex digits. Restore it from a back-up"
        );
        Ok(Self::of(&seed.unwrap_or_default()))
    }

    /// Those that follow from a seed.
    pub(crate) fn of(seed: &[u8; 32]) -> Self {
        let key = |what: &str| SecretKey::from_seed(&sha256(&[what.as_bytes(), seed]));
        Self {
            log: key("nearlight receipts v1 log "),
            directory: key("nearlight receipts v1 directory "),
            broker: key("nearlight receipts v1 broker "),
            referee: key("nearlight receipts v1 referee "),
            chain: ChainSecret(sha256(&[b"nearlight receipts v1 chain ", seed])),
        }
    }

    /// The name of a log that was given none: of nobody else's.
    pub(crate) fn origin(&self) -> String {
        let id = self.log.public().id().to_string();
        format!("nearlight/{}", &id[..16])
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn keys_are_made_once_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let first = Keys::open_in(dir.path()).unwrap();
        let again = Keys::open_in(dir.path()).unwrap();
        assert_eq!(first.log.public(), again.log.public());
        assert_ne!(first.log.public(), first.broker.public());
        assert_ne!(first.directory.public(), first.broker.public());
        std::fs::write(dir.path().join(KEY_FILE), "half").unwrap();
        let error = Keys::open_in(dir.path()).unwrap_err().to_string();
        assert!(error.contains("receipts.key is damaged"), "{error}");
    }
}
