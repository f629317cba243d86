//! What this checker's receipts rest on, on its own disk: there before the receipt is placed, put beside the log until all of
//! it is taken, and kept for as long as one can dispute a failure.
//!
//! ```text
//!   Due --each piece was taken--> Taken, of a failure --its time is over, or another needs the room--> gone
//!    |  ^                           |
//!    |  `--somebody disputes it-----'
//!    |-- each piece was taken, of a pass ------> gone: nobody says of a pass that nothing was shown
//!    `-- no log has its receipt after a day ---> gone, unless it was taken before
//! ```
//!
//! One file a receipt, `LEAF.fail.due` and the like: the receipt and its pieces, each after its length. What is due again is
//! `again`. Whatever cannot be read or put at this moment waits, and what is behind it has its turn.
//!
//! **Invariants.** A receipt is placed only once what it rests on is synced here: neither a kill nor a reboot, nor a broker that is
//! full or loses things, leaves a checker without what shows that it is right. What is here has a bound in bytes and days.
//!
//! **What it does not know:** who disputes, and what a referee makes of it.

use crate::broker::{Broker, Refused};
use crate::failure::Failure;
use crate::run::backoff;
use nearlight_kit::files::{is_draft, write_atomic};
use nearlight_proof::encoding::hex;
use nearlight_proof::log::tree;
use nearlight_protocol::problem::ProblemType;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

const DIR: &str = "evidence";
/// What files in their states end with.
const DUE: &str = "due";
const TAKEN: &str = "taken";
const AGAIN: &str = "again";
/// Room for it: some 450 openings of full size.
const BYTES_MAX: u64 = 8 << 30;
/// The time in which one can dispute, as brokers keep evidence.
const KEPT_FOR: Duration = Duration::from_secs(90 * 24 * 3600);
/// After which a receipt that no log has will not be there any more: its duty is another checker's.
const UNPLACED_FOR: Duration = Duration::from_secs(24 * 3600);
/// Between two looks for what is due.
const EVERY: Duration = Duration::from_secs(2);
/// Between two looks whether a failure is disputed.
const DISPUTES_EVERY: Duration = Duration::from_secs(3600);
/// Such questions until what is due has its turn.
const ASKED_AT_ONCE: usize = 20;
/// Tries of a piece in a row, until others have their turn.
const TRIES: u32 = 6;
/// Between two such questions: hundreds at once are more than one address may ask.
const PACE: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub struct Evidence {
    dir: PathBuf,
    bytes_max: u64,
    /// Held while files are written or taken away: what is there is counted.
    writing: Mutex<()>,
}

/// A file, and what it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bundle {
    path: PathBuf,
    leaf: String,
    fails: bool,
    is_due: bool,
    /// Whether it was taken before, and is due again.
    was_taken: bool,
    bytes: u64,
    at: SystemTime,
}

/// What putting the pieces of one receipt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    Taken,
    /// No log has the receipt, or not yet.
    Unplaced,
    /// It could not be read or put now: nothing is known of it.
    Later,
    /// This copy stops.
    Stopped,
}

impl Evidence {
    /// The evidence in a checker's directory.
    ///
    /// # Errors
    /// [`Failure::File`].
    pub fn open(data: &Path) -> Result<Self, Failure> {
        Self::with_room(data, BYTES_MAX)
    }

    fn with_room(data: &Path, bytes_max: u64) -> Result<Self, Failure> {
        let dir = data.join(DIR);
        let file = |source| Failure::File {
            path: dir.clone(),
            source,
        };
        fs::create_dir_all(&dir).map_err(file)?;
        for entry in fs::read_dir(&dir).map_err(file)?.flatten() {
            if is_draft(&entry.file_name()) {
                // Cut off before it was whole; its receipt was never placed.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Self {
            dir,
            bytes_max,
            writing: Mutex::default(),
        })
    }

    /// Keeps what a receipt that is not placed yet rests on; of a failure for the time in which one can dispute.
    ///
    /// # Errors
    /// [`Failure::File`]: then the receipt has nothing to rest on.
    pub fn keep(&self, receipt: &[u8], pieces: &[Vec<u8>], fails: bool) -> Result<(), Failure> {
        if pieces.is_empty() {
            return Ok(());
        }
        let leaf = hex(&tree::leaf(receipt));
        let path = self.path(&leaf, fails, DUE);
        let file = |source| Failure::File {
            path: path.clone(),
            source,
        };
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = Vec::new();
        for part in std::iter::once(receipt).chain(pieces.iter().map(Vec::as_slice)) {
            let length =
                u32::try_from(part.len()).map_err(|_| file(io::ErrorKind::FileTooLarge.into()))?;
            bytes.extend(length.to_be_bytes());
            bytes.extend(part);
        }
        self.make_room(bytes.len() as u64).map_err(file)?;
        write_atomic(&path, &bytes, 0o600).map_err(file)
    }

