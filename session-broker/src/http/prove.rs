//! `/v1/probes`: a checker's way to a node's prover. The broker carries the steps and understands none of them: each is
//! signed by checker or node over all that was said before.

use super::Api;
use super::body::{JsonBody, ProbePath, StepPath, bytes};
use super::caller::Caller;
use super::inside::{Cut, refusal_of, to_node, while_it_holds};
use super::problem::{
    Refusal, bad_request, forbidden, node_unreachable, not_found, store_failed, too_many,
};
use crate::access::Permission;
use crate::ledger::AssignmentQuery;
use crate::probes::{Full, Reason, STEP_WITHIN};
use crate::tunnels::{Busy, Place, TunnelError};
use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use nearlight_kit::problem::ProblemResponse;
use nearlight_proof::porc::schedule::{CPU, Due, Duty};
use nearlight_protocol::control::is_device_id;
use nearlight_protocol::id::NodeId;
use nearlight_protocol::identity::AuditAction;
use nearlight_protocol::problem::{Problem, ProblemType};
use nearlight_protocol::prove::{CreateProbe, NewProbe, OFFER, SAID_BY, SAID_BY_NODE};
use nearlight_protocol::tunnel::{EPOCH, INSIDE, INSIDE_PROVE, SESSION};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Largest offer of a node.
const OFFER_BYTES_MAX: usize = 64 * 1024;
/// Seconds after which a node may be free for another probe.
const BUSY_RETRY_S: u32 = 60;
/// For the node's signature, of a probe that came to its end as its time did.
const SIGNED_WITHIN: Duration = Duration::from_secs(60);
const OCTETS: &str = "application/octet-stream";

/// What checker and node say to each other.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "only the API's document speaks of it")]
pub(super) struct StepBytes(Vec<u8>);

/// Opens a probe of a node, for a checker.
#[utoipa::path(
    post, path = "/v1/probes", tag = "probes",
    security(("api_key" = []), ("checker" = [])),
    params(("node" = Option<String>, Query, description = "The node that is probed: a broker that does not hold it hands the request on to the one that does.")),
    request_body = CreateProbe,
    responses(
        (status = 201, body = NewProbe, description = "The probe. It waits ten minutes for each of its steps."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`forbidden`: a checker probes what is assigned to it; `not-found`, `node-unreachable`, `internal` if another broker has the node and cannot be asked, \
                        `too-many-requests` while another probe of that GPU is under way, …"),
    )
)]
pub(super) async fn create_probe(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JsonBody(wanted): JsonBody<CreateProbe>,
) -> Result<(StatusCode, Json<NewProbe>), Refusal> {
    let (node, action) = (wanted.node, AuditAction::NodeProbe);
    let checked = api.check_noted(&caller, Permission::ProbeNodes, action, node.as_str());
    checked.await?;
    let gpu = wanted.gpu;
    if gpu.as_deref().is_some_and(|gpu| !is_device_id(gpu)) {
        return Err(bad_request("`gpu` is no id of a node's GPU."));
    }
    let directory = api.sessions.directory();
    let known = directory.nodes().into_iter().find(|of| of.id == node);
    let known = known.ok_or_else(|| not_found("node"))?;
    if directory.stream(&node).is_none() {
        return Err(node_away(directory.node_holder(&node).is_some()));
    }
    let reason = api.reason(&caller, &node, gpu.as_deref()).await?;
    let tunnels = api.inside.tunnels();
    let (seat, by) = ((&node, gpu.clone()), (&caller.user, reason));
    let opened = tunnels.probes().open(seat, by, Instant::now());
    let place = opened.map_err(|full| match full {
        Full::Node => ProblemResponse::new(
            ProblemType::TooManyRequests,
            "The node is being probed. Come back when that is over.",
        )
        .retry_after_s(BUSY_RETRY_S),
        Full::All => too_many(BUSY_RETRY_S),
        Full::Own => ProblemResponse::new(
            ProblemType::TooManyRequests,
            "You have as many probes under way as one may have that nobody assigned. End one of them.",
        )
        .retry_after_s(BUSY_RETRY_S),
    })?;
    let opened = api.offer_of(&place, gpu.as_deref()).await;
    if opened.is_err() {
        tunnels.probes().close(&place.session);
    }
    let offer = opened?;
    api.note(caller.audit(&api, action, &node, place.session.as_str()))
        .await?;
    let probe = NewProbe {
        id: place.session.to_string(),
        node,
        offer,
        has_sessions: known.slots_free < known.slots_total,
    };
    Ok((StatusCode::CREATED, Json(probe)))
}

