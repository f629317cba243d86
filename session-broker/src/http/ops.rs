//! For operators and programs: health, metrics, the API's own description, the signing keys.

use super::caller::Caller;
use super::problem::Refusal;
use super::{Api, Metrics};
use crate::access::Permission;
use crate::ledger::{Ledger, StoreError};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::problem::Problem;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};

/// For one read of the ledger. A probe that waits longer has failed anyway.
const READY_WITHIN: Duration = Duration::from_secs(2);
/// For how long what a look found is answered: anybody may ask, as often as they like.
const LOOK_FRESH: Duration = Duration::from_secs(1);

/// The OpenAPI 3.1 document of this API.
#[utoipa::path(
    get, path = "/openapi.json", tag = "operations",
    responses((status = 200, content_type = "application/json", body = serde_json::Value,
               description = "This document."))
)]
pub(super) async fn openapi(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (headers, api.openapi.clone())
}

/// The Ed25519 keys that sign grants and tickets (RFC 7517, RFC 8037).
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "operations",
    responses((status = 200, content_type = "application/json", body = serde_json::Value,
               description = "A JWK set."))
)]
pub(super) async fn jwks(State(api): State<Arc<Api>>) -> Json<serde_json::Value> {
    Json(api.signer.jwks())
}

/// Whether the process lives.
#[utoipa::path(
    get, path = "/healthz", tag = "operations",
    responses((status = 200, content_type = "text/plain", body = String, description = "`ok`"))
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the broker can take requests.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Readiness {
    /// Nodes that take sessions now.
    nodes_online: usize,
}

/// Whether requests can be served: the ledger answers, and takes what is written.
#[utoipa::path(
    get, path = "/readyz", tag = "operations",
    responses(
        (status = 200, body = Readiness, description = "They can."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`internal`: the ledger does not answer, or could not be written last and cannot be now."),
    )
)]
pub(super) async fn readyz(State(api): State<Arc<Api>>) -> Result<Json<Readiness>, Refusal> {
    let asked = api.clone();
    let look = async move { asked.ready.is_so(&*asked.ledger).await };
    // A task's: who hangs up does not end the look of the others, for somebody to begin another.
    if !api.inside.tasks.spawn(look).await.unwrap_or(false) {
        return Err(ProblemResponse::internal("the ledger is not ready"));
    }
    Ok(Json(Readiness {
        nodes_online: api.sessions.directory().node_counts().online,
    }))
}

/// Whether the ledger answers, and takes what is written: one look for all who ask, at most one a [`LOOK_FRESH`].
///
/// **Invariant.** A ledger that fails since the last look is looked at again.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// Held while somebody looks: whoever asks meanwhile has what that finds.
    last: Mutex<Option<Looked>>,
}

#[derive(Clone, Copy, Debug)]
struct Looked {
    at: Instant,
    is_ready: bool,
}

impl Ready {
    async fn is_so(&self, ledger: &dyn Ledger) -> bool {
        let mut last = self.last.lock().await;
        if let Some(Looked { at, is_ready }) = *last
            && at.elapsed() < LOOK_FRESH
            && !(is_ready && ledger.is_failing())
        {
            return is_ready;
        }
        let is_ready = match tokio::time::timeout(READY_WITHIN, look(ledger)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "not ready");
                false
            }
            Err(_elapsed) => {
                tracing::warn!("not ready: the ledger does not answer");
                false
            }
        };
        *last = Some(Looked {
            at: Instant::now(),
            is_ready,
        });
        is_ready
    }
}

async fn look(ledger: &dyn Ledger) -> Result<(), StoreError> {
    ledger.credential([0; 32]).await?;
    // Nobody else may write to find out that it works again: callers are kept away.
    if ledger.is_failing() {
        ledger.write(Vec::new()).await?;
    }
    Ok(())
}

/// The broker's metrics, for Prometheus. They tell how many sessions run: for operators alone. On a
/// listener of their own (`metrics_listen`) they ask for no key.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    security(("api_key" = [])),
    responses(
        (status = 200, content_type = "text/plain", body = String,
         description = "Prometheus text format."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`forbidden`, `unauthenticated`."),
    )
)]
pub(super) async fn metrics(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<impl IntoResponse, Refusal> {
    caller.check(Permission::SeeMetrics)?;
    Ok(rendered(&api.metrics))
}

/// What the listener for metrics alone serves.
pub(crate) fn metrics_service(metrics: Metrics) -> Router {
    Router::new().route("/metrics", get(async move || rendered(&metrics)))
}

fn rendered(metrics: &Metrics) -> impl IntoResponse + use<> {
    let headers = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (headers, metrics.0.render())
}

/// How callers say who they are.
pub(super) fn describe_security(described: &mut OpenApi) {
    let bearer = |description: &str| {
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some(description))
                .build(),
        )
    };
    let cookie = ApiKeyValue::with_description(
        super::cookies::GUEST.name,
        "A guest's cookie, from GET /v1/whoami.",
    );
    let certificate = SecurityScheme::MutualTls {
        description: Some("A checker's certificate, on the node listener.".to_owned()),
        deprecated: None,
        extensions: None,
    };
    let components = described.components.get_or_insert_default();
    for (name, scheme) in [
        ("api_key", bearer("An API key: `nlk_…`.")),
        ("ticket", bearer("A ticket of the session.")),
        ("guest", SecurityScheme::ApiKey(ApiKey::Cookie(cookie))),
        ("checker", certificate),
    ] {
        components.add_security_scheme(name, scheme);
    }
}
