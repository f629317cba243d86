//! What a witness has on its disk: its key, and of each log the last head that it took. One file, written whole.
//!
//! **Invariants.** A head is on the disk, synced, before it is signed: whatever ends the program, it goes on from the last
//! head that it signed or from a later one. The key and what it has signed are one file: neither is there without the
//! other, and a key that comes back without its heads is another key. One process has the file at a time.
//!
//! **What it does not know:** who asks, and who reads what was signed.

use crate::failure::Failure;
use nearlight_kit::files::write_atomic;
use nearlight_proof::encoding::{array_from_hex, hex, sha256};
use nearlight_proof::key::SecretKey;
use nearlight_proof::log::checkpoint::Checkpoint;
use nearlight_proof::log::cosignature;
use nearlight_proof::log::note::{Algorithm, Note, NoteSignature, VerifierKey};
use nearlight_proof::log::witness::{Candidate, NotCosigned, next};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

const FILE: &str = "witness.json";
const LOCK: &str = "witness.lock";
const EVIDENCE: &str = "witness-evidence";
/// Logs that one witness follows: a restored log goes on under another name.
const LOGS_MAX: usize = 64;
/// Contradictions that are kept, some 2 KB each: the first ones prove enough.
const EVIDENCE_MAX: usize = 64;

/// As it is on the disk.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    /// What the key is made of, hex.
    seed: String,
    /// By the log's name.
    logs: BTreeMap<String, Seen>,
}

/// Without the seed, which is nobody's to read.
impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.logs).finish()
    }
}

/// A log that was cosigned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    /// Its key.
    log: String,
    /// The last head that was taken, as the log signed it.
    head: String,
}

impl Seen {
    fn read(&self) -> Option<(VerifierKey, Checkpoint)> {
        let log = VerifierKey::parse(&self.log)?;
        let note = Note::parse(self.head.as_bytes()).ok()?;
        let head = Checkpoint::open(&note, &log).ok()?;
        Some((log, head))
    }
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum Unsigned {
    /// The head does not go on from the last one, or is not the log's.
    #[error(transparent)]
    Refused(#[from] NotCosigned),
    /// The log had another key.
    #[error(
        "the log {0} is signed with another key than the one that was cosigned before; if its operator has a reason for that, the log needs another name"
    )]
    OtherKey(String),
    /// There is no room for another log.
    #[error("{LOGS_MAX} logs are followed already, which is all there is room for")]
    Full,
    /// The head cannot be kept, so it is not signed.
    #[error("the head is not on the disk, so it is not signed")]
    Disk(#[source] Failure),
}

/// A contradiction, for whoever is to see it.
#[derive(Debug, Serialize)]
struct Contradiction<'a> {
    /// The log's key.
    log: String,
    /// What was cosigned, as the log signed it.
    cosigned: &'a str,
    /// What it asked to have cosigned after that.
    refused: &'a str,
    /// What is wrong with it.
    why: String,
    /// When, Unix seconds.
    found_unix_s: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Kept {
    data: PathBuf,
    secret: SecretKey,
    stored: Stored,
    seen: BTreeMap<String, (VerifierKey, Checkpoint)>,
    /// Held while this process may sign.
    _lock: File,
}

impl Kept {
    /// The witness of a directory; a new one where there is none.
    ///
    /// # Errors
    /// [`Failure::WitnessRuns`], [`Failure::WitnessDamaged`], [`Failure::File`].
    pub fn open(data: &Path) -> Result<Self, Failure> {
        let path = data.join(FILE);
        std::fs::create_dir_all(data).map_err(|source| Failure::File {
            path: data.to_owned(),
            source,
        })?;
        let lock = lock(&data.join(LOCK))?;
        let stored = match read(&path)? {
            Some(stored) => stored,
            None => {
                let stored = Stored {
                    seed: hex(&rand::random::<[u8; 32]>()),
                    logs: BTreeMap::new(),
                };
                write(data, &stored)?;
                stored
            }
        };
        let damaged = || Failure::WitnessDamaged(path.clone());
        let mut seen = BTreeMap::new();
        for (name, of) in &stored.logs {
            let (log, head) = of.read().ok_or_else(damaged)?;
            if head.origin != *name {
                return Err(damaged());
            }
            seen.insert(name.clone(), (log, head));
        }
        Ok(Self {
            data: data.to_owned(),
            secret: secret(&stored, &path)?,
            stored,
            seen,
            _lock: lock,
        })
    }

    /// Its key, as policies and the settings of brokers have it.
    #[must_use]
    pub fn key(&self) -> VerifierKey {
        key_of(&self.secret)
    }

    fn name(&self) -> String {
        name_of(&self.secret)
    }

    /// The last head of a log that was taken, if any was.
    #[must_use]
    pub fn seen(&self, log: &VerifierKey) -> Option<&Checkpoint> {
        self.seen.get(log.name()).map(|(_, head)| head)
    }

    /// Whether other logs were cosigned, and this one never.
    #[must_use]
    pub fn is_new(&self, log: &VerifierKey) -> bool {
        !self.seen.is_empty() && !self.seen.contains_key(log.name())
    }

