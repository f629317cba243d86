//! The log of receipts. Changes come one by one: a broker appends once at a time, many entries at once.

use crate::ledger::batch::Answers;
use crate::ledger::dialect::Foreign;
use crate::ledger::phase_row::ms;
use crate::ledger::receipts::{
    Advance, Change, DirectoryKey, EvidenceRow, LogChange, ReceiptRow, SessionReceiptRow,
};
use crate::ledger::tx::Tx;
use crate::ledger::{Applied, StoreError};
use nearlight_protocol::id::TenantId;
use serde::Serialize;

const BEGIN: &str = "
    INSERT INTO receipt_log (one, origin, log_key, size, root, changed_ms)
    SELECT 1, r.origin, r.log_key, 0, r.root, r.at
    FROM {rows origin text, log_key text, root text, at bigint} WHERE TRUE
    ON CONFLICT (one) DO NOTHING";

const ADVANCE: &str = "
    UPDATE receipt_log SET size = r.size, root = r.root, changed_ms = r.at
    FROM {rows old_size bigint, old_root text, size bigint, root text, at bigint}
    WHERE receipt_log.one = 1 AND receipt_log.size = r.old_size AND receipt_log.root = r.old_root";

const ADD_RECEIPTS: &str = "
    INSERT INTO receipt (place, leaf, kind, issuer, about, issued_at_s)
    SELECT r.place, r.leaf, r.kind, r.issuer, r.about, r.issued_at_s
    FROM {rows place bigint, leaf text, kind text, issuer text, about text, issued_at_s bigint}";

const ADD_EVIDENCE: &str = "
    INSERT INTO evidence (sha256, bytes, kept_until_s)
    SELECT r.sha256, r.bytes, r.kept_until_s
    FROM {rows sha256 text, bytes bigint, kept_until_s bigint} WHERE TRUE
    ON CONFLICT (sha256) DO UPDATE SET kept_until_s = excluded.kept_until_s
    WHERE excluded.kept_until_s > evidence.kept_until_s";

const RENAME: &str = "
    UPDATE receipt_log SET origin = receipt_log.origin || '/' || r.suffix, witnessed_size = 0,
        witnessed = ''
    FROM {rows suffix text} WHERE receipt_log.one = 1";

const WITNESSED: &str = "
    UPDATE receipt_log SET witnessed_size = r.size, witnessed = r.note
    FROM {rows size bigint, note text}
    WHERE receipt_log.one = 1 AND receipt_log.size >= r.size
        AND receipt_log.witnessed_size < r.size";

/// A revoked key stays revoked, and what is the same is no change.
const PUT_KEY: &str = "
    INSERT INTO directory_key (key_hex, role, operator, licence, from_s, until_s, added)
    SELECT r.key_hex, r.role, r.operator, r.licence, r.from_s, r.until_s,
        COALESCE((SELECT MAX(e.serial) FROM directory_edition e), 0) + 1
    FROM {rows key_hex text, role text, operator text, licence text, from_s bigint, until_s bigint} WHERE TRUE
    ON CONFLICT (key_hex, role) DO UPDATE SET operator = excluded.operator,
        licence = excluded.licence, from_s = excluded.from_s, until_s = excluded.until_s
    WHERE directory_key.operator <> excluded.operator OR directory_key.from_s <> excluded.from_s
        OR directory_key.until_s <> excluded.until_s
        OR COALESCE(directory_key.licence, '') <> COALESCE(excluded.licence, '')";

const ROOM: &str = "
    SELECT COUNT(*) AS keys FROM directory_key, {rows key_hex text, role text}
    WHERE directory_key.key_hex <> r.key_hex OR directory_key.role <> r.role";

const REVOKE_KEY: &str = "
    UPDATE directory_key SET revoked_at_s = r.at FROM {rows key_hex text, at bigint}
    WHERE directory_key.key_hex = r.key_hex AND directory_key.revoked_at_s IS NULL";

const HAS_KEY: &str = "
    SELECT 1 AS one FROM directory_key, {rows key_hex text} WHERE directory_key.key_hex = r.key_hex";

