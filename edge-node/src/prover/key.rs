//! The key that this node signs proofs and receipts with: made once, in its data directory.
//!
//! It is not the key of its certificate: that one is made anew every day, and receipts are verified for years.

use nearlight_kit::files::write_atomic;
use nearlight_proof::encoding::{array_from_hex, hex};
use nearlight_proof::key::{PublicKey, SecretKey};
use nearlight_protocol::control::{ReceiptKeyClaim, receipt_key_proof};
use nearlight_protocol::id::NodeId;
use std::io;
use std::path::Path;

const FILE: &str = "receipt.key";

/// The node's receipt key.
#[derive(Debug)]
pub(crate) struct ReceiptKey(SecretKey);

impl ReceiptKey {
    /// Reads the key, or makes it.
    pub(crate) fn load(data: &Path) -> io::Result<Self> {
        let path = data.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let damaged = || {
                    let path = path.display();
                    io::Error::other(format!(
                        "{path} is damaged; restore it from a copy, or remove it: the node's receipts of before then stand \
                         under a key that it has no more"
                    ))
                };
                let seed = array_from_hex(text.trim_end()).ok_or_else(damaged)?;
                Ok(Self::of_seed(&seed))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let seed: [u8; 32] = rand::random();
                write_atomic(&path, format!("{}\n", hex(&seed)).as_bytes(), 0o600)?;
                Ok(Self::of_seed(&seed))
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn of_seed(seed: &[u8; 32]) -> Self {
        Self(SecretKey::from_seed(seed))
    }

    /// What the broker is told: the key, and that this node has it.
    pub(crate) fn claim(&self, node: &NodeId) -> ReceiptKeyClaim {
        ReceiptKeyClaim {
            key: hex(self.public().as_bytes()),
            signature: hex(&self.0.sign(&receipt_key_proof(node))),
        }
    }

    pub(crate) const fn secret(&self) -> &SecretKey {
        &self.0
    }

    pub(crate) fn public(&self) -> PublicKey {
        self.0.public()
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_made_once_and_nobody_else_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let made = ReceiptKey::load(dir.path()).unwrap().public();
        assert_eq!(ReceiptKey::load(dir.path()).unwrap().public(), made);
        let path = dir.path().join(FILE);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "half").unwrap();
        let error = ReceiptKey::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("damaged"), "{error}");
    }
}
