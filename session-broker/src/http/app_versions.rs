//! Versions of apps: what operators add, roll out and take back.

use super::Api;
use super::body::{AppPath, JsonBody};
use super::caller::Caller;
use super::problem::{Refusal, bad_request, not_found, nothing_to_roll_back, store_failed};
use crate::access::Permission;
use crate::ledger::{AppChange, AppRow, Applied, AuditRow, Op, VersionRow};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use nearlight_kit::manifest;
use nearlight_protocol::app::AppSpec;
use nearlight_protocol::id::AppId;
use nearlight_protocol::identity::AuditAction;
use nearlight_protocol::limits::{APP_VERSIONS_SHOWN_MAX, NODE_NAME_BYTES_MAX, STAGED_METROS_MAX};
use nearlight_protocol::plain::is_plain_text;
use nearlight_protocol::problem::Problem;
use nearlight_protocol::versions::{AppVersion, AppVersions, RollOut, StagedMetro, VersionState};
use std::sync::Arc;

/// Adds a version of an app. The same description is the same version, so that asking again is safe. It
/// is not live, but for an app's first.
#[utoipa::path(
    post, path = "/v1/apps", tag = "apps",
    security(("api_key" = [])),
    request_body = AppSpec,
    responses(
        (status = 200, body = AppVersion, description = "The version, which was there already."),
        (status = 201, body = AppVersion, description = "The version, which is new.",
         headers(("location" = String, description = "Where its app's versions are."))),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `forbidden`, `unauthenticated`, …"),
    )
)]
pub(super) async fn add_version(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JsonBody(app): JsonBody<AppSpec>,
) -> Result<Response, Refusal> {
    let action = AuditAction::AppAdd;
    let (id, permission) = (app.id.clone(), Permission::ChangeApps);
    api.check_noted(&caller, permission, action, id.as_str())
        .await?;
    let faults = manifest::faults(&app);
    if !faults.is_empty() {
        let faults = faults
            .iter()
            .map(|(field, what)| format!("`{field}` {what}"));
        let faults: Vec<String> = faults.collect();
        return Err(bad_request(format!("{}.", faults.join("; "))));
    }
    let audit = caller.audit(&api, action, &id, &app.launch.image);
    let change = AppChange::Add {
        app: Box::new(app),
        by: caller.user.clone(),
        at: api.clock.now(),
    };
    let Applied::AppVersion { version, is_new } = api.change_app(change, audit).await? else {
        return Err(not_found("app"));
    };
    let row = api.app_row(&id).await?;
    let shown = row.version(version).map(|of| shown_version(&row, of));
    let shown = Json(shown.ok_or_else(|| not_found("version"))?);
    if !is_new {
        return Ok(shown.into_response());
    }
    let location = format!("/v1/apps/{id}/versions");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], shown).into_response())
}

/// An app's versions, and where each is live.
#[utoipa::path(
    get, path = "/v1/apps/{app}/versions", tag = "apps",
    security(("api_key" = [])),
    params(("app" = String, Path, description = "The app.")),
    responses(
        (status = 200, body = AppVersions, description = "Its versions, newest first."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, …"),
    )
)]
pub(super) async fn list_versions(
    State(api): State<Arc<Api>>,
    caller: Caller,
    AppPath(id): AppPath,
) -> Result<Json<AppVersions>, Refusal> {
    caller.check(Permission::ChangeApps)?;
    Ok(Json(shown(&api.app_row(&id).await?)))
}

/// Rolls a version out: to sessions that are placed in some metros, or to all. Sessions that run keep
/// the version that they have.
#[utoipa::path(
    put, path = "/v1/apps/{app}/rollout", tag = "apps",
    security(("api_key" = [])),
    params(("app" = String, Path, description = "The app.")),
    request_body = RollOut,
    responses(
        (status = 200, body = AppVersions, description = "The app as it is now."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `not-found`, `forbidden`, `unauthenticated`, …"),
    )
)]
pub(super) async fn roll_out(
    State(api): State<Arc<Api>>,
    caller: Caller,
    AppPath(id): AppPath,
    JsonBody(body): JsonBody<RollOut>,
) -> Result<Json<AppVersions>, Refusal> {
    let action = AuditAction::AppRoll;
    let (subject, permission) = (id.as_str(), Permission::ChangeApps);
    api.check_noted(&caller, permission, action, subject)
        .await?;
    let fits = |metro: &String| !metro.is_empty() && is_plain_text(metro, NODE_NAME_BYTES_MAX);
    if body.metros.len() > STAGED_METROS_MAX || !body.metros.iter().all(fits) {
        return Err(bad_request(format!(
            "`metros` takes at most {STAGED_METROS_MAX} regions as nodes name them, each of 1 to \
             {NODE_NAME_BYTES_MAX} bytes."
        )));
    }
    let wherever = match body.metros.as_slice() {
        [] => "everywhere".to_owned(),
        metros => metros.join(", "),
    };
    let detail = format!("version {}: {wherever}", body.version);
    let audit = caller.audit(&api, action, &id, detail);
    let change = AppChange::Roll {
        app: id.clone(),
        version: body.version,
        metros: body.metros,
        at: api.clock.now(),
    };
    match api.change_app(change, audit).await? {
        Applied::Missing => Err(not_found("version of this app")),
        _ => Ok(Json(shown(&api.app_row(&id).await?))),
    }
}

