//! What must be there before a role starts: directories, the lock, the CA and the identities, one
//! configuration file a role.

use super::checkers;
use crate::cli::Up;
use anyhow::{Context as _, bail};
use nearlight_kit::files::write_atomic;
use nearlight_kit::pki::{Identity, ensure_ca};
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::id::NodeId;
use std::fs::{self, File, TryLockError};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

/// In the data directory while an `up` is ready: where its broker is.
pub(super) const URL_FILE: &str = "up.url";
/// The sections of `--config`: one a role.
const SECTIONS: [&str; 2] = ["session-broker", "edge-node"];

/// Everything that is decided before the first role starts.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The command line.
    pub(super) up: Up,
    /// The data directory, absolute.
    pub(super) data: PathBuf,
    /// Where ca.pem and the identities are.
    pub(super) pki: PathBuf,
    /// This machine's node.
    pub(super) node: NodeId,
    /// Where the development key is, or will be once the broker runs.
    pub(super) dev_key: PathBuf,
    /// The directory of our own program, where the roles' programs are too.
    pub(super) programs: PathBuf,
    /// The built browser client.
    pub(super) client_web: PathBuf,
    /// Owns everything that runs in this process.
    pub(super) tasks: Shutdown,
    /// Held while we run.
    _lock: File,
}

impl Prepared {
    /// Prepares the data directory.
    pub(super) fn new(up: Up) -> anyhow::Result<Self> {
        fs::create_dir_all(&up.data).with_context(|| {
            format!(
                "cannot create the data directory {}; choose another with --data",
                up.data.display()
            )
        })?;
        let data = up
            .data
            .canonicalize()
            .context("cannot resolve the data directory")?;
        let lock = lock(&data)?;
        let programs = std::env::current_exe()
            .context("cannot find our own program")?
            .parent()
            .context("our own program has no directory")?
            .to_owned();
        let checker = (up.checkers > 0).then_some(checkers::PROGRAM);
        for program in ["session-broker", "edge-node", "edge-worker"]
            .into_iter()
            .chain(checker)
        {
            if !programs.join(program).is_file() {
                bail!(
                    "{program} is not beside nearlight in {}; build all programs: cargo build --release",
                    programs.display()
                );
            }
        }
        let client_web = client_web(&up, &programs)?;
        let pki = data.join("pki");
        let node = node_id(&data)?;
        issue_identities(&pki, &node)?;
        let prepared = Self {
            dev_key: data.join("dev.key"),
            node,
            up,
            data,
            pki,
            programs,
            client_web,
            tasks: Shutdown::new(),
            _lock: lock,
        };
        let count = prepared.up.checkers;
        let witnesses = checkers::witnesses(&prepared.programs, &prepared.data, count)?;
        prepared.split_config(&witnesses)?;
        Ok(prepared)
    }

