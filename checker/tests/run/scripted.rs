//! A broker of the test, and a checker that came in there.

use crate::pki::{Line, Pki};
use crate::witness::Log;
use nearlight_proof::encoding::hex;
use nearlight_proof::receipt::fixture::{Network, key};
use nearlight_protocol::enrol::NONCE_PATH;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_checker");
pub(crate) const LONG_POLL: Duration = Duration::from_millis(200);
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Value,
    /// The body, if it is no JSON.
    pub(crate) text: String,
    /// Whether it says that it plays streams.
    pub(crate) plays: bool,
    /// Whether it came with a certificate of the checker's.
    pub(crate) certified: bool,
}

impl Asked {
    pub(crate) fn instance(&self) -> Option<&str> {
        let (_, query) = self.path.split_once("instance=")?;
        query.split('&').next()
    }

    pub(crate) fn is_for_assignments(&self) -> bool {
        self.path.starts_with("/v1/checkers/me/assignments")
    }
}

/// What the broker of a test does.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// Requests for assignments that find nobody.
    pub(crate) away: usize,
    /// What is due.
    pub(crate) due: Vec<Value>,
    /// Entries of the log that say which beacons are used.
    pub(crate) beacons: Vec<String>,
    /// Whether a question whether a node is there is never answered; otherwise the connection breaks.
    pub(crate) holds: bool,
    /// The copy that has the key.
    pub(crate) holder: Option<String>,
    /// Copies that said that they stop: what they asked before may be answered after, and holds nothing.
    pub(crate) stopped: Vec<String>,
    pub(crate) asked: Vec<Asked>,
    /// What it answers to the question whether a node is there.
    pub(crate) alive: Option<(u16, Value)>,
    /// When the rounds began, Unix milliseconds, if not long ago.
    pub(crate) genesis_ms: Option<u64>,
    /// So many rounds too early it tells their values.
    pub(crate) ahead: u64,
    /// What it answers to the first step of a probe, and how long it says that is.
    pub(crate) begin: Option<(Vec<u8>, usize)>,
    /// Whether it is away from then on.
    pub(crate) ends_with_step: bool,
    /// Pieces of evidence that it takes before it is away.
    pub(crate) room: usize,
    /// Leaves that its log does not have: it says so of their pieces, and otherwise not.
    pub(crate) unplaced: Vec<String>,
    /// What the log has about any receipt.
    pub(crate) about: Vec<Value>,
    /// The log, if it has one.
    pub(crate) log: Option<Log>,
    /// Whether the checker was shut out.
    pub(crate) shut_out: bool,
    /// Late renewals that it does not take for now.
    pub(crate) busy: usize,
    /// Connections with TLS that did not come about.
    pub(crate) hung_up: usize,
}

/// A broker of the test: it answers as the script says, and keeps what it was asked.
#[derive(Clone)]
pub(crate) struct Scripted {
    pub(crate) script: Arc<(Mutex<Script>, Condvar)>,
    pub(crate) url: String,
    /// Where it takes certificates.
    pub(crate) at: String,
    pub(crate) pki: Arc<Pki>,
}

