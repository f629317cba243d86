//! Requests to peers: HTTP/1.1 over mTLS, on connections that are kept.
//!
//! A broker's own words go on connections of their own, which say so ([`OWN_WORDS`]): what callers hold for as long as
//! they like is beside them, and takes none of their room.

use super::socket::{agreed, watched};
use axum::body::Body;
use axum::http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

/// The name in every broker's certificate.
const NAME: &str = "nearlight-broker";
/// From nothing to TLS. A peer is in the same region. Less than an answer may take, so that of a peer that is not there it
/// is known that it cannot have got a request.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// To the head of an answer that the peer has at hand: past it the peer hangs.
pub(crate) const AT_HAND: Duration = Duration::from_secs(3);
/// To the head of an answer for which the peer waits itself: an edge's takes up to 10 s.
pub(crate) const AWAITED: Duration = Duration::from_secs(15);
/// Says in the TLS handshake that a connection is for what brokers say to each other. Without it, it is for callers; a
/// broker of before says it of none.
pub(super) const OWN_WORDS: &[u8] = b"nearlight-peer/1";
/// Idle connections a peer, and for how long.
const IDLE_MAX: usize = 16;
const IDLE_FOR: Duration = Duration::from_secs(60);

/// Why a peer did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// It cannot be reached, or broke off.
    #[error("the peer cannot be reached")]
    Http(#[from] hyper_util::client::legacy::Error),
    /// The request is none.
    #[error("the request cannot be forwarded")]
    Request(#[from] axum::http::Error),
    /// It took too long.
    #[error("the peer did not answer in time")]
    Late(#[from] Late),
    /// The answer broke off.
    #[error("the answer broke off")]
    Broken(#[source] hyper::Error),
    /// It went away meanwhile.
    #[error("the peer is gone")]
    Gone,
    /// Callers hold as many answers of it as they may.
    #[error("callers have too much under way to the peer")]
    Full,
}

/// It took too long.
#[derive(Debug, thiserror::Error)]
#[error("nothing came in time")]
pub(crate) struct Late;

/// Asks peers.
#[derive(Clone)]
pub(crate) struct PeerClient {
    own: Client<Connector, Body>,
    for_callers: Client<Connector, Body>,
}

impl fmt::Debug for PeerClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerClient").finish_non_exhaustive()
    }
}

impl PeerClient {
    /// With an identity of our CA; only peers of that CA are believed.
    pub(crate) fn new(tls: Arc<ClientConfig>) -> Self {
        let mut own = ClientConfig::clone(&tls);
        own.alpn_protocols = vec![OWN_WORDS.to_vec()];
        let over = |tls| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_FOR)
                .pool_max_idle_per_host(IDLE_MAX)
                .build(Connector(tls))
        };
        Self {
            own: over(Arc::new(own)),
            for_callers: over(tls),
        }
    }

    /// Says something of this broker's own to the peer at `address` (`HOST:PORT`); its URI is `path`. The head of the
    /// answer comes `within` that time; its body may go on for ever.
    pub(crate) async fn ask(
        &self,
        address: &str,
        path: &str,
        request: Request<Body>,
        within: Duration,
    ) -> Result<Response<Incoming>, PeerError> {
        Self::send(&self.own, (address, path), request, within).await
    }

    /// The same in a caller's name; `path` has its query.
    pub(super) async fn ask_for_caller(
        &self,
        address: &str,
        path: &str,
        request: Request<Body>,
        within: Duration,
    ) -> Result<Response<Incoming>, PeerError> {
        Self::send(&self.for_callers, (address, path), request, within).await
    }

    async fn send(
        client: &Client<Connector, Body>,
        (address, path): (&str, &str),
        mut request: Request<Body>,
        within: Duration,
    ) -> Result<Response<Incoming>, PeerError> {
        *request.uri_mut() = Uri::builder()
            .scheme("https")
            .authority(address)
            .path_and_query(path)
            .build()?;
        let answer = tokio::time::timeout(within, client.request(request)).await;
        Ok(answer.map_err(|_| Late)??)
    }
}

/// Dials peers.
#[derive(Clone)]
struct Connector(Arc<ClientConfig>);

impl Service<Uri> for Connector {
    type Response = PeerSocket;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<PeerSocket>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = TlsConnector::from(self.0.clone());
        Box::pin(async move {
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            let dialled = tokio::time::timeout(CONNECT_WITHIN, dial(tls, uri)).await;
            dialled.map_err(late)?
        })
    }
}

async fn dial(tls: TlsConnector, uri: Uri) -> io::Result<PeerSocket> {
    let address = uri.authority().map(ToString::to_string).unwrap_or_default();
    let tcp = TcpStream::connect(address).await?;
    watched(&tcp)?;
    let name = ServerName::try_from(NAME).expect("a constant of ours is a DNS name");
    let stream = tls.connect(name, tcp).await?;
    let (tcp, spoken) = stream.get_ref();
    agreed(tcp, spoken.alpn_protocol())?;
    Ok(PeerSocket(TokioIo::new(stream)))
}

/// A connection to a peer.
struct PeerSocket(TokioIo<TlsStream<TcpStream>>);

impl Connection for PeerSocket {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for PeerSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for PeerSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
