//! What a revocation in the log does: the checks that it is of weigh nothing from then on, as if they had not been made, and
//! their rounds are settled anew. No clock, no IO.
//!
//! | the round | with a check revoked |
//! |---|---|
//! | comes to what its checks say | comes to what the rest says: perhaps to nothing |
//! | a referee settled it by what most say | the same |
//! | has come to something, and a checker revokes its own | stays: only the network moves it |
//! | a referee settled it by execution | stays: what was executed does not rest on whose word it was |
//!
//! **Invariants.** Who may revoke what is the verifier's rule (core/proof's `verify`). Whom execution refuted stays a liar,
//! whatever is revoked. A revocation is of what stands before it; one of a key of what stands behind it, too.

use crate::ledger::{CheckRow, VoidKey};
use nearlight_proof::receipt::directory::{Directory, Role};
use nearlight_proof::receipt::statement::Statement;
use std::collections::BTreeMap;

/// A revocation: a receipt or a key is void.
#[derive(Debug)]
pub(super) struct Revocation {
    pub(super) place: u64,
    /// The leaf or the key id that is void.
    pub(super) subject: String,
    /// Of a key: what it signed from then on, Unix seconds.
    from_s: u64,
    issuer: String,
    /// Whether a broker or a referee says so.
    pub(super) is_networks: bool,
    /// Whether the directory has the subject as a checker's key.
    is_of_key: bool,
    /// When, Unix seconds: as it says, but not before what stands before it.
    pub(super) issued_at_s: u64,
}

impl Revocation {
    pub(super) fn of(
        (place, issued_at_s): (u64, u64),
        statement: &Statement,
        from_s: u64,
        directory: &Directory,
    ) -> Self {
        let (issuer, subject) = (&statement.head.issuer, &statement.subject.sha256);
        let has = |key, role| directory.find(key, role).is_some();
        Self {
            place,
            subject: subject.to_string(),
            from_s,
            issuer: issuer.to_string(),
            is_networks: has(issuer, Role::Referee) || has(issuer, Role::Broker),
            is_of_key: has(subject, Role::Checker),
            issued_at_s,
        }
    }

    /// Whether it revokes this check, of which the receipt says that it was issued at `said_s`: a broker and a referee revoke
    /// anything, whoever else what is its own.
    pub(super) fn is_of(&self, check: &CheckRow, said_s: u64) -> bool {
        let may = self.is_networks || self.issuer == check.checker;
        let is_of_key = self.subject == check.checker && said_s >= self.from_s;
        may && (self.subject == check.leaf || is_of_key)
    }

    /// The key that it revokes, if it does.
    pub(super) fn void_key(&self) -> Option<VoidKey> {
        let may = self.is_networks || self.issuer == self.subject;
        (may && self.is_of_key).then(|| VoidKey {
            key_id: self.subject.clone(),
            from_s: self.from_s,
            place: self.place,
        })
    }
}

/// Keys that are void, as they are while a piece of the log is gone through.
#[derive(Clone, Debug, Default)]
pub(super) struct VoidKeys {
    known: BTreeMap<String, VoidKey>,
    /// Those of which the ledger does not know.
    new: BTreeMap<String, VoidKey>,
}

impl VoidKeys {
    pub(super) fn known(keys: Vec<VoidKey>) -> Self {
        let known = keys.into_iter().map(|key| (key.key_id.clone(), key));
        Self {
            known: known.collect(),
            new: BTreeMap::new(),
        }
    }

    /// Whether more is void than was.
    pub(super) fn add(&mut self, key: VoidKey) -> bool {
        let earlier = self.known.get(&key.key_id);
        if earlier.is_some_and(|known| known.from_s <= key.from_s) {
            return false;
        }
        self.known.insert(key.key_id.clone(), key.clone());
        self.new.insert(key.key_id.clone(), key);
        true
    }

    /// Whether what a checker issues is void before it counts.
    pub(super) fn has(&self, checker: &str, said_s: u64) -> bool {
        let known = self.known.get(checker);
        known.is_some_and(|key| said_s >= key.from_s)
    }

    pub(super) fn new_ones(self) -> Vec<VoidKey> {
        self.new.into_values().collect()
    }
}

#[cfg(test)]
pub(super) mod test {
    use super::*;
    use crate::ledger::RoundOf;
    use nearlight_proof::receipt::fixture::{key, listed, statement};
    use nearlight_proof::receipt::predicate::{Predicate, Revoke};

    const CHECKER: u8 = 1;

    /// One at that place, of nothing, by the network or not.
    pub(in crate::verdicts) fn of_place(place: u64, is_networks: bool) -> Revocation {
        Revocation {
            place,
            is_networks,
            ..revocation(CHECKER, &"d".repeat(64), 0)
        }
    }

    /// One by the key `issuer` of what the id `subject` is of.
    fn revocation(issuer: u8, subject: &str, from_s: u64) -> Revocation {
        let roles = [
            (CHECKER, Role::Checker),
            (2, Role::Checker),
            (3, Role::Broker),
            (4, Role::Referee),
        ];
        let keys = roles.map(|(n, role)| listed(&key(n).public(), role, "x", (0, 900)));
        let bytes = Directory::sign(1, 100, keys.to_vec(), &key(50)).unwrap();
        let directory = Directory::open(&bytes, &key(50).public()).unwrap();
        let void = Predicate::Revoke(Revoke {
            from_s,
            reason: "stolen".to_owned(),
        });
        let subject = nearlight_proof::key::KeyId::from_hex(subject).unwrap();
        let said = statement(&key(issuer), subject, 150, void);
        Revocation::of((8, 150), &said, from_s, &directory)
    }

    fn check() -> CheckRow {
        CheckRow {
            place: 3,
            of: RoundOf {
                node: "n".to_owned(),
                round: 7,
                gpu: "cpu".to_owned(),
            },
            checker: key(CHECKER).public().id().to_string(),
            leaf: "e".repeat(64),
            finding: "pass".to_owned(),
            score_permille: 900,
            issued_at_s: 400,
            reason: String::new(),
            seat: Some(0),
            blocks: None,
            revoked: None,
        }
    }

    /// The verifier's rule, for receipts and for keys; by the time that a receipt says, not by that of the log.
    #[test]
    fn the_network_revokes_anything_and_a_checker_what_is_its_own() {
        let check = check();
        for (issuer, may) in [(CHECKER, true), (2, false), (3, true), (4, true)] {
            let of_it = revocation(issuer, &check.leaf, 900);
            assert_eq!(of_it.is_of(&check, 100), may, "{issuer}: the receipt");
            assert_eq!(of_it.void_key(), None);
            let of_key = revocation(issuer, &check.checker, 100);
            assert_eq!(of_key.is_of(&check, 100), may, "{issuer}: the key");
            assert!(!of_key.is_of(&check, 99), "{issuer}: before");
            assert_eq!(of_key.void_key().is_some(), may, "{issuer}");
        }
        let other = revocation(3, &"d".repeat(64), 0);
        assert!(!other.is_of(&check, 100));
    }

    #[test]
    fn of_a_key_the_earliest_time_counts() {
        let key = |from_s, place| VoidKey {
            key_id: "c".to_owned(),
            from_s,
            place,
        };
        let mut keys = VoidKeys::known(vec![key(100, 3)]);
        assert!(keys.has("c", 100) && !keys.has("c", 99) && !keys.has("d", 100));
        assert!(!keys.add(key(100, 8)));
        assert!(keys.add(key(50, 9)) && keys.has("c", 50));
        assert_eq!(keys.new_ones(), [key(50, 9)]);
    }
}
