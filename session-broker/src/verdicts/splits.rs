//! Splits: a round in which checkers contradict each other, and of which something was shown, is disputed by the broker
//! itself, so that the referee looks at it though nobody minds.
//!
//! ```text
//!   split -> no dispute over it is open -> all evidence of a receipt that weighs is here, with a record -> dispute/v1
//! ```
//!
//! **Invariants.** One open dispute over a round is enough, whoever filed it. A split of which nothing is shown waits, for
//! nothing could be executed; it counts neither for nor against anybody.
//!
//! **What it does not know:** who is right.

use super::{VerdictError, Verdicts, fold, referee};
use crate::ledger::{CheckRow, DisputeRow, RoundOf, RoundSeen};
use nearlight_proof::key::KeyId;
use nearlight_proof::receipt::directory::Role;
use nearlight_proof::receipt::predicate::{Dispute, Predicate};
use nearlight_proof::receipt::statement::{Assurance, Countersign, Head, Statement, Subject};
use std::collections::HashMap;
use std::sync::PoisonError;

/// Splits that are looked at together: each may have 20 MiB of evidence a receipt.
const SPLITS_MAX: usize = 8;
/// Disputes over a round that are looked at.
const OVER_MAX: u32 = 32;

/// How much evidence had come to this broker when a split was looked at last, and in which minute, for it may have come to
/// another one: as long as that is so there is nothing new to read.
pub(super) type Splits = HashMap<RoundOf, (u64, u64)>;

impl Verdicts {
    /// Files a dispute over each split of which something is shown, while one can.
    pub(super) async fn contest_all(&self) {
        let now_s = self.now_s();
        let since_s = now_s.saturating_sub(self.terms.dispute_ms / 1000);
        let splits = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            known.splits(since_s)
        };
        let seen = (self.receipts.evidence_came(), now_s / 60);
        let new: Vec<RoundOf> = {
            let mut looked = self.splits.lock().unwrap_or_else(PoisonError::into_inner);
            looked.retain(|of, _| splits.contains(of));
            let is_new = |of: &RoundOf| looked.get(of) != Some(&seen);
            let mut new: Vec<RoundOf> = splits.into_iter().filter(is_new).collect();
            // Those first that were not looked at for longest: none is in front of another for long.
            new.sort_by_key(|of| looked.get(of).copied());
            new.truncate(SPLITS_MAX);
            new
        };
        for of in new {
            // One that cannot be looked at keeps no other from it, and is tried again, within a minute.
            if let Err(error) = self.contest(of.clone()).await {
                tracing::debug!(%error, node = of.node, round = of.round, "a split waits");
            }
            let mut looked = self.splits.lock().unwrap_or_else(PoisonError::into_inner);
            looked.insert(of, seen);
        }
    }

    async fn contest(&self, of: RoundOf) -> Result<(), VerdictError> {
        let round = self.ledger.round(of.clone()).await?;
        let over = self.ledger.disputes_of(of, OVER_MAX).await?;
        let dispute_s = self.terms.dispute_ms / 1000;
        let broker = self.receipts.speakers().0.to_string();
        for check in contestable(&round, &over, (&broker, self.least)) {
            let last_s = check.issued_at_s.saturating_add(dispute_s);
            if self.now_s() >= last_s || !self.is_shown(&check).await? {
                continue;
            }
            let Some(dispute) = self.filed_over(&check, last_s).await? else {
                continue;
            };
            let (logged, _) = self.receipts.say(&dispute, false).await?;
            tracing::info!(
                dispute = logged.place,
                receipt = check.place,
                "checkers contradict each other: the referee is asked"
            );
            return Ok(());
        }
        Ok(())
    }

    /// Whether all that a receipt names is here, and there is something to execute in it.
    async fn is_shown(&self, check: &CheckRow) -> Result<bool, VerdictError> {
        let Some(statement) = self.statement(check.place).await? else {
            return Ok(false);
        };
        // Pieces come in order: as long as the last one is not there, no other one is read.
        let named = &statement.head.evidence;
        let Some(last) = named.last() else {
            return Ok(false);
        };
        if self
            .receipts
            .evidence(&last.sha256.to_string())
            .await
            .is_err()
        {
            return Ok(false);
        }
        // A record comes first: who shows none has nothing else read.
        let first = named.first().map(|of| of.sha256.to_string());
        let first = self.receipts.evidence(&first.unwrap_or_default()).await;
        if !first.is_ok_and(|piece| referee::shows_something(&[piece])) {
            return Ok(false);
        }
        let pieces = self.pieces(&statement, true).await?;
        Ok(pieces.len() == named.len() && referee::shows_something(&pieces))
    }

    /// The statement follows from the check alone, so that brokers of one ledger, which have one key, say it once.
    async fn filed_over(
        &self,
        check: &CheckRow,
        deadline_s: u64,
    ) -> Result<Option<Statement>, VerdictError> {
        let Some(leaf) = KeyId::from_hex(&check.leaf) else {
            return Ok(None);
        };
        let (issuer, _) = self.receipts.speakers();
        let keys = self.receipts.keys().await?;
        // A key that came later signs nothing of before.
        let own = keys.directory.find(&issuer, Role::Broker);
        let from_s = own.map_or(0, |(_, entry)| entry.from_s);
        Ok(Some(Statement {
            subject: Subject {
                name: "receipt".to_owned(),
                sha256: leaf,
            },
            head: Head {
                issuer,
                issued_at_s: check.issued_at_s.max(from_s),
                countersign: Countersign::None,
                assurance: Assurance::Timing,
                does_not_prove: Vec::new(),
                evidence: Vec::new(),
            },
            predicate: Predicate::Dispute(Dispute {
                claim: "the checkers of its round contradict each other".to_owned(),
                deadline_s,
            }),
        }))
    }
}

/// The receipts of a split that a dispute may be over, those that say fail first; none if one is open over any that has a seat.
/// Over one the broker files once.
fn contestable(
    (verdict, checks): &RoundSeen,
    over: &[DisputeRow],
    (broker, least): (&str, usize),
) -> Vec<CheckRow> {
    let is_seated = |place| {
        let mut checks = checks.iter();
        checks.any(|check| check.place == place && check.seat.is_some())
    };
    let is_split = verdict.as_ref().is_some_and(|row| row.state == "split");
    let mut open = over.iter().filter(|of| of.verdict.is_none());
    if !is_split || open.any(|of| is_seated(of.target)) {
        return Vec::new();
    }
    let mut weighing = fold::weighing(checks, least);
    let is_filed = |check: &CheckRow| {
        let mut over = over.iter();
        over.any(|of| of.target == check.place && of.issuer == broker)
    };
    weighing.retain(|check| ["fail", "pass"].contains(&check.finding.as_str()) && !is_filed(check));
    weighing.sort_by_key(|check| (check.finding != "fail", check.place));
    weighing
}