    /// Puts what is due beside the log, until `wait` says that it is to stop.
    pub fn put(&self, broker: &Broker, wait: impl Fn(Duration) -> bool) {
        let (mut looked, mut asked_of) = (Instant::now(), self.answered());
        let mut known = HashSet::new();
        // What was not taken: how often, and when the next try is.
        let mut later: HashMap<String, (u32, Instant)> = HashMap::new();
        loop {
            let now = asked_of.len().min(ASKED_AT_ONCE);
            self.see_disputes(broker, &mut known, (asked_of.drain(..now), &wait));
            for bundle in self.all().into_iter().filter(|of| of.is_due) {
                let waits = later.get(&bundle.leaf);
                if waits.is_some_and(|(_, next)| Instant::now() < *next) {
                    continue;
                }
                match self.put_one(broker, &bundle, &wait) {
                    Put::Taken => {
                        later.remove(&bundle.leaf);
                        self.taken(&bundle);
                    }
                    Put::Unplaced if !bundle.was_taken && is_over(&bundle, UNPLACED_FOR) => {
                        tracing::warn!(
                            leaf = bundle.leaf,
                            "no log has the receipt; its evidence goes"
                        );
                        later.remove(&bundle.leaf);
                        self.remove(&bundle);
                    }
                    Put::Unplaced | Put::Later => {
                        let failed = waits.map_or(1, |(failed, _)| failed + 1);
                        let next = Instant::now() + backoff(failed, rand::random());
                        later.insert(bundle.leaf, (failed, next));
                    }
                    Put::Stopped => return,
                }
            }
            self.all()
                .iter()
                .filter(|of| is_over(of, KEPT_FOR))
                .for_each(|of| self.remove(of));
            if asked_of.is_empty() && looked.elapsed() >= DISPUTES_EVERY {
                (looked, asked_of) = (Instant::now(), self.answered());
            }
            if wait(EVERY) {
                return;
            }
        }
    }

    fn put_one(&self, broker: &Broker, bundle: &Bundle, wait: &impl Fn(Duration) -> bool) -> Put {
        // A piece is large, and the question is not. Without an answer the piece is sent.
        if matches!(broker.has(&bundle.leaf), Ok(false)) {
            return Put::Unplaced;
        }
        let read = fs::read(&bundle.path);
        let read = read.and_then(|of| pieces(&of).ok_or(io::ErrorKind::InvalidData.into()));
        let pieces = match read {
            Ok(pieces) => pieces,
            Err(error) => {
                tracing::error!(%error, file = %bundle.path.display(), "evidence cannot be read; it stays where it is");
                return Put::Later;
            }
        };
        for piece in pieces {
            let mut failed = 0;
            loop {
                match broker.put_evidence(&piece, Some(&bundle.leaf)) {
                    Ok(()) | Err(Refused::Said(ProblemType::EvidenceExpired, _)) => break,
                    // A log that does not have the receipt has nothing that names the piece.
                    Err(Refused::Said(ProblemType::ReceiptRefused | ProblemType::NotFound, _)) => {
                        return Put::Unplaced;
                    }
                    Err(error) => {
                        if failed == 0 {
                            tracing::warn!(%error, leaf = bundle.leaf, "evidence is not taken yet");
                        }
                        failed += 1;
                        if failed == TRIES {
                            return Put::Later;
                        }
                        if wait(backoff(failed, rand::random())) {
                            return Put::Stopped;
                        }
                    }
                }
            }
        }
        Put::Taken
    }

    /// What is disputed is put once more: whoever has to decide looks at what is beside the log then.
    fn see_disputes(
        &self,
        broker: &Broker,
        known: &mut HashSet<String>,
        (bundles, wait): (impl Iterator<Item = Bundle>, &impl Fn(Duration) -> bool),
    ) {
        for bundle in bundles {
            if wait(PACE) {
                return;
            }
            match broker.about(&bundle.leaf) {
                Ok(later) if later.iter().any(|leaf| !known.contains(leaf)) => {
                    known.extend(later);
                    let due = self.path(&bundle.leaf, bundle.fails, AGAIN);
                    if let Err(error) = fs::rename(&bundle.path, due) {
                        tracing::warn!(%error, leaf = bundle.leaf, "evidence is not put again");
                    }
                }
                Ok(_) => {}
                // The next look is another chance.
                Err(error) => {
                    return tracing::debug!(%error, "whether receipts are disputed is not known");
                }
            }
        }
    }

    /// What was taken, and may be disputed.
    fn answered(&self) -> Vec<Bundle> {
        self.all().into_iter().filter(|of| !of.is_due).collect()
    }

