//! The real agent, the real broker and the real checker: a node is probed from the beginning to a receipt that both
//! sign.
#![allow(clippy::unwrap_used, reason = "a test that fails should say where")]

#[path = "prove/gpu.rs"]
mod gpu;
#[path = "prove/liars.rs"]
mod liars;
#[path = "prove/network.rs"]
mod network;
mod support;

use checker::beacon::Beacon;
use checker::broker::Broker as Asked;
use checker::cli::{BeaconArgs, RunArgs};
use checker::probe::{Found, once};
use nearlight_kit::clock::WallClock;
use nearlight_kit::enrol::{broker_name, enrol};
use nearlight_kit::join::JoinToken;
use nearlight_kit::pki::PendingKey;
use nearlight_kit::shutdown::Shutdown;
use nearlight_proof::encoding::sha256;
use nearlight_proof::key::{PublicKey, SecretKey};
use nearlight_proof::porc::rerun::Rerun;
use nearlight_proof::porc::score::{Class, Table};
use nearlight_proof::receipt::envelope::Envelope;
use nearlight_proof::receipt::predicate::{Elapsed, Finding, Predicate, Sizes};
use nearlight_proof::receipt::statement::{Countersign, Statement};
use nearlight_protocol::api::NewJoinToken;
use nearlight_protocol::id::NodeId;
use nearlight_protocol::prove::{CreateProbe, NewProbe};
use session_broker::broker::Broker;
use session_broker::config::{Config, Parsed};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::example;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How often a condition is looked at. Nothing depends on it.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A broker in this process, and a node that has joined it.
struct Site {
    dir: TempDir,
    broker: Broker,
    token: String,
    node: NodeId,
    agent: Option<Child>,
    /// What the agent's `[prover]` says beside its threads.
    prover: String,
    /// The program that proves GPUs.
    program: PathBuf,
    shutdown: Shutdown,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop_agent();
        self.shutdown.token().cancel();
    }
}

impl Site {
    async fn start() -> Self {
        Self::start_with(|_| {}, "").await
    }

    /// Starts with a changed configuration of the broker, and of the agent's prover.
    async fn start_with(change: impl FnOnce(&mut Parsed), prover: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("nl").tempdir().unwrap();
        let mut parsed = Parsed::load(None).unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        (parsed.listen, parsed.node_listen) = (any, any);
        parsed.data = dir.path().join("data");
        parsed.pki = dir.path().join("pki");
        parsed.dev_key_file = dir.path().join("dev.key");
        change(&mut parsed);
        let shutdown = Shutdown::new();
        let config = Config::try_from(parsed).unwrap();
        let wall = WallClock::system();
        let broker = Box::pin(Broker::start_at(config, &shutdown, wall, |ledger| ledger));
        let broker = broker.await.unwrap();
        let token = std::fs::read_to_string(dir.path().join("dev.key")).unwrap();
        let token = token.trim().to_owned();
        let made = invite(&broker, &token).await;
        let key = PendingKey::generate().unwrap();
        let came = enrol(&made, &broker_name(), &key, &WallClock::system()).await;
        let (enrolled, issued, _) = came.unwrap();
        issued.save(&dir.path().join("node/pki"), "node").unwrap();
        let mut site = Self {
            dir,
            broker,
            token,
            node: enrolled.node,
            agent: None,
            prover: prover.to_owned(),
            program: example("prover"),
            shutdown,
        };
        site.start_agent();
        site
    }

    /// Starts the agent, and waits until the broker has welcomed it.
    fn start_agent(&mut self) {
        let dir = self.dir.path().join("node");
        let config = dir.join("edge.toml");
        let prover = &self.prover;
        let text = format!("[slots]\ncount = 1\n[prover]\nthreads = 2\n{prover}\n");
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_edge-node"))
            .arg("--config")
            .arg(config)
            .arg("--data")
            .arg(dir.join("data"))
            .arg("--run")
            .arg(dir.join("run"))
            .arg("--pki")
            .arg(dir.join("pki"))
            .args(["--broker", &self.broker.node_listen.to_string()])
            .arg("--worker")
            .arg(example("quiet_worker"))
            .arg("--prover")
            .arg(&self.program)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        self.agent = Some(child);
        assert!(line.contains(self.node.as_str()), "no ready line: {line:?}");
    }

