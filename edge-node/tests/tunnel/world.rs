//! A broker, a node's tunnels, and callers.

use crate::edge::{Edge, Node};
use crate::http::{Client, PATIENCE};
use crate::rig::{Rig, eventually, id};
use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edge_node::tunnel::{Direct, Endpoints, TicketKeys, Tunnels, Way};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use nearlight_kit::clock::WallClock;
use nearlight_kit::pki::Credentials;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{
    FromEdge, Heartbeat, JobHost, OpenTunnel, Order, SessionReport, ToEdge,
};
use nearlight_protocol::endpoint::Endpoint;
use nearlight_protocol::grant::Grant;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::job::{ContainerRuntime, PortAccess};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::json;
use session_broker::config::Parsed;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// For which the node keeps the logs of jobs that are over.
pub(crate) const LOG_DAYS: u32 = 7;

/// A broker with its endpoint, and one node with its tunnels.
pub(crate) struct World {
    pub(crate) rig: Rig,
    pub(crate) node: Node,
    pub(crate) table: Arc<Endpoints>,
    /// The broker's, as the node has them.
    pub(crate) keys: TicketKeys,
    /// Of sessions that were started.
    pub(crate) grants: Arc<Mutex<HashMap<SessionId, Grant>>>,
    /// Orders that the node does not carry out, while it is told to hold them.
    pub(crate) held: mpsc::Receiver<OpenTunnel>,
    pub(crate) holds: Arc<std::sync::atomic::AtomicBool>,
    pub(crate) owner: Client,
    /// The node's; cancelled, it stops.
    pub(crate) shutdown: Shutdown,
    tasks: Shutdown,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.token().cancel();
        self.tasks.token().cancel();
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Parsed)) -> Self {
        Self::start_as(change, None).await
    }

    /// One whose node takes callers itself, too.
    pub(crate) async fn start_as(change: impl FnOnce(&mut Parsed), direct: Option<Direct>) -> Self {
        let rig = Rig::start_with(|parsed| {
            parsed.jobs.listen = "127.0.0.1:0".to_owned();
            change(parsed);
        })
        .await;
        let node = Node {
            jobs: Some(JobHost {
                runtimes: vec![ContainerRuntime::Runc],
                disk_mib: 65_536,
                direct: direct.as_ref().map(Direct::site),
                log_days: LOG_DAYS,
                ..JobHost::default()
            }),
            ..rig.node(4)
        };
        let (shutdown, tasks) = (Shutdown::new(), Shutdown::new());
        let (table, tunnels) = tunnels(&rig, &node, &shutdown);
        let edge = Box::pin(rig.attach(&node, Vec::new())).await;
        let keys = TicketKeys::default();
        assert!(keys.learn(&edge.welcome.as_ref().unwrap().jwks));
        if let Some(direct) = direct {
            let serves = (node.id.clone(), table.clone(), keys.clone());
            shutdown.spawn(direct.run(serves.0, serves.1, serves.2, shutdown.clone()));
        }
        let (hold, held) = mpsc::channel(64);
        let holds = Arc::<std::sync::atomic::AtomicBool>::default();
        let grants = Arc::<Mutex<HashMap<_, _>>>::default();
        let played = Played {
            edge,
            tunnels,
            grants: grants.clone(),
            hold,
            holds: holds.clone(),
        };
        let stop = tasks.token();
        tasks.spawn(async move {
            tokio::select! {
                () = played.play() => {}
                () = stop.cancelled() => {}
            }
        });
        rig.online(&node).await;
        let owner = rig.admin();
        let vet = format!("/v1/nodes/{}/vet", node.id);
        assert_eq!(owner.request("POST", &vet, &[], "").await.status, 204);
        Self {
            owner,
            rig,
            node,
            table,
            keys,
            grants,
            held,
            holds,
            shutdown,
            tasks,
        }
    }

    /// The node's control stream ends, and no other follows.
    pub(crate) fn stop_node(&self) {
        self.tasks.token().cancel();
    }

    /// A session that is ready, with these ports.
    pub(crate) async fn job(&self, ports: &[(&str, SocketAddr)]) -> SessionId {
        let session = self.ready().await;
        self.table.open(session.clone(), tickets(ports));
        session
    }

    /// A job that was asked for.
    pub(crate) async fn asked(&self) -> SessionId {
        self.asked_with(json!([])).await
    }

    /// The same, whose spec has these ports.
    async fn asked_with(&self, ports: serde_json::Value) -> SessionId {
        let image = format!("registry.example/team/server@sha256:{}", "0a".repeat(32));
        let key = nearlight_kit::ids::request().to_string();
        let client = self.owner.with("idempotency-key", &key);
        let body = json!({ "job": { "image": image, "ports": ports } });
        let session = id(&client.post_json("/v1/sessions", &body).await);
        session.parse().unwrap()
    }

    /// A session that is ready, and has no ports yet.
    pub(crate) async fn ready(&self) -> SessionId {
        self.ready_with(json!([])).await
    }

    /// The same, with a public port at the broker and at the node.
    pub(crate) async fn public_job(&self, at: SocketAddr) -> SessionId {
        let port = json!({ "name": "web", "port": 80, "access": "public" });
        let session = self.ready_with(json!([port])).await;
        let ports = vec![("web".to_owned(), at, PortAccess::Public)];
        self.table.open(session.clone(), ports);
        session
    }

    async fn ready_with(&self, ports: serde_json::Value) -> SessionId {
        let session = self.asked_with(ports).await;
        let path = format!("/v1/sessions/{session}");
        eventually("the session to be ready", || async {
            self.owner.get(&path).await.at("/state/phase") == "ready"
        })
        .await;
        session
    }

    /// The address of a session's port, and a ticket.
    pub(crate) async fn endpoint(&self, session: &SessionId, body: serde_json::Value) -> Endpoint {
        let path = format!("/v1/sessions/{session}/endpoint");
        let answer = self.owner.post_json(&path, &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    /// A caller with a ticket for the session's first port.
    pub(crate) async fn caller(&self, session: &SessionId) -> Caller {
        let endpoint = self.endpoint(session, json!({})).await;
        self.caller_of(&endpoint.url)
            .with("authorization", &bearer(&endpoint.ticket))
    }

    /// Keys of a tenant that has no other, one for each of these scopes: their ids, and who asks with them.
    pub(crate) async fn keys_of_a_tenant<const N: usize>(
        &self,
        scopes: [&[&str]; N],
    ) -> [(String, String); N] {
        let admin = self.rig.admin();
        let made = admin
            .post_json("/v1/tenants", &json!({ "name": "a" }))
            .await;
        let tenant = made.at("/id");
        let mut keys = Vec::new();
        for scopes in scopes {
            let body = json!({ "name": "k", "role": "tenant", "tenant": tenant, "scopes": scopes });
            let key = admin.post_json("/v1/keys", &body).await;
            assert_eq!(key.status, 201, "{key:?}");
            keys.push((key.at("/key/id"), key.at("/secret")));
        }
        keys.try_into().unwrap()
    }

    /// Whoever asks the broker with a key.
    pub(crate) fn client_with(&self, secret: &str) -> Client {
        self.rig.nobody().with("authorization", &bearer(secret))
    }

    /// A caller who shows nothing.
    pub(crate) fn caller_of(&self, url: &str) -> Caller {
        Caller {
            at: self.rig.broker.jobs_listen.unwrap(),
            host: host_of(url).to_owned(),
            headers: Vec::new(),
        }
    }
}

/// As `Authorization` has it.
pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// The host of an address.
pub(crate) fn host_of(url: &str) -> &str {
    url.split('/').nth(2).unwrap()
}

pub(crate) fn tickets(ports: &[(&str, SocketAddr)]) -> Vec<(String, SocketAddr, PortAccess)> {
    let ports = ports.iter();
    ports
        .map(|(name, at)| ((*name).to_owned(), *at, PortAccess::Ticket))
        .collect()
}

/// The TLS that a node shows.
pub(crate) fn tls_of(pki: &Path, node: &Node) -> io::Result<Arc<ClientConfig>> {
    let shown = Credentials::load(pki, node.id.as_str()).map_err(io::Error::other)?;
    shown
        .client_config(&WallClock::system())
        .map_err(io::Error::other)
}

pub(crate) fn tunnels(rig: &Rig, node: &Node, shutdown: &Shutdown) -> (Arc<Endpoints>, Tunnels) {
    let (pki, node): (PathBuf, Node) = (rig.pki(), node.clone());
    let server = ServerName::try_from("nearlight-broker").unwrap();
    let way = Way::new(rig.broker.node_listen.to_string(), server, move || {
        tls_of(&pki, &node)
    });
    let table = Arc::new(Endpoints::new(shutdown.clone()));
    let tunnels = Tunnels::new(way, table.clone(), shutdown.clone());
    let tunnels = tunnels.with_logs_in(&rig.pki(), LOG_DAYS);
    (table, tunnels)
}

/// The node's control stream: every session that is ordered is ready at once.
struct Played {
    edge: Edge,
    tunnels: Tunnels,
    grants: Arc<Mutex<HashMap<SessionId, Grant>>>,
    hold: mpsc::Sender<OpenTunnel>,
    holds: Arc<std::sync::atomic::AtomicBool>,
}

impl Played {
    async fn play(mut self) {
        let mut beat = tokio::time::interval(Duration::from_secs(2));
        loop {
            let said = tokio::select! {
                said = self.edge.next_or_closed() => said,
                _ = beat.tick() => {
                    self.edge.try_send(FromEdge::Heartbeat(Heartbeat::default())).await;
                    continue;
                }
            };
            match said {
                None => return,
                Some(ToEdge::OpenTunnel(order)) => {
                    if self.holds.load(std::sync::atomic::Ordering::SeqCst) {
                        let _ = self.hold.try_send(order);
                    } else {
                        self.tunnels.open(order);
                    }
                }
                Some(ToEdge::Command { command, order }) => {
                    self.edge.ack(command).await;
                    self.carry_out(order).await;
                }
                Some(_) => {}
            }
        }
    }

    async fn carry_out(&mut self, order: Order) {
        let (session, event) = match order {
            Order::Start(start) => {
                let payload = start.grant.split('.').nth(1).unwrap();
                let grant: Grant =
                    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
                let session = start.session.clone();
                self.grants.lock().unwrap().insert(session.clone(), grant);
                (session, SessionReport::Ready)
            }
            Order::Stop { session, reason } => {
                let reason: EndReason = reason;
                let detail = String::new();
                self.tunnels.endpoints().close(&session);
                (session, SessionReport::Ended { reason, detail })
            }
        };
        let epoch = self.grants.lock().unwrap()[&session].epoch;
        self.edge
            .try_send(FromEdge::Report {
                session,
                epoch,
                event,
            })
            .await;
    }
}

/// Whoever talks to a job.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) at: SocketAddr,
    pub(crate) host: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Caller {
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut caller = self.clone();
        caller.headers.push((name.to_owned(), value.to_owned()));
        caller
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        let mut request = Request::builder().method(method).uri(path);
        if !self.headers.iter().any(|(name, _)| name == "host") {
            request = request.header("host", &self.host);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
    }

    /// One request on a connection of its own; the connection closes with the answer's body.
    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Incoming> {
        self.try_send(request).await.unwrap()
    }

    pub(crate) async fn try_send(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let tcp = TcpStream::connect(self.at).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.unwrap();
        // Ends with the connection.
        Shutdown::new().spawn(connection.with_upgrades());
        sender.send_request(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        let request = self.request("GET", path).body(Body::empty()).unwrap();
        read(self.send(request).await).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Body>) -> (StatusCode, String) {
        let request = self.request("POST", path).body(body.into()).unwrap();
        read(self.send(request).await).await
    }
}

pub(crate) async fn read(response: Response<Incoming>) -> (StatusCode, String) {
    let status = response.status();
    let body = tokio::time::timeout(PATIENCE, response.into_body().collect());
    let bytes: Bytes = body.await.unwrap().unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}
