//! Nodes and checkers by the names of their certificates.

use super::Identity;
use super::name::spiffe_of;
use nearlight_protocol::id::{KeyId, NodeId};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// What a node's name begins with.
const NODE_PREFIX: &str = "spiffe://nearlight/node/";
/// What a checker's name begins with.
const CHECKER_PREFIX: &str = "spiffe://nearlight/checker/";
/// Hex digits of the id of a checker's key.
const CHECKER_KEY_DIGITS: usize = 64;

/// A checker, as its certificates name it: by the key that it signs receipts with, and by the account that it came in with.
/// Who comes in again has another account, and the certificates of before are void with the former one.
///
/// As text: `KEY-ID/ACCOUNT`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CheckerName {
    /// The id of its key, 64 lower-case hex digits.
    key_id: String,
    /// Its account.
    pub account: KeyId,
}

impl CheckerName {
    /// `None` if that is no id of a key.
    pub fn new(key_id: &str, account: KeyId) -> Option<Self> {
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let is_id = key_id.len() == CHECKER_KEY_DIGITS && key_id.bytes().all(is_digit);
        is_id.then(|| Self {
            key_id: key_id.to_owned(),
            account,
        })
    }

    /// The id of its key.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }
}

impl fmt::Display for CheckerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.key_id, self.account)
    }
}

/// It is no name of a checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no name of a checker")]
pub struct NoChecker;

impl FromStr for CheckerName {
    type Err = NoChecker;

    fn from_str(text: &str) -> Result<Self, NoChecker> {
        let (key_id, account) = text.split_once('/').ok_or(NoChecker)?;
        let account = account.parse().map_err(|_| NoChecker)?;
        Self::new(key_id, account).ok_or(NoChecker)
    }
}

impl Identity {
    /// A node's.
    pub fn node(id: &NodeId) -> Self {
        Self {
            spiffe: format!("{NODE_PREFIX}{id}"),
            ..Self::default()
        }
    }

    /// A checker's.
    pub fn checker(name: &CheckerName) -> Self {
        Self {
            spiffe: format!("{CHECKER_PREFIX}{name}"),
            ..Self::default()
        }
    }
}

/// The node of a SPIFFE id.
pub fn node_of(spiffe: &str) -> Option<NodeId> {
    spiffe.strip_prefix(NODE_PREFIX)?.parse().ok()
}

/// The checker of a SPIFFE id.
pub fn checker_of(spiffe: &str) -> Option<CheckerName> {
    spiffe.strip_prefix(CHECKER_PREFIX)?.parse().ok()
}

/// The node that the first certificate of a PEM file is of.
pub fn certified_node(path: &Path) -> Option<NodeId> {
    let certificate = CertificateDer::from_pem_file(path).ok()?;
    spiffe_of(&certificate).as_deref().and_then(node_of)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_name_is_a_nodes_or_a_checkers_and_never_both() {
        let (key, account) = ("ab".repeat(32), KeyId::from_parts(1, [2; 10]));
        let name = CheckerName::new(&key, account).unwrap();
        let spiffe = Identity::checker(&name).spiffe;
        assert_eq!(checker_of(&spiffe), Some(name.clone()));
        assert_eq!(node_of(&spiffe), None);
        let node = Identity::node(&NodeId::from_parts(1, [2; 10])).spiffe;
        assert!(node_of(&node).is_some());
        assert_eq!(checker_of(&node), None);
        for wrong in [
            spiffe.to_uppercase(),
            spiffe.replace("checker", "checkers"),
            spiffe.replacen("ab", "AB", 1),
            spiffe.replacen("ab", "", 1),
            format!("{spiffe}/x"),
            format!("{CHECKER_PREFIX}{key}"),
            format!("{CHECKER_PREFIX}{key}/"),
        ] {
            assert_eq!(checker_of(&wrong), None, "{wrong}");
        }
        assert_eq!(CheckerName::new("ab", name.account), None);
    }
}
