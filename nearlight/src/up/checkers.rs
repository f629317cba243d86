//! `nearlight up --checkers N`: checkers on this machine, as an operator of each would set them up: a key, a signed
//! table of classes, a token from the broker's administrator, `checker join`, `checker run`. Each is a witness of the
//! broker's log, too, which asks for the lines of more than half of them.
//!
//! All of it is made once and found again. On one machine they prove nothing to strangers: one operator has them all.

use super::prepare::Prepared;
use super::role::{Role, Supervised};
use crate::client::Client;
use anyhow::{Context as _, bail};
use nearlight_kit::files::write_atomic;
use nearlight_kit::pki::{Ca, Credentials, ensure_ca};
use nearlight_protocol::checker::{AdmitChecker, NewCheckerToken};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The classes that the network holds nodes to.
const CLASSES: &str = include_str!("../../../configs/gpu-classes.json");
/// The program's name.
pub(super) const PROGRAM: &str = "checker";
/// A report of what was begun, and the key is free.
const DRAIN: Duration = Duration::from_secs(10);

/// The lines by which the checkers of a data directory are named as witnesses.
///
/// # Errors
/// What a command of theirs says.
pub(super) fn witnesses(programs: &Path, data: &Path, count: u32) -> anyhow::Result<Vec<String>> {
    let program = programs.join(PROGRAM);
    let key = |n: u32| {
        let dir = data.join("checkers").join(n.to_string());
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let said = carry_out(&program, &dir, &["witness", "--key"])?;
        Ok(said.trim().to_owned())
    };
    (1..=count).map(key).collect()
}

/// How many of so many witnesses have to agree: two histories would need one that signs both.
pub(super) const fn quorum(witnesses: usize) -> usize {
    match witnesses {
        0 => 0,
        some => some / 2 + 1,
    }
}

/// What a checker is set up with.
#[derive(Clone, Debug)]
struct Site {
    program: PathBuf,
    dir: PathBuf,
    pki: PathBuf,
    dev_key: PathBuf,
    url: String,
    node_listen: String,
    count: u32,
}

/// Sets the checkers up, and starts them.
///
/// # Errors
/// What a command of theirs says.
pub(super) async fn start(
    prepared: &Prepared,
    (url, node_listen): (&str, &str),
) -> anyhow::Result<Vec<Supervised>> {
    let site = Site {
        program: prepared.programs.join(PROGRAM),
        dir: prepared.data.join("checkers"),
        pki: prepared.pki.clone(),
        dev_key: prepared.dev_key.clone(),
        url: url.to_owned(),
        node_listen: node_listen.to_owned(),
        count: prepared.up.checkers,
    };
    if site.count == 0 {
        return Ok(Vec::new());
    }
    let set_up = tokio::task::spawn_blocking(move || site.set_up());
    let (dirs, flags) = set_up.await??;
    let mut running = Vec::new();
    for dir in dirs {
        let mut all = vec![("--data", dir.into())];
        all.extend(flags.iter().map(|(name, value)| (*name, value.into())));
        let role = Role::with_verb(prepared, PROGRAM, "run", all);
        running.push(Supervised::start(role).await?);
    }
    Ok(running)
}

/// Ends them, each with a report of what it had begun.
pub(super) async fn stop(running: &mut [Supervised]) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    for one in running {
        outcome = outcome.and(one.stop(DRAIN).await);
    }
    outcome
}

/// Starts again whichever dies.
pub(super) async fn keep_alive(running: &mut [Supervised]) -> anyhow::Error {
    let all: Vec<_> = running
        .iter_mut()
        .map(|one| Box::pin(one.keep_alive()))
        .collect();
    if all.is_empty() {
        return std::future::pending().await;
    }
    futures_util::future::select_all(all).await.0
}

/// Flags of `checker run` that all of them have.
type Flags = Vec<(&'static str, String)>;

impl Site {
    fn set_up(&self) -> anyhow::Result<(Vec<PathBuf>, Flags)> {
        let ca = ensure_ca(&self.pki).context("the CA cannot be read")?;
        let dirs: Vec<PathBuf> = (1..=self.count)
            .map(|n| self.dir.join(n.to_string()))
            .collect();
        for (n, dir) in (1..).zip(&dirs) {
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
            if !dir.join("checker.key").exists() {
                self.run(dir, &["init"])?;
            }
            if !is_in(dir, &ca) {
                let token = self.admit(n)?;
                self.run(dir, &["join", &self.url, "--token", &token])?;
            }
        }
        let first = dirs.first().context("at least one checker")?;
        let (table, key) = self.table(first)?;
        let flags = vec![
            ("--table", table.display().to_string()),
            ("--table-key", key),
            ("--url", self.url.clone()),
            ("--at", self.node_listen.clone()),
        ];
        Ok((dirs, flags))
    }

    /// The signed table, made by the first checker, and the key that signed it.
    fn table(&self, first: &Path) -> anyhow::Result<(PathBuf, String)> {
        let (classes, table) = (self.dir.join("classes.json"), self.dir.join("table.json"));
        write_atomic(&classes, CLASSES.as_bytes(), 0o644)
            .with_context(|| format!("cannot write {}", classes.display()))?;
        let (from, to) = (classes.display().to_string(), table.display().to_string());
        self.run(
            first,
            &["table", "--classes", &from, "--serial", "1", "--out", &to],
        )?;
        let said = self.run(first, &["key"])?;
        let key = said.lines().find_map(|line| line.strip_prefix("public "));
        Ok((table, key.context("`checker key` says no key")?.to_owned()))
    }

    fn admit(&self, n: u32) -> anyhow::Result<String> {
        let key = fs::read_to_string(&self.dev_key).context("cannot read the development key")?;
        let wanted = AdmitChecker {
            operator: format!("checker-{n}"),
            ..AdmitChecker::default()
        };
        let client = Client::with_key(&self.url, key.trim());
        let made: NewCheckerToken = client
            .post("/v1/checker-tokens", &wanted)
            .context("a checker is not admitted")?;
        Ok(made.token)
    }

    fn run(&self, dir: &Path, words: &[&str]) -> anyhow::Result<String> {
        carry_out(&self.program, dir, words)
    }
}

/// Whether a checker came in, and has a certificate that the broker of this CA renews if it does not hold.
fn is_in(dir: &Path, ca: &Ca) -> bool {
    const PROOF: &[u8] = b"nearlight up";
    let Ok(shown) = Credentials::load(&dir.join("tls"), "checker") else {
        return false;
    };
    let pem = shown.certificate_pem();
    let signature = shown.sign(PROOF);
    let is_renewed = |signature: Vec<u8>| ca.recognise_late(&pem, PROOF, &signature).is_ok();
    dir.join("network.json").exists() && signature.is_ok_and(is_renewed)
}

/// A command of the checker, to its end; what it says.
fn carry_out(program: &Path, dir: &Path, words: &[&str]) -> anyhow::Result<String> {
    let done = Command::new(program)
        .args(words)
        .arg("--data")
        .arg(dir)
        .output();
    let done = done.with_context(|| format!("cannot start {}", program.display()))?;
    if !done.status.success() {
        let why = String::from_utf8_lossy(&done.stderr);
        bail!("checker {}: {}", words.first().unwrap_or(&""), why.trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
