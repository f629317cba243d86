//! Which beacon a network's rounds take their values from, and since which round: entries of the log.
//!
//! ```text
//!   anchor in the log --> when each round begins --rule--> the round of drand that it takes its value from
//!   entries after it --> from round N on: the chain, or a network of drand
//! ```
//!
//! **The rule**: a round takes the first round of drand that is due when it begins, or after that. So nobody knows its
//! value before, and nobody chooses it. It waits for it for half of its length; a round that has none by then is void.
//!
//! **Invariants.** An entry is about rounds that come after those of all entries before it. Without any the chain has all
//! rounds.
//!
//! **What it does not know:** what time it is, what relays say, whether a round is void.

use super::anchor::Anchor;
use super::drand::{DrandError, Network};
use super::entry;
use crate::key::{KeyId, PublicKey, SecretKey};
use crate::log::tree::Hash;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The type of an entry's payload.
pub const BEACON: &str = "application/vnd.nearlight.beacon.v1+json";
/// What text calls the hash chain.
const CHAIN: &str = "chain";

/// Where values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Beacon {
    /// The hash chain of the anchor.
    Chain,
    /// A network of drand.
    Drand(Network),
}

/// Text that names no beacon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a beacon is `chain`, `quicknet`, or `drand:KEY:GENESIS_S:PERIOD_S` with the network's key in 192 hex digits"
)]
pub struct NoBeacon;

impl fmt::Display for Beacon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain => f.write_str(CHAIN),
            Self::Drand(network) => network.fmt(f),
        }
    }
}

impl FromStr for Beacon {
    type Err = NoBeacon;

    fn from_str(text: &str) -> Result<Self, NoBeacon> {
        match text {
            CHAIN => Ok(Self::Chain),
            _ => text.parse().map(Self::Drand).map_err(|_| NoBeacon),
        }
    }
}

impl From<Beacon> for String {
    fn from(beacon: Beacon) -> Self {
        beacon.to_string()
    }
}

impl TryFrom<String> for Beacon {
    type Error = NoBeacon;

    fn try_from(text: String) -> Result<Self, NoBeacon> {
        text.parse()
    }
}

/// From which round on which beacon is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Used {
    /// The anchor of the rounds that it is about.
    pub anchor: KeyId,
    /// The beacon.
    pub beacon: Beacon,
    /// The first round.
    pub from_round: u64,
}

impl Used {
    /// As an entry of the log.
    #[must_use]
    pub fn sign(&self, authority: &SecretKey) -> Option<Vec<u8>> {
        let bytes = entry::sign(BEACON, self, authority)?;
        Self::open(&bytes, &authority.public())?;
        Some(bytes)
    }

    /// Reads one that `authority` signed.
    #[must_use]
    pub fn open(bytes: &[u8], authority: &PublicKey) -> Option<Self> {
        let read: Self = entry::open(BEACON, bytes, authority)?;
        (read.from_round > 0).then_some(read)
    }
}

/// Why an entry is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotUsed {
    /// It is about the rounds of another anchor.
    #[error("it is about the rounds of another anchor")]
    OtherAnchor,
    /// It changes rounds that an entry before it is about.
    #[error("it changes rounds that an entry before it is about")]
    Backwards,
}

/// Why a signature makes no value of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDrawn {
    /// The round takes its value from the chain.
    #[error("the round takes its value from the chain")]
    OfChain,
    /// Its signature.
    #[error("of round {0} of drand, which it takes its value from by rule: {1}")]
    Drand(u64, DrandError),
}

/// A network's rounds: when each begins, and where its value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timetable {
    anchor: Anchor,
    uses: Vec<Used>,
}

impl Timetable {
    /// All rounds take their values from the chain.
    #[must_use]
    pub const fn new(anchor: Anchor) -> Self {
        Self {
            anchor,
            uses: Vec::new(),
        }
    }

    /// The next entry of the log. One that is there already changes nothing.
    ///
    /// # Errors
    /// [`NotUsed`].
    pub fn add(&mut self, used: Used) -> Result<(), NotUsed> {
        if used.anchor != self.anchor.anchor {
            return Err(NotUsed::OtherAnchor);
        }
        if self.uses.contains(&used) {
            return Ok(());
        }
        let last = self.uses.last().map_or(0, |of| of.from_round);
        if used.from_round <= last {
            return Err(NotUsed::Backwards);
        }
        self.uses.push(used);
        Ok(())
    }

    /// When rounds begin.
    #[must_use]
    pub const fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// All entries, by their rounds.
    #[must_use]
    pub fn uses(&self) -> &[Used] {
        &self.uses
    }

    /// Where a round takes its value from.
    #[must_use]
    pub fn beacon(&self, round: u64) -> Beacon {
        let mut newest_first = self.uses.iter().rev();
        let of = newest_first.find(|of| of.from_round <= round);
        of.map_or(Beacon::Chain, |of| of.beacon)
    }

    /// The network and the round of drand that a round takes its value from; `None` for one of the chain.
    #[must_use]
    pub fn drand(&self, round: u64) -> Option<(Network, u64)> {
        match self.beacon(round) {
            Beacon::Chain => None,
            Beacon::Drand(network) => {
                let begins_ms = self.anchor.begins_ms(round);
                Some((network, network.first_from(begins_ms)))
            }
        }
    }

