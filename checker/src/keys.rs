//! The checker's key: an Ed25519 key in a file, and 24 words on paper (BIP-39, English).
//!
//! The words stand for the 32 bytes that the key is made from, and for nothing else: no passphrase, no derivation.

use crate::failure::Failure;
use bip39::Mnemonic;
use nearlight_kit::files::write_atomic;
use nearlight_proof::encoding::{array_from_hex, hex};
use nearlight_proof::key::{PublicKey, SecretKey};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const FILE: &str = "checker.key";

/// Makes a key in `data`; its public half, and its words.
///
/// # Errors
/// [`Failure::HasKey`], [`Failure::File`].
pub fn init(data: &Path) -> Result<(PublicKey, String), Failure> {
    let seed: [u8; 32] = rand::random();
    let words = words(&seed)?;
    Ok((keep(data, &seed)?, words))
}

/// Makes the key of these words in `data`.
///
/// # Errors
/// [`Failure::Words`], [`Failure::HasKey`], [`Failure::File`].
pub fn restore(data: &Path, words: &str) -> Result<PublicKey, Failure> {
    let wrong = |error: bip39::Error| Failure::Words(error.to_string());
    let mnemonic: Mnemonic = words.trim().to_lowercase().parse().map_err(wrong)?;
    let seed = mnemonic.to_entropy().try_into();
    let seed: [u8; 32] = seed.map_err(|_| Failure::Words("there are not 24".to_owned()))?;
    keep(data, &seed)
}

/// The key in `data`.
///
/// # Errors
/// [`Failure::NoKey`], [`Failure::Damaged`], [`Failure::File`].
pub fn load(data: &Path) -> Result<SecretKey, Failure> {
    let path = data.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let seed = array_from_hex(text.trim_end());
            let seed = seed.ok_or(Failure::Damaged(path))?;
            Ok(SecretKey::from_seed(&seed))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Failure::NoKey(data.to_owned())),
        Err(source) => Err(Failure::File { path, source }),
    }
}

/// A public key as hex.
#[must_use]
pub fn hex_of(key: &PublicKey) -> String {
    hex(key.as_bytes())
}

fn words(seed: &[u8; 32]) -> Result<String, Failure> {
    let mnemonic = Mnemonic::from_entropy(seed);
    let mnemonic = mnemonic.map_err(|error| Failure::Words(error.to_string()))?;
    Ok(mnemonic.to_string())
}

fn keep(data: &Path, seed: &[u8; 32]) -> Result<PublicKey, Failure> {
    let path: PathBuf = data.join(FILE);
    if path.exists() {
        return Err(Failure::HasKey(data.to_owned()));
    }
    let file = |source| Failure::File {
        path: path.clone(),
        source,
    };
    std::fs::create_dir_all(data).map_err(file)?;
    write_atomic(&path, format!("{}\n", hex(seed)).as_bytes(), 0o600).map_err(file)?;
    Ok(SecretKey::from_seed(seed).public())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn words_bring_the_key_back_and_no_key_is_overwritten() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (public, words) = init(one.path()).unwrap();
        assert_eq!(words.split(' ').count(), 24);
        assert_eq!(load(one.path()).unwrap().public(), public);
        assert!(matches!(init(one.path()), Err(Failure::HasKey(_))));
        assert!(matches!(load(two.path()), Err(Failure::NoKey(_))));
        let typed = format!("  {}\n", words.to_uppercase());
        assert_eq!(restore(two.path(), &typed).unwrap(), public);
        let mut swapped: Vec<_> = words.split(' ').collect();
        swapped.pop();
        let short = swapped.join(" ");
        assert!(matches!(
            restore(two.path(), &short),
            Err(Failure::Words(_))
        ));
    }

    /// The first vector of BIP-39 for 256 bits.
    #[test]
    fn a_vector_of_bip_39() {
        let expected = format!("{}art", "abandon ".repeat(23));
        assert_eq!(words(&[0; 32]).unwrap(), expected);
    }
}
