//! Reading back what the ledger has of verdicts.

use super::StoreError;
use super::dialect::Engine;
use super::fault::FaultyLedger;
use super::store::SqlLedger;
use super::tx::json;
use super::verdicts::{Agreement, CheckRow, NewVerdicts, RoundOf, VerdictRow, VoidKey};
use futures_util::future::BoxFuture;
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyPool, AssertSqlSafe, Row};
use std::collections::HashMap;

/// What a round has come to, if it has, and what its checkers found, in the order of the log.
pub(crate) type RoundSeen = (Option<VerdictRow>, Vec<CheckRow>);

/// What the ledger has of verdicts.
pub trait VerdictReads {
    /// Verdicts that were written after the log had been gone through up to `after`, of receipts issued since
    /// `since_s`.
    fn new_verdicts(
        &self,
        after: u64,
        since_s: u64,
    ) -> BoxFuture<'_, Result<NewVerdicts, StoreError>>;

    /// What a round has come to, and what its checkers found, in the order of the log.
    fn round(&self, of: RoundOf) -> BoxFuture<'_, Result<RoundSeen, StoreError>>;

    /// What rounds have come to, each named once as the ledger keeps it, and what their checkers found, in the order
    /// of the log. Of what it has nothing is left out.
    fn rounds(
        &self,
        of: Vec<RoundOf>,
    ) -> BoxFuture<'_, Result<HashMap<RoundOf, RoundSeen>, StoreError>>;

    /// The verdicts about the node with this key, newest first, `max` of them.
    fn verdicts_of(
        &self,
        node: String,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<VerdictRow>, StoreError>>;

    /// What checkers found, by the leaves of their receipts; those that count for nothing are left out.
    fn checked(&self, leaves: Vec<String>) -> BoxFuture<'_, Result<Vec<CheckRow>, StoreError>>;

    /// What a checker found, of receipts that say that they were issued since `from_s`, that stand for `since_s` and later,
    /// and that nothing revokes.
    fn checks_by(
        &self,
        checker: String,
        from_s: u64,
        since_s: u64,
    ) -> BoxFuture<'_, Result<Vec<CheckRow>, StoreError>>;

    /// Keys of which the log says that what they signed is void.
    fn void_keys(&self) -> BoxFuture<'_, Result<Vec<VoidKey>, StoreError>>;

    /// How a checker's word compares with what its rounds came to, of checks issued since then.
    fn agreement(
        &self,
        checker: String,
        since_s: u64,
    ) -> BoxFuture<'_, Result<Agreement, StoreError>>;
}

impl VerdictReads for SqlLedger {
    fn new_verdicts(
        &self,
        after: u64,
        since_s: u64,
    ) -> BoxFuture<'_, Result<NewVerdicts, StoreError>> {
        self.readers.read(move |at| new(at, after, since_s))
    }

    fn round(&self, of: RoundOf) -> BoxFuture<'_, Result<RoundSeen, StoreError>> {
        Box::pin(async move {
            let seen = self.rounds(vec![of]).await?;
            Ok(seen.into_values().next().unwrap_or_default())
        })
    }

    fn rounds(
        &self,
        of: Vec<RoundOf>,
    ) -> BoxFuture<'_, Result<HashMap<RoundOf, RoundSeen>, StoreError>> {
        self.readers.read(move |at| {
            let of = of.clone();
            async move { rounds((at, self.engine), &of).await }
        })
    }

    fn verdicts_of(
        &self,
        node: String,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<VerdictRow>, StoreError>> {
        self.readers.read(move |at| of_node(at, node.clone(), max))
    }

    fn checked(&self, leaves: Vec<String>) -> BoxFuture<'_, Result<Vec<CheckRow>, StoreError>> {
        self.readers.read(move |at| checked(at, leaves.clone()))
    }

    fn checks_by(
        &self,
        checker: String,
        from_s: u64,
        since_s: u64,
    ) -> BoxFuture<'_, Result<Vec<CheckRow>, StoreError>> {
        self.readers
            .read(move |at| checks_by(at, checker.clone(), (from_s, since_s)))
    }

    fn void_keys(&self) -> BoxFuture<'_, Result<Vec<VoidKey>, StoreError>> {
        self.readers.read(void_keys)
    }

    fn agreement(
        &self,
        checker: String,
        since_s: u64,
    ) -> BoxFuture<'_, Result<Agreement, StoreError>> {
        self.readers
            .read(move |at| agreement(at, checker.clone(), since_s))
    }
}

