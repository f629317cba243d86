//! Apps, their versions and where each is live; the edition that a session is placed with.
//!
//! Every change of an app first counts its `rev` up: that locks its row, so that what follows sees
//! what others have committed.

use crate::ledger::apps::AppChange;
use crate::ledger::batch::Answers;
use crate::ledger::identity::AuditRow;
use crate::ledger::phase_row::{hex, to_ms};
use crate::ledger::plan::At;
use crate::ledger::tx::{Tx, json};
use crate::ledger::write::{identity, sessions};
use crate::ledger::{Applied, BrokerId, StoreError};
use nearlight_protocol::app::AppSpec;
use nearlight_protocol::id::{AppId, SessionId, UserId};
use nearlight_protocol::unit::MonoTime;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::Row as _;
use std::sync::Arc;

const ADD_APP: &str = "
    INSERT INTO app (app_id, live_version, seeded, changed_ms, rev)
    SELECT r.app_id, 1, '', r.at, 0 FROM {rows app_id text, at bigint}
    WHERE TRUE ON CONFLICT DO NOTHING";

const TOUCH: &str = "
    UPDATE app SET rev = app.rev + 1, changed_ms = r.at FROM {rows app_id text, at bigint}
    WHERE app.app_id = r.app_id";

const FIND: &str = "
    SELECT v.version FROM app_version v JOIN {rows app_id text, digest text}
        ON v.app_id = r.app_id AND v.digest = r.digest";

const ADD_VERSION: &str = "
    INSERT INTO app_version (app_id, version, digest, by_user, created_ms)
    SELECT r.app_id, (SELECT COALESCE(MAX(v.version), 0) + 1 FROM app_version v
        WHERE v.app_id = r.app_id), r.digest, r.by_user, r.at
    FROM {rows app_id text, digest text, by_user text, at bigint} WHERE TRUE
    RETURNING version";

const KNOWN: &str = "
    SELECT v.version FROM app_version v JOIN {rows app_id text, version bigint}
        ON v.app_id = r.app_id AND v.version = r.version";

const STAGE: &str = "
    INSERT INTO app_rollout (app_id, metro, version, since_ms)
    SELECT r.app_id, r.metro, r.version, r.at
    FROM {rows app_id text, metro text, version bigint, at bigint}
    WHERE TRUE ON CONFLICT (app_id, metro) DO UPDATE SET version = excluded.version,
        since_ms = excluded.since_ms";

const UNSTAGE: &str = "
    DELETE FROM app_rollout WHERE app_id = (SELECT r.app_id FROM {rows app_id text})";

/// What was live is what a rollback goes back to; the same once more changes nothing.
const MAKE_LIVE: &str = "
    UPDATE app SET live_version = r.version, withdrawn_ms = NULL,
        former_version = CASE WHEN app.live_version = r.version THEN app.former_version
            ELSE app.live_version END
    FROM {rows app_id text, version bigint} WHERE app.app_id = r.app_id";

const GO_BACK: &str = "
    UPDATE app SET live_version = app.former_version, former_version = NULL
    FROM {rows app_id text} WHERE app.app_id = r.app_id AND app.former_version IS NOT NULL";

const SEEDED: &str = "
    SELECT a.seeded FROM app a JOIN {rows app_id text, digest text} ON a.app_id = r.app_id
    WHERE a.seeded = r.digest AND a.withdrawn_ms IS NULL";

/// Whether nobody has rolled out what is live.
const IS_OF_FILES: &str = "
    SELECT v.version FROM app_version v JOIN app a
        ON a.app_id = v.app_id AND a.live_version = v.version
    JOIN {rows app_id text} ON a.app_id = r.app_id WHERE v.by_user IS NULL";

const NOTE_SEED: &str = "
    UPDATE app SET seeded = r.digest, withdrawn_ms = NULL
    FROM {rows app_id text, digest text} WHERE app.app_id = r.app_id";

const WITHDRAW: &str = "
    UPDATE app SET rev = app.rev + 1,
        withdrawn_ms = (SELECT MAX(r.at) FROM {rows app_id text, at bigint})
    WHERE withdrawn_ms IS NULL AND app.seeded <> ''
        AND app.app_id NOT IN (SELECT r.app_id FROM {rows app_id text, at bigint})
        AND EXISTS (SELECT 1 FROM app_version v WHERE v.app_id = app.app_id
            AND v.version = app.live_version AND v.by_user IS NULL)";

/// Of who holds it, as its claim is.
const SET_EDITION: &str = "
    UPDATE session SET app_digest = r.app_digest
    FROM {rows session_id text, app_digest text, holder text}
    WHERE session.session_id = r.session_id AND {still session.holder = r.holder}";

/// What finds rows by their keys.
#[cfg(test)]
pub(in crate::ledger) const BY_KEY: &[&str] = &[SET_EDITION];

/// A change and its line of the audit log.
pub(crate) type Change<'a> = (At, &'a AppChange, Option<&'a AuditRow>);

/// Whatever a statement of this file needs of an app.
#[derive(Clone, Debug, Serialize)]
struct Row<'a> {
    app_id: &'a str,
    digest: &'a str,
    version: u32,
    metro: &'a str,
    by_user: Option<&'a str>,
    at: i64,
}

impl<'a> Row<'a> {
    fn of(app: &'a AppId, at: MonoTime) -> Self {
        Self {
            app_id: app.as_str(),
            digest: "",
            version: 0,
            metro: "",
            by_user: None,
            at: to_ms(at),
        }
    }
}

pub(crate) async fn change(
    tx: &mut Tx,
    changes: &[Change<'_>],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    for (at, change, audit) in changes {
        let applied = carry_out(tx, change).await?;
        let is_new = matches!(
            applied,
            Applied::Done | Applied::AppVersion { is_new: true, .. }
        );
        if let Some(row) = audit.filter(|_| is_new) {
            identity::note(tx, row).await?;
        }
        answers.set(*at, applied);
    }
    Ok(())
}