/// Takes a roll-out back: what is staged is not any more; where nothing is, the version that was live
/// before is live again.
#[utoipa::path(
    delete, path = "/v1/apps/{app}/rollout", tag = "apps",
    security(("api_key" = [])),
    params(("app" = String, Path, description = "The app.")),
    responses(
        (status = 200, body = AppVersions, description = "The app as it is now."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request` if there is nothing to go back to, `not-found`, …"),
    )
)]
pub(super) async fn roll_back(
    State(api): State<Arc<Api>>,
    caller: Caller,
    AppPath(id): AppPath,
) -> Result<Json<AppVersions>, Refusal> {
    let action = AuditAction::AppRollBack;
    let (subject, permission) = (id.as_str(), Permission::ChangeApps);
    api.check_noted(&caller, permission, action, subject)
        .await?;
    let audit = caller.audit(&api, action, &id, "");
    let change = AppChange::RollBack {
        app: id.clone(),
        at: api.clock.now(),
    };
    match api.change_app(change, audit).await? {
        Applied::Missing => Err(not_found("app")),
        Applied::Skipped => Err(nothing_to_roll_back()),
        _ => Ok(Json(shown(&api.app_row(&id).await?))),
    }
}

impl Api {
    async fn change_app(
        &self,
        change: AppChange,
        audit: Box<AuditRow>,
    ) -> Result<Applied, Refusal> {
        let audit = Some(audit);
        let written = self.ledger.write(vec![Op::App { change, audit }]).await;
        let applied = written.map_err(|e| store_failed(&e))?.pop();
        // Others learn of it within seconds; whoever asked, now.
        let looked = self.apps.look(self.ledger.as_ref()).await;
        looked.map_err(|e| store_failed(&e))?;
        Ok(applied.unwrap_or(Applied::Missing))
    }

    async fn app_row(&self, id: &AppId) -> Result<AppRow, Refusal> {
        let rows = self.ledger.apps().await.map_err(|e| store_failed(&e))?;
        let found = rows.into_iter().find(|row| row.id == *id);
        found.ok_or_else(|| not_found("app"))
    }
}

fn shown(row: &AppRow) -> AppVersions {
    let mut versions: Vec<AppVersion> = row
        .versions
        .iter()
        .rev()
        .map(|version| shown_version(row, version))
        .collect();
    let mut idle = 0;
    versions.retain(|version| {
        idle += usize::from(version.state == VersionState::Idle);
        version.state != VersionState::Idle || idle <= APP_VERSIONS_SHOWN_MAX
    });
    let staged = row.staged.iter().map(|(metro, version)| StagedMetro {
        metro: metro.clone(),
        version: *version,
    });
    let live = row.version(row.live);
    AppVersions {
        id: row.id.clone(),
        title: live.map_or_else(String::new, |live| live.app.title.clone()),
        withdrawn: row.withdrawn,
        live: row.live,
        former: row.former,
        staged: staged.collect(),
        versions,
    }
}

fn shown_version(row: &AppRow, version: &VersionRow) -> AppVersion {
    let number = version.version;
    let state = if number == row.live {
        VersionState::Live
    } else if row.staged.iter().any(|(_, staged)| *staged == number) {
        VersionState::Staged
    } else if row.former == Some(number) {
        VersionState::Former
    } else {
        VersionState::Idle
    };
    AppVersion {
        version: number,
        digest: version.digest.clone(),
        image: version.app.launch.image.clone(),
        created_unix_ms: version.created_ms,
        added_by: version.by.as_ref().map(ToString::to_string),
        state,
    }
}
