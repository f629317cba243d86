//! Edge nodes that are only a control stream: real mTLS, real messages, no containers.
//!
//! Each dials the broker with a certificate of its own, shows slots, and carries out what it is told:
//! a session that is ordered is acked and ready at once, and over after its time or when it is ended.
//! What the broker does for a node, it does for these; what a node does, these do not.

use anyhow::{Context, Result, anyhow, bail};
use futures_util::{SinkExt, StreamExt};
use nearlight_kit::pki;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::control::{
    AckOutcome, FromEdge, Heartbeat, Hello, Inventory, Order, PROTOCOL_VERSION, RunningSession,
    SessionReport, Slot, ToEdge,
};
use nearlight_protocol::grant::Grant;
use nearlight_protocol::id::{NodeId, SessionId, SlotId};
use nearlight_protocol::unit::U64;
use rustls_pki_types::ServerName;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Dials under way at a time.
const DIALS: usize = 32;
/// From a dial to a welcome.
const DIAL_WITHIN: Duration = Duration::from_secs(15);
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
    /// Whether one that lost its stream dials again, by the broker's terms.
    pub redials: bool,
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
    /// Streams that are up.
    pub attached: AtomicU64,
    /// Dials, those that came to nothing included.
    pub dials: AtomicU64,
    /// Heartbeats sent.
    pub beats: AtomicU64,
}

/// Attached nodes. They go when this is dropped.
#[derive(Debug)]
pub struct Fleet {
    /// What they have done.
    pub done: Arc<Done>,
    hang_up: watch::Sender<()>,
    backoff_max_ms: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Fleet {
    /// Makes certificates of the CA in `pki`, and attaches every node.
    ///
    /// # Errors
    /// The CA cannot be read, or a node is not taken.
    pub async fn attach(pki: &Path, broker: SocketAddr, shape: Shape) -> Result<Self> {
        let done = Arc::new(Done::default());
        let hang_up = watch::Sender::new(());
        let backoff_max_ms = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        let mut dials = JoinSet::new();
        let ca = pki::ensure_ca(pki)?;
        for n in 0..shape.nodes {
            let id = nearlight_kit::ids::node();
            let identity = pki::Identity {
                spiffe: format!("spiffe://nearlight/node/{id}"),
                ..pki::Identity::default()
            };
            ca.issue(pki, id.as_str(), identity)?;
            let node = Node {
                tls: pki::client_config(pki, id.as_str())?,
                id,
                n,
                broker,
                slots: (0..shape.slots)
                    .map(|_| nearlight_kit::ids::slot())
                    .collect(),
                shape,
                heartbeat: Duration::ZERO,
                backoff: Backoff::default(),
                running: VecDeque::new(),
                done: done.clone(),
                hung_up: hang_up.subscribe(),
                backoff_max_ms: backoff_max_ms.clone(),
            };
            if dials.len() >= DIALS
                && let Some(dialled) = dials.join_next().await
            {
                let (node, socket): (Node, Socket) = dialled??;
                tasks.spawn(node.run(socket));
            }
            dials.spawn(node.first());
        }
        while let Some(dialled) = dials.join_next().await {
            let (node, socket) = dialled??;
            tasks.spawn(node.run(socket));
        }
        Ok(Self {
            done,
            hang_up,
            backoff_max_ms,
            _tasks: tasks,
        })
    }

    /// The longest wait between two dials, as the broker told.
    pub fn backoff_max(&self) -> Duration {
        Duration::from_millis(self.backoff_max_ms.load(Relaxed))
    }

    /// Every node loses its stream at once.
    pub fn hang_up(&self) {
        self.hang_up.send_replace(());
    }
}

/// A session that runs.
#[derive(Debug)]
struct Running {
    session: SessionId,
    grant: String,
    epoch: U64,
    until: Instant,
}

/// Between two dials: decorrelated jitter between the broker's bounds, as an edge node's.
#[derive(Clone, Copy, Debug)]
struct Backoff {
    min: Duration,
    max: Duration,
    last: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self {
            min: second,
            max: 60 * second,
            last: second,
        }
    }
}

