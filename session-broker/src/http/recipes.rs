//! `GET /v1/recipes`: jobs that are ready to start.

use super::Api;
use super::caller::Caller;
use super::problem::Refusal;
use crate::access::Permission;
use axum::Json;
use axum::extract::State;
use nearlight_protocol::api::RecipeList;
use nearlight_protocol::problem::Problem;
use std::sync::Arc;

/// The recipes: each a job to send to `POST /v1/sessions`, as it is or changed.
#[utoipa::path(
    get, path = "/v1/recipes", tag = "jobs",
    security(("api_key" = [])),
    responses(
        (status = 200, body = RecipeList, description = "The recipes, by id."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`unauthenticated`, `forbidden`, `too-many-requests`."),
    )
)]
pub(super) async fn list_recipes(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Json<RecipeList>, Refusal> {
    caller.check(Permission::StartJobs)?;
    Ok(Json(api.recipes.clone()))
}
