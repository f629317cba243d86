//! What a piece of the log comes to: rounds as they are after it, disputes, and what moves.

use super::fold::{self, Disputed, Entry, Rounds, Settling};
use super::revoked::{Revocation, VoidKeys};
use super::{VerdictError, Verdicts, stakes};
use crate::ledger::{
    CheckRow, DisputeBy, DisputeRow, Folded, RoundOf, RoundSeen, Transfer, VerdictRow,
};
use crate::receipts::Placed;
use nearlight_proof::key::KeyId;
use nearlight_proof::porc::rank::DAYS;
use nearlight_proof::porc::round::{Ground, Round};
use nearlight_proof::receipt::directory::{Directory, Role};
use nearlight_proof::receipt::predicate::Verdict;
use std::collections::{BTreeMap, BTreeSet};

/// A round while a piece is gone through.
struct Open {
    /// Whether the ledger had anything of it before the piece.
    is_known: bool,
    before: Option<VerdictRow>,
    checks: Vec<CheckRow>,
    /// What a referee has settled it to, if that holds; and when the last one did in this piece.
    round: Round,
    settled_s: u64,
    /// Who was refuted before it was opened again.
    named: Vec<String>,
    /// Checks that this piece revokes, and the time by the log.
    revoked: Vec<CheckRow>,
    revoked_s: u64,
    /// Whose word was refuted, of those who have no seat in it.
    strangers: Vec<String>,
}

impl Open {
    fn of((before, checks): RoundSeen) -> Self {
        Self {
            is_known: before.is_some() || !checks.is_empty(),
            round: before.as_ref().map(fold::round_of).unwrap_or_default(),
            named: before
                .as_ref()
                .map_or_else(Vec::new, |row| row.liars.clone()),
            before,
            checks,
            settled_s: 0,
            revoked: Vec::new(),
            revoked_s: 0,
            strangers: Vec::new(),
        }
    }

    /// Whether there is anything to say of the round: a receipt without a seat alone makes none.
    fn is_round(&self) -> bool {
        let seated = self.checks.iter().any(|check| check.seat.is_some());
        seated || self.before.is_some()
    }

    /// Whether a word of what most say counts one that is revoked by now: it was said before, and is no word of this round.
    fn is_stale(&self, verdict: &Verdict) -> bool {
        let counts = |check: &CheckRow| {
            let leaf = KeyId::from_hex(&check.leaf);
            let is_named = leaf.is_some_and(|leaf| verdict.receipts.contains(&leaf));
            let liar = KeyId::from_hex(&check.checker);
            is_named && !liar.is_some_and(|key| verdict.liars.contains(&key))
        };
        let seated = |check: &&CheckRow| check.seat.is_some() && check.revoked.is_some();
        Ground::of(verdict) == Ground::Majority && self.checks.iter().filter(seated).any(counts)
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
        self.round = std::mem::take(&mut self.round).settled_by(&verdict);
        self.settled_s = self.settled_s.max(issued_at_s);
    }

    /// Whether it has come to nothing yet.
    fn is_open(&self, least: usize) -> bool {
        let reports: Vec<_> = self.checks.iter().filter_map(fold::report).collect();
        self.round.clone().with(&reports, least) == Round::Open
    }

    /// The check at that place weighs nothing any more; whether it did. What rests on what most say is weighed anew. What a
    /// round has come to is not its issuer's to take back: only the network moves it.
    fn revoke(&mut self, check: u64, by: &Revocation, least: usize) -> bool {
        let may = by.is_networks || self.is_open(least);
        let mut checks = self.checks.iter_mut();
        let known = checks
            .find(|of| of.place == check && of.revoked.is_none() && (may || of.seat.is_none()));
        let Some(check) = known else {
            return false;
        };
        check.revoked = Some(by.place);
        self.revoked.push(check.clone());
        self.revoked_s = self.revoked_s.max(by.issued_at_s);
        if let Round::Settled {
            ground: Ground::Majority,
            liars,
            ..
        } = &self.round
            && check.seat.is_some()
        {
            self.named = liars.iter().map(KeyId::to_string).collect();
            self.round = Round::Open;
        }
        true
    }

    fn after(&self, of: &RoundOf, least: usize) -> VerdictRow {
        let round = self.round.clone();
        let mut row = fold::verdict(of, &self.checks, round, (least, self.settled_s));
        // What most say takes no name back that execution has given.
        if row.ground.is_empty() || row.ground == Ground::Majority.name() {
            for liar in &self.named {
                if !row.liars.contains(liar) {
                    row.liars.push(liar.clone());
                }
            }
        }
        row
    }
}

/// A piece while it is gone through.
struct Piece {
    rounds: BTreeMap<RoundOf, Open>,
    /// Of each revocation, by its place, the checks of it that the ledger has.
    before: BTreeMap<u64, BTreeSet<u64>>,
    /// Of each check that the piece brings, by its place, when its receipt says that it was issued.
    said_s: BTreeMap<u64, u64>,
    void_keys: VoidKeys,
    folded: Folded,
}

impl Piece {
    /// A check counts if it says something new, and its key is not void.
    fn check(&mut self, check: CheckRow, said_s: u64) {
        if self.void_keys.has(&check.checker, said_s) {
            return;
        }
        if let Some(open) = self.rounds.get_mut(&check.of)
            && fold::says_something_new(&check, &open.checks)
        {
            self.said_s.insert(check.place, said_s);
            open.checks.push(check.clone());
            self.folded.checks.push(check);
        }
    }