impl Scripted {
    pub(crate) fn start() -> Self {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (public, nodes) = (listen(), listen());
        let at = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
        let broker = Self {
            script: Arc::default(),
            url: format!("http://{}", at(&public)),
            at: at(&nodes),
            pki: Arc::new(Pki::new()),
        };
        let serving = broker.clone();
        std::thread::spawn(move || {
            for stream in public.incoming() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(&mut stream.unwrap(), None));
            }
        });
        let (serving, tls) = (broker.clone(), broker.pki.server());
        std::thread::spawn(move || {
            for stream in nodes.incoming() {
                let (serving, tls) = (serving.clone(), tls.clone());
                std::thread::spawn(move || serving.serve_certified(stream.unwrap(), tls));
            }
        });
        broker
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.0.lock().unwrap());
        self.script.1.notify_all();
    }

    /// Waits until it is so; what was asked.
    pub(crate) fn until(&self, what: &str, is: impl Fn(&[Asked]) -> bool) -> Vec<Asked> {
        self.until_script(what, |script| is(&script.asked))
    }

    pub(crate) fn until_script(&self, what: &str, is: impl Fn(&Script) -> bool) -> Vec<Asked> {
        let held = self.script.0.lock().unwrap();
        let waits = |script: &mut Script| !is(script);
        let (held, over) = self
            .script
            .1
            .wait_timeout_while(held, PATIENCE, waits)
            .unwrap();
        assert!(!over.timed_out(), "waited for {what}: {:?}", held.asked);
        held.asked.clone()
    }

    /// One request on the public listener, or by a certificate; an empty name has none.
    pub(crate) fn serve(&self, stream: &mut impl Line, by: Option<String>) {
        let Some(mut asked) = read(stream) else {
            return;
        };
        asked.certified = by.as_ref().is_some_and(|by| !by.is_empty());
        if asked.path.contains("&version=") {
            // As a broker does: who knows what is due waits for something else.
            let held = self.script.0.lock().unwrap();
            let known = held.due.len();
            let same = |script: &mut Script| script.away == 0 && script.due.len() == known;
            drop(
                self.script
                    .1
                    .wait_timeout_while(held, LONG_POLL, same)
                    .unwrap(),
            );
        }
        let mut answer = None;
        self.change(|script| {
            script.asked.push(asked.clone());
            answer = match &by {
                Some(spiffe) => self.to_certified(script, &asked, spiffe),
                None => self.answer(script, &asked),
            };
        });
        if let Some((bytes, length)) = self.first_step(&asked) {
            let head = "HTTP/1.1 200 X\r\nconnection: close\r\n";
            let _ = write!(stream, "{head}content-length: {length}\r\n\r\n");
            let _ = stream.write_all(&bytes);
            let _ = stream.flush();
            return;
        }
        let Some((status, body)) = answer else {
            // Whoever asked waits, or sees the connection break.
            let held = self.script.0.lock().unwrap();
            let holds = |script: &mut Script| {
                let of_log = script.log.as_ref().is_some_and(|log| log.holds_lines);
                script.holds && asked.path.ends_with("/alive")
                    || of_log && asked.path.ends_with("/cosignatures")
            };
            drop(
                self.script
                    .1
                    .wait_timeout_while(held, PATIENCE, holds)
                    .unwrap(),
            );
            return;
        };
        // What is no JSON is text.
        let text = body
            .as_str()
            .map_or_else(|| body.to_string(), str::to_owned);
        let head = format!(
            "HTTP/1.1 {status} X\r\ndate: {}\r\ncontent-type: application/json\r\n{}",
            httpdate::fmt_http_date(SystemTime::now()),
            // What is signed at the door is for the same connection.
            if asked.path == NONCE_PATH {
                ""
            } else {
                "connection: close\r\n"
            },
        );
        let _ = write!(stream, "{head}content-length: {}\r\n\r\n{text}", text.len());
        let _ = stream.flush();
    }

    fn first_step(&self, asked: &Asked) -> Option<(Vec<u8>, usize)> {
        let is_step = asked.path.starts_with("/v1/probes/") && asked.path.contains("/begin?");
        is_step.then(|| self.script.0.lock().unwrap().begin.clone())?
    }

    /// `None`: nobody answers.
    pub(crate) fn answer(&self, script: &mut Script, asked: &Asked) -> Option<(u16, Value)> {
        if let Some(log) = &mut script.log
            && let Some(answered) = log.answer(asked)
        {
            return answered;
        }
        let is_of_checkers = asked.path.starts_with("/v1/checkers/me")
            || asked.path.starts_with("/v1/probes")
            || asked.path.ends_with("/alive");
        if is_of_checkers && !asked.certified {
            return Some((403, problem("forbidden", "no certificate")));
        }
        match asked.path.as_str() {
            "/v1/checkers" => {
                let given = self.pki.joined(&asked.body, &self.at);
                Some((201, joined(&script.network(), &given)))
            }
            path if path.starts_with("/v1/beacon/") => {
                let round: u64 = path.rsplit('/').next()?.parse().ok()?;
                Some((200, round_of(&script.network(), round + script.ahead)?))
            }
            path if path.starts_with("/v1/checkers/me/assignments") => {
                if script.away > 0 {
                    script.away -= 1;
                    return None;
                }
                let instance = asked.instance().unwrap().to_owned();
                let has_stopped = script.stopped.contains(&instance);
                if has_stopped || *script.holder.get_or_insert_with(|| instance.clone()) != instance
                {
                    return Some((
                        403,
                        problem("forbidden", "Another copy of this checker runs."),
                    ));
                }
                let version = format!("v{}", script.asked.len());
                Some((
                    200,
                    json!({
                        "assignments": script.due, "class": "software", "version": version,
                        "beacons": script.beacons,
                    }),
                ))
            }
            path if path.ends_with("/alive") => script.alive.clone(),
            path if path.starts_with("/v1/probes?") => Some((201, probe(&asked.body["node"]))),
            "/healthz" if !script.ends_with_step => Some((200, Value::Null)),
            "/v1/receipts" => Some((201, json!({ "index": 1, "leaf": "ab".repeat(32) }))),
            path if path.starts_with("/v1/evidence/") => {
                if script.unplaced.iter().any(|leaf| path.ends_with(leaf)) {
                    let none = "No receipt in the log names that evidence.";
                    return Some((404, problem("not-found", none)));
                }
                script.room = script.room.checked_sub(1)?;
                Some((204, Value::Null))
            }
            path if path.starts_with("/v1/receipts?about=") => Some((
                200,
                json!({ "receipts": script.about, "next_before": null }),
            )),
            path if path.starts_with("/v1/checkers/me/reports") => {
                let round = &asked.body["round"];
                script.due.retain(|duty| duty["round"] != *round);
                Some((204, Value::Null))
            }
            path if path.starts_with("/v1/checkers/me/instance") => {
                if script.holder.as_deref() == asked.instance() {
                    script.holder = None;
                }
                script.stopped.extend(asked.instance().map(str::to_owned));
                Some((204, Value::Null))
            }
            _ => None,
        }
    }
}

