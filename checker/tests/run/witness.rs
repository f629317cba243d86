//! The witness as a process, against a log that forks, goes back, and loses it at the worst moment. The log of the test is a
//! witness of the witness: whatever happens, the lines that it got are of one history.

use crate::scripted::{Asked, Member, PROGRAM, Running, Scripted, done};
use nearlight_proof::encoding::hex;
use nearlight_proof::key::SecretKey;
use nearlight_proof::log::checkpoint::Checkpoint;
use nearlight_proof::log::cosignature;
use nearlight_proof::log::note::{Algorithm, Note, VerifierKey};
use nearlight_proof::log::tree::{Hash, LogHasher, consistency, leaf, root};
use nearlight_proof::log::witness::Candidate;
use nearlight_proof::receipt::directory::{Directory, Role};
use nearlight_proof::receipt::fixture::{key, listed};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

const ORIGIN: &str = "log.example";

/// The log of the broker of a test.
#[derive(Debug)]
pub(crate) struct Log {
    /// What it has at this moment.
    leaves: Vec<Hash>,
    /// Whom it asks for lines.
    witness: VerifierKey,
    /// Whether whoever hands a line in is left without an answer.
    pub(crate) holds_lines: bool,
    /// Heads that were offered.
    offered: Vec<Note>,
    /// Heads that the witness has signed, in the order in which the lines came.
    cosigned: Vec<Checkpoint>,
    /// Whole heads that it handed in.
    told: Vec<Checkpoint>,
    /// Questions for a head.
    pub(crate) looks: usize,
}

impl Log {
    pub(crate) fn new(witness: VerifierKey, leaves: Vec<Hash>) -> Self {
        Self {
            leaves,
            witness,
            holds_lines: false,
            offered: Vec::new(),
            cosigned: Vec::new(),
            told: Vec::new(),
            looks: 0,
        }
    }

    fn secret() -> SecretKey {
        key(7)
    }

    fn key() -> VerifierKey {
        VerifierKey::new(ORIGIN, Algorithm::Ed25519, Self::secret().public()).unwrap()
    }

    fn directory(&self) -> Value {
        let log = listed(&Self::secret().public(), Role::Log, "o", (1, 9_000_000_000));
        let signed = Directory::sign(1, 1_000_000, vec![log], &key(99)).unwrap();
        let policy = format!(
            "log {}\nwitness w {}\nquorum w\n",
            Self::key(),
            self.witness
        );
        json!({
            "envelope": String::from_utf8(signed).unwrap(), "log_key": Self::key().to_string(), "policy": policy,
            "directory_key": hex(key(99).public().as_bytes()),
        })
    }

    /// `None` for what is no matter of a log; nothing in it for whoever is left without an answer.
    pub(crate) fn answer(&mut self, asked: &Asked) -> Option<Option<(u16, Value)>> {
        let path = asked.path.as_str();
        if path == "/v1/directory" {
            return Some(Some((200, self.directory())));
        }
        if let Some(old) = path.strip_prefix("/v1/log/candidate?old=") {
            self.looks += 1;
            return Some(Some(self.candidate(old.parse().unwrap())));
        }
        (path == "/v1/log/cosignatures").then(|| {
            self.take(&asked.text);
            (!self.holds_lines).then_some((204, Value::Null))
        })
    }

    fn candidate(&mut self, old: usize) -> (u16, Value) {
        if old > self.leaves.len() {
            return (204, Value::Null);
        }
        let head = Checkpoint {
            origin: ORIGIN.to_owned(),
            size: self.leaves.len() as u64,
            root: root::<LogHasher>(&self.leaves),
        };
        let note = head.sign(&Self::secret()).unwrap();
        self.offered.push(note.clone());
        // One that lies has a proof of something.
        let proof = consistency::<LogHasher>(&self.leaves, old).unwrap_or_default();
        let old = old as u64;
        (200, json!(Candidate { old, proof, note }.to_string()))
    }

    fn take(&mut self, text: &str) {
        if let Ok(note) = Note::parse(text.as_bytes()) {
            assert!(cosignature::verify(&note, &self.witness).is_ok(), "{text}");
            self.told
                .push(Checkpoint::open(&note, &Self::key()).unwrap());
            return;
        }
        let of_line = |head: &&Note| {
            let note = Note::parse(format!("{}\n{text}", head.text()).as_bytes()).unwrap();
            cosignature::verify(&note, &self.witness).is_ok()
        };
        let head = self
            .offered
            .iter()
            .rfind(of_line)
            .expect("a line of the witness");
        self.cosigned.push(Checkpoint::parse(head.text()).unwrap());
    }

    /// The heads that were cosigned, each of which must be the beginning of `leaves`.
    fn is_beginning(&self, leaves: &[Hash]) {
        for head in &self.cosigned {
            let size = usize::try_from(head.size).unwrap();
            assert_eq!(head.root, root::<LogHasher>(&leaves[..size]), "{size}");
        }
    }

    pub(crate) fn largest(&self) -> u64 {
        self.cosigned
            .iter()
            .map(|head| head.size)
            .max()
            .unwrap_or(0)
    }
}

pub(crate) fn leaves(of: &str, count: usize) -> Vec<Hash> {
    let one = |n: usize| leaf(format!("{of} {n}").as_bytes());
    (0..count).map(one).collect()
}

/// What `one` begins with, and `other` goes on with.
fn forked(one: &[Hash], at: usize, other: &[Hash]) -> Vec<Hash> {
    [&one[..at], &other[at..]].concat()
}

impl Scripted {
    /// Changes the log, and what the log is asked from then on.
    pub(crate) fn log(&self, change: impl FnOnce(&mut Log)) {
        self.change(|script| {
            let log = script.log.as_mut().unwrap();
            log.looks = 0;
            change(log);
        });
    }

