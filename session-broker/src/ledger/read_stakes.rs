//! Reading back accounts and transfers.

use super::StoreError;
use super::fault::FaultyLedger;
use super::stakes::{AccountRow, TransferRow};
use super::store::SqlLedger;
use super::verdicts::RoundOf;
use futures_util::future::BoxFuture;
use nearlight_protocol::unit::UnixMillis;
use sqlx::any::AnyRow;
use sqlx::{AnyPool, Row};

/// What the ledger has of stakes and rewards.
pub trait StakeReads {
    /// Every account, by id.
    fn accounts(&self) -> BoxFuture<'_, Result<Vec<AccountRow>, StoreError>>;

    /// The transfers of an account, newest first, `max` of them.
    fn transfers(
        &self,
        account: String,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<TransferRow>, StoreError>>;

    /// Pending transfers that are due, that nothing has ended, and over whose round no dispute is open, oldest first, `max`
    /// of them.
    fn due_transfers(
        &self,
        now_ms: UnixMillis,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<TransferRow>, StoreError>>;

    /// Pending transfers that follow from a round and that nothing has ended.
    fn pending_of(&self, round: RoundOf) -> BoxFuture<'_, Result<Vec<TransferRow>, StoreError>>;

    /// Pending transfers that follow from a round, that moved in the end, and that no transfer `back/ID` gave back.
    fn moved_of(&self, round: RoundOf) -> BoxFuture<'_, Result<Vec<TransferRow>, StoreError>>;
}

impl StakeReads for SqlLedger {
    fn accounts(&self) -> BoxFuture<'_, Result<Vec<AccountRow>, StoreError>> {
        self.readers.read(accounts)
    }

    fn transfers(
        &self,
        account: String,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<TransferRow>, StoreError>> {
        self.readers
            .read(move |at| transfers(at, account.clone(), max))
    }

    fn due_transfers(
        &self,
        now_ms: UnixMillis,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<TransferRow>, StoreError>> {
        self.readers.read(move |at| due(at, now_ms, max))
    }

    fn pending_of(&self, round: RoundOf) -> BoxFuture<'_, Result<Vec<TransferRow>, StoreError>> {
        self.readers
            .read(move |at| of_round(at, round.clone(), PENDING))
    }

    fn moved_of(&self, round: RoundOf) -> BoxFuture<'_, Result<Vec<TransferRow>, StoreError>> {
        self.readers
            .read(move |at| of_round(at, round.clone(), MOVED))
    }
}

impl StakeReads for FaultyLedger {
    fn accounts(&self) -> BoxFuture<'_, Result<Vec<AccountRow>, StoreError>> {
        self.inner.accounts()
    }

    fn transfers(
        &self,
        account: String,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<TransferRow>, StoreError>> {
        self.inner.transfers(account, max)
    }

    fn due_transfers(
        &self,
        now_ms: UnixMillis,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<TransferRow>, StoreError>> {
        self.inner.due_transfers(now_ms, max)
    }

    fn pending_of(&self, round: RoundOf) -> BoxFuture<'_, Result<Vec<TransferRow>, StoreError>> {
        self.inner.pending_of(round)
    }

    fn moved_of(&self, round: RoundOf) -> BoxFuture<'_, Result<Vec<TransferRow>, StoreError>> {
        self.inner.moved_of(round)
    }
}

async fn accounts(pool: &AnyPool) -> Result<Vec<AccountRow>, StoreError> {
    let rows = sqlx::query("SELECT * FROM account ORDER BY id")
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    rows.iter().map(account).collect()
}

async fn transfers(
    pool: &AnyPool,
    account: String,
    max: u32,
) -> Result<Vec<TransferRow>, StoreError> {
    let of =
        "SELECT * FROM transfer WHERE debit = $1 OR credit = $1 ORDER BY at_ms DESC, id LIMIT $2";
    let rows = sqlx::query(of)
        .bind(account.replace('\0', "\u{fffd}"))
        .bind(i64::from(max))
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    rows.iter().map(transfer).collect()
}

async fn due(pool: &AnyPool, now_ms: UnixMillis, max: u32) -> Result<Vec<TransferRow>, StoreError> {
    let due = "
        SELECT t.* FROM transfer t
        WHERE t.kind = 'pending' AND t.until_ms <= $1
            AND NOT EXISTS (SELECT 1 FROM transfer e WHERE e.ends = t.id)
            AND NOT EXISTS (SELECT 1 FROM dispute d
                WHERE d.node = t.node AND d.round = t.round AND d.gpu = t.gpu AND d.verdict IS NULL)
        ORDER BY t.until_ms, t.id LIMIT $2";
    let rows = sqlx::query(due)
        .bind(i64::try_from(now_ms).unwrap_or(i64::MAX))
        .bind(i64::from(max))
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    rows.iter().map(transfer).collect()
}

const PENDING: &str = "
    SELECT t.* FROM transfer t
    WHERE t.node = $1 AND t.round = $2 AND t.gpu = $3 AND t.kind = 'pending'
        AND NOT EXISTS (SELECT 1 FROM transfer e WHERE e.ends = t.id)
    ORDER BY t.id";

const MOVED: &str = "
    SELECT t.* FROM transfer t
    WHERE t.node = $1 AND t.round = $2 AND t.gpu = $3 AND t.kind = 'pending'
        AND EXISTS (SELECT 1 FROM transfer e WHERE e.ends = t.id AND e.kind = 'post')
        AND NOT EXISTS (SELECT 1 FROM transfer b WHERE b.id = 'back/' || t.id)
    ORDER BY t.id";

async fn of_round(
    pool: &AnyPool,
    of: RoundOf,
    which: &'static str,
) -> Result<Vec<TransferRow>, StoreError> {
    let rows = sqlx::query(which)
        .bind(of.node.clone())
        .bind(i64::try_from(of.round).unwrap_or(i64::MAX))
        .bind(of.gpu_as_kept())
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    rows.iter().map(transfer).collect()
}

fn account(row: &AnyRow) -> Result<AccountRow, StoreError> {
    Ok(AccountRow {
        id: row.get("id"),
        credits_micro: number(row, "credits_micro")?,
        debits_micro: number(row, "debits_micro")?,
        held_micro: number(row, "held_micro")?,
    })
}

fn transfer(row: &AnyRow) -> Result<TransferRow, StoreError> {
    let receipts: String = row.get("receipts");
    let receipts = serde_json::from_str(&receipts);
    let until: Option<i64> = row.get("until_ms");
    let node: String = row.get("node");
    let round = number(row, "round")?;
    Ok(TransferRow {
        id: row.get("id"),
        kind: row.get("kind"),
        debit: row.get("debit"),
        credit: row.get("credit"),
        amount_micro: number(row, "amount_micro")?,
        ends: row.get("ends"),
        receipts: receipts.map_err(|_| StoreError::Corrupt("transfer.receipts".to_owned()))?,
        reason: row.get("reason"),
        at_ms: number(row, "at_ms")?,
        until_ms: until.and_then(|until| u64::try_from(until).ok()),
        round: (!node.is_empty()).then(|| RoundOf {
            node,
            round,
            gpu: row.get("gpu"),
        }),
        holds_with: row.get("holds_with"),
    })
}

fn number(row: &AnyRow, column: &'static str) -> Result<u64, StoreError> {
    let number: i64 = row.get(column);
    u64::try_from(number).map_err(|_| StoreError::Corrupt(column.to_owned()))
}