    /// Keeps a head, and signs it then: the line of this witness for it.
    ///
    /// # Errors
    /// [`Unsigned`]: then nothing was signed.
    pub fn cosign(
        &mut self,
        log: &VerifierKey,
        candidate: &Candidate,
        unix_s: u64,
    ) -> Result<(Checkpoint, NoteSignature), Unsigned> {
        let known = self.seen.get(log.name());
        if known.is_some_and(|(key, _)| key != log) {
            return Err(Unsigned::OtherKey(log.name().to_owned()));
        }
        let head = next(known.map(|(_, head)| head), candidate, log)?;
        if known.is_none() && self.seen.len() >= LOGS_MAX {
            return Err(Unsigned::Full);
        }
        if known.is_none_or(|(_, seen)| *seen != head) {
            // Only the log's own line: strangers' would make the file grow.
            let mut text = candidate.note.text().to_owned();
            text.push('\n');
            candidate
                .note
                .by(log)
                .for_each(|line| text.push_str(&line.to_string()));
            let of = Seen {
                log: log.to_string(),
                head: text,
            };
            let mut stored = self.stored.clone();
            stored.logs.insert(head.origin.clone(), of);
            write(&self.data, &stored).map_err(Unsigned::Disk)?;
            self.stored = stored;
            let of = (log.clone(), head.clone());
            self.seen.insert(head.origin.clone(), of);
        }
        let line = cosignature::sign(candidate.note.text(), &self.name(), &self.secret, unix_s);
        Ok((head, line.expect("the name is one")))
    }

    /// The last head that was taken, with the line of this witness once more.
    #[must_use]
    pub fn last(&self, log: &VerifierKey, unix_s: u64) -> Option<Note> {
        let (key, _) = self.seen.get(log.name())?;
        let kept = self.stored.logs.get(key.name())?;
        let mut note = Note::parse(kept.head.as_bytes()).ok()?;
        let line = cosignature::sign(note.text(), &self.name(), &self.secret, unix_s)?;
        note.add(line);
        Some(note)
    }

    /// Keeps what contradicts the last head; the file, which is the same for the same heads.
    ///
    /// # Errors
    /// [`Failure::File`].
    pub fn keep_evidence(
        &self,
        log: &VerifierKey,
        candidate: &Candidate,
        (why, unix_s): (&NotCosigned, u64),
    ) -> Result<PathBuf, Failure> {
        let cosigned = self.stored.logs.get(log.name());
        let cosigned = cosigned.map_or("", |seen| seen.head.as_str());
        let refused = candidate.to_string();
        let digest = hex(&sha256(&[
            cosigned.as_bytes(),
            candidate.note.text().as_bytes(),
        ]));
        let dir = self.data.join(EVIDENCE);
        let path = dir.join(format!("{}.json", digest.get(..16).unwrap_or_default()));
        let file = |source| Failure::File {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(&dir).map_err(file)?;
        let count = std::fs::read_dir(&dir).map_err(file)?.count();
        if !path.exists() && count < EVIDENCE_MAX {
            let of = Contradiction {
                log: log.to_string(),
                cosigned,
                refused: &refused,
                why: why.to_string(),
                found_unix_s: unix_s,
            };
            let bytes = serde_json::to_vec_pretty(&of).unwrap_or_default();
            write_atomic(&path, &bytes, 0o644).map_err(file)?;
        }
        Ok(path)
    }
}

/// The key of the witness in a directory, whether one runs or not; a new one where there is none.
///
/// # Errors
/// Those of [`Kept::open`].
pub fn key_in(data: &Path) -> Result<VerifierKey, Failure> {
    let path = data.join(FILE);
    match read(&path)? {
        Some(stored) => Ok(key_of(&secret(&stored, &path)?)),
        None => Ok(Kept::open(data)?.key()),
    }
}

/// What `checker status` says of the witness in a directory, whether one runs or not; `None` where there is none.
#[must_use]
pub fn standing(data: &Path) -> Option<String> {
    let bytes = std::fs::read(data.join(FILE)).ok()?;
    let stored: Stored = serde_json::from_slice(&bytes).ok()?;
    let mut text = String::new();
    for of in stored.logs.values() {
        let (log, head) = of.read()?;
        text += &format!("cosigned {} entries of the log {}\n", head.size, log.name());
    }
    let evidence = std::fs::read_dir(data.join(EVIDENCE)).map_or(0, Iterator::count);
    if evidence > 0 {
        let dir = data.join(EVIDENCE);
        text += &format!(
            "refused {evidence} heads that contradict what was cosigned; they are in {}\n",
            dir.display()
        );
    }
    Some(text)
}

fn name_of(secret: &SecretKey) -> String {
    let id = secret.public().id().to_string();
    format!("nearlight-witness-{}", id.get(..16).unwrap_or_default())
}

fn key_of(secret: &SecretKey) -> VerifierKey {
    let key = VerifierKey::new(&name_of(secret), Algorithm::CosignatureV1, secret.public());
    key.expect("letters, digits and dashes are a name")
}

fn secret(stored: &Stored, path: &Path) -> Result<SecretKey, Failure> {
    let seed = array_from_hex(&stored.seed);
    let seed = seed.ok_or_else(|| Failure::WitnessDamaged(path.to_owned()))?;
    Ok(SecretKey::from_seed(&seed))
}

/// `None` if there is none.
fn read(path: &Path) -> Result<Option<Stored>, Failure> {
    match std::fs::read(path) {
        Ok(bytes) => {
            let stored = serde_json::from_slice(&bytes);
            stored
                .map(Some)
                .map_err(|_| Failure::WitnessDamaged(path.to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Failure::File {
            path: path.to_owned(),
            source,
        }),
    }
}

fn write(data: &Path, stored: &Stored) -> Result<(), Failure> {
    let path = data.join(FILE);
    let bytes = serde_json::to_vec_pretty(stored).unwrap_or_default();
    write_atomic(&path, &bytes, 0o600).map_err(|source| Failure::File { path, source })
}

fn lock(path: &Path) -> Result<File, Failure> {
    let file = |source| Failure::File {
        path: path.to_owned(),
        source,
    };
    let held = File::create(path).map_err(file)?;
    match held.try_lock() {
        Ok(()) => Ok(held),
        Err(TryLockError::WouldBlock) => Err(Failure::WitnessRuns(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(file(source)),
    }
}

#[cfg(test)]
mod test;
