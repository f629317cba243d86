//! A beacon: answers at once, so that a browser can time the way to where it stands.
//!
//! It owns a listener that takes `GET /v1/beacon` and nothing else, keeps connections open (a browser warms
//! one up before it counts), and has bounds on how many and how slow they are. It knows no caller, sets
//! and reads no cookie, and its answer has no content, so pages of any origin may ask. Without a certificate
//! only pages on plain http, or on this machine, may: browsers block the rest.

use crate::public_tls::{PublicTls, PublicTlsError};
use crate::shutdown::Shutdown;
use axum::body::Body;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, HeaderName};
use axum::http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// Where it answers.
pub const PATH: &str = "/v1/beacon";
/// What every answer says: pages of any origin may read it and its times, and nobody keeps it.
pub const HEADERS: [(HeaderName, &str); 3] = [
    (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (HeaderName::from_static("timing-allow-origin"), "*"),
    (CACHE_CONTROL, "no-store"),
];

/// Connections at a time; past it new ones wait.
const CONNECTIONS_MAX: usize = 1024;
/// For the TLS handshake, and for the head of each request. Who times needs less than a second.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait after an accept that failed: out of file descriptors, usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of one request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Why there is no beacon.
#[derive(Debug, thiserror::Error)]
pub enum BeaconError {
    /// There is no certificate.
    #[error(transparent)]
    Tls(#[from] PublicTlsError),
    /// It cannot listen.
    #[error("cannot listen on {at}; is the port free?")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A beacon's listener, bound.
pub struct Beacon {
    listener: TcpListener,
    certificate: Option<Arc<PublicTls>>,
}

impl std::fmt::Debug for Beacon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beacon").finish_non_exhaustive()
    }
}

impl Beacon {
    /// Binds; with a certificate chain and its key, both PEM, it speaks TLS.
    ///
    /// # Errors
    /// [`BeaconError`] with what to do.
    pub async fn bind(
        at: SocketAddr,
        certificate: Option<(&Path, &Path)>,
    ) -> Result<Self, BeaconError> {
        let certificate = certificate
            .map(|(chain, key)| PublicTls::open(chain, key))
            .transpose()?;
        let listener = TcpListener::bind(at).await;
        let listener = listener.map_err(|source| BeaconError::Listen { at, source })?;
        Ok(Self {
            listener,
            certificate,
        })
    }

    /// The address in use.
    ///
    /// # Errors
    /// The kernel's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until the shutdown.
    pub async fn run(self, shutdown: Shutdown) {
        let stop = shutdown.token();
        let tls = self.certificate.as_ref().map(|certificate| {
            shutdown.spawn(certificate.clone().keep(stop.clone()));
            certificate.acceptor(&[b"http/1.1"])
        });
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.accept(&room) => accepted,
            };
            let (stream, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "the beacon cannot take a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (tls, stop) = (tls.clone(), stop.clone());
            shutdown.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = converse(stream, tls) => {}
                }
                drop(place);
            });
        }
    }

    async fn accept(
        &self,
        room: &Arc<Semaphore>,
    ) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
        let place = room.clone().acquire_owned().await;
        let place = place.map_err(|_| io::Error::other("the beacon has closed"))?;
        let (stream, _) = self.listener.accept().await?;
        // Each answer is one small packet, which must not wait for the next.
        stream.set_nodelay(true)?;
        Ok((stream, place))
    }
}

async fn converse(stream: TcpStream, tls: Option<TlsAcceptor>) {
    let Some(tls) = tls else {
        return serve(stream).await;
    };
    match tokio::time::timeout(HEAD_WITHIN, tls.accept(stream)).await {
        Ok(Ok(stream)) => serve(stream).await,
        Ok(Err(error)) => tracing::debug!(%error, "the beacon's TLS handshake failed"),
        Err(_elapsed) => tracing::debug!("the beacon's TLS handshake took too long"),
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX);
    let answering = service_fn(|request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = server
        .serve_connection(TokioIo::new(stream), answering)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the beacon broke off");
    }
}

fn answer(method: &Method, path: &str) -> Response<Body> {
    let is_ours = path == PATH && matches!(*method, Method::GET | Method::HEAD);
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = if is_ours {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    };
    for (name, value) in HEADERS {
        answer
            .headers_mut()
            .insert(name, axum::http::HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod test {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Asks on one connection, and returns each answer's head.
    async fn ask(at: SocketAddr, requests: &[&str]) -> Vec<String> {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let mut heads = Vec::new();
        for request in requests {
            let text = format!("{request} HTTP/1.1\r\nhost: beacon\r\n\r\n");
            stream.write_all(text.as_bytes()).await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            heads.push(String::from_utf8(head).unwrap().to_ascii_lowercase());
        }
        heads
    }

    #[tokio::test]
    async fn one_connection_is_answered_again_and_again_and_any_page_may_look() {
        let shutdown = Shutdown::new();
        let beacon = Beacon::bind("127.0.0.1:0".parse().unwrap(), None)
            .await
            .unwrap();
        let at = beacon.local_addr().unwrap();
        shutdown.spawn(beacon.run(shutdown.clone()));
        let heads = ask(
            at,
            &["GET /v1/beacon", "GET /v1/beacon?n=2", "HEAD /v1/beacon"],
        )
        .await;
        for head in heads {
            assert!(head.starts_with("http/1.1 204"), "{head}");
            for line in [
                "access-control-allow-origin: *",
                "timing-allow-origin: *",
                "cache-control: no-store",
            ] {
                assert!(head.contains(line), "{head}");
            }
            assert!(!head.contains("set-cookie"), "{head}");
        }
        let other = ask(at, &["GET /metrics"]).await;
        assert!(other[0].starts_with("http/1.1 404"), "{other:?}");
        let posted = ask(at, &["POST /v1/beacon"]).await;
        assert!(posted[0].starts_with("http/1.1 404"), "{posted:?}");
        shutdown.token().cancel();
    }

    #[tokio::test]
    async fn files_that_are_no_certificate_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("chain.pem");
        std::fs::write(&file, "nothing").unwrap();
        let bound = Beacon::bind("127.0.0.1:0".parse().unwrap(), Some((&file, &file))).await;
        let error = bound.unwrap_err().to_string();
        assert!(error.contains("chain.pem"), "{error}");
    }
}
