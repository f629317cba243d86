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

    fn end(&mut self, dispute: &DisputeRow, ending: Settling) {
        let mut checks = self.checks.iter();
        let target = checks.find(|check| check.place == dispute.target);
        let Settling {
            verdict,
            issued_at_s,
            ..
        } = ending;
        if target.is_some_and(|check| check.seat.is_none()) {
            self.strangers
                .extend(verdict.liars.iter().map(KeyId::to_string));
            return;
        }
        let before = || self.before.as_ref().map(fold::round_of);
        let (round, at_s) = match self.settled.take() {
            Some(settled) => settled,
            None => (before().unwrap_or_default(), 0),
        };
        self.settled = Some((round.settled_by(&verdict), at_s.max(issued_at_s)));
    }
}

impl Verdicts {
    /// What entries from `from` on come to, behind entries that say that they were issued at `told_s` at the latest.
    pub(super) async fn fold(
        &self,
        (from, mut told_s): (u64, u64),
        entries: Vec<Placed>,
    ) -> Result<Folded, VerdictError> {
        let keys = self.receipts.keys().await?;
        let chain = self.checks.begun_chain().await?;
        let table = self.checks.timetable().await?;
        let drawn = match &table {
            Some(table) if !table.uses().is_empty() => {
                let named = entries.iter().filter_map(fold::round_named).collect();
                self.checks.drawn(table, named).await?
            }
            Some(_) | None => BTreeMap::new(),
        };
        let rounds = Rounds {
            directory: &keys.directory,
            chain: chain.zip(table.as_ref()),
            drawn: &drawn,
            committee: self.least,
            capacity_s: self.checks.capacity_s(),
        };
        let to = from + entries.len() as u64;
        let (mut checks, mut begun, mut ending) = (Vec::new(), Vec::new(), Vec::new());
        for entry in entries {
            let before_s = told_s;
            told_s = told_s.max(entry.issued_at_s);
            match fold::read(entry, &rounds, before_s) {
                Some(Entry::Check(check)) => checks.push(check),
                Some(Entry::Dispute(dispute)) => begun.push(dispute),
                Some(Entry::Verdict(verdict)) => ending.push(verdict),
                None => {}
            }
        }
        let (mut rounds, checks) = self.opened(checks).await?;
        let mut folded = Folded {
            from,
            to,
            told_s,
            checks,
            ..Folded::default()
        };
        for dispute in begun {
            let begun = self.begun(dispute, &folded).await?;
            folded.disputes.extend(begun);
        }
        for verdict in ending {
            let Some(dispute) = self.disputed(&verdict, &folded).await? else {
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

    /// A dispute over a receipt that counts, by whom it concerns, while one can dispute it, and once. When it has to be
    /// decided is not its issuer's to say.
    async fn begun(
        &self,
        dispute: Disputed,
        new: &Folded,
    ) -> Result<Option<DisputeRow>, VerdictError> {
        let known = new.checks.iter();
        let known = known.into_iter().find(|of| of.leaf == dispute.target);
        let target = match known {
            Some(check) => Some(check.clone()),
            None => self
                .ledger
                .checked(vec![dispute.target.clone()])
                .await?
                .pop(),
        };
        let Some(check) = target else {
            return Ok(None);
        };
        let last_s = check
            .issued_at_s
            .saturating_add(self.terms.dispute_ms / 1000);
        let is_party = [&check.of.node, &check.checker].contains(&&dispute.issuer);
        if dispute.issued_at_s > last_s || !(is_party || dispute.is_brokers) {
            return Ok(None);
        }
        let mut earlier = new.disputes.iter();
        let has_disputed = earlier
            .any(|of| of.issuer == dispute.issuer && of.target == check.place)
            || self
                .ledger
                .has_disputed(dispute.issuer.clone(), check.place)
                .await?;
        // A broker speaks for many.
        if has_disputed && !dispute.is_brokers {
            return Ok(None);
        }
        Ok(Some(DisputeRow {
            place: dispute.place,
            leaf: dispute.leaf,
            issuer: dispute.issuer,
            target: check.place,
            deadline_s: last_s,
            of: check.of,
            claim: dispute.claim,
            verdict: None,
        }))
    }

    /// The dispute that a verdict ends, if it is open.
    async fn disputed(
        &self,
        verdict: &Settling,
        new: &Folded,
    ) -> Result<Option<DisputeRow>, VerdictError> {
        let mut disputes = new.disputes.iter();
        let known = disputes.find(|dispute| dispute.leaf == verdict.dispute);
        let known = match known {
            Some(dispute) => Some(dispute.clone()),
            None => {
                let by = DisputeBy::Leaf(verdict.dispute.clone());
                self.ledger.dispute(by).await?
            }
        };
        // The first ends it: brokers that decided it at once said so twice.
        let has_ended = |of: &DisputeRow| new.ended.iter().any(|(place, _)| *place == of.place);
        Ok(known.filter(|dispute| dispute.verdict.is_none() && !has_ended(dispute)))
    }

    /// The rounds of new checks with those that say something new, and these.
    async fn opened(
        &self,
        new: Vec<CheckRow>,
    ) -> Result<(BTreeMap<RoundOf, Open>, Vec<CheckRow>), VerdictError> {
        let of: BTreeSet<RoundOf> = new.iter().map(|check| check.of.clone()).collect();
        let mut seen = self.ledger.rounds(of.iter().cloned().collect()).await?;
        let open = |of: RoundOf| {
            let open = Open::of(seen.remove(&of).unwrap_or_default());
            (of, open)
        };
        let mut rounds: BTreeMap<RoundOf, Open> = of.into_iter().map(open).collect();
        let mut kept = Vec::new();
        for check in new {
            if let Some(open) = rounds.get_mut(&check.of)
                && fold::says_something_new(&check, &open.checks)
            {
                open.checks.push(check.clone());
                kept.push(check);
            }
        }
        Ok((rounds, kept))
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
        match &open.settled {
            None => fold::verdict(of, &open.checks, open.before.as_ref(), self.least),
            Some((round, at_s)) => fold::settled(of, round, (&open.checks, self.least), *at_s),
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