    fn taken(&self, bundle: &Bundle) {
        if !bundle.fails {
            return self.remove(bundle);
        }
        let taken = self.path(&bundle.leaf, true, TAKEN);
        if let Err(error) = fs::rename(&bundle.path, taken) {
            tracing::warn!(%error, leaf = bundle.leaf, "evidence that was taken is put once more");
        }
    }

    fn remove(&self, bundle: &Bundle) {
        if let Err(error) = fs::remove_file(&bundle.path) {
            tracing::warn!(%error, file = %bundle.path.display(), "evidence cannot be removed");
        }
    }

    /// Takes the oldest away that the log has, until there is room for so many bytes more.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let all = self.all();
        let mut used = all.iter().map(|of| of.bytes).sum::<u64>() + bytes;
        for bundle in all.iter().filter(|of| !of.is_due) {
            if used <= self.bytes_max {
                break;
            }
            fs::remove_file(&bundle.path)?;
            used -= bundle.bytes;
        }
        match used <= self.bytes_max {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "too much waits for the broker to take it",
            )),
        }
    }

    /// What is here, the oldest first.
    fn all(&self) -> Vec<Bundle> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut all: Vec<Bundle> = entries.filter_map(|of| bundle(&of)).collect();
        all.sort_by(|a, b| (a.at, &a.leaf).cmp(&(b.at, &b.leaf)));
        all
    }

    fn path(&self, leaf: &str, fails: bool, state: &str) -> PathBuf {
        let finding = if fails { "fail" } else { "pass" };
        self.dir.join(format!("{leaf}.{finding}.{state}"))
    }
}

fn bundle(entry: &fs::DirEntry) -> Option<Bundle> {
    let name = entry.file_name().into_string().ok()?;
    let mut parts = name.split('.');
    let leaf = parts.next().filter(|leaf| leaf.len() == 64)?.to_owned();
    let fails = match parts.next()? {
        "fail" => true,
        "pass" => false,
        _ => return None,
    };
    let (is_due, was_taken) = match (parts.next()?, parts.next()) {
        (DUE, None) => (true, false),
        (TAKEN, None) => (false, true),
        (AGAIN, None) => (true, true),
        _ => return None,
    };
    let known = entry.metadata().ok()?;
    Some(Bundle {
        path: entry.path(),
        leaf,
        fails,
        is_due,
        was_taken,
        bytes: known.len(),
        at: known.modified().ok()?,
    })
}

fn is_over(bundle: &Bundle, after: Duration) -> bool {
    bundle.at.elapsed().is_ok_and(|age| age >= after)
}

/// The pieces of a file, behind its receipt.
fn pieces(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        parts.push(rest.get(..length)?.to_vec());
        bytes = &rest[length..];
    }
    (bytes.is_empty() && !parts.is_empty()).then(|| parts.split_off(1))
}

#[cfg(test)]
mod test {
    use super::*;

    const PIECE: usize = 100;

    fn pieces_of(n: u8) -> Vec<Vec<u8>> {
        vec![vec![n; PIECE], vec![n + 1; PIECE]]
    }

    #[test]
    fn what_is_not_taken_is_never_given_up_for_what_is_new() {
        let dir = tempfile::tempdir().unwrap();
        // Room for two of them.
        let kept = Evidence::with_room(dir.path(), 2 * (2 * PIECE as u64 + 20)).unwrap();
        kept.keep(b"one", &pieces_of(1), true).unwrap();
        kept.keep(b"two", &pieces_of(2), true).unwrap();
        assert!(
            kept.keep(b"three", &pieces_of(3), true).is_err(),
            "both are due"
        );
        let one = kept
            .all()
            .into_iter()
            .find(|of| of.leaf == hex(&tree::leaf(b"one")));
        kept.taken(&one.unwrap());
        kept.keep(b"three", &pieces_of(3), false).unwrap();
        let leaves: Vec<String> = kept.all().into_iter().map(|of| of.leaf).collect();
        assert!(!leaves.contains(&hex(&tree::leaf(b"one"))) && leaves.len() == 2);
        let three = kept.all().into_iter().find(|of| !of.fails).unwrap();
        let read = fs::read(&three.path).unwrap();
        assert_eq!(pieces(&read), Some(pieces_of(3)));
        assert_eq!(pieces(&read[..read.len() - 1]), None);
        assert_eq!(pieces(b""), None);
        kept.taken(&three);
        assert_eq!(kept.all().len(), 1, "of a pass nothing is kept");
        fs::write(kept.dir.join(".x.0123456789abcdef"), "cut off").unwrap();
        let again = Evidence::open(dir.path()).unwrap();
        assert_eq!(again.all(), kept.all());
        assert_eq!(fs::read_dir(&again.dir).unwrap().count(), 1);
    }
}
