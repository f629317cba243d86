//! Writing down what is due as rounds begin, and what was missed as times end.
//!
//! Each broker does it for the nodes that are attached to it; of what is overdue anyone's word is the same.

use super::draw::Drawing;
use super::plan::{Present, Target, plan};
use super::{Checks, ChecksError, DAY_MS, SeenRound};
use crate::ledger::{AssignmentQuery, AssignmentRow, AssignmentState, CheckChange};
use nearlight_proof::porc::panel::{Cause, Drawn, Panel, Unseated};
use nearlight_proof::porc::schedule::{Due, Duty};
use nearlight_protocol::id::NodeId;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often is looked whether a round has begun, at most and at least.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));
/// Looks between two prunings.
const PRUNE_EVERY: u64 = 3600;
/// For how long it is kept that a node was there, and anything else.
const KEPT_DAYS: (u64, u64) = (3, 400);
/// So many days before the last round it is said every hour.
const WARN_DAYS: u64 = 90;
/// What is noted of a checker that says nothing.
const SILENT: &str = "its checker said nothing until its time was over";

/// What is remembered between two looks.
#[derive(Debug, Default)]
struct Seen {
    round: u64,
    /// The nodes that were attached when a round was first looked at: whoever goes once its value is out goes too late.
    targets: (u64, Vec<Target>),
    /// Node keys and GPUs that were assigned a probe by a whole committee at some time.
    probed: HashSet<(String, String)>,
}

/// Keeps the rounds until `stop`.
pub(super) async fn keep(checks: Arc<Checks>, stop: CancellationToken) {
    let round = Duration::from_secs(checks.settings.round_s.into());
    let mut beat = tokio::time::interval((round / 4).clamp(LOOK_EVERY.0, LOOK_EVERY.1));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seen = Seen::default();
    for looks in 0_u64.. {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = beat.tick() => {}
        }
        if let Err(error) = checks
            .look(&mut seen, looks.is_multiple_of(PRUNE_EVERY))
            .await
        {
            tracing::debug!(%error, "who checks whom is not written down yet");
        }
    }
}

impl Checks {
    async fn look(&self, seen: &mut Seen, prunes: bool) -> Result<(), ChecksError> {
        let Some(table) = self.timetable().await? else {
            return Ok(());
        };
        let now_ms = self.clock.unix_ms();
        let anchor = table.anchor();
        let Some(round) = anchor.round_at(now_ms) else {
            if prunes {
                tracing::error!("the chain of rounds is over: nobody is assigned any more");
            }
            return Ok(());
        };
        let left_ms = anchor.length.saturating_sub(round) * anchor.round_ms;
        if prunes && left_ms < WARN_DAYS * DAY_MS {
            let days = left_ms / DAY_MS;
            tracing::warn!(
                days,
                "the chain of rounds ends, and nobody is assigned after that: see \"What receipts do\" in docs/operations.md"
            );
        }
        if round > seen.round && self.is_logged(&table) {
            if seen.targets.0 != round {
                let attached = self.attached();
                let targets = attached.iter().filter_map(|node| self.target(node));
                seen.targets = (round, targets.collect());
            }
            // One that is drawn in time is looked at within a quarter of it; the rest is for what is asked in it.
            let until_ms = table.waits_until_ms(round) + anchor.round_ms / 4;
            match self.drawing(&table, round).await? {
                Some(Drawing::Waits) => {}
                Some(Drawing::Drawn(_, Some(_))) if until_ms < self.clock.unix_ms() => {
                    seen.round = round;
                }
                Some(Drawing::Drawn(..)) => {
                    self.begin(round, seen).await?;
                    seen.round = round;
                }
                Some(Drawing::Void) | None => seen.round = round,
            }
        }
        self.settle_overdue(now_ms).await?;
        if prunes {
            let before = |days: u64| now_ms.saturating_sub(days * DAY_MS);
            self.write(vec![CheckChange::Prune {
                before_ms: before(KEPT_DAYS.0),
                all_before_ms: before(KEPT_DAYS.1),
            }])
            .await?;
        }
        Ok(())
    }

