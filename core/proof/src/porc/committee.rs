//! Who checks whom: anyone can recompute it from a beacon, so a missing report shows.

use super::mixer::hash;
use crate::key::KeyId;
use crate::log::tree::{self, Hash};
use crate::receipt::directory::{Directory, Entry, Role};

/// Checkers that stand in, one after the other, for those of a duty that miss it.
pub const STAND_INS: usize = 2;
/// So many seconds before it comes in a checker's key counts: its clock may be behind. It is of no round's set by then.
pub const EARLY_S: u64 = 60;

/// A checker that may be assigned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checker {
    /// Its key.
    pub key: KeyId,
    /// Who runs it.
    pub operator: String,
}

/// A node that is to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its key.
    pub key: KeyId,
    /// Who runs it; none of its checkers may be theirs.
    pub operator: String,
}

/// The root over a set of checkers, in the order of their keys.
#[must_use]
pub fn set_root(checkers: &[Checker]) -> Hash {
    let mut sorted: Vec<_> = checkers.iter().collect();
    sorted.sort();
    let leaf = |checker: &&Checker| {
        hash(
            "porc/v1 checker",
            &[&checker.key.0, checker.operator.as_bytes()],
        )
    };
    tree::root::<super::commit::CommitHasher>(&sorted.iter().map(leaf).collect::<Vec<_>>())
}

/// Whether a key of the directory with this window is of the set of a round that began then: it had come in before that second, and was
/// not shut out before it. So what happens within the second that a round begins in changes nothing of the round, and
/// any later edition of the directory says the same of it.
#[must_use]
pub fn is_of_set((from_s, until_s, revoked_at_s): (u64, u64, Option<u64>), began_s: u64) -> bool {
    from_s.saturating_add(EARLY_S) < began_s
        && began_s <= until_s
        && revoked_at_s.is_none_or(|revoked| began_s <= revoked)
}

/// The set of a round that began then, in the order of the directory.
#[must_use]
pub fn set_of(directory: &Directory, began_s: u64) -> Vec<Checker> {
    let counts = |of: &Entry| is_of_set((of.from_s, of.until_s, of.revoked_at_s), began_s);
    let of_set = directory
        .of(Role::Checker)
        .filter(|(_, entry)| counts(entry));
    let one = |(key, entry): (&crate::key::PublicKey, &Entry)| Checker {
        key: key.id(),
        operator: entry.operator.clone(),
    };
    of_set.map(one).collect()
}

/// The `count` checkers that are assigned to a node in a round, first the one that goes first. Fewer
/// if there are fewer that may. The node's own operator never checks it.
#[must_use]
pub fn assign<'a>(
    beacon: &Hash,
    node: &Candidate,
    checkers: &'a [Checker],
    count: usize,
) -> Vec<&'a Checker> {
    let root = set_root(checkers);
    let rank = |checker: &Checker| {
        hash(
            "porc/v1 committee",
            &[beacon, &node.key.0, &root, &checker.key.0],
        )
    };
    let mut ranked: Vec<_> = checkers
        .iter()
        .filter(|checker| checker.operator != node.operator)
        .map(|checker| (rank(checker), checker))
        .collect();
    ranked.sort();
    ranked.dedup_by(|a, b| a.1.key == b.1.key);
    ranked
        .into_iter()
        .take(count)
        .map(|(_, checker)| checker)
        .collect()
}

/// Whether a group (an operator, a host or a network) is challenged in this round: all its GPUs at
/// once, once every `every` rounds, so that one card does not answer for two.
#[must_use]
pub fn due(round: u64, group: &str, every: u64) -> bool {
    let [a, b, c, d, e, f, g, h, ..] = hash("porc/v1 group", &[group.as_bytes()]);
    every > 0 && round % every == u64::from_le_bytes([a, b, c, d, e, f, g, h]) % every
}

#[cfg(test)]
mod test {
    use super::*;

    fn checkers(count: u8) -> Vec<Checker> {
        (0..count)
            .map(|i| Checker {
                key: KeyId([i; 32]),
                operator: format!("op{}", i % 5),
            })
            .collect()
    }

    #[test]
    fn nobody_checks_its_own_node_and_order_does_not_matter() {
        let mut set = checkers(20);
        let node = Candidate {
            key: KeyId([99; 32]),
            operator: "op2".to_owned(),
        };
        let mut seen = std::collections::BTreeSet::new();
        for round in 0..200_u8 {
            let chosen: Vec<_> = assign(&[round; 32], &node, &set, 3)
                .into_iter()
                .cloned()
                .collect();
            assert_eq!(chosen.len(), 3);
            assert!(chosen.iter().all(|checker| checker.operator != "op2"));
            seen.extend(chosen.iter().map(|checker| checker.key));
            set.reverse();
            let again: Vec<_> = assign(&[round; 32], &node, &set, 3)
                .into_iter()
                .cloned()
                .collect();
            assert_eq!(chosen, again);
        }
        assert_eq!(seen.len(), 16, "everybody who may is drawn at some time");
    }

    #[test]
    fn the_set_is_that_of_the_second_before() {
        let of = |began_s| is_of_set((40, 500, None), began_s);
        assert_eq!(
            [99, 100, 101, 500, 501].map(of),
            [false, false, true, true, false]
        );
        let of = |began_s| is_of_set((40, 500, Some(200)), began_s);
        assert_eq!([101, 200, 201].map(of), [true, true, false]);
    }

    #[test]
    fn a_group_is_due_once_in_so_many_rounds() {
        assert_eq!((0..70).filter(|round| due(*round, "host-1", 7)).count(), 10);
        assert!(!due(0, "host-1", 0));
    }
}
