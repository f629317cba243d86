//! Receipts, keys and a network of checkers for tests of this workspace: only with the feature `fixtures`.
//!
//! **What it does not know:** what a machine computes; roots and times here are made up.

use super::directory::{Directory, Entry, Role};
use super::predicate::{Elapsed, Finding, Porc, Predicate, Ratios, Sizes};
use super::statement::{Assurance, Countersign, Head, Statement, Subject};
use crate::beacon::anchor::Anchor;
use crate::beacon::chain;
use crate::encoding::hex;
use crate::key::{KeyId, PublicKey, SecretKey};
use crate::log::tree::Hash;

/// A key of its own for each number.
#[must_use]
pub fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

/// A line of a directory.
#[must_use]
pub fn listed(key: &PublicKey, role: Role, operator: &str, (from_s, until_s): (u64, u64)) -> Entry {
    Entry {
        key: hex(key.as_bytes()),
        role,
        operator: operator.to_owned(),
        licence: None,
        from_s,
        until_s,
        revoked_at_s: None,
    }
}

/// The least that there can be of everything.
#[must_use]
pub const fn small_sizes() -> Sizes {
    Sizes {
        rows: 1,
        blocks: 1,
        lanes: 1,
        reads: 1,
        frames: 1,
        tiles: 1,
        steps: 96,
    }
}

/// What a check found: round 7 of GPU `cpu`, everything at nine tenths.
#[must_use]
pub fn porc(finding: Finding) -> Porc {
    let none = KeyId([0; 32]);
    Porc {
        round: 7,
        beacon: none,
        gpu: "cpu".to_owned(),
        class: "test".to_owned(),
        table: none,
        probe: "p".to_owned(),
        checkers: none,
        nonce: none,
        read_secret: none,
        open_secret: none,
        sizes: small_sizes(),
        matrix_root: none,
        fill_root: none,
        read_root: none,
        frame_root: none,
        elapsed: Elapsed {
            compute_us: 1,
            fill_us: 1,
            read_us: 1,
            render_us: 1,
        },
        ratios: Ratios {
            compute_permille: 900,
            memory_permille: 900,
            render_permille: 900,
        },
        score_permille: 900,
        finding,
        reason: String::new(),
    }
}

/// A statement about a key or a leaf, with nothing beside it.
#[must_use]
pub fn statement(
    issuer: &SecretKey,
    subject: KeyId,
    issued_at_s: u64,
    predicate: Predicate,
) -> Statement {
    Statement {
        subject: Subject {
            name: "node:one".to_owned(),
            sha256: subject,
        },
        head: Head {
            issuer: issuer.public().id(),
            issued_at_s,
            countersign: Countersign::None,
            assurance: Assurance::Timing,
            does_not_prove: Vec::new(),
            evidence: Vec::new(),
        },
        predicate,
    }
}

/// As an entry of the log, signed by these in order.
///
/// # Panics
/// If the statement cannot be written.
#[must_use]
pub fn entry(statement: &Statement, signers: &[&SecretKey]) -> Vec<u8> {
    let mut envelope = statement
        .envelope()
        .expect("a statement that can be written");
    for key in signers {
        envelope.sign(key);
    }
    envelope.to_bytes()
}

/// A closed network: a chain of rounds and whoever is in its directory.
#[derive(Debug)]
pub struct Network {
    /// The chain of rounds.
    pub anchor: Anchor,
    /// Whose keys are whose.
    pub directory: Directory,
    /// The directory as the log has it.
    pub envelope: Vec<u8>,
}

const CHAIN_SECRET: [u8; 32] = [91; 32];
const ROUNDS: u64 = 4096;

impl Network {
    /// Rounds of `round_ms` from `genesis_ms` on, and these keys.
    ///
    /// # Panics
    /// If the keys are no directory.
    #[must_use]
    pub fn new(
        (genesis_ms, round_ms): (u64, u64),
        keys: Vec<Entry>,
        authority: &SecretKey,
    ) -> Self {
        let envelope = Directory::sign(1, genesis_ms / 1000, keys, authority);
        let envelope = envelope.expect("a directory that can be written");
        let directory = Directory::open(&envelope, &authority.public());
        let anchor = chain::value(&CHAIN_SECRET, ROUNDS, 0).expect("round 0 is of the chain");
        Self {
            anchor: Anchor {
                anchor: KeyId(anchor),
                genesis_ms,
                length: ROUNDS,
                round_ms,
            },
            directory: directory.expect("it was signed above"),
            envelope,
        }
    }

    /// The value of a round.
    #[must_use]
    pub fn value(&self, round: u64) -> Option<Hash> {
        (round >= 1)
            .then(|| chain::value(&CHAIN_SECRET, ROUNDS, round))
            .flatten()
    }
}