    /// A round begins: who is due in it, of the nodes that were attached here when it was first looked at.
    async fn begin(&self, number: u64, seen: &mut Seen) -> Result<(), ChecksError> {
        let Some(round) = self.round(number).await? else {
            return Ok(());
        };
        let set = round.set();
        if set.is_empty() {
            return Ok(());
        }
        let rendering = self.directory.rendering();
        let mut targets = seen.targets.1.clone();
        for target in &mut targets {
            target.renders = rendering.contains(&target.node);
            target.capacity_is_due = self.capacity_is_due(target, &round, seen).await?;
        }
        let times = self.times(self.chain().await?, round.began_ms);
        let players = self.players(round.began_ms).await?;
        let present = Present {
            set: &set,
            players: players.as_ref(),
            committee: self.committee(),
        };
        let rows = plan(&round.round, times, &targets, present);
        if !rows.is_empty() {
            tracing::debug!(round = number, assignments = rows.len(), "a round begins");
            self.write(vec![CheckChange::Assign(rows)]).await?;
        }
        Ok(())
    }

    /// Whether a check counts in this round, and is wanted: of the first rounds of a node those are until each of its GPUs
    /// was assigned a whole committee. While there is no committee for it whoever is there looks at once, though it makes no verdict.
    async fn capacity_is_due(
        &self,
        target: &Target,
        round: &SeenRound,
        seen: &mut Seen,
    ) -> Result<bool, ChecksError> {
        let keys = self.receipts.keys().await?;
        let chain = self.begun_chain().await?;
        let panel = Panel {
            directory: &keys.directory,
            chain: chain.map(|chain| &chain.anchor),
            committee: self.committee(),
            capacity_s: self.capacity_s(),
        };
        let drawn = Drawn {
            round: round.round.number,
            value: round.round.value,
        };
        let set = round.checkers.iter();
        let others = set.filter(|of| of.key.operator != target.operator).count();
        let takes = match panel.due(&drawn, &target.key) {
            Ok(Cause::Schedule) => return Ok(true),
            // Those who are there, where keys of a committee have expired since.
            Ok(Cause::First) => self.committee().min(others).max(1),
            Err(Unseated::NotDue) if others < self.committee() => 1,
            Err(_) => return Ok(false),
        };
        for gpu in &target.gpus {
            let of = (target.key.to_string(), gpu.clone());
            if !self.was_probed(of, takes, seen).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The nodes whose streams this broker has.
    fn attached(&self) -> Vec<NodeId> {
        let nodes = self.directory.nodes();
        let here = nodes
            .iter()
            .filter(|of| self.directory.stream(&of.id).is_some());
        here.map(|of| of.id.clone()).collect()
    }

    /// Whether a GPU of a node was assigned a probe by so many at once.
    async fn was_probed(
        &self,
        of: (String, String),
        takes: usize,
        seen: &mut Seen,
    ) -> Result<bool, ChecksError> {
        if seen.probed.contains(&of) {
            return Ok(true);
        }
        let due = Due {
            duty: Duty::Capacity,
            gpu: of.1.clone(),
        };
        let asked = AssignmentQuery::ForDuty {
            node_key: of.0.clone(),
            duty: due.name(),
            place: u32::try_from(takes.saturating_sub(1)).unwrap_or(u32::MAX),
        };
        let was = !self.assignments(asked).await?.is_empty();
        if was && takes == self.committee() {
            seen.probed.insert(of);
        }
        Ok(was)
    }

    async fn settle_overdue(&self, now_ms: u64) -> Result<(), ChecksError> {
        for row in self
            .assignments(AssignmentQuery::Overdue { now_ms })
            .await?
        {
            tracing::info!(round = row.round, node_id = %row.node, duty = row.duty, checker = row.checker, "missed");
            self.miss(&row, SILENT).await?;
        }
        Ok(())
    }

    /// An assignment is missed, and another checker stands in: both, or neither.
    pub(super) async fn miss(&self, row: &AssignmentRow, why: &str) -> Result<(), ChecksError> {
        let mut changes = vec![settled(row, AssignmentState::Missed, why)];
        changes.extend(
            self.stand_in(row)
                .await?
                .map(|row| CheckChange::Assign(vec![row])),
        );
        self.write(changes).await?;
        Ok(())
    }
}

/// An assignment comes to this, without a receipt.
pub(super) fn settled(row: &AssignmentRow, state: AssignmentState, why: &str) -> CheckChange {
    CheckChange::Settle {
        round: row.round,
        node_key: row.node_key.clone(),
        duty: row.duty.clone(),
        checker: row.checker.clone(),
        state,
        why: why.to_owned(),
        leaf: String::new(),
    }
}
