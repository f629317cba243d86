//! Disputes: what the ledger has of them, and how that is read back.

use super::StoreError;
use super::fault::FaultyLedger;
use super::store::SqlLedger;
use super::verdicts::RoundOf;
use futures_util::future::BoxFuture;
use sqlx::any::AnyRow;
use sqlx::{AnyPool, Row};

/// A dispute over a receipt of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisputeRow {
    /// Its place in the log.
    pub place: u64,
    /// Its leaf, hex.
    pub leaf: String,
    /// Who filed it, by the key's id in hex.
    pub issuer: String,
    /// The place of the receipt that is contested.
    pub target: u64,
    /// The round of that receipt.
    pub of: RoundOf,
    /// What is contested, as a sentence.
    pub claim: String,
    /// Until when it is to be decided, Unix seconds.
    pub deadline_s: u64,
    /// The place of the verdict that ended it.
    pub verdict: Option<u64>,
}

/// What the ledger has of disputes.
pub trait DisputeReads {
    /// Those that nothing has ended, earliest deadline first, `max` of them: those behind a deadline and place.
    fn open_disputes(
        &self,
        after: (u64, u64),
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<DisputeRow>, StoreError>>;

    /// Whether this issuer has filed one over the receipt at this place, open or ended.
    fn has_disputed(&self, issuer: String, target: u64) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Those over a round, open or ended, `max` of them: the node's first, and otherwise in the order of the log.
    fn disputes_of(
        &self,
        of: RoundOf,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<DisputeRow>, StoreError>>;

    /// One, by its place or its leaf.
    fn dispute(&self, by: DisputeBy) -> BoxFuture<'_, Result<Option<DisputeRow>, StoreError>>;
}

/// How a dispute is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisputeBy {
    /// By its place.
    Place(u64),
    /// By its leaf, hex.
    Leaf(String),
}

impl DisputeReads for SqlLedger {
    fn open_disputes(
        &self,
        after: (u64, u64),
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<DisputeRow>, StoreError>> {
        self.readers.read(move |at| open(at, after, max))
    }

    fn has_disputed(&self, issuer: String, target: u64) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.readers
            .read(move |at| has_disputed(at, issuer.clone(), target))
    }

    fn disputes_of(
        &self,
        of: RoundOf,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<DisputeRow>, StoreError>> {
        self.readers
            .read(move |at| disputes_of(at, of.clone(), max))
    }

    fn dispute(&self, by: DisputeBy) -> BoxFuture<'_, Result<Option<DisputeRow>, StoreError>> {
        self.readers.read(move |at| one(at, by.clone()))
    }
}

impl DisputeReads for FaultyLedger {
    fn open_disputes(
        &self,
        after: (u64, u64),
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<DisputeRow>, StoreError>> {
        self.inner.open_disputes(after, max)
    }

    fn has_disputed(&self, issuer: String, target: u64) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.inner.has_disputed(issuer, target)
    }

    fn disputes_of(
        &self,
        of: RoundOf,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<DisputeRow>, StoreError>> {
        self.inner.disputes_of(of, max)
    }

    fn dispute(&self, by: DisputeBy) -> BoxFuture<'_, Result<Option<DisputeRow>, StoreError>> {
        self.inner.dispute(by)
    }
}

async fn open(
    pool: &AnyPool,
    (deadline_s, place): (u64, u64),
    max: u32,
) -> Result<Vec<DisputeRow>, StoreError> {
    let open = "
        SELECT * FROM dispute
        WHERE verdict IS NULL AND (deadline_s > $1 OR (deadline_s = $1 AND place > $2))
        ORDER BY deadline_s, place LIMIT $3";
    let rows = sqlx::query(open)
        .bind(i64::try_from(deadline_s).unwrap_or(i64::MAX))
        .bind(i64::try_from(place).unwrap_or(i64::MAX))
        .bind(i64::from(max))
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    rows.iter().map(dispute).collect()
}

async fn disputes_of(pool: &AnyPool, of: RoundOf, max: u32) -> Result<Vec<DisputeRow>, StoreError> {
    let all = "
        SELECT * FROM dispute WHERE node = $1 AND round = $2 AND gpu = $3
        ORDER BY CASE WHEN issuer = node THEN 0 ELSE 1 END, place LIMIT $4";
    let rows = sqlx::query(all)
        .bind(of.node.clone())
        .bind(i64::try_from(of.round).unwrap_or(i64::MAX))
        .bind(of.gpu_as_kept())
        .bind(i64::from(max))
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    rows.iter().map(dispute).collect()
}

async fn has_disputed(pool: &AnyPool, issuer: String, target: u64) -> Result<bool, StoreError> {
    let known = sqlx::query("SELECT place FROM dispute WHERE target = $1 AND issuer = $2 LIMIT 1")
        .bind(i64::try_from(target).unwrap_or(i64::MAX))
        .bind(issuer)
        .fetch_optional(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    Ok(known.is_some())
}

async fn one(pool: &AnyPool, by: DisputeBy) -> Result<Option<DisputeRow>, StoreError> {
    let query = match by {
        DisputeBy::Place(place) => sqlx::query("SELECT * FROM dispute WHERE place = $1")
            .bind(i64::try_from(place).unwrap_or(i64::MAX)),
        DisputeBy::Leaf(leaf) => sqlx::query("SELECT * FROM dispute WHERE leaf = $1").bind(leaf),
    };
    let row = query.fetch_optional(pool).await;
    let row = row.map_err(StoreError::NotApplied)?;
    row.as_ref().map(dispute).transpose()
}

fn dispute(row: &AnyRow) -> Result<DisputeRow, StoreError> {
    let verdict: Option<i64> = row.get("verdict");
    Ok(DisputeRow {
        place: number(row, "place")?,
        leaf: row.get("leaf"),
        issuer: row.get("issuer"),
        target: number(row, "target")?,
        of: RoundOf {
            node: row.get("node"),
            round: number(row, "round")?,
            gpu: row.get("gpu"),
        },
        claim: row.get("claim"),
        deadline_s: number(row, "deadline_s")?,
        verdict: verdict.and_then(|place| u64::try_from(place).ok()),
    })
}

fn number(row: &AnyRow, column: &'static str) -> Result<u64, StoreError> {
    let number: i64 = row.get(column);
    u64::try_from(number).map_err(|_| StoreError::Corrupt(column.to_owned()))
}