    fn stop_agent(&mut self) {
        if let Some(mut child) = self.agent.take() {
            // One that ended by itself is none the worse.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// A request of the administrator's, and what is answered.
    async fn call(&self, method: &str, path: &str, body: &str) -> serde_json::Value {
        let mut tcp = TcpStream::connect(self.broker.listen).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.broker.listen,
            self.token,
            body.len()
        );
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_else(|_| panic!("{path}: {answer}"))
    }

    fn asked(&self) -> Asked {
        Asked::new(&format!("http://{}", self.broker.listen), &self.token)
    }

    /// A new probe, or why there is none.
    async fn open(&self) -> Result<NewProbe, String> {
        self.open_of(None).await
    }

    /// The same of a GPU.
    async fn open_of(&self, gpu: Option<&str>) -> Result<NewProbe, String> {
        let (asked, node) = (self.asked(), self.node.clone());
        let gpu = gpu.map(str::to_owned);
        let opened = move || asked.open(&CreateProbe { node, gpu });
        let opened = tokio::task::spawn_blocking(opened).await.unwrap();
        opened.map_err(|error| error.to_string())
    }

    /// Whether the node would refuse a probe, or the broker.
    async fn is_busy(&self) -> bool {
        match self.open().await {
            Ok(probe) => {
                self.end(&probe).await;
                probe.offer.busy
            }
            Err(_) => true,
        }
    }

    /// Waits until the node takes a probe: the broker hears of it after its agent says that it is ready, and
    /// the threads of a probe that was given up stop between two units of work.
    async fn free(&self) {
        while self.is_busy().await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn end(&self, probe: &NewProbe) {
        let (asked, probe) = (self.asked(), probe.clone());
        tokio::task::spawn_blocking(move || asked.end(&probe))
            .await
            .unwrap();
    }

    /// The checker's whole work, as `checker run --once` does it.
    async fn probe(&self, class: &str) -> Found {
        self.probe_of("cpu", class).await
    }

    /// The same of a GPU.
    async fn probe_of(&self, gpu: &str, class: &str) -> Found {
        let out = self.dir.path().join("receipt.json");
        let args = RunArgs {
            once: true,
            url: format!("http://{}", self.broker.listen),
            token: self.token.clone(),
            node: self.node.to_string(),
            gpu: gpu.to_owned(),
            class: class.to_owned(),
            table: out.clone(),
            table_key: String::new(),
            out,
            beacon: BeaconArgs {
                drand: String::new(),
                chain_round: None,
                chain_value: None,
                chain_anchor: None,
            },
        };
        let run = move || {
            let beacon = Beacon {
                round: 7,
                value: [7; 32],
            };
            once(&args, &checker(), &table(), &beacon)
        };
        tokio::task::spawn_blocking(run).await.unwrap().unwrap()
    }
}

async fn invite(broker: &Broker, token: &str) -> JoinToken {
    let mut tcp = TcpStream::connect(broker.listen).await.unwrap();
    let request = format!(
        "POST /v1/join-tokens HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\
         connection: close\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}",
        broker.listen
    );
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let made: NewJoinToken = serde_json::from_str(body).unwrap();
    made.token.parse().unwrap()
}

fn checker() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

/// A class that any machine passes, one that none does, and one that takes a while.
fn table() -> Table {
    let class = |name: &str, reference_us, rows| Class {
        class: name.to_owned(),
        sizes: Sizes {
            rows,
            blocks: 64,
            lanes: 20,
            reads: 1_500,
            frames: 2,
            tiles: 5,
            steps: 96,
        },
        reference: Elapsed {
            compute_us: reference_us,
            fill_us: reference_us,
            read_us: reference_us,
            render_us: reference_us,
        },
        pass_permille: 100,
    };
    let classes = vec![
        class("slow", 60_000_000, 300),
        class("impossible", 1, 300),
        class("long", 60_000_000, 2_000),
    ];
    let bytes = Table::sign(1, classes, &checker()).unwrap();
    Table::open(&bytes, &checker().public()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_is_probed_and_signs_what_both_saw() {
    let mut site = Site::start().await;
    site.free().await;
    let found = site.probe("slow").await;
    assert_eq!(found.porc.finding, Finding::Pass, "{}", found.porc.reason);
    assert_eq!(found.unsigned, None);
    let written = std::fs::read(site.dir.path().join("receipt.json")).unwrap();
    let receipt = Envelope::parse(&written).unwrap();
    assert_eq!(receipt, found.receipt);
    let statement = Statement::parse(&receipt).unwrap();
    assert_eq!(statement.subject.name, format!("node:{}", site.node));
    let Predicate::Porc(porc) = statement.predicate else {
        panic!("a receipt of another kind");
    };
    assert!(porc.score_permille >= 100);

    // Anybody computes it anew from what stands beside it.
    let rerun = Rerun::of(&porc, &statement.subject.sha256).unwrap();
    let named = statement.head.evidence.iter().map(|piece| piece.sha256.0);
    let kept = found.evidence.iter().map(|piece| sha256(&[piece]));
    assert!(named.eq(kept) && !found.evidence.is_empty());
    let again = rerun.openings(&found.evidence.concat(), 8).unwrap();
    for part in [&again.rows, &again.blocks, &again.lanes, &again.tiles] {
        assert!(part.compared > 0 && part.wrong.is_none(), "{part:?}");
    }

    // The very key that the node offers stands under it, and is the same after a restart.
    site.stop_agent();
    site.start_agent();
    site.free().await;
    let probe = site.open().await.unwrap();
    let key = PublicKey::from_hex(&probe.offer.receipt_key).unwrap();
    assert_eq!(statement.head.countersign, Countersign::Node(key.id()));
    assert!(receipt.signed_by(&checker().public()) && receipt.signed_by(&key));

    // One probe at a time, and the next once it is given up.
    let refused = site.open().await.unwrap_err();
    assert!(refused.contains("being probed"), "{refused}");
    site.end(&probe).await;
    site.free().await;

    let late = site.probe("impossible").await;
    assert_eq!(late.porc.finding, Finding::Fail);
    assert!(
        late.porc.reason.contains("`fill` was later"),
        "{}",
        late.porc.reason
    );
    let statement = Statement::parse(&late.receipt).unwrap();
    assert!(matches!(
        statement.head.countersign,
        Countersign::Refused(_)
    ));
    assert_eq!(late.receipt.signatures.len(), 1);
}
