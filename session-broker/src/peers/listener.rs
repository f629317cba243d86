//! Accepting peers: mTLS, and only brokers.
//!
//! **Invariant.** What callers hold through a peer takes nothing of what brokers say to each other: a connection says in
//! its handshake what it is for, each kind has its number, and none keeps the next one from its handshake.

use super::client::OWN_WORDS;
use super::passage::Passages;
use super::socket::{agreed, watched};
use crate::http::converse;
use axum::Router;
use nearlight_kit::pki::spiffe_of;
use nearlight_kit::shutdown::Shutdown;
use rustls::ServerConfig;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Who a peer's certificate speaks for.
const BROKER: &str = "spiffe://nearlight/broker";
/// For the TLS handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Handshakes at a time; past it new connections wait.
const HANDSHAKES_MAX: usize = 256;
/// Connections at a time for what brokers say to each other: a few peers with a pool each.
const OWN_MAX: usize = 512;
/// And for callers: of so many peers that hand on as much as they may.
const FOR_CALLERS_OF: usize = 4;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listener for peers, bound and not yet accepting.
pub(crate) struct PeerListener {
    listener: TcpListener,
    tls: TlsAcceptor,
    room: Room,
}

/// How many connections there may be of each kind.
#[derive(Clone, Debug)]
struct Room {
    own: Arc<Semaphore>,
    for_callers: Arc<Semaphore>,
}

impl Room {
    fn new(own: usize, for_callers: usize) -> Self {
        Self {
            own: Arc::new(Semaphore::new(own)),
            for_callers: Arc::new(Semaphore::new(for_callers)),
        }
    }

    fn take(&self, socket: &TlsStream<TcpStream>) -> io::Result<OwnedSemaphorePermit> {
        let (room, what) = match socket.get_ref().1.alpn_protocol() {
            Some(OWN_WORDS) => (&self.own, "of its own"),
            _ => (&self.for_callers, "for callers"),
        };
        let full = |_| io::Error::other(format!("no room for one more connection {what}"));
        room.clone().try_acquire_owned().map_err(full)
    }
}

impl std::fmt::Debug for PeerListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerListener").finish_non_exhaustive()
    }
}

impl PeerListener {
    pub(crate) async fn bind(
        at: SocketAddr,
        tls: Arc<ServerConfig>,
        of_a_peer: Passages,
    ) -> io::Result<Self> {
        let for_callers = of_a_peer.most.saturating_mul(FOR_CALLERS_OF);
        let for_callers = for_callers.min(Semaphore::MAX_PERMITS);
        Self::bind_with(at, tls, Room::new(OWN_MAX, for_callers)).await
    }

    async fn bind_with(at: SocketAddr, tls: Arc<ServerConfig>, room: Room) -> io::Result<Self> {
        let mut tls = ServerConfig::clone(&tls);
        tls.alpn_protocols = vec![OWN_WORDS.to_vec()];
        Ok(Self {
            listener: TcpListener::bind(at).await?,
            tls: TlsAcceptor::from(Arc::new(tls)),
            room,
        })
    }

    /// With so many connections of a broker's own words, and so many for callers.
    #[cfg(test)]
    pub(super) async fn small(tls: Arc<ServerConfig>, own: usize, for_callers: usize) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let bound = Self::bind_with(any, tls, Room::new(own, for_callers)).await;
        bound.expect("a free port")
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until the shutdown; one task a connection.
    pub(crate) async fn run(self, service: Router, shutdown: Shutdown) {
        let stop = shutdown.token();
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        loop {
            let permit = tokio::select! {
                () = stop.cancelled() => return,
                permit = handshakes.clone().acquire_owned() => permit,
            };
            let Ok(handshake) = permit else { return };
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let (tcp, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a peer");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (tls, room) = (self.tls.clone(), self.room.clone());
            let (service, stop) = (service.clone(), stop.clone());
            shutdown.spawn(async move {
                let opened = open(tcp, tls).await;
                drop(handshake);
                let taken = opened.and_then(|socket| Ok((room.take(&socket)?, socket)));
                match taken {
                    Ok((_permit, socket)) => converse(socket, from, service, stop).await,
                    Err(error) => tracing::info!(%from, %error, "no peer"),
                }
            });
        }
    }
}

async fn open(tcp: TcpStream, tls: TlsAcceptor) -> io::Result<TlsStream<TcpStream>> {
    watched(&tcp)?;
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let shaken = tokio::time::timeout(HANDSHAKE_WITHIN, tls.accept(tcp)).await;
    let socket = shaken.map_err(late)??;
    let (tcp, spoken) = socket.get_ref();
    agreed(tcp, spoken.alpn_protocol())?;
    let chain = spoken.peer_certificates();
    let who = chain.and_then(<[_]>::first).and_then(spiffe_of);
    if who.as_deref() == Some(BROKER) {
        return Ok(socket);
    }
    let who = who.unwrap_or_else(|| "nobody of ours".to_owned());
    Err(io::Error::other(format!(
        "the certificate is for {who}, which is no broker"
    )))
}
