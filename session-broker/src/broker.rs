//! Putting the parts together, serving, and draining.
//!
//! Drain order: both listeners stop accepting and edges are told to go away; requests under way
//! finish; the owner stops; the ledger's writer commits what it has and closes. Sessions are not
//! ended: they run on, and the next broker finds them in the ledger and on the edges.

mod parts;

use crate::budgets;
use crate::checks::{self, Checks};
use crate::config::Config;
use crate::control::{NodeListener, Terms};
use crate::credentials;
use crate::endpoint::{self, Jobs};
use crate::http::{
    self, Api, ForCheckers, Hosts, Identities, Inside, Metrics, PublicListener, Rates, Ready, Room,
    UsageQuestions,
};
use crate::ledger::{Ledger, Member};
use crate::oidc::Provider;
use crate::proxied::Proxies;
use crate::recipes;
use crate::region::Joining;
use crate::registry::Registries;
use crate::relays::Relays;
use crate::sessions::{Directory, Owner, OwnerParts, Sessions, edge_events};
use crate::time::Clock;
use crate::tokens::Signer;
use crate::tunnels::Tunnels;
use crate::upkeep::Upkeep;
use crate::watch::WatchLinks;
use crate::webhooks::{self, Deliverer};
use anyhow::Context;
use nearlight_kit::clock::WallClock;
use nearlight_kit::endpoint::site::Site;
use nearlight_kit::pki::ServerIdentity;
use nearlight_kit::public_tls::PublicTls;
use nearlight_kit::shutdown::Shutdown;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long requests under way may take once the broker stops.
pub const DRAIN_GRACE: Duration = Duration::from_secs(10);

/// Connections to the listener for metrics at a time; a few scrapers share it.
const METRICS_ROOM: Room = Room {
    connections: 16,
    per_address: 0,
};

/// A broker that serves.
#[derive(Clone, Copy, Debug)]
pub struct Broker {
    /// The public listener's address.
    pub listen: SocketAddr,
    /// The node listener's address.
    pub node_listen: SocketAddr,
    /// The listener for its peers, if it is not alone.
    pub peer_listen: Option<SocketAddr>,
    /// The listener for metrics alone, if there is one.
    pub metrics_listen: Option<SocketAddr>,
    /// The endpoint of jobs, if there is one.
    pub jobs_listen: Option<SocketAddr>,
}

impl Broker {
    /// Starts serving. Tasks belong to `shutdown`.
    ///
    /// # Errors
    /// Whatever keeps the broker from serving, with what to do about it.
    pub async fn start(config: Config, shutdown: &Shutdown) -> anyhow::Result<Self> {
        Self::start_with(config, shutdown, |ledger| ledger).await
    }

