//! `/v1/sessions` and `/v1/sessions/{id}`.

use super::Api;
use super::body::{JsonBody, SessionPath};
use super::caller::Caller;
use super::gone::Fate;
use super::jobs::Wanted;
use super::problem::{
    Refusal, bad_request, create_refused, end_refused, node_unreachable, not_found,
};
use super::serve::Peer;
use super::streams::Passed;
use super::tenants::checked_budget;
use crate::access::Permission;
use crate::ledger::{Idempotency, Wish};
use crate::seal::ForNode;
use crate::sessions::{Create, CreateError, End, EndError, ShownSession};
use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::api::{CreateSession, EndReason, Session, SessionKind, SessionList};
use nearlight_protocol::id::AppId;
use nearlight_protocol::identity::{AuditAction, Priority};
use nearlight_protocol::limits::{REGION_BYTES_MAX, RTTS_MAX};
use nearlight_protocol::plain::is_plain_text;
use nearlight_protocol::problem::Problem;
use nearlight_protocol::region::RegionRtt;
use nearlight_protocol::work::{AppWork, Work};
use sha2::{Digest, Sha256};
use std::sync::Arc;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
const DEFAULT_LAYOUT: &str = "us";

/// Starts an app or a job: takes a slot at once, or a place in the queue. Jobs are for keys of tenants,
/// operators and administrators.
#[utoipa::path(
    post, path = "/v1/sessions", tag = "sessions",
    security(("api_key" = []), ("guest" = [])),
    params(("idempotency-key" = String, Header,
        description = "1 to 128 visible characters of your choice. The same key and body answer \
                       the same session, so that asking again is safe."),
           ("nearlight-stream-pass" = Option<String>, Header,
        description = "The pass of a checker that is assigned a stream: the session is made on that \
                       node, in a free slot, or not at all (docs/proof.md).")),
    request_body = CreateSession,
    responses(
        (status = 201, body = Session, description = "The session, placed or queued.",
         headers(("location" = String, description = "Its path."))),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `not-found` for an unknown app, `forbidden` for a job of \
                        somebody who gets none, `quota-exceeded`, `save-elsewhere`, `idempotency-conflict`, `too-many-requests`, …"),
    )
)]
pub(super) async fn create_session(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    extensions: Extensions,
    JsonBody(body): JsonBody<CreateSession>,
) -> Result<Response, Refusal> {
    caller.check(Permission::ChangeSessions)?;
    api.check_create_rate(&caller)?;
    let peer = Peer::of(&extensions);
    let saves = body.saves;
    let secrets = body.secrets.clone();
    let mut create = checked(&api, &caller, &headers, peer, body)?;
    let wish = (saves, create.wish.region.as_deref());
    match &mut create.work {
        Work::App(work) => {
            let save = api.save_for(&caller, &work.app, wish, &create.idempotency.key);
            create.wish.save = save.await?;
            if create.wish.price_max.is_some() {
                api.has_prices("price_max").await?;
            }
        }
        Work::Job(spec) => {
            api.check_price(spec).await?;
            let (owner, key) = (caller.owner(), &create.idempotency.key);
            let (image, pull) = api.pinned((&owner, &create.user), key, &spec.image).await?;
            if !api.has_key(&create.user, key).await? {
                api.check_policy(&owner, &image, pull.as_ref()).await?;
            }
            spec.image = image;
            create.sealed = api.sealed(&create.id, &ForNode { secrets, pull })?;
            let owner = (create.tenant.as_ref(), &create.user);
            api.check_volumes(&create.id, owner, key, spec).await?;
        }
    }
    let passed = match api.passed(&caller, &headers, &mut create).await? {
        Some(Passed::Again(session)) => return made(*session),
        Some(Passed::Steered(row)) => Some(row),
        None => None,
    };
    let created = api.sessions.create(create).await;
    if let Some(row) = passed {
        return made(api.steered(&caller, &row, created).await?);
    }
    if let Err(CreateError::NotHere(id)) = &created {
        // Asked again, and another broker holds it.
        let path = format!("/v1/sessions/{id}");
        if let Some(mut answer) = api
            .ask_holder(id, (Method::GET, &path), &headers, peer)
            .await
        {
            *answer.status_mut() = StatusCode::CREATED;
            let location = HeaderValue::from_str(&path).map_err(ProblemResponse::internal)?;
            answer.headers_mut().insert(header::LOCATION, location);
            return Ok(answer);
        }
        // Its holder does not answer: that it is over would be a guess, and a second session.
        if matches!(api.fate(id).await?, Fate::Lives(_)) {
            return Err(node_unreachable());
        }
    }
    made(created.map_err(create_refused)?)
}

fn made(session: Session) -> Result<Response, Refusal> {
    let location = format!("/v1/sessions/{}", session.id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(session),
    )
        .into_response())
}