/// A request, if one comes.
fn read(stream: &mut impl Line) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).unwrap_or_default();
    let mut words = first.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let (mut length, mut plays) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap_or_default();
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        plays |= line.starts_with("nearlight-checker-plays:");
        if let Some(found) = line.strip_prefix("content-length:") {
            length = found.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap_or_default();
    Some(Asked {
        method,
        path,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        text: String::from_utf8_lossy(&body).into_owned(),
        plays,
        certified: false,
    })
}

pub(crate) fn problem(name: &str, detail: &str) -> Value {
    json!({
        "type": format!("https://nearlight.dev/problems/{name}"), "name": name, "title": "x", "status": 403,
        "detail": detail, "instance": "req_1",
    })
}

pub(crate) fn network() -> Network {
    // Round 1 began long ago.
    Network::new((1_000_000, 60_000), Vec::new(), &key(99))
}

impl Script {
    fn network(&self) -> Network {
        let began = self
            .genesis_ms
            .map(|ms| Network::new((ms, 60_000), Vec::new(), &key(99)));
        began.unwrap_or_else(network)
    }
}

fn joined(network: &Network, given: &Value) -> Value {
    json!({
        "certificate": given, "key_id": "00", "operator": "west",
        "directory_key": hex(key(99).public().as_bytes()),
        "chain": chain(network),
    })
}

fn chain(network: &Network) -> Value {
    let anchor = &network.anchor;
    json!({
        "anchor": anchor.anchor, "genesis_unix_ms": anchor.genesis_ms, "round_ms": anchor.round_ms, "length": anchor.length,
        "envelope": String::from_utf8(anchor.sign(&key(99)).unwrap()).unwrap(),
    })
}

fn round_of(network: &Network, round: u64) -> Option<Value> {
    let began = network.anchor.begins_ms(round);
    let value = hex(&network.value(round)?);
    Some(json!({ "round": round, "value": value, "began_unix_ms": began, "chain": chain(network) }))
}

/// A question whether a node is there.
pub(crate) fn duty(round: u64) -> Value {
    let node = key(9).public();
    json!({
        "round": round, "duty": "alive", "node": nearlight_kit::ids::node(), "node_key_id": node.id(), "checker": "c",
        "place": 0, "due_unix_ms": 0, "until_unix_ms": u64::MAX >> 12, "state": "due", "why": "", "leaf": "",
        "value": hex(&network().value(round).unwrap()), "checkers": key(1).public().id(),
        "node_key": hex(node.as_bytes()),
    })
}

/// A probe of the node of [`duty`].
fn probe(node: &Value) -> Value {
    let offer = json!({
        "receipt_key": hex(key(9).public().as_bytes()), "gpus": ["cpu"], "mem_mib": "1", "work": "1", "busy": false,
    });
    json!({ "id": nearlight_kit::ids::session(), "node": node, "offer": offer, "has_sessions": false })
}

/// A checker that has come in.
pub(crate) struct Member {
    pub(crate) dir: TempDir,
    pub(crate) table_key: String,
}

impl Member {
    pub(crate) fn new(broker: &Scripted) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let classes = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/gpu-classes.json");
        let table = dir.path().join("table");
        let made = done(dir.path(), &["init"]);
        let public = made
            .lines()
            .find_map(|line| line.strip_prefix("public "))
            .unwrap()
            .to_owned();
        done(
            dir.path(),
            &[
                "table",
                "--classes",
                classes,
                "--serial",
                "1",
                "--out",
                table.to_str().unwrap(),
            ],
        );
        done(dir.path(), &["join", &broker.url, "--token", "nlc_token"]);
        Self {
            dir,
            table_key: public,
        }
    }

    pub(crate) fn run(&self) -> Running {
        self.run_as(Path::new(PROGRAM), &[])
    }

    /// Runs another copy of the program.
    pub(crate) fn run_as(&self, program: &Path, flags: &[&str]) -> Running {
        let mut command = Command::new(program);
        command
            .arg("--data")
            .arg(self.dir.path())
            .args(["run", "--table"]);
        command
            .arg(self.dir.path().join("table"))
            .args(["--table-key", &self.table_key])
            .args(flags);
        Running::started(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }
}

pub(crate) fn done(data: &Path, args: &[&str]) -> String {
    let output = Command::new(PROGRAM)
        .arg("--data")
        .arg(data)
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A checker at work; one that a test leaves behind is ended.
pub(crate) struct Running(Option<Child>);

impl Running {
    pub(crate) fn started(command: &mut Command) -> Self {
        Self(Some(command.spawn().unwrap()))
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.0.as_ref().unwrap().id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Its end.
    pub(crate) fn ended(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn reports(asked: &[Asked]) -> Vec<&Value> {
    let reports = asked
        .iter()
        .filter(|of| of.path.starts_with("/v1/checkers/me/reports"));
    reports.map(|of| &of.body).collect()
}
