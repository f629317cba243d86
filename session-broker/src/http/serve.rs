//! Accepting browsers and programs: plain http on loopback, TLS anywhere.
//!
//! **Invariants.** Who holds a connection moves: the head of a request, its body (`body.rs`) and what waits
//! to be taken have deadlines. An answer may take as long as it likes, as events do. One address has a
//! part of the connections alone ([`Room`]).

use crate::config::CallerLimits;
use crate::proxied::{Proxies, ProxyError};
use axum::Router;
use axum::http::{Extensions, StatusCode};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nearlight_kit::patient::Patient;
use nearlight_kit::public_tls::PublicTls;
use nearlight_kit::room::Addresses;
use nearlight_kit::shutdown::Shutdown;
use nearlight_kit::streams::{self, ending::to_its_end};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many connections one listener takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// At a time; past it new ones wait.
    pub(crate) connections: usize,
    /// At a time of one address; past it new ones are closed. 0: as many as there are.
    pub(crate) per_address: usize,
}

impl Room {
    /// What the configuration says of the listeners that anyone reaches.
    pub(crate) fn of(limits: &CallerLimits) -> Self {
        Self {
            connections: limits.connections_max,
            per_address: limits.address_connections_max,
        }
    }
}

/// For the TLS handshake, and for the head of a request: who is slower only holds a connection.
const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// Header lines of one request. Browsers send about 20.
const HEADERS_MAX: usize = 100;
/// Bytes of one request's head.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// How long to wait after an accept that failed: out of file descriptors, usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// For how long a connection may stand still.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// A caller who takes nothing of its answer for so long is gone.
    taken: Duration,
    /// For requests under way, once the broker stops: less than its drain has.
    finish: Duration,
}

const PATIENCE: Patience = Patience {
    taken: Duration::from_secs(30),
    finish: Duration::from_secs(7),
};

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Peer {
    /// The peer of a request; unspecified where a test calls the router without a connection.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        let none = Self(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        extensions.get::<Self>().copied().unwrap_or(none)
    }
}

/// The public listener, bound and not yet accepting.
pub(crate) struct PublicListener {
    listener: TcpListener,
    tls: Option<Arc<PublicTls>>,
    connections: Arc<Semaphore>,
    addresses: Addresses,
    proxies: Proxies,
    streams: Option<Shutdown>,
}

impl std::fmt::Debug for PublicListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublicListener").finish_non_exhaustive()
    }
}

