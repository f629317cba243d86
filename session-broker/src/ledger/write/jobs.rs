//! What a session has beside its row if it is a job: spec, labels and secrets.

use super::sessions::New;
use crate::ledger::StoreError;
use crate::ledger::dialect::Foreign;
use crate::ledger::tx::{Tx, json};
use crate::ledger::{Sealed, SessionRow};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::job::JobSpec;
use serde::Serialize;
use std::collections::BTreeMap;

const ADD_SPECS: &str = "
    INSERT INTO job_spec (session_id, spec) SELECT r.session_id, r.spec
    FROM {rows session_id text, spec text} WHERE TRUE ON CONFLICT DO NOTHING";

const ADD_SECRETS: &str = "
    INSERT INTO job_secret (session_id, sealed) SELECT r.session_id, r.sealed
    FROM {rows session_id text, sealed text} WHERE TRUE ON CONFLICT DO NOTHING";

const ADD_LABELS: &str = "
    INSERT INTO session_label (session_id, name, value) SELECT r.session_id, r.name, r.value
    FROM {rows session_id text, name text, value text} WHERE TRUE ON CONFLICT DO NOTHING";

const FORGET_SECRETS: &str = "
    DELETE FROM job_secret WHERE session_id IN (SELECT r.session_id FROM {rows session_id text})";

const COUNT_MOVES: &str = "
    UPDATE job_spec SET moves = job_spec.moves + 1 FROM {rows session_id text}
    WHERE job_spec.session_id = r.session_id";

/// What finds rows by their keys.
#[cfg(test)]
pub(in crate::ledger) const BY_KEY: &[&str] = &[FORGET_SECRETS, COUNT_MOVES];

/// What is written of a job beside its session's row.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    session_id: &'a str,
    spec: String,
    labels: &'a BTreeMap<String, String>,
    sealed: Option<&'a Sealed>,
}

impl<'a> Job<'a> {
    /// Of a new session; `None` for an app.
    pub(in crate::ledger) fn of(row: &'a SessionRow) -> Result<Option<Self>, StoreError> {
        let Some(spec) = row.work.job() else {
            return Ok(None);
        };
        Self::new(&row.id, spec, row.sealed.as_ref()).map(Some)
    }

    pub(in crate::ledger) fn new(
        session: &'a SessionId,
        spec: &'a JobSpec,
        sealed: Option<&'a Sealed>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            session_id: session.as_str(),
            // JSON has no NUL: serde writes it as an escape.
            spec: json(spec)?,
            labels: &spec.labels,
            sealed,
        })
    }
}

#[derive(Debug, Serialize)]
struct Spec<'a> {
    session_id: &'a str,
    spec: &'a str,
}

#[derive(Debug, Serialize)]
struct Label<'a> {
    session_id: &'a str,
    name: Foreign<'a>,
    value: Foreign<'a>,
}

#[derive(Serialize)]
struct Secret<'a> {
    session_id: &'a str,
    sealed: &'a str,
}

/// What goes with the rows of new sessions.
pub(super) async fn add_of(tx: &mut Tx, rows: &[New<'_>]) -> Result<(), StoreError> {
    let jobs: Vec<&Job<'_>> = rows.iter().filter_map(New::job).collect();
    add(tx, &jobs).await
}

/// What goes with new sessions that are jobs.
pub(super) async fn add(tx: &mut Tx, jobs: &[&Job<'_>]) -> Result<(), StoreError> {
    if jobs.is_empty() {
        return Ok(());
    }
    let specs = jobs.iter().map(|job| Spec {
        session_id: job.session_id,
        spec: &job.spec,
    });
    let specs: Vec<Spec<'_>> = specs.collect();
    tx.run(ADD_SPECS, &specs).await?;
    let labels = jobs.iter().flat_map(|job| {
        let labels = job.labels.iter();
        labels.map(|(name, value)| Label {
            session_id: job.session_id,
            name: Foreign(name),
            value: Foreign(value),
        })
    });
    let labels: Vec<Label<'_>> = labels.collect();
    tx.run(ADD_LABELS, &labels).await?;
    let secrets = jobs.iter().filter_map(|job| {
        Some(Secret {
            session_id: job.session_id,
            sealed: &job.sealed?.0,
        })
    });
    let secrets: Vec<Secret<'_>> = secrets.collect();
    tx.run(ADD_SECRETS, &secrets).await?;
    Ok(())
}

/// A session whose secrets nobody needs any more, or that lost its node.
#[derive(Debug, Serialize)]
pub(crate) struct Opened<'a> {
    session_id: &'a str,
}

impl<'a> Opened<'a> {
    pub(in crate::ledger) fn new(session: &'a SessionId) -> Self {
        Self {
            session_id: session.as_str(),
        }
    }
}

pub(crate) async fn forget_secrets(tx: &mut Tx, opened: &[Opened<'_>]) -> Result<(), StoreError> {
    tx.run(FORGET_SECRETS, opened).await?;
    Ok(())
}

pub(crate) async fn count_moves(tx: &mut Tx, moved: &[Opened<'_>]) -> Result<(), StoreError> {
    tx.run(COUNT_MOVES, moved).await?;
    Ok(())
}