    /// Waits until it is so of the log.
    pub(crate) fn until_log(&self, what: &str, is: impl Fn(&Log) -> bool) {
        let held = self.script.0.lock().unwrap();
        let waits = |script: &mut crate::scripted::Script| !is(script.log.as_ref().unwrap());
        let waited = self
            .script
            .1
            .wait_timeout_while(held, crate::scripted::PATIENCE, waits);
        let (held, over) = waited.unwrap();
        assert!(!over.timed_out(), "waited for {what}: {:?}", held.log);
    }

    fn see(&self, look: impl FnOnce(&Log)) {
        look(self.script.0.lock().unwrap().log.as_ref().unwrap());
    }
}

pub(crate) fn key_of(data: &Path) -> VerifierKey {
    VerifierKey::parse(done(data, &["witness", "--key"]).trim()).unwrap()
}

/// `checker witness`, which nothing but the log matters to.
fn witness(data: &Path, url: &str) -> Running {
    let mut command = Command::new(PROGRAM);
    command.arg("--data").arg(data).arg("witness");
    command.args(["--url", url, "--log", &Log::key().to_string()]);
    Running::started(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
}

fn evidence(data: &Path) -> usize {
    std::fs::read_dir(data.join("witness-evidence")).map_or(0, Iterator::count)
}

#[test]
fn a_checker_cosigns_one_history_and_refuses_a_fork_and_a_rollback() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    let data = member.dir.path().to_owned();
    let (one, other) = (leaves("one", 30), leaves("other", 30));
    let log = Log::new(key_of(&data), one[..5].to_vec());
    broker.change(|script| script.log = Some(log));
    let running = member.run();
    broker.until_log("the first line", |log| log.largest() == 5);
    broker.log(|log| log.leaves = one[..9].to_vec());
    broker.until_log("the next", |log| log.largest() == 9);

    // Another tree of the same size, then a larger one of that history.
    for (fork, kept) in [(9, 1), (14, 2)] {
        broker.log(|log| log.leaves = forked(&one, 8, &other)[..fork].to_vec());
        broker.until_log("it to be looked at twice", |log| log.looks >= 2);
        assert_eq!(evidence(&data), kept);
    }
    broker.see(|log| assert_eq!(log.largest(), 9));
    // Smaller than what was cosigned: the log is told what it has signed.
    broker.log(|log| log.leaves.truncate(4));
    broker.until_log("the log to be told", |log| {
        log.told.iter().any(|head| head.size == 9)
    });
    // Nothing of that keeps it from going on where the log is honest again.
    broker.log(|log| log.leaves = one[..12].to_vec());
    broker.until_log("the honest log's next", |log| log.largest() == 12);
    broker.see(|log| log.is_beginning(&one));
    running.signal("-TERM");
    let output = running.ended();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        said.matches("THE LOG CONTRADICTS ITSELF").count(),
        2,
        "{said}"
    );
}

/// The head is on the disk and signed, and the log answers nothing: killed there, it meets a log that has another history.
#[test]
fn killed_with_a_head_that_it_has_not_handed_in_it_signs_no_other() {
    let broker = Scripted::start();
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (leaves("one", 30), leaves("other", 30));
    let log = Log::new(key_of(dir.path()), one[..1].to_vec());
    broker.change(|script| script.log = Some(log));
    for size in [4, 9, 17] {
        broker.log(|log| (log.leaves, log.holds_lines) = (one[..size].to_vec(), true));
        let running = witness(dir.path(), &broker.url);
        let signed = |log: &Log| log.largest() == size as u64;
        broker.until_log("a line that nobody answers", signed);
        running.signal("-KILL");
        assert!(!running.ended().status.success());
        // As if that line had never come: only the disk of the witness knows.
        let before = forked(&one, size - 1, &other)[..size].to_vec();
        broker.log(|log| (log.leaves, log.holds_lines) = (before, false));
        let running = witness(dir.path(), &broker.url);
        broker.until_log("the fork to be looked at twice", |log| log.looks >= 2);
        broker.see(|log| log.is_beginning(&one));
        broker.log(|log| log.leaves = one[..=size].to_vec());
        broker.until_log("the history to go on", |log| {
            log.largest() == size as u64 + 1
        });
        running.signal("-TERM");
        assert!(running.ended().status.success());
    }
    broker.see(|log| log.is_beginning(&one));
    assert_eq!(evidence(dir.path()), 3);
}

#[test]
fn a_log_of_another_key_and_an_operator_that_does_not_name_it_get_no_line() {
    let broker = Scripted::start();
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(key_of(dir.path()), leaves("one", 5));
    broker.change(|script| script.log = Some(log));
    let strange = VerifierKey::new(ORIGIN, Algorithm::Ed25519, key(8).public()).unwrap();
    let mut command = Command::new(PROGRAM);
    command.arg("--data").arg(dir.path()).arg("witness");
    command.args(["--url", &broker.url, "--log", &strange.to_string()]);
    let running = Running::started(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let asks = |asked: &[Asked]| asked.iter().filter(|of| of.path == "/v1/directory").count();
    broker.until("two looks at the directory", |asked| asks(asked) >= 2);
    running.signal("-TERM");
    running.ended();
    let unnamed = VerifierKey::new("w", Algorithm::CosignatureV1, key(9).public()).unwrap();
    broker.log(|log| log.witness = unnamed);
    let seen = asks(&broker.until("what was asked", |_| true));
    let running = witness(dir.path(), &broker.url);
    broker.until("another look", |asked| asks(asked) > seen);
    running.signal("-TERM");
    assert!(running.ended().status.success());
    broker.see(|log| assert_eq!((log.looks, log.cosigned.len()), (0, 0)));
}