    /// Asks for the ports that the roles will need, so that a refusal is told in one line, with the
    /// flag to use. Another program may still be faster; then the role reports it.
    pub(super) fn check_ports(&self) -> anyhow::Result<()> {
        let listen = self.up.listen;
        TcpListener::bind(listen).with_context(|| {
            format!("cannot listen on {listen}; stop the program that has it, or choose another address, such as --listen 127.0.0.1:9000")
        })?;
        let port = self.up.rtc_port.unwrap_or(0);
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).with_context(|| {
            format!("cannot use UDP port {port}; stop the program that has it, or choose another with --rtc-port")
        })?;
        Ok(())
    }

    /// Lets commands on this machine find the broker, for as long as we run.
    pub(super) fn announce(&self, url: &str) -> anyhow::Result<()> {
        let path = self.data.join(URL_FILE);
        write_atomic(&path, url.as_bytes(), 0o644)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The file with the section of `role`, if the operator gave one, or a flag that belongs there.
    pub(super) fn config_of(&self, role: &str) -> Option<PathBuf> {
        let up = &self.up;
        let is_given = up.config.is_some() || up.slots.is_some() || up.checkers > 0;
        is_given.then(|| self.data.join("config").join(format!("{role}.toml")))
    }

    /// Where the lobby is, given the address that the broker listens on.
    pub(super) fn url(&self, listen: &str) -> String {
        format!("http://{listen}")
    }

    /// Splits `--config` into one file a role, which checks its own keys.
    fn split_config(&self, witnesses: &[String]) -> anyhow::Result<()> {
        if self.config_of(SECTIONS[0]).is_none() {
            return Ok(());
        }
        let (path, text) = match &self.up.config {
            Some(path) => {
                let text = fs::read_to_string(path);
                let text = text.with_context(|| format!("cannot read {}", path.display()))?;
                (path.display().to_string(), text)
            }
            None => ("the command line".to_owned(), String::new()),
        };
        let mut sections: toml::Table = text
            .parse()
            .with_context(|| format!("{path} is not TOML"))?;
        fs::create_dir_all(self.data.join("config"))?;
        for role in SECTIONS {
            let mut section = match sections.remove(role) {
                None => toml::Table::new(),
                Some(toml::Value::Table(section)) => section,
                Some(_) => bail!("{path}: {role} must be a section: [{role}]"),
            };
            if section.contains_key("tls") && role == "session-broker" {
                bail!(
                    "{path}: `nearlight up` serves plain http on this machine and takes no [session-broker.tls]; \
                     run the roles by themselves for that (docs/operations.md), or put a proxy before it"
                );
            }
            if let (Some(count), "edge-node") = (self.up.slots, role) {
                let slots = table(&mut section, "slots")
                    .with_context(|| format!("{path}: [{role}.slots] is a section"))?;
                slots.insert("count".to_owned(), i64::from(count).into());
            }
            if role == "session-broker" && !witnesses.is_empty() {
                let log = table(&mut section, "log")
                    .with_context(|| format!("{path}: [{role}.log] is a section"))?;
                watched_by(log, witnesses);
            }
            let text =
                toml::to_string(&section).context("a section that was read can be written")?;
            let file = self.data.join("config").join(format!("{role}.toml"));
            write_atomic(&file, text.as_bytes(), 0o600)?;
        }
        if let Some(unknown) = sections.keys().next() {
            bail!(
                "{path}: there is no section [{unknown}]; there are [session-broker] and [edge-node]"
            );
        }
        Ok(())
    }
}

/// A section of a section, made where there is none.
fn table<'a>(section: &'a mut toml::Table, name: &str) -> Option<&'a mut toml::Table> {
    let inner = section.entry(name).or_insert(toml::Table::new().into());
    inner.as_table_mut()
}

/// Has the log cosigned by these witnesses, unless the operator has chosen others.
fn watched_by(log: &mut toml::Table, witnesses: &[String]) {
    if log.contains_key("witnesses") || log.contains_key("quorum") {
        return;
    }
    let quorum = i64::try_from(checkers::quorum(witnesses.len())).unwrap_or(i64::MAX);
    log.insert("quorum".to_owned(), quorum.into());
    log.insert("witnesses".to_owned(), witnesses.to_vec().into());
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // Whoever still reads it finds nobody there, which is all that it could tell.
        let _ = fs::remove_file(self.data.join(URL_FILE));
    }
}

/// Two supervisors on one data directory would run two ledgers and two nodes of one name.
fn lock(data: &Path) -> anyhow::Result<File> {
    let path = data.join("up.lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another `nearlight up` runs with the data directory {}; stop it, or give this one its own --data and --listen",
            data.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// This machine's node id, made once.
fn node_id(data: &Path) -> anyhow::Result<NodeId> {
    let path = data.join("node.id");
    if path.exists() {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        return text
            .trim()
            .parse()
            .with_context(|| format!("{} is damaged", path.display()));
    }
    let id = nearlight_kit::ids::node();
    write_atomic(&path, id.as_str().as_bytes(), 0o644)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(id)
}

fn issue_identities(pki: &Path, node: &NodeId) -> anyhow::Result<()> {
    let ca = ensure_ca(pki)?;
    // For a day: it renews over the control stream, as every other node's does.
    ca.issue(pki, "node", Identity::node(node))?;
    Ok(())
}

/// The built client: as given, installed beside the programs, or in the checkout.
fn client_web(up: &Up, programs: &Path) -> anyhow::Result<PathBuf> {
    let candidates = match &up.client_web {
        Some(given) => vec![given.clone()],
        None => vec![
            programs.join("../share/nearlight/client-web"),
            PathBuf::from("client-web/dist"),
        ],
    };
    for candidate in &candidates {
        if candidate.join("index.html").is_file() {
            return candidate
                .canonicalize()
                .context("cannot resolve the client's directory");
        }
    }
    bail!(
        "the browser client is not built: no index.html in {}; run `make play`, or name its directory with --client-web",
        candidates
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>()
            .join(" or ")
    )
}
