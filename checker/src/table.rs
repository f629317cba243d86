//! The signed table of classes: what each takes for each leg, and at which sizes.

use crate::failure::Failure;
use nearlight_proof::key::{PublicKey, SecretKey};
use nearlight_proof::porc::score::{Class, Table};
use std::path::Path;

/// The largest file that is read, bytes.
const BYTES_MAX: u64 = 64 * 1024;

/// Signs the classes of a JSON file.
///
/// # Errors
/// [`Failure::Table`], [`Failure::File`].
pub fn sign(classes: &Path, serial: u64, key: &SecretKey) -> Result<Vec<u8>, Failure> {
    let wrong = |why: String| refused(classes, why);
    let read: Vec<Class> =
        serde_json::from_slice(&read(classes)?).map_err(|error| wrong(error.to_string()))?;
    Table::sign(serial, read, key).map_err(|error| wrong(error.to_string()))
}

/// Reads a table that the key of these hex digits signed.
///
/// # Errors
/// [`Failure::Table`], [`Failure::File`].
pub fn open(path: &Path, key: &str) -> Result<Table, Failure> {
    let wrong = |why: String| refused(path, why);
    let key = PublicKey::from_hex(key);
    let key = key.ok_or_else(|| wrong("--table-key is no public key".to_owned()))?;
    Table::open(&read(path)?, &key).map_err(|error| wrong(error.to_string()))
}

fn refused(path: &Path, why: String) -> Failure {
    let path = path.to_owned();
    Failure::Table { path, why }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = |source| Failure::File {
        path: path.to_owned(),
        source,
    };
    let length = std::fs::metadata(path).map_err(file)?.len();
    if length > BYTES_MAX {
        return Err(refused(path, "it is larger than 64 KiB".to_owned()));
    }
    std::fs::read(path).map_err(file)
}

#[cfg(test)]
mod test {
    use super::*;

    /// The classes that the project ships are ones that a table takes and a probe has.
    #[test]
    fn the_shipped_classes_can_be_signed_and_opened() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/gpu-classes.json");
        let key = SecretKey::from_seed(&[1; 32]);
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("table.json");
        std::fs::write(&out, sign(&shipped, 1, &key).unwrap()).unwrap();
        let table = open(&out, &crate::keys::hex_of(&key.public())).unwrap();
        for name in ["software", "software-small"] {
            assert!(table.class(name).is_some(), "{name}");
        }
        let other = SecretKey::from_seed(&[2; 32]).public();
        assert!(open(&out, &crate::keys::hex_of(&other)).is_err());
    }
}
