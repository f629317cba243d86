//! Where rounds take their values from: the chain, or a beacon outside, from a round on that the log has.
//!
//! ```text
//!   round begins --the drand round of the rule is due--> relays --signature that verifies--> drawn
//!        `--half a round without one: nobody draws it any more--the next one begins--> void
//! ```
//!
//! **Invariants.** Nobody is assigned in a round before its value is in the ledger, and that is the rule's or none: where no
//! relay has it the round waits, and takes none after half of its length. What the ledger has first stays, whichever broker
//! wrote it; that it is void is written when the round is over, so that one broker's clock does not void another's round. No
//! round begins with a beacon of which the log has no entry.

use super::chain::Chain;
use super::relays::{NoRound, Relays};
use super::{Checks, ChecksError};
use crate::ledger::{BeaconRow, ChainRow, CheckChange, DrawnRounds, StoreError};
use crate::metrics;
use crate::receipts::LogError;
use nearlight_proof::beacon::drand::Network;
use nearlight_proof::beacon::used::{Beacon, Timetable, Used};
use nearlight_proof::encoding::{array_from_hex, hex, sha256};
use nearlight_proof::log::tree::Hash;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often is looked whether a value is wanted, at most and at least.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));
/// Rounds until another beacon is used: its entry stands in the log by then. Of rounds of a minute, as shipped, that is twice
/// what times of the log may be off by, which an audit asks for once.
const ROUNDS_AHEAD: u64 = 10;
/// A round has so many of a beacon outside at least: half of it is waited for one.
const PERIODS_MIN: u64 = 4;

/// What a round that has begun has for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drawing {
    /// It is not there yet.
    Waits,
    /// It was not there in time: nobody is assigned.
    Void,
    /// Its value, and the signature that it is made of if a beacon outside gave it.
    Drawn(Hash, Option<[u8; 48]>),
}

/// What is remembered between two looks.
#[derive(Debug, Default)]
struct Seen {
    /// Whether the beacon of the settings is used, or is going to be.
    is_told: bool,
    /// The last round that has its value, or is void.
    settled: u64,
    /// The last round of which it was said that it waits.
    said: u64,
    /// Relays are not asked before, Unix milliseconds.
    asks_ms: u64,
    /// Whether the last look failed.
    fails: bool,
}

/// A round, the round of drand that it takes its value from, and since when that is missed, Unix milliseconds.
#[derive(Clone, Copy, Debug)]
struct Sought {
    round: u64,
    network: Network,
    of: u64,
    missed_ms: u64,
    until_ms: u64,
}

/// Has rounds get their values until `stop`.
pub(super) async fn keep(checks: Arc<Checks>, stop: CancellationToken) {
    let round = Duration::from_secs(checks.settings.round_s.into());
    let mut beat = tokio::time::interval((round / 8).clamp(LOOK_EVERY.0, LOOK_EVERY.1));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let relays = Relays::new(&checks.settings.beacon_relays);
    let mut seen = Seen::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = beat.tick() => {}
        }
        let drawn = tokio::select! {
            () = stop.cancelled() => return,
            drawn = checks.draw(&relays, &mut seen, &stop) => drawn,
        };
        metrics::checks_round_waits(*drawn.as_ref().unwrap_or(&true));
        if let (Err(error), false) = (&drawn, seen.fails) {
            tracing::warn!(%error, "rounds of checks get no values, and nobody is assigned");
        }
        seen.fails = drawn.is_err();
    }
}

impl Checks {
    /// When rounds begin, and which beacons they take their values from; `None` if there are no rounds.
    pub(crate) async fn timetable(&self) -> Result<Option<Timetable>, ChecksError> {
        let Some(chain) = self.begun_chain().await? else {
            return Ok(None);
        };
        let Some(row) = self.ledger.chain().await? else {
            return Ok(None);
        };
        timetable(chain, &row).map(Some)
    }

    /// What a round has for a value; `None` for one that has not begun, and where there are no rounds.
    pub(crate) async fn drawing(
        &self,
        table: &Timetable,
        round: u64,
    ) -> Result<Option<Drawing>, ChecksError> {
        let now_ms = self.clock.unix_ms();
        let anchor = table.anchor();
        let has_begun = (1..=anchor.length).contains(&round) && anchor.begins_ms(round) <= now_ms;
        if !has_begun {
            return Ok(None);
        }
        if table.drand(round).is_none() {
            let value = self.chain().await?.value(round, now_ms);
            return Ok(value.map(|value| Drawing::Drawn(value, None)));
        }
        let drawn = self.ledger.drawn((round, round)).await?;
        let is_over = anchor.begins_ms(round + 1) <= now_ms;
        Ok(Some(match drawn.get(&round) {
            Some(signature) => of_row(signature)?,
            None if is_over => Drawing::Void,
            None => Drawing::Waits,
        }))
    }

