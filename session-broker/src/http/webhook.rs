//! `/v1/webhook`: where a tenant is told of its jobs, and how that goes.

use super::Api;
use super::body::JsonBody;
use super::caller::Caller;
use super::problem::{Refusal, bad_request, not_found, store_failed};
use crate::access::Permission;
use crate::ledger::{Applied, DeliveryRow, Op, OutsideChange, OwnerId, Sealed, WebhookRow};
use crate::sessions::notice;
use crate::webhooks::{Secret, checked_url, sealed_for};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::identity::AuditAction;
use nearlight_protocol::limits::PAGE_ENTRIES_MAX;
use nearlight_protocol::problem::Problem;
use nearlight_protocol::webhook::{
    Delivery, DeliveryList, DeliveryState, NoticeData, NoticeType, SetWebhook, Webhook, WebhookSet,
};
use std::sync::Arc;

/// For so long the former secret signs beside a new one.
const ROTATION_MS: u64 = 24 * 3600 * 1000;

/// Where your tenant is told of its jobs, and how many notices wait.
#[utoipa::path(
    get, path = "/v1/webhook", tag = "webhooks",
    security(("api_key" = [])),
    responses(
        (status = 200, body = Webhook, description = "The endpoint."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found` if there is none, `forbidden`, `unauthenticated`, …"),
    )
)]
pub(super) async fn show_webhook(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Json<Webhook>, Refusal> {
    caller.check(Permission::SeeKeys)?;
    let row = api.webhook_of(&caller.owner()).await?;
    Ok(Json(row.ok_or_else(|| not_found("webhook"))?.into()))
}

/// Has your tenant told of its jobs at an address. A new endpoint gets a secret, which is shown this once;
/// one that moves keeps its own.
#[utoipa::path(
    put, path = "/v1/webhook", tag = "webhooks",
    security(("api_key" = [])),
    request_body = SetWebhook,
    responses(
        (status = 200, body = WebhookSet, description = "The endpoint, and its secret if it is new."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn set_webhook(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JsonBody(body): JsonBody<SetWebhook>,
) -> Result<Json<WebhookSet>, Refusal> {
    let action = AuditAction::WebhookSet;
    let owner = caller.owner();
    api.check_noted(&caller, Permission::ChangeKeys, action, owner.as_str())
        .await?;
    let url = checked_url(&body.url, &api.webhook_networks).map_err(bad_request)?;
    let (url, at_ms) = (String::from(url), api.clock.unix_ms());
    let (change, secret) = match api.webhook_of(&owner).await? {
        Some(_) => {
            let (owner, url) = (owner.clone(), url.clone());
            (OutsideChange::MoveWebhook { owner, url }, None)
        }
        None => {
            let (secret, sealed) = api.new_secret(&owner)?;
            let change = OutsideChange::AddWebhook {
                owner: owner.clone(),
                url: url.clone(),
                sealed,
                at_ms,
            };
            (change, Some(secret.shown()))
        }
    };
    let audit = Some(caller.audit(&api, action, &owner, url));
    match api.change(Op::Outside { change, audit }).await? {
        Applied::Done => api.told(&owner, secret).await,
        _ => Err(bad_request(
            "Somebody else has changed the webhook at this moment; look at it, and ask again.",
        )),
    }
}

/// Gives the endpoint a new secret, which is shown this once. For a day notices are signed with both.
#[utoipa::path(
    post, path = "/v1/webhook/rotate", tag = "webhooks",
    security(("api_key" = [])),
    responses(
        (status = 200, body = WebhookSet, description = "The endpoint, and its new secret."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn rotate_webhook(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Json<WebhookSet>, Refusal> {
    let action = AuditAction::WebhookRotate;
    let owner = caller.owner();
    api.check_noted(&caller, Permission::ChangeKeys, action, owner.as_str())
        .await?;
    let (secret, sealed) = api.new_secret(&owner)?;
    let change = OutsideChange::RotateWebhook {
        owner: owner.clone(),
        sealed,
        former_until_ms: api.clock.unix_ms() + ROTATION_MS,
    };
    let audit = Some(caller.audit(&api, action, &owner, ""));
    match api.change(Op::Outside { change, audit }).await? {
        Applied::Missing => Err(not_found("webhook")),
        _ => api.told(&owner, Some(secret.shown())).await,
    }
}

/// Has your tenant told of nothing any more. What waits is dropped.
#[utoipa::path(
    delete, path = "/v1/webhook", tag = "webhooks",
    security(("api_key" = [])),
    responses(
        (status = 204, description = "There is none any more."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn remove_webhook(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<StatusCode, Refusal> {
    let action = AuditAction::WebhookRemove;
    let owner = caller.owner();
    api.check_noted(&caller, Permission::ChangeKeys, action, owner.as_str())
        .await?;
    let audit = Some(caller.audit(&api, action, &owner, ""));
    let change = OutsideChange::RemoveWebhook { owner };
    match api.change(Op::Outside { change, audit }).await? {
        Applied::Missing => Err(not_found("webhook")),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// Sends a notice of type `webhook.test`. What becomes of it is among the deliveries.
#[utoipa::path(
    post, path = "/v1/webhook/test", tag = "webhooks",
    security(("api_key" = [])),
    responses(
        (status = 202, body = Delivery, description = "It is to be delivered."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn test_webhook(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<(StatusCode, Json<Delivery>), Refusal> {
    caller.check(Permission::ChangeKeys)?;
    let owner = caller.owner();
    if api.webhook_of(&owner).await?.is_none() {
        return Err(not_found("webhook"));
    }
    let at_ms = api.clock.unix_ms();
    let sent = notice(owner, NoticeType::Test, NoticeData::default(), at_ms);
    let delivery = Delivery {
        id: sent.id.clone(),
        kind: sent.kind.name().to_owned(),
        session: None,
        state: DeliveryState::Waiting,
        attempts: 0,
        created_unix_ms: at_ms,
        next_unix_ms: Some(at_ms),
        problem: String::new(),
    };
    let written = api.ledger.write(vec![Op::Notify(Box::new(sent))]).await;
    written.map_err(|e| store_failed(&e))?;
    Ok((StatusCode::ACCEPTED, Json(delivery)))
}

/// What your endpoint was told or is to be told, newest first.
#[utoipa::path(
    get, path = "/v1/webhook/deliveries", tag = "webhooks",
    security(("api_key" = [])),
    responses(
        (status = 200, body = DeliveryList, description = "The deliveries."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn list_deliveries(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Json<DeliveryList>, Refusal> {
    caller.check(Permission::SeeKeys)?;
    let rows = api
        .ledger
        .deliveries(caller.owner(), PAGE_ENTRIES_MAX)
        .await;
    let rows = rows.map_err(|e| store_failed(&e))?;
    let deliveries = rows.into_iter().map(Delivery::from).collect();
    Ok(Json(DeliveryList { deliveries }))
}

impl Api {
    async fn webhook_of(&self, owner: &OwnerId) -> Result<Option<WebhookRow>, Refusal> {
        let found = self.ledger.webhook(owner.clone()).await;
        found.map_err(|e| store_failed(&e))
    }

    fn new_secret(&self, owner: &OwnerId) -> Result<(Secret, Sealed), Refusal> {
        let secret = Secret::random().map_err(ProblemResponse::internal)?;
        let sealed = self
            .sealer
            .seal_for(&sealed_for(owner), secret.bytes().to_vec());
        Ok((secret, sealed.map_err(ProblemResponse::internal)?))
    }

    async fn told(
        &self,
        owner: &OwnerId,
        secret: Option<String>,
    ) -> Result<Json<WebhookSet>, Refusal> {
        let row = self.webhook_of(owner).await?;
        let webhook = row.ok_or_else(|| not_found("webhook"))?.into();
        Ok(Json(WebhookSet { webhook, secret }))
    }
}

impl From<WebhookRow> for Webhook {
    fn from(row: WebhookRow) -> Self {
        Self {
            url: row.url,
            created_unix_ms: row.created_ms,
            waiting: row.waiting,
            lost: row.lost,
        }
    }
}

impl From<DeliveryRow> for Delivery {
    fn from(row: DeliveryRow) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            session: row.session,
            state: row.state,
            attempts: row.attempts,
            created_unix_ms: row.created_ms,
            next_unix_ms: (row.state == DeliveryState::Waiting).then_some(row.next_ms),
            problem: row.problem,
        }
    }
}