const NEXT_EDITION: &str = "
    INSERT INTO directory_edition (one, serial, issued_at_s)
    SELECT 1, 1, r.at FROM {rows at bigint} WHERE TRUE
    ON CONFLICT (one) DO UPDATE SET serial = directory_edition.serial + 1,
        issued_at_s = CASE WHEN excluded.issued_at_s > directory_edition.issued_at_s
            THEN excluded.issued_at_s ELSE directory_edition.issued_at_s END";

const NOTE_SESSION: &str = "
    INSERT INTO session_receipt (session_id, user_id, tenant_id, place, leaf, salt, agreement, logged_ms)
    SELECT r.session_id, r.user_id, r.tenant_id, r.place, r.leaf, r.salt, r.agreement, r.at
    FROM {rows session_id text, user_id text, tenant_id text, place bigint, leaf text, salt text,
        agreement text, at bigint} WHERE TRUE
    ON CONFLICT (session_id) DO NOTHING";

/// See [`LogChange`].
pub(crate) async fn change(
    tx: &mut Tx,
    changes: &[Change<'_>],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    for (at, change, audit) in changes {
        let applied = carry_out(tx, change).await?;
        super::identity::answer(tx, (*at, applied), *audit, answers).await?;
    }
    Ok(())
}

async fn carry_out(tx: &mut Tx, change: &LogChange) -> Result<Applied, StoreError> {
    match change {
        LogChange::Begin {
            origin,
            key,
            root,
            at_ms,
        } => {
            let row = Begin {
                origin: Foreign(origin),
                log_key: key,
                root,
                at: ms(*at_ms),
            };
            tx.run(BEGIN, &[row]).await?;
            Ok(Applied::Done)
        }
        LogChange::Advance(advance) => self::advance(tx, advance).await,
        LogChange::SessionReceipt(row) => {
            let noted = tx.run(NOTE_SESSION, &[SessionReceipt::of(row)]).await?;
            Ok(done_or(noted > 0, Applied::Skipped))
        }
        LogChange::Rename { suffix } => {
            let renamed = tx.run(RENAME, &[Rename { suffix }]).await?;
            Ok(done_or(renamed > 0, Applied::Missing))
        }
        LogChange::Witnessed { size, note } => {
            let row = Witnessed { size: *size, note };
            let newer = tx.run(WITNESSED, &[row]).await?;
            Ok(done_or(newer > 0, Applied::Skipped))
        }
        LogChange::Evidence(piece) => {
            tx.run(ADD_EVIDENCE, &[Evidence::of(piece)]).await?;
            Ok(Applied::Done)
        }
        LogChange::Transfer(transfer) => super::stakes::transfer(tx, transfer).await,
        LogChange::Fold(folded) => super::verdicts::fold(tx, folded).await,
        LogChange::PutKey { key, most, at_s } => {
            let (most, at_s) = (*most, *at_s);
            put_key(tx, DirectoryPut { key, most, at_s }).await
        }
        LogChange::RevokeKey { key, at_s } => revoke_key(tx, key, *at_s).await,
    }
}

async fn advance(tx: &mut Tx, advance: &Advance) -> Result<Applied, StoreError> {
    let swap = Swap {
        old_size: advance.from.0,
        old_root: &advance.from.1,
        size: advance.to.0,
        root: &advance.to.1,
        at: ms(advance.at_ms),
    };
    if tx.run(ADVANCE, &[swap]).await? == 0 {
        return Ok(Applied::RaceLost);
    }
    let rows: Vec<Receipt<'_>> = advance.rows.iter().map(Receipt::of).collect();
    tx.run(ADD_RECEIPTS, &rows).await?;
    // A broker of before may share it, and takes no evidence that has no row.
    if tx.is_shared() {
        let evidence: Vec<Evidence<'_>> = advance.evidence.iter().map(Evidence::of).collect();
        tx.run(ADD_EVIDENCE, &evidence).await?;
    }
    Ok(Applied::Done)
}

/// A key that comes into the directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct DirectoryPut<'a> {
    pub(super) key: &'a DirectoryKey,
    /// How many keys there may be.
    pub(super) most: u32,
    /// When, Unix seconds.
    pub(super) at_s: u64,
}