    /// What a beacon outside gave for rounds, from one to another of them.
    pub(crate) async fn signatures(&self, span: (u64, u64)) -> Result<DrawnRounds, StoreError> {
        self.ledger.drawn(span).await
    }

    /// The values of those of these rounds that a beacon outside gave.
    pub(crate) async fn drawn(
        &self,
        table: &Timetable,
        rounds: BTreeSet<u64>,
    ) -> Result<BTreeMap<u64, Hash>, ChecksError> {
        let mut values = BTreeMap::new();
        for round in rounds {
            if table.drand(round).is_none() {
                continue;
            }
            let drawn = self.ledger.drawn((round, round)).await?;
            let of = drawn.get(&round).map(|signature| of_row(signature));
            if let Some(Drawing::Drawn(value, _)) = of.transpose()? {
                values.insert(round, value);
            }
        }
        Ok(values)
    }

    /// The entries that say which beacons are used. The log has those of rounds in which somebody is assigned.
    pub(crate) async fn entries(&self) -> Result<Vec<String>, ChecksError> {
        let Some(table) = self.timetable().await? else {
            return Ok(Vec::new());
        };
        let signed = table
            .uses()
            .iter()
            .filter_map(|of| self.receipts.signed(of));
        let text = |entry: Vec<u8>| String::from_utf8_lossy(&entry).into_owned();
        Ok(signed.map(text).collect())
    }

    /// Whether the log has all that a timetable says.
    pub(super) fn is_logged(&self, table: &Timetable) -> bool {
        let logged = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        logged.as_slice() == table.uses()
    }

    /// Whether the round of this moment waits for a value that relays should have.
    async fn draw(
        &self,
        relays: &Relays,
        seen: &mut Seen,
        stop: &CancellationToken,
    ) -> Result<bool, ChecksError> {
        let Some(mut table) = self.timetable().await? else {
            return Ok(false);
        };
        if !seen.is_told {
            seen.is_told = self.use_beacon(&table).await?;
            table = self.timetable().await?.unwrap_or(table);
        }
        self.log_used(&table).await?;
        let now_ms = self.clock.unix_ms();
        let round = table.anchor().round_at(now_ms).unwrap_or(0);
        self.settle_last(&table, round, seen).await?;
        let Some((network, of)) = table.drand(round).filter(|_| round > seen.settled) else {
            return Ok(false);
        };
        if !self.ledger.drawn((round, round)).await?.is_empty() {
            seen.settled = round;
            return Ok(false);
        }
        let due_ms = network.due_s(of).unwrap_or(u64::MAX).saturating_mul(1000);
        let sought = Sought {
            round,
            network,
            of,
            missed_ms: due_ms.saturating_add(network.period_s() * 1000),
            until_ms: table.waits_until_ms(round),
        };
        let waits = sought.missed_ms <= now_ms;
        if now_ms < due_ms.max(seen.asks_ms) || sought.until_ms <= now_ms {
            return Ok(waits);
        }
        seen.asks_ms = now_ms.saturating_add(network.period_s() * 1000);
        let Some(signature) = self.ask((relays, stop), sought, seen).await else {
            return Ok(waits);
        };
        if sought.until_ms <= self.clock.unix_ms() {
            return Ok(true);
        }
        let signature = hex(&signature);
        let drawn = self.settled(CheckChange::Draw { round, signature });
        metrics::checks_round(if drawn.await? { "drawn" } else { "void" });
        seen.settled = round;
        Ok(false)
    }

    /// The round before is over: without a value it is void, and stays so.
    async fn settle_last(
        &self,
        table: &Timetable,
        round: u64,
        seen: &mut Seen,
    ) -> Result<(), ChecksError> {
        let last = round.saturating_sub(1);
        if last <= seen.settled || table.drand(last).is_none() {
            return Ok(());
        }
        if self.ledger.drawn((last, last)).await?.is_empty() {
            let void = CheckChange::Draw {
                round: last,
                signature: String::new(),
            };
            if !self.settled(void).await? {
                metrics::checks_round("void");
                tracing::error!(
                    round = last,
                    "no relay gave the round's value in time: it is void, and nobody was assigned in it"
                );
            }
        }
        seen.settled = last;
        Ok(())
    }