/// The request as a domain type, or why it is none.
fn checked(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    peer: Peer,
    body: CreateSession,
) -> Result<Create, Refusal> {
    let key = idempotency_key(headers)?;
    let body_hash = fingerprint(api, &body)?;
    let id = nearlight_kit::ids::session();
    let work = match (&body.app, &body.job) {
        (Some(app), None) => app_of(api, app, &body)?,
        (None, Some(spec)) => api.job_of(caller, spec, &body)?,
        (Some(_), Some(_)) | (None, None) => {
            return Err(bad_request(
                "Give either `app`, an entry of the catalogue, or `job`, a spec of your own.",
            ));
        }
    };
    let mut wish = wish(api, peer, body.region, &body.rtt)?;
    wish.price_max = body.price_max;
    let [quota, tenant_quota] = caller.quotas(api.players_max);
    Ok(Create {
        id,
        user: caller.user.clone(),
        tenant: caller.tenant().cloned(),
        priority: caller
            .who
            .tenant
            .as_ref()
            .map_or(Priority::Normal, |of| of.priority),
        work,
        sealed: None,
        wish,
        idempotency: Idempotency { key, body_hash },
        quota,
        tenant_quota,
        budget_micro: checked_budget(body.budget_micro)?,
    })
}

/// What tells this request from others with its Idempotency-Key.
fn fingerprint(api: &Api, body: &CreateSession) -> Result<[u8; 32], Refusal> {
    let text = serde_json::to_vec(&body).map_err(ProblemResponse::internal)?;
    if body.secrets.is_empty() {
        return Ok(Sha256::digest(text).into());
    }
    api.sealer
        .fingerprint(&text)
        .map_err(ProblemResponse::internal)
}

/// The app that is asked for, as its player wants it.
fn app_of(api: &Api, app: &AppId, body: &CreateSession) -> Result<Work, Refusal> {
    let app = api.apps.app(app);
    let app = app.ok_or_else(|| not_found("app"))?.live;
    if !body.secrets.is_empty() {
        return Err(bad_request("`secrets` are of a job; an app has none."));
    }
    let display = body.display.unwrap_or(app.needs.display);
    if !display.is_valid() {
        return Err(bad_request(
            "`display` needs even sides of 64 to 4096 pixels and a rate of 1 to 240 Hz.",
        ));
    }
    let layout = body.keyboard_layout.as_deref();
    let keyboard_layout = layout.unwrap_or(DEFAULT_LAYOUT).to_owned();
    if !is_layout(&keyboard_layout) {
        return Err(bad_request(
            "`keyboard_layout` is an xkb layout such as `de` or `us(intl)`.",
        ));
    }
    Ok(Work::App(AppWork {
        app: (*app).clone(),
        display,
        keyboard_layout,
    }))
}

/// Where the session should run: what the player says of it, and what we know beside.
fn wish(
    api: &Api,
    peer: Peer,
    region: Option<String>,
    measured: &[RegionRtt],
) -> Result<Wish, Refusal> {
    if measured.len() > RTTS_MAX {
        return Err(bad_request(format!(
            "`rtt` has {} round trips; send at most {RTTS_MAX}, of the nearest regions.",
            measured.len()
        )));
    }
    if measured.iter().any(|rtt| !is_region(&rtt.region)) {
        return Err(bad_request("`rtt` names a region as GET /v1/regions does."));
    }
    let is_known = |region: &String| {
        api.nearness.regions().iter().any(|of| of.name == *region)
            || api.sessions.directory().regions().contains_key(region)
    };
    if region.as_ref().is_some_and(|region| !is_known(region)) {
        return Err(bad_request(
            "`region` is none of this broker's; GET /v1/regions lists them.",
        ));
    }
    let estimates = api.nearness.estimates(peer.0.ip(), measured);
    Ok(Wish {
        region,
        save: None,
        probed: None,
        price_max: None,
        estimates,
    })
}

fn is_region(name: &str) -> bool {
    !name.is_empty() && is_plain_text(name, REGION_BYTES_MAX)
}

fn idempotency_key(headers: &HeaderMap) -> Result<String, Refusal> {
    let key = headers.get(IDEMPOTENCY_KEY).and_then(|v| v.to_str().ok());
    match key {
        Some(key)
            if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len())
                && key.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(key.to_owned())
        }
        Some(_) | None => Err(bad_request(
            "Send an `Idempotency-Key` header of 1 to 128 visible ASCII characters, new for each \
             session.",
        )),
    }
}

