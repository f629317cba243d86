//! `nearlight receipt audit`: the log of a broker, and what is remembered of it.

use crate::cli::{Broker, ReceiptAudit};
use crate::client::{Client, ClientError};
use crate::command::CommandError;
use crate::{profile, terminal};
use nearlight_kit::files::write_atomic;
use nearlight_protocol::problem::ProblemType;
use nearlight_verifier::audit::words::text;
use nearlight_verifier::audit::{Newest, Rounds, Source, Wanted, run};
use nearlight_verifier::given::{Believed, Trust};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The largest part of a log: a bundle of 256 entries, each with the most that it may have.
const PART_BYTES_MAX: u64 = 256 * (65_535 + 2);

/// Times that a broker that is busy is asked again, and how long it is left alone between.
const BUSY: (usize, Duration) = (30, Duration::from_secs(1));

/// A broker's log over HTTP, which anybody may read.
pub(super) struct Served {
    client: Client,
    assignments: Assignments,
    /// A relay of drand, until it does not answer.
    relay: Option<Client>,
}

/// Where assignments are read.
enum Assignments {
    /// From the broker; what it tells of rounds, an answer a line.
    Asked(Vec<u8>),
    /// From an export.
    Exported(Exported),
}

impl Served {
    pub(super) const fn new(client: Client) -> Self {
        Self {
            client,
            assignments: Assignments::Asked(Vec::new()),
            relay: None,
        }
    }

    fn ask(&self, path: &str) -> Result<Option<Vec<u8>>, ClientError> {
        for _ in 0..BUSY.0 {
            match self.client.bytes(path, PART_BYTES_MAX) {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(ClientError::Problem(problem)) if problem.name == ProblemType::NotFound => {
                    return Ok(None);
                }
                Err(ClientError::Problem(problem))
                    if problem.name == ProblemType::TooManyRequests =>
                {
                    std::thread::sleep(BUSY.1);
                }
                Err(error) => return Err(error),
            }
        }
        self.client.bytes(path, PART_BYTES_MAX).map(Some)
    }
}

impl Served {
    /// What was told is in the export.
    fn keep(&mut self, told: Option<&[u8]>) {
        if let (Assignments::Asked(kept), Some(told)) = (&mut self.assignments, told) {
            // One line of JSON has no line feed in it.
            kept.extend(told.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')));
            kept.push(b'\n');
        }
    }
}

impl Source for Served {
    type Error = ClientError;

    fn read(&mut self, path: &str) -> Result<Vec<u8>, ClientError> {
        self.client.bytes(path, PART_BYTES_MAX)
    }

    fn evidence(&mut self, sha256: &str) -> Result<Option<Vec<u8>>, ClientError> {
        let gone = [ProblemType::NotFound, ProblemType::EvidenceExpired];
        match self
            .client
            .bytes(&format!("/v1/evidence/{sha256}"), PART_BYTES_MAX)
        {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ClientError::Problem(problem)) if gone.contains(&problem.name) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn assignments(&mut self, round: u64) -> Result<Option<Vec<u8>>, ClientError> {
        if let Assignments::Exported(exported) = &self.assignments {
            return Ok(exported.line(round));
        }
        let told = self.ask(&format!("/v1/assignments?round={round}"))?;
        self.keep(told.as_deref());
        Ok(told)
    }

    fn round(&mut self, round: u64, before: u64) -> Result<Option<Vec<u8>>, ClientError> {
        if let Assignments::Exported(exported) = &self.assignments {
            return Ok(Some(exported.round(round, before)));
        }
        let told = self.ask(&format!("/v1/beacon/{round}?before={before}"))?;
        self.keep(told.as_deref());
        Ok(told)
    }

    fn drand(&mut self, round: u64) -> Option<String> {
        let relay = self.relay.as_ref()?;
        match relay.get::<serde_json::Value>(&format!("/public/{round}")) {
            Ok(told) => told["signature"].as_str().map(str::to_owned),
            Err(error) => {
                terminal::note(format_args!("the relay is asked no more: {error}"));
                self.relay = None;
                None
            }
        }
    }
}

/// Audits, and remembers the checkpoint. The exit status.
pub(super) fn audit(asked: &ReceiptAudit, broker: &Broker) -> Result<u8, CommandError> {
    let mut served = Served::new(Client::for_anyone(broker)?);
    served.relay = asked.relay.as_deref().map(Client::of_nobody);
    let mut rounds = Rounds::UntilNow;
    if asked.no_assignments {
        rounds = Rounds::Skipped;
    } else if let Some(file) = &asked.assignments {
        let exported = Exported::of(&read(file)?);
        rounds = exported.newest().map_or(Rounds::Skipped, Rounds::Until);
        served.assignments = Assignments::Exported(exported);
    }
    let trust = trust(asked, &served.client)?;
    let newest = Newest::ask(&mut served)?;
    let file = remembered(asked, newest.origin())?;
    let before = match std::fs::read(&file) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(source) => return Err(CommandError::NotRead { file, source }),
    };
    let wanted = Wanted {
        node: &asked.node,
        remembered: before.as_deref(),
        now_s: nearlight_kit::clock::unix_ms() / 1000,
        evidence: !asked.no_evidence,
        rounds,
    };
    let audited = run(&mut served, &trust, newest, wanted)?;
    if let Some(checkpoint) = &audited.checkpoint {
        keep(&file, checkpoint)?;
    }
    if let (Some(file), Assignments::Asked(told)) = (&asked.save_assignments, &served.assignments) {
        keep(file, told)?;
    }
    let said = match broker.json {
        true => serde_json::to_string_pretty(&audited.audit).unwrap_or_default(),
        false => text(&audited.audit),
    };
    terminal::result(format_args!("{}", said.trim_end()));
    Ok(audited.audit.verdict.exit_code())
}

fn read(file: &Path) -> Result<Vec<u8>, CommandError> {
    std::fs::read(file).map_err(|source| CommandError::NotRead {
        file: file.to_owned(),
        source,
    })
}

fn trust(asked: &ReceiptAudit, client: &Client) -> Result<Trust, CommandError> {
    let believed = Believed {
        directory: match &asked.directory {
            Some(file) => read(file)?,
            None => client.bytes("/v1/directory", PART_BYTES_MAX)?,
        },
        authority: asked.authority.clone(),
        policy: asked.policy.as_deref().map(read).transpose()?,
        beacon: asked.beacon,
    };
    Ok(believed
        .trust()
        .map_err(nearlight_verifier::AskError::from)?)
}

/// The file of a log's last checkpoint.
fn remembered(asked: &ReceiptAudit, origin: &str) -> Result<PathBuf, CommandError> {
    let dir = match &asked.remember {
        Some(dir) => dir.clone(),
        None => profile::dir()?.join("logs"),
    };
    Ok(dir.join(file_name(origin)))
}

/// A name for each origin, and another for every other one.
fn file_name(origin: &str) -> String {
    let mut name = String::new();
    for byte in origin.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    // No file system takes longer ones.
    let cut = name.len().saturating_sub(200);
    format!("{}.checkpoint", name.get(cut..).unwrap_or(&name))
}

fn keep(file: &Path, checkpoint: &[u8]) -> Result<(), CommandError> {
    let written = || {
        if let Some(dir) = file.parent() {
            std::fs::create_dir_all(dir)?;
        }
        write_atomic(file, checkpoint, 0o600)
    };
    written().map_err(|source| CommandError::NotWritten {
        file: file.to_owned(),
        source,
    })
}

/// What a broker told of rounds, an answer a line: assignments, and signatures of drand by pages. A line that is none is left
/// out: the audit then says of how many rounds nothing is told.
#[derive(Debug, Default)]
struct Exported {
    assignments: BTreeMap<u64, Vec<u8>>,
    signatures: BTreeMap<u64, String>,
}

impl Exported {
    fn of(bytes: &[u8]) -> Self {
        let mut exported = Self::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            let _ = exported.read(line);
        }
        exported
    }