impl PublicListener {
    pub(crate) async fn bind(
        at: SocketAddr,
        tls: Option<Arc<PublicTls>>,
        room: Room,
        proxies: Proxies,
    ) -> std::io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(at).await?,
            tls,
            connections: Arc::new(Semaphore::new(room.connections)),
            addresses: Addresses::new(room.per_address),
            proxies,
            streams: None,
        })
    }

    /// Takes what jobs need, too: HTTP/2 where TLS has agreed on it, whose tasks are `shutdown`'s, and
    /// bodies without an end.
    pub(crate) fn for_jobs(mut self, shutdown: &Shutdown) -> Self {
        self.streams = Some(shutdown.clone());
        self
    }

    pub(crate) fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until the shutdown, then lets requests finish. Ends when the last one has.
    pub(crate) async fn run(self, service: Router, shutdown: Shutdown) {
        let stop = shutdown.token();
        let open = TaskTracker::new();
        let tls = self.tls.as_ref().map(|tls| {
            shutdown.spawn(tls.clone().keep(stop.clone()));
            match &self.streams {
                Some(_) => tls.acceptor(&streams::PROTOCOLS),
                None => tls.acceptor(&[b"http/1.1"]),
            }
        });
        while let Some((tcp, peer, permit)) = self.accept(&stop).await {
            let (service, tls, stop) = (service.clone(), tls.clone(), stop.clone());
            let (proxies, streams) = (self.proxies.clone(), self.streams.clone());
            let addresses = self.addresses.clone();
            let served = async move {
                let _permit = permit;
                let Some((tcp, peer)) = behind(&proxies, tcp, peer).await else {
                    return;
                };
                let Some(_counted) = addresses.count(peer.ip()) else {
                    crate::metrics::connection_refused();
                    tracing::debug!(%peer, "has as many connections as one address may have");
                    return;
                };
                match streams {
                    Some(tasks) => {
                        let service = from(peer, service);
                        streams::serve(tcp, tls, service, (tasks, streams::TAKEN_WITHIN)).await;
                    }
                    None => serve(tcp, tls, peer, service, (stop, PATIENCE)).await,
                }
            };
            shutdown.spawn(open.track_future(served));
        }
        open.close();
        open.wait().await;
    }

    async fn accept(
        &self,
        stop: &CancellationToken,
    ) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
        loop {
            let permit = tokio::select! {
                () = stop.cancelled() => return None,
                permit = self.connections.clone().acquire_owned() => permit.ok()?,
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => return None,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((tcp, peer)) => return Some((tcp, peer, permit)),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// The connection, and whose it is; `None` if a load balancer does not say so.
async fn behind(
    proxies: &Proxies,
    mut tcp: TcpStream,
    peer: SocketAddr,
) -> Option<(TcpStream, SocketAddr)> {
    match tokio::time::timeout(HEAD_WITHIN, proxies.peer_of(&mut tcp, peer)).await {
        Ok(Ok(peer)) => return Some((tcp, peer)),
        Ok(Err(error @ ProxyError::Closed(_))) => tracing::debug!(%peer, %error),
        Ok(Err(error @ ProxyError::Malformed(_))) => tracing::warn!(%peer, %error),
        Err(_elapsed) => tracing::debug!(%peer, "a load balancer was silent"),
    }
    None
}

async fn serve(
    tcp: TcpStream,
    tls: Option<TlsAcceptor>,
    peer: SocketAddr,
    service: Router,
    (stop, patience): (CancellationToken, Patience),
) {
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let socket = Patient::new(tcp, patience.taken);
    let Some(tls) = tls else {
        return talk(socket, peer, service, (stop, patience)).await;
    };
    match tokio::time::timeout(HEAD_WITHIN, tls.accept(socket)).await {
        Ok(Ok(stream)) => talk(stream, peer, service, (stop, patience)).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS failed"),
        Err(_elapsed) => tracing::debug!("TLS took too long"),
    }
}

/// Serves one connection to its end. Its socket has a deadline of its own for what is not taken.
pub(crate) async fn converse<S>(
    socket: S,
    peer: SocketAddr,
    service: Router,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    talk(socket, peer, service, (stop, PATIENCE)).await;
}

async fn talk<S>(
    socket: S,
    peer: SocketAddr,
    service: Router,
    (stop, patience): (CancellationToken, Patience),
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(service);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let service = service.clone();
        async move {
            // What has come in one piece is read whole, however long it is.
            if head_bytes(&request) > HEAD_BYTES_MAX {
                return Ok(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response());
            }
            service.call(request).await
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    let ended = to_its_end(
        connection,
        |connection| connection.graceful_shutdown(),
        stop.cancelled(),
        async { tokio::time::sleep(patience.finish).await },
    )
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// The service, told where requests come from.
fn from(
    peer: SocketAddr,
    service: Router,
) -> impl Service<
    hyper::Request<Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future: Send,
> {
    let service = TowerToHyperService::new(service);
    service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        service.call(request)
    })
}

/// What the head of a request takes on the wire, nearly.
fn head_bytes(request: &hyper::Request<Incoming>) -> usize {
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |t| t.as_str().len());
    let lines = request.headers().iter();
    lines.fold(target, |sum, (name, value)| {
        sum + name.as_str().len() + value.len() + ": \r\n".len()
    })
}

#[cfg(test)]
mod test;
