//! Where rounds take their values from: the chain, or a beacon outside, from a round on that the log has.
//!
//! ```text
//!   round begins --the drand round of the rule is due--> relays --signature that verifies--> drawn
//!        `--half a round without one--> void
//! ```
//!
//! **Invariants.** Nobody is assigned in a round before its value is in the ledger, and that is the rule's or none: where no
//! relay has it the round waits, and is void after half of its length. What the ledger has first stays, whichever broker
//! wrote it. No round begins with a beacon of which the log has no entry.

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
/// Rounds until another beacon is used: its entry stands in the log by then.
const ROUNDS_AHEAD: u64 = 2;

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
        if let Err(error) = checks.draw(&relays, &mut seen).await {
            tracing::debug!(%error, "the round of checks has no value yet");
        }
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

    async fn draw(&self, relays: &Relays, seen: &mut Seen) -> Result<(), ChecksError> {
        let Some(mut table) = self.timetable().await? else {
            return Ok(());
        };
        if !seen.is_told {
            self.use_beacon(&table).await?;
            seen.is_told = true;
            table = self.timetable().await?.unwrap_or(table);
        }
        self.log_used(&table).await?;
        let now_ms = self.clock.unix_ms();
        let round = table.anchor().round_at(now_ms).unwrap_or(0);
        let Some((network, of)) = table.drand(round).filter(|_| round > seen.settled) else {
            return Ok(());
        };
        if self.ledger.drawn((round, round)).await?.is_empty() {
            let is_due = network
                .due_s(of)
                .is_some_and(|due_s| due_s * 1000 <= now_ms);
            if !is_due {
                return Ok(());
            }
            let signature = self.ask(relays, (network, of), round, seen).await;
            let is_late = table.waits_until_ms(round) <= self.clock.unix_ms();
            let signature = match (signature, is_late) {
                (Some(signature), false) => hex(&signature),
                (None, false) => {
                    metrics::checks_round_waits(true);
                    return Ok(());
                }
                (_, true) => String::new(),
            };
            let is_void = signature.is_empty();
            let change = CheckChange::Draw { round, signature };
            self.write(vec![change]).await?;
            if is_void {
                tracing::error!(
                    round,
                    "no relay gave the round's value in time: it is void, and nobody is assigned in it"
                );
            }
            metrics::checks_round(if is_void { "void" } else { "drawn" });
        }
        metrics::checks_round_waits(false);
        seen.settled = round;
        Ok(())
    }

    async fn ask(
        &self,
        relays: &Relays,
        (network, of): (Network, u64),
        round: u64,
        seen: &mut Seen,
    ) -> Option<[u8; 48]> {
        let asking = relays.clone();
        let asked = tokio::task::spawn_blocking(move || asking.ask(&network, of)).await;
        match asked.ok()? {
            Ok(signature) => Some(signature),
            Err(failed) => {
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
        }
    }

    /// The beacon of the settings is used from a round to come, if another one is now.
    async fn use_beacon(&self, table: &Timetable) -> Result<(), ChecksError> {
        let wanted = self.settings.beacon;
        let used = table.uses().last().map_or(Beacon::Chain, |of| of.beacon);
        let Some(round) = table.anchor().round_at(self.clock.unix_ms()) else {
            return Ok(());
        };
        if used == wanted {
            return Ok(());
        }
        let from_round = match round {
            0 => 1,
            begun => begun + ROUNDS_AHEAD,
        };
        tracing::warn!(%used, %wanted, from_round, "rounds of checks take their values from another beacon");
        let row = BeaconRow {
            from_round,
            beacon: wanted.to_string(),
        };
        self.write(vec![CheckChange::UseBeacon(row)]).await?;
        Ok(())
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
