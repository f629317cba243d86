//! `checker run` as a process, against a broker of the test: stopped and killed in the middle, with a broker that is away,
//! and with state that cannot be written.

#![allow(
    clippy::unwrap_used,
    reason = "a test says what it could not do by failing"
)]

use nearlight_proof::encoding::hex;
use nearlight_proof::receipt::fixture::{Network, key};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_checker");
const LONG_POLL: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(60);

/// A request that came.
#[derive(Clone, Debug)]
struct Asked {
    method: String,
    path: String,
    body: Value,
}

impl Asked {
    fn instance(&self) -> Option<&str> {
        let (_, query) = self.path.split_once("instance=")?;
        query.split('&').next()
    }

    fn is_for_assignments(&self) -> bool {
        self.path.starts_with("/v1/checkers/me/assignments")
    }
}

/// What the broker of a test does.
#[derive(Debug, Default)]
struct Script {
    /// Requests for assignments that find nobody.
    away: usize,
    /// What is due.
    due: Vec<Value>,
    /// Whether a question whether a node is there is never answered; otherwise the connection breaks.
    holds: bool,
    /// The copy that has the key.
    holder: Option<String>,
    asked: Vec<Asked>,
}

/// A broker of the test: it answers as the script says, and keeps what it was asked.
#[derive(Clone)]
struct Scripted {
    script: Arc<(Mutex<Script>, Condvar)>,
    url: String,
}

impl Scripted {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let broker = Self {
            script: Arc::default(),
            url,
        };
        let serving = broker.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(stream.unwrap()));
            }
        });
        broker
    }

    fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.0.lock().unwrap());
        self.script.1.notify_all();
    }

    /// Waits until it is so; what was asked.
    fn until(&self, what: &str, is: impl Fn(&[Asked]) -> bool) -> Vec<Asked> {
        let held = self.script.0.lock().unwrap();
        let waits = |script: &mut Script| !is(&script.asked);
        let (held, over) = self
            .script
            .1
            .wait_timeout_while(held, PATIENCE, waits)
            .unwrap();
        assert!(!over.timed_out(), "waited for {what}: {:?}", held.asked);
        held.asked.clone()
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(&stream);
        let mut first = String::new();
        reader.read_line(&mut first).unwrap_or_default();
        let mut words = first.split_whitespace().map(str::to_owned);
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return;
        };
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap_or_default();
            if line.trim().is_empty() {
                break;
            }
            if let Some(found) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = found.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap_or_default();
        let asked = Asked {
            method,
            path,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        };
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
            answer = self.answer(script, &asked);
        });
        let Some((status, body)) = answer else {
            // Whoever asked waits, or sees the connection break.
            let held = self.script.0.lock().unwrap();
            let holds = |script: &mut Script| script.holds && asked.path.ends_with("/alive");
            drop(
                self.script
                    .1
                    .wait_timeout_while(held, PATIENCE, holds)
                    .unwrap(),
            );
            return;
        };
        let text = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n"
        );
        let _ = write!(
            &stream,
            "{head}content-length: {}\r\n\r\n{text}",
            text.len()
        );
    }

    /// `None`: nobody answers.
    fn answer(&self, script: &mut Script, asked: &Asked) -> Option<(u16, Value)> {
        match asked.path.as_str() {
            "/v1/checkers" => Some((201, joined())),
            path if path.starts_with("/v1/checkers/me/assignments") => {
                if script.away > 0 {
                    script.away -= 1;
                    return None;
                }
                let instance = asked.instance().unwrap().to_owned();
                if *script.holder.get_or_insert_with(|| instance.clone()) != instance {
                    return Some((
                        403,
                        problem("forbidden", "Another copy of this checker runs."),
                    ));
                }
                let version = format!("v{}", script.asked.len());
                Some((
                    200,
                    json!({ "assignments": script.due, "class": "software", "version": version }),
                ))
            }
            path if path.starts_with("/v1/checkers/me/reports") => {
                let round = &asked.body["round"];
                script.due.retain(|duty| duty["round"] != *round);
                Some((204, Value::Null))
            }
            path if path.starts_with("/v1/checkers/me/instance") => {
                if script.holder.as_deref() == asked.instance() {
                    script.holder = None;
                }
                Some((204, Value::Null))
            }
            _ => None,
        }
    }
}

fn problem(name: &str, detail: &str) -> Value {
    json!({
        "type": format!("https://nearlight.dev/problems/{name}"), "name": name, "title": "x", "status": 403,
        "detail": detail, "instance": "req_1",
    })
}

fn network() -> Network {
    // Round 1 began long ago.
    Network::new((1_000_000, 60_000), Vec::new(), &key(99))
}

fn joined() -> Value {
    let network = network();
    let envelope = network.anchor.sign(&key(99)).unwrap();
    json!({
        "secret": "nlk_secret", "key_id": "00", "operator": "west",
        "directory_key": hex(key(99).public().as_bytes()),
        "chain": {
            "anchor": network.anchor.anchor, "genesis_unix_ms": 1_000_000, "round_ms": 60_000, "length": 4096,
            "envelope": String::from_utf8(envelope).unwrap(),
        },
    })
}

