//! `checker receipt revoke`: says in the log that a receipt of this checker's own is void, such as one that a stolen key, or a
//! machine that was wrong, has signed.
//!
//! **What it does not know:** what the broker makes of it; who may revoke what is docs/receipts.md.

use crate::broker::Broker;
use crate::cli::RevokeArgs;
use crate::failure::Failure;
use crate::{keys, member};
use nearlight_proof::key::{KeyId, SecretKey};
use nearlight_proof::log::tree::leaf;
use nearlight_proof::receipt::predicate::{Predicate, Revoke};
use nearlight_proof::receipt::statement::{Assurance, Countersign, Head, Statement, Subject};
use nearlight_protocol::receipt::Placed;
use std::path::Path;

/// What was said, and where.
#[derive(Debug)]
pub struct Revoked {
    /// The leaf that is void.
    pub subject: KeyId,
    /// The entry that says so: an earlier one, if it was void already.
    pub placed: Placed,
}

/// Signs it with the checker's key, and hands it in.
///
/// # Errors
/// [`Failure`]: there is no key or network, or the broker does not take it.
pub fn revoke(data: &Path, args: &RevokeArgs) -> Result<Revoked, Failure> {
    let key = keys::load(data)?;
    let broker = member::Network::load(data)?.broker(data, args.at.as_deref())?;
    let subject = leaf_of(&broker, &args.what)?;
    let now_s = nearlight_kit::clock::unix_ms() / 1000;
    let receipt = signed(&key, subject, &args.reason, now_s)?;
    let said = broker.hand_in(&receipt).map_err(Failure::Broker)?;
    let placed = serde_json::from_str(&said).map_err(|_| {
        Failure::Broker("it says no place; it may be older than this checker".to_owned())
    })?;
    Ok(Revoked { subject, placed })
}

/// The leaf of a receipt that is named by it, or by its place in the log.
fn leaf_of(broker: &Broker, what: &str) -> Result<KeyId, Failure> {
    if let Some(leaf) = KeyId::from_hex(what) {
        return Ok(leaf);
    }
    let index = what
        .parse()
        .map_err(|_| Failure::NoReceipt(what.to_owned()))?;
    let envelope = broker.logged(index).map_err(Failure::Broker)?;
    Ok(KeyId(leaf(envelope.as_bytes())))
}

/// A revocation of the receipt with this leaf.
fn signed(key: &SecretKey, subject: KeyId, reason: &str, now_s: u64) -> Result<Vec<u8>, Failure> {
    let statement = Statement {
        subject: Subject {
            name: "receipt".to_owned(),
            sha256: subject,
        },
        head: Head {
            issuer: key.public().id(),
            issued_at_s: now_s,
            countersign: Countersign::None,
            assurance: Assurance::Timing,
            does_not_prove: Vec::new(),
            evidence: Vec::new(),
        },
        predicate: Predicate::Revoke(Revoke {
            from_s: 0,
            reason: reason.to_owned(),
        }),
    };
    let envelope = statement.envelope();
    let mut envelope = envelope.map_err(|why| Failure::Reason(why.to_string()))?;
    envelope.sign(key);
    Ok(envelope.to_bytes())
}