    /// Starts serving with another ledger around its own: tests let it fail.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub async fn start_with(
        config: Config,
        shutdown: &Shutdown,
        wrap: impl FnOnce(Arc<dyn Ledger>) -> Arc<dyn Ledger>,
    ) -> anyhow::Result<Self> {
        Self::start_at(config, shutdown, WallClock::system(), wrap).await
    }

    /// Starts serving, with `wall` for the clock that certificates and join tokens are judged by:
    /// tests move it.
    ///
    /// # Errors
    /// As [`Broker::start`].
    #[expect(
        clippy::too_many_lines,
        reason = "it puts the parts together, a line each"
    )]
    pub async fn start_at(
        config: Config,
        shutdown: &Shutdown,
        wall: WallClock,
        wrap: impl FnOnce(Arc<dyn Ledger>) -> Arc<dyn Ledger>,
    ) -> anyhow::Result<Self> {
        let metrics = parts::metrics();
        let clock = Clock::start();
        parts::warn_without_client(config.client_web.as_deref());
        crate::backup::whole(&config.data)?;
        let (signer, ca, sealer) = parts::open_keys(&config, wall)?;
        let identity = Arc::new(ServerIdentity::new(ca.clone(), parts::own_identity()));
        let (mut joining, me) = join(&config, &identity, &signer).await?;
        let ledger = wrap(parts::open_ledger(&config, me, clock, shutdown).await?);
        let apps = parts::seed(&config, &ledger, clock).await?;
        let (mut broker, public, nodes) = listen(&config, &identity, joining.as_ref()).await?;
        broker.metrics_listen = serve_metrics(&config, metrics.clone(), shutdown).await?;

        let endpoint = bind_jobs(&config, &mut broker, shutdown).await?;
        let (registrar, standings) = parts::enrolment(
            ca,
            &ledger,
            parts::node_addresses(&config, broker.node_listen),
        );
        let directory = Arc::new(Directory::new(config.nearness.policy.clone()));
        let nearness = parts::nearness(&config.nearness, clock, shutdown)?;
        let (sessions, requests) = Sessions::new(directory.clone());
        let (events, edges) = edge_events();
        let links = Arc::new(WatchLinks::open(&ledger, clock).await?);
        let tunnels = parts::tunnels(&config, &directory, &standings, shutdown);
        let node_keys = parts::node_keys(&config, &ledger, clock, shutdown).await?;
        let owner_stop = CancellationToken::new();
        let owner = Owner::start(OwnerParts {
            ledger: ledger.clone(),
            signer: signer.clone(),
            sealer: sealer.clone(),
            clock,
            times: config.sessions,
            volumes_mib_max: config.volumes_mib_max,
            directory: directory.clone(),
            links: links.clone(),
            standings: standings.clone(),
            apps: apps.clone(),
            policy: config.nearness.policy.clone(),
            nearness: nearness.clone(),
            requests,
            edges,
            sharing: joining.as_mut().and_then(Joining::take_sharing),
            stop: owner_stop.clone(),
        })
        .await?;
        let (routes, described) = http::routes();
        let receipts = parts::receipts(&config, &ledger, clock, shutdown)?;
        let log = receipts.clone().map(|receipts| (ledger.clone(), receipts));
        let held = (node_keys.clone(), directory.clone());
        let checks = log.map(|log| Checks::new(log, held, clock, config.checks.clone()));
        let log = receipts.as_ref().zip(checks.as_ref());
        let verdicts = log.map(|log| parts::verdicts(&config, &ledger, log, clock));
        let desk = parts::desk(&directory, clock, receipts.as_ref(), shutdown);
        let api = Arc::new(Api {
            sessions,
            ledger: ledger.clone(),
            links: links.clone(),
            registrar: registrar.clone(),
            signer: signer.clone(),
            sealer,
            registries: Registries::new(&config.private_registries),
            volumes_mib_max: config.volumes_mib_max,
            webhook_networks: parts::webhook_networks(&config),
            clock,
            apps: apps.clone(),
            recipes: recipes::load(config.recipes.as_deref())?,
            identities: Identities::default(),
            ready: Ready::default(),
            usage_questions: UsageQuestions::default(),
            provider: config.oidc.clone().map(Provider::new),
            rates: Rates::new(&config.limits),
            hosts: Hosts::new(&config.hosts, broker.listen),
            https: config.tls.is_some(),
            ticket_s: config.sessions.ticket_s,
            relays: config.turn.clone().map(Relays::new),
            guests: config.guests,
            players_max: config.limits.player_sessions_max,
            metrics: metrics.clone(),
            client_web: config.client_web.clone(),
            times: config.sessions,
            content_policy: http::content_policy(nearness.regions())?,
            nearness,
            jobs: endpoint.as_ref().map(|(_, site)| site.clone()),
            inside: Inside::new(tunnels.clone(), shutdown),
            receipts,
            verdicts,
            checks,
            node_keys: node_keys.clone(),
            desk: desk.clone(),
            region: joining.as_ref().map(Joining::region),
            openapi: described.to_json()?,
            stop: shutdown.token(),
        });
        let nodes_are = (registrar, standings, ForCheckers::new(api.clone()));
        let by_streams = (tunnels.clone(), node_keys, desk);
        let away = Joining::away(joining.as_ref());
        let terms = Terms::new(&config, &signer, clock, nodes_are, by_streams, away);
        shutdown.spawn(owner.run());
        keep(&api, directory, &config, shutdown);
        shutdown.spawn(nodes.run(Arc::new(terms), events, shutdown.clone()));
        let listeners = (public, endpoint, joining);
        serve(&api, routes, listeners, (tunnels, owner_stop), shutdown);
        tracing::info!(listen = %broker.listen, node_listen = %broker.node_listen, "serving");
        Ok(broker)
    }
}

