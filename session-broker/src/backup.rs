//! Backing a broker up while it serves, and restoring it onto an empty machine.
//!
//! A back-up is a directory: the ledger as of one moment, the signing key, the CA with what
//! a rotation of it has so far, and a manifest with a hash of each. SQLite's ledger is copied by the engine itself (`VACUUM INTO`), PostgreSQL's by
//! `pg_dump`; both are consistent while the broker writes.
//!
//! **Invariants.** Nothing is overwritten, neither by a back-up nor by a restore. A back-up without a
//! manifest is none: it is written last. What does not match its hash is not restored.
//!
//! **What it does not know:** what came after the back-up. Sessions that a node still runs then, and
//! the ledger has not, are stopped when it attaches.

use crate::config::Config;
use crate::ledger::{Applied, LedgerAt, LogChange, Op};
use crate::receipts;
use crate::seal::FORMER_KEY_FILE;
use anyhow::{Context, bail, ensure};
use nearlight_kit::files::write_atomic;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const MANIFEST: &str = "manifest.json";
const SQLITE: &str = "ledger.sqlite";
const POSTGRES: &str = "ledger.dump";
const SIGNING_KEY: &str = "signing.key";
/// Of the PKI directory: what a new broker needs for its nodes to know it. Its own certificate it makes.
const PKI: [&str; 2] = ["ca.pem", "ca.key.pem"];
/// What the PKI directory has beside them while the CA is rotated, and what signs the log of receipts.
const ROTATION: [&str; 5] = [
    "ca.next.key.pem",
    "ca.cross.pem",
    "ca.switched",
    "receipts.key",
    FORMER_KEY_FILE,
];

/// Where the back-up has the tiles of the log of receipts.
const LOG: &str = "log";
const LOG_FILES: &str = "log/";

/// What a back-up holds.
#[derive(Debug, Deserialize, Serialize)]
struct Manifest {
    /// The build that made it.
    build: String,
    /// SHA-256 in hex, by file name.
    files: BTreeMap<String, String>,
}

/// Backs the broker of `config` up into `to`, a new directory. The broker may run.
///
/// # Errors
/// What keeps it from being whole, with what to do; `to` is no back-up then.
pub async fn backup(config: &Config, to: &Path) -> anyhow::Result<()> {
    let mut made = std::fs::DirBuilder::new();
    let made = made.mode(0o700).create(to);
    made.with_context(|| format!("cannot make {}; name a directory that is new", to.display()))?;
    let ledger = match &config.ledger {
        LedgerAt::File(file) => copy_sqlite(file, to).await?,
        LedgerAt::Postgres(url) => dump(url, to)?,
    };
    let mut files = BTreeMap::new();
    let mut names = vec![ledger];
    for (dir, name) in rotation(config).into_iter().chain(keys(config)) {
        let from = dir.join(name);
        let bytes = match std::fs::read(&from) {
            Err(error) if error.kind() == ErrorKind::NotFound && ROTATION.contains(&name) => {
                continue;
            }
            read => read.with_context(|| format!("cannot read {}", from.display()))?,
        };
        write_atomic(&to.join(name), &bytes, 0o600)
            .with_context(|| format!("cannot write {name}"))?;
        names.push(name);
    }
    let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    if let Some(log) = own_log(config) {
        // After the ledger was copied: of at least what the copy says.
        let size = crate::ledger::log_size_beside(&config.ledger).await?;
        let copied = receipts::copy(&log, &to.join(LOG), size).await;
        let copied = copied.with_context(|| format!("cannot copy {}", log.display()))?;
        names.extend(copied.into_iter().map(|path| format!("{LOG_FILES}{path}")));
    }
    for name in names {
        let digest = hash(&to.join(&name))?;
        files.insert(name, digest);
    }
    let build = env!("CARGO_PKG_VERSION").to_owned();
    let manifest = serde_json::to_vec_pretty(&Manifest { build, files })?;
    write_atomic(&to.join(MANIFEST), &manifest, 0o600).context("cannot write the manifest")
}

