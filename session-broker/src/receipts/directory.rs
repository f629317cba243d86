//! Whose keys are whose: rows of the ledger, signed as an entry of the log.
//!
//! Each change of the rows is a new edition, with the next number. Every broker signs the same bytes for
//! an edition, so that it has one place in the log whoever appends it. One of many keys has pages, of which a change
//! touches one; rows are read and signed again only when the number has changed. The broker's own keys (that of the
//! log, and that with which it issues) are put in by itself.

use super::entry::Entry;
use super::{LogError, Receipts};
use crate::ledger::{Applied, AuditRow, DirectoryKey, DirectoryRows, LogChange, Op, StoreError};
use nearlight_proof::encoding::{hex, sha256};
use nearlight_proof::key::{KeyId, PublicKey, SecretKey};
use nearlight_proof::log::tree::Hash;
use nearlight_proof::receipt::directory::{self, Directory, Edition, PAGE_KEYS, PAGES_MAX, Role};
use nearlight_protocol::unit::MonoTime;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Keys of a directory: so many pages of an entry of the log each, some 7 MB that verifiers fetch.
pub(crate) const KEYS_MAX: u32 = (PAGE_KEYS * PAGES_MAX) as u32;
/// For how long an edition is taken for the newest.
const FRESH_US: u64 = 2_000_000;
/// How often is looked whether the newest edition stands in the log.
const KEEP_EVERY: Duration = Duration::from_secs(2);
/// Until when the broker's own keys count, Unix seconds: the end of the year 2100.
pub(crate) const FAR_S: u64 = 4_133_980_800;

/// An edition.
#[derive(Clone, Debug)]
pub(crate) struct KnownKeys {
    /// As it is checked against.
    pub(crate) directory: Directory,
    /// As it stands in the log, and as verifiers read it.
    pub(crate) edition: Edition,
}

/// The edition that was read last.
#[derive(Debug)]
pub(super) struct Known {
    keys: Arc<KnownKeys>,
    read_at: MonoTime,
    /// How often keys had been changed here before it was read.
    changes: u64,
}

/// What stands in the log of the directory.
#[derive(Debug, Default)]
pub(super) struct Logged {
    serial: u64,
    /// SHA-256 of the entries of that edition.
    entries: HashSet<Hash>,
}

impl Receipts {
    /// The newest edition, at most two seconds old.
    pub(crate) async fn keys(&self) -> Result<Arc<KnownKeys>, LogError> {
        let mut known = self.known.lock().await;
        let (read_at, changes) = (self.clock.now(), self.changes.load(Ordering::Acquire));
        if let Some(known) = known.as_ref()
            && known.changes == changes
            && read_at.micros_since(known.read_at) < FRESH_US
        {
            return Ok(known.keys.clone());
        }
        let keys = self.read_keys(known.as_ref().map(|of| &of.keys)).await?;
        *known = Some(Known {
            keys: keys.clone(),
            read_at,
            changes,
        });
        Ok(keys)
    }

    /// The newest edition: what is known, if it is still that.
    async fn read_keys(&self, known: Option<&Arc<KnownKeys>>) -> Result<Arc<KnownKeys>, LogError> {
        let serial = self.ledger.directory_serial().await?;
        match known.filter(|known| known.directory.serial == serial) {
            Some(same) => Ok(same.clone()),
            None => {
                let rows = self.ledger.directory().await?;
                let (keys, before) = (self.keys.clone(), known.cloned());
                // Thousands of keys are megabytes to write, sign and read again.
                let sign = move || signed(&rows, &keys.directory, before.as_deref());
                let read = tokio::task::spawn_blocking(sign).await;
                Ok(Arc::new(read.map_err(std::io::Error::other)??))
            }
        }
    }

    /// The key that signs the directory: what a verifier is to be given.
    pub(crate) fn directory_key(&self) -> PublicKey {
        self.keys.directory.public()
    }

    /// Puts a key in, or says that it does not count any more; who asks for keys sees it at once.
    pub(crate) async fn change_keys(
        &self,
        change: LogChange,
        audit: Option<Box<AuditRow>>,
    ) -> Result<Applied, LogError> {
        let done = self.ledger.write(vec![Op::Log { change, audit }]).await?;
        self.keys_changed();
        Ok(done.into_iter().next().unwrap_or(Applied::Missing))
    }

