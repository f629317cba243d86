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
//! Host's own (no CORS, but for the beacon, which says nothing). Whoever is not known does nothing but `whoami`, and
//! watch with a watch link's secret. Each handler names the permission that it needs
//! ([`crate::access`]); what is out of a caller's reach is answered like what does not exist.
//!
//! [`door`] is what the node listener serves to whoever shows no certificate, [`certified`] to checkers.
//!
//! **What it does not know:** the ledger's schema, the fleet's inside, what an SDP offer says.

use crate::apps::Apps;
use crate::checks::Checks;
use crate::config::{CallerLimits, SessionTimes};

use crate::enrol::Registrar;
use crate::ledger::Ledger;
use crate::nearness::Nearness;
use crate::node_keys::NodeKeys;
use crate::oidc::Provider;
use crate::quality::Desk;
use crate::rate::RateLimit;
use crate::receipts::Receipts;
use crate::registry::Registries;
use crate::relays::Relays;
use crate::seal::Sealer;
use crate::sessions::Sessions;
use crate::time::Clock;
use crate::tokens::Signer;
use crate::verdicts::Verdicts;
use crate::watch::WatchLinks;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::HeaderValue;
use axum::middleware::{from_fn, from_fn_with_state};
use metrics_exporter_prometheus::PrometheusHandle;
use nearlight_kit::endpoint::site::Site;
use nearlight_kit::network::Network;
use nearlight_kit::problem::{ProblemResponse, request_id};
use nearlight_protocol::api::RecipeList;
use nearlight_protocol::limits::API_BODY_BYTES_MAX;
use nearlight_protocol::problem::ProblemType;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

mod app_versions;
mod apps;
mod audit;
mod body;
mod caller;
mod certified;
mod checker_account;
mod checkers;
mod cookies;
mod device;
mod disputes;
mod door;
mod doubt;
mod duties;
mod endpoint;
mod events;
mod forward;
mod gone;
mod guard;
mod identities;
mod image_policy;
mod inside;
mod jobs;
mod keys;
mod listing;
mod log;
mod login;
mod node_admin;
mod node_standing;
mod nodes;
mod ops;
mod peer;
mod placement;
mod probe;
mod problem;
mod prove;
mod quality;
mod receipts;
mod recipes;
mod regions;
mod registries;
mod relay;
mod revocations;
mod rounds;
mod saves;
mod serve;
mod session;
mod stakes;
mod streams;
mod tenants;
mod ticket;
mod usage;
mod volumes;
mod watch_links;
mod watching;
mod web;
mod webhook;
mod whep;
mod whoami;

pub(crate) use caller::RateKey;
pub(crate) use certified::ForCheckers;
pub(crate) use door::Door;
pub(crate) use endpoint::Elsewhere;
pub(crate) use forward::{CLIENT, Region};
pub(crate) use guard::{Hosts, content_policy};
pub(crate) use identities::Identities;
pub(crate) use inside::Inside;
pub(crate) use ops::Ready;
pub(crate) use ops::metrics_service;
pub(crate) use peer::peer_service;
pub(crate) use registries::sealed_for as registry_sealed_for;
pub(crate) use serve::{Peer, PublicListener, Room, converse};
pub(crate) use usage::UsageQuestions;

/// What every handler has.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) sessions: Sessions,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) links: Arc<WatchLinks>,
    pub(crate) registrar: Arc<Registrar>,
    pub(crate) signer: Signer,
    pub(crate) sealer: Sealer,
    /// Who says what a job's tag stands for.
    pub(crate) registries: Registries,
    /// What the volumes of one owner may have together, MiB.
    pub(crate) volumes_mib_max: u64,
    /// Private addresses at which endpoints of webhooks may be.
    pub(crate) webhook_networks: Arc<[Network]>,
    pub(crate) clock: Clock,
    pub(crate) apps: Arc<Apps>,
    /// Jobs that are ready to start.
    pub(crate) recipes: RecipeList,
    pub(crate) identities: Identities,
    pub(crate) ready: Ready,
    pub(crate) usage_questions: UsageQuestions,
    /// Who says who a player is.
    pub(crate) provider: Option<Provider>,
    pub(crate) rates: Rates,
    pub(crate) hosts: Hosts,
    /// Whether browsers reach us over TLS, so that cookies can be `Secure`.
    pub(crate) https: bool,
    pub(crate) ticket_s: u32,
    /// Who hands out the way around networks that let nothing through.
    pub(crate) relays: Option<Relays>,
    pub(crate) times: SessionTimes,
    /// Whether one can play as a guest.
    pub(crate) guests: bool,
    /// Sessions that a player who logged in may hold.
    pub(crate) players_max: u32,
    pub(crate) metrics: Metrics,
    pub(crate) client_web: Option<PathBuf>,
    /// How far regions are from whoever asks.
    pub(crate) nearness: Arc<Nearness>,
    /// `Content-Security-Policy` of every answer: our own pages may time the beacons.
    pub(crate) content_policy: HeaderValue,
    /// The log of receipts, if this broker keeps one.
    pub(crate) receipts: Option<Arc<Receipts>>,
    /// What they come to.
    pub(crate) verdicts: Option<Arc<Verdicts>>,
    /// Who checks whom, if this broker keeps a log.
    pub(crate) checks: Option<Arc<Checks>>,
    /// What nodes sign receipts with.
    pub(crate) node_keys: Arc<NodeKeys>,
    /// Receipts of sessions, on their way.
    pub(crate) desk: Arc<Desk>,
    /// Where jobs have their addresses, if there is an endpoint.
    pub(crate) jobs: Option<Site>,
    /// The way to the inside of jobs.
    pub(crate) inside: Inside,
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

