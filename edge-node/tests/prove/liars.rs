//! Checkers that lie, among others and all together: real ones, of which a relay of the test's own turns every pass that they
//! sign into a fail. What the node kept of its probes shows who was right.

use super::network::Working;
use super::{LOOK_EVERY, Parsed, Site, example};
use checker::keys;
use checker::member::Network;
use nearlight_kit::clock::{WallClock, unix_ms};
use nearlight_kit::enrol::broker_name;
use nearlight_kit::pki::{Identity, ServerIdentity, ensure_ca};
use nearlight_proof::key::{KeyId, SecretKey};
use nearlight_proof::receipt::envelope::Envelope;
use nearlight_proof::receipt::predicate::{Finding, Predicate, Verdict};
use nearlight_proof::receipt::statement::Statement;
use rustls::{ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const CHECKERS: u8 = 4;
/// What a liar says of a right opening.
const LIE: &str = "row 3 of C: what was committed to is not what the seed asks for";
const STAKE: u64 = 1_000;

/// A checker whose word to the broker goes through the test.
struct Liar {
    of: Working,
    lies: Arc<AtomicBool>,
}

impl Liar {
    fn key_id(&self) -> KeyId {
        keys::load(&self.of.settings.data).unwrap().public().id()
    }

    fn lies(&self, whether: bool) {
        self.lies.store(whether, Ordering::SeqCst);
    }
}

/// Passes requests on to the broker; of a checker that lies its receipts otherwise than it wrote them.
#[derive(Clone)]
struct Relay {
    broker: SocketAddr,
    data: PathBuf,
    /// It is the broker, as far as the checker can tell.
    tls: Arc<ServerConfig>,
    lies: Arc<AtomicBool>,
}

impl Relay {
    fn start(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let relay = self.clone();
                // Whoever goes away in between is not missed.
                std::thread::spawn(move || relay.pass_on(stream.unwrap()));
            }
        });
        at
    }

    fn pass_on(&self, client: TcpStream) -> std::io::Result<()> {
        let accepted = ServerConnection::new(self.tls.clone()).unwrap();
        let mut client = StreamOwned::new(accepted, client);
        let mut reader = BufReader::new(&mut client);
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            match name.to_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap(),
                "connection" => {}
                "transfer-encoding" => panic!("a body whose length is not told: {head}"),
                _ => head.push_str(&line),
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        drop(reader);
        if self.lies.load(Ordering::SeqCst) && has_receipt(&head) {
            let key = keys::load(&self.data).unwrap();
            body = lie(&body, &key).unwrap_or(body);
        }
        // To the broker it is the checker.
        let shown = checker::certificate::load(&self.data).unwrap();
        let shown = shown.client_config(&WallClock::system()).unwrap();
        let dialled = ClientConnection::new(shown, broker_name()).unwrap();
        let mut broker = StreamOwned::new(dialled, TcpStream::connect(self.broker)?);
        let length = body.len();
        write!(
            broker,
            "{head}content-length: {length}\r\nconnection: close\r\n\r\n"
        )?;
        broker.write_all(&body)?;
        broker.flush()?;
        std::io::copy(&mut broker, &mut client)?;
        client.conn.send_close_notify();
        client.flush()
    }
}

/// One for the log, or for the node to sign.
fn has_receipt(head: &str) -> bool {
    let path = head.split(' ').nth(1).unwrap_or_default();
    head.starts_with("POST") && (path == "/v1/receipts" || path.contains("/sign?"))
}

/// A pass as a fail, signed by who lies alone.
fn lie(receipt: &[u8], key: &SecretKey) -> Option<Vec<u8>> {
    let envelope = Envelope::parse(receipt).ok()?;
    let mut statement = Statement::parse(&envelope).ok()?;
    let Predicate::Porc(porc) = &mut statement.predicate else {
        return None;
    };
    if porc.finding != Finding::Pass {
        return None;
    }
    (porc.finding, porc.reason) = (Finding::Fail, LIE.to_owned());
    let mut envelope = statement.envelope().unwrap();
    envelope.sign(key);
    Some(envelope.to_bytes())
}