impl VerdictReads for FaultyLedger {
    fn new_verdicts(
        &self,
        after: u64,
        since_s: u64,
    ) -> BoxFuture<'_, Result<NewVerdicts, StoreError>> {
        self.inner.new_verdicts(after, since_s)
    }

    fn round(&self, of: RoundOf) -> BoxFuture<'_, Result<RoundSeen, StoreError>> {
        self.inner.round(of)
    }

    fn rounds(
        &self,
        of: Vec<RoundOf>,
    ) -> BoxFuture<'_, Result<HashMap<RoundOf, RoundSeen>, StoreError>> {
        self.inner.rounds(of)
    }

    fn verdicts_of(
        &self,
        node: String,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<VerdictRow>, StoreError>> {
        self.inner.verdicts_of(node, max)
    }

    fn checked(&self, leaves: Vec<String>) -> BoxFuture<'_, Result<Vec<CheckRow>, StoreError>> {
        self.inner.checked(leaves)
    }

    fn checks_by(
        &self,
        checker: String,
        from_s: u64,
        since_s: u64,
    ) -> BoxFuture<'_, Result<Vec<CheckRow>, StoreError>> {
        self.inner.checks_by(checker, from_s, since_s)
    }

    fn void_keys(&self) -> BoxFuture<'_, Result<Vec<VoidKey>, StoreError>> {
        self.inner.void_keys()
    }

    fn agreement(
        &self,
        checker: String,
        since_s: u64,
    ) -> BoxFuture<'_, Result<Agreement, StoreError>> {
        self.inner.agreement(checker, since_s)
    }
}

async fn new(pool: &AnyPool, after: u64, since_s: u64) -> Result<NewVerdicts, StoreError> {
    // The place first: what is written meanwhile is read again.
    let next = sqlx::query("SELECT next, told_s FROM receipts_folded WHERE one = 1")
        .fetch_optional(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    let (next, told_s) = match next {
        Some(row) => (number(&row, "next")?, number(&row, "told_s")?),
        None => (0, 0),
    };
    if next <= after {
        return Ok(NewVerdicts {
            next,
            told_s,
            rows: Vec::new(),
        });
    }
    let rows = sqlx::query("SELECT * FROM verdict WHERE rev > $1 AND at_s >= $2")
        .bind(signed(after))
        .bind(signed(since_s))
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    let rows = rows.iter().map(verdict).collect::<Result<_, _>>()?;
    Ok(NewVerdicts { next, told_s, rows })
}

const VERDICTS_OF: &str = "
    SELECT v.* FROM {rows node text, round bigint, gpu text} CROSS JOIN verdict v
    WHERE v.node = r.node AND v.round = r.round AND v.gpu = r.gpu";

const CHECKS_OF: &str = "
    SELECT c.* FROM {rows node text, round bigint, gpu text} CROSS JOIN checked c
    WHERE c.node = r.node AND c.round = r.round AND c.gpu = r.gpu ORDER BY c.place";

#[derive(Serialize)]
struct Asked<'a> {
    node: &'a str,
    round: i64,
    gpu: String,
}

/// In two statements, however many rounds there are.
async fn rounds(
    (pool, engine): (&AnyPool, Engine),
    of: &[RoundOf],
) -> Result<HashMap<RoundOf, RoundSeen>, StoreError> {
    let asked = of.iter().map(|of| Asked {
        node: &of.node,
        round: signed(of.round),
        gpu: of.gpu_as_kept(),
    });
    let asked = json(&asked.collect::<Vec<_>>())?;
    let ask = async |statement: &str| {
        // Made of a constant of ours alone.
        let sql = AssertSqlSafe(engine.render(statement));
        let rows = sqlx::query(sql).bind(asked.clone()).fetch_all(pool).await;
        rows.map_err(StoreError::NotApplied)
    };
    let mut seen: HashMap<RoundOf, RoundSeen> = HashMap::new();
    for row in ask(VERDICTS_OF).await? {
        let verdict = verdict(&row)?;
        let of = verdict.of.clone();
        seen.entry(of).or_default().0 = Some(verdict);
    }
    for row in ask(CHECKS_OF).await? {
        let check = check(&row)?;
        let of = check.of.clone();
        seen.entry(of).or_default().1.push(check);
    }
    Ok(seen)
}

async fn of_node(pool: &AnyPool, node: String, max: u32) -> Result<Vec<VerdictRow>, StoreError> {
    let newest =
        "SELECT * FROM verdict WHERE node = $1 ORDER BY at_s DESC, round DESC, gpu LIMIT $2";
    let rows = sqlx::query(newest)
        .bind(node)
        .bind(i64::from(max))
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    rows.iter().map(verdict).collect()
}

async fn checked(pool: &AnyPool, leaves: Vec<String>) -> Result<Vec<CheckRow>, StoreError> {
    let mut found = Vec::new();
    for leaf in leaves {
        let row = sqlx::query("SELECT * FROM checked WHERE leaf = $1")
            .bind(leaf)
            .fetch_optional(pool)
            .await
            .map_err(StoreError::NotApplied)?;
        if let Some(row) = row {
            found.push(check(&row)?);
        }
    }
    Ok(found)
}

