//! Several brokers on a PostgreSQL of the test's own.

use crate::edge::{Edge, Node};
use crate::http::Client;
use crate::line::Line;
use crate::program::Program;
use crate::rig::{admin, eventually};
use nearlight_protocol::control::RunningSession;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use tempfile::TempDir;

/// A PostgreSQL, and the brokers that share it, by name.
pub(crate) struct Shared {
    dir: TempDir,
    pub(crate) postgres: Postgres,
}

/// A PostgreSQL of the test's own.
pub(crate) struct Postgres {
    dir: PathBuf,
    pub(crate) url: String,
}

impl Postgres {
    fn script(args: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/postgres.sh");
        let output = Command::new(script).args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn start() -> Option<Self> {
        if std::env::var_os("NEARLIGHT_WITHOUT_POSTGRES").is_some() {
            return None;
        }
        let output = Self::script(&["start"]);
        let mut lines = output.lines();
        Some(Self {
            dir: lines.next().unwrap().into(),
            url: lines.next().unwrap().to_owned(),
        })
    }

    /// Starts it again with more settings.
    pub(crate) fn reconfigure(&self, lines: &str) {
        let dir = self.dir.to_str().unwrap();
        Self::script(&["stop", dir]);
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(self.dir.join("data/postgresql.conf"))
            .unwrap();
        file.write_all(lines.as_bytes()).unwrap();
        Self::script(&["start", dir]);
    }

    /// A standby of it, which is dropped with the answer.
    pub(crate) fn standby(&self) -> Self {
        self.standby_by(&self.socket())
    }

    /// As [`Postgres::standby`], which reaches it by the socket in that directory.
    pub(crate) fn standby_by(&self, sockets: &Path) -> Self {
        let dir = PathBuf::from(format!("{}.standby", self.dir.display()));
        let [of, new, by] = [&self.dir, &dir, sockets].map(|dir| dir.to_str().unwrap());
        let output = Self::script(&["standby", of, new, by]);
        let url = output.lines().nth(1).unwrap().to_owned();
        Self { dir, url }
    }

    /// kill -9; its standby is the primary from now on.
    pub(crate) fn fail_over_to(&self, standby: &Self) {
        Self::script(&["kill", self.dir.to_str().unwrap()]);
        Self::script(&["promote", standby.dir.to_str().unwrap()]);
    }

    /// The directory of its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    /// What a query returns.
    pub(crate) fn ask(&self, sql: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/postgres.sh");
        let mut child = Command::new(script)
            .args(["ask", self.dir.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(sql.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Lets nobody write to a table for as long as the answer is kept; whoever would waits.
    pub(crate) fn hold(&self, table: &str) -> Held {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/postgres.sh");
        let mut child = Command::new(script)
            .args(["ask", self.dir.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(
            stdin,
            "BEGIN; LOCK TABLE {table} IN SHARE MODE; SELECT 'held';"
        )
        .unwrap();
        let mut said = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut said).unwrap();
        assert_eq!(said.trim(), "held");
        Held {
            child,
            stdin: Some(stdin),
        }
    }

    pub(crate) fn crash(&self) {
        let dir = self.dir.to_str().unwrap();
        Self::script(&["kill", dir]);
        Self::script(&["start", dir]);
    }
}

/// A table that nobody writes to.
pub(crate) struct Held {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Its transaction ends with what it reads.
        drop(self.stdin.take());
        self.child.wait().unwrap();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        Self::script(&["drop", self.dir.to_str().unwrap()]);
    }
}

impl Shared {
    pub(crate) fn new() -> Option<Self> {
        let postgres = Postgres::start()?;
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("pki")).unwrap();
        Some(Self { dir, postgres })
    }

    /// Starts the broker of that name. Each has its own key; they share the CA.
    pub(crate) async fn broker(&self, name: &str) -> Program {
        self.broker_at(name, &self.postgres.url).await
    }

    /// As [`Shared::broker`], with another way to the database.
    pub(crate) async fn broker_at(&self, name: &str, ledger: &str) -> Program {
        self.broker_with(name, ledger, "").await
    }

    /// As [`Shared::broker_at`], with more of its configuration.
    async fn broker_with(&self, name: &str, ledger: &str, more: &str) -> Program {
        self.broker_of(name, ledger, 3, more).await
    }

    /// As [`Shared::broker_with`], which gives others up after that time.
    async fn broker_of(&self, name: &str, ledger: &str, dead_s: u32, more: &str) -> Program {
        let own = self.dir.path().join(name);
        std::fs::create_dir_all(&own).unwrap();
        // Fails where the broker was there before.
        let _ = std::os::unix::fs::symlink(self.pki(), own.join("pki"));
        let file = own.join("broker.toml");
        // All callers of a test share one address.
        let limits = "[limits]\nguests_burst = 200\ncreates_burst = 200\nrequests_burst = 2000\n";
        let peers =
            format!("[peers]\nname = \"{name}\"\nlisten = \"127.0.0.1:0\"\ndead_s = {dead_s}\n");
        let text = format!("metrics_listen = \"127.0.0.1:0\"\n{limits}{peers}{more}");
        std::fs::write(&file, text).unwrap();
        let args = ["--config", file.to_str().unwrap(), "--ledger", ledger];
        Program::start_with(&own, &args).await
    }

    /// Two that know of each other, `a` and `b`; `a` is the home of the queue.
    pub(crate) async fn two(&self) -> (Program, Program) {
        let (a, b) = (self.broker("a").await, self.broker("b").await);
        met(&[&a, &b]).await;
        (a, b)
    }

    /// The same, which keep a log of receipts together.
    pub(crate) async fn two_with_a_log(&self) -> (Program, Program) {
        let log = self.dir.path().join("log");
        let more = format!("[log]\ndir = \"{}\"\n", log.display());
        let by = async |name: &str| self.broker_with(name, &self.postgres.url, &more).await;
        let (a, b) = (by("a").await, by("b").await);
        met(&[&a, &b]).await;
        (a, b)
    }

    /// The same, of which none takes over from the other within a test.
    pub(crate) async fn two_that_wait(&self) -> (Program, Program) {
        let by = async |name: &str| self.broker_of(name, &self.postgres.url, 120, "").await;
        let (a, b) = (by("a").await, by("b").await);
        met(&[&a, &b]).await;
        (a, b)
    }

    /// The same as [`Shared::two`], each with a way to the database of its own that can be cut.
    pub(crate) async fn two_by_lines(&self) -> [(Program, Line); 2] {
        self.two_by_lines_with("").await
    }

    /// As [`Shared::two_by_lines`], with more of their configuration.
    pub(crate) async fn two_by_lines_with(&self, more: &str) -> [(Program, Line); 2] {
        let by = async |name: &str| {
            let line = Line::to(self.postgres.socket(), &self.dir.path().join(name));
            (self.broker_with(name, &line.url, more).await, line)
        };
        let both = [by("a").await, by("b").await];
        met(&[&both[0].0, &both[1].0]).await;
        both
    }

    /// Starts one that shares the ledger with nobody.
    pub(crate) async fn alone(&self, ledger: &str) -> Program {
        let own = self.dir.path().join("alone");
        std::fs::create_dir_all(&own).unwrap();
        std::os::unix::fs::symlink(self.pki(), own.join("pki")).unwrap();
        Program::start_with(&own, &["--ledger", ledger]).await
    }

    /// A directory for the test's own, which other users reach as well: PostgreSQL is not root.
    pub(crate) fn open_dir(&self, name: &str) -> PathBuf {
        let own = self.dir.path().join(name);
        std::fs::create_dir(&own).unwrap();
        for dir in [self.dir.path(), &own] {
            let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(dir, all).unwrap();
        }
        own
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.dir.path().join("pki")
    }

    pub(crate) fn admin(&self, name: &str, broker: &Program) -> Client {
        admin(&self.dir.path().join(name), broker.listen)
    }

    /// Attaches a new node to `at`, and waits until `seen_by` sees its slots.
    pub(crate) async fn edge(&self, slots: usize, at: &Program, seen_by: &[&Client]) -> Edge {
        let node = Node::new(&self.pki(), slots);
        let edge = self.attach(&node, at, Vec::new()).await;
        for client in seen_by {
            online(client, &node).await;
        }
        edge
    }

    pub(crate) async fn attach(
        &self,
        node: &Node,
        at: &Program,
        running: Vec<RunningSession>,
    ) -> Edge {
        node.attach(&self.pki(), at.node_listen, running).await
    }
}

/// Waits until each of two brokers knows of the other.
async fn met(brokers: &[&Program; 2]) {
    for broker in brokers {
        let metrics = Client::nobody(broker.metrics_listen.unwrap());
        eventually("the brokers to meet", || async {
            let page = metrics.get("/metrics").await;
            page.body.contains("broker_peers 1")
        })
        .await;
    }
}

/// Attaches a node, and waits until it is online.
pub(crate) async fn attach_to(
    pki: &Path,
    node: &Node,
    broker: &Program,
    running: Vec<RunningSession>,
) -> Edge {
    let edge = node.attach(pki, broker.node_listen, running).await;
    online(&Client::guest(broker.listen).await, node).await;
    edge
}

pub(crate) async fn online(client: &Client, node: &Node) {
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
