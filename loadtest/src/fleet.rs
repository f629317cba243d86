//! Edge nodes that are only a control stream: real mTLS, real messages, no containers.
//!
//! Each dials the broker with a certificate of its own, shows slots, and carries out what it is told:
//! a session that is ordered is acked and ready at once, and over after its time or when it is ended.
//! What the broker does for a node, it does for these; what a node does, these do not.

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use nearlight_kit::pki;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::control::{
    AckOutcome, FromEdge, Heartbeat, Hello, Inventory, Order, PROTOCOL_VERSION, SessionReport,
    Slot, ToEdge,
};
use nearlight_protocol::grant::Grant;
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::unit::U64;
use rustls_pki_types::ServerName;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Dials under way at a time.
const DIALS: usize = 32;
/// Buffers of one socket, bytes: as the broker's.
const BUFFER_BYTES: usize = 4 * 1024;

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// What nodes are like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How many.
    pub nodes: usize,
    /// Slots of each.
    pub slots: usize,
    /// How long a session runs before it ends by itself.
    pub hold: Duration,
}

/// What the nodes have done.
#[derive(Debug, Default)]
pub struct Done {
    /// Sessions started.
    pub started: AtomicU64,
    /// Sessions that are over.
    pub ended: AtomicU64,
    /// Streams that were lost.
    pub lost: AtomicU64,
}

/// Attached nodes. They go when this is dropped.
#[derive(Debug)]
pub struct Fleet {
    /// What they have done.
    pub done: Arc<Done>,
    _tasks: JoinSet<()>,
}

impl Fleet {
    /// Makes certificates of the CA in `pki`, and attaches every node.
    ///
    /// # Errors
    /// The CA cannot be read, or a node is not taken.
    pub async fn attach(pki: &Path, broker: SocketAddr, shape: Shape) -> Result<Self> {
        let done = Arc::new(Done::default());
        let mut tasks = JoinSet::new();
        let mut dials = JoinSet::new();
        let ca = pki::ensure_ca(pki)?;
        for n in 0..shape.nodes {
            let node = nearlight_kit::ids::node();
            let identity = pki::Identity {
                spiffe: format!("spiffe://nearlight/node/{node}"),
                ..pki::Identity::default()
            };
            ca.issue(pki, node.as_str(), identity)?;
            if dials.len() >= DIALS
                && let Some(dialled) = dials.join_next().await
            {
                let node: Node = dialled??;
                tasks.spawn(node.run());
            }
            dials.spawn(Node::attach(
                pki.to_owned(),
                broker,
                node,
                n,
                shape,
                done.clone(),
            ));
        }
        while let Some(dialled) = dials.join_next().await {
            let node: Node = dialled??;
            tasks.spawn(node.run());
        }
        Ok(Self {
            done,
            _tasks: tasks,
        })
    }
}

/// A session that runs.
#[derive(Debug)]
struct Running {
    session: SessionId,
    epoch: U64,
    until: Instant,
}

struct Node {
    socket: Socket,
    heartbeat: Duration,
    hold: Duration,
    /// By when they end: all are held for the same time.
    running: VecDeque<Running>,
    done: Arc<Done>,
}

