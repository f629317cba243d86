//! The real agent and the real broker: certificates that are due, and certificates that are over. The
//! broker's clock is set back while nodes come in, so that time has passed when the agents start.
#![allow(clippy::unwrap_used, reason = "a test that fails should say where")]

mod support;

use nearlight_kit::clock::WallClock;
use nearlight_kit::enrol::{broker_name, enrol};
use nearlight_kit::join::JoinToken;
use nearlight_kit::pki::{Credentials, PendingKey};
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::api::NewJoinToken;
use nearlight_protocol::id::NodeId;
use session_broker::broker::Broker;
use session_broker::config::{Config, Parsed};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};
use support::example;
use support::node::until;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HOUR_S: i64 = 3600;
const GRACE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);

/// A broker in this process, and nodes in directories below its own.
struct Site {
    dir: TempDir,
    broker: Broker,
    shutdown: Shutdown,
}

/// A node's directories and its agent.
struct Edge {
    id: NodeId,
    dir: PathBuf,
    child: Option<Child>,
}

impl Site {
    /// A broker whose clock is so many seconds ahead of ours.
    async fn start(ahead_s: i64) -> Self {
        let dir = tempfile::Builder::new().prefix("nl").tempdir().unwrap();
        Self::start_in(dir, ahead_s, None).await
    }

    /// Stops the broker and starts another one on what it left, at the same address.
    async fn restart(self, ahead_s: i64) -> Self {
        let Self {
            dir,
            broker,
            shutdown,
        } = self;
        shutdown.token().cancel();
        shutdown.drain(GRACE).await;
        Self::start_in(dir, ahead_s, Some(broker)).await
    }

    async fn start_in(dir: TempDir, ahead_s: i64, former: Option<Broker>) -> Self {
        let mut parsed = Parsed::load(None).unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        parsed.listen = any;
        parsed.node_listen = former.map_or(any, |former| former.node_listen);
        parsed.data = dir.path().join("data");
        parsed.pki = dir.path().join("pki");
        parsed.dev_key_file = dir.path().join("dev.key");
        let shutdown = Shutdown::new();
        let config = Config::try_from(parsed).unwrap();
        let wall = WallClock::ahead_by(ahead_s);
        let broker = Box::pin(Broker::start_at(config, &shutdown, wall, |ledger| ledger));
        Self {
            broker: broker.await.unwrap(),
            dir,
            shutdown,
        }
    }

    async fn ask(&self, method: &str, path: &str) -> String {
        let key = std::fs::read_to_string(self.dir.path().join("dev.key")).unwrap();
        let mut tcp = TcpStream::connect(self.broker.listen).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             connection: close\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}",
            self.broker.listen,
            key.trim()
        );
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// A node that comes in with a token, by a clock so many seconds ahead.
    async fn join(&self, name: &str, ahead_s: i64) -> Edge {
        let answer = self.ask("POST", "/v1/join-tokens").await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let made: NewJoinToken = serde_json::from_str(body).unwrap();
        let token: JoinToken = made.token.parse().unwrap();
        let key = PendingKey::generate().unwrap();
        let clock = WallClock::ahead_by(ahead_s);
        let came = enrol(&token, &broker_name(), &key, &clock).await;
        let (enrolled, issued, _) = came.unwrap();
        let dir = self.dir.path().join(name);
        issued.save(&dir.join("pki"), "node").unwrap();
        Edge {
            id: enrolled.node,
            dir,
            child: None,
        }
    }
}

impl Edge {
    /// Starts the agent, and waits until the broker has welcomed it.
    fn run(&mut self, broker: &Broker) {
        let config = self.dir.join("edge.toml");
        std::fs::write(&config, "[slots]\ncount = 1\n").unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_edge-node"))
            .arg("--config")
            .arg(config)
            .arg("--data")
            .arg(self.dir.join("data"))
            .arg("--run")
            .arg(self.dir.join("run"))
            .arg("--pki")
            .arg(self.dir.join("pki"))
            .args(["--broker", &broker.node_listen.to_string()])
            .arg("--worker")
            .arg(example("quiet_worker"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        self.child = Some(child);
        assert!(line.contains(self.id.as_str()), "no ready line: {line:?}");
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // One that ended by itself is none the worse.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn certificate(&self) -> Credentials {
        Credentials::load(&self.dir.join("pki"), "node").unwrap()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.kill();
    }
}

fn is_for_its_owner_alone(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).unwrap().permissions().mode() & 0o777 == 0o600
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_off_for_three_days_returns_without_a_new_token() {
    let then = -72 * HOUR_S;
    let site = Site::start(then).await;
    let mut edge = site.join("one", then).await;
    let former = edge.certificate();
    assert!(former.validity.is_over(SystemTime::now()));
    let site = site.restart(0).await;
    edge.run(&site.broker);
    assert!(!edge.certificate().validity.is_over(SystemTime::now()));
    assert!(is_for_its_owner_alone(&edge.dir.join("pki/node.pem")));
    assert_eq!(edge.certificate().spiffe, former.spiffe);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_return_after_an_outage_of_thirty_hours() {
    let then = -30 * HOUR_S;
    let site = Site::start(then).await;
    let mut edges = Vec::new();
    for name in ["one", "two", "three"] {
        edges.push(site.join(name, then).await);
    }
    let site = site.restart(0).await;
    for edge in &mut edges {
        edge.run(&site.broker);
    }
    let all_online = async {
        loop {
            let nodes = site.ask("GET", "/v1/nodes").await;
            if nodes.matches("\"status\":\"online\"").count() == edges.len() {
                return edges.iter().all(|edge| nodes.contains(edge.id.as_str()));
            }
        }
    };
    let online = tokio::time::timeout(PATIENCE, all_online).await;
    assert_eq!(online, Ok(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_due_is_renewed_over_the_stream() {
    let then = -18 * HOUR_S;
    let site = Site::start(then).await;
    let mut edge = site.join("one", then).await;
    let former = edge.certificate().validity;
    assert!(!former.is_over(SystemTime::now()));
    let site = site.restart(0).await;
    edge.run(&site.broker);
    until("the next certificate", || {
        edge.certificate().validity.not_after > former.not_after
    })
    .await;
    // With the next one the agent comes again.
    edge.kill();
    edge.run(&site.broker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_certificate_is_over_is_not_renewed_once_it_is_revoked() {
    let then = -72 * HOUR_S;
    let site = Site::start(then).await;
    let edge = site.join("one", then).await;
    let former = edge.certificate().certificate_pem();
    let site = site.restart(0).await;
    let answer = site.ask("DELETE", &format!("/v1/nodes/{}", edge.id)).await;
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    let config = edge.dir.join("edge.toml");
    std::fs::write(&config, "[slots]\ncount = 1\n").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_edge-node"))
        .arg("--data")
        .arg(edge.dir.join("data"))
        .arg("--run")
        .arg(edge.dir.join("run"))
        .arg("--pki")
        .arg(edge.dir.join("pki"))
        .args(["--broker", &site.broker.node_listen.to_string()])
        .arg("--worker")
        .arg(example("quiet_worker"))
        .env("NEARLIGHT_LOG", "error")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let shut_out = lines
        .map_while(Result::ok)
        .any(|line| line.contains("this node is shut out"));
    let _ = child.kill();
    let _ = child.wait();
    assert!(shut_out);
    assert_eq!(edge.certificate().certificate_pem(), former);
}
