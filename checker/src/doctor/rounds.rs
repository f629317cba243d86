//! Whether the round that a broker tells is one that `run` works by.
//!
//! **What it does not know:** what the log says now. `run` is told of that, and keeps it.

use super::SKEW_MAX;
use crate::broker::{Broker, Refused};
use crate::failure::Failure;
use crate::member::{self, Network};
use nearlight_kit::clock::unix_ms;
use nearlight_proof::beacon::anchor::Anchor;
use nearlight_proof::beacon::used::{Beacon, Timetable, Used};
use nearlight_proof::beacon::{chain, drand};
use nearlight_proof::encoding::{array_from_hex, hex};
use nearlight_proof::receipt::verify::SKEW_S;
use nearlight_protocol::checker::BeaconRound;
use nearlight_protocol::problem::ProblemType;
use std::path::Path;

/// What this checker knows of rounds, whatever the broker says now.
pub(super) struct Known {
    /// The chain, and the beacons that `run` was told of and keeps.
    kept: Timetable,
    /// When `run` was told of beacons the last time, Unix milliseconds; `None` if it never was.
    told_ms: Option<u64>,
    wanted: Option<Beacon>,
}

impl Known {
    pub(super) fn of(
        data: &Path,
        network: &Network,
        wanted: Option<Beacon>,
    ) -> Result<Self, Failure> {
        let (mut kept, authority) = (Timetable::new(network.anchor()?), network.authority()?);
        let (entries, told_ms) = member::beacons(data)?.unzip();
        for entry in entries.unwrap_or_default() {
            let used = Used::open(entry.as_bytes(), &authority).ok_or_else(|| {
                Failure::Beacon("what this checker keeps of beacons is not signed by the directory's key, and `run` does not start with it".to_owned())
            })?;
            let added = kept.add(used);
            added.map_err(|why| {
                Failure::Beacon(format!(
                    "what this checker keeps of beacons: {why}; `run` does not start with it"
                ))
            })?;
        }
        Ok(Self {
            kept,
            told_ms,
            wanted,
        })
    }

    /// Whether `run`, which keeps another beacon of this round, would take an entry about it now: of rounds after all that it
    /// knows entries of, if it was not told since minutes before.
    fn may_learn(&self, round: u64) -> bool {
        let begins_ms = self.kept.anchor().begins_ms(round);
        let was_told = |told_ms: u64| told_ms.saturating_add(SKEW_S * 1000) > begins_ms;
        let last = self.kept.uses().last().map_or(0, |of| of.from_round);
        round > last && !self.told_ms.is_some_and(was_told)
    }

    /// Whether `run` works by this beacon in this round; what is to be added to that.
    fn agrees(&self, round: u64, said: Beacon) -> Result<&'static str, String> {
        let kept = self.kept.beacon(round);
        let says = format!("the broker says that round {round} takes its value from {said}");
        match (self.wanted, said) {
            (Some(wanted), _) if wanted != said => Err(format!("{says}, and --beacon {wanted}")),
            _ if kept != said && !self.may_learn(round) => Err(format!(
                "{says}, and the log said {kept}, which this checker keeps and works by; ask its operator why"
            )),
            (None, Beacon::Drand(network)) if network != drand::QUICKNET => Err(format!(
                "{says}, which is not quicknet; if you believe it, name it with --beacon, here and to `run`"
            )),
            _ if kept != said && self.told_ms.is_some() => {
                Ok("; `run` was not told of this beacon yet, and takes it if the log has it")
            }
            (_, Beacon::Chain | Beacon::Drand(_)) => Ok(""),
        }
    }
}

/// The round of this moment, or the one before where the clocks differ a little, held to what is known of it.
pub(super) fn round_of(broker: &Broker, known: &Known) -> Result<String, String> {
    let anchor = known.kept.anchor();
    let skew_ms = u64::try_from(SKEW_MAX.as_millis()).unwrap_or(0);
    let round = anchor.round_at(unix_ms().saturating_sub(skew_ms));
    let mut round =
        round.ok_or("the network's chain has no more rounds; its operator has to begin another")?;
    if round == 0 {
        return Ok("the network's rounds have not begun yet".to_owned());
    }
    // One that takes its value from drand has it a few seconds after it began.
    let told = match broker.round(round) {
        Err(Refused::Said(ProblemType::NotFound, _)) if round > 1 => {
            round -= 1;
            broker.round(round)
        }
        told => told,
    };
    let told = told.map_err(|error| {
        format!("the broker does not tell round {round}, which has begun by this machine's clock: {error}")
    })?;
    let value: Option<[u8; 32]> = array_from_hex(&told.value);
    // Brokers of before have a chain alone, and do not say so.
    let said = told.beacon.parse().unwrap_or(Beacon::Chain);
    let more = known.agrees(round, said)?;
    if let Beacon::Drand(network) = said {
        return round_of_drand(anchor, network, (round, &told)).map(|found| found + more);
    }
    match value.is_some_and(|value| chain::verify((0, &anchor.anchor), round, &value)) {
        true => Ok(format!(
            "round {round} of the network's chain, verified{more}"
        )),
        false => Err(format!(
            "the broker's value of round {round} is not of the chain that this checker came in with; join again, and ask why"
        )),
    }
}