/// Denied attempts of one caller that the audit log notes a minute: its rows are kept for long.
const DENIALS_PER_MIN: u32 = 10;

/// The callers' rates.
#[derive(Debug)]
pub(crate) struct Rates {
    pub(crate) requests: RateLimit<RateKey>,
    pub(crate) creates: RateLimit<RateKey>,
    pub(crate) guests: RateLimit<RateKey>,
    pub(crate) viewers: RateLimit<RateKey>,
    pub(crate) keys: RateLimit<RateKey>,
    pub(crate) key_creates: RateLimit<RateKey>,
    pub(crate) tenants: RateLimit<RateKey>,
    pub(crate) tenant_creates: RateLimit<RateKey>,
    /// Denied attempts that the audit log notes.
    pub(crate) denials: RateLimit<RateKey>,
}

impl Rates {
    pub(crate) fn new(limits: &CallerLimits) -> Self {
        Self {
            requests: RateLimit::per_second(limits.requests_per_s, limits.requests_burst),
            creates: RateLimit::per_minute(limits.creates_per_min, limits.creates_burst),
            guests: RateLimit::per_minute(limits.guests_per_min, limits.guests_burst),
            viewers: RateLimit::per_minute(limits.viewers_per_min, limits.viewers_burst),
            keys: RateLimit::per_second(limits.key_requests_per_s, limits.key_requests_burst),
            key_creates: RateLimit::per_minute(
                limits.key_creates_per_min,
                limits.key_creates_burst,
            ),
            tenants: RateLimit::per_second(
                limits.tenant_requests_per_s,
                limits.tenant_requests_burst,
            ),
            tenant_creates: RateLimit::per_minute(
                limits.tenant_creates_per_min,
                limits.tenant_creates_burst,
            ),
            denials: RateLimit::per_minute(DENIALS_PER_MIN, DENIALS_PER_MIN),
        }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Nearlight session broker",
        description = "Starts sessions on the nearest capable edge node, and hands out the way to them.",
        license(name = "Apache-2.0")
    ),
    components(schemas(nearlight_protocol::webhook::WebhookNotice))
)]
struct Described;

