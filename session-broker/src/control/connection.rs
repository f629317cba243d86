//! One edge's connection: the handshake, then reading and writing until either side ends it.

use super::heard::{Heard, parse};
use super::hello::check;
use super::listener::Terms;
use super::shown::{Shown, ShownSession, verify};
use super::stream::Stream;
use super::{REVOKED_DETAIL, REVOKED_RETRY_S};
use crate::ledger::Standing;
use crate::proxied::ProxyError;
use crate::tunnels;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use nearlight_kit::pki::{Validity, checker_of, node_of, spiffe_of};
use nearlight_kit::read_ahead::ReadAhead;
use nearlight_protocol::control::{
    AckOutcome, FAULT_FEATURE, FromEdge, Heartbeat, Hello, Inventory, PROTOCOL_VERSION,
    QUALITY_FEATURE, RUNNING_PARTS_FEATURE, SessionReport, ToEdge, USED_FEATURE, Unread, Welcome,
};
use nearlight_protocol::enrol::RENEW_FEATURE;
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::limits::CONTROL_MESSAGE_BYTES_MAX;
use nearlight_protocol::tunnel;
use nearlight_session::Epoch;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::CancellationToken;

/// From the accept to the hello. A round trip around the world, a slow CPU, and some.
pub(super) const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// For one message to leave. An edge that takes none for so long is gone.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// For the close to be answered.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// Buffers of one socket: 128 KiB by default, which 100,000 idle edges do not need.
const BUFFER_BYTES: usize = 4 * 1024;
/// What an edge with the wrong certificate or version waits: a person has to act.
const REFUSED_RETRY_S: u32 = 60;
/// What an edge is told that comes to a broker which has lost the ledger, while others have not, or may not.
const CUT_OFF_DETAIL: &str =
    "this broker does not reach its ledger, and another one may; attach again, to that one";
/// Between two certificates that one stream is given.
const RENEW_EVERY: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<tunnels::Socket>;

/// What the session task hears of an edge.
#[derive(Debug)]
pub(crate) enum EdgeEvent {
    /// An edge is attached. A former stream of the node is void.
    Attached {
        /// The way to it.
        stream: Arc<Stream>,
        /// Who it says it is.
        hello: Hello,
    },
    /// It said something.
    Said {
        /// Through which stream.
        stream: Arc<Stream>,
        /// What.
        message: EdgeMessage,
    },
    /// Its stream is over.
    Closed {
        /// Which.
        stream: Arc<Stream>,
    },
}

impl EdgeEvent {
    /// The node that it is about.
    pub(crate) fn node(&self) -> &NodeId {
        match self {
            Self::Attached { stream, .. } | Self::Said { stream, .. } | Self::Closed { stream } => {
                &stream.node
            }
        }
    }
}