/// Binds the endpoint of jobs, if there is to be one.
async fn bind_jobs(
    config: &Config,
    broker: &mut Broker,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<(PublicListener, Site)>> {
    let Some(jobs) = &config.jobs else {
        return Ok(None);
    };
    let files = jobs.certificate.as_ref();
    let tls = files.map(|(cert, key)| PublicTls::open(cert, key));
    let tls = tls.transpose()?;
    let (room, proxies) = (Room::of(&config.limits), Proxies::new(&config.proxies));
    let listener = PublicListener::bind(jobs.listen, tls, room, proxies).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", jobs.listen))?;
    let at = listener.local_addr()?;
    broker.jobs_listen = Some(at);
    Ok(Some((listener.for_jobs(shutdown), jobs.site(at.port()))))
}

/// Serves the endpoint of jobs, and returns what peers forward to.
fn serve_jobs(
    endpoint: Option<(PublicListener, Site)>,
    (api, tunnels): (&Arc<Api>, Arc<Tunnels>),
    shutdown: &Shutdown,
) -> Option<axum::Router> {
    let (listener, site) = endpoint?;
    let service = endpoint::router(Arc::new(Jobs {
        api: api.clone(),
        tunnels,
        site,
        shutdown: shutdown.clone(),
    }));
    shutdown.spawn(listener.run(service.clone(), shutdown.clone()));
    Some(service)
}

/// Serves the metrics on a listener of their own, if they have one.
async fn serve_metrics(
    config: &Config,
    metrics: Metrics,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<SocketAddr>> {
    let Some(at) = config.metrics_listen else {
        return Ok(None);
    };
    let listener = PublicListener::bind(at, None, METRICS_ROOM, Proxies::default()).await;
    let listener = listener.with_context(|| format!("cannot listen on {at}"))?;
    let bound = listener.local_addr()?;
    shutdown.spawn(listener.run(http::metrics_service(metrics), shutdown.clone()));
    Ok(Some(bound))
}

/// Keeps what is held beside the ledger as the ledger has it, until the shutdown.
fn keep(api: &Arc<Api>, directory: Arc<Directory>, config: &Config, shutdown: &Shutdown) {
    let stop = || shutdown.token();
    shutdown.spawn(api.apps.clone().keep(api.ledger.clone(), stop()));
    shutdown.spawn(api.links.clone().run(directory, api.clock, stop()));
    let (ledger, sessions) = (api.ledger.clone(), api.sessions.clone());
    shutdown.spawn(budgets::keep(ledger, sessions, api.clock, stop()));
    let upkeep = Upkeep {
        ledger: api.ledger.clone(),
        peers: api.region.as_ref().map(|region| region.peers.clone()),
        clock: api.clock,
        retain_ms: config.sessions.retain_ms(),
    };
    shutdown.spawn(upkeep.keep(stop()));
    shutdown.spawn(credentials::keep(api.clone(), config.audit, stop()));
    if let Some(checks) = &api.checks {
        shutdown.spawn(checks::keep(checks.clone(), stop()));
    }
    let (at, me) = (api.webhook_networks.clone(), config.name.clone());
    if let Some(verdicts) = &api.verdicts {
        let keeping = verdicts.clone().keep(api.sessions.clone(), stop());
        shutdown.spawn(keeping);
    }
    let outbox = Deliverer::new((&api.ledger, &api.sealer), api.clock, me, at);
    shutdown.spawn(webhooks::keep(outbox, stop()));
}

/// Takes callers until the shutdown, and stops the owner after the last one.
fn accept(
    public: PublicListener,
    service: axum::Router,
    owner_stop: CancellationToken,
    shutdown: &Shutdown,
) {
    let accepting = public.run(service, shutdown.clone());
    shutdown.spawn(async move {
        accepting.await;
        // Nobody is left who could ask.
        owner_stop.cancel();
    });
}

/// This broker as its peers know it, and the way to them if it is not alone.
async fn join(
    config: &Config,
    identity: &Arc<ServerIdentity>,
    signer: &Signer,
) -> anyhow::Result<(Option<Joining>, Member)> {
    let joining = match &config.peers {
        Some(peers) => Some(Joining::bind(config, peers, identity).await?),
        None => None,
    };
    let address = joining.as_ref().map(|joining| joining.address.clone());
    let me = Member {
        id: config.name.clone(),
        address: address.unwrap_or_default(),
        jwk: signer.public_key(),
    };
    Ok((joining, me))
}

/// Binds the listeners for callers and for nodes.
async fn listen(
    config: &Config,
    identity: &Arc<ServerIdentity>,
    joining: Option<&Joining>,
) -> anyhow::Result<(Broker, PublicListener, NodeListener)> {
    let tls = config.tls.as_ref();
    let tls = tls
        .map(|files| PublicTls::open(&files.cert, &files.key))
        .transpose()?;
    let (room, proxies) = (Room::of(&config.limits), Proxies::new(&config.proxies));
    let public = PublicListener::bind(config.listen, tls, room, proxies)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let nodes = NodeListener::bind(config.node_listen, identity.server_config()?)
        .await
        .with_context(|| format!("cannot listen on {}", config.node_listen))?;
    let broker = Broker {
        listen: public.local_addr()?,
        node_listen: nodes.local_addr()?,
        peer_listen: joining.map(|joining| joining.listen),
        metrics_listen: None,
        jobs_listen: None,
    };
    Ok((broker, public, nodes))
}

/// Serves callers, callers of jobs, and the brokers beside this one.
fn serve(
    api: &Arc<Api>,
    routes: axum::Router<Arc<Api>>,
    (public, endpoint, joining): (
        PublicListener,
        Option<(PublicListener, Site)>,
        Option<Joining>,
    ),
    (tunnels, owner_stop): (Arc<Tunnels>, CancellationToken),
    shutdown: &Shutdown,
) {
    let service = http::service(api.clone(), routes);
    let jobs = serve_jobs(endpoint, (api, tunnels), shutdown);
    if let Some(joining) = joining {
        let (ledger, signer) = (api.ledger.clone(), api.signer.clone());
        joining.serve(
            (api.clone(), service.clone(), jobs),
            ledger,
            signer,
            shutdown,
        );
    }
    accept(public, service, owner_stop, shutdown);
}