impl Backoff {
    fn next(&mut self) -> Duration {
        let most = (self.last * 3).max(self.min);
        let wait = self.min + (most - self.min).mul_f64(rand::random());
        self.last = wait.min(self.max);
        self.last
    }
}

struct Node {
    id: NodeId,
    n: usize,
    tls: Arc<ClientConfig>,
    broker: SocketAddr,
    slots: Vec<SlotId>,
    shape: Shape,
    heartbeat: Duration,
    backoff: Backoff,
    /// By when they end: all are held for the same time.
    running: VecDeque<Running>,
    done: Arc<Done>,
    hung_up: watch::Receiver<()>,
    backoff_max_ms: Arc<AtomicU64>,
}

/// Why a dial came to nothing.
enum NotTaken {
    /// The broker says when to come back.
    Later(Duration),
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for NotTaken {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Node {
    async fn first(mut self) -> Result<(Self, Socket)> {
        loop {
            match self.dial().await {
                Ok(socket) => return Ok((self, socket)),
                Err(NotTaken::Later(wait)) => tokio::time::sleep(wait).await,
                Err(NotTaken::Failed(error)) => return Err(error),
            }
        }
    }

    async fn dial(&mut self) -> Result<Socket, NotTaken> {
        self.done.dials.fetch_add(1, Relaxed);
        let dialled = tokio::time::timeout(DIAL_WITHIN, self.dial_unbounded()).await;
        let socket = dialled.context("no welcome in time")??;
        self.done.attached.fetch_add(1, Relaxed);
        Ok(socket)
    }

    async fn dial_unbounded(&mut self) -> Result<Socket, NotTaken> {
        let tcp = TcpStream::connect(self.broker).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("nearlight-broker")?;
        let tls = TlsConnector::from(self.tls.clone())
            .connect(name, tcp)
            .await?;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES);
        let url = "ws://nearlight-broker/";
        let (mut socket, _) =
            tokio_tungstenite::client_async_with_config(url, tls, Some(config)).await?;
        let hello = Hello {
            proto_min: PROTOCOL_VERSION,
            proto_max: PROTOCOL_VERSION,
            node: self.id.clone(),
            build: "loadtest".to_owned(),
            name: format!("load {}", self.n),
            region: format!("metro-{}", self.n % 10),
            receipt_key: None,
            proves: Vec::new(),
        };
        say(&mut socket, &FromEdge::Hello(hello)).await?;
        match hear(&mut socket).await?.context("no welcome")? {
            ToEdge::Welcome(welcome) => {
                let max_ms = u64::from(welcome.backoff_max_s) * 1000;
                self.backoff_max_ms.store(max_ms, Relaxed);
                let seconds = |s: u32| Duration::from_secs(s.into());
                self.heartbeat = seconds(welcome.heartbeat_s);
                self.backoff = Backoff {
                    min: seconds(welcome.backoff_min_s),
                    max: seconds(welcome.backoff_max_s),
                    last: seconds(welcome.backoff_min_s),
                };
            }
            ToEdge::Refused { retry_after_s, .. } => {
                let wait = Duration::from_secs(retry_after_s.into());
                // As an edge node does: the broker spreads them, this only within the second.
                let within = Duration::from_secs(1).mul_f64(rand::random());
                return Err(NotTaken::Later(wait + within));
            }
            other => return Err(anyhow!("no welcome but {other:?}").into()),
        }
        say(&mut socket, &FromEdge::Inventory(inventory(&self.slots))).await?;
        let shown = self.running.iter().map(|running| RunningSession {
            session: running.session.clone(),
            grant: running.grant.clone(),
            attached: false,
            ready: true,
        });
        let sessions = shown.collect();
        say(&mut socket, &FromEdge::Running { sessions }).await?;
        socket.flush().await?;
        Ok(socket)
    }

    async fn run(mut self, mut socket: Socket) {
        loop {
            if let Err(error) = self.serve(&mut socket).await {
                tracing::debug!(%error, "a control stream is lost");
            }
            drop(socket);
            self.done.lost.fetch_add(1, Relaxed);
            self.done.attached.fetch_sub(1, Relaxed);
            if !self.shape.redials {
                return;
            }
            let mut wait = self.backoff.next();
            socket = loop {
                tokio::time::sleep(wait).await;
                wait = match self.dial().await {
                    Ok(socket) => break socket,
                    Err(NotTaken::Later(wait)) => wait,
                    Err(NotTaken::Failed(error)) => {
                        tracing::debug!(%error, "a dial came to nothing");
                        self.backoff.next()
                    }
                };
            };
            self.hung_up.mark_unchanged();
        }
    }

    async fn serve(&mut self, socket: &mut Socket) -> Result<()> {
        // Nodes do not beat in step.
        let first = self.heartbeat.mul_f64(rand::random::<f64>());
        let mut beat = tokio::time::interval_at(Instant::now() + first, self.heartbeat);
        loop {
            let next_end = self.running.front().map(|running| running.until);
            tokio::select! {
                heard = hear(socket) => match heard? {
                    Some(message) => self.obey(socket, message).await?,
                    None => bail!("closed"),
                },
                () = until(next_end) => {
                    let now = Instant::now();
                    while let Some(over) = self.running.pop_front_if(|r| r.until <= now) {
                        self.end(socket, over, EndReason::AppExited).await?;
                    }
                },
                _ = beat.tick() => {
                    say(socket, &FromEdge::Heartbeat(Heartbeat::default())).await?;
                    self.done.beats.fetch_add(1, Relaxed);
                }
                changed = self.hung_up.changed() => {
                    changed?;
                    bail!("hung up");
                }
            }
            socket.flush().await?;
        }
    }

    async fn obey(&mut self, socket: &mut Socket, message: ToEdge) -> Result<()> {
        let ToEdge::Command { command, order } = message else {
            return Ok(());
        };
        let outcome = AckOutcome::Done;
        say(socket, &FromEdge::Ack { command, outcome }).await?;
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
                say(socket, &report).await?;
                self.done.started.fetch_add(1, Relaxed);
                self.running.push_back(Running {
                    session,
                    grant: start.grant,
                    epoch,
                    until: Instant::now() + self.shape.hold,
                });
            }
            Order::Stop { session, reason } => {
                let at = self.running.iter().position(|r| r.session == session);
                if let Some(over) = at.and_then(|at| self.running.remove(at)) {
                    self.end(socket, over, reason).await?;
                }
            }
        }
        Ok(())
    }

    async fn end(&mut self, socket: &mut Socket, over: Running, reason: EndReason) -> Result<()> {
        let detail = String::new();
        let report = FromEdge::Report {
            session: over.session,
            epoch: over.epoch,
            event: SessionReport::Ended { reason, detail },
        };
        self.done.ended.fetch_add(1, Relaxed);
        say(socket, &report).await
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn inventory(slots: &[SlotId]) -> Inventory {
    let slot = |id: &SlotId| Slot {
        id: id.clone(),
        epoch: U64(0),
    };
    Inventory {
        slots: slots.iter().map(slot).collect(),
        cpu_milli: 1_000_000,
        mem_mib: 1_000_000,
        encode_cpu_milli: 0,
        gpu: GpuClass::RenderEncode,
        gpu_models: vec!["none".to_owned()],
        vram_mib: 0,
        encoders: vec!["none".to_owned()],
        runtime: "docker".to_owned(),
        images: Vec::new(),
        image_faults: Vec::new(),
        fault: String::new(),
        warm: Vec::new(),
        uplink_kbps: None,
        jobs: None,
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