/// What an edge said, checked.
#[derive(Debug)]
pub(crate) enum EdgeMessage {
    /// What the node has.
    Inventory(Box<Inventory>),
    /// What it runs.
    Running(Vec<ShownSession>),
    /// Its load.
    Heartbeat(Heartbeat),
    /// It acked an order.
    Ack {
        /// The order.
        command: u64,
        /// What came of it.
        outcome: AckOutcome,
    },
    /// A session changed.
    Report {
        /// Which.
        session: SessionId,
        /// Under which epoch.
        epoch: Epoch,
        /// How.
        event: SessionReport,
    },
    /// It takes no more sessions.
    Draining,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    /// It took too long to say hello.
    #[error("the edge took too long to attach")]
    Slow,
    /// TLS failed: no certificate of our CA, usually.
    #[error("TLS failed")]
    Tls(#[source] std::io::Error),
    /// A load balancer did not say for whom it is.
    #[error("behind a load balancer")]
    Proxied(#[from] ProxyError),
    /// WebSocket failed.
    #[error("WebSocket failed")]
    Socket(#[from] Box<tungstenite::Error>),
    /// It broke the protocol.
    #[error("the edge broke the protocol: {0}")]
    Protocol(String),
    /// It said what cannot be read.
    #[error("the edge said what cannot be read")]
    Unread(#[from] Unread),
    /// It was refused.
    #[error("the edge was refused: {0}")]
    Refused(String),
    /// It was silent for too long.
    #[error("the edge was silent for too long")]
    Silent,
    /// It did not read.
    #[error("the edge did not read")]
    NotReading,
}

impl StreamError {
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Tls(_) => "tls",
            Self::Proxied(_) => "proxied",
            Self::Socket(_) => "socket",
            Self::Protocol(_) | Self::Unread(_) => "protocol",
            Self::Refused(_) => "refused",
            Self::Silent => "silent",
            Self::NotReading => "not-reading",
        }
    }
}

/// Serves one connection to its end.
pub(super) async fn serve(
    (tcp, peer): (TcpStream, SocketAddr),
    tls: TlsAcceptor,
    terms: &Terms,
    events: mpsc::Sender<EdgeEvent>,
    stop: CancellationToken,
) -> Result<(), StreamError> {
    let until = tokio::time::Instant::now() + HANDSHAKE_WITHIN;
    let secured = tokio::time::timeout_at(until, secure(tcp, tls)).await;
    let tls = secured.map_err(|_| StreamError::Slow)??;
    let chain = tls.get_ref().1.peer_certificates();
    let Some(certificate) = chain.and_then(<[_]>::first) else {
        crate::metrics::control_stream("at-the-door");
        terms.door.serve(tls, peer, stop).await;
        return Ok(());
    };
    let certified = spiffe_of(certificate);
    let validity = Validity::of(certificate);
    if tls.get_ref().1.alpn_protocol() == Some(tunnel::ALPN) {
        let node = certified.as_deref().and_then(node_of);
        terms.tunnels.take(tls, node).await;
        return Ok(());
    }
    if let Some((name, of)) = certified.as_deref().and_then(checker_of).zip(validity) {
        crate::metrics::control_stream("checker");
        let shown = (peer, name, of.not_after);
        Box::pin(terms.checkers.serve(tls, shown, stop)).await;
        return Ok(());
    }
    let opened = tokio::time::timeout_at(until, open(tls)).await;
    let (mut socket, hello) = opened.map_err(|_| StreamError::Slow)??;
    if let Some(refusal) = refusal(&hello, certified.as_ref(), terms) {
        return refuse(socket, refusal).await;
    }
    send(&mut socket, &ToEdge::Welcome(welcome(terms))).await?;
    crate::metrics::control_stream("attached");
    if let Some(claim) = &hello.receipt_key {
        terms.node_keys.tell(&hello.node, claim);
        let proves = hello.proves.clone();
        terms.node_keys.tell_proves(&hello.node, proves);
    }
    let (stream, queue) = Stream::new(hello.node.clone(), CancellationToken::new());
    let stream = Arc::new(stream);
    let attached = EdgeEvent::Attached {
        stream: stream.clone(),
        hello,
    };
    if events.send(attached).await.is_err() {
        return Ok(());
    }
    let _counted = terms.count_stream();
    let ended = converse(socket, terms, &stream, queue, &events, stop).await;
    stream.close();
    let _ = events.send(EdgeEvent::Closed { stream }).await;
    ended
}

/// Why an edge is not taken, and for how long.
struct Refusal {
    detail: String,
    retry_after_s: u32,
    revoked: bool,
}

fn refusal(hello: &Hello, certified: Option<&String>, terms: &Terms) -> Option<Refusal> {
    let (detail, retry_after_s) = match check(hello, certified) {
        Err(detail) => (detail, REFUSED_RETRY_S),
        Ok(()) if terms.standings.of(&hello.node).standing == Standing::Revoked => {
            return Some(Refusal {
                detail: REVOKED_DETAIL.to_owned(),
                retry_after_s: REVOKED_RETRY_S,
                revoked: true,
            });
        }
        Ok(()) if terms.sends_away() => (CUT_OFF_DETAIL.to_owned(), terms.go_away_s()),
        Ok(()) => (
            "too many edges attach at once".to_owned(),
            terms.admit().err()?,
        ),
    };
    Some(Refusal {
        detail,
        retry_after_s,
        revoked: false,
    })
}

async fn refuse(mut socket: Socket, refusal: Refusal) -> Result<(), StreamError> {
    let message = ToEdge::Refused {
        detail: refusal.detail.clone(),
        retry_after_s: refusal.retry_after_s,
        revoked: refusal.revoked,
    };
    send(&mut socket, &message).await?;
    let _ = tokio::time::timeout(CLOSE_WITHIN, socket.close(None)).await;
    Err(StreamError::Refused(refusal.detail))
}

async fn secure(tcp: TcpStream, tls: TlsAcceptor) -> Result<tunnels::Socket, StreamError> {
    // Orders are small and must not wait for each other.
    tcp.set_nodelay(true).map_err(StreamError::Tls)?;
    let accepted = tls.accept(ReadAhead::new(tcp)).await;
    accepted.map_err(StreamError::Tls)
}

/// WebSocket, and the first message.
async fn open(tls: tunnels::Socket) -> Result<(Socket, Hello), StreamError> {
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(2 * CONTROL_MESSAGE_BYTES_MAX)
        .max_message_size(Some(CONTROL_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(CONTROL_MESSAGE_BYTES_MAX));
    let mut socket = tokio_tungstenite::accept_async_with_config(tls, Some(config))
        .await
        .map_err(Box::new)?;
    let first = socket.next().await.transpose().map_err(Box::new)?;
    match first.as_ref().map(parse).transpose()?.flatten() {
        Some(FromEdge::Hello(hello)) => Ok((socket, hello)),
        Some(_) | None => Err(StreamError::Protocol("no hello".to_owned())),
    }
}

fn welcome(terms: &Terms) -> Welcome {
    Welcome {
        proto: PROTOCOL_VERSION,
        heartbeat_s: terms.control.heartbeat_s,
        backoff_min_s: terms.control.backoff_min_s,
        backoff_max_s: terms.control.backoff_max_s,
        grace_s: terms.node_grace_s,
        jwks: terms.signer.jwks(),
        features: [
            RENEW_FEATURE,
            FAULT_FEATURE,
            USED_FEATURE,
            QUALITY_FEATURE,
            RUNNING_PARTS_FEATURE,
        ]
        .map(str::to_owned)
        .to_vec(),
    }
}

/// Reads and writes until either side ends it.
async fn converse(
    socket: Socket,
    terms: &Terms,
    stream: &Arc<Stream>,
    queue: mpsc::Receiver<ToEdge>,
    events: &mpsc::Sender<EdgeEvent>,
    stop: CancellationToken,
) -> Result<(), StreamError> {
    let (sink, source) = socket.split();
    // Apart, so that an edge that does not read is still heard, and the other way round.
    tokio::select! {
        read = read_all(source, terms, stream, events) => read,
        written = write_all(sink, queue, terms, stop) => written,
        () = stream.closed().cancelled() => Err(StreamError::NotReading),
    }
}

async fn read_all(
    mut source: SplitStream<Socket>,
    terms: &Terms,
    stream: &Arc<Stream>,
    events: &mpsc::Sender<EdgeEvent>,
) -> Result<(), StreamError> {
    let dead_after = terms.control.dead_after();
    let mut renewed_at = None;
    let mut shown = Shown::default();
    let mut heard = Heard::default();
    loop {
        let next = tokio::time::timeout(dead_after, source.next()).await;
        let frame = match next.map_err(|_| StreamError::Silent)? {
            Some(frame) => frame.map_err(Box::new)?,
            None => return Ok(()),
        };
        let Some(message) = heard.message(&frame, &stream.node)? else {
            continue;
        };
        let message = match message {
            FromEdge::WhepAnswer { request, result } => {
                stream.answer(&request, result);
                continue;
            }
            FromEdge::Renew { request } => {
                stream.send(renew(terms, stream, &request, &mut renewed_at));
                continue;
            }
            FromEdge::Measured(measured) => {
                terms.desk.edge_said(&stream.node, &measured);
                continue;
            }
            FromEdge::Countersigned { session, answer } => {
                terms.desk.answered(&stream.node, &session, answer);
                continue;
            }
            FromEdge::Hello(_) => {
                return Err(StreamError::Protocol("a second hello".to_owned()));
            }
            FromEdge::Inventory(inventory) => EdgeMessage::Inventory(Box::new(inventory)),
            FromEdge::RunningPart { sessions } => {
                shown.part(sessions)?;
                continue;
            }
            FromEdge::Running { sessions } => EdgeMessage::Running(
                shown
                    .all(sessions)
                    .into_iter()
                    .map(|shown| verify(shown, &stream.node, terms))
                    .collect(),
            ),
            FromEdge::Heartbeat(heartbeat) => EdgeMessage::Heartbeat(heartbeat),
            FromEdge::Ack { command, outcome } => EdgeMessage::Ack {
                command: command.0,
                outcome,
            },
            FromEdge::Report {
                session,
                epoch,
                event,
            } => EdgeMessage::Report {
                session,
                epoch: epoch.into(),
                event,
            },
            FromEdge::Draining => EdgeMessage::Draining,
        };
        let said = EdgeEvent::Said {
            stream: stream.clone(),
            message,
        };
        // Waiting here is the back-pressure on an edge that talks too much.
        if events.send(said).await.is_err() {
            return Ok(());
        }
    }
}

/// The next certificate of a stream's node, or why there is none now.
fn renew(
    terms: &Terms,
    stream: &Stream,
    request: &str,
    renewed_at: &mut Option<tokio::time::Instant>,
) -> ToEdge {
    let refused = |detail: String, retry_after_s| ToEdge::NotRenewed {
        detail,
        retry_after_s,
    };
    if renewed_at.is_some_and(|at| at.elapsed() < RENEW_EVERY) {
        let wait_s = u32::try_from(RENEW_EVERY.as_secs()).unwrap_or(u32::MAX);
        return refused("this stream has its next certificate".to_owned(), wait_s);
    }
    *renewed_at = Some(tokio::time::Instant::now());
    match terms.registrar.renew(&stream.node, request) {
        Ok(renewed) => ToEdge::Renewed(renewed),
        Err(error) => {
            tracing::warn!(node_id = %stream.node, error = &error as &dyn std::error::Error,
                "a certificate is not renewed");
            refused(error.to_string(), REFUSED_RETRY_S)
        }
    }
}

async fn write_all(
    mut sink: SplitSink<Socket, Message>,
    mut queue: mpsc::Receiver<ToEdge>,
    terms: &Terms,
    stop: CancellationToken,
) -> Result<(), StreamError> {
    loop {
        let message = tokio::select! {
            biased;
            message = queue.recv() => match message {
                Some(message) => message,
                None => return Ok(()),
            },
            () = stop.cancelled() => ToEdge::GoAway { retry_after_s: terms.go_away_s() },
            () = terms.sent_away() => ToEdge::GoAway { retry_after_s: terms.go_away_s() },
        };
        let last = matches!(message, ToEdge::GoAway { .. } | ToEdge::Refused { .. });
        let text = Message::text(to_json(&message)?);
        tokio::time::timeout(WRITE_WITHIN, sink.send(text))
            .await
            .map_err(|_| StreamError::NotReading)?
            .map_err(Box::new)?;
        if last {
            let _ = tokio::time::timeout(CLOSE_WITHIN, sink.close()).await;
            return Ok(());
        }
    }
}

async fn send(socket: &mut Socket, message: &ToEdge) -> Result<(), StreamError> {
    let text = Message::text(to_json(message)?);
    tokio::time::timeout(WRITE_WITHIN, socket.send(text))
        .await
        .map_err(|_| StreamError::NotReading)?
        .map_err(|e| StreamError::Socket(Box::new(e)))
}

fn to_json(message: &ToEdge) -> Result<String, StreamError> {
    serde_json::to_string(message).map_err(|error| StreamError::Protocol(error.to_string()))
}
