//! A broker for one test: its own directory, free ports, and edges of its own CA.

use crate::edge::{Edge, Node};
use crate::http::{Answer, Client, PATIENCE};
use nearlight_kit::clock::WallClock;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::control::RunningSession;
use serde_json::Value;
use session_broker::broker::Broker;
use session_broker::config::{Config, Parsed};
use session_broker::ledger::{FaultyLedger, Ledger};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;

/// The apps of the tests, and their times.
const APPS: [(&str, &str); 5] = [
    ("demo", "{ idle_s = 600, max_s = 3600, grace_s = 120 }"),
    ("hasty", "{ idle_s = 1, max_s = 3600, grace_s = 1 }"),
    ("brief", "{ idle_s = 600, max_s = 1, grace_s = 120 }"),
    ("wide", "{ idle_s = 600, max_s = 3600, grace_s = 120 }"),
    ("saves", "{ idle_s = 600, max_s = 3600, grace_s = 120 }"),
];

/// A broker in this process.
pub(crate) struct Rig {
    pub(crate) dir: TempDir,
    pub(crate) broker: Broker,
    pub(crate) faults: FaultyLedger,
    pub(crate) ledger: Arc<dyn Ledger>,
    /// The clock that certificates and join tokens are judged by.
    pub(crate) wall: WallClock,
    config: Parsed,
    shutdown: Stop,
}

/// Stops the broker with the test.
struct Stop(Shutdown);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.token().cancel();
    }
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts with a changed configuration.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Parsed)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut parsed = parsed(dir.path());
        change(&mut parsed);
        Self::start_in(dir, parsed, WallClock::system()).await
    }

    /// Stops the broker, and starts another one on what it left.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    /// The same, after a change while no broker is there.
    pub(crate) async fn restart_with(self, change: impl FnOnce(&mut Parsed)) -> Self {
        let Self {
            dir,
            wall,
            mut config,
            shutdown,
            ledger,
            faults,
            broker: _,
        } = self;
        // The writer ends when nobody is left who could write.
        drop((ledger, faults));
        shutdown.0.token().cancel();
        shutdown.0.drain(PATIENCE).await;
        change(&mut config);
        Self::start_in(dir, config, wall).await
    }

    /// Stops the broker, and starts none.
    #[allow(dead_code, reason = "for tests of nodes, which go on without one")]
    pub(crate) async fn stop(&self) {
        self.shutdown.0.token().cancel();
        self.shutdown.0.drain(PATIENCE).await;
    }

    async fn start_in(dir: TempDir, parsed: Parsed, wall: WallClock) -> Self {
        let config = Config::try_from(parsed.clone()).unwrap();
        let shutdown = Shutdown::new();
        let kept: OnceLock<(FaultyLedger, Arc<dyn Ledger>)> = OnceLock::new();
        let starting = Broker::start_at(config, &shutdown, wall.clone(), |ledger| {
            let faults = FaultyLedger::new(ledger.clone());
            kept.set((faults.clone(), ledger)).unwrap();
            Arc::new(faults)
        });
        let broker = Box::pin(starting).await.unwrap();
        let (faults, ledger) = kept.into_inner().unwrap();
        Self {
            dir,
            broker,
            faults,
            ledger,
            wall,
            config: parsed,
            shutdown: Stop(shutdown),
        }
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.config.pki.clone()
    }

    pub(crate) fn node(&self, slots: usize) -> Node {
        Node::new(&self.pki(), slots)
    }

    /// Attaches a node that runs nothing, and waits until it is online.
    pub(crate) async fn edge(&self, slots: usize) -> Edge {
        let node = self.node(slots);
        let edge = self.attach(&node, Vec::new()).await;
        self.online(&node).await;
        edge
    }

    pub(crate) async fn attach(&self, node: &Node, running: Vec<RunningSession>) -> Edge {
        node.attach(&self.pki(), self.broker.node_listen, running)
            .await
    }

    /// Waits until everyone sees the node online, with its slots.
    pub(crate) async fn online(&self, node: &Node) {
        let client = self.admin();
        let id = node.id.to_string();
        eventually("the node to be online", || async {
            let nodes = client.get("/v1/nodes").await.json();
            let listed = nodes["nodes"].as_array().unwrap().clone();
            listed
                .iter()
                .any(|n| n["id"] == id.as_str() && n["status"] == "online" && n["slots_total"] != 0)
        })
        .await;
    }

    pub(crate) fn nobody(&self) -> Client {
        Client::nobody(self.broker.listen)
    }

    pub(crate) async fn guest(&self) -> Client {
        Client::guest(self.broker.listen).await
    }

    pub(crate) fn admin(&self) -> Client {
        admin(self.dir.path(), self.broker.listen)
    }
}

/// The administrator's client.
pub(crate) fn admin(dir: &Path, at: std::net::SocketAddr) -> Client {
    let key = std::fs::read_to_string(dir.join("dev.key")).unwrap();
    Client::nobody(at).with("authorization", &format!("Bearer {}", key.trim()))
}

/// The configuration of a broker under `dir`.
pub(crate) fn parsed(dir: &Path) -> Parsed {
    let apps = dir.join("apps");
    std::fs::create_dir_all(&apps).unwrap();
    for (name, time) in APPS {
        let kbps_min = if name == "wide" { 8000 } else { 1000 };
        let saves = if name == "saves" {
            "saves = \"/saves\""
        } else {
            ""
        };
        let text = format!(
            r#"
                id = "{name}"
                title = "{name}"
                summary = "For tests."
                picture = "/apps/{name}.webp"
                shelf = "tool"
                {saves}
                launch = {{ image = "demo:1", command = ["/demo"] }}
                needs = {{ kbps_min = {kbps_min} }}
                time = {time}
            "#
        );
        std::fs::write(apps.join(format!("{name}.toml")), text).unwrap();
    }
    let mut parsed = Parsed::load(None).unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    (parsed.listen, parsed.node_listen) = (any, any);
    parsed.data = dir.join("data");
    parsed.pki = dir.join("pki");
    parsed.apps = apps;
    parsed.dev_key_file = dir.join("dev.key");
    parsed
}

/// Asks again and again until it is so.
pub(crate) async fn eventually<F>(what: &str, mut ask: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let asked = async {
        let mut pause = tokio::time::interval(std::time::Duration::from_millis(20));
        while !ask().await {
            pause.tick().await;
        }
    };
    let done = tokio::time::timeout(PATIENCE, asked).await;
    done.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

/// The id in an answer to a create.
pub(crate) fn id(created: &Answer) -> String {
    assert_eq!(created.status, 201, "{created:?}");
    created.at("/id")
}

/// The phase of a session.
pub(crate) fn phase(session: &Value) -> &str {
    session
        .pointer("/state/phase")
        .and_then(Value::as_str)
        .unwrap()
}