/// Restores the back-up in `from` to where `config` says, where there must be nothing yet.
///
/// # Errors
/// The back-up is not whole, or something is there already. Nothing is overwritten.
pub async fn restore(config: &Config, from: &Path) -> anyhow::Result<()> {
    let text = std::fs::read(from.join(MANIFEST)).with_context(|| {
        let from = from.display();
        format!("{from} is no back-up, or one that did not get to its end: it has no {MANIFEST}")
    })?;
    let manifest: Manifest =
        serde_json::from_slice(&text).context("the manifest cannot be read")?;
    for (name, expected) in &manifest.files {
        let found = hash(&from.join(name))?;
        ensure!(
            found == *expected,
            "{name} of the back-up is damaged; take another back-up"
        );
    }
    let has = |name: &str| manifest.files.contains_key(name);
    for (dir, name) in rotation(config).into_iter().chain(keys(config)) {
        let to = dir.join(name);
        ensure!(
            has(name) || ROTATION.contains(&name),
            "the back-up has no {name}"
        );
        ensure!(
            !to.exists(),
            "{} is there already; restore onto an empty machine",
            to.display()
        );
    }
    for dir in [&config.data, &config.pki] {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    restore_ledger(&config.ledger, from, has)?;
    if let Some(log) = own_log(config) {
        for name in manifest
            .files
            .keys()
            .filter(|name| name.starts_with(LOG_FILES))
        {
            let to = log.join(&name[LOG_FILES.len()..]);
            let dir = to.parent().unwrap_or(&log);
            std::fs::create_dir_all(dir)?;
            let bytes = std::fs::read(from.join(name))?;
            write_atomic(&to, &bytes, 0o644).with_context(|| format!("cannot write {name}"))?;
        }
    }
    rename_log(config).await?;
    let under_way = rotation(config).into_iter().filter(|(_, name)| has(name));
    for (dir, name) in under_way.chain(keys(config)) {
        let bytes = std::fs::read(from.join(name))?;
        write_atomic(&dir.join(name), &bytes, 0o600)
            .with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

/// What was published after the back-up is not in it: the log goes on under another name, in which it can
/// contradict nothing.
async fn rename_log(config: &Config) -> anyhow::Result<()> {
    let suffix = format!("{:016x}", rand::random::<u64>());
    let rename = Op::Log {
        change: LogChange::Rename { suffix },
        audit: None,
    };
    let renamed = crate::ledger::change_beside(&config.ledger, &config.name, rename).await?;
    if renamed == Applied::Done {
        tracing::warn!("the log of receipts has a new name: verifiers need a policy with it");
    }
    Ok(())
}

/// The directory of a log whose tiles are this broker's alone; who gave another one backs that up.
fn own_log(config: &Config) -> Option<PathBuf> {
    let log = config.log.as_ref()?;
    log.dir.starts_with(&config.data).then(|| log.dir.clone())
}

fn restore_ledger(
    ledger: &LedgerAt,
    from: &Path,
    has: impl Fn(&str) -> bool,
) -> anyhow::Result<()> {
    match ledger {
        LedgerAt::File(file) => {
            ensure!(
                has(SQLITE),
                "the back-up is of a PostgreSQL ledger; set `ledger` to a new one"
            );
            ensure!(!file.exists(), "{} is there already", file.display());
            let bytes = std::fs::read(from.join(SQLITE))?;
            write_atomic(file, &bytes, 0o600)
                .with_context(|| format!("cannot write {}", file.display()))
        }
        LedgerAt::Postgres(url) => {
            ensure!(
                has(POSTGRES),
                "the back-up is of a SQLite ledger; leave `ledger` empty"
            );
            let mut restore = Command::new("pg_restore");
            restore
                .args([
                    "--exit-on-error",
                    "--single-transaction",
                    "--no-owner",
                    "--dbname",
                    url,
                ])
                .arg(from.join(POSTGRES));
            run(restore, "pg_restore")
        }
    }
}

/// The small files, and where each lives.
fn keys(config: &Config) -> Vec<(PathBuf, &'static str)> {
    let pki = PKI.map(|name| (config.pki.clone(), name));
    let mut keys = vec![(config.data.clone(), SIGNING_KEY)];
    keys.extend(pki);
    keys
}

/// What is there only while the CA is rotated, and where. It is read before [`keys`]: if the CA is switched
/// in between, the next key is in the back-up twice, and never lost.
fn rotation(config: &Config) -> Vec<(PathBuf, &'static str)> {
    ROTATION.map(|name| (config.pki.clone(), name)).into()
}

async fn copy_sqlite(file: &Path, to: &Path) -> anyhow::Result<&'static str> {
    let copied = crate::ledger::copy_file(file, &to.join(SQLITE)).await;
    copied.with_context(|| format!("cannot copy the ledger {}", file.display()))?;
    Ok(SQLITE)
}

fn dump(url: &str, to: &Path) -> anyhow::Result<&'static str> {
    let mut dump = Command::new("pg_dump");
    dump.args([
        "--format",
        "custom",
        "--no-owner",
        "--dbname",
        url,
        "--file",
    ])
    .arg(to.join(POSTGRES));
    run(dump, "pg_dump")?;
    Ok(POSTGRES)
}

/// Runs one of PostgreSQL's programs. Its arguments hold a password and are not told.
fn run(mut command: Command, name: &str) -> anyhow::Result<()> {
    let output = command.output().with_context(|| {
        format!("cannot run {name}; install PostgreSQL's client programs (postgresql-client)")
    })?;
    if output.status.success() {
        return Ok(());
    }
    bail!(
        "{name} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    )
}

fn hash(file: &Path) -> anyhow::Result<String> {
    let opened = std::fs::File::open(file);
    let mut opened = opened.with_context(|| format!("cannot read {}", file.display()))?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = std::io::Read::read(&mut opened, &mut buffer)?;
        if n == 0 {
            break;
        }
        digest.update(&buffer[..n]);
    }
    Ok(format!("{:x}", digest.finalize()))
}