    /// `None`: the line is none.
    fn read(&mut self, line: &[u8]) -> Option<()> {
        let told: serde_json::Value = serde_json::from_slice(line).ok()?;
        let round = told["round"].as_u64()?;
        let text = |of: &serde_json::Value| of.as_str().unwrap_or_default().to_owned();
        let is_page = told.get("assignments").is_none() && told.get("chain").is_some();
        if is_page || told["signature"].is_string() {
            self.signatures.insert(round, text(&told["signature"]));
        }
        if !is_page {
            self.assignments.insert(round, line.to_vec());
            return Some(());
        }
        let before = told["before"].as_array().into_iter().flatten();
        let before = (0..round).rev().zip(before.map(text));
        self.signatures.extend(before);
        Some(())
    }

    fn newest(&self) -> Option<u64> {
        self.assignments.keys().next_back().copied()
    }

    fn line(&self, round: u64) -> Option<Vec<u8>> {
        self.assignments.get(&round).cloned()
    }

    /// What it has of rounds' signatures, as a broker tells them, and whether it leaves some out.
    fn round(&self, round: u64, before: u64) -> Vec<u8> {
        let signature = |round: u64| self.signatures.get(&round).cloned().unwrap_or_default();
        let older = round.saturating_sub(before).max(1)..round;
        let is_partial = older.clone().any(|of| !self.signatures.contains_key(&of));
        let before: Vec<String> = older.rev().map(signature).collect();
        let told = serde_json::json!({
            "round": round, "signature": self.signatures.get(&round), "before": before,
            "partial": is_partial || !self.signatures.contains_key(&round),
        });
        told.to_string().into_bytes()
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_export_is_read_by_round_and_garbage_is_left_out() {
        let exported = Exported::of(b"{\"round\":7,\"a\":1}\nno json\n{\"a\":1}\n{\"round\":3}\n");
        assert_eq!(exported.newest(), Some(7));
        assert_eq!(exported.line(3).as_deref(), Some(&b"{\"round\":3}"[..]));
        assert_eq!(exported.line(4), None);
        assert_eq!(Exported::of(b"").newest(), None);
        let exported = Exported::of(b"{\"round\":2,\"signature\":\"ab\"}\n{\"round\":4}\n");
        let told = exported.round(4, 9);
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        let expected = serde_json::json!(["", "ab", ""]);
        assert_eq!(
            (&told["before"], &told["partial"]),
            (&expected, &true.into())
        );
        assert!(told["signature"].is_null());
        // With the pages that the broker told nothing is left out.
        let pages = b"{\"round\":4,\"signature\":\"dd\",\"before\":[\"cc\",\"\",\"aa\"],\"chain\":{}}\n{\"round\":3}";
        let exported = Exported::of(pages);
        assert_eq!(exported.newest(), Some(3));
        let told = exported.round(3, 9);
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        let expected = serde_json::json!({
            "round": 3, "signature": "cc", "before": ["", "aa"], "partial": false,
        });
        assert_eq!(told, expected);
    }

    #[test]
    fn each_log_has_a_file_of_its_own() {
        assert_eq!(file_name("log.example/a"), "log.example%2fa.checkpoint");
        assert_ne!(file_name("a/b"), file_name("a_b"));
        assert!(file_name(&"/".repeat(500)).len() < 255);
        assert!(!file_name("../x").contains('/'));
    }
}