/// A question whether a node is there.
fn duty(round: u64) -> Value {
    let node = key(9).public();
    json!({
        "round": round, "duty": "alive", "node": nearlight_kit::ids::node(), "node_key_id": node.id(), "checker": "c",
        "place": 0, "due_unix_ms": 0, "until_unix_ms": u64::MAX >> 12, "state": "due", "why": "", "leaf": "",
        "value": hex(&network().value(round).unwrap()), "checkers": key(1).public().id(),
        "node_key": hex(node.as_bytes()),
    })
}

/// A checker that has come in.
struct Member {
    dir: TempDir,
    table_key: String,
}

impl Member {
    fn new(broker: &Scripted) -> Self {
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

    fn run(&self) -> Running {
        let mut command = Command::new(PROGRAM);
        command
            .arg("--data")
            .arg(self.dir.path())
            .args(["run", "--table"]);
        command
            .arg(self.dir.path().join("table"))
            .args(["--table-key", &self.table_key]);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Running(Some(child.unwrap()))
    }
}

fn done(data: &Path, args: &[&str]) -> String {
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
struct Running(Option<Child>);

impl Running {
    fn signal(&self, name: &str) {
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
    fn ended(mut self) -> Output {
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

fn reports(asked: &[Asked]) -> Vec<&Value> {
    let reports = asked
        .iter()
        .filter(|of| of.path.starts_with("/v1/checkers/me/reports"));
    reports.map(|of| &of.body).collect()
}

fn is_asking(asked: &[Asked]) -> bool {
    asked.iter().any(|of| of.path.ends_with("/alive"))
}

#[test]
fn stopped_in_the_middle_it_says_what_it_missed_and_frees_its_key() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    broker.change(|script| (script.due, script.holds) = (vec![duty(7)], true));
    let running = member.run();
    broker.until("the node to be asked", is_asking);
    running.signal("-TERM");
    let output = running.ended();
    assert!(output.status.success(), "{output:?}");
    let asked = broker.until("the key to be free", |asked| {
        asked.iter().any(|of| of.method == "DELETE")
    });
    let said = reports(&asked);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(
        (&said[0]["round"], &said[0]["outcome"]["is"]),
        (&json!(7), &json!("missed"))
    );
    assert_eq!(said[0]["outcome"]["why"], "the checker was stopped");
}

#[test]
fn a_broker_that_is_away_is_asked_until_it_is_back() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    broker.change(|script| script.away = 2);
    let running = member.run();
    let count = |asked: &[Asked]| asked.iter().filter(|of| of.is_for_assignments()).count();
    let asked = broker.until("it to be asked a third time", |asked| count(asked) >= 3);
    assert!(reports(&asked).is_empty());
    // Away once more, with something due: what is due is done once it is back.
    let before = count(&asked);
    broker.change(|script| (script.away, script.due) = (1, vec![duty(8)]));
    let asked = broker.until("what is due to be reported", |asked| {
        !reports(asked).is_empty()
    });
    assert!(count(&asked) > before);
    let instances: std::collections::BTreeSet<_> =
        asked.iter().filter_map(Asked::instance).collect();
    assert_eq!(instances.len(), 1, "the same copy all the time");
    running.signal("-TERM");
    assert!(running.ended().status.success());
}

#[test]
fn state_that_cannot_be_written_stops_nothing() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    // Nothing can be put in the place of a directory, as nothing can be written to a disk that is full.
    let running = member.run();
    broker.until("the first question", |asked| {
        asked.iter().any(Asked::is_for_assignments)
    });
    let state = member.dir.path().join("traffic.json");
    // The program may be writing it at this moment.
    while std::fs::create_dir_all(state.join("full")).is_err() {
        let _ = std::fs::remove_file(&state);
    }
    broker.change(|script| script.due = vec![duty(7)]);
    broker.until("a report", |asked| reports(asked).len() == 1);
    broker.change(|script| script.due = vec![duty(8)]);
    broker.until("another report", |asked| reports(asked).len() == 2);
    running.signal("-TERM");
    let output = running.ended();
    assert!(output.status.success(), "{output:?}");
}

/// Its key is held by the copy that was killed, until the broker's lease of it is over: it says so, and comes in after.
#[test]
fn killed_and_started_again_it_waits_for_its_lease_and_reports_once() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    broker.change(|script| (script.due, script.holds) = (vec![duty(7)], true));
    let running = member.run();
    broker.until("the node to be asked", is_asking);
    running.signal("-KILL");
    assert!(!running.ended().status.success());
    let output = member.run().ended();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("Another copy"),
        "{output:?}"
    );
    broker.change(|script| (script.holder, script.holds) = (None, false));
    let again = member.run();
    let asked = broker.until("the duty to be reported", |asked| {
        !reports(asked).is_empty()
    });
    assert_eq!(reports(&asked).len(), 1);
    let instances: std::collections::BTreeSet<_> =
        asked.iter().filter_map(Asked::instance).collect();
    assert_eq!(instances.len(), 3, "each start is a copy of its own");
    again.signal("-TERM");
    assert!(again.ended().status.success());
    assert_eq!(
        reports(&broker.until("the end", |_| true)).len(),
        1,
        "never twice"
    );
}
