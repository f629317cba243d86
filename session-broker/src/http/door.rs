//! The node listener's door: whoever comes to it without a certificate can come in with a join token,
//! or renew a certificate that is over, and nothing else.
//!
//! **Invariants.** One connection lives for [`OPEN_WITHIN`] at most, bodies and heads are bounded, an
//! address has a rate. A nonce is good once, on the connection that asked for it; so it is kept
//! nowhere else, and any broker of the fleet can answer.

use super::body::JsonBody;
use super::problem::{Refusal, bad_request, enrol_refused, not_found, too_many};
use crate::enrol::Registrar;
use crate::rate::RateLimit;
use crate::time::Clock;
use axum::extract::{DefaultBodyLimit, State};
use axum::middleware::from_fn;
use axum::routing::post;
use axum::{Extension, Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nearlight_kit::network::network_of;
use nearlight_kit::problem::{ProblemResponse, request_id};
use nearlight_kit::streams::ending::to_its_end;
use nearlight_protocol::enrol::{
    ENROL_PATH, Enrol, Enrolled, NONCE_PATH, RENEW_PATH, RenewLate, RenewNonce, Renewed,
};
use nearlight_protocol::limits::ENROL_BODY_BYTES_MAX;
use nearlight_protocol::problem::ProblemType;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// For all that somebody has to say. It is one answer of the ledger and one signature.
const OPEN_WITHIN: Duration = Duration::from_secs(30);
/// For the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Header lines, and bytes of one request's head.
const HEADERS_MAX: usize = 32;
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Requests a minute of one address, and how many at once: a house full of nodes that were all off
/// is back within minutes, and nobody keeps us signing.
const ASKED_PER_MIN: u32 = 120;
const ASKED_BURST: u32 = 120;

/// Serves whoever has no certificate.
#[derive(Debug)]
pub(crate) struct Door {
    service: Router,
}

#[derive(Debug)]
struct Behind {
    registrar: Arc<Registrar>,
    clock: Clock,
    asked: RateLimit<IpAddr>,
}

/// Whoever is at the door.
#[derive(Clone, Debug)]
struct Visitor {
    from: IpAddr,
    /// Held for a look-up, never across an await.
    nonce: Arc<Mutex<Option<String>>>,
}

impl Door {
    pub(crate) fn new(registrar: Arc<Registrar>, clock: Clock) -> Self {
        let behind = Arc::new(Behind {
            registrar,
            clock,
            asked: RateLimit::per_minute(ASKED_PER_MIN, ASKED_BURST),
        });
        let service = Router::new()
            .route(ENROL_PATH, post(enrol))
            .route(NONCE_PATH, post(nonce))
            .route(RENEW_PATH, post(renew))
            .fallback(|| async { not_found("thing for whoever shows no certificate") })
            .method_not_allowed_fallback(|| async {
                ProblemResponse::new(ProblemType::MethodNotAllowed, "Send POST.")
            })
            .layer(DefaultBodyLimit::max(ENROL_BODY_BYTES_MAX))
            .layer(from_fn(request_id))
            .with_state(behind);
        Self { service }
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve<S>(&self, socket: S, peer: SocketAddr, stop: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let visitor = Visitor {
            from: network_of(peer.ip()),
            nonce: Arc::default(),
        };
        let service = TowerToHyperService::new(self.service.clone());
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(visitor.clone());
            service.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(socket), service);
        let ended = to_its_end(
            connection,
            |connection| connection.graceful_shutdown(),
            stop.cancelled(),
            async { tokio::time::sleep(HEAD_WITHIN).await },
        );
        let ended = tokio::time::timeout(OPEN_WITHIN, ended).await;
        let ended = ended.unwrap_or(Ok(()));
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "somebody left the door");
        }
    }
}

impl Behind {
    fn admit(&self, visitor: &Visitor) -> Result<(), Refusal> {
        self.asked
            .take(visitor.from, self.clock.now())
            .map_err(too_many)
    }
}

async fn enrol(
    State(behind): State<Arc<Behind>>,
    Extension(visitor): Extension<Visitor>,
    body: Result<JsonBody<Enrol>, Refusal>,
) -> Result<Json<Enrolled>, Refusal> {
    behind.admit(&visitor)?;
    let JsonBody(asked) = body?;
    let enrolled = behind.registrar.enrol(&asked).await;
    enrolled.map(Json).map_err(enrol_refused)
}

async fn nonce(
    State(behind): State<Arc<Behind>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Json<RenewNonce>, Refusal> {
    behind.admit(&visitor)?;
    let nonce = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    visitor.keep(Some(nonce.clone()));
    Ok(Json(RenewNonce { nonce }))
}

async fn renew(
    State(behind): State<Arc<Behind>>,
    Extension(visitor): Extension<Visitor>,
    body: Result<JsonBody<RenewLate>, Refusal>,
) -> Result<Json<Renewed>, Refusal> {
    behind.admit(&visitor)?;
    let JsonBody(asked) = body?;
    let nonce = visitor.keep(None);
    let nonce = nonce.ok_or_else(|| {
        bad_request("Ask for a nonce first, on this connection; each is good once.")
    })?;
    let renewed = behind.registrar.renew_late(&nonce, &asked).await;
    renewed.map(Json).map_err(enrol_refused)
}

impl Visitor {
    /// Replaces the nonce, and returns the former one.
    fn keep(&self, nonce: Option<String>) -> Option<String> {
        let mut kept = self.nonce.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut kept, nonce)
    }
}
