//! Backing a broker up while it serves, and restoring it onto an empty machine.
//!
//! A back-up is a directory: the ledger as of one moment, the signing key, the CA with what
//! a rotation of it has so far, the configuration ([`Settings`]), and a manifest with a hash of each. SQLite's ledger is copied by the engine itself (`VACUUM INTO`), PostgreSQL's by
//! `pg_dump`; both are consistent while the broker writes.
//!
//! A restore writes the keys first and the ledger last. As long as it is not done, the data directory has a marker: no
//! broker starts on it, which would make keys of its own, and the same restore goes on where it was cut short.
//!
//! **Invariants.** Nothing is overwritten, neither by a back-up nor by a restore. A back-up without a
//! manifest is none: it is written last. What does not match its hash is not restored. No argument of a program has
//! a password: every user of the machine reads those.
//!
//! **What it does not know:** what came after the back-up. Sessions that a node still runs then, and
//! the ledger has not, are stopped when it attaches.

mod settings;

pub use settings::{Settings, restore as restore_settings};

use crate::config::{Config, LogAt};
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

/// Where it has the configuration, and the file of that.
const CONFIG_FILES: &str = "config/";
const CONFIG: &str = "session-broker.toml";

/// Of the data directory: the back-up that is being restored, and how far that is.
const MARKER: &str = "restore.unfinished";

/// What a back-up holds.
#[derive(Debug, Deserialize, Serialize)]
struct Manifest {
    /// The build that made it.
    build: String,
    /// SHA-256 in hex, by file name.
    files: BTreeMap<String, String>,
}

