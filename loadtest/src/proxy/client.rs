//! HTTP/1.1 connections to one way, over TLS where its address says so.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1;
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Wake, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

static ZEROES: [u8; 256 * 1024] = [0; 256 * 1024];
/// Of an answer, what is kept to be read.
const TEXT_BYTES_MAX: usize = 256;

/// One way.
pub(super) struct Way {
    pub(super) name: String,
    at: SocketAddr,
    host: String,
    server: ServerName<'static>,
    bearer: Option<String>,
    tls: Option<TlsConnector>,
}

/// TLS that trusts one authority.
pub(super) fn tls(ca: &Path) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).context("--ca is no certificate")?)?;
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Way {
    pub(super) fn new(
        name: &str,
        url: &str,
        at: Option<&str>,
        bearer: Option<&str>,
        tls: Option<TlsConnector>,
    ) -> Result<Self> {
        let uri: Uri = url.parse().context("a way is NAME=URL")?;
        let authority = uri.authority().context("a URL has a host")?;
        let is_secure = uri.scheme_str() == Some("https");
        ensure!(!is_secure || tls.is_some(), "{name} is https: give --ca");
        Ok(Self {
            name: name.to_owned(),
            at: at
                .unwrap_or(authority.as_str())
                .parse()
                .context("an address is IP:PORT")?,
            host: authority.to_string(),
            server: ServerName::try_from(authority.host().to_owned())?,
            bearer: bearer.map(|token| format!("Bearer {token}")),
            tls: tls.filter(|_| is_secure),
        })
    }
}

/// What was answered.
pub(super) struct Said {
    pub(super) bytes: u64,
    /// The beginning of it.
    pub(super) text: String,
}

/// A connection, one request at a time.
pub(super) struct Connection {
    sender: http1::SendRequest<Zeroes>,
    way: Arc<Way>,
    /// What drives it, for as long.
    _driver: JoinSet<()>,
}

impl Connection {
    pub(super) async fn open(way: &Arc<Way>) -> Result<Self> {
        let tcp = TcpStream::connect(way.at)
            .await
            .with_context(|| way.name.clone())?;
        tcp.set_nodelay(true)?;
        match &way.tls {
            Some(tls) => {
                let tls = tls.connect(way.server.clone(), tcp).await;
                Self::on(way, tls.with_context(|| way.name.clone())?).await
            }
            None => Self::on(way, tcp).await,
        }
    }

    async fn on<S>(way: &Arc<Way>, stream: S) -> Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Whoever asks learns what went wrong.
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            way: way.clone(),
            _driver: driver,
        })
    }

    /// Asks, with so many bytes of a body if there is to be one.
    pub(super) async fn get(&mut self, path: &str, body: Option<u64>) -> Result<Said> {
        let method = if body.is_some() {
            Method::POST
        } else {
            Method::GET
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.way.host);
        if let Some(bearer) = &self.way.bearer {
            request = request.header("authorization", bearer);
        }
        self.sender.ready().await?;
        let request = request.body(Zeroes(body.unwrap_or(0)))?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let (mut body, mut bytes, mut text) = (answer.into_body(), 0, Vec::new());
        while let Some(frame) = body.frame().await {
            let frame = frame?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            bytes += data.len() as u64;
            let room = TEXT_BYTES_MAX - text.len();
            text.extend_from_slice(&data[..data.len().min(room)]);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        ensure!(status.is_success(), "{}: {status} {text}", self.way.name);
        Ok(Said { bytes, text })
    }
}

/// So many bytes that are left to be sent.
struct Zeroes(u64);

impl Body for Zeroes {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Wake<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = usize::try_from(self.0).map_or(ZEROES.len(), |left| left.min(ZEROES.len()));
        if part == 0 {
            return Poll::Ready(None);
        }
        self.0 -= part as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&ZEROES[..part])))))
    }

    fn is_end_stream(&self) -> bool {
        self.0 == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}
