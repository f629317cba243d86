//! When checkers' keys came into the directory and out of it, by the log.
//!
//! **Invariant.** A key counts in a time that its directory says. A change of that time which came into the log later than what
//! it is about is told: whoever signs the directory had seen the values of rounds in between, and whom they would draw
//! with the key and without. As much is believed as clocks may differ, [`SKEW_S`].
//!
//! **What it does not know:** whether any of those rounds was one of the node's; what was done within that time, in which a value
//! can be seen, too; a key that an edition leaves out altogether; another operator's name; whether the log was away.

use super::{Finding, Oddity};
use nearlight_proof::key::PublicKey;
use nearlight_proof::porc::committee::EARLY_S;
use nearlight_proof::receipt::directory::{Entry, Role, listed_in};
use nearlight_proof::receipt::verify::SKEW_S;
use std::collections::BTreeMap;

/// Keys of an entry that are named.
const NAMED_MAX: usize = 3;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Listings {
    /// Of each checker's key the times in which it counts by what the log has so far: from when, and until when.
    known: BTreeMap<String, (u64, u64)>,
    /// The entry, the key, since when it counts that did not before, or does not that did, and when the log had it.
    late: Vec<Late>,
}

#[derive(Debug)]
struct Late {
    index: u64,
    key: String,
    since_s: u64,
    told_s: u64,
}

impl Listings {
    /// The next entry of the log, which is no statement. What stands up to it says that it was issued at `told_s` at the latest.
    pub(super) fn entry(&mut self, index: u64, bytes: &[u8], authority: &PublicKey, told_s: u64) {
        let listed = listed_in(bytes, authority).into_iter().flatten();
        for entry in listed.filter(|entry| entry.role == Role::Checker) {
            self.key(index, entry, told_s);
        }
    }

    fn key(&mut self, index: u64, entry: Entry, told_s: u64) {
        let from_s = entry.from_s;
        let until_s = entry.until_s.min(entry.revoked_at_s.unwrap_or(u64::MAX));
        let known = self.known.get(&entry.key).copied().unwrap_or_default();
        let since_s = differ_from(known, (from_s, until_s));
        let in_time_s = since_s.saturating_add(EARLY_S).saturating_add(SKEW_S);
        if in_time_s < told_s {
            self.late.push(Late {
                index,
                key: entry.key.clone(),
                since_s,
                told_s,
            });
        }
        self.known.insert(entry.key, (from_s, until_s));
    }

    /// What is odd of it, where rounds have gone by since `genesis_s`.
    pub(super) fn findings(self, genesis_s: u64) -> Vec<Finding> {
        let mut by_entry: BTreeMap<u64, Vec<Late>> = BTreeMap::new();
        let of_rounds = |late: &Late| {
            let since_s = late.since_s.max(genesis_s);
            since_s.saturating_add(SKEW_S) < late.told_s
        };
        for late in self.late.into_iter().filter(of_rounds) {
            by_entry.entry(late.index).or_default().push(late);
        }
        by_entry.into_iter().map(of_entry).collect()
    }
}

/// From when on it matters which of two times a key counts in; never if they are the same.
fn differ_from(one: (u64, u64), other: (u64, u64)) -> u64 {
    let is_none = |(from_s, until_s): (u64, u64)| from_s >= until_s;
    match (is_none(one), is_none(other)) {
        (true, true) => u64::MAX,
        (true, false) => other.0,
        (false, true) => one.0,
        (false, false) if one.0 != other.0 => one.0.min(other.0),
        (false, false) if one.1 != other.1 => one.1.min(other.1),
        (false, false) => u64::MAX,
    }
}

fn of_entry((index, late): (u64, Vec<Late>)) -> Finding {
    let name = |late: &Late| {
        let key = PublicKey::from_hex(&late.key);
        let key = key.map_or_else(|| late.key.clone(), |key| key.id().to_string());
        let after_s = late.told_s - late.since_s;
        format!("{key} ({after_s} s after)")
    };
    let named: Vec<String> = late.iter().take(NAMED_MAX).map(name).collect();
    let more = match late.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Finding {
        oddity: Oddity::Backdated,
        entries: vec![index],
        words: format!(
            "checkers came into the directory, or out of it, after the time from which that counts: {}{more}; whoever signs it could \
             choose by what the rounds since then were",
            named.join(", ")
        ),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_proof::receipt::Directory;
    use nearlight_proof::receipt::fixture::{key, listed};

    const T: u64 = 1_000_000;

    /// Editions of a directory, each with the windows of one checker's key, and when the log has them; what is odd with each.
    fn odd(editions: &[(u64, (u64, u64), Option<u64>)], genesis_s: u64) -> Vec<u64> {
        let (authority, mut listings) = (key(8), Listings::default());
        for (index, (told_s, window, revoked_at_s)) in (0..).zip(editions) {
            let mut of = vec![
                listed(&key(1).public(), Role::Checker, "east", *window),
                listed(&key(2).public(), Role::Node, "host", (0, T * 9)),
            ];
            of[0].revoked_at_s = *revoked_at_s;
            let bytes = Directory::sign(index + 1, *told_s, of, &authority).unwrap();
            listings.entry(index, &bytes, &authority.public(), *told_s);
            // Nobody else's word counts.
            listings.entry(99, &bytes, &key(3).public(), *told_s);
        }
        let findings = listings.findings(genesis_s);
        findings.iter().flat_map(|of| of.entries.clone()).collect()
    }

    #[test]
    fn a_checker_that_is_listed_as_of_before_is_named() {
        let far = T * 9;
        let none: [u64; 0] = [];
        assert_eq!(odd(&[(T, (T - 60, far), None)], 0), none, "as it comes in");
        assert_eq!(odd(&[(T, (T - 360, far), None)], 0), none, "clocks differ");
        assert_eq!(odd(&[(T, (T - 361, far), None)], 0), [0]);
        assert_eq!(odd(&[(T, (5, far), None)], T), none, "before any round");
        assert_eq!(odd(&[(T, (5, far), None)], T - 301), [0]);
        // What was said before may be said again, and a key may end.
        let first = (T, (T, T * 2), None);
        let again = |window, revoked| [first, (T + 9_000, window, revoked)];
        assert_eq!(odd(&again((T, T * 2), None), 0), none);
        assert_eq!(odd(&again((T, far), None), 0), none, "longer, in time");
        assert_eq!(odd(&again((T - 400, T * 2), None), 0), [1], "earlier");
        // One that had ended counts as if it had not.
        let ended = [(T, (T, T + 60), None), (T + 9_000, (T, far), None)];
        assert_eq!(odd(&ended, 0), [1]);
        let out = (T, (T, far), Some(T + 10));
        // One that is shut out of rounds whose values were seen, however that is said.
        assert_eq!(odd(&again((T, T * 2), Some(T + 9_000)), 0), none, "now");
        assert_eq!(odd(&again((T, T * 2), Some(T + 8_640)), 0), none);
        assert_eq!(odd(&again((T, T * 2), Some(T + 8_639)), 0), [1]);
        assert_eq!(odd(&again((T, T + 9_000), None), 0), none, "it ends");
        assert_eq!(odd(&again((T, T + 9), None), 0), [1]);
        assert_eq!(odd(&again((T + 8_999, T * 2), None), 0), [1], "later");
        assert_eq!(odd(&again((T + 9, T + 9), None), 0), [1], "never");
        assert_eq!(odd(&[out, (T + 9_000, (T, far), None)], 0), [1]);
    }
}
