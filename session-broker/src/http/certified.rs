//! What the node listener serves to a checker, whose certificate says who it is: what checkers do and nothing else.
//!
//! **Invariants.** Each request is one of the checker of the connection's certificate, whatever its headers say. Nothing is
//! answered to one that was shut out, from its next request on, however good its certificate, nor to one whose certificate is
//! over. One checker has [`CONNECTIONS_MAX`] connections at most. What checkers alone may is refused on the public listener,
//! where nobody shows a certificate.
//!
//! **What it does not know:** how certificates are verified (TLS did that), how they are made.

use super::body::JsonBody;
use super::caller::{Caller, Certified, RateKey, nobody};
use super::forward::to_holder;
use super::problem::{Refusal, enrol_refused, forbidden, not_found, store_failed};
use super::serve::{Peer, converse};
use super::{Api, checker_account, duties, guard, log, ops, prove, receipts, rounds};
use crate::access::Permission;
use crate::ledger::CheckerRow;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Extensions, HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json, Router};
use nearlight_kit::clock::WallClock;
use nearlight_kit::patient::Patient;
use nearlight_kit::pki::{CheckerName, SigningRequest};
use nearlight_kit::problem::{ProblemResponse, request_id};
use nearlight_kit::room::Each;
use nearlight_protocol::checker::{CheckerCertificate, RenewChecker};
use nearlight_protocol::limits::API_BODY_BYTES_MAX;
use nearlight_protocol::problem::{Problem, ProblemType};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Connections of one checker at a time: each of its threads has one.
const CONNECTIONS_MAX: usize = 64;
/// A checker that takes nothing of its answer for so long is gone.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// How often the clock is looked at for the end of a certificate: it may be set meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Serves checkers.
#[derive(Clone, Debug)]
pub(crate) struct ForCheckers {
    api: Arc<Api>,
    service: Router,
    /// Of a checker, by its key; and of those that show its key's name and were shut out.
    connections: Each<(String, bool)>,
}

impl ForCheckers {
    pub(crate) fn new(api: Arc<Api>) -> Self {
        let service = routes()
            .fallback(|| async { not_found("thing for checkers") })
            .method_not_allowed_fallback(|| async {
                ProblemResponse::new(
                    ProblemType::MethodNotAllowed,
                    "The header `Allow` lists the methods that this path takes.",
                )
            })
            .layer(DefaultBodyLimit::max(API_BODY_BYTES_MAX))
            .layer(from_fn_with_state(api.clone(), to_holder))
            .layer(from_fn_with_state(api.clone(), known))
            .layer(from_fn_with_state(api.clone(), guard::finish))
            .layer(from_fn(request_id))
            .with_state(api.clone());
        Self {
            api,
            service,
            connections: Each::new(CONNECTIONS_MAX),
        }
    }

    /// Serves one connection to its end, or to that of the certificate.
    pub(crate) async fn serve<S>(
        &self,
        socket: S,
        (peer, name, not_after): (SocketAddr, CheckerName, SystemTime),
        stop: CancellationToken,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // Who was shut out hears so, and takes nothing of what the checker may have that came in again.
        let is_known = self.api.certified(&name, Peer(peer)).await.is_ok();
        let whose = (name.key_id().to_owned(), is_known);
        let Some(_counted) = self.connections.count(whose) else {
            tracing::info!(
                checker = name.key_id(),
                "has as many connections as a checker may have"
            );
            return;
        };
        let service = self.service.clone().layer(Extension(Certified(name)));
        let socket = Patient::new(socket, TAKEN_WITHIN);
        let ends = stop.child_token();
        let served = Box::pin(converse(socket, peer, service, ends.clone()));
        let over = async {
            end_of(not_after, self.api.registrar.wall()).await;
            ends.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = served => {}
            () = over => {}
        }
    }
}

/// Waits until a certificate is over.
async fn end_of(not_after: SystemTime, wall: &WallClock) {
    while let Ok(left) = not_after.duration_since(wall.now()) {
        tokio::time::sleep(left.clamp(Duration::from_millis(1), LOOK_EVERY)).await;
    }
}

