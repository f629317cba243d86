//! Putting the parts together, serving, and draining.
//!
//! Drain order: both listeners stop accepting and edges are told to go away; requests under way
//! finish; the owner stops; the ledger's writer commits what it has and closes. Sessions are not
//! ended: they run on, and the next broker finds them in the ledger and on the edges.

use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::control::{NodeListener, Terms};
use crate::credentials;
use crate::http::{self, Api, Hosts, Identities, Metrics, PublicListener, Rates, public_tls};
use crate::ledger::{Ledger, Member, SqlLedger};
use crate::oidc::Provider;
use crate::region::Joining;
use crate::sessions::{Directory, Owner, OwnerParts, Sessions, edge_events};
use crate::time::Clock;
use crate::tokens::Signer;
use crate::watch::WatchLinks;
use anyhow::Context;
use nearlight_kit::pki::{self, Identity};
use nearlight_kit::shutdown::Shutdown;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long requests under way may take once the broker stops.
pub const DRAIN_GRACE: Duration = Duration::from_secs(10);

/// A broker that serves.
#[derive(Clone, Copy, Debug)]
pub struct Broker {
    /// The public listener's address.
    pub listen: SocketAddr,
    /// The node listener's address.
    pub node_listen: SocketAddr,
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
        let metrics = nearlight_kit::telemetry::prometheus();
        crate::metrics::describe();
        let clock = Clock::start();
        let catalogue = Catalogue::load(config.apps.as_deref())?;
        std::fs::create_dir_all(&config.data)
            .with_context(|| format!("cannot make {}", config.data.display()))?;
        let signer = Signer::open(&config.data.join("signing.key"))?;
        ensure_identity(&config.pki)?;
        let (mut joining, me) = join(&config, &signer).await?;
        let ledger = SqlLedger::open(&config.ledger, me, clock, shutdown).await?;
        let ledger = wrap(Arc::new(ledger));
        if let Some(key_file) = &config.dev_key_file {
            credentials::add_dev_key(&ledger, key_file, clock).await?;
        }

        let (broker, public, nodes) = listen(&config).await?;

        let directory = Arc::new(Directory::default());
        let (sessions, requests) = Sessions::new(directory.clone());
        let (events, edges) = edge_events();
        let links = Arc::new(WatchLinks::open(&ledger, clock).await?);
        let owner_stop = CancellationToken::new();
        let owner = Owner::start(OwnerParts {
            ledger: ledger.clone(),
            signer: signer.clone(),
            clock,
            times: config.sessions,
            directory: directory.clone(),
            links: links.clone(),
            requests,
            edges,
            sharing: joining.as_mut().and_then(Joining::take_sharing),
            stop: owner_stop.clone(),
        })
        .await?;

        let (routes, described) = http::routes();
        let api = Arc::new(Api {
            sessions,
            ledger: ledger.clone(),
            links: links.clone(),
            signer: signer.clone(),
            clock,
            catalogue,
            identities: Identities::default(),
            provider: config.oidc.clone().map(Provider::new),
            rates: Rates::new(&config.limits),
            hosts: Hosts::new(&config.hosts, broker.listen),
            https: config.tls.is_some(),
            ticket_s: config.sessions.ticket_s,
            guests: config.guests,
            players_max: config.limits.player_sessions_max,
            metrics: Metrics(metrics),
            client_web: config.client_web.clone(),
            times: config.sessions,
            region: joining.as_ref().map(Joining::region),
            openapi: described.to_json()?,
            stop: shutdown.token(),
        });
        let grace_s = config.sessions.node_grace_s;
        let terms = Arc::new(Terms::new(config.control, grace_s, signer.clone(), clock));
        shutdown.spawn(owner.run());
        shutdown.spawn(links.run(directory, clock, shutdown.token()));
        shutdown.spawn(credentials::keep(
            api.clone(),
            config.audit,
            shutdown.token(),
        ));
        shutdown.spawn(nodes.run(terms, events, shutdown.clone()));
        let service = http::service(api.clone(), routes);
        if let Some(joining) = joining {
            joining.serve((api, service.clone()), ledger, signer, shutdown);
        }
        let accepting = public.run(service, shutdown.clone());
        shutdown.spawn(async move {
            accepting.await;
            // Nobody is left who could ask.
            owner_stop.cancel();
        });
        tracing::info!(listen = %broker.listen, node_listen = %broker.node_listen, "serving");
        Ok(broker)
    }
}

/// This broker as its peers know it, and the way to them if it is not alone.
async fn join(config: &Config, signer: &Signer) -> anyhow::Result<(Option<Joining>, Member)> {
    let joining = match &config.peers {
        Some(peers) => Some(Joining::bind(config, peers).await?),
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
async fn listen(config: &Config) -> anyhow::Result<(Broker, PublicListener, NodeListener)> {
    let tls = config.tls.as_ref().map(public_tls).transpose()?;
    let public = PublicListener::bind(config.listen, tls, config.limits.connections_max)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let node_tls = pki::server_config(&config.pki, "broker")?;
    let nodes = NodeListener::bind(config.node_listen, node_tls)
        .await
        .with_context(|| format!("cannot listen on {}", config.node_listen))?;
    let broker = Broker {
        listen: public.local_addr()?,
        node_listen: nodes.local_addr()?,
    };
    Ok((broker, public, nodes))
}

/// Makes the CA and the broker's certificate where there is none.
fn ensure_identity(dir: &Path) -> anyhow::Result<()> {
    if dir.join("broker.pem").exists() {
        return Ok(());
    }
    let identity = Identity {
        spiffe: "spiffe://nearlight/broker".to_owned(),
        dns: vec!["nearlight-broker".to_owned()],
        ips: Vec::new(),
    };
    pki::ensure_ca(dir)?.issue(dir, "broker", identity)?;
    Ok(())
}