impl Node {
    async fn attach(
        pki: std::path::PathBuf,
        broker: SocketAddr,
        id: NodeId,
        n: usize,
        shape: Shape,
        done: Arc<Done>,
    ) -> Result<Self> {
        let config = pki::client_config(&pki, id.as_str())?;
        let tcp = TcpStream::connect(broker).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("nearlight-broker")?;
        let tls = TlsConnector::from(config).connect(name, tcp).await?;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES);
        let url = "ws://nearlight-broker/";
        let (mut socket, _) =
            tokio_tungstenite::client_async_with_config(url, tls, Some(config)).await?;
        let hello = Hello {
            proto_min: PROTOCOL_VERSION,
            proto_max: PROTOCOL_VERSION,
            node: id,
            build: "loadtest".to_owned(),
            name: format!("load {n}"),
            region: format!("metro-{}", n % 10),
        };
        say(&mut socket, &FromEdge::Hello(hello)).await?;
        let heartbeat = match hear(&mut socket).await?.context("no welcome")? {
            ToEdge::Welcome(welcome) => Duration::from_secs(welcome.heartbeat_s.into()),
            other => bail!("no welcome but {other:?}"),
        };
        say(&mut socket, &FromEdge::Inventory(inventory(shape.slots))).await?;
        let sessions = Vec::new();
        say(&mut socket, &FromEdge::Running { sessions }).await?;
        socket.flush().await?;
        Ok(Self {
            socket,
            heartbeat,
            hold: shape.hold,
            running: VecDeque::new(),
            done,
        })
    }

    async fn run(mut self) {
        if let Err(error) = self.serve().await {
            self.done.lost.fetch_add(1, Relaxed);
            tracing::debug!(%error, "a control stream is lost");
        }
    }

    async fn serve(&mut self) -> Result<()> {
        // Nodes do not beat in step.
        let first = self.heartbeat.mul_f64(rand::random::<f64>());
        let mut beat = tokio::time::interval_at(Instant::now() + first, self.heartbeat);
        loop {
            let next_end = self.running.front().map(|running| running.until);
            tokio::select! {
                heard = hear(&mut self.socket) => match heard? {
                    Some(message) => self.obey(message).await?,
                    None => bail!("closed"),
                },
                () = until(next_end) => {
                    let now = Instant::now();
                    while let Some(over) = self.running.pop_front_if(|r| r.until <= now) {
                        self.end(over, EndReason::AppExited).await?;
                    }
                },
                _ = beat.tick() => {
                    say(&mut self.socket, &FromEdge::Heartbeat(Heartbeat::default())).await?;
                }
            }
            self.socket.flush().await?;
        }
    }

    async fn obey(&mut self, message: ToEdge) -> Result<()> {
        let ToEdge::Command { command, order } = message else {
            return Ok(());
        };
        let outcome = AckOutcome::Done;
        say(&mut self.socket, &FromEdge::Ack { command, outcome }).await?;
        match order {
            Order::Start(start) => {
                let epoch = epoch_of(&start.grant)?;
                let session = start.session.clone();
                let event = SessionReport::Ready;
                let report = FromEdge::Report {
                    session: session.clone(),
                    epoch,
                    event,
                };
                say(&mut self.socket, &report).await?;
                self.done.started.fetch_add(1, Relaxed);
                self.running.push_back(Running {
                    session,
                    epoch,
                    until: Instant::now() + self.hold,
                });
            }
            Order::Stop { session, reason } => {
                let at = self.running.iter().position(|r| r.session == session);
                if let Some(over) = at.and_then(|at| self.running.remove(at)) {
                    self.end(over, reason).await?;
                }
            }
        }
        Ok(())
    }

    async fn end(&mut self, over: Running, reason: EndReason) -> Result<()> {
        let detail = String::new();
        let report = FromEdge::Report {
            session: over.session,
            epoch: over.epoch,
            event: SessionReport::Ended { reason, detail },
        };
        self.done.ended.fetch_add(1, Relaxed);
        say(&mut self.socket, &report).await
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn inventory(slots: usize) -> Inventory {
    let slot = |_| Slot {
        id: nearlight_kit::ids::slot(),
        epoch: U64(0),
    };
    Inventory {
        slots: (0..slots).map(slot).collect(),
        cpu_milli: 1_000_000,
        mem_mib: 1_000_000,
        encode_cpu_milli: 0,
        gpu: GpuClass::RenderEncode,
        gpu_models: vec!["none".to_owned()],
        encoders: vec!["none".to_owned()],
        runtime: "docker".to_owned(),
        images: Vec::new(),
        uplink_kbps: None,
    }
}

/// A grant's epoch. Whether its signature is right is not asked here.
fn epoch_of(grant: &str) -> Result<U64> {
    use base64::Engine;
    let payload = grant.split('.').nth(1).context("a grant is a JWT")?;
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload)?;
    let grant: Grant = serde_json::from_slice(&json)?;
    Ok(grant.epoch)
}

/// Hands a message over; [`SinkExt::flush`] sends it.
async fn say(socket: &mut Socket, message: &FromEdge) -> Result<()> {
    let text = serde_json::to_string(message)?;
    Ok(socket.feed(Message::text(text)).await?)
}

async fn hear(socket: &mut Socket) -> Result<Option<ToEdge>> {
    socket.flush().await?;
    loop {
        match socket.next().await.transpose()? {
            Some(Message::Text(text)) => return Ok(Some(serde_json::from_str(&text)?)),
            Some(Message::Close(_)) | None => return Ok(None),
            Some(_) => {}
        }
    }
}
