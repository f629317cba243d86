//! One connection to an engine, and the transaction that is open on it.

use super::StoreError;
use super::dialect::Engine;
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, SqlSafeStr, SqlStr};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A connection that writes. Between [`Tx::begin`] and [`Tx::commit`] a transaction is open; one that
/// is dropped in between takes nothing with it, for the engine rolls back.
#[derive(Debug)]
pub(super) struct Tx {
    engine: Engine,
    connection: AnyConnection,
    /// Statements as the engine reads them, by what they are written as.
    rendered: HashMap<&'static str, SqlStr>,
    /// Whether a savepoint is set.
    marked: bool,
    /// See [`Tx::knows`].
    known: HashSet<String>,
    /// What the open transaction has written that [`Tx::known`] is to have.
    learned: Vec<String>,
}

/// Names of [`Tx::known`] that are kept. Past it all are forgotten.
const KNOWN_MAX: usize = 4096;

impl Tx {
    pub(super) fn new(engine: Engine, connection: AnyConnection) -> Self {
        Self {
            engine,
            connection,
            rendered: HashMap::new(),
            marked: false,
            known: HashSet::new(),
            learned: Vec::new(),
        }
    }

    pub(super) async fn begin(&mut self) -> Result<(), StoreError> {
        self.marked = false;
        self.learned.clear();
        self.plain(self.engine.begin()).await
    }

    /// Has the engine plan its statements anew; outside of a transaction, in PostgreSQL.
    pub(super) async fn forget_plans(&mut self) -> Result<(), StoreError> {
        self.plain("DISCARD PLANS").await
    }

    /// Waits for rows that others have locked for a second at most, from now on: so a writer shows its peers several
    /// times within the least `peers.dead_s` that it is there.
    pub(super) async fn wait_briefly(&mut self) -> Result<(), StoreError> {
        match self.engine {
            Engine::Sqlite => Ok(()),
            Engine::Postgres => self.plain("SET lock_timeout = '1s'").await,
        }
    }

    pub(super) async fn rollback(&mut self) -> Result<(), StoreError> {
        self.plain("ROLLBACK").await
    }

    /// The raw error: what it means depends on whether the engine has answered.
    pub(super) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql("COMMIT")
            .execute(&mut self.connection)
            .await?;
        if self.known.len() + self.learned.len() > KNOWN_MAX {
            self.known.clear();
        }
        self.known.extend(self.learned.drain(..));
        Ok(())
    }

    /// Whether a row that never goes is known to be in the ledger, and need not be written.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.known.contains(name)
    }

    /// The open transaction has written such a row, before any mark.
    pub(super) fn learn(&mut self, name: &str) {
        self.learned.push(name.to_owned());
    }

    /// Whether other brokers may have the same ledger, also some of before.
    pub(super) const fn is_shared(&self) -> bool {
        matches!(self.engine, Engine::Postgres)
    }

    /// To read within the open transaction.
    pub(super) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }

    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        self.connection.close().await
    }

    /// A point to which [`Tx::undo`] returns. What came after the last one stands from now on.
    pub(super) async fn mark(&mut self) -> Result<(), StoreError> {
        let set = if self.marked {
            "RELEASE SAVEPOINT mark; SAVEPOINT mark"
        } else {
            "SAVEPOINT mark"
        };
        self.plain(set).await?;
        self.marked = true;
        Ok(())
    }

    /// Undoes what came after the mark; the mark stays.
    pub(super) async fn undo(&mut self) -> Result<(), StoreError> {
        self.plain("ROLLBACK TO SAVEPOINT mark").await
    }

    /// Runs a statement on `rows`. How many rows it changed.
    pub(super) async fn run<R: Serialize>(
        &mut self,
        statement: &'static str,
        rows: &[R],
    ) -> Result<u64, StoreError> {
        if rows.is_empty() {
            return Ok(0);
        }
        let rows = json(&rows)?;
        let statement = self.render(statement);
        sqlx::query(statement)
            .bind(rows)
            .execute(&mut self.connection)
            .await
            .map(|done| done.rows_affected())
            .map_err(StoreError::NotApplied)
    }

    /// Runs a statement on `rows`. What it returns.
    pub(super) async fn ask<R: Serialize>(
        &mut self,
        statement: &'static str,
        rows: &[R],
    ) -> Result<Vec<AnyRow>, StoreError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let rows = json(&rows)?;
        let statement = self.render(statement);
        sqlx::query(statement)
            .bind(rows)
            .fetch_all(&mut self.connection)
            .await
            .map_err(StoreError::NotApplied)
    }

    async fn plain(&mut self, statement: &'static str) -> Result<(), StoreError> {
        sqlx::raw_sql(statement)
            .execute(&mut self.connection)
            .await
            .map_err(StoreError::NotApplied)?;
        Ok(())
    }

    fn render(&mut self, statement: &'static str) -> SqlStr {
        let engine = self.engine;
        let rendered = self.rendered.entry(statement).or_insert_with(|| {
            // Made of a constant of ours alone.
            AssertSqlSafe(Arc::<str>::from(engine.render(statement))).into_sql_str()
        });
        rendered.clone()
    }
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Corrupt(e.to_string()))
}
