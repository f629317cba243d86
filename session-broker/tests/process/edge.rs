//! A scripted edge: speaks the control stream as the real one does, and does what the test says.

use crate::http::PATIENCE;
use futures_util::{SinkExt, StreamExt};
use nearlight_kit::clock::WallClock;
use nearlight_kit::pki;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::control::{
    AckOutcome, FromEdge, Hello, ImagesWanted, Inventory, JobHost, Order, PROTOCOL_VERSION, Proves,
    ReceiptKeyClaim, RunningSession, SessionReport, SessionWatchLinks, Slot, Start, ToEdge,
    ViewerRole, Welcome, WhepAction, WhepResult,
};
use nearlight_protocol::grant::Grant;
use nearlight_protocol::id::{AttachmentId, NodeId, RequestId, SessionId, SlotId};
use nearlight_protocol::unit::U64;
use nearlight_protocol::volume::VolumesKnown;
use nearlight_protocol::work::AppWork;
use rustls_pki_types::ServerName;
use std::net::SocketAddr;
use std::path::Path;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// A node that a test plays.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) slots: Vec<SlotId>,
    pub(crate) name: String,
    pub(crate) region: String,
    /// The last epoch of each slot in its journal.
    pub(crate) epoch: U64,
    pub(crate) cpu_milli: u32,
    pub(crate) encode_cpu_milli: u32,
    pub(crate) vram_mib: u32,
    pub(crate) uplink_kbps: Option<u32>,
    pub(crate) images: Vec<String>,
    /// What it offers to jobs.
    pub(crate) jobs: Option<JobHost>,
    /// What it judges certificates by.
    pub(crate) wall: WallClock,
    /// The receipt key that it says it has.
    pub(crate) receipt_key: Option<Box<ReceiptKeyClaim>>,
    /// What it says that it proves.
    pub(crate) proves: Vec<Proves>,
}

/// Its control stream.
pub(crate) struct Edge {
    pub(crate) node: Node,
    pub(crate) welcome: Option<Welcome>,
    /// What it was shown of watch links when it attached.
    watch_links: Option<Vec<SessionWatchLinks>>,
    /// The images that it is to have, as it heard last.
    pub(crate) images: Option<ImagesWanted>,
    /// The volumes that the broker knows here, as it heard last.
    volumes: Option<VolumesKnown>,
    socket: WebSocketStream<TlsStream<TcpStream>>,
}

impl Node {
    /// A new node with so many slots, with a certificate in `pki`.
    pub(crate) fn new(pki: &Path, slots: usize) -> Self {
        let id = nearlight_kit::ids::node();
        let identity = pki::Identity {
            spiffe: format!("spiffe://nearlight/node/{id}"),
            ..pki::Identity::default()
        };
        let ca = pki::ensure_ca(pki).unwrap();
        ca.issue(pki, id.as_str(), identity).unwrap();
        Self::known(id, slots)
    }

    /// A node that has its certificate.
    pub(crate) fn known(id: NodeId, slots: usize) -> Self {
        Self {
            id,
            slots: (0..slots).map(|_| nearlight_kit::ids::slot()).collect(),
            name: "scripted".to_owned(),
            region: "here".to_owned(),
            epoch: U64(0),
            cpu_milli: 64_000,
            encode_cpu_milli: 0,
            vram_mib: 0,
            uplink_kbps: None,
            images: Vec::new(),
            jobs: None,
            wall: WallClock::system(),
            receipt_key: None,
            proves: Vec::new(),
        }
    }

    /// Dials, and says hello as `hello`. Reads nothing yet.
    pub(crate) async fn dial(&self, pki: &Path, at: SocketAddr, hello: &NodeId) -> Edge {
        self.try_dial(pki, at, hello).await.unwrap()
    }

    /// As [`Node::dial`], where the broker may refuse the certificate.
    pub(crate) async fn try_dial(
        &self,
        pki: &Path,
        at: SocketAddr,
        hello: &NodeId,
    ) -> Result<Edge, tokio_tungstenite::tungstenite::Error> {
        let shown = pki::Credentials::load(pki, self.id.as_str()).unwrap();
        let config = shown.client_config(&self.wall).unwrap();
        let tcp = TcpStream::connect(at).await.unwrap();
        let name = ServerName::try_from("nearlight-broker").unwrap();
        let tls = TlsConnector::from(config).connect(name, tcp).await?;
        let (socket, _) = tokio_tungstenite::client_async("ws://nearlight-broker/", tls).await?;
        let mut edge = Edge {
            node: self.clone(),
            welcome: None,
            watch_links: None,
            images: None,
            volumes: None,
            socket,
        };
        edge.send(FromEdge::Hello(Hello {
            proto_min: PROTOCOL_VERSION,
            proto_max: PROTOCOL_VERSION,
            node: hello.clone(),
            build: "test".to_owned(),
            name: self.name.clone(),
            region: self.region.clone(),
            receipt_key: self.receipt_key.as_deref().cloned(),
            proves: self.proves.clone(),
        }))
        .await;
        Ok(edge)
    }

