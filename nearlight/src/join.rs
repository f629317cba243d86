//! `nearlight node join`: makes this machine a node, with a join token.
//!
//! ```text
//!   token -> the broker's CA is the one that the token names -> certificate
//!         -> DATA/pki (identity), DATA/edge-node.toml -> how to start it
//! ```
//!
//! **Invariants.** The private key is made here and stays here. An identity is replaced only on request,
//! and a broker's own directory never. What was asked with a key is asked again with the same one, so
//! that an answer that was lost costs no token.

use crate::cli::Broker;
use crate::client::DEFAULT_DATA;
use crate::terminal;
use nearlight_kit::clock::WallClock;
use nearlight_kit::enrol::{EnrolError, broker_name, enrol};
use nearlight_kit::files::write_atomic;
use nearlight_kit::join::{JoinToken, TokenError};
use nearlight_kit::pki::{PendingKey, PkiError};
use nearlight_protocol::enrol::Enrolled;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// A key whose certificate has not come yet.
const PENDING: &str = "joining.key.pem";

/// Why this machine is no node.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// No token.
    #[error("give the join token with --token; `nearlight node token create` makes one")]
    NoToken,
    /// A wrong one.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// There is an identity.
    #[error(
        "{} is the identity of a node; give another --data, or --force to become a new node (its slots and what the broker knows of it are left behind)",
        .0.display()
    )]
    Taken(PathBuf),
    /// It is a broker's directory.
    #[error("{} holds the CA of a broker; give another --data", .0.display())]
    BrokersOwn(PathBuf),
    /// The node runs.
    #[error("an edge node runs with {}; stop it first", .0.display())]
    Running(PathBuf),
    /// The broker.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// Keys and certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A file.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Joins, and says how to start the node.
///
/// # Errors
/// [`JoinError`]; the token is not used up unless the broker has taken this node.
pub fn join(broker: &Broker, force: bool) -> Result<(), JoinError> {
    let token: JoinToken = broker.token.as_ref().ok_or(JoinError::NoToken)?.parse()?;
    let data = broker.data.clone().unwrap_or_else(|| DEFAULT_DATA.into());
    let data = std::path::absolute(&data).map_err(file(&data))?;
    let (pki, edge) = (data.join("pki"), data.join("edge"));
    check(&pki, force)?;
    let _stopped = stopped(&edge)?;
    std::fs::create_dir_all(&pki).map_err(file(&pki))?;
    let pending = pki.join(PENDING);
    let key = PendingKey::ensure(&pending)?;
    let clock = WallClock::system();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(file(&data))?;
    let (enrolled, issued, address) =
        runtime.block_on(enrol(&token, &broker_name(), &key, &clock))?;
    issued.save(&pki, "node")?;
    // What belongs to the node of before. Its saves stay.
    remove(&edge.join("node.json"))?;
    let config = data.join("edge-node.toml");
    let former = configure(&config, &settings(&enrolled, &address))?;
    remove(&pending)?;
    if let Some(former) = former {
        terminal::note(format_args!(
            "the settings of before are in {}; copy what you had added into {}",
            former.display(),
            config.display()
        ));
    }
    say(broker, &enrolled, [&config, &edge, &pki]);
    Ok(())
}

fn check(pki: &Path, force: bool) -> Result<(), JoinError> {
    if pki.join("ca.key.pem").exists() {
        return Err(JoinError::BrokersOwn(pki.to_owned()));
    }
    let identity = pki.join("node.pem");
    if identity.exists() && !force {
        return Err(JoinError::Taken(identity));
    }
    Ok(())
}

