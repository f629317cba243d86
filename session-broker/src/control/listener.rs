//! Accepting edges.

use super::connection::{self, EdgeEvent, HANDSHAKE_WITHIN, StreamError};
use crate::config::Config;
use crate::enrol::{Registrar, Standings};
use crate::http::{Door, ForCheckers};
use crate::node_keys::NodeKeys;
use crate::proxied::Proxies;
use crate::quality::Desk;
use crate::rate::RateLimit;
use crate::time::Clock;
use crate::tokens::Signer;
use crate::tunnels::Tunnels;
use nearlight_kit::network::network_of;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::tunnel::ALPN;
use nearlight_protocol::unit::MonoTime;
use rand::Rng;
use rustls::ServerConfig;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;

/// How long to wait after an accept that failed: out of file descriptors, usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Handshakes for each edge that may attach. Some only come to the door or are refused.
const HANDSHAKES_AN_ATTACH: u32 = 3;
/// Of these, how many one address may have: a site full of nodes attaches through one, and whoever floods leaves the
/// others some.
const HANDSHAKES_OF_ONE: u32 = 2;

/// TLS handshakes, which cost us most of what a stranger can have for nothing.
#[derive(Debug)]
struct Handshakes {
    all: RateLimit<()>,
    of_addresses: RateLimit<IpAddr>,
}

impl Handshakes {
    /// For so many attaches a second, and at once.
    fn new(rate: u32, burst: u32) -> Self {
        let times = |n: u32| (rate.saturating_mul(n), burst.saturating_mul(n));
        let (all, one) = (times(HANDSHAKES_AN_ATTACH), times(HANDSHAKES_OF_ONE));
        Self {
            all: RateLimit::per_second(all.0, all.1),
            of_addresses: RateLimit::per_second(one.0, one.1),
        }
    }

    /// Whether there may be another one now. What an address has too many of costs the others nothing.
    fn may_have(&self, from: IpAddr, now: MonoTime) -> bool {
        let of_one = self.of_addresses.take(network_of(from), now);
        of_one.is_ok() && self.all.take((), now).is_ok()
    }
}

/// What every edge is told and held to.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) control: crate::config::Control,
    pub(crate) node_grace_s: u32,
    /// Load balancers, which say for whom they are.
    pub(super) proxies: Proxies,
    pub(crate) signer: Signer,
    pub(crate) clock: Clock,
    pub(crate) registrar: Arc<Registrar>,
    pub(crate) standings: Arc<Standings>,
    pub(crate) door: Door,
    /// What checkers ask for.
    pub(super) checkers: ForCheckers,
    /// Connections that are no control streams, but for requests to jobs.
    pub(super) tunnels: Arc<Tunnels>,
    /// What nodes sign receipts with.
    pub(super) node_keys: Arc<NodeKeys>,
    /// Who makes receipts of sessions.
    pub(super) desk: Arc<Desk>,
    handshakes: Handshakes,
    accepts: RateLimit<()>,
    /// Whether nodes are sent away, for another broker reaches the ledger, or may, and this one does not.
    away: watch::Receiver<bool>,
    attached: AtomicU32,
}

/// A stream that is attached, counted.
#[derive(Debug)]
pub(super) struct Counted<'a>(&'a AtomicU32);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Terms {
    pub(crate) fn new(
        config: &Config,
        signer: &Signer,
        clock: Clock,
        (registrar, standings, checkers): (Arc<Registrar>, Arc<Standings>, ForCheckers),
        (tunnels, node_keys, desk): (Arc<Tunnels>, Arc<NodeKeys>, Arc<Desk>),
        away: watch::Receiver<bool>,
    ) -> Self {
        let control = config.control;
        Self {
            handshakes: Handshakes::new(control.accepts_per_s, control.accepts_burst),
            door: Door::new(registrar.clone(), clock),
            registrar,
            standings,
            checkers,
            tunnels,
            node_keys,
            desk,
            away,
            attached: AtomicU32::new(0),
            accepts: RateLimit::per_second(control.accepts_per_s, control.accepts_burst),
            control,
            node_grace_s: config.sessions.node_grace_s,
            proxies: Proxies::new(&config.proxies),
            signer: signer.clone(),
            clock,
        }
    }

    /// Whether another edge may attach now, or after how many seconds.
    ///
    /// The seconds are spread over the edges' longest back-off: told the same, all would be back at
    /// once.
    pub(super) fn admit(&self) -> Result<(), u32> {
        let admitted = self.accepts.take((), self.clock.now());
        admitted.map_err(|wait_s| {
            let late_s = rand::rng().random_range(0..=self.control.backoff_max_s);
            wait_s.saturating_add(late_s)
        })
    }

