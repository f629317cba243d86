//! Verdicts: what follows from a piece of the log is written once, by whoever moves the place from which
//! it is read on.

use crate::ledger::dialect::Foreign;
use crate::ledger::disputes::DisputeRow;
use crate::ledger::tx::{Tx, json};
use crate::ledger::verdicts::{CheckRow, Folded, VerdictRow, VoidKey};
use crate::ledger::{Applied, StoreError};
use serde::Serialize;

const BEGIN: &str = "
    INSERT INTO receipts_folded (one, next) SELECT 1, 0 FROM {rows at bigint} WHERE TRUE
    ON CONFLICT (one) DO NOTHING";

const MOVE_ON: &str = "
    UPDATE receipts_folded SET next = r.upto, told_s = r.told_s FROM {rows since bigint, upto bigint, told_s bigint}
    WHERE receipts_folded.one = 1 AND receipts_folded.next = r.since";

const ADD_CHECKS: &str = "
    INSERT INTO checked (place, node, round, gpu, checker, leaf, finding, score_permille, issued_at_s, reason, seat, blocks)
    SELECT r.place, r.node, r.round, r.gpu, r.checker, r.leaf, r.finding, r.score_permille, r.issued_at_s, r.reason, r.seat, r.blocks
    FROM {rows place bigint, node text, round bigint, gpu text, checker text, leaf text, finding text, score_permille bigint, issued_at_s bigint, reason text, seat bigint, blocks bigint}";

const REVOKE_CHECKS: &str = "
    UPDATE checked SET revoked = r.revoked FROM {rows place bigint, revoked bigint}
    WHERE checked.place = r.place AND checked.revoked IS NULL";

const PUT_VOID_KEYS: &str = "
    INSERT INTO void_key (key_id, from_s, place) SELECT r.key_id, r.from_s, r.place
    FROM {rows key_id text, from_s bigint, place bigint} WHERE TRUE
    ON CONFLICT (key_id) DO UPDATE SET from_s = excluded.from_s, place = excluded.place
    WHERE excluded.from_s < void_key.from_s";

const PUT_VERDICTS: &str = "
    INSERT INTO verdict (node, round, gpu, state, finding, score_permille, at_s, places, liars, ground, blocks, rev)
    SELECT r.node, r.round, r.gpu, r.state, r.finding, r.score_permille, r.at_s, r.places, r.liars, r.ground, r.blocks, r.rev
    FROM {rows node text, round bigint, gpu text, state text, finding text, score_permille bigint, at_s bigint, places text, liars text, ground text, blocks bigint, rev bigint} WHERE TRUE
    ON CONFLICT (node, round, gpu) DO UPDATE SET state = excluded.state, finding = excluded.finding,
        score_permille = excluded.score_permille, at_s = excluded.at_s, places = excluded.places,
        liars = excluded.liars, ground = excluded.ground, blocks = excluded.blocks, rev = excluded.rev";

const ADD_DISPUTES: &str = "
    INSERT INTO dispute (place, leaf, issuer, target, node, round, gpu, claim, deadline_s)
    SELECT r.place, r.leaf, r.issuer, r.target, r.node, r.round, r.gpu, r.claim, r.deadline_s
    FROM {rows place bigint, leaf text, issuer text, target bigint, node text, round bigint, gpu text, claim text, deadline_s bigint}";

const END_DISPUTES: &str = "
    UPDATE dispute SET verdict = r.verdict FROM {rows place bigint, verdict bigint}
    WHERE dispute.place = r.place AND dispute.verdict IS NULL";

