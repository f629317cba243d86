//! Reading back apps and their versions.

use super::StoreError;
use super::apps::{AppRow, VersionRow};
use super::phase_row::parse;
use nearlight_protocol::id::AppId;
use sqlx::any::AnyRow;
use sqlx::{AnyPool, Row};
use std::collections::BTreeMap;
use std::sync::Arc;

const APPS: &str = "
    SELECT app_id, live_version, former_version, withdrawn_ms FROM app";

const VERSIONS: &str = "
    SELECT v.app_id, v.version, v.digest, v.by_user, v.created_ms, e.app FROM app_version v
    JOIN app_edition e ON e.digest = v.digest ORDER BY v.version";

const STAGED: &str = "SELECT app_id, metro, version FROM app_rollout";

/// See [`super::Ledger::app_changes`].
pub(super) async fn changes(pool: &AnyPool) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT CAST(COALESCE(SUM(rev), 0) AS BIGINT) AS changes FROM app")
        .fetch_one(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    let changes: i64 = row.get("changes");
    u64::try_from(changes).map_err(|_| StoreError::Corrupt("the changes of apps".to_owned()))
}

/// See [`super::Ledger::apps`].
pub(super) async fn apps(pool: &AnyPool) -> Result<Vec<AppRow>, StoreError> {
    let all = async |statement: &'static str| {
        let rows = sqlx::query(statement).fetch_all(pool).await;
        rows.map_err(StoreError::NotApplied)
    };
    // Versions first: what is live or staged then is among them, unless it was added meanwhile, which
    // the count of changes tells.
    let (versions, staged) = (all(VERSIONS).await?, all(STAGED).await?);
    let mut apps: BTreeMap<AppId, AppRow> = BTreeMap::new();
    for row in &all(APPS).await? {
        let app = app(row)?;
        apps.insert(app.id.clone(), app);
    }
    for row in &versions {
        if let Some(app) = apps.get_mut(&parse::<AppId>(row.get("app_id"))?) {
            app.versions.push(version(row)?);
        }
    }
    for row in &staged {
        if let Some(app) = apps.get_mut(&parse::<AppId>(row.get("app_id"))?) {
            app.staged
                .push((row.get("metro"), number(row.get("version"))?));
        }
    }
    // Engines sort text each in its own way.
    apps.values_mut().for_each(|app| app.staged.sort_unstable());
    Ok(apps.into_values().collect())
}

fn app(row: &AnyRow) -> Result<AppRow, StoreError> {
    let former: Option<i64> = row.get("former_version");
    Ok(AppRow {
        id: parse(row.get("app_id"))?,
        live: number(row.get("live_version"))?,
        former: former.map(number).transpose()?,
        withdrawn: row.get::<Option<i64>, _>("withdrawn_ms").is_some(),
        staged: Vec::new(),
        versions: Vec::new(),
    })
}

fn version(row: &AnyRow) -> Result<VersionRow, StoreError> {
    let by: Option<&str> = row.get("by_user");
    let app = serde_json::from_str(row.get("app"));
    let app = app.map_err(|e| StoreError::Corrupt(format!("an app's edition: {e}")))?;
    let created: i64 = row.get("created_ms");
    Ok(VersionRow {
        version: number(row.get("version"))?,
        digest: row.get("digest"),
        by: by.map(parse).transpose()?,
        created_ms: u64::try_from(created)
            .map_err(|_| StoreError::Corrupt("when a version was added".to_owned()))?,
        app: Arc::new(app),
    })
}

fn number(column: i64) -> Result<u32, StoreError> {
    u32::try_from(column).map_err(|_| StoreError::Corrupt(format!("{column} is no version")))
}