    /// Whether nodes are sent away now.
    pub(super) fn sends_away(&self) -> bool {
        *self.away.borrow()
    }

    /// Once nodes are sent away; for a broker that is alone, never.
    pub(super) async fn sent_away(&self) {
        let mut away = self.away.clone();
        if away.wait_for(|away| *away).await.is_err() {
            std::future::pending().await
        }
    }

    /// The connection, and whose it is; `None` if they have too many handshakes, or all have.
    async fn let_in(
        &self,
        mut tcp: TcpStream,
        peer: SocketAddr,
    ) -> Result<Option<(TcpStream, SocketAddr)>, StreamError> {
        let heard = self.proxies.peer_of(&mut tcp, peer);
        let heard = tokio::time::timeout(HANDSHAKE_WITHIN, heard).await;
        let peer = heard.map_err(|_| StreamError::Slow)??;
        let may = self.handshakes.may_have(peer.ip(), self.clock.now());
        Ok(may.then_some((tcp, peer)))
    }

    /// Counts a stream for as long as the answer lives.
    pub(super) fn count_stream(&self) -> Counted<'_> {
        self.attached.fetch_add(1, Ordering::Relaxed);
        Counted(&self.attached)
    }

    /// After how many seconds one of the edges that are sent away may come back.
    pub(super) fn go_away_s(&self) -> u32 {
        let attached = self.attached.load(Ordering::Relaxed);
        let spread_s = go_away_spread_s(attached, self.control.accepts_per_s, self.node_grace_s);
        rand::rng().random_range(1..=spread_s)
    }
}

/// Over how many seconds edges are sent away, so that the next broker takes each at its first try;
/// but for no more than half of the time that they keep their sessions without one.
fn go_away_spread_s(attached: u32, accepts_per_s: u32, grace_s: u32) -> u32 {
    let needed = attached.div_ceil(accepts_per_s.max(1));
    needed.min(grace_s / 2).max(1)
}

/// The node listener, bound and not yet accepting.
pub(crate) struct NodeListener {
    listener: TcpListener,
    tls: TlsAcceptor,
}

impl std::fmt::Debug for NodeListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeListener").finish_non_exhaustive()
    }
}

impl NodeListener {
    pub(crate) async fn bind(at: SocketAddr, tls: Arc<ServerConfig>) -> std::io::Result<Self> {
        // Control streams say nothing in ALPN, and go on as before.
        let mut tls = ServerConfig::clone(&tls);
        tls.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self {
            listener: TcpListener::bind(at).await?,
            tls: TlsAcceptor::from(Arc::new(tls)),
        })
    }

    pub(crate) fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until the shutdown; one task a connection.
    pub(crate) async fn run(
        self,
        terms: Arc<Terms>,
        events: mpsc::Sender<EdgeEvent>,
        shutdown: Shutdown,
    ) {
        let stop = shutdown.token();
        let streams = Arc::new(Semaphore::new(terms.control.streams_max));
        loop {
            let permit = tokio::select! {
                () = stop.cancelled() => return,
                permit = streams.clone().acquire_owned() => permit,
            };
            let Ok(permit) = permit else { return };
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let (tcp, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an edge");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (tls, terms, events) = (self.tls.clone(), terms.clone(), events.clone());
            let stop = stop.clone();
            shutdown.spawn(async move {
                let served = match terms.let_in(tcp, peer).await {
                    Ok(Some(of)) => connection::serve(of, tls, &terms, events, stop).await,
                    Ok(None) => {
                        // Before it costs us anything: closed, it backs off.
                        crate::metrics::control_stream("turned-away");
                        Ok(())
                    }
                    Err(error) => Err(error),
                };
                if let Err(error) = served {
                    crate::metrics::control_stream(error.label());
                    tracing::info!(%peer, error = &error as &dyn std::error::Error,
                        "control stream ended");
                }
                drop(permit);
            });
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn one_address_leaves_handshakes_to_the_others() {
        let handshakes = Handshakes::new(10, 10);
        let (one, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let now = MonoTime(1);
        let had = |from| (0..100).filter(|_| handshakes.may_have(from, now)).count();
        assert_eq!((had(one), had(other)), (20, 10));
    }

    #[test]
    fn edges_that_are_sent_away_come_back_as_fast_as_they_are_taken() {
        assert_eq!(go_away_spread_s(0, 200, 600), 1);
        assert_eq!(go_away_spread_s(200, 200, 600), 1);
        assert_eq!(go_away_spread_s(5_000, 200, 600), 25);
        // 100,000 would take 500 s; their sessions are kept for 600 s without a broker.
        assert_eq!(go_away_spread_s(100_000, 200, 600), 300);
        assert_eq!(go_away_spread_s(u32::MAX, 0, 0), 1);
    }
}