/// Makes sure that no agent uses `edge`, for as long as the answer lives.
fn stopped(edge: &Path) -> Result<Option<File>, JoinError> {
    let path = edge.join("lock");
    if !path.exists() {
        return Ok(None);
    }
    let lock = File::open(&path).map_err(file(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Err(JoinError::Running(edge.to_owned())),
        Err(TryLockError::Error(source)) => Err(JoinError::File { path, source }),
    }
}

/// The node's settings: what the token and the broker say.
fn settings(enrolled: &Enrolled, address: &str) -> String {
    let mut broker = toml::Table::new();
    broker.insert("address".to_owned(), address.into());
    let mut all = toml::Table::new();
    for (key, value) in [("name", &enrolled.name), ("region", &enrolled.region)] {
        if !value.is_empty() {
            all.insert(key.to_owned(), value.as_str().into());
        }
    }
    all.insert("broker".to_owned(), broker.into());
    format!(
        "# Written by `nearlight node join` for {}. The keys are explained in edge-node.toml of the\n\
         # sources; this file is laid over its defaults.\n{all}",
        enrolled.node
    )
}

/// Whether all that `new` says is in `former`, too.
fn has_all(former: &toml::Table, new: &toml::Table) -> bool {
    new.iter()
        .all(|(key, value)| match (former.get(key), value) {
            (Some(toml::Value::Table(former)), toml::Value::Table(new)) => has_all(former, new),
            (former, value) => former == Some(value),
        })
}

/// Writes the settings, unless what they say is there already, which their operator may have added to.
/// Those that say anything else are kept beside; where, if there were any.
fn configure(path: &Path, settings: &str) -> Result<Option<PathBuf>, JoinError> {
    let former = match std::fs::read_to_string(path) {
        Ok(former) => Some(former),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(file(path)(error)),
    };
    let mut kept = None;
    if let Some(former) = former {
        let table = former.parse::<toml::Table>().unwrap_or_default();
        let new = settings.parse::<toml::Table>().unwrap_or_default();
        if has_all(&table, &new) {
            return Ok(None);
        }
        let beside = path.with_extension("toml.before");
        write_atomic(&beside, former.as_bytes(), 0o644).map_err(file(&beside))?;
        kept = Some(beside);
    }
    write_atomic(path, settings.as_bytes(), 0o644).map_err(file(path))?;
    Ok(kept)
}

fn say(broker: &Broker, enrolled: &Enrolled, [config, edge, pki]: [&Path; 3]) {
    if broker.json {
        terminal::json(&serde_json::json!({
            "node": enrolled.node, "config": config, "data": edge, "pki": pki,
        }));
        return;
    }
    terminal::note(format_args!(
        "this machine is node {}; start it with:",
        enrolled.node
    ));
    terminal::result(format_args!(
        "edge-node --config {} --data {} --pki {}",
        config.display(),
        edge.display(),
        pki.display()
    ));
}

fn remove(path: &Path) -> Result<(), JoinError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> JoinError {
    let path = path.to_owned();
    move |source| JoinError::File { path, source }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn settings_say_where_the_broker_is_and_nothing_that_nobody_gave() {
        let mut enrolled = Enrolled {
            node: nearlight_kit::ids::node(),
            certificate: String::new(),
            ca: String::new(),
            name: String::new(),
            region: "no\"rth".to_owned(),
        };
        let read = |enrolled: &Enrolled| settings(enrolled, "a.example:1").parse::<toml::Table>();
        let table = read(&enrolled).unwrap();
        assert_eq!(table["broker"]["address"].as_str(), Some("a.example:1"));
        assert_eq!(table["region"].as_str(), Some("no\"rth"));
        assert!(!table.contains_key("name"));
        enrolled.name = "attic".to_owned();
        assert_eq!(read(&enrolled).unwrap()["name"].as_str(), Some("attic"));
    }

    #[test]
    fn what_an_operator_added_to_the_settings_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edge-node.toml");
        let new = |address: &str| format!("[broker]\naddress = \"{address}\"\n");
        assert_eq!(configure(&path, &new("a:1")).unwrap(), None);
        let added = format!("{}[jobs]\ncpu_milli = 4000\n", new("a:1"));
        std::fs::write(&path, &added).unwrap();
        assert_eq!(configure(&path, &new("a:1")).unwrap(), None);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), added);
        let moved = format!("region = \"north\"\n{}", new("a:1"));
        let beside = configure(&path, &moved).unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(beside).unwrap(), added);
        std::fs::write(&path, &added).unwrap();
        let beside = configure(&path, &new("b:1")).unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(beside).unwrap(), added);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), new("b:1"));
    }

    #[test]
    fn an_identity_is_replaced_on_request_and_a_brokers_ca_never() {
        let dir = tempfile::tempdir().unwrap();
        let pki = dir.path();
        check(pki, false).unwrap();
        std::fs::write(pki.join("node.pem"), "").unwrap();
        assert!(matches!(check(pki, false), Err(JoinError::Taken(_))));
        check(pki, true).unwrap();
        std::fs::write(pki.join("ca.key.pem"), "").unwrap();
        for force in [false, true] {
            assert!(matches!(check(pki, force), Err(JoinError::BrokersOwn(_))));
        }
    }

    #[test]
    fn a_node_that_runs_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(stopped(dir.path()).unwrap().is_none());
        let lock = File::create(dir.path().join("lock")).unwrap();
        assert!(stopped(dir.path()).unwrap().is_some());
        lock.lock().unwrap();
        assert!(matches!(stopped(dir.path()), Err(JoinError::Running(_))));
    }
}