async fn carry_out(tx: &mut Tx, change: &AppChange) -> Result<Applied, StoreError> {
    match change {
        AppChange::Seed { apps, at } => seed(tx, apps, *at).await,
        AppChange::Add { app, by, at } => {
            let (version, is_new) = add(tx, app, Some(by), *at).await?;
            Ok(Applied::AppVersion { version, is_new })
        }
        AppChange::Roll {
            app,
            version,
            metros,
            at,
        } => roll(tx, app, (*version, metros), *at).await,
        AppChange::RollBack { app, at } => roll_back(tx, app, *at).await,
    }
}

/// The version of a description, and whether it is new.
async fn add(
    tx: &mut Tx,
    app: &AppSpec,
    by: Option<&UserId>,
    at: MonoTime,
) -> Result<(u32, bool), StoreError> {
    let text = json(app)?;
    let digest = digest(&text);
    let row = [Row {
        digest: &digest,
        by_user: by.map(UserId::as_str),
        ..Row::of(&app.id, at)
    }];
    let is_first = tx.run(ADD_APP, &row).await? > 0;
    tx.run(TOUCH, &row).await?;
    if let Some(found) = tx.ask(FIND, &row).await?.first() {
        return Ok((number(found.get("version"))?, false));
    }
    sessions::add_edition(tx, &digest, &text).await?;
    let added = tx.ask(ADD_VERSION, &row).await?;
    let added = added
        .first()
        .ok_or_else(|| StoreError::Corrupt("a version was not added".to_owned()))?;
    let version = number(added.get("version"))?;
    debug_assert!(!is_first || version == 1, "the first version is live");
    Ok((version, true))
}

async fn roll(
    tx: &mut Tx,
    app: &AppId,
    (version, metros): (u32, &[String]),
    at: MonoTime,
) -> Result<Applied, StoreError> {
    let row = Row {
        version,
        ..Row::of(app, at)
    };
    if tx.ask(KNOWN, &[&row]).await?.is_empty() {
        return Ok(Applied::Missing);
    }
    tx.run(TOUCH, &[&row]).await?;
    if metros.is_empty() {
        tx.run(UNSTAGE, &[&row]).await?;
        tx.run(MAKE_LIVE, &[&row]).await?;
        return Ok(Applied::Done);
    }
    let mut metros: Vec<&str> = metros.iter().map(String::as_str).collect();
    metros.sort_unstable();
    metros.dedup();
    let rows = metros.into_iter().map(|metro| Row {
        metro,
        ..row.clone()
    });
    tx.run(STAGE, &rows.collect::<Vec<_>>()).await?;
    Ok(Applied::Done)
}

async fn roll_back(tx: &mut Tx, app: &AppId, at: MonoTime) -> Result<Applied, StoreError> {
    let row = [Row::of(app, at)];
    if tx.run(TOUCH, &row).await? == 0 {
        return Ok(Applied::Missing);
    }
    if tx.run(UNSTAGE, &row).await? > 0 || tx.run(GO_BACK, &row).await? > 0 {
        return Ok(Applied::Done);
    }
    Ok(Applied::Skipped)
}

async fn seed(tx: &mut Tx, apps: &[Arc<AppSpec>], at: MonoTime) -> Result<Applied, StoreError> {
    for app in apps {
        let digest = digest(&json(&**app)?);
        let row = Row {
            digest: &digest,
            ..Row::of(&app.id, at)
        };
        if !tx.ask(SEEDED, &[&row]).await?.is_empty() {
            continue;
        }
        let (version, _) = add(tx, app, None, at).await?;
        if !tx.ask(IS_OF_FILES, &[&row]).await?.is_empty() {
            let live = Row {
                version,
                ..row.clone()
            };
            tx.run(MAKE_LIVE, &[live]).await?;
        }
        tx.run(NOTE_SEED, &[row]).await?;
    }
    let rows: Vec<Row<'_>> = apps.iter().map(|app| Row::of(&app.id, at)).collect();
    tx.run(WITHDRAW, &rows).await?;
    Ok(Applied::Done)
}

/// The edition that a session that waits is to be started with.
#[derive(Debug)]
pub(crate) struct SetEdition<'a> {
    session: &'a str,
    holder: &'a str,
    digest: String,
    app: String,
}

impl<'a> SetEdition<'a> {
    pub(in crate::ledger) fn new(
        session: &'a SessionId,
        app: &AppSpec,
        holder: &'a BrokerId,
    ) -> Result<Self, StoreError> {
        let app = json(app)?;
        Ok(Self {
            session: session.as_str(),
            holder: holder.as_str(),
            digest: digest(&app),
            app,
        })
    }
}

pub(crate) async fn set_editions(tx: &mut Tx, sets: &[SetEdition<'_>]) -> Result<(), StoreError> {
    #[derive(Serialize)]
    struct Set<'a> {
        session_id: &'a str,
        holder: &'a str,
        app_digest: &'a str,
    }
    for set in sets {
        sessions::add_edition(tx, &set.digest, &set.app).await?;
    }
    let rows: Vec<Set<'_>> = sets
        .iter()
        .map(|set| Set {
            session_id: set.session,
            holder: set.holder,
            app_digest: &set.digest,
        })
        .collect();
    tx.run(SET_EDITION, &rows).await?;
    Ok(())
}

fn digest(text: &str) -> String {
    hex(&Sha256::digest(text).into())
}

fn number(column: i64) -> Result<u32, StoreError> {
    u32::try_from(column).map_err(|_| StoreError::Corrupt(format!("{column} is no version")))
}
