//! Values of rounds, held to the chain's anchor or to drand's signature, whichever the network's rounds take them from.
//!
//! **Invariants.** Which beacon that is, entries say that the directory's key signed, and one that was seen stays: a broker
//! cannot take it back, nor show later less of it. One that is shown when its rounds have begun is not taken, unless nobody
//! told this checker anything for minutes before that. A value of the chain is hashed back to the newest that was seen, not
//! to the beginning; one of drand is of the round that the rule says, and of no other.

use crate::failure::Failure;
use crate::member::{Network, beacons, keep_beacons};
use nearlight_kit::clock::unix_ms;
use nearlight_proof::beacon::anchor::Anchor;
use nearlight_proof::beacon::chain;
use nearlight_proof::beacon::drand::QUICKNET;
use nearlight_proof::beacon::used::{Beacon, Timetable, Used};
use nearlight_proof::encoding::array_from_hex;
use nearlight_proof::key::{KeyId, PublicKey};
use nearlight_proof::receipt::verify::SKEW_S;
use std::path::Path;

/// So often it is written down that entries were told, milliseconds.
const WRITTEN_EVERY_MS: u64 = 60_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Rounds {
    table: Timetable,
    /// Whose word counts of which beacon is used.
    authority: PublicKey,
    /// The one that this checker works by, if it is not the network's to say.
    wanted: Option<Beacon>,
    /// The entries of the table, as they were told.
    kept: Vec<String>,
    /// When entries were told the last time, Unix milliseconds; `None` before the first time.
    told_ms: Option<u64>,
    /// When that was written down.
    written_ms: Option<u64>,
    newest: (u64, KeyId),
    /// The last round of drand's that was verified.
    drawn: Option<(u64, [u8; 32])>,
}

impl Rounds {
    pub(super) const fn new(anchor: Anchor, authority: PublicKey, wanted: Option<Beacon>) -> Self {
        Self {
            newest: (0, anchor.anchor),
            table: Timetable::new(anchor),
            authority,
            wanted,
            kept: Vec::new(),
            told_ms: None,
            written_ms: None,
            drawn: None,
        }
    }

    /// The rounds of a network, as the checker of this directory has learned of them.
    ///
    /// # Errors
    /// What is missing, or damaged.
    pub(super) fn open(
        data: &Path,
        network: &Network,
        wanted: Option<Beacon>,
    ) -> Result<Self, Failure> {
        let mut rounds = Self::new(network.anchor()?, network.authority()?, wanted);
        // What was kept was taken before.
        if let Some((entries, told_ms)) = beacons(data)? {
            rounds.learn(&entries, told_ms).map_err(Failure::Beacon)?;
            rounds.told_ms = Some(told_ms);
        }
        Ok(rounds)
    }

    /// As [`Rounds::learn`], and what is new is kept for the next start, beside what was.
    pub(super) fn learn_for_good(&mut self, data: &Path, entries: &[String]) {
        let (now_ms, known) = (unix_ms(), self.kept.len());
        if let Err(error) = self.learn(entries, now_ms) {
            tracing::error!(error, "the beacons of rounds are not as they were told");
        }
        self.told_ms = Some(now_ms);
        // The file's time says when entries were told the last time.
        let is_old = |at: u64| at.saturating_add(WRITTEN_EVERY_MS) <= now_ms;
        if known == self.kept.len() && !self.written_ms.is_none_or(is_old) {
            return;
        }
        match keep_beacons(data, &self.kept) {
            Ok(()) => self.written_ms = Some(now_ms),
            Err(error) => tracing::error!(%error, "the beacons of rounds are not kept"),
        }
    }

    /// Takes the entries that say which beacons are used; whether any is new.
    ///
    /// # Errors
    /// What is wrong with one. Those before it are taken.
    fn learn(&mut self, entries: &[String], now_ms: u64) -> Result<bool, String> {
        let known = self.kept.len();
        for entry in entries {
            let used = Used::open(entry.as_bytes(), &self.authority).ok_or(
                "the broker shows an entry about beacons that is not signed by the directory's key",
            )?;
            if self.table.uses().contains(&used) {
                continue;
            }
            let says = format!(
                "the broker shows that rounds from {} on take their values from {}",
                used.from_round, used.beacon
            );
            let begins_ms = self.table.anchor().begins_ms(used.from_round);
            let was_told = |told_ms: u64| told_ms.saturating_add(SKEW_S * 1000) > begins_ms;
            if begins_ms <= now_ms && self.told_ms.is_some_and(was_told) {
                return Err(format!("{says}, which have begun, and did not before"));
            }
            let added = self.table.add(used);
            added.map_err(|why| format!("{says}: {why}"))?;
            self.kept.push(entry.clone());
        }
        Ok(self.kept.len() > known)
    }

