//! Accepting peers: mTLS, and only brokers.

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
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Who a peer's certificate speaks for.
const BROKER: &str = "spiffe://nearlight/broker";
/// For the TLS handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Connections at a time: a few peers with a pool each.
const CONNECTIONS_MAX: usize = 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listener for peers, bound and not yet accepting.
pub(crate) struct PeerListener {
    listener: TcpListener,
    tls: TlsAcceptor,
}

impl std::fmt::Debug for PeerListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerListener").finish_non_exhaustive()
    }
}

impl PeerListener {
    pub(crate) async fn bind(at: SocketAddr, tls: Arc<ServerConfig>) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(at).await?,
            tls: TlsAcceptor::from(tls),
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until the shutdown; one task a connection.
    pub(crate) async fn run(self, service: Router, shutdown: Shutdown) {
        let stop = shutdown.token();
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let permit = tokio::select! {
                () = stop.cancelled() => return,
                permit = connections.clone().acquire_owned() => permit,
            };
            let Ok(permit) = permit else { return };
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
            let (tls, service, stop) = (self.tls.clone(), service.clone(), stop.clone());
            shutdown.spawn(async move {
                match open(tcp, tls).await {
                    Ok(socket) => converse(socket, from, service, stop).await,
                    Err(error) => tracing::info!(%from, %error, "no peer"),
                }
                drop(permit);
            });
        }
    }
}

async fn open(tcp: TcpStream, tls: TlsAcceptor) -> io::Result<TlsStream<TcpStream>> {
    tcp.set_nodelay(true)?;
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let shaken = tokio::time::timeout(HANDSHAKE_WITHIN, tls.accept(tcp)).await;
    let socket = shaken.map_err(late)??;
    let chain = socket.get_ref().1.peer_certificates();
    let who = chain.and_then(<[_]>::first).and_then(spiffe_of);
    if who.as_deref() == Some(BROKER) {
        return Ok(socket);
    }
    let who = who.unwrap_or_else(|| "nobody of ours".to_owned());
    Err(io::Error::other(format!(
        "the certificate is for {who}, which is no broker"
    )))
}
