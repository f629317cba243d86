//! Callers of jobs at this node itself, with no broker in between.
//!
//! ```text
//!   TLS, Host --> session, port --not here--> 404, 410
//!                      | here
//!                      v
//!   right: public port, ticket, cookie --> the container, as from a tunnel's end
//!     `--401, 403
//! ```
//!
//! - [`answer`]: one request, step by step.
//! - [`visits`]: addresses that work once, and the cookies that come of them.
//! - [`TicketKeys`]: the broker's keys as the last welcome had them. A ticket is checked with nothing else, so
//!   callers go on while no broker answers.
//!
//! **Invariants.** Those of [`nearlight_kit::endpoint`]. A ticket is void [`DIRECT_TICKET_MS_MAX`] after it was made,
//! whatever it says: nobody tells a node that a key was revoked. API keys are never looked at: a node could not tell
//! whose they are, and must not be shown what opens all of a tenant's jobs.
//!
//! **What it does not know:** who may have a ticket, where a session that is not here is, what a job is.
//!
//! [`DIRECT_TICKET_MS_MAX`]: nearlight_protocol::endpoint::DIRECT_TICKET_MS_MAX

mod answer;
mod visits;

use super::Endpoints;
use crate::grant::GrantKeys;
use anyhow::Context as _;
use axum::Router;
use axum::middleware::from_fn;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::service::TowerToHyperService;
use nearlight_kit::clock::WallClock;
use nearlight_kit::endpoint::listen::Listen;
use nearlight_kit::endpoint::site::Site;
use nearlight_kit::problem::handed_on;
use nearlight_kit::public_tls::PublicTls;
use nearlight_kit::room::Addresses;
use nearlight_kit::shutdown::Shutdown;
use nearlight_kit::streams::{self, PROTOCOLS};
use nearlight_protocol::endpoint::{DirectSite, EndpointClaims};
use nearlight_protocol::id::NodeId;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use visits::Visits;

/// Connections at a time; past it new ones wait.
const CONNECTIONS_MAX: usize = 2048;
/// Of them those of one address; past it new ones are closed.
const ADDRESS_CONNECTIONS_MAX: usize = 256;
/// How long to wait after an accept that failed: out of file descriptors, usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The broker's keys, as the last welcome had them; none before the first.
#[derive(Clone, Debug, Default)]
pub struct TicketKeys(Arc<RwLock<Option<GrantKeys>>>);

impl TicketKeys {
    /// Takes the keys of a welcome, a JWK set; `false` if it has none that can be used, and the ones before
    /// stay.
    pub fn learn(&self, jwks: &serde_json::Value) -> bool {
        GrantKeys::from_jwks(jwks).is_ok_and(|keys| {
            self.set(keys);
            true
        })
    }

    pub(crate) fn set(&self, keys: GrantKeys) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(keys);
    }

    /// The keys themselves.
    pub(crate) fn latest(&self) -> Option<GrantKeys> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The ticket in a token, if a key signed it.
    fn verify(&self, token: &str) -> Option<EndpointClaims> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        keys.as_ref()?.verify_ticket(token).ok()
    }
}

/// The listener for callers, bound and not yet accepting.
#[derive(Debug)]
pub struct Direct {
    listener: TcpListener,
    tls: Option<Arc<PublicTls>>,
    domain: String,
    site: Site,
    public_port: u16,
}

impl Direct {
    /// Binds, and reads the certificate.
    ///
    /// # Errors
    /// A file or an address that cannot be used, and what to do.
    pub async fn bind(wanted: &Listen) -> anyhow::Result<Self> {
        let files = wanted.certificate.as_ref();
        let tls = files
            .map(|(cert, key)| PublicTls::open(cert, key))
            .transpose();
        let tls = tls.context("`jobs.direct` has no certificate")?;
        let listener = TcpListener::bind(wanted.listen).await;
        let listener = listener.with_context(|| {
            format!(
                "cannot listen on {} (jobs.direct.listen); is the port free?",
                wanted.listen
            )
        })?;
        let bound = listener.local_addr()?.port();
        Ok(Self {
            listener,
            tls,
            domain: wanted.domain.clone(),
            site: wanted.site(bound),
            public_port: wanted.public_port.unwrap_or(bound),
        })
    }

    /// The address in use.
    ///
    /// # Errors
    /// The kernel's.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What brokers are told of it.
    pub fn site(&self) -> DirectSite {
        DirectSite {
            domain: self.domain.clone(),
            port: self.public_port,
            secure: self.site.is_secure(),
        }
    }

    /// Serves what is in `endpoints` of `node` to whoever shows a ticket of `keys`, until the shutdown.
    pub async fn run(
        self,
        node: NodeId,
        endpoints: Arc<Endpoints>,
        keys: TicketKeys,
        shutdown: Shutdown,
    ) {
        let stop = shutdown.token();
        let clock = WallClock::system();
        let visits = Visits::new(clock.unix_ms());
        let callers = Router::new()
            .fallback(answer::answer)
            .layer(from_fn(handed_on))
            .with_state(Arc::new(Callers {
                site: self.site.clone(),
                node,
                endpoints,
                keys,
                visits,
                clock,
                shutdown: shutdown.clone(),
            }));
        let tls = self.tls.as_ref().map(|tls| {
            shutdown.spawn(tls.clone().keep(stop.clone()));
            tls.acceptor(&PROTOCOLS)
        });
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let addresses = Addresses::new(ADDRESS_CONNECTIONS_MAX);
        while let Some((tcp, peer, place)) = self.accept(&room, &stop).await {
            let Some(counted) = addresses.count(peer) else {
                tracing::debug!(%peer, "has as many connections as one address may have");
                continue;
            };
            let service = TowerToHyperService::new(callers.clone());
            let service = service_fn(move |mut request: hyper::Request<Incoming>| {
                request.extensions_mut().insert(Peer(peer));
                service.call(request)
            });
            let (tls, tasks) = (tls.clone(), shutdown.clone());
            shutdown.spawn(async move {
                streams::serve(tcp, tls, service, (tasks, streams::TAKEN_WITHIN)).await;
                drop((place, counted));
            });
        }
    }

    async fn accept(
        &self,
        room: &Arc<Semaphore>,
        stop: &CancellationToken,
    ) -> Option<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
        loop {
            let accepted = async {
                let place = room.clone().acquire_owned().await.ok()?;
                Some((self.listener.accept().await, place))
            };
            let (accepted, place) = tokio::select! {
                () = stop.cancelled() => return None,
                accepted = accepted => accepted?,
            };
            match accepted {
                Ok((tcp, peer)) => return Some((tcp, peer.ip(), place)),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a caller of jobs");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
struct Peer(IpAddr);

/// What every request has.
#[derive(Debug)]
struct Callers {
    site: Site,
    node: NodeId,
    endpoints: Arc<Endpoints>,
    keys: TicketKeys,
    visits: Visits,
    clock: WallClock,
    shutdown: Shutdown,
}