    /// Keys came in or went otherwise; who asks for them sees it at once.
    pub(crate) fn keys_changed(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    pub(super) fn now_s(&self) -> u64 {
        self.clock.unix_ms() / 1000
    }

    /// Puts the broker's own keys in. Whether the newest edition stands in the log.
    pub(super) async fn keep_directory(&self, logged: &mut Logged) -> Result<(), LogError> {
        let mut known = self.keys().await?;
        let own = [
            (self.keys.log.public(), Role::Log),
            (self.keys.broker.public(), Role::Broker),
            (self.keys.referee.public(), Role::Referee),
        ];
        let lacks =
            |(key, role): &&(PublicKey, Role)| known.directory.find(&key.id(), *role).is_none();
        let lacking: Vec<_> = own.iter().filter(lacks).copied().collect();
        for (key, role) in &lacking {
            let change = LogChange::PutKey {
                key: DirectoryKey {
                    key: hex(key.as_bytes()),
                    role: role_name(*role),
                    operator: self.operator.clone(),
                    licence: None,
                    from_s: 0,
                    until_s: FAR_S,
                    revoked_at_s: None,
                },
                most: KEYS_MAX,
                at_s: self.now_s(),
            };
            self.change_keys(change, None).await?;
        }
        if !lacking.is_empty() {
            known = self.keys().await?;
        }
        if known.directory.serial == logged.serial {
            return Ok(());
        }
        // Pages first: an edition in the log has them all before it.
        for bytes in known.edition.entries() {
            let of = sha256(&[bytes]);
            if logged.entries.contains(&of) {
                continue;
            }
            let entry = Entry::read(bytes.to_vec());
            let entry = entry.map_err(|error| StoreError::Corrupt(error.to_string()))?;
            self.append(entry).await?;
            logged.entries.insert(of);
        }
        let now: HashSet<Hash> = known
            .edition
            .entries()
            .map(|bytes| sha256(&[bytes]))
            .collect();
        logged.entries.retain(|of| now.contains(of));
        logged.serial = known.directory.serial;
        Ok(())
    }
}

/// The edition of these rows. What is as it was before is taken from there.
fn signed(
    rows: &DirectoryRows,
    key: &SecretKey,
    before: Option<&KnownKeys>,
) -> Result<KnownKeys, LogError> {
    let corrupt = |what: String| LogError::from(StoreError::Corrupt(what));
    let entries: Option<Vec<directory::Entry>> = rows.keys.iter().map(entry_of).collect();
    let mut entries = entries.ok_or_else(|| corrupt("directory_key".to_owned()))?;
    if entries.len() <= PAGE_KEYS {
        // As brokers of before pages have it.
        entries.sort_by(|a, b| (&a.key, role_name(a.role)).cmp(&(&b.key, role_name(b.role))));
    }
    let of = (rows.serial, rows.issued_at_s);
    let edition = Edition::sign(of, entries, key, before.map(|before| &before.edition));
    let edition = edition.map_err(|error| corrupt(error.to_string()))?;
    let directory = Directory::open(&edition.to_bytes(), &key.public());
    Ok(KnownKeys {
        directory: directory.map_err(|error| corrupt(error.to_string()))?,
        edition,
    })
}

/// Has each edition of the directory stand in the log.
pub(super) async fn keep(receipts: Arc<Receipts>, stop: CancellationToken) {
    let mut pause = tokio::time::interval(KEEP_EVERY);
    let mut logged = Logged::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = pause.tick() => {}
        }
        if let Err(error) = receipts.keep_directory(&mut logged).await {
            tracing::debug!(%error, "the directory is not in the log yet");
        }
    }
}

/// A role as the directory has it.
pub(crate) fn role_name(role: Role) -> String {
    serde_json::to_value(role)
        .ok()
        .and_then(|name| name.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn entry_of(row: &DirectoryKey) -> Option<directory::Entry> {
    Some(directory::Entry {
        key: row.key.clone(),
        role: serde_json::from_value(row.role.clone().into()).ok()?,
        operator: row.operator.clone(),
        licence: match &row.licence {
            Some(licence) => Some(KeyId::from_hex(licence)?),
            None => None,
        },
        from_s: row.from_s,
        until_s: row.until_s,
        revoked_at_s: row.revoked_at_s,
    })
}
