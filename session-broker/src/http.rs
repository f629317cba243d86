//! The public listener: the API under `/v1`, the browser client's files, and who may do what.
//!
//! ```text
//!   request id -> security headers, metrics -> Host and Origin -> route -> caller, rate -> handler
//! ```
//!
//! One file a resource. Handlers turn wire types into domain types, ask [`crate::sessions`], and turn
//! what comes back into an answer; every refusal is a problem (RFC 9457) from [`problem`].
//!
//! **Invariants.** Nothing is done for a Host that is not ours, nor for an Origin that is not the
//! Host's own (no CORS). Whoever is not known does nothing but `whoami`, and
//! watch with a watch link's secret. Only its owner, and an
//! administrator, sees and ends a session.
//!
//! [`door`] is what the node listener serves to whoever shows no certificate.
//!
//! **What it does not know:** the ledger's schema, the fleet's inside, what an SDP offer says.

use crate::catalogue::Catalogue;
use crate::config::{CallerLimits, SessionTimes};
use crate::enrol::Registrar;
use crate::ledger::Ledger;
use crate::rate::RateLimit;
use crate::sessions::Sessions;
use crate::time::Clock;
use crate::tokens::Signer;
use crate::watch::WatchLinks;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use metrics_exporter_prometheus::PrometheusHandle;
use nearlight_kit::problem::{ProblemResponse, request_id};
use nearlight_protocol::limits::API_BODY_BYTES_MAX;
use nearlight_protocol::problem::ProblemType;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

mod apps;
mod body;
mod caller;
mod door;
mod events;
mod forward;
mod gone;
mod guard;
mod listing;
mod node_admin;
mod nodes;
mod ops;
mod peer;
mod placement;
mod probe;
mod problem;
mod relay;
mod serve;
mod session;
mod ticket;
mod watch_links;
mod watching;
mod web;
mod whep;
mod whoami;

pub(crate) use caller::{Identities, RateKey, credential_hash};
pub(crate) use door::Door;
pub(crate) use forward::Region;
pub(crate) use guard::Hosts;
pub(crate) use peer::peer_service;
pub(crate) use serve::{PublicListener, converse, public_tls};

/// What every handler has.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) sessions: Sessions,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) links: Arc<WatchLinks>,
    pub(crate) registrar: Arc<Registrar>,
    pub(crate) signer: Signer,
    pub(crate) clock: Clock,
    pub(crate) catalogue: Catalogue,
    pub(crate) identities: Identities,
    pub(crate) rates: Rates,
    pub(crate) hosts: Hosts,
    /// Whether browsers reach us over TLS, so that cookies can be `Secure`.
    pub(crate) https: bool,
    pub(crate) ticket_s: u32,
    pub(crate) times: SessionTimes,
    pub(crate) metrics: Metrics,
    pub(crate) client_web: Option<PathBuf>,
    /// The other brokers that share the ledger, if there are any.
    pub(crate) region: Option<Region>,
    /// `/openapi.json`, rendered once.
    pub(crate) openapi: String,
    /// Ends the streams of server-sent events.
    pub(crate) stop: CancellationToken,
}

/// What `/metrics` renders.
#[derive(Clone)]
pub(crate) struct Metrics(pub(crate) PrometheusHandle);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// The callers' rates.
#[derive(Debug)]
pub(crate) struct Rates {
    pub(crate) requests: RateLimit<RateKey>,
    pub(crate) creates: RateLimit<RateKey>,
    pub(crate) guests: RateLimit<RateKey>,
    pub(crate) viewers: RateLimit<RateKey>,
}

impl Rates {
    pub(crate) fn new(limits: &CallerLimits) -> Self {
        Self {
            requests: RateLimit::per_second(limits.requests_per_s, limits.requests_burst),
            creates: RateLimit::per_minute(limits.creates_per_min, limits.creates_burst),
            guests: RateLimit::per_minute(limits.guests_per_min, limits.guests_burst),
            viewers: RateLimit::per_minute(limits.viewers_per_min, limits.viewers_burst),
        }
    }
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Nearlight session broker",
    description = "Starts sessions on the nearest capable edge node, and hands out the way to them.",
    license(name = "Apache-2.0")
))]
struct Described;

/// Every route, and the document that describes it: what is not described is not routed.
pub(crate) fn routes() -> (Router<Arc<Api>>, utoipa::openapi::OpenApi) {
    let mut described = Described::openapi();
    ops::describe_security(&mut described);
    OpenApiRouter::with_openapi(described)
        .routes(routes!(whoami::whoami))
        .routes(routes!(apps::list_apps))
        .routes(routes!(nodes::list_nodes))
        .routes(routes!(node_admin::create_join_token))
        .routes(routes!(node_admin::revoke_node))
        .routes(routes!(node_admin::drain_node, node_admin::undrain_node))
        .routes(routes!(probe::probe_node))
        .routes(routes!(session::create_session, session::list_sessions))
        .routes(routes!(session::show_session, session::end_session))
        .routes(routes!(placement::show_placement))
        .routes(routes!(events::watch_session))
        .routes(routes!(ticket::create_ticket))
        .routes(routes!(whep::attach, whep::whep_options))
        .routes(routes!(whep::patch_attachment, whep::end_attachment))
        .routes(routes!(
            watch_links::create_watch_link,
            watch_links::list_watch_links
        ))
        .routes(routes!(watch_links::revoke_watch_link))
        .routes(routes!(watching::show_watched))
        .routes(routes!(watching::watch, watching::watch_options))
        .routes(routes!(watching::patch_watcher, watching::end_watcher))
        .routes(routes!(ops::openapi))
        .routes(routes!(ops::jwks))
        .routes(routes!(ops::healthz))
        .routes(routes!(ops::readyz))
        .routes(routes!(ops::metrics))
        .split_for_parts()
}

/// The whole public service.
pub(crate) fn service(api: Arc<Api>, routes: Router<Arc<Api>>) -> Router {
    routes
        .fallback(web::files)
        .method_not_allowed_fallback(|| async {
            ProblemResponse::new(
                ProblemType::MethodNotAllowed,
                "The header `Allow` lists the methods that this path takes.",
            )
        })
        .layer(DefaultBodyLimit::max(API_BODY_BYTES_MAX))
        .layer(from_fn_with_state(api.clone(), forward::to_holder))
        .layer(from_fn_with_state(api.clone(), guard::check_origin))
        .layer(from_fn(guard::finish))
        .layer(from_fn(request_id))
        .with_state(api)
}

#[cfg(test)]
mod test;