    /// Whether a value is that of the round's beacon.
    ///
    /// # Errors
    /// Why it is not to be worked by.
    pub(super) fn check(
        &mut self,
        round: u64,
        value: &[u8; 32],
        signature: Option<&str>,
    ) -> Result<(), String> {
        let beacon = self.table.beacon(round);
        if self.wanted.is_some_and(|wanted| wanted != beacon) {
            return Err(format!(
                "round {round} takes its value from {beacon}, which is not what this checker was given with --beacon"
            ));
        }
        match beacon {
            Beacon::Chain if self.is_of_chain(round, value) => Ok(()),
            Beacon::Chain => {
                Err("the value that the broker gives the round is not the chain's".to_owned())
            }
            Beacon::Drand(network) if network != QUICKNET && self.wanted.is_none() => Err(format!(
                "round {round} takes its value from {beacon}, which is not quicknet; name it with --beacon to work by it"
            )),
            Beacon::Drand(_) => self.is_of_drand(round, value, signature),
        }
    }

    fn is_of_drand(
        &mut self,
        round: u64,
        value: &[u8; 32],
        signature: Option<&str>,
    ) -> Result<(), String> {
        if self.drawn == Some((round, *value)) {
            return Ok(());
        }
        let signature: [u8; 48] = signature.and_then(array_from_hex).ok_or(
            "the broker gives the round no signature of drand, which it takes its value from",
        )?;
        let found = self.table.value(round, &signature);
        let found =
            found.map_err(|why| format!("the broker gives a signature that is none {why}"))?;
        if found != *value {
            return Err(
                "the value that the broker gives the round is not of its signature".to_owned(),
            );
        }
        self.drawn = Some((round, *value));
        Ok(())
    }