/// A round that takes its value from drand.
fn round_of_drand(
    anchor: &Anchor,
    network: drand::Network,
    (round, told): (u64, &BeaconRound),
) -> Result<String, String> {
    if told.void {
        return Err(format!(
            "round {round} is void: the broker had no value of {network} in time; its operator has to let it reach a relay"
        ));
    }
    let mut table = Timetable::new(anchor.clone());
    let used = Used {
        anchor: anchor.anchor,
        beacon: Beacon::Drand(network),
        from_round: round,
    };
    table.add(used).map_err(|error| error.to_string())?;
    let signature = told.signature.as_deref().and_then(array_from_hex);
    let signature = signature.ok_or("the broker's round of drand has no signature")?;
    let value = table.value(round, &signature);
    let value = value.map_err(|why| format!("the broker gives a signature that is none {why}"))?;
    let (_, of) = table.drand(round).unwrap_or((network, 0));
    match hex(&value) == told.value {
        true => Ok(format!(
            "round {round} of the network, which is round {of} of {network}, verified"
        )),
        false => Err(format!(
            "the broker's value of round {round} is not of its signature"
        )),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_proof::beacon::drand::fixture::Signer;
    use nearlight_proof::key::KeyId;

    /// It believed whatever network of drand the broker named.
    #[test]
    fn a_beacon_that_is_not_the_one_that_is_known_is_named() {
        let drand = |seed| Beacon::Drand(Signer::new(seed).network(1_000, 3));
        let quicknet = Beacon::Drand(drand::QUICKNET);
        let anchor = Anchor {
            anchor: KeyId([9; 32]),
            genesis_ms: 1_000_000,
            length: 100,
            round_ms: 60_000,
        };
        let known = |kept: Option<Beacon>, wanted| {
            let mut table = Timetable::new(anchor.clone());
            let of = |beacon| Used {
                anchor: anchor.anchor,
                beacon,
                from_round: 5,
            };
            let _ = kept.map(|beacon| table.add(of(beacon)));
            Known {
                // As it is while `run` runs.
                told_ms: kept.map(|_| anchor.begins_ms(7) - 299_999),
                kept: table,
                wanted,
            }
        };
        let cases = [
            (None, None, Beacon::Chain, ""),
            (None, None, quicknet, ""),
            (None, None, drand(5), "which is not quicknet"),
            (None, Some(drand(5)), drand(5), ""),
            (None, Some(drand(5)), drand(6), "and --beacon drand:"),
            (None, Some(quicknet), Beacon::Chain, "and --beacon quicknet"),
            (Some(quicknet), None, quicknet, ""),
            (Some(quicknet), None, Beacon::Chain, "the log said quicknet"),
            (Some(quicknet), None, drand(5), "the log said quicknet"),
            (Some(drand(5)), None, drand(5), "which is not quicknet"),
            (Some(drand(5)), Some(drand(5)), drand(5), ""),
            // A way back to the chain is an entry as any other.
            (Some(Beacon::Chain), None, quicknet, "the log said chain"),
        ];
        for (kept, wanted, said, words) in cases {
            let known = known(kept, wanted);
            match known.agrees(7, said) {
                Ok(_) => assert_eq!(words, "", "{said} {kept:?} {wanted:?}"),
                Err(why) => assert!(!words.is_empty() && why.contains(words), "{why}"),
            }
            let is_chain = known.wanted.is_none_or(|of| of == Beacon::Chain);
            assert_eq!(known.agrees(4, Beacon::Chain).is_ok(), is_chain, "before");
        }
        let mut known = known(Some(quicknet), None);
        assert!(known.agrees(4, quicknet).is_err(), "before its entry");
        // `run` was off while the network changed in order: it takes that when it starts again, but nothing of before.
        known.told_ms = Some(anchor.begins_ms(7) - 300_000);
        let more = known.agrees(7, Beacon::Chain).unwrap();
        assert!(more.contains("was not told of this beacon yet"), "{more}");
        assert_eq!(known.agrees(7, quicknet), Ok(""));
        assert!(known.agrees(4, quicknet).is_err());
        assert!(known.agrees(7, drand(5)).is_err(), "not quicknet");
    }
}
