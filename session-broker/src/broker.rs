//! Putting the parts together, serving, and draining.
//!
//! Drain order: both listeners stop accepting and edges are told to go away; requests under way
//! finish; the owner stops; the ledger's writer commits what it has and closes. Sessions are not
//! ended: they run on, and the next broker finds them in the ledger and on the edges.

use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::control::{NodeListener, Terms};
use crate::enrol::{Registrar, Standings};
use crate::http::{
    self, Api, Hosts, Identities, Metrics, PublicListener, Rates, credential_hash, public_tls,
};
use crate::ledger::{Credential, Ledger, Member, Op, SqlLedger};
use crate::region::Joining;
use crate::sessions::{Directory, Owner, OwnerParts, Sessions, edge_events};
use crate::time::Clock;
use crate::tokens::Signer;
use crate::watch::WatchLinks;
use anyhow::Context;
use nearlight_kit::clock::WallClock;
use nearlight_kit::files::write_atomic;
use nearlight_kit::pki::{Ca, Identity, ServerIdentity};
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::api::Role;
use rand::Rng;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long requests under way may take once the broker stops.
pub const DRAIN_GRACE: Duration = Duration::from_secs(10);

const KEY_PREFIX: &str = "nlk_";
const KEY_CHARS: usize = 32;
const KEY_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A broker that serves.
#[derive(Clone, Copy, Debug)]
pub struct Broker {
    /// The public listener's address.
    pub listen: SocketAddr,
    /// The node listener's address.
    pub node_listen: SocketAddr,
    /// The listener for its peers, if it is not alone.
    pub peer_listen: Option<SocketAddr>,
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
    pub async fn start_at(
        config: Config,
        shutdown: &Shutdown,
        wall: WallClock,
        wrap: impl FnOnce(Arc<dyn Ledger>) -> Arc<dyn Ledger>,
    ) -> anyhow::Result<Self> {
        let metrics = nearlight_kit::telemetry::prometheus();
        crate::metrics::describe();
        let clock = Clock::start();
        let catalogue = Catalogue::load(config.apps.as_deref())?;
        let signer = open_signer(&config.data)?;
        let ca = Arc::new(Ca::ensure(&config.pki, wall)?);
        let identity = Arc::new(ServerIdentity::new(ca.clone(), own_identity()));
        let (mut joining, me) = join(&config, &identity, &signer).await?;
        let ledger = SqlLedger::open(&config.ledger, me, clock, shutdown).await?;
        let ledger = wrap(Arc::new(ledger));
        if let Some(key_file) = &config.dev_key_file {
            add_dev_key(&ledger, key_file, clock).await?;
        }

        let (public, nodes) = listen(&config, &identity).await?;
        let broker = Self {
            listen: public.local_addr()?,
            node_listen: nodes.local_addr()?,
            peer_listen: joining.as_ref().map(|joining| joining.listen),
        };

        let addresses = node_addresses(&config, broker.node_listen);
        let (registrar, standings) = enrolment(ca, &ledger, addresses);
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
            standings: standings.clone(),
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
            registrar: registrar.clone(),
            signer: signer.clone(),
            clock,
            catalogue,
            identities: Identities::default(),
            rates: Rates::new(&config.limits),
            hosts: Hosts::new(&config.hosts, broker.listen),
            https: config.tls.is_some(),
            ticket_s: config.sessions.ticket_s,
            metrics: Metrics(metrics),
            client_web: config.client_web.clone(),
            times: config.sessions,
            region: joining.as_ref().map(Joining::region),
            openapi: described.to_json()?,
            stop: shutdown.token(),
        });
        let enrolment = (registrar, standings);
        let terms = Arc::new(Terms::new(&config, signer.clone(), clock, enrolment));
        shutdown.spawn(owner.run());
        shutdown.spawn(links.run(directory, clock, shutdown.token()));
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
) -> anyhow::Result<(PublicListener, NodeListener)> {
    let tls = config.tls.as_ref().map(public_tls).transpose()?;
    let public = PublicListener::bind(config.listen, tls, config.limits.connections_max)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let nodes = NodeListener::bind(config.node_listen, identity.server_config()?)
        .await
        .with_context(|| format!("cannot listen on {}", config.node_listen))?;
    Ok((public, nodes))
}

/// The signing key in the data directory, which is made if it is missing.
fn open_signer(data: &Path) -> anyhow::Result<Signer> {
    std::fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
    Ok(Signer::open(&data.join("signing.key"))?)
}

/// Who the node listener is.
fn own_identity() -> Identity {
    Identity {
        spiffe: "spiffe://nearlight/broker".to_owned(),
        dns: vec!["nearlight-broker".to_owned()],
        ips: Vec::new(),
    }
}

/// Who signs for nodes, and what was decided about them.
fn enrolment(
    ca: Arc<Ca>,
    ledger: &Arc<dyn Ledger>,
    addresses: Vec<String>,
) -> (Arc<Registrar>, Arc<Standings>) {
    let standings = Arc::new(Standings::default());
    let registrar = Registrar::new(ca, ledger.clone(), standings.clone(), addresses);
    (Arc::new(registrar), standings)
}

/// Where nodes reach the node listener, if that is known.
fn node_addresses(config: &Config, listen: SocketAddr) -> Vec<String> {
    match config.node_addresses.as_slice() {
        [] if listen.ip().is_unspecified() => Vec::new(),
        [] => vec![listen.to_string()],
        given => given.to_vec(),
    }
}

/// Takes the development key of `file`, made if it is missing, as an administrator's.
async fn add_dev_key(ledger: &Arc<dyn Ledger>, file: &Path, clock: Clock) -> anyhow::Result<()> {
    if !file.exists() {
        let mut rng = rand::rng();
        let body = (0..KEY_CHARS).map(|_| {
            let at = rng.random_range(0..KEY_ALPHABET.len());
            char::from(KEY_ALPHABET[at])
        });
        let key: String = KEY_PREFIX.chars().chain(body).collect();
        write_atomic(file, format!("{key}\n").as_bytes(), 0o600)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let key = text.trim();
    anyhow::ensure!(
        key.starts_with(KEY_PREFIX) && key.len() >= KEY_PREFIX.len() + KEY_CHARS,
        "{} holds no API key; delete it to have a new one made",
        file.display()
    );
    let credential = Credential {
        hash: credential_hash(key),
        user: nearlight_kit::ids::user(),
        name: "development".to_owned(),
        role: Role::Admin,
    };
    let at = clock.now();
    ledger
        .write(vec![Op::AddCredential { credential, at }])
        .await?;
    Ok(())
}
