//! What a piece of the log comes to: rounds as they are after it, disputes, and what moves.

use super::fold::{self, Disputed, Entry, Rounds, Settling};
use super::{VerdictError, Verdicts, stakes};
use crate::ledger::{
    CheckRow, DisputeBy, DisputeRow, Folded, RoundOf, RoundSeen, Transfer, VerdictRow,
};
use crate::receipts::Placed;
use nearlight_proof::key::KeyId;
use nearlight_proof::porc::round::Round;
use nearlight_proof::receipt::directory::{Directory, Role};
use std::collections::{BTreeMap, BTreeSet};

/// A round while a piece is gone through.
struct Open {
    /// Whether the ledger had anything of it before the piece.
    is_known: bool,
    before: Option<VerdictRow>,
    checks: Vec<CheckRow>,
    settled: Option<(Round, u64)>,
    /// Whose word was refuted, of those who have no seat in it.
    strangers: Vec<String>,
}

impl Open {
    fn of((before, checks): RoundSeen) -> Self {
        Self {
            is_known: before.is_some() || !checks.is_empty(),
            before,
            checks,
            settled: None,
            strangers: Vec::new(),
        }
    }

    /// Whether there is anything to say of the round: a receipt without a seat alone makes none.
    fn is_round(&self) -> bool {
        let seated = self.checks.iter().any(|check| check.seat.is_some());
        seated || self.before.is_some()
    }

    fn end(&mut self, dispute: &DisputeRow, verdict: Settling) {
        let mut checks = self.checks.iter();
        let target = checks.find(|check| check.place == dispute.target);
        if target.is_none_or(|check| check.seat.is_some()) {
            self.settled = Some((verdict.round, verdict.issued_at_s));
        } else if let Round::Settled { liars, .. } = verdict.round {
            self.strangers.extend(liars.iter().map(KeyId::to_string));
        }
    }
}

impl Verdicts {
    /// What entries from `from` on come to.
    pub(super) async fn fold(
        &self,
        from: u64,
        entries: Vec<Placed>,
    ) -> Result<Folded, VerdictError> {
        let keys = self.receipts.keys().await?;
        let chain = self.checks.begun_chain().await?;
        let rounds = Rounds {
            directory: &keys.directory,
            chain,
            committee: self.least,
        };
        let mut folded = Folded {
            from,
            to: from + entries.len() as u64,
            ..Folded::default()
        };
        let (mut begun, mut ending) = (Vec::new(), Vec::new());
        for entry in entries {
            match fold::read(entry, &rounds) {
                Some(Entry::Check(check)) => folded.checks.push(check),
                Some(Entry::Dispute(dispute)) => begun.push(dispute),
                Some(Entry::Verdict(verdict)) => ending.push(verdict),
                None => {}
            }
        }
        for dispute in begun {
            folded
                .disputes
                .extend(self.begun(dispute, &folded.checks).await?);
        }
        let mut rounds = self.opened(&folded.checks).await?;
        for verdict in ending {
            let Some(dispute) = self.disputed(&verdict, &folded.disputes).await? else {
                continue;
            };
            folded.ended.push((dispute.place, verdict.place));
            let open = self.open(&mut rounds, &dispute.of).await?;
            open.end(&dispute, verdict);
        }
        for (of, open) in rounds {
            let verdict = self.after(&of, &open);
            let moved = self.moved(&open, &verdict, &keys.directory).await?;
            folded.transfers.extend(moved);
            if open.is_round() {
                folded.verdicts.push(verdict);
            }
        }
        Ok(folded)
    }

    /// A dispute over a receipt that counts, while one can dispute it.
    async fn begun(
        &self,
        dispute: Disputed,
        new: &[CheckRow],
    ) -> Result<Option<DisputeRow>, VerdictError> {
        let known = new
            .iter()
            .find(|check| check.leaf == dispute.target)
            .cloned();
        let target = match known {
            Some(check) => Some(check),
            None => self
                .ledger
                .checked(vec![dispute.target.clone()])
                .await?
                .pop(),
        };
        let last = |check: &CheckRow| {
            check
                .issued_at_s
                .saturating_add(self.terms.dispute_ms / 1000)
        };
        let target = target.filter(|check| dispute.issued_at_s <= last(check));
        Ok(target.map(|check| DisputeRow {
            place: dispute.place,
            leaf: dispute.leaf,
            target: check.place,
            deadline_s: dispute.deadline_s.min(last(&check)),
            of: check.of,
            claim: dispute.claim,
            verdict: None,
        }))
    }

    /// The dispute that a verdict ends, if it is open.
    async fn disputed(
        &self,
        verdict: &Settling,
        new: &[DisputeRow],
    ) -> Result<Option<DisputeRow>, VerdictError> {
        let known = new.iter().find(|dispute| dispute.leaf == verdict.dispute);
        let known = match known {
            Some(dispute) => Some(dispute.clone()),
            None => {
                let by = DisputeBy::Leaf(verdict.dispute.clone());
                self.ledger.dispute(by).await?
            }
        };
        Ok(known.filter(|dispute| dispute.verdict.is_none()))
    }

    /// The rounds of new checks, with these.
    async fn opened(&self, new: &[CheckRow]) -> Result<BTreeMap<RoundOf, Open>, VerdictError> {
        let of: BTreeSet<RoundOf> = new.iter().map(|check| check.of.clone()).collect();
        let mut seen = self.ledger.rounds(of.iter().cloned().collect()).await?;
        let open = |of: RoundOf| {
            let open = Open::of(seen.remove(&of).unwrap_or_default());
            (of, open)
        };
        let mut rounds: BTreeMap<RoundOf, Open> = of.into_iter().map(open).collect();
        for check in new {
            if let Some(open) = rounds.get_mut(&check.of) {
                open.checks.push(check.clone());
            }
        }
        Ok(rounds)
    }

    async fn open<'a>(
        &self,
        rounds: &'a mut BTreeMap<RoundOf, Open>,
        of: &RoundOf,
    ) -> Result<&'a mut Open, VerdictError> {
        if !rounds.contains_key(of) {
            let seen = self.ledger.round(of.clone()).await?;
            rounds.insert(of.clone(), Open::of(seen));
        }
        Ok(rounds.get_mut(of).expect("it was put in above"))
    }

    fn after(&self, of: &RoundOf, open: &Open) -> VerdictRow {
        let before = open.before.as_ref();
        let verdict = fold::verdict(of, &open.checks, before, self.least);
        match &open.settled {
            None => verdict,
            Some((round, at_s)) => fold::row(of, round, verdict.places, verdict.at_s.max(*at_s)),
        }
    }

    async fn moved(
        &self,
        open: &Open,
        after: &VerdictRow,
        directory: &Directory,
    ) -> Result<Vec<Transfer>, VerdictError> {
        let key = KeyId::from_hex(&after.of.node);
        let known = key.and_then(|key| directory.find(&key, Role::Node));
        let Some((_, node)) = known else {
            return Ok(Vec::new());
        };
        let pending = match open.is_known {
            true => self.ledger.pending_of(after.of.clone()).await?,
            // Nothing has followed from it yet.
            false => Vec::new(),
        };
        let changed = stakes::Changed {
            before: open.before.as_ref(),
            after,
            checks: &open.checks,
            weighing: &fold::weighing(&open.checks, self.least),
            strangers: &open.strangers,
            operator: &node.operator,
            pending: &pending,
            at_ms: after.at_s.saturating_mul(1000),
        };
        Ok(stakes::moves(&changed, &self.terms))
    }
}