impl Site {
    async fn liar(&self, n: u8) -> Liar {
        let lies = Arc::new(AtomicBool::new(false));
        let broker = Identity {
            spiffe: "spiffe://nearlight/broker".to_owned(),
            dns: vec!["nearlight-broker".to_owned()],
            ips: Vec::new(),
        };
        let ca = Arc::new(ensure_ca(&self.dir.path().join("pki")).unwrap());
        let relay = Relay {
            broker: self.broker.node_listen,
            tls: Arc::new(ServerIdentity::new(ca, broker))
                .server_config()
                .unwrap(),
            data: self.dir.path().join(format!("checker-{n}")),
            lies: lies.clone(),
        };
        let of = self.checker_at(n, Some(relay.start())).await;
        Liar { of, lies }
    }

    /// Waits for a round that has all of these.
    async fn round_of(&self, checkers: &[Liar]) {
        let network = Network::load(&checkers[0].of.settings.data).unwrap();
        let anchor = network.anchor().unwrap();
        loop {
            let round = anchor.round_at(unix_ms()).unwrap();
            let path = format!("/v1/assignments?round={round}");
            let shown = self.call("GET", &path, "").await;
            let set = shown["checkers"].as_array();
            if set.is_some_and(|set| set.len() == checkers.len()) {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The node comes back with a new key, of which nothing is known: it is checked at once.
    fn with_another_key(&mut self) {
        self.stop_agent();
        std::fs::remove_file(self.dir.path().join("node/data/receipt.key")).unwrap();
        self.start_agent();
    }

    /// What is shown there, once it is so.
    async fn call_until(&self, path: &str, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let shown = self.call("GET", path, "").await;
            if is(&shown) {
                return shown;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The node's standing, once it is so.
    async fn standing(&self, is: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/v1/nodes/{}/standing", self.node);
        self.call_until(&path, is).await
    }

    /// What the node kept for disputes: of each probe its record, then what it opened.
    fn kept(&self) -> BTreeSet<[PathBuf; 2]> {
        let dir = self.dir.path().join("node/data/disputes");
        let files = std::fs::read_dir(dir).into_iter().flatten();
        let records = files
            .map(|of| of.unwrap().path())
            .filter(|path| path.extension().is_some_and(|of| of == "record"));
        let both = |record: PathBuf| {
            let opening = record.with_extension("opening");
            [record, opening]
        };
        records.map(both).collect()
    }

    /// The statement at a place of the log, once it is shown.
    async fn logged(&self, index: &Value) -> Statement {
        let path = format!("/v1/receipts/{index}");
        let shown = self
            .call_until(&path, |of| of["envelope"].is_string())
            .await;
        let envelope = shown["envelope"].as_str().unwrap();
        let envelope = Envelope::parse(envelope.as_bytes()).unwrap();
        Statement::parse(&envelope).unwrap()
    }

    /// What the administrator's `nearlight` says.
    async fn typed(&self, args: &[&str]) -> String {
        let mut command = Command::new(example("command"));
        command
            .args(args)
            .args(["--url", &format!("http://{}", self.broker.listen)])
            .env("NEARLIGHT_TOKEN", &self.token)
            .env("HOME", self.dir.path())
            .env_remove("NEARLIGHT_URL");
        let ran = tokio::task::spawn_blocking(move || command.output());
        let output = ran.await.unwrap().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same, again and again until it says so.
    async fn typed_until(&self, args: &[&str], words: &str) -> String {
        loop {
            let said = self.typed(args).await;
            if said.contains(words) {
                return said;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// `nearlight node dispute RECEIPT --evidence RECORD --evidence OPENING …`; what the referee says.
    async fn dispute(&self, receipt: &Value, shown: &BTreeSet<[PathBuf; 2]>) -> Verdict {
        let receipt = receipt.to_string();
        let mut args = vec!["node", "dispute", &receipt];
        args.extend(["--reason", "the opening was right"]);
        for file in shown.iter().flatten() {
            args.extend(["--evidence", file.to_str().unwrap()]);
        }
        let filed = self.typed(&args).await;
        let index = filed.strip_prefix("dispute ").unwrap();
        let (index, _) = index.split_once(' ').unwrap();
        // It is shown a moment after it was filed.
        self.call_until(&format!("/v1/disputes/{index}"), |of| of["index"].is_u64())
            .await;
        let decided = "decided by receipt ";
        let said = self
            .typed_until(&["node", "disputed", index], decided)
            .await;
        let (_, verdict) = said.split_once(decided).unwrap();
        let verdict = verdict.trim().parse::<u64>().unwrap();
        match self.logged(&verdict.into()).await.predicate {
            Predicate::Verdict(verdict) => verdict,
            _ => panic!("another kind than a verdict ended the dispute"),
        }
    }

    async fn deposit(&self, id: &str, account: &str) {
        let body = json!({
            "id": id, "direction": "deposit", "account": account, "amount_micro": STAKE.to_string(),
        });
        let moved = self.call("POST", "/v1/stakes", &body.to_string()).await;
        assert!(moved["status"].is_null(), "{moved}");
    }

    /// What of an account is held, once its free part is so much.
    async fn held_of(&self, account: &str, free: u64) -> u64 {
        let path = format!("/v1/stakes?account={account}");
        loop {
            let list = self.call("GET", &path, "").await;
            let of = |part: &str| -> u64 {
                let text = list["accounts"][0][part].as_str().unwrap_or("0");
                text.parse().unwrap()
            };
            let held = of("held_micro");
            if of("credits_micro") - of("debits_micro") - held == free {
                return held;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// State and finding of its newest round, if all have said what they found.
fn newest(standing: &Value) -> Option<(&str, &str)> {
    let newest = &standing["verdicts"][0];
    let said = newest["receipts"].as_array()?.len();
    let text = |name: &str| newest[name].as_str().unwrap_or_default();
    (said == usize::from(CHECKERS)).then(|| (text("state"), text("finding")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_liar_is_named_and_a_node_that_all_failed_wins_its_dispute() {
    let changed = |parsed: &mut Parsed| {
        parsed.checks.round_s = 2;
        parsed.checks.class = "slow".to_owned();
        parsed.checks.capacity_s = 300;
        parsed.checks.committee = CHECKERS.into();
    };
    let mut site = Site::start_with(changed, "").await;
    // Nobody looks at it before all are there.
    site.stop_agent();
    let mut checkers = Vec::new();
    for n in 1..=CHECKERS {
        checkers.push(site.liar(n).await);
    }
    site.round_of(&checkers).await;
    site.start_agent();
    let proven = site
        .standing(|of| newest(of) == Some(("passed", "pass")) && of["gate"] == "proven")
        .await;
    assert_eq!(
        site.kept(),
        BTreeSet::new(),
        "it signed what it agrees with"
    );
    let nodes = site.call("GET", "/v1/nodes", "").await;
    let operator = nodes["nodes"][0]["operator"].as_str().unwrap();
    let operator = format!("operator/{operator}");
    let liar = checkers[3].key_id();
    let liars = format!("checker/{liar}");
    site.deposit("operator", &operator).await;
    site.deposit("liar", &liars).await;

    one_lies(&mut site, (&checkers, &proven, &liars)).await;
    all_lie(&mut site, &checkers, &operator).await;
}

/// Three are honest and one lies: the node keeps its standing, and the liar is named, with what the node shows.
async fn one_lies(site: &mut Site, (checkers, proven, account): (&[Liar], &Value, &str)) {
    let liar = &checkers[3];
    liar.lies(true);
    site.with_another_key();
    let split = site
        .standing(|of| newest(of).is_some_and(|of| of.0 == "split"))
        .await;
    assert_eq!(split["gate"], "proven", "{split}");
    assert_eq!(split["rank_permille"], proven["rank_permille"]);
    let mut lied = None;
    for index in split["verdicts"][0]["receipts"].as_array().unwrap() {
        let said = site.logged(index).await;
        let Predicate::Porc(porc) = &said.predicate else {
            panic!("a receipt of another kind");
        };
        let lies = said.head.issuer == liar.key_id();
        assert_eq!(porc.finding == Finding::Fail, lies, "{}", porc.reason);
        if lies {
            lied = Some(index.clone());
        }
    }
    let kept = site.kept();
    assert_eq!(kept.len(), 1, "the node did not sign that it failed");
    let verdict = site.dispute(&lied.unwrap(), &kept).await;
    assert_eq!(verdict.finding, Finding::Pass);
    assert_eq!(verdict.liars, [liar.key_id()]);
    assert!(verdict.step.contains("executed again"), "{}", verdict.step);
    let settled = site
        .standing(|of| newest(of) == Some(("settled", "pass")))
        .await;
    assert_eq!(settled["gate"], "proven");
    let named = json!([liar.key_id().to_string()]);
    assert_eq!(settled["verdicts"][0]["liars"], named);
    assert_eq!(site.held_of(account, STAKE * 9 / 10).await, STAKE / 10);
}

/// A round in which all lied.
struct Failed {
    verdict: Value,
    /// The node's standing then.
    standing: Value,
    /// What the node has of it.
    shown: BTreeSet<[PathBuf; 2]>,
}

impl Site {
    /// A node that does everything right is failed by all.
    async fn is_failed(&mut self, checkers: &[Liar]) -> Failed {
        let (kept, before) = (self.kept(), self.standing(|_| true).await);
        let round = |of: &Value| of["verdicts"][0]["round"].as_u64();
        self.with_another_key();
        let standing = self
            .standing(|of| newest(of) == Some(("failed", "fail")) && round(of) > round(&before))
            .await;
        let shown: BTreeSet<_> = self.kept().difference(&kept).cloned().collect();
        assert_eq!(shown.len(), checkers.len());
        Failed {
            verdict: standing["verdicts"][0].clone(),
            standing,
            shown,
        }
    }

    /// It disputes that, and execution refutes all who said so.
    async fn wins(&self, failed: &Failed, checkers: &[Liar]) {
        let disputed = &failed.verdict["receipts"][0];
        let verdict = self.dispute(disputed, &failed.shown).await;
        assert_eq!(verdict.finding, Finding::Pass);
        let liars: BTreeSet<KeyId> = verdict.liars.iter().copied().collect();
        assert_eq!(liars, checkers.iter().map(Liar::key_id).collect());
    }
}

/// All lie, and again: the node's rank falls, its stake is held, and after the second time nothing is placed there; by what it
/// shows it gets all of that back.
async fn all_lie(site: &mut Site, checkers: &[Liar], account: &str) {
    checkers.iter().for_each(|of| of.lies(true));
    let first = site.is_failed(checkers).await;
    assert_eq!(first.standing["gate"], "proven", "one alone closes nothing");
    assert_eq!(site.held_of(account, 900).await, 100);
    let second = site.is_failed(checkers).await;
    let failing = site.standing(|of| of["gate"] == "failing").await;
    assert_eq!(site.held_of(account, 810).await, 190);
    let session = behind_the_gate(site, &second.verdict).await;

    site.wins(&second, checkers).await;
    // What placement goes by follows a moment later.
    let rank = |of: &Value| of["rank_permille"].as_u64().unwrap();
    let settled = site
        .standing(|of| newest(of) == Some(("settled", "pass")) && rank(of) > rank(&failing))
        .await;
    assert_eq!(settled["gate"], "proven");
    let placed = format!("placed on {}", site.node);
    let explain = ["session", "explain", &session];
    site.typed_until(&explain, &placed).await;
    assert_eq!(site.held_of(account, 900).await, 100, "of the first");
    site.wins(&first, checkers).await;
    assert_eq!(site.held_of(account, STAKE).await, 0, "its stake is back");
}

/// A session for the only node there is waits, and whoever runs the node reads why, with the receipts that say so.
async fn behind_the_gate(site: &Site, failed: &Value) -> String {
    let started = site
        .typed(&["session", "start", "calibrate", "--json"])
        .await;
    let started: Value = serde_json::from_str(&started).unwrap();
    let session = started["id"].as_str().unwrap().to_owned();
    let explain = ["session", "explain", &session];
    let waits = site.typed_until(&explain, "failing their checks").await;
    assert!(waits.starts_with("it waits: none of 1 nodes"), "{waits}");
    let status = ["node", "status", site.node.as_str()];
    let said = site.typed(&status).await;
    let receipts = failed["receipts"].as_array().unwrap().iter();
    let receipts: Vec<String> = receipts.map(Value::to_string).collect();
    let (round, receipts) = (&failed["round"], receipts.join(", "));
    for words in [
        "failing its checks: it takes no sessions until it passes".to_owned(),
        format!("It failed round {round} (receipts {receipts})"),
    ] {
        assert!(said.contains(&words), "{words}: {said}");
    }
    session
}
