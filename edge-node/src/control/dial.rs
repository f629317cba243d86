//! From nothing to a welcome: TCP, mTLS, WebSocket, Hello, Welcome, within one deadline.

use super::certificate::Certificate;
use super::link::LinkEnd;
use crate::limits::ATTACH_DEADLINE;
use crate::tunnel::Way;
use futures_util::{SinkExt, StreamExt};
use nearlight_kit::enrol::EnrolError;
use nearlight_kit::pki::PkiError;
use nearlight_protocol::control::{FromEdge, Hello, PROTOCOL_VERSION, Proves, ToEdge, Welcome};
use nearlight_protocol::limits::CONTROL_MESSAGE_BYTES_MAX;
use nearlight_protocol::problem::ProblemType;
use rustls::AlertDescription;
use rustls_pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

/// A control stream.
pub(super) type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Control messages are small and seldom: the library's 128 KiB a socket would be mostly idle.
const BUFFER_BYTES: usize = 4 * 1024;

/// What a node that is shut out waits before it asks again: there is nothing to wait for.
const REVOKED_RETRY_S: u32 = 3600;

/// Knows whom to dial, and as whom.
#[derive(Clone)]
pub(crate) struct Dialler {
    /// `HOST:PORT`.
    address: String,
    server: ServerName<'static>,
    certificate: Arc<Certificate>,
    hello: Hello,
}

/// A stream whose broker took us.
pub(super) struct Dialled {
    pub(super) socket: Socket,
    pub(super) welcome: Welcome,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// Not all of it within the deadline.
    #[error("no welcome within {} s", ATTACH_DEADLINE.as_secs())]
    Deadline,
    /// TCP or TLS failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The WebSocket failed.
    #[error(transparent)]
    WebSocket(#[from] Box<tungstenite::Error>),
    /// The broker does not take us.
    #[error("the broker refused this node: {detail}")]
    Refused {
        /// Why.
        detail: String,
        /// Seconds to stay away.
        retry_after_s: u32,
        /// Whether it is for good.
        revoked: bool,
    },
    /// Our own certificate.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Our certificate has expired, and was not renewed.
    #[error("the node's certificate has expired, and was not renewed: {0}")]
    Late(#[source] EnrolError),
    /// The broker speaks something else.
    #[error("the broker answered the hello with something else than a welcome")]
    NoWelcome,
    /// The broker chose a version that was not offered.
    #[error(
        "the broker speaks version {0} of the control stream, this node {PROTOCOL_VERSION}; update the older one"
    )]
    Version(u32),
}

impl From<DialError> for LinkEnd {
    fn from(error: DialError) -> Self {
        let (retry_after_s, revoked) = match &error {
            DialError::Refused {
                retry_after_s,
                revoked,
                ..
            } => (Some(*retry_after_s), *revoked),
            DialError::Late(refused) => {
                let revoked = refused.problem() == Some(ProblemType::NodeRevoked);
                let wait_s = if revoked { Some(REVOKED_RETRY_S) } else { None };
                (refused.retry_after_s().or(wait_s), revoked)
            }
            DialError::Deadline
            | DialError::Io(_)
            | DialError::WebSocket(_)
            | DialError::NoWelcome
            | DialError::Pki(_)
            | DialError::Version(_) => (None, false),
        };
        Self {
            reason: error.to_string(),
            retry_after: retry_after_s.map(|s| Duration::from_secs(s.into())),
            revoked,
        }
    }
}

impl DialError {
    /// Whether the broker finds our certificate over, whatever our own clock says.
    fn is_over(&self) -> bool {
        let io = match self {
            Self::Io(io) => io,
            Self::WebSocket(error) => match error.as_ref() {
                tungstenite::Error::Io(io) => io,
                _ => return false,
            },
            Self::Deadline
            | Self::Refused { .. }
            | Self::NoWelcome
            | Self::Pki(_)
            | Self::Late(_)
            | Self::Version(_) => return false,
        };
        let tls = io.get_ref().and_then(|e| e.downcast_ref());
        let over = rustls::Error::AlertReceived(AlertDescription::CertificateExpired);
        tls == Some(&over)
    }
}