/// Every route, and the document that describes it: what is not described is not routed.
pub(crate) fn routes() -> (Router<Arc<Api>>, utoipa::openapi::OpenApi) {
    let mut described = Described::openapi();
    ops::describe_security(&mut described);
    let (router, document) = OpenApiRouter::with_openapi(described)
        .routes(routes!(whoami::whoami))
        .routes(routes!(login::login_options))
        .routes(routes!(login::begin_login))
        .routes(routes!(login::finish_login))
        .routes(routes!(login::logout))
        .routes(routes!(device::begin_device_login))
        .routes(routes!(device::poll_device_login))
        .routes(routes!(apps::list_apps, app_versions::add_version))
        .routes(routes!(app_versions::list_versions))
        .routes(routes!(app_versions::roll_out, app_versions::roll_back))
        .routes(routes!(nodes::list_nodes))
        .routes(routes!(regions::list_regions))
        .routes(routes!(regions::beacon))
        .routes(routes!(node_admin::create_join_token))
        .routes(routes!(nodes::show_node, node_admin::revoke_node))
        .routes(routes!(node_admin::drain_node, node_admin::undrain_node))
        .routes(routes!(node_admin::vet_node, node_admin::unvet_node))
        .routes(routes!(probe::probe_node))
        .routes(routes!(prove::create_probe))
        .routes(routes!(prove::end_probe))
        .routes(routes!(prove::take_step))
        .routes(routes!(session::create_session, session::list_sessions))
        .routes(routes!(session::show_session, session::end_session))
        .routes(routes!(placement::show_placement))
        .routes(routes!(events::watch_session))
        .routes(routes!(ticket::create_ticket))
        .routes(routes!(endpoint::create_endpoint))
        .routes(routes!(inside::logs::read_logs))
        .routes(routes!(
            inside::exec::create_exec,
            inside::exec::attach_exec
        ))
        .routes(routes!(inside::files::get_files, inside::files::put_files))
        .routes(routes!(whep::attach, whep::whep_options))
        .routes(routes!(whep::patch_attachment, whep::end_attachment))
        .routes(routes!(
            watch_links::create_watch_link,
            watch_links::list_watch_links
        ))
        .routes(routes!(watch_links::revoke_watch_link))
        .routes(routes!(tenants::create_tenant, tenants::list_tenants))
        .routes(routes!(tenants::change_tenant))
        .routes(routes!(keys::create_key, keys::list_keys))
        .routes(routes!(keys::revoke_key))
        .routes(routes!(keys::rotate_key))
        .routes(routes!(
            image_policy::show_image_policy,
            image_policy::set_image_policy
        ))
        .routes(routes!(registries::list_registries))
        .routes(routes!(
            registries::put_registry,
            registries::remove_registry
        ))
        .routes(routes!(
            webhook::show_webhook,
            webhook::set_webhook,
            webhook::remove_webhook
        ))
        .routes(routes!(webhook::rotate_webhook))
        .routes(routes!(webhook::test_webhook))
        .routes(routes!(webhook::list_deliveries))
        .merge(log_routes().merge(checker_routes()))
        .routes(routes!(audit::show_audit))
        .routes(routes!(usage::show_usage))
        .merge(job_routes())
        .routes(routes!(watching::show_watched))
        .routes(routes!(watching::watch, watching::watch_options))
        .routes(routes!(watching::patch_watcher, watching::end_watcher))
        .routes(routes!(ops::openapi))
        .routes(routes!(ops::jwks))
        .routes(routes!(ops::healthz))
        .routes(routes!(ops::readyz))
        .routes(routes!(ops::metrics))
        .split_for_parts();
    (router, log::name_tiles(document))
}

/// What jobs are made of, and what they leave.
fn job_routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(recipes::list_recipes))
        .routes(routes!(volumes::list_volumes))
        .routes(routes!(volumes::show_volume, volumes::delete_volume))
}

/// Those of the log of receipts, and of what sessions have there.
fn log_routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(node_standing::show_standing))
        .routes(routes!(log::checkpoint))
        .routes(routes!(log::tile))
        .routes(routes!(log::candidate))
        .routes(routes!(log::cosign))
        .routes(routes!(receipts::append_receipt, receipts::list_receipts))
        .routes(routes!(receipts::show_receipt))
        .routes(routes!(receipts::put_evidence, receipts::get_evidence))
        .routes(routes!(receipts::show_directory))
        .routes(routes!(disputes::create_dispute))
        .routes(routes!(disputes::show_dispute))
        .routes(routes!(revocations::create_revocation))
        .routes(routes!(stakes::list_stakes, stakes::move_stake))
        .routes(routes!(quality::put_sample))
        .routes(routes!(quality::show_session_receipt))
        .routes(routes!(
            receipts::put_directory_key,
            receipts::revoke_directory_key
        ))
}

/// Those of checkers.
fn checker_routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(checkers::create_checker_token))
        .routes(routes!(checkers::join_checker, checkers::list_checkers))
        .routes(routes!(checkers::revoke_checker))
        .routes(routes!(certified::renew_certificate))
        .routes(routes!(checker_account::my_account))
        .routes(routes!(checkers::give_licence, checkers::list_licences))
        .routes(routes!(checkers::revoke_licence))
        .routes(routes!(duties::my_assignments))
        .routes(routes!(duties::report))
        .routes(routes!(duties::my_standing))
        .routes(routes!(duties::end_instance))
        .routes(routes!(rounds::beacon_round))
        .routes(routes!(rounds::list_assignments))
        .routes(routes!(duties::ask_alive))
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
        .layer(from_fn_with_state(api.clone(), guard::finish))
        .layer(from_fn(request_id))
        .with_state(api)
}

#[cfg(test)]
mod test;