pub(super) async fn put_key(tx: &mut Tx, put: DirectoryPut<'_>) -> Result<Applied, StoreError> {
    let DirectoryPut { key, most, at_s } = put;
    let row = Key::of(key);
    let others = tx.ask(ROOM, &[&row]).await?;
    let others: i64 = others.first().map_or(0, |row| sqlx::Row::get(row, "keys"));
    if others >= i64::from(most) {
        return Ok(Applied::QuotaUsedUp);
    }
    if tx.run(PUT_KEY, &[row]).await? == 0 {
        return Ok(Applied::Skipped);
    }
    next_edition(tx, at_s).await?;
    Ok(Applied::Done)
}

/// The rows of the directory have changed.
pub(super) async fn next_edition(tx: &mut Tx, at_s: u64) -> Result<(), StoreError> {
    tx.run(NEXT_EDITION, &[Edition { at: at_s }]).await?;
    Ok(())
}

pub(super) async fn revoke_key(tx: &mut Tx, key: &str, at_s: u64) -> Result<Applied, StoreError> {
    let row = Revoke {
        key_hex: Foreign(key),
        at: at_s,
    };
    if tx.run(REVOKE_KEY, &[&row]).await? > 0 {
        next_edition(tx, at_s).await?;
        return Ok(Applied::Done);
    }
    match tx.ask(HAS_KEY, &[row]).await?.is_empty() {
        true => Ok(Applied::Missing),
        false => Ok(Applied::Skipped),
    }
}

fn done_or(done: bool, otherwise: Applied) -> Applied {
    if done { Applied::Done } else { otherwise }
}

#[derive(Serialize)]
struct Begin<'a> {
    origin: Foreign<'a>,
    log_key: &'a str,
    root: &'a str,
    at: i64,
}

#[derive(Serialize)]
struct Swap<'a> {
    old_size: u64,
    old_root: &'a str,
    size: u64,
    root: &'a str,
    at: i64,
}

#[derive(Serialize)]
struct Receipt<'a> {
    place: u64,
    leaf: &'a str,
    kind: &'a str,
    issuer: &'a str,
    about: &'a str,
    issued_at_s: u64,
}

impl<'a> Receipt<'a> {
    fn of(row: &'a ReceiptRow) -> Self {
        Self {
            place: row.place,
            leaf: &row.leaf,
            kind: &row.kind,
            issuer: &row.issuer,
            about: &row.about,
            issued_at_s: row.issued_at_s,
        }
    }
}

#[derive(Serialize)]
struct Evidence<'a> {
    sha256: &'a str,
    bytes: u64,
    kept_until_s: u64,
}

impl<'a> Evidence<'a> {
    fn of(row: &'a EvidenceRow) -> Self {
        Self {
            sha256: &row.sha256,
            bytes: row.bytes,
            kept_until_s: row.kept_until_s,
        }
    }
}

#[derive(Serialize)]
struct SessionReceipt<'a> {
    session_id: &'a str,
    user_id: &'a str,
    tenant_id: Option<&'a str>,
    place: u64,
    leaf: &'a str,
    salt: &'a str,
    agreement: &'a str,
    at: i64,
}

impl<'a> SessionReceipt<'a> {
    fn of(row: &'a SessionReceiptRow) -> Self {
        Self {
            session_id: row.session.as_str(),
            user_id: row.user.as_str(),
            tenant_id: row.tenant.as_ref().map(TenantId::as_str),
            place: row.place,
            leaf: &row.leaf,
            salt: &row.salt,
            agreement: &row.agreement,
            at: ms(row.logged_ms),
        }
    }
}

#[derive(Serialize)]
struct Rename<'a> {
    suffix: &'a str,
}

#[derive(Serialize)]
struct Witnessed<'a> {
    size: u64,
    note: &'a str,
}

#[derive(Serialize)]
struct Key<'a> {
    key_hex: &'a str,
    role: &'a str,
    operator: Foreign<'a>,
    licence: Option<&'a str>,
    from_s: u64,
    until_s: u64,
}

impl<'a> Key<'a> {
    fn of(key: &'a DirectoryKey) -> Self {
        Self {
            key_hex: &key.key,
            role: &key.role,
            operator: Foreign(&key.operator),
            licence: key.licence.as_deref(),
            from_s: key.from_s,
            until_s: key.until_s,
        }
    }
}

#[derive(Serialize)]
struct Revoke<'a> {
    key_hex: Foreign<'a>,
    at: u64,
}

#[derive(Serialize)]
struct Edition {
    at: u64,
}