    /// Writes what a round has, and whether it has a value then: another broker may have been first.
    async fn settled(&self, change: CheckChange) -> Result<bool, ChecksError> {
        let CheckChange::Draw { round, .. } = &change else {
            return Ok(false);
        };
        let round = *round;
        self.write(vec![change]).await?;
        let drawn = self.ledger.drawn((round, round)).await?;
        Ok(drawn.values().any(|signature| !signature.is_empty()))
    }

    async fn ask(
        &self,
        (relays, stop): (&Relays, &CancellationToken),
        sought: Sought,
        seen: &mut Seen,
    ) -> Option<[u8; 48]> {
        let Sought {
            round, network, of, ..
        } = sought;
        let left_ms = sought.until_ms.saturating_sub(self.clock.unix_ms());
        let within = Duration::from_millis(left_ms);
        let (asking, stop) = (relays.clone(), stop.clone());
        let asked = tokio::task::spawn_blocking(move || asking.ask((&network, of), within, &stop));
        let failed = match asked.await.ok()? {
            Ok(signature) => return Some(signature),
            Err(failed) => failed,
        };
        // A relay has a round some time after it is due.
        if self.clock.unix_ms() < sought.missed_ms {
            return None;
        }
        let names = failed.iter().map(|(_, why)| why.name());
        names.for_each(metrics::checks_relay_failed);
        if seen.said < round {
            seen.said = round;
            let why = in_words(&failed);
            tracing::warn!(round, drand_round = of, %why,
                "the round waits, and nobody is assigned in it until a relay has its value: let this host reach one, or name others in `checks.beacon_relays`");
        }
        None
    }

    /// The beacon of the settings is used from a round to come, if another one is now; whether that is so, or never will be.
    async fn use_beacon(&self, table: &Timetable) -> Result<bool, ChecksError> {
        let wanted = self.settings.beacon;
        let used = table.uses().last().map_or(Beacon::Chain, |of| of.beacon);
        if used == wanted {
            return Ok(true);
        }
        let Some(round) = table.anchor().round_at(self.clock.unix_ms()) else {
            return Ok(true);
        };
        if let Beacon::Drand(network) = wanted
            && table.anchor().round_ms < PERIODS_MIN * network.period_s() * 1000
        {
            tracing::error!(%used, %wanted, round_ms = table.anchor().round_ms,
                "the rounds of this network's chain are too short for the beacon of `checks.beacon`, which is not used");
            return Ok(true);
        }
        let from_round = match round {
            0 => 1,
            begun => begun + ROUNDS_AHEAD,
        };
        let row = BeaconRow {
            from_round,
            beacon: wanted.to_string(),
        };
        let beacon = row.beacon.clone();
        self.write(vec![CheckChange::UseBeacon(row)]).await?;
        // Another broker may have written one of its own, of later rounds: it is tried again.
        let known = self.ledger.chain().await?;
        let last = known.and_then(|chain| chain.used.last().cloned());
        let is_used = last.is_some_and(|of| of.beacon == beacon);
        if is_used {
            tracing::warn!(%used, %wanted, from_round, "rounds of checks take their values from another beacon");
        }
        Ok(is_used)
    }

    async fn log_used(&self, table: &Timetable) -> Result<(), ChecksError> {
        if self.is_logged(table) {
            return Ok(());
        }
        for used in table.uses() {
            self.receipts.log_used(used).await?;
        }
        let mut logged = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        *logged = table.uses().to_vec();
        Ok(())
    }
}

fn timetable(chain: &Chain, row: &ChainRow) -> Result<Timetable, ChecksError> {
    let corrupt = || ChecksError::from(StoreError::Corrupt("beacon_used".to_owned()));
    let mut table = Timetable::new(chain.anchor.clone());
    for of in &row.used {
        let used = Used {
            anchor: chain.anchor.anchor,
            beacon: of.beacon.parse().map_err(|_| corrupt())?,
            from_round: of.from_round,
        };
        table.add(used).map_err(|_| corrupt())?;
    }
    Ok(table)
}

/// What the ledger has of a round. Signatures are verified before they are written.
fn of_row(signature: &str) -> Result<Drawing, ChecksError> {
    if signature.is_empty() {
        return Ok(Drawing::Void);
    }
    let corrupt = || LogError::from(StoreError::Corrupt("beacon_round".to_owned()));
    let signature: [u8; 48] = array_from_hex(signature).ok_or_else(corrupt)?;
    Ok(Drawing::Drawn(sha256(&[&signature]), Some(signature)))
}

fn in_words(failed: &[(String, NoRound)]) -> String {
    let one = |(url, why): &(String, NoRound)| format!("{url} {why}");
    failed.iter().map(one).collect::<Vec<_>>().join("; ")
}