/// Backs the broker of `config` up into `to`, a new directory, with its `settings`. The broker may run.
///
/// # Errors
/// What keeps it from being whole, with what to do; `to` is no back-up then.
pub async fn backup(config: &Config, settings: &Settings, to: &Path) -> anyhow::Result<()> {
    let mut made = std::fs::DirBuilder::new();
    let made = made.mode(0o700).create(to);
    made.with_context(|| format!("cannot make {}; name a directory that is new", to.display()))?;
    let mut files = BTreeMap::new();
    let mut names = Vec::new();
    // Before the ledger: of what it has sealed, none is sealed with a key that was removed meanwhile.
    let former = [(config.pki.clone(), FORMER_KEY_FILE)];
    let keys = rotation(config).into_iter().chain(keys(config));
    for (dir, name) in keys.chain(former) {
        if names.contains(&name) {
            continue;
        }
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
    names.push(match &config.ledger {
        LedgerAt::File(file) => copy_sqlite(file, to).await?,
        LedgerAt::Postgres(url) => dump(url, to)?,
    });
    let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    names.extend(settings.copy(to)?);
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
/// The back-up is not whole, or something is there already that this restore has not made. Nothing is overwritten.
pub async fn restore(config: &Config, from: &Path) -> anyhow::Result<()> {
    let (manifest, id) = checked(from)?;
    for (_, name) in keys(config) {
        let has = manifest.files.contains_key(name);
        ensure!(has, "the back-up has no {name}");
    }
    let (ledger, other) = match &config.ledger {
        LedgerAt::File(_) => (SQLITE, "of a PostgreSQL ledger; set `ledger` to a new one"),
        LedgerAt::Postgres(_) => (POSTGRES, "of a SQLite ledger; leave `ledger` empty"),
    };
    let has_ledger = manifest.files.contains_key(ledger);
    ensure!(has_ledger, "the back-up is {other}");
    for dir in [&config.data, &config.pki] {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let files = small_files(config, &manifest);
    let marker = Marker::begin(&config.data, &id, || {
        let ledger = match &config.ledger {
            LedgerAt::File(file) => Some(file),
            LedgerAt::Postgres(_) => None,
        };
        // Also of a rotation that the back-up knows nothing of.
        for (dir, name) in rotation(config).into_iter().chain(keys(config)) {
            is_new(&dir.join(name))?;
        }
        let mut files = files.iter().map(|(to, _)| to).chain(ledger);
        files.try_for_each(|to| is_new(to))
    })?;
    for (to, name) in &files {
        // Tiles are for whoever serves them.
        let mode = if name.starts_with(LOG_FILES) {
            0o644
        } else {
            0o600
        };
        put(&from.join(name), (to, mode), &manifest.files[name])?;
    }
    if !marker.has_ledger {
        restore_ledger(&config.ledger, from, &manifest)?;
        marker.note_ledger()?;
    }
    rename_log(config).await?;
    marker.end()
}

/// The manifest of a back-up whose files are what it says, and what the back-up is known by.
fn checked(from: &Path) -> anyhow::Result<(Manifest, String)> {
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
    Ok((manifest, format!("{:x}", Sha256::digest(&text))))
}

/// Fails where a restore into this data directory was cut short.
///
/// # Errors
/// It says how to go on.
pub fn whole(data: &Path) -> anyhow::Result<()> {
    let marker = data.join(MARKER);
    ensure!(
        !marker.exists(),
        "{} is there: a restore was cut short. Run the same --restore again, which goes on; nothing is whole before",
        marker.display()
    );
    Ok(())
}

/// A restore that is under way.
struct Marker {
    file: PathBuf,
    /// Of the back-up.
    id: String,
    /// Whether the ledger is restored.
    has_ledger: bool,
}

impl Marker {
    /// Goes on with the restore of this back-up, or begins it where `is_new` finds nothing there.
    fn begin(
        data: &Path,
        id: &str,
        is_new: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let mut marker = Self {
            file: data.join(MARKER),
            id: id.to_owned(),
            has_ledger: false,
        };
        match std::fs::read_to_string(&marker.file) {
            Ok(said) => {
                let (of, done) = said.split_once(' ').unwrap_or((said.trim(), ""));
                ensure!(
                    of == id,
                    "{} is there: another back-up was being restored. Go on with that one, or empty the directories",
                    marker.file.display()
                );
                marker.has_ledger = done.trim() == "ledger";
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                is_new()?;
                marker.write(id)?;
            }
            Err(error) => {
                let of = format!("cannot read {}", marker.file.display());
                return Err(error).context(of);
            }
        }
        Ok(marker)
    }

    fn note_ledger(&self) -> anyhow::Result<()> {
        self.write(&format!("{} ledger", self.id))
    }

    fn write(&self, text: &str) -> anyhow::Result<()> {
        write_atomic(&self.file, text.as_bytes(), 0o600)
            .with_context(|| format!("cannot write {}", self.file.display()))
    }

    fn end(self) -> anyhow::Result<()> {
        std::fs::remove_file(&self.file)
            .with_context(|| format!("cannot remove {}", self.file.display()))
    }
}

fn is_new(to: &Path) -> anyhow::Result<()> {
    ensure!(
        !to.exists(),
        "{} is there already; restore onto an empty machine",
        to.display()
    );
    Ok(())
}

/// Where each file of the back-up goes but the ledger: keys first.
fn small_files(config: &Config, manifest: &Manifest) -> Vec<(PathBuf, String)> {
    let has = |name: &str| manifest.files.contains_key(name);
    let under_way = rotation(config).into_iter().filter(|(_, name)| has(name));
    let keys = under_way.chain(keys(config));
    let mut files: Vec<_> = keys
        .map(|(dir, name)| (dir.join(name), name.to_owned()))
        .collect();
    if let Some(log) = own_log(config) {
        let tiles = manifest.files.keys().filter_map(|name| {
            let tile = name.strip_prefix(LOG_FILES)?;
            Some((log.join(tile), name.clone()))
        });
        files.extend(tiles);
    }
    files
}

/// Restores a file, unless a try before has.
fn put(from: &Path, (to, mode): (&Path, u32), expected: &str) -> anyhow::Result<()> {
    if to.exists() {
        ensure!(
            hash(to)? == expected,
            "{} is there already, and is not of this back-up",
            to.display()
        );
        return Ok(());
    }
    if let Some(dir) = to.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let bytes = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    write_atomic(to, &bytes, mode).with_context(|| format!("cannot write {}", to.display()))
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

/// The directory of a log whose tiles are this broker's alone; who gave another one, or a bucket, backs that up.
fn own_log(config: &Config) -> Option<PathBuf> {
    match &config.log.as_ref()?.at {
        LogAt::Directory(dir) => dir.starts_with(&config.data).then(|| dir.clone()),
        LogAt::Objects(_) => None,
    }
}

fn restore_ledger(ledger: &LedgerAt, from: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    match ledger {
        LedgerAt::File(file) => put(&from.join(SQLITE), (file, 0o600), &manifest.files[SQLITE]),
        LedgerAt::Postgres(url) => {
            let mut restore = Command::new("pg_restore");
            restore.args(["--exit-on-error", "--single-transaction", "--no-owner"]);
            to_database(&mut restore, url).arg(from.join(POSTGRES));
            run(restore, "pg_restore").context(
                "the ledger is not restored; make its database anew if a try before has filled it, and run the same \
                 --restore again",
            )
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
/// in between, the next key is in the back-up twice, and never lost; and the former key, which a switch makes, after them.
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
    dump.args(["--format", "custom", "--no-owner"]);
    to_database(&mut dump, url)
        .arg("--file")
        .arg(to.join(POSTGRES));
    run(dump, "pg_dump")?;
    Ok(POSTGRES)
}

/// Says which database, and its password in the environment.
fn to_database<'a>(command: &'a mut Command, url: &str) -> &'a mut Command {
    let (url, password) = apart(url);
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    command.arg("--dbname").arg(url)
}

/// A database's URL without its password, and that. Both places from which libpq takes one are looked at.
fn apart(url: &str) -> (String, Option<String>) {
    let Ok(mut parsed) = url::Url::parse(url) else {
        return (url.to_owned(), None);
    };
    let is_password = |pair: &&str| pair.starts_with("password=");
    let pairs = parsed.query().unwrap_or_default().split('&');
    let (named, others): (Vec<&str>, Vec<&str>) = pairs.partition(is_password);
    let named = named.last().and_then(|pair| pair.split_once('='));
    let before = parsed.password().filter(|password| !password.is_empty());
    let Some(password) = named.map(|(_, password)| password).or(before) else {
        return (url.to_owned(), None);
    };
    let (password, query) = (decoded(password), others.join("&"));
    parsed.set_query(Some(&*query).filter(|query| !query.is_empty()));
    // What has no host has no password before it.
    let _ = parsed.set_password(None);
    (parsed.into(), Some(password))
}

/// Without escapes, as libpq reads them: a plus is one.
fn decoded(text: &str) -> String {
    let form = format!("p={}", text.replace('+', "%2B").replace('&', "%26"));
    let mut pairs = url::form_urlencoded::parse(form.as_bytes());
    pairs
        .next()
        .map_or_else(String::new, |(_, text)| text.into_owned())
}

/// Runs one of PostgreSQL's programs.
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

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_password_is_no_argument() {
        let check = |url: &str, expected: &str, password: Option<&str>| {
            let mut command = Command::new("pg_dump");
            to_database(&mut command, url);
            let args: Vec<_> = command
                .get_args()
                .map(|arg| arg.to_str().unwrap())
                .collect();
            assert_eq!(args, ["--dbname", expected]);
            let told: Vec<_> = command.get_envs().collect();
            let told = told
                .first()
                .map(|(name, value)| (name.to_str().unwrap(), value.unwrap()));
            let expected = password.map(|password| ("PGPASSWORD", std::ffi::OsStr::new(password)));
            assert_eq!(told, expected, "{url}");
        };
        check(
            "postgres://nl:a%20b%2Fc@db:5432/nl?sslmode=require",
            "postgres://nl@db:5432/nl?sslmode=require",
            Some("a b/c"),
        );
        check(
            "postgres://nl@db/nl?password=x%26y&host=%2Frun",
            "postgres://nl@db/nl?host=%2Frun",
            Some("x&y"),
        );
        let without = "postgres:///nl?host=/run/postgresql&user=nl";
        check(without, without, None);
        check("host=db dbname=nl", "host=db dbname=nl", None);
    }

    #[test]
    fn a_restore_that_was_cut_short_is_gone_on_with_and_by_no_other() {
        let data = tempfile::tempdir().unwrap();
        let nothing = || Ok(());
        let marker = Marker::begin(data.path(), "one", nothing).unwrap();
        assert!(!marker.has_ledger && whole(data.path()).is_err());
        let file = data.path().join("key");
        let from = data.path().join("from");
        std::fs::write(&from, "key").unwrap();
        let expected = hash(&from).unwrap();
        put(&from, (&file, 0o600), &expected).unwrap();
        // As after a kill.
        let taken = || is_new(&file);
        let again = Marker::begin(data.path(), "one", taken).unwrap();
        put(&from, (&file, 0o600), &expected).unwrap();
        again.note_ledger().unwrap();
        assert!(Marker::begin(data.path(), "two", nothing).is_err());
        let last = Marker::begin(data.path(), "one", nothing).unwrap();
        assert!(last.has_ledger);
        last.end().unwrap();
        whole(data.path()).unwrap();
        assert!(Marker::begin(data.path(), "one", taken).is_err());
        std::fs::write(&file, "another").unwrap();
        assert!(put(&from, (&file, 0o600), &expected).is_err());
    }
}
