//! Accepting browsers and programs: plain http on loopback, TLS anywhere.
//!
//! **Invariants.** Who holds a connection moves: the head of a request, its body (`body.rs`) and what waits
//! to be taken have deadlines. An answer may take as long as it likes, as events do. One address has a
//! part of the connections alone ([`Room`]).

use crate::config::TlsFiles;
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
use nearlight_kit::shutdown::Shutdown;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod room;
mod streams;

use room::Addresses;
pub(crate) use room::Room;

/// The protocol in ALPN.
const H2: &[u8] = b"h2";
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

/// Why the public listener has no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file holds no certificate or key.
    #[error("{file} holds no usable certificate or key")]
    Pem {
        /// Which.
        file: String,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// They do not go together.
    #[error("tls.cert and tls.key do not go together")]
    Pair(#[from] rustls::Error),
}

/// TLS for browsers, from PEM files.
pub(crate) fn public_tls(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let pem = |file: &std::path::Path| {
        let file = file.display().to_string();
        move |source| TlsError::Pem { file, source }
    };
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(pem(&files.cert))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(pem(&files.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The same for the endpoint of jobs, where callers may speak HTTP/2.
pub(crate) fn jobs_tls(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::clone(&*public_tls(files)?);
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The public listener, bound and not yet accepting.
pub(crate) struct PublicListener {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
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
        tls: Option<Arc<ServerConfig>>,
        room: Room,
        proxies: Proxies,
    ) -> std::io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(at).await?,
            tls: tls.map(TlsAcceptor::from),
            connections: Arc::new(Semaphore::new(room.connections)),
            addresses: Addresses::new(room),
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
        while let Some((tcp, peer, permit)) = self.accept(&stop).await {
            let (service, tls, stop) = (service.clone(), self.tls.clone(), stop.clone());
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
                    Some(tasks) => streams::serve(tcp, tls, peer, service, (tasks, stop)).await,
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
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let rest = tokio::time::timeout(patience.finish, connection);
            rest.await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
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
