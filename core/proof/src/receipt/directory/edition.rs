//! Writing a directory: one entry of the log, or an entry with pages that stay as they are until their keys change.
//!
//! **Invariant.** The bytes follow from the keys in their order, the number and the time: whoever signs an edition signs
//! the same.

use super::{
    DIRECTORY, DIRECTORY_PAGE, DIRECTORY_PAGED, DirectoryError, Entry, Listed, PAGE_KEYS,
    PAGES_MAX, Page, Paged,
};
use crate::canon;
use crate::encoding::sha256;
use crate::key::{KeyId, SecretKey};
use crate::log::tile::ENTRY_BYTES_MAX;
use crate::receipt::envelope::Envelope;
use serde::Serialize;

/// A directory as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edition {
    root: Vec<u8>,
    pages: Vec<(Vec<Entry>, Vec<u8>)>,
}

impl Edition {
    /// Signs these keys. Pages that `before` has are taken from it.
    ///
    /// # Errors
    /// [`DirectoryError::Shape`] for numbers or a length that no directory may have.
    pub fn sign(
        (serial, issued_at_s): (u64, u64),
        keys: Vec<Entry>,
        authority: &SecretKey,
        before: Option<&Self>,
    ) -> Result<Self, DirectoryError> {
        if keys.len() <= PAGE_KEYS {
            let listed = Listed {
                serial,
                issued_at_s,
                keys,
            };
            return Ok(Self {
                root: signed(DIRECTORY, &listed, authority)?,
                pages: Vec::new(),
            });
        }
        let known = before.map_or(&[][..], |before| &before.pages);
        let mut pages = Vec::new();
        for (place, keys) in keys.chunks(PAGE_KEYS).enumerate() {
            let same = known.get(place).filter(|(known, _)| known == keys);
            pages.push(match same {
                Some(page) => page.clone(),
                None => {
                    let keys = keys.to_vec();
                    let page = Page { keys: keys.clone() };
                    (keys, signed(DIRECTORY_PAGE, &page, authority)?)
                }
            });
        }
        if pages.len() > PAGES_MAX {
            return Err(DirectoryError::Shape);
        }
        let named = pages.iter().map(|(_, bytes)| KeyId(sha256(&[bytes])));
        let paged = Paged {
            serial,
            issued_at_s,
            pages: named.collect(),
        };
        Ok(Self {
            root: signed(DIRECTORY_PAGED, &paged, authority)?,
            pages,
        })
    }

    /// The entries of the log that it takes: its pages, and then the edition that names them.
    pub fn entries(&self) -> impl Iterator<Item = &[u8]> {
        let pages = self.pages.iter().map(|(_, bytes)| bytes.as_slice());
        pages.chain([self.root.as_slice()])
    }

    /// As [`super::Directory::open`] reads it: the edition, then its pages, a line each.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.root.clone();
        for (_, page) in &self.pages {
            bytes.push(b'\n');
            bytes.extend(page);
        }
        bytes
    }
}