    /// Whether `value` is the chain's for that round.
    fn is_of_chain(&mut self, round: u64, value: &[u8; 32]) -> bool {
        let (known, of) = match round > self.newest.0 {
            true => self.newest,
            false if round == self.newest.0 => return *value == self.newest.1.0,
            false => (0, self.table.anchor().anchor),
        };
        let holds = chain::verify((known, &of), round, value);
        if holds && round > self.newest.0 {
            self.newest = (round, KeyId(*value));
        }
        holds
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_proof::beacon::drand::fixture::Signer;
    use nearlight_proof::encoding::{hex, sha256};
    use nearlight_proof::key::SecretKey;

    fn value(round: u64) -> [u8; 32] {
        chain::value(&[6; 32], 100, round).unwrap()
    }

    fn anchor() -> Anchor {
        Anchor {
            anchor: KeyId(value(0)),
            genesis_ms: 1_000_000,
            length: 100,
            round_ms: 60_000,
        }
    }

    fn authority() -> SecretKey {
        SecretKey::from_seed(&[8; 32])
    }

    fn rounds(wanted: Option<Beacon>) -> Rounds {
        Rounds::new(anchor(), authority().public(), wanted)
    }

    fn entry(beacon: Beacon, from_round: u64) -> String {
        let used = Used {
            anchor: anchor().anchor,
            beacon,
            from_round,
        };
        String::from_utf8(used.sign(&authority()).unwrap()).unwrap()
    }

    #[test]
    fn a_value_is_the_chains_whether_it_is_newer_or_older_than_the_last() {
        let mut rounds = rounds(None);
        for round in [5, 5, 90, 7] {
            assert!(rounds.check(round, &value(round), None).is_ok(), "{round}");
            assert!(rounds.check(round, &value(round + 1), None).is_err());
        }
        assert!(rounds.check(101, &[6; 32], None).is_err());
    }

    #[test]
    fn a_round_of_drand_is_worked_by_with_the_signature_of_the_rule_alone() {
        let signer = Signer::new(5);
        let network = signer.network(1_000, 3);
        let drand = Beacon::Drand(network);
        let mut rounds = rounds(Some(drand));
        assert_eq!(rounds.learn(&[entry(drand, 1)], 0), Ok(true));
        assert_eq!(rounds.learn(&[entry(drand, 1)], 0), Ok(false));
        // Round 2 begins at 1060 s, when round 21 of the network is due.
        let of = |n| {
            let signature = signer.sign(n);
            (sha256(&[&signature]), hex(&signature))
        };
        let (right, signature) = of(21);
        for other in [20, 22] {
            let (value, signature) = of(other);
            let why = rounds.check(2, &value, Some(&signature)).unwrap_err();
            assert!(why.contains("round 21 of drand"), "{why}");
        }
        assert!(rounds.check(2, &value(2), None).is_err(), "the chain's");
        assert!(rounds.check(2, &right, None).is_err(), "unsigned");
        assert!(rounds.check(2, &[1; 32], Some(&signature)).is_err());
        assert!(rounds.check(2, &right, Some(&signature)).is_ok());
        assert!(rounds.check(2, &right, None).is_ok(), "it is known");
        assert!(rounds.check(3, &right, Some(&signature)).is_err());
    }

    #[test]
    fn a_broker_cannot_take_a_beacon_back_nor_name_one_of_its_own() {
        let own = Beacon::Drand(Signer::new(5).network(1_000, 3));
        let mut known = rounds(None);
        let quicknet = entry(Beacon::Drand(QUICKNET), 3);
        assert_eq!(known.learn(std::slice::from_ref(&quicknet), 0), Ok(true));
        assert_eq!(known.learn(&[], 0), Ok(false));
        assert!(known.learn(&[entry(Beacon::Chain, 3)], 0).is_err());
        assert!(known.learn(&[quicknet.replace("3", "4")], 0).is_err());
        assert!(known.check(2, &value(2), None).is_ok());
        assert!(known.check(3, &value(3), None).is_err());
        let mut strange = rounds(None);
        strange.learn(&[entry(own, 1)], 0).unwrap();
        let why = strange.check(2, &value(2), None).unwrap_err();
        assert!(why.contains("not quicknet"), "{why}");
        // Who is told to work by quicknet alone does nothing of the chain's.
        let mut strict = rounds(Some(Beacon::Drand(QUICKNET)));
        assert!(strict.check(2, &value(2), None).is_err());
    }

    fn network() -> Network {
        Network {
            url: String::new(),
            addresses: Vec::new(),
            operator: String::new(),
            directory_key: hex(authority().public().as_bytes()),
            chain: String::from_utf8(anchor().sign(&authority()).unwrap()).unwrap(),
            authorities: None,
        }
    }

    fn started(dir: &tempfile::TempDir) -> Rounds {
        Rounds::open(dir.path(), &network(), None).unwrap()
    }

    /// It shows another entry, of rounds that never come, in place of the one that it regrets.
    #[test]
    fn a_broker_that_shows_something_else_makes_a_checker_forget_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let quicknet = |round| entry(Beacon::Drand(QUICKNET), round);
        started(&dir).learn_for_good(dir.path(), &[quicknet(5)]);
        started(&dir).learn_for_good(dir.path(), &[quicknet(1_000_000_000_000)]);
        let mut known = started(&dir);
        assert!(known.check(6, &value(6), None).is_err());
        assert!(known.check(4, &value(4), None).is_ok());
        assert_eq!(known.table.uses().len(), 2);

        // What stands before one that is wrong is kept.
        let dir = tempfile::tempdir().unwrap();
        let wrong = entry(Beacon::Chain, 4);
        started(&dir).learn_for_good(dir.path(), &[quicknet(5), wrong]);
        assert!(started(&dir).check(6, &value(6), None).is_err());
    }

    #[test]
    fn a_beacon_that_is_shown_when_its_rounds_have_begun_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let late = [entry(Beacon::Drand(QUICKNET), 5)];
        started(&dir).learn_for_good(dir.path(), &[]);
        // Over a restart, too.
        let mut known = started(&dir);
        known.learn_for_good(dir.path(), &late);
        assert!(known.check(6, &value(6), None).is_ok());
        assert!(started(&dir).table.uses().is_empty());
        // Nobody could have told a checker that was away.
        let begins_ms = anchor().begins_ms(5);
        for (told_ms, is_taken) in [(begins_ms - 299_999, false), (begins_ms - 300_000, true)] {
            let mut known = rounds(None);
            known.told_ms = Some(told_ms);
            assert_eq!(known.learn(&late, begins_ms).is_ok(), is_taken, "{told_ms}");
        }
        let mut known = rounds(None);
        known.told_ms = Some(begins_ms - 1);
        assert_eq!(known.learn(&late, begins_ms - 1), Ok(true), "in time");
    }
}
