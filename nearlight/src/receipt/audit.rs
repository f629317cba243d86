//! `nearlight receipt audit`: the log of a broker, and what is remembered of it.

use crate::cli::{Broker, ReceiptAudit};
use crate::client::{Client, ClientError};
use crate::command::CommandError;
use crate::{profile, terminal};
use nearlight_kit::files::write_atomic;
use nearlight_protocol::problem::ProblemType;
use nearlight_verifier::audit::words::text;
use nearlight_verifier::audit::{Newest, Source, Wanted, run};
use nearlight_verifier::given::{Believed, Trust};
use std::path::{Path, PathBuf};

/// The largest part of a log: a bundle of 256 entries, each with the most that it may have.
const PART_BYTES_MAX: u64 = 256 * (65_535 + 2);

/// A broker's log over HTTP, which anybody may read.
pub(super) struct Served(pub(super) Client);

impl Source for Served {
    type Error = ClientError;

    fn read(&mut self, path: &str) -> Result<Vec<u8>, ClientError> {
        self.0.bytes(path, PART_BYTES_MAX)
    }

    fn evidence(&mut self, sha256: &str) -> Result<Option<Vec<u8>>, ClientError> {
        let gone = [ProblemType::NotFound, ProblemType::EvidenceExpired];
        match self
            .0
            .bytes(&format!("/v1/evidence/{sha256}"), PART_BYTES_MAX)
        {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ClientError::Problem(problem)) if gone.contains(&problem.name) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Audits, and remembers the checkpoint. The exit status.
pub(super) fn audit(asked: &ReceiptAudit, broker: &Broker) -> Result<u8, CommandError> {
    let mut served = Served(Client::for_anyone(broker)?);
    let trust = trust(asked, &served.0)?;
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
    };
    let audited = run(&mut served, &trust, newest, wanted)?;
    if let Some(checkpoint) = &audited.checkpoint {
        keep(&file, checkpoint)?;
    }
    let said = match broker.json {
        true => serde_json::to_string_pretty(&audited.audit).unwrap_or_default(),
        false => text(&audited.audit),
    };
    terminal::result(format_args!("{}", said.trim_end()));
    Ok(audited.audit.verdict.exit_code())
}

fn trust(asked: &ReceiptAudit, client: &Client) -> Result<Trust, CommandError> {
    let read = |file: &Path| {
        std::fs::read(file).map_err(|source| CommandError::NotRead {
            file: file.to_owned(),
            source,
        })
    };
    let believed = Believed {
        directory: match &asked.directory {
            Some(file) => read(file)?,
            None => client.bytes("/v1/directory", PART_BYTES_MAX)?,
        },
        authority: asked.authority.clone(),
        policy: asked.policy.as_deref().map(read).transpose()?,
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

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn each_log_has_a_file_of_its_own() {
        assert_eq!(file_name("log.example/a"), "log.example%2fa.checkpoint");
        assert_ne!(file_name("a/b"), file_name("a_b"));
        assert!(file_name(&"/".repeat(500)).len() < 255);
        assert!(!file_name("../x").contains('/'));
    }
}