fn signed(
    kind: &str,
    payload: &impl Serialize,
    authority: &SecretKey,
) -> Result<Vec<u8>, DirectoryError> {
    let value = serde_json::to_value(payload).map_err(|_| DirectoryError::Shape)?;
    let mut envelope = Envelope::new(kind, canon::to_bytes(&value));
    envelope.sign(authority);
    let bytes = envelope.to_bytes();
    match bytes.len() <= ENTRY_BYTES_MAX {
        true => Ok(bytes),
        false => Err(DirectoryError::Shape),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::receipt::directory::{Directory, Role};
    use crate::receipt::fixture::listed;

    fn authority() -> SecretKey {
        SecretKey::from_seed(&[200; 32])
    }

    fn key(number: u32) -> SecretKey {
        SecretKey::from_seed(&sha256(&[&number.to_le_bytes()]))
    }

    fn keys(count: u32) -> Vec<Entry> {
        (0..count)
            .map(|n| {
                let operator = "o".repeat(64);
                let role = if n % 2 == 0 {
                    Role::Node
                } else {
                    Role::Checker
                };
                listed(&key(n).public(), role, &operator, (1, 4_133_980_800))
            })
            .collect()
    }

    fn edition(serial: u64, count: u32, before: Option<&Edition>) -> Edition {
        Edition::sign((serial, 5), keys(count), &authority(), before).unwrap()
    }

    #[test]
    fn one_without_pages_is_what_it_always_was() {
        let small = edition(3, PAGE_KEYS as u32, None);
        assert_eq!(small.entries().count(), 1);
        let bytes = small.to_bytes();
        assert!(!bytes.contains(&b'\n') && bytes.len() <= ENTRY_BYTES_MAX);
        let read = Directory::open(&bytes, &authority().public()).unwrap();
        assert_eq!((read.serial, read.of(Role::Node).count()), (3, 64));
    }

    #[test]
    fn thousands_of_keys_are_found_and_a_new_one_changes_one_page() {
        let first = edition(1, 3_000, None);
        let bytes = first.to_bytes();
        let read = Directory::open(&bytes, &authority().public()).unwrap();
        assert_eq!(read.of(Role::Checker).count(), 1_500);
        for number in [0, 127, 128, 2_998] {
            let id = key(number).public().id();
            let role = if number % 2 == 0 {
                Role::Node
            } else {
                Role::Checker
            };
            assert!(read.find(&id, role).is_some(), "{number}");
            assert!(read.find(&id, Role::Referee).is_none());
        }
        assert!(first.entries().all(|entry| entry.len() <= ENTRY_BYTES_MAX));
        let second = edition(2, 3_001, Some(&first));
        let changed = second
            .entries()
            .filter(|entry| first.entries().all(|of| of != *entry));
        assert_eq!(changed.count(), 2, "the last page, and the edition");
        assert_eq!(
            second,
            edition(2, 3_001, None),
            "the same without the one before"
        );
    }

    #[test]
    fn the_largest_fits_and_one_more_is_refused() {
        let most = (PAGE_KEYS * PAGES_MAX) as u32;
        let largest = edition(1, most, None);
        assert!(
            largest
                .entries()
                .all(|entry| entry.len() <= ENTRY_BYTES_MAX)
        );
        let more = Edition::sign((1, 5), keys(most + 1), &authority(), Some(&largest));
        assert_eq!(more, Err(DirectoryError::Shape));
    }

    #[test]
    fn pages_are_those_that_the_edition_names() {
        let bytes = edition(1, 300, None).to_bytes();
        let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        let open = |lines: &[&[u8]]| Directory::open(&lines.join(&b'\n'), &authority().public());
        assert!(open(&lines).is_ok());
        let refused = Err(DirectoryError::Pages);
        assert_eq!(open(&lines[..3]), refused, "one is left out");
        assert_eq!(
            open(&[lines[0], lines[2], lines[1], lines[3]]),
            refused,
            "moved"
        );
        assert_eq!(
            open(&[lines[0], lines[1], lines[2], lines[3], b""]),
            refused,
            "one more"
        );
        let other = edition(1, 301, None).to_bytes();
        let others: Vec<&[u8]> = other.split(|byte| *byte == b'\n').collect();
        assert_eq!(
            open(&[lines[0], lines[1], lines[2], others[3]]),
            refused,
            "another one's"
        );
        assert_eq!(
            open(&lines[1..]),
            Err(DirectoryError::Pages),
            "a page is no edition"
        );
        assert_eq!(open(&lines[1..2]), Err(DirectoryError::Signature));
        let small = edition(1, 3, None).to_bytes();
        assert_eq!(
            open(&[&small, lines[1]]),
            refused,
            "one without pages has none"
        );
        assert!(Directory::open(&bytes, &key(1).public()).is_err());
    }
}