/// The next certificate of the checker that asks: it shows the present one. One that is over is renewed at the node
/// listener's door (docs/protocol.md).
#[utoipa::path(
    post, path = "/v1/checkers/me/certificate", tag = "checkers",
    security(("checker" = [])),
    request_body = RenewChecker,
    responses(
        (status = 200, body = CheckerCertificate, description = "It holds for a day from now on; the former one to its end."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`: it is no request for a certificate. `forbidden`: a certificate was not shown. `unauthenticated`, …"),
    )
)]
pub(super) async fn renew_certificate(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JsonBody(asked): JsonBody<RenewChecker>,
) -> Result<Json<CheckerCertificate>, Refusal> {
    api.checker(&caller).await?;
    let name = caller.checker.as_ref().ok_or_else(by_certificate)?;
    let request = SigningRequest::parse(&asked.request);
    let request = request.map_err(|error| enrol_refused(error.into()))?;
    let certificate = api.registrar.certify_checker(name, &request);
    certificate.map(Json).map_err(enrol_refused)
}

/// What a checker does, and what it reads of the log that it watches.
fn routes() -> Router<Arc<Api>> {
    let (router, _) = OpenApiRouter::new()
        .routes(routes!(duties::my_assignments))
        .routes(routes!(duties::report))
        .routes(routes!(duties::my_standing))
        .routes(routes!(duties::end_instance))
        .routes(routes!(rounds::beacon_round))
        .routes(routes!(duties::ask_alive))
        .routes(routes!(renew_certificate))
        .routes(routes!(checker_account::my_account))
        .routes(routes!(prove::create_probe))
        .routes(routes!(prove::end_probe))
        .routes(routes!(prove::take_step))
        .routes(routes!(receipts::append_receipt, receipts::list_receipts))
        .routes(routes!(receipts::show_receipt))
        .routes(routes!(receipts::put_evidence, receipts::get_evidence))
        .routes(routes!(receipts::show_directory))
        .routes(routes!(log::checkpoint))
        .routes(routes!(log::tile))
        .routes(routes!(log::candidate))
        .routes(routes!(log::cosign))
        .routes(routes!(ops::healthz))
        .split_for_parts();
    router
}

/// Lets a checker's request in, as that checker's.
async fn known(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let from = Peer::of(request.extensions());
    let certified = request.extensions().get::<Certified>().cloned();
    let found = match certified {
        Some(Certified(name)) => api.certified(&name, from).await,
        None => Err(nobody()),
    };
    match found {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => {
            let mut response = refusal.into_response();
            // Whoever is out keeps no connection.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
            response
        }
    }
}

impl Api {
    /// Holds whoever asks for what is everybody's to the rate of their address; a checker was held to its own.
    pub(super) fn within_rate_of(&self, extensions: &Extensions) -> Result<(), Refusal> {
        match extensions.get::<Caller>() {
            Some(Caller {
                checker: Some(_), ..
            }) => Ok(()),
            _ => self.within_rate(RateKey::of(Peer::of(extensions))),
        }
    }

    /// The checker that asks.
    pub(super) async fn checker(&self, caller: &Caller) -> Result<CheckerRow, Refusal> {
        caller.check(Permission::ProbeNodes)?;
        self.checker_if_any(caller)
            .await?
            .ok_or_else(by_certificate)
    }

    /// The checker that asks, if it is one. Who has a checker's account without its certificate is refused.
    pub(super) async fn checker_if_any(
        &self,
        caller: &Caller,
    ) -> Result<Option<CheckerRow>, Refusal> {
        let Some(checks) = &self.checks else {
            return Ok(None);
        };
        let found = checks.checker_of(&caller.user).await;
        let Some(row) = found.map_err(|e| store_failed(&e))? else {
            return Ok(None);
        };
        let shown = caller.checker.as_ref().map(CheckerName::key_id);
        match shown == Some(row.key_id.as_str()) {
            true => Ok(Some(row)),
            false => Err(by_certificate()),
        }
    }
}

/// Who is a checker shows a certificate, and nothing else counts.
fn by_certificate() -> Refusal {
    forbidden(
        "This takes a checker's certificate, on the node listener. A checker gets one with `checker join`.",
    )
}