impl Dialler {
    pub(crate) fn new(
        address: String,
        server: ServerName<'static>,
        certificate: Arc<Certificate>,
        hello: Hello,
    ) -> Self {
        Self {
            address,
            server,
            certificate,
            hello,
        }
    }

    /// What its hello says that this node proves: that is known after the dialler.
    pub(crate) fn tell_proves(&mut self, proves: Vec<Proves>) {
        self.hello.proves = proves;
    }

    pub(super) fn certificate(&self) -> &Arc<Certificate> {
        &self.certificate
    }

    /// The way that tunnels take: the same.
    pub(crate) fn way(&self) -> Way {
        let certificate = self.certificate.clone();
        Way::new(self.address.clone(), self.server.clone(), move || {
            certificate.tls().map_err(std::io::Error::other)
        })
    }

    /// Whom it dials.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// One attempt; with a certificate that is over, after its renewal.
    pub(super) async fn dial(&self) -> Result<Dialled, DialError> {
        if self.certificate.is_over() {
            self.renew().await?;
        }
        match self.dial_once().await {
            Err(error) if error.is_over() => {
                self.renew().await?;
                self.dial_once().await
            }
            dialled => dialled,
        }
    }

    async fn renew(&self) -> Result<(), DialError> {
        let renewed = self.certificate.renew_late(&self.address, &self.server);
        renewed.await.map_err(DialError::Late)
    }

    async fn dial_once(&self) -> Result<Dialled, DialError> {
        match tokio::time::timeout(ATTACH_DEADLINE, self.dial_unbounded()).await {
            Ok(dialled) => dialled,
            Err(_elapsed) => Err(DialError::Deadline),
        }
    }

    async fn dial_unbounded(&self) -> Result<Dialled, DialError> {
        let tcp = TcpStream::connect(&self.address).await?;
        tcp.set_nodelay(true)?;
        let tls = TlsConnector::from(self.certificate.tls()?)
            .connect(self.server.clone(), tcp)
            .await?;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES)
            .max_message_size(Some(CONTROL_MESSAGE_BYTES_MAX))
            .max_frame_size(Some(CONTROL_MESSAGE_BYTES_MAX));
        let url = format!("wss://{}/v1/edge", self.server.to_str());
        let (mut socket, _answer) =
            tokio_tungstenite::client_async_with_config(url, tls, Some(config))
                .await
                .map_err(Box::new)?;
        let hello = serde_json::to_string(&FromEdge::Hello(self.hello.clone()))
            .expect("a hello has string keys alone");
        let sent = socket.send(Message::text(hello)).await;
        sent.map_err(Box::new)?;
        let welcome = read_welcome(&mut socket).await?;
        if welcome.proto != PROTOCOL_VERSION {
            return Err(DialError::Version(welcome.proto));
        }
        Ok(Dialled { socket, welcome })
    }
}

impl std::fmt::Debug for Dialler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialler")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

async fn read_welcome(socket: &mut Socket) -> Result<Welcome, DialError> {
    while let Some(message) = socket.next().await {
        let text = match message.map_err(Box::new)? {
            Message::Text(text) => text,
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Binary(_) | Message::Close(_) | Message::Frame(_) => break,
        };
        return match serde_json::from_str(text.as_str()) {
            Ok(ToEdge::Welcome(welcome)) => Ok(welcome),
            Ok(ToEdge::Refused {
                detail,
                retry_after_s,
                revoked,
            }) => Err(DialError::Refused {
                detail,
                retry_after_s,
                revoked,
            }),
            Ok(_) | Err(_) => Err(DialError::NoWelcome),
        };
    }
    Err(DialError::NoWelcome)
}
