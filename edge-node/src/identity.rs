//! Who this node is: its id and its slots, kept in the data directory for good.
//!
//! The id is the one in the client certificate (`spiffe://nearlight/node/<id>`): whoever issues the
//! certificate names the node. `node.json` remembers it, so that a foreign certificate in our
//! directory is noticed before the epoch journal is used for the wrong node.
//!
//! **Invariants.** One agent a data directory (a lock is held while it runs). A slot's id never
//! changes and is never given to another slot: its epoch journal depends on it.

use nearlight_kit::files::write_atomic;
use nearlight_protocol::id::{NodeId, SlotId};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

/// The node's id and slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// The slots in use, in a lasting order: a slot's place decides its worker's user.
    pub slots: Vec<SlotId>,
}

/// Why the identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The certificate cannot be read.
    #[error("cannot read the node's certificate {}; `nearlight node join` makes one; `nearlight up` does for the node that it starts", path.display())]
    Certificate {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The certificate is not a node's.
    #[error("{} is not the certificate of a node: it needs the one URI name spiffe://nearlight/node/<id>", .0.display())]
    NotANode(PathBuf),
    /// The data directory belongs to another node.
    #[error(
        "{} belongs to {stored}, but the certificate is for {certified}; give each node its own --data, or its former certificate",
        path.display()
    )]
    Foreign {
        /// The file that says so.
        path: PathBuf,
        /// The node of the data directory.
        stored: NodeId,
        /// The node of the certificate.
        certified: NodeId,
    },
    /// The file is damaged.
    #[error("{} is damaged; restore it from a copy, or remove the data directory to begin anew", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another agent runs with the same data.
    #[error("another edge node runs with the data directory {}; stop it, or give this one its own --data", .0.display())]
    Locked(PathBuf),
}

#[derive(Serialize, Deserialize)]
struct Stored {
    node: NodeId,
    slots: Vec<SlotId>,
}

/// The lock on the data directory; released when it is dropped or the process ends.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

/// Makes sure that no other agent uses `data`.
pub fn lock(data: &Path) -> Result<DataLock, IdentityError> {
    let path = data.join("lock");
    let file_error = |source| IdentityError::File {
        path: path.clone(),
        source,
    };
    std::fs::create_dir_all(data).map_err(file_error)?;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(file_error)?;
    match file.try_lock() {
        Ok(()) => Ok(DataLock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(IdentityError::Locked(data.to_owned())),
        Err(TryLockError::Error(source)) => Err(file_error(source)),
    }
}

/// Loads the identity, or makes it on the first start. Slots are added as needed; those beyond
/// `slots` rest with their epochs.
pub fn load(data: &Path, pki: &Path, slots: usize) -> Result<Identity, IdentityError> {
    let certified = certified_node(&pki.join("node.pem"))?;
    let path = data.join("node.json");
    let file_error = |source| IdentityError::File {
        path: path.clone(),
        source,
    };
    let mut stored = match std::fs::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice::<Stored>(&bytes).map_err(|source| IdentityError::Damaged {
                path: path.clone(),
                source,
            })?
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Stored {
            node: certified.clone(),
            slots: Vec::new(),
        },
        Err(error) => return Err(file_error(error)),
    };
    if stored.node != certified {
        return Err(IdentityError::Foreign {
            path,
            stored: stored.node,
            certified,
        });
    }
    if stored.slots.len() < slots {
        stored.slots.resize_with(slots, nearlight_kit::ids::slot);
        let bytes = serde_json::to_vec_pretty(&stored).expect("ids are strings");
        write_atomic(&path, &bytes, 0o644).map_err(file_error)?;
    }
    stored.slots.truncate(slots);
    Ok(Identity {
        node: stored.node,
        slots: stored.slots,
    })
}

fn certified_node(path: &Path) -> Result<NodeId, IdentityError> {
    let certificate =
        CertificateDer::from_pem_file(path).map_err(|source| IdentityError::Certificate {
            path: path.to_owned(),
            source,
        })?;
    nearlight_kit::pki::spiffe_of(&certificate)
        .as_deref()
        .and_then(|spiffe| spiffe.strip_prefix("spiffe://nearlight/node/"))
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| IdentityError::NotANode(path.to_owned()))
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_kit::pki;

    fn certify(dir: &Path, spiffe: &str) {
        let identity = pki::Identity {
            spiffe: spiffe.to_owned(),
            ..pki::Identity::default()
        };
        let ca = pki::ensure_ca(dir).unwrap();
        ca.issue(dir, "node", identity).unwrap();
    }

    #[test]
    fn an_identity_lasts_and_slots_keep_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let node = nearlight_kit::ids::node();
        certify(dir.path(), &format!("spiffe://nearlight/node/{node}"));
        let two = load(dir.path(), dir.path(), 2).unwrap();
        assert_eq!(two.node, node);
        let three = load(dir.path(), dir.path(), 3).unwrap();
        assert_eq!(three.slots[..2], two.slots);
        let one = load(dir.path(), dir.path(), 1).unwrap();
        assert_eq!(one.slots, two.slots[..1]);
        assert_eq!(load(dir.path(), dir.path(), 3).unwrap(), three);
    }

    #[test]
    fn a_foreign_certificate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        certify(
            dir.path(),
            &format!("spiffe://nearlight/node/{}", nearlight_kit::ids::node()),
        );
        load(dir.path(), dir.path(), 1).unwrap();
        certify(
            dir.path(),
            &format!("spiffe://nearlight/node/{}", nearlight_kit::ids::node()),
        );
        let error = load(dir.path(), dir.path(), 1).unwrap_err();
        assert!(matches!(error, IdentityError::Foreign { .. }), "{error}");
        certify(dir.path(), "spiffe://nearlight/broker");
        let error = load(dir.path(), dir.path(), 1).unwrap_err();
        assert!(matches!(error, IdentityError::NotANode(_)), "{error}");
    }

    #[test]
    fn a_data_directory_has_one_agent() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        assert!(matches!(lock(dir.path()), Err(IdentityError::Locked(_))));
        drop(first);
        lock(dir.path()).unwrap();
    }
}