    /// A round's value, from the signature of the round of drand that it takes it from.
    ///
    /// # Errors
    /// [`NotDrawn`].
    pub fn value(&self, round: u64, signature: &[u8; 48]) -> Result<Hash, NotDrawn> {
        let (network, of) = self.drand(round).ok_or(NotDrawn::OfChain)?;
        let value = network.verify(of, signature);
        value.map_err(|error| NotDrawn::Drand(of, error))
    }

    /// Until when a round waits for its value, Unix milliseconds: what is asked in it needs the rest.
    #[must_use]
    pub const fn waits_until_ms(&self, round: u64) -> u64 {
        self.anchor
            .begins_ms(round)
            .saturating_add(self.anchor.round_ms / 2)
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::beacon::drand::{QUICKNET, fixture::Signer};
    use crate::encoding::{array_from_hex, hex, sha256};

    fn anchor() -> Anchor {
        Anchor {
            anchor: KeyId([9; 32]),
            genesis_ms: 1_000_500,
            length: 100,
            round_ms: 60_000,
        }
    }

    fn used(beacon: Beacon, from_round: u64) -> Used {
        Used {
            anchor: anchor().anchor,
            beacon,
            from_round,
        }
    }

    #[test]
    fn an_entry_is_signed_and_says_one_thing() {
        let key = SecretKey::from_seed(&[4; 32]);
        let one = used(Beacon::Drand(QUICKNET), 3);
        let bytes = one.sign(&key).unwrap();
        assert_eq!(Used::open(&bytes, &key.public()), Some(one));
        let other = SecretKey::from_seed(&[5; 32]).public();
        assert_eq!(Used::open(&bytes, &other), None);
        assert_eq!(used(Beacon::Chain, 0).sign(&key), None);
        assert_eq!("chain".parse(), Ok(Beacon::Chain));
        assert_eq!("drand".parse::<Beacon>(), Err(NoBeacon));
    }

    #[test]
    fn rounds_follow_the_entries_and_none_is_changed_later() {
        let mut table = Timetable::new(anchor());
        let drand = Beacon::Drand(QUICKNET);
        assert_eq!(table.add(used(drand, 5)), Ok(()));
        assert_eq!(table.add(used(drand, 5)), Ok(()), "the same");
        assert_eq!(table.add(used(Beacon::Chain, 5)), Err(NotUsed::Backwards));
        assert_eq!(table.add(used(Beacon::Chain, 8)), Ok(()));
        assert_eq!(table.add(used(drand, 7)), Err(NotUsed::Backwards));
        let other = Used {
            anchor: KeyId([1; 32]),
            ..used(drand, 20)
        };
        assert_eq!(table.add(other), Err(NotUsed::OtherAnchor));
        let of = [4, 5, 7, 8, 100].map(|round| table.beacon(round));
        let chain = Beacon::Chain;
        assert_eq!(of, [chain, drand, drand, chain, chain]);
        assert_eq!(table.drand(8), None);
        assert_eq!(table.uses().len(), 2);
    }

    #[test]
    fn a_round_takes_the_first_value_that_is_due_once_it_has_begun_and_no_other() {
        let signer = Signer::new(3);
        let mut table = Timetable::new(anchor());
        let network = signer.network(1_000, 3);
        table.add(used(Beacon::Drand(network), 1)).unwrap();
        // Round 2 begins at 1060.5 s; rounds of drand are due at 1060 (21) and 1063 s (22).
        assert_eq!(table.drand(2), Some((network, 22)));
        let signature = signer.sign(22);
        assert_eq!(table.value(2, &signature), Ok(sha256(&[&signature])));
        for other in [21, 23] {
            let wrong = table.value(2, &signer.sign(other));
            assert_eq!(wrong, Err(NotDrawn::Drand(22, DrandError::Forged)));
        }
        assert_eq!(table.waits_until_ms(2), 1_090_500);
        let chain = Timetable::new(anchor());
        assert_eq!(chain.value(2, &signature), Err(NotDrawn::OfChain));
    }

    /// docs/verify/verify.py works out the same ones.
    #[test]
    fn a_round_of_quicknet_is_what_the_vectors_say_of_it() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../vectors/quicknet.json")).unwrap();
        for case in file["quicknet"]["rounds"].as_array().unwrap() {
            let number = |name: &str| case[name].as_u64().unwrap();
            let mut table = Timetable::new(Anchor {
                genesis_ms: number("genesis_ms"),
                round_ms: number("round_ms"),
                ..anchor()
            });
            table.add(used(Beacon::Drand(QUICKNET), 1)).unwrap();
            let round = number("round");
            let of = table.drand(round).map(|(_, of)| of);
            assert_eq!(of, Some(number("drand_round")), "{}", case["name"]);
            let signature: [u8; 48] = array_from_hex(case["signature"].as_str().unwrap()).unwrap();
            let value = table.value(round, &signature).ok().map(|value| hex(&value));
            assert_eq!(value.as_deref(), case["value"].as_str(), "{}", case["name"]);
        }
    }
}