    /// Attaches, shows what it has and that it runs `sessions`.
    pub(crate) async fn attach(
        &self,
        pki: &Path,
        at: SocketAddr,
        sessions: Vec<RunningSession>,
    ) -> Edge {
        let attached = self.try_attach(pki, at, sessions).await;
        attached.unwrap_or_else(|other| panic!("no welcome but {other:?}"))
    }

    /// As [`Node::attach`], or what the broker says instead of a welcome.
    pub(crate) async fn try_attach(
        &self,
        pki: &Path,
        at: SocketAddr,
        sessions: Vec<RunningSession>,
    ) -> Result<Edge, Box<ToEdge>> {
        let mut edge = self.dial(pki, at, &self.id).await;
        match edge.next().await {
            ToEdge::Welcome(welcome) => edge.welcome = Some(welcome),
            other => return Err(Box::new(other)),
        }
        edge.send(FromEdge::Inventory(self.inventory())).await;
        edge.send(FromEdge::Running { sessions }).await;
        Ok(edge)
    }

    pub(crate) fn inventory(&self) -> Inventory {
        Inventory {
            slots: self
                .slots
                .iter()
                .map(|id| Slot {
                    id: id.clone(),
                    epoch: self.epoch,
                })
                .collect(),
            cpu_milli: self.cpu_milli,
            mem_mib: 65_536,
            encode_cpu_milli: self.encode_cpu_milli,
            gpu: GpuClass::RenderEncode,
            gpu_models: vec!["Test".to_owned()],
            vram_mib: self.vram_mib,
            encoders: vec!["x264enc".to_owned()],
            runtime: "docker".to_owned(),
            images: self.images.clone(),
            image_faults: Vec::new(),
            fault: String::new(),
            warm: Vec::new(),
            uplink_kbps: self.uplink_kbps,
            jobs: self.jobs.clone(),
        }
    }
}

/// A started session, as its edge knows it.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    pub(crate) command: U64,
    pub(crate) start: Start,
    pub(crate) grant: Grant,
}

impl Started {
    /// The app that it is to run.
    pub(crate) fn app(&self) -> &AppWork {
        self.start.work.app().expect("an app")
    }

    /// A report of it, as its edge says it.
    pub(crate) fn reported(&self, event: SessionReport) -> FromEdge {
        FromEdge::Report {
            session: self.start.session.clone(),
            epoch: self.grant.epoch,
            event,
        }
    }

    pub(crate) fn running(&self, attached: bool) -> RunningSession {
        RunningSession {
            session: self.start.session.clone(),
            grant: self.start.grant.clone(),
            attached,
            ready: true,
        }
    }
}

impl Edge {
    /// Sends on a stream that may have been closed.
    pub(crate) async fn try_send(&mut self, message: FromEdge) {
        let text = serde_json::to_string(&message).unwrap();
        let _ = self.socket.send(Message::text(text)).await;
    }