/// A step of a probe: the checker's message to the node, and the node's answer.
#[utoipa::path(
    post, path = "/v1/probes/{probe}/{step}", tag = "probes",
    security(("api_key" = []), ("checker" = [])),
    params(("probe" = String, Path, description = "The probe."),
           ("step" = String, Path,
            description = "`begin`, `fill`, `matrix`, `frames`, `reads`, `open` or `sign`, in this order (docs/proof.md)."),
           ("node" = Option<String>, Query, description = "The node that is probed: a broker that does not hold it hands the request on to the one that does.")),
    request_body(content = StepBytes, content_type = "application/octet-stream", description = "The checker's message."),
    responses(
        (status = 200, content_type = "application/octet-stream", body = StepBytes, description = "The node's answer."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request` if the node refuses the step, `too-many-requests` if it gives the probe up for a \
                        session, both with `nearlight-said-by: node`; `not-found`, `node-unreachable`, …"),
    )
)]
pub(super) async fn take_step(
    State(api): State<Arc<Api>>,
    caller: Caller,
    StepPath(probe, step): StepPath,
    request: Request,
) -> Result<Response<Body>, Refusal> {
    caller.check(Permission::ProbeNodes)?;
    api.checker_if_any(&caller).await?;
    let probes = api.inside.tunnels().probes();
    let step = Step::of(&step).ok_or_else(|| not_found("step"))?;
    let place = probes.of(&probe, &caller.user, Instant::now());
    let place = place.ok_or_else(|| not_found("probe"))?;
    let message = bytes(request, &()).await?;
    let asked = api.ask_prover(&place, (Method::POST, step.0), message);
    let asked = tokio::time::timeout(STEP_WITHIN, asked).await;
    let (answer, busy) = match asked.map_err(|_| silent())? {
        Ok(answered) => answered,
        Err(NoAnswer::Node(refusal)) => {
            let said_by = HeaderValue::from_static(SAID_BY_NODE);
            let mut response = refusal.into_response();
            response.headers_mut().insert(SAID_BY, said_by);
            return Ok(response);
        }
        Err(NoAnswer::Here(refusal)) => return Err(refusal),
    };
    let flow = while_it_holds(api, caller, answer.into_body(), busy, Cut::Breaks);
    let headers = [
        (header::CONTENT_TYPE, OCTETS),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(flow)).into_response())
}

/// Ends a probe: the node gives up what it computes for it.
#[utoipa::path(
    delete, path = "/v1/probes/{probe}", tag = "probes",
    security(("api_key" = []), ("checker" = [])),
    params(("probe" = String, Path, description = "The probe."),
           ("node" = Option<String>, Query, description = "The node that is probed: a broker that does not hold it hands the request on to the one that does.")),
    responses(
        (status = 204, description = "It is over."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`forbidden`, `not-found`, `unauthenticated`, …"),
    )
)]
pub(super) async fn end_probe(
    State(api): State<Arc<Api>>,
    caller: Caller,
    ProbePath(probe): ProbePath,
) -> Result<StatusCode, Refusal> {
    caller.check(Permission::ProbeNodes)?;
    api.checker_if_any(&caller).await?;
    let probes = api.inside.tunnels().probes();
    let place = probes.of(&probe, &caller.user, Instant::now());
    place.ok_or_else(|| not_found("probe"))?;
    probes.close(&probe);
    Ok(StatusCode::NO_CONTENT)
}

/// Why there is no answer of a node's prover.
pub(super) enum NoAnswer {
    /// The node refuses, in its words: too busy, or not what it takes.
    Node(Refusal),
    /// The node was not asked, or says nothing.
    Here(Refusal),
}

impl NoAnswer {
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Node(refusal) | Self::Here(refusal) => refusal,
        }
    }

    /// To a question that a node has to answer a refusal is none.
    pub(super) fn silence(self) -> Refusal {
        match self {
            Self::Node(refusal) => no_answer(&refusal),
            Self::Here(refusal) => refusal,
        }
    }

    /// A node's word can be any problem: what is not its to say is as good as nothing.
    fn of_node(refusal: Refusal) -> Self {
        match refusal.problem().name {
            ProblemType::BadRequest | ProblemType::TooManyRequests => Self::Node(refusal),
            _ => Self::Here(no_answer(&refusal)),
        }
    }
}

fn no_answer(refusal: &Refusal) -> Refusal {
    let detail = format!("The node refuses: {}", refusal.problem().detail);
    ProblemResponse::new(ProblemType::NodeUnreachable, detail)
}

/// A step by its name. What it means the node knows.
struct Step(&'static str);

impl Step {
    fn of(name: &str) -> Option<Self> {
        let names = ["begin", "fill", "matrix", "frames", "reads", "open", "sign"];
        names.into_iter().find(|of| *of == name).map(Self)
    }
}

impl Api {
    /// Why the caller may probe a GPU of a node: a checker because it is due, and not otherwise.
    async fn reason(
        &self,
        caller: &Caller,
        node: &NodeId,
        gpu: Option<&str>,
    ) -> Result<Reason, Refusal> {
        let Some(checks) = &self.checks else {
            return Ok(Reason::Own);
        };
        let Some(checker) = self.checker_if_any(caller).await? else {
            return Ok(Reason::Own);
        };
        let now_ms = self.clock.unix_ms();
        let duty = Due {
            duty: Duty::Capacity,
            gpu: gpu.unwrap_or(CPU).to_owned(),
        };
        // That row alone: of all that is due a page has what ends first, and this may be behind it.
        let of = AssignmentQuery::DueOf {
            checker: checker.key_id,
            node: node.clone(),
            duty: duty.name(),
            now_ms,
        };
        let rows = checks.assignments(of).await.map_err(|e| store_failed(&e))?;
        let until_ms = rows.first().map(|row| row.until_ms).ok_or_else(|| {
            forbidden("No probe of that GPU of the node is assigned to this checker now.")
        })?;
        let left = Duration::from_millis(until_ms.saturating_sub(now_ms));
        Ok(Reason::Due(left + SIGNED_WITHIN))
    }

    /// What a node can prove.
    async fn offer_of(
        &self,
        place: &Place,
        gpu: Option<&str>,
    ) -> Result<nearlight_protocol::prove::ProverOffer, Refusal> {
        let asked = gpu.map_or_else(|| OFFER.to_owned(), |gpu| format!("{OFFER}?gpu={gpu}"));
        let (answer, _busy) = self
            .ask_prover(place, (Method::GET, &asked), Bytes::new())
            .await
            .map_err(NoAnswer::refusal)?;
        let body = to_bytes(Body::new(answer.into_body()), OFFER_BYTES_MAX).await;
        let offer = body
            .ok()
            .and_then(|body| serde_json::from_slice(&body).ok());
        offer.ok_or_else(|| {
            let detail =
                "The node says nothing of what it can prove. It may be older than the broker.";
            ProblemResponse::new(ProblemType::NodeUnreachable, detail)
        })
    }

    pub(super) async fn ask_prover(
        &self,
        place: &Place,
        (method, name): (Method, &str),
        message: Bytes,
    ) -> Result<(Response<Incoming>, Busy), NoAnswer> {
        let request = to_node(method, &format!("/{name}"), Body::from(message));
        let mut request = request.map_err(NoAnswer::Here)?;
        let ours = [
            (INSIDE, INSIDE_PROVE.to_owned()),
            (SESSION, place.session.to_string()),
            (EPOCH, place.epoch.0.to_string()),
        ];
        for (name, value) in ours {
            let value = HeaderValue::from_str(&value).map_err(ProblemResponse::internal);
            let value = value.map_err(NoAnswer::Here)?;
            request
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
        let sent = self.inside.tunnels().send(place, None, request).await;
        let (answer, busy) = sent.map_err(|error| {
            NoAnswer::Here(match error {
                TunnelError::Crowded | TunnelError::Share => too_many(1),
                TunnelError::Unreachable => node_unreachable(),
                TunnelError::BrokeOff(cause) => ProblemResponse::new(
                    ProblemType::NodeUnreachable,
                    "The way to the node broke off, and the probe with it. Begin another.",
                )
                .caused_by(cause),
            })
        })?;
        if answer.status().is_success() {
            return Ok((answer, busy));
        }
        Err(NoAnswer::of_node(refusal_of(answer).await))
    }
}

pub(super) fn node_away(has_another_broker: bool) -> Refusal {
    match has_another_broker {
        false => node_unreachable(),
        // Of the node that says nothing.
        true => ProblemResponse::new(
            ProblemType::Internal,
            "Another broker of the region holds the node, and cannot be asked. Try again.",
        ),
    }
}

fn silent() -> Refusal {
    let detail = format!(
        "The node did not answer within {} s.",
        STEP_WITHIN.as_secs()
    );
    ProblemResponse::new(ProblemType::NodeUnreachable, detail)
}
