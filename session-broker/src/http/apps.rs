//! `GET /v1/apps`: the catalogue.

use super::Api;
use super::caller::Caller;
use super::problem::Refusal;
use crate::access::Permission;
use crate::apps::LiveApp;
use crate::sessions::request_of;
use axum::Json;
use axum::extract::State;
use nearlight_protocol::api::{App, AppList};
use nearlight_protocol::app::AppSpec;
use nearlight_protocol::problem::Problem;
use std::sync::Arc;

/// The catalogue: games first, each shelf by title.
#[utoipa::path(
    get, path = "/v1/apps", tag = "apps",
    security(("api_key" = []), ("guest" = [])),
    responses(
        (status = 200, body = AppList, description = "The catalogue."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn list_apps(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Json<AppList>, Refusal> {
    caller.check(Permission::SeeApps)?;
    let apps = api.apps.by_title();
    let apps = apps.iter().map(|app| shown(&api, app)).collect();
    Ok(Json(AppList { apps }))
}

fn shown(api: &Api, entry: &LiveApp) -> App {
    let app = &entry.live;
    let can_run = |app: &AppSpec| api.sessions.directory().can_run(&request_of(app));
    App {
        id: app.id.clone(),
        title: app.title.clone(),
        summary: app.summary.clone(),
        picture: app.picture.clone(),
        shelf: app.shelf,
        controls: app.controls.clone(),
        gpu: app.needs.gpu,
        display: app.needs.display,
        available: can_run(app) || entry.staged.values().any(|app| can_run(app)),
        saves: app.saves.is_some(),
    }
}