    pub(crate) async fn send(&mut self, message: FromEdge) {
        let text = serde_json::to_string(&message).unwrap();
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next message; `None` once the broker has closed the stream.
    pub(crate) async fn next_or_closed(&mut self) -> Option<ToEdge> {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match frame.expect("the broker says something in time")? {
                Ok(Message::Text(text)) => match serde_json::from_str(&text).unwrap() {
                    // Comes once a stream, before everything else.
                    ToEdge::WatchLinks { sessions } => self.watch_links = Some(sessions),
                    // Comes whenever apps change.
                    ToEdge::Images(wanted) => self.images = Some(wanted),
                    ToEdge::Volumes(known) => self.volumes = Some(known),
                    other => return Some(other),
                },
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Whether the broker answers on the stream; `false` once that has ended.
    pub(crate) async fn is_open(&mut self) -> bool {
        let ping = Message::Ping(Vec::new().into());
        if self.socket.send(ping).await.is_err() {
            return false;
        }
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match frame.expect("an answer or an end") {
                Some(Ok(Message::Pong(_))) => return true,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return false,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The next word of which images it is to have.
    pub(crate) async fn next_images(&mut self) -> ImagesWanted {
        loop {
            if let Some(wanted) = self.images.take() {
                return wanted;
            }
            let frame = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            if let Some(Ok(Message::Text(text))) = frame.expect("it is told in time")
                && let ToEdge::Images(wanted) = serde_json::from_str(&text).unwrap()
            {
                return wanted;
            }
        }
    }

    /// The next word of which volumes are known here.
    pub(crate) async fn next_volumes(&mut self) -> VolumesKnown {
        loop {
            if let Some(known) = self.volumes.take() {
                return known;
            }
            let frame = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            if let Some(Ok(Message::Text(text))) = frame.expect("it is told in time")
                && let ToEdge::Volumes(known) = serde_json::from_str(&text).unwrap()
            {
                return known;
            }
        }
    }

    /// What it is shown of watch links when it attaches with sessions.
    pub(crate) async fn watch_links(&mut self) -> Vec<SessionWatchLinks> {
        loop {
            if let Some(shown) = self.watch_links.take() {
                return shown;
            }
            let frame = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            if let Some(Ok(Message::Text(text))) = frame.expect("it is shown in time")
                && let ToEdge::WatchLinks { sessions } = serde_json::from_str(&text).unwrap()
            {
                return sessions;
            }
        }
    }

    pub(crate) async fn next(&mut self) -> ToEdge {
        self.next_or_closed().await.expect("the stream is open")
    }

    /// The next message must be an order to start; its grant must be for this node.
    pub(crate) async fn expect_start(&mut self) -> Started {
        match self.next().await {
            ToEdge::Command {
                command,
                order: Order::Start(start),
            } => {
                let grant = claims(&start.grant);
                assert_eq!(grant.node, self.node.id);
                assert_eq!(grant.session, start.session);
                assert!(self.node.slots.contains(&grant.slot));
                Started {
                    command,
                    start: *start,
                    grant,
                }
            }
            other => panic!("no start but {other:?}"),
        }
    }

    /// The session of the next order, if that is to start it.
    pub(crate) async fn expect_start_or_stop(&mut self) -> Option<SessionId> {
        match self.next().await {
            ToEdge::Command { command, order } => {
                self.ack(command).await;
                match order {
                    Order::Start(start) => Some(start.session),
                    Order::Stop { .. } => None,
                }
            }
            other => panic!("no order but {other:?}"),
        }
    }

    /// The next message must be an order to stop `session`.
    pub(crate) async fn expect_stop(&mut self, session: &SessionId) -> (U64, EndReason) {
        match self.next().await {
            ToEdge::Command {
                command,
                order:
                    Order::Stop {
                        session: of,
                        reason,
                    },
            } => {
                assert_eq!(of, *session);
                (command, reason)
            }
            other => panic!("no stop but {other:?}"),
        }
    }

    /// The next message must be an offer.
    pub(crate) async fn expect_offer(&mut self) -> (RequestId, AttachmentId, bool) {
        match self.next().await {
            ToEdge::Whep {
                request,
                action:
                    WhepAction::Offer {
                        attachment,
                        role: ViewerRole::Player { take_over },
                        ..
                    },
                ..
            } => (request, attachment, take_over),
            other => panic!("no offer but {other:?}"),
        }
    }

    pub(crate) async fn ack(&mut self, command: U64) {
        let outcome = AckOutcome::Done;
        self.send(FromEdge::Ack { command, outcome }).await;
    }

    pub(crate) async fn answer(&mut self, request: RequestId, result: WhepResult) {
        self.send(FromEdge::WhepAnswer { request, result }).await;
    }

    pub(crate) async fn report(&mut self, of: &Started, event: SessionReport) {
        self.send(FromEdge::Report {
            session: of.start.session.clone(),
            epoch: of.grant.epoch,
            event,
        })
        .await;
    }

    /// Takes the next order to start and carries it out up to the first picture.
    pub(crate) async fn start_next(&mut self) -> Started {
        let started = self.expect_start().await;
        self.ack(started.command).await;
        self.report(&started, SessionReport::Ready).await;
        started
    }

    /// Takes the order to stop and carries it out.
    pub(crate) async fn stop_next(&mut self, of: &Started) -> EndReason {
        let (command, reason) = self.expect_stop(&of.start.session).await;
        self.ack(command).await;
        let detail = String::new();
        self.report(of, SessionReport::Ended { reason, detail })
            .await;
        reason
    }
}

/// The claims of a grant; whether its signature is right is another test's.
fn claims(token: &str) -> Grant {
    use base64::Engine;
    let payload = token.split('.').nth(1).unwrap();
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(payload)
        .unwrap();
    serde_json::from_slice(&json).unwrap()
}