async fn checks_by(
    pool: &AnyPool,
    checker: String,
    (from_s, since_s): (u64, u64),
) -> Result<Vec<CheckRow>, StoreError> {
    let by = "
        SELECT c.* FROM checked c JOIN receipt r ON r.place = c.place
        WHERE c.checker = $1 AND c.issued_at_s >= $2 AND r.issued_at_s >= $3 AND c.revoked IS NULL
        ORDER BY c.place";
    let rows = sqlx::query(by)
        .bind(checker)
        .bind(signed(since_s))
        .bind(signed(from_s))
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    rows.iter().map(check).collect()
}

async fn void_keys(pool: &AnyPool) -> Result<Vec<VoidKey>, StoreError> {
    let rows = sqlx::query("SELECT * FROM void_key ORDER BY key_id")
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    let key = |row: &AnyRow| {
        Ok(VoidKey {
            key_id: row.get("key_id"),
            from_s: number(row, "from_s")?,
            place: number(row, "place")?,
        })
    };
    rows.iter().map(key).collect()
}

/// What is revoked compares with nothing, but for a word that was refuted. Of several checks of one round the first that is certain counts, as in the round.
async fn agreement(pool: &AnyPool, checker: String, since_s: u64) -> Result<Agreement, StoreError> {
    let counts = "
        SELECT COUNT(*) AS decided,
            COUNT(CASE WHEN v.finding = c.finding THEN 1 END) AS agreed,
            COUNT(CASE WHEN v.liars LIKE '%' || c.checker || '%' THEN 1 END) AS refuted
        FROM checked c JOIN verdict v ON v.node = c.node AND v.round = c.round AND v.gpu = c.gpu
        WHERE c.checker = $1 AND c.issued_at_s >= $2 AND c.seat IS NOT NULL
            AND (c.revoked IS NULL OR v.liars LIKE '%' || c.checker || '%')
            AND c.finding <> 'inconclusive' AND v.finding <> 'inconclusive'
            AND NOT EXISTS (SELECT 1 FROM checked e
                WHERE e.node = c.node AND e.round = c.round AND e.gpu = c.gpu
                    AND e.checker = c.checker AND e.place < c.place AND e.finding <> 'inconclusive'
                    AND e.seat IS NOT NULL AND (e.revoked IS NULL OR c.revoked IS NOT NULL))";
    let row = sqlx::query(counts)
        .bind(checker)
        .bind(signed(since_s))
        .fetch_one(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    Ok(Agreement {
        decided: number(&row, "decided")?,
        agreed: number(&row, "agreed")?,
        refuted: number(&row, "refuted")?,
    })
}

fn round_of(row: &AnyRow) -> Result<RoundOf, StoreError> {
    Ok(RoundOf {
        node: row.get("node"),
        round: number(row, "round")?,
        gpu: row.get("gpu"),
    })
}

fn verdict(row: &AnyRow) -> Result<VerdictRow, StoreError> {
    Ok(VerdictRow {
        of: round_of(row)?,
        state: row.get("state"),
        finding: row.get("finding"),
        score_permille: small(row, "score_permille")?,
        at_s: number(row, "at_s")?,
        places: list(row, "places")?,
        liars: list(row, "liars")?,
        ground: row.get("ground"),
        blocks: perhaps(row, "blocks"),
    })
}

fn check(row: &AnyRow) -> Result<CheckRow, StoreError> {
    Ok(CheckRow {
        place: number(row, "place")?,
        of: round_of(row)?,
        checker: row.get("checker"),
        leaf: row.get("leaf"),
        finding: row.get("finding"),
        score_permille: small(row, "score_permille")?,
        issued_at_s: number(row, "issued_at_s")?,
        reason: row.get("reason"),
        seat: perhaps(row, "seat"),
        blocks: perhaps(row, "blocks"),
        revoked: row
            .get::<Option<i64>, _>("revoked")
            .and_then(|place| u64::try_from(place).ok()),
    })
}

fn perhaps(row: &AnyRow, column: &'static str) -> Option<u32> {
    let number = row.get::<Option<i64>, _>(column);
    number.and_then(|number| u32::try_from(number).ok())
}

fn list<T: serde::de::DeserializeOwned>(
    row: &AnyRow,
    column: &'static str,
) -> Result<Vec<T>, StoreError> {
    let text: String = row.get(column);
    serde_json::from_str(&text).map_err(|_| StoreError::Corrupt(column.to_owned()))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(row: &AnyRow, column: &'static str) -> Result<u64, StoreError> {
    let number: i64 = row.get(column);
    u64::try_from(number).map_err(|_| StoreError::Corrupt(column.to_owned()))
}

fn small(row: &AnyRow, column: &'static str) -> Result<u32, StoreError> {
    u32::try_from(number(row, column)?).map_err(|_| StoreError::Corrupt(column.to_owned()))
}