/// See [`crate::ledger::LogChange::Fold`].
pub(super) async fn fold(tx: &mut Tx, folded: &Folded) -> Result<Applied, StoreError> {
    if folded.from == 0 {
        tx.run(BEGIN, &[Begin { at: 0 }]).await?;
    }
    let step = MoveOn {
        since: folded.from,
        upto: folded.to,
        told_s: folded.told_s,
    };
    if tx.run(MOVE_ON, &[step]).await? == 0 {
        return Ok(Applied::RaceLost);
    }
    let checks: Vec<Check<'_>> = folded.checks.iter().map(Check::of).collect();
    tx.run(ADD_CHECKS, &checks).await?;
    let revoked = folded.revoked.iter();
    let revoked: Vec<Revoked> = revoked.map(Revoked::of).collect();
    tx.run(REVOKE_CHECKS, &revoked).await?;
    let void_keys: Vec<Void<'_>> = folded.void_keys.iter().map(Void::of).collect();
    tx.run(PUT_VOID_KEYS, &void_keys).await?;
    let verdicts = folded.verdicts.iter();
    let verdicts: Result<Vec<_>, _> = verdicts.map(|row| Verdict::of(row, folded.to)).collect();
    tx.run(PUT_VERDICTS, &verdicts?).await?;
    let disputes: Vec<Dispute<'_>> = folded.disputes.iter().map(Dispute::of).collect();
    tx.run(ADD_DISPUTES, &disputes).await?;
    let ended = folded.ended.iter();
    let ended: Vec<Ended> = ended
        .map(|(place, verdict)| Ended {
            place: *place,
            verdict: *verdict,
        })
        .collect();
    tx.run(END_DISPUTES, &ended).await?;
    for transfer in &folded.transfers {
        super::stakes::transfer(tx, transfer).await?;
    }
    Ok(Applied::Done)
}

#[derive(Serialize)]
struct Begin {
    at: i64,
}

#[derive(Serialize)]
struct MoveOn {
    since: u64,
    upto: u64,
    told_s: u64,
}

#[derive(Serialize)]
struct Revoked {
    place: u64,
    revoked: u64,
}

impl Revoked {
    const fn of((place, revoked): &(u64, u64)) -> Self {
        Self {
            place: *place,
            revoked: *revoked,
        }
    }
}

#[derive(Serialize)]
struct Void<'a> {
    key_id: &'a str,
    from_s: u64,
    place: u64,
}

impl<'a> Void<'a> {
    fn of(key: &'a VoidKey) -> Self {
        Self {
            key_id: &key.key_id,
            from_s: key.from_s,
            place: key.place,
        }
    }
}

#[derive(Serialize)]
struct Dispute<'a> {
    place: u64,
    leaf: &'a str,
    issuer: &'a str,
    target: u64,
    node: &'a str,
    round: u64,
    gpu: Foreign<'a>,
    claim: Foreign<'a>,
    deadline_s: u64,
}

impl<'a> Dispute<'a> {
    fn of(row: &'a DisputeRow) -> Self {
        Self {
            place: row.place,
            leaf: &row.leaf,
            issuer: &row.issuer,
            target: row.target,
            node: &row.of.node,
            round: row.of.round,
            gpu: Foreign(&row.of.gpu),
            claim: Foreign(&row.claim),
            deadline_s: row.deadline_s,
        }
    }
}

#[derive(Serialize)]
struct Ended {
    place: u64,
    verdict: u64,
}

#[derive(Serialize)]
struct Check<'a> {
    place: u64,
    node: &'a str,
    round: u64,
    gpu: Foreign<'a>,
    checker: &'a str,
    leaf: &'a str,
    finding: &'a str,
    score_permille: u32,
    issued_at_s: u64,
    reason: Foreign<'a>,
    seat: Option<u32>,
    blocks: Option<u32>,
}

impl<'a> Check<'a> {
    fn of(row: &'a CheckRow) -> Self {
        Self {
            place: row.place,
            node: &row.of.node,
            round: row.of.round,
            gpu: Foreign(&row.of.gpu),
            checker: &row.checker,
            leaf: &row.leaf,
            finding: &row.finding,
            score_permille: row.score_permille,
            issued_at_s: row.issued_at_s,
            reason: Foreign(&row.reason),
            seat: row.seat,
            blocks: row.blocks,
        }
    }
}

#[derive(Serialize)]
struct Verdict<'a> {
    node: &'a str,
    round: u64,
    gpu: Foreign<'a>,
    state: &'a str,
    finding: &'a str,
    score_permille: u32,
    at_s: u64,
    places: String,
    liars: String,
    ground: &'a str,
    blocks: Option<u32>,
    rev: u64,
}

impl<'a> Verdict<'a> {
    fn of(row: &'a VerdictRow, rev: u64) -> Result<Self, StoreError> {
        Ok(Self {
            node: &row.of.node,
            round: row.of.round,
            gpu: Foreign(&row.of.gpu),
            state: &row.state,
            finding: &row.finding,
            score_permille: row.score_permille,
            at_s: row.at_s,
            places: json(&row.places)?,
            liars: json(&row.liars)?,
            ground: &row.ground,
            blocks: row.blocks,
            rev,
        })
    }
}
