//! The WebSocket of a command, over TCP or TLS.

use super::InsideError;
use crate::client::ClientError;
use crate::command::CommandError;
use nearlight_protocol::inside::{CreatedExec, FRAME_BYTES_MAX, TICKET_SUBPROTOCOL};
use nearlight_protocol::problem::Problem;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::Url;

const OPEN_WITHIN: Duration = Duration::from_secs(30);

/// Bytes both ways.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire for S {}

pub(super) type Socket = WebSocketStream<Box<dyn Wire>>;

/// Opens the WebSocket of a command at the broker `url`.
pub(super) async fn open(url: &str, created: &CreatedExec) -> Result<Socket, CommandError> {
    let opened = tokio::time::timeout(OPEN_WITHIN, shake(url, created)).await;
    opened.unwrap_or_else(|_| Err(InsideError::Broken(io::ErrorKind::TimedOut.into()).into()))
}

async fn shake(url: &str, created: &CreatedExec) -> Result<Socket, CommandError> {
    let bad = || ClientError::BadUrl(url.to_owned());
    let parsed = Url::parse(url).map_err(|_| bad())?;
    let wire = connect(&parsed).await.map_err(InsideError::Broken)?;
    let address = url.replacen("http", "ws", 1);
    let request = format!("{address}{}", created.path).into_client_request();
    let mut request = request.map_err(|_| bad())?;
    let protocols = format!(
        "{}, {TICKET_SUBPROTOCOL}{}",
        created.protocol, created.ticket
    );
    let protocols = HeaderValue::from_str(&protocols).map_err(|_| bad())?;
    let headers = request.headers_mut();
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocols);
    let config = WebSocketConfig::default()
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    match client_async_with_config(request, wire, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => Err(refused(url, &answer).into()),
        Err(error) => Err(InsideError::Broken(io::Error::other(error)).into()),
    }
}

fn refused(
    url: &str,
    answer: &tokio_tungstenite::tungstenite::http::Response<Option<Vec<u8>>>,
) -> ClientError {
    let body = answer.body().as_deref().unwrap_or_default();
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => ClientError::Problem(Box::new(problem)),
        Err(_) => ClientError::Foreign {
            url: url.to_owned(),
            status: answer.status().as_u16(),
        },
    }
}

async fn connect(url: &Url) -> io::Result<Box<dyn Wire>> {
    let wrong = || io::Error::other("the address has no host");
    let host = url.host_str().ok_or_else(wrong)?;
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().ok_or_else(wrong)?;
    let tcp = TcpStream::connect((plain, port)).await?;
    tcp.set_nodelay(true)?;
    if url.scheme() == "http" {
        return Ok(Box::new(tcp));
    }
    // The roots that every other request trusts.
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(plain.to_owned()).map_err(io::Error::other)?;
    let connector = TlsConnector::from(Arc::new(config));
    Ok(Box::new(connector.connect(name, tcp).await?))
}