/// An xkb layout with at most one variant: what may go into a keymap's rule names.
fn is_layout(text: &str) -> bool {
    let word = |word: &str, max: usize| {
        (1..=max).contains(&word.len())
            && word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    match text.strip_suffix(')').and_then(|t| t.split_once('(')) {
        Some((layout, variant)) => word(layout, 12) && word(variant, 24),
        None => word(text, 12),
    }
}

/// Your sessions, newest first; ended ones stay for an hour. A tenant sees its members', an
/// administrator everyone's.
#[utoipa::path(
    get, path = "/v1/sessions", tag = "sessions",
    security(("api_key" = []), ("guest" = [])),
    params(("kind" = Option<SessionKind>, Query, description = "Only such sessions."),
           ("label" = Option<Vec<String>>, Query,
            description = "`NAME=VALUE`: only jobs with this label. Given several times, all have to hold.")),
    responses(
        (status = 200, body = SessionList, description = "The sessions."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn list_sessions(
    State(api): State<Arc<Api>>,
    caller: Caller,
    parts: Parts,
) -> Result<Json<SessionList>, Refusal> {
    caller.check(Permission::SeeSessions)?;
    let wanted = Wanted::of(parts.uri.query().unwrap_or_default())?;
    let sessions = api.sessions.directory().list(caller.whose());
    let sessions = sessions.iter().map(|s| as_seen_by(&caller, s));
    let sessions = sessions.filter(|s| wanted.has(s)).collect();
    let mut sessions = api.with_those_elsewhere(sessions, &caller, &parts).await?;
    sessions.retain(|s| wanted.has(s));
    Ok(Json(SessionList { sessions }))
}

/// One session.
#[utoipa::path(
    get, path = "/v1/sessions/{id}", tag = "sessions",
    security(("api_key" = []), ("guest" = [])),
    params(("id" = String, Path, description = "The session.")),
    responses(
        (status = 200, body = Session, description = "The session."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn show_session(
    State(api): State<Arc<Api>>,
    caller: Caller,
    SessionPath(id): SessionPath,
) -> Result<Json<Session>, Refusal> {
    caller.check(Permission::SeeSessions)?;
    if api.sessions.directory().session(&id).is_none() {
        return Ok(Json(api.over(&caller, &id).await?));
    }
    let session = api.session_of(&caller, Permission::SeeSessions, &id)?;
    Ok(Json(as_seen_by(&caller, &session)))
}

/// Ends a session. Once is enough; one that is over stays over.
#[utoipa::path(
    delete, path = "/v1/sessions/{id}", tag = "sessions",
    security(("api_key" = []), ("guest" = [])),
    params(("id" = String, Path, description = "The session.")),
    responses(
        (status = 202, body = Session, description = "It is ending, or over."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn end_session(
    State(api): State<Arc<Api>>,
    caller: Caller,
    SessionPath(id): SessionPath,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Response, Refusal> {
    caller.check(Permission::ChangeSessions)?;
    let over = async || {
        let over = Json(api.over(&caller, &id).await?);
        Ok((StatusCode::ACCEPTED, over).into_response())
    };
    if api.sessions.directory().session(&id).is_none() {
        return over().await;
    }
    let session = api.session_of(&caller, Permission::ChangeSessions, &id)?;
    let note = || caller.audit(&api, AuditAction::SessionEnd, &id, session.user.as_str());
    let end = End {
        session: id.clone(),
        reason: EndReason::PlayerEnded,
        audit: (!caller.owns(&session)).then(note),
    };
    match api.sessions.end(end).await {
        Ok(()) => {
            let shown = Json(as_seen_by(&caller, &session));
            Ok((StatusCode::ACCEPTED, shown).into_response())
        }
        // It may have moved to another broker at that moment.
        Err(error) => {
            let path = format!("/v1/sessions/{id}");
            let (asked, from) = ((Method::DELETE, path.as_str()), Peer::of(&extensions));
            if let Some(answer) = api.ask_holder(&id, asked, &headers, from).await {
                return Ok(answer);
            }
            match error {
                EndError::NotFound => over().await,
                EndError::Unknown => Err(end_refused(error)),
            }
        }
    }
}

/// The session's view, with whether it is this caller's own.
pub(super) fn as_seen_by(caller: &Caller, session: &ShownSession) -> Session {
    let view = session.view.borrow().clone();
    Session {
        owned: caller.owns(session),
        ..view
    }
}

#[cfg(test)]
mod test {
    use super::is_layout;

    #[test]
    fn layouts_are_names_and_nothing_else() {
        for good in ["us", "de", "us(intl)", "fr(oss_latin9)", "us(dvorak-intl)"] {
            assert!(is_layout(good), "{good}");
        }
        for bad in [
            "",
            "us;reboot",
            "us(",
            "us()",
            "(x)",
            "us(a)(b)",
            "../x",
            "a b",
            "üs",
        ] {
            assert!(!is_layout(bad), "{bad}");
        }
    }
}