    fn revoke(&mut self, by: &Revocation, least: usize) {
        let before = self.before.remove(&by.place).unwrap_or_default();
        for open in self.rounds.values_mut() {
            let checks = open.checks.iter();
            let of_it = checks.filter(|check| match self.said_s.get(&check.place) {
                Some(said_s) => by.is_of(check, *said_s),
                None => before.contains(&check.place),
            });
            let places: Vec<u64> = of_it.map(|check| check.place).collect();
            for place in places {
                if open.revoke(place, by, least) {
                    self.folded.revoked.push((place, by.place));
                }
            }
        }
        if let Some(key) = by.void_key() {
            self.void_keys.add(key);
        }
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
        let mut read = Vec::new();
        for entry in entries {
            let before_s = told_s;
            told_s = told_s.max(entry.issued_at_s);
            read.extend(fold::read(entry, &rounds, before_s));
        }
        let mut piece = self.opened(&read).await?;
        piece.folded = Folded {
            from,
            to,
            told_s,
            ..Folded::default()
        };
        for entry in read {
            self.take(&mut piece, entry).await?;
        }
        let Piece {
            rounds,
            mut folded,
            void_keys,
            ..
        } = piece;
        folded.void_keys = void_keys.new_ones();
        for (of, open) in rounds {
            let verdict = open.after(&of, self.least);
            let moved = self.moved(&open, &verdict, &keys.directory).await?;
            folded.transfers.extend(moved);
            if open.is_round() {
                folded.verdicts.push(verdict);
            }
        }
        Ok(folded)
    }

    /// Does what an entry does, behind those before it.
    async fn take(&self, piece: &mut Piece, entry: Entry) -> Result<(), VerdictError> {
        match entry {
            Entry::Check(check, said_s) => piece.check(check, said_s),
            Entry::Dispute(dispute) => {
                let begun = self.begun(dispute, &piece.folded).await?;
                piece.folded.disputes.extend(begun);
            }
            Entry::Verdict(verdict) => {
                let Some(dispute) = self.disputed(&verdict, &piece.folded).await? else {
                    return Ok(());
                };
                let open = self.open(&mut piece.rounds, &dispute.of).await?;
                if open.is_stale(&verdict.verdict) {
                    return Ok(());
                }
                piece.folded.ended.push((dispute.place, verdict.place));
                open.end(&dispute, verdict);
            }
            Entry::Revocation(revocation) => piece.revoke(&revocation, self.least),
        }
        Ok(())
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

    /// The rounds of new checks, and of those that are revoked, as the ledger has them; and what else a piece is gone
    /// through with.
    async fn opened(&self, read: &[Entry]) -> Result<Piece, VerdictError> {
        let counts = |entry: &Entry| matches!(entry, Entry::Check(..) | Entry::Revocation(_));
        let void_keys = match read.iter().any(counts) {
            true => VoidKeys::known(self.ledger.void_keys().await?),
            false => VoidKeys::default(),
        };
        let (mut of, mut before) = (BTreeSet::new(), BTreeMap::new());
        let mut asked = void_keys.clone();
        for entry in read {
            match entry {
                Entry::Check(check, _) => {
                    of.insert(check.of.clone());
                }
                Entry::Revocation(revocation) => {
                    let checks = self.before(revocation, &mut asked).await?;
                    of.extend(checks.iter().map(|check| check.of.clone()));
                    let places = checks.iter().map(|check| check.place);
                    before.insert(revocation.place, places.collect());
                }
                Entry::Dispute(_) | Entry::Verdict(_) => {}
            }
        }
        let mut seen = self.ledger.rounds(of.iter().cloned().collect()).await?;
        let open = |of: RoundOf| {
            let open = Open::of(seen.remove(&of).unwrap_or_default());
            (of, open)
        };
        Ok(Piece {
            rounds: of.into_iter().map(open).collect(),
            before,
            said_s: BTreeMap::new(),
            void_keys,
            folded: Folded::default(),
        })
    }

    /// Checks that the ledger has and that a revocation is of; of a key those of the days that count, unless an earlier one
    /// was of as many: one of its own, which moves less, is in the way of none of the network's.
    async fn before(
        &self,
        revocation: &Revocation,
        asked: &mut VoidKeys,
    ) -> Result<Vec<CheckRow>, VerdictError> {
        let leaf = vec![revocation.subject.clone()];
        let mut found = self.ledger.checked(leaf).await?;
        found.retain(|check| revocation.is_of(check, 0));
        if let Some(key) = revocation.void_key()
            && (asked.add(key.clone()) || revocation.is_networks)
        {
            let since_s = revocation.issued_at_s.saturating_sub(DAYS * 24 * 3600);
            let by = self.ledger.checks_by(key.key_id, key.from_s, since_s);
            found.extend(by.await?);
        }
        Ok(found)
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
        let asks = open.is_known && (!open.revoked.is_empty() || after.finding == "fail");
        let moved = match asks {
            true => self.ledger.moved_of(after.of.clone()).await?,
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
            moved: &moved,
            revoked: &open.revoked,
            at_ms: after.at_s.max(open.revoked_s).saturating_mul(1000),
        };
        Ok(stakes::moves(&changed, &self.terms))
    }
}

#[cfg(test)]
mod test;
