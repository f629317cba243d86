//! What is asked of the node itself, about the inside of a container: its log, a command, its files.
//!
//! The broker says so in a header that no caller can set. Who answers is whoever owns the container.
//!
//! **What it does not know:** what a container is.

use super::Endpoints;
use super::endpoints::Missing;
use super::proxy::missing;
use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Response};
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::ext::Protocol;
use nearlight_kit::problem::ProblemResponse;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::problem::ProblemType;
use nearlight_protocol::tunnel::{
    EPOCH, INSIDE, INSIDE_EXEC, INSIDE_FILES, INSIDE_LOGS, INSIDE_PROVE, SESSION, UPGRADE,
};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio_util::sync::CancellationToken;

/// Answers about the inside of one container.
pub(crate) trait Inside: fmt::Debug + Send + Sync {
    /// The answer, or why there is none.
    fn answer(
        self: Arc<Self>,
        asked: Asked,
    ) -> BoxFuture<'static, Result<Response<Body>, ProblemResponse>>;
}

/// Answers about what is no session that runs: probes, each under an id of its own, and sessions that are over.
pub(crate) trait Entrance: fmt::Debug + Send + Sync {
    /// Whoever answers for this one, until it is dropped.
    fn enter(&self, session: &SessionId) -> Arc<dyn Inside>;
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) service: Service,
    pub(crate) request: Request<Incoming>,
    /// Cancelled once the container is not to be asked any more.
    pub(crate) closed: CancellationToken,
    /// What counts as use of the job.
    pub(crate) entered: Arc<Entered>,
    pub(crate) tasks: Shutdown,
}

/// For what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Its log.
    Logs,
    /// A command; the request has changed the protocol.
    Exec,
    /// Files out of it.
    GetFiles,
    /// Files into it.
    PutFiles,
    /// A step of a probe; there is no container then.
    Prove,
}

/// Who answers about a session's container.
#[derive(Debug)]
pub(crate) struct Entered {
    epoch: u64,
    inside: Arc<dyn Inside>,
    /// Counts up with what moves.
    pub(crate) seen: AtomicU64,
    pub(super) closed: CancellationToken,
}

impl Entered {
    pub(super) fn new(epoch: u64, inside: Arc<dyn Inside>) -> Self {
        Self {
            epoch,
            inside,
            seen: AtomicU64::new(0),
            closed: CancellationToken::new(),
        }
    }
}

/// Has the container's owner answer.
pub(super) async fn ask(
    mut request: Request<Incoming>,
    session: &SessionId,
    endpoints: &Endpoints,
    tasks: Shutdown,
) -> Result<Response<Body>, ProblemResponse> {
    let service = named(&mut request, session)?;
    let epoch = text(&request, EPOCH).and_then(|epoch| epoch.parse().ok());
    let entered = endpoints.inside(session).ok_or_else(not_there)?;
    if Some(entered.epoch) != epoch {
        return Err(missing(Missing::Epoch));
    }
    let closed = entered.closed.clone();
    let asked = Asked {
        service,
        request,
        closed: closed.clone(),
        entered: entered.clone(),
        tasks,
    };
    tokio::select! {
        answered = entered.inside.clone().answer(asked) => answered,
        () = closed.cancelled() => Err(missing(Missing::Session)),
    }
}

/// Has whoever keeps something of a session that is over answer.
pub(super) async fn ask_ended(
    mut request: Request<Incoming>,
    session: &SessionId,
    inside: Arc<dyn Inside>,
    tasks: Shutdown,
) -> Result<Response<Body>, ProblemResponse> {
    let service = named(&mut request, session)?;
    let entered = Arc::new(Entered::new(0, inside.clone()));
    let asked = Asked {
        service,
        request,
        closed: entered.closed.clone(),
        entered,
        tasks,
    };
    inside.answer(asked).await
}

/// What is asked for, if it is of this session.
fn named(request: &mut Request<Incoming>, session: &SessionId) -> Result<Service, ProblemResponse> {
    if text(request, SESSION) != Some(session.as_str()) {
        return Err(missing(Missing::Session));
    }
    let name = text(request, INSIDE).unwrap_or_default();
    let service = service(name, request.method()).ok_or_else(|| {
        let detail = "The node is older than its broker, and cannot do this.";
        ProblemResponse::new(ProblemType::BadRequest, detail)
    })?;
    if service == Service::Exec {
        let protocol = request.extensions_mut().remove::<Protocol>();
        if protocol.is_none_or(|protocol| protocol.as_str() != UPGRADE) {
            let detail = "The request changes to no protocol of ours.";
            return Err(ProblemResponse::new(ProblemType::BadRequest, detail));
        }
    }
    Ok(service)
}

fn text<'a>(request: &'a Request<Incoming>, name: &str) -> Option<&'a str> {
    let value = request.headers().get(name);
    value.and_then(|value: &HeaderValue| value.to_str().ok())
}

fn service(name: &str, method: &Method) -> Option<Service> {
    match (name, method) {
        (INSIDE_LOGS, &Method::GET) => Some(Service::Logs),
        (INSIDE_EXEC, &Method::CONNECT) => Some(Service::Exec),
        (INSIDE_FILES, &Method::GET) => Some(Service::GetFiles),
        (INSIDE_FILES, &Method::PUT) => Some(Service::PutFiles),
        (INSIDE_PROVE, &Method::GET | &Method::POST) => Some(Service::Prove),
        _ => None,
    }
}

fn not_there() -> ProblemResponse {
    ProblemResponse::new(
        ProblemType::JobNotReady,
        "The job has no container yet. Its session's events say how far it is.",
    )
    .retry_after_s(2)
}
