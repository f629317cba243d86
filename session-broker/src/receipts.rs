//! The log of receipts: it takes signed envelopes, writes them into a Merkle tree that anybody can read,
//! and signs how large the tree is.
//!
//! ```text
//!   POST /v1/receipts -> admission (form, keys, signatures) -> queue -> sequencer
//!      sequencer: batch -> staged in the store -> swap of (size, root) in the ledger -> tiles in the store
//!                 -> checkpoint signed, kept, shown -> answered with the place
//! ```
//!
//! [`edge`] is what an append needs and makes, [`store`] where tiles are, [`reader`] how they are read,
//! [`stage`] what is written ahead, [`sequencer`] the order of it all, [`entry`] what an envelope is to the
//! log, [`witnesses`] who cosigns, [`directory`] whose keys are whose, [`keys`] what this broker signs with, [`issue`]
//! what it says itself, [`shares`] how much it takes of others.
//!
//! **Invariants.** Nothing is signed that the ledger has not swapped: two replicas, one of them paused
//! anywhere, never sign two trees. Nothing is answered that a `kill -9` can take back. Whatever fails
//! makes the sequencer forget what it believed, and load again. A log whose published size is more than
//! the ledger knows catches up from its own tiles, or signs nothing.
//!
//! **What it does not know:** whether what a receipt says is true.

mod batch;
mod checkpoints;
mod copy;
mod directory;
mod edge;
mod entry;
mod evidence;
mod issue;
mod keys;
mod objects;
mod reader;
mod recent;
mod sequencer;
mod shares;
mod stage;
mod store;
mod witnesses;

pub(crate) use copy::copy;
use directory::Known;
pub(crate) use directory::{FAR_S, KEYS_MAX, role_name};
pub(crate) use entry::{Entry, NotAdmitted};
pub(crate) use evidence::EvidenceError;
pub(crate) use keys::Keys;
pub(crate) use sequencer::Published;
pub(crate) use witnesses::LINES_BYTES_MAX;

use crate::checks::ChainSecret;
use crate::config::{LogAt, LogSettings};
use crate::ledger::{Ledger, ReceiptQuery, StoreError};
use crate::time::Clock;
use batch::Job;
use nearlight_kit::shutdown::Shutdown;
use nearlight_proof::beacon::anchor::Anchor;
use nearlight_proof::beacon::used::Used;
use nearlight_proof::encoding::hex;
use nearlight_proof::key::KeyId;
use nearlight_proof::log::note::Note;
use nearlight_proof::log::note::{Algorithm, VerifierKey};
use nearlight_proof::log::proof::LogProof;
use nearlight_proof::log::tile::{TILE_WIDTH, Tile};
use nearlight_proof::log::tree;
use nearlight_proof::receipt::statement::Statement;
use objects::Objects;
use recent::Recent;
use sequencer::Sequencer;
use shares::Shares;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use store::{Directory, Store};
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};
use witnesses::Witnesses;

/// Entries that wait for the sequencer; past it callers are told to come back.
const WAITING_MAX: usize = 4096;
/// Reads of tiles, bundles and entries at a time, and how long one waits for its turn. Anybody may ask for them, and each
/// has a thread for as long as the store takes.
const READS_MAX: usize = 32;
const TURN_WITHIN: Duration = Duration::from_secs(2);
/// How long an entry may wait for its place.
const PLACED_WITHIN: Duration = Duration::from_secs(15);

/// Why the log does not answer as it should.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// Too many entries wait.
    #[error("too many receipts wait for their place; come back in a moment")]
    Busy,
    /// It waits too long, and may get its place yet.
    #[error("the receipt has no place yet; come back in a moment")]
    Late,
    /// Too much of it is read.
    #[error("too much of the log is being read; come back in a moment")]
    Crowded,
    /// The store failed.
    #[error("the store of the log failed: {0}; look at what `log.dir` or `log.objects` names")]
    Store(Arc<io::Error>),
    /// The ledger failed.
    #[error("the ledger failed while the log was written: {0}")]
    Ledger(Arc<StoreError>),
    /// Another broker appended meanwhile.
    #[error("another broker appended at the same time")]
    RaceLost,
    /// The ledger's log is signed by another key.
    #[error(
        "the log in the ledger is signed with another key; copy receipts.key from the PKI directory of the broker that began it"
    )]
    OtherKey,
    /// Tiles do not make the tree that the ledger has.
    #[error(
        "the tiles do not make the tree of {0} entries that the ledger has; restore the log's directory from a back-up"
    )]
    Damaged(u64),
    /// More was published than ledger and tiles have.
    #[error(
        "a checkpoint of {published} entries was published, and the ledger has {size}; restore the tiles, or restore with --restore, which goes on under another name"
    )]
    Behind {
        /// What was published.
        published: u64,
        /// What the ledger has.
        size: u64,
    },
    /// The ledger went back, and what it lost is in the tiles: the sequencer tells it again at its next look.
    #[error(
        "the ledger has {size} of the {published} entries that the log published, as after a failover; it catches up from the tiles"
    )]
    CatchingUp {
        /// What was published.
        published: u64,
        /// What the ledger has.
        size: u64,
    },
    /// What is left of the disk is the broker's own.
    #[error(
        "the disk of the log is almost full: it takes the broker's own entries alone; make room where `log.dir` is"
    )]
    Full,
    /// The broker stops.
    #[error("the broker is stopping")]
    Closed,
}

impl From<io::Error> for LogError {
    fn from(error: io::Error) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<StoreError> for LogError {
    fn from(error: StoreError) -> Self {
        Self::Ledger(Arc::new(error))
    }
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    /// Its place, from zero.
    pub(crate) place: u64,
    /// Whether it was not there before.
    pub(crate) is_new: bool,
}

/// An entry as it is handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// As it was taken.
    pub(crate) envelope: Vec<u8>,
    /// Its `.tlog-proof`.
    pub(crate) proof: String,
}

/// An entry that stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Where, from zero.
    pub(crate) place: u64,
    /// Its leaf, hex.
    pub(crate) leaf: String,
    /// As it was taken.
    pub(crate) bytes: Vec<u8>,
    /// When it says that it was issued, Unix seconds.
    pub(crate) issued_at_s: u64,
}

/// The log as the rest of the broker has it.
#[derive(Debug)]
pub(crate) struct Receipts {
    jobs: mpsc::Sender<Job>,
    published: watch::Receiver<Option<Arc<Published>>>,
    store: Arc<dyn Store>,
    /// See [`READS_MAX`].
    reads: Semaphore,
    ledger: Arc<dyn Ledger>,
    keys: Arc<Keys>,
    clock: Clock,
    operator: String,
    known: Mutex<Option<Known>>,
    /// How often keys were changed here.
    changes: AtomicU64,
    /// How many pieces of evidence have come here.
    came: AtomicU64,
    witnesses: Witnesses,
    /// What the newest receipts name.
    recent: Recent,
    /// What is taken of others.
    shares: Shares,
}

impl Receipts {
    /// Opens the log, and starts what writes it.
    ///
    /// # Errors
    /// The store of objects cannot be spoken to as the settings have it.
    pub(crate) fn start(
        settings: &LogSettings,
        keys: Keys,
        ledger: &Arc<dyn Ledger>,
        clock: Clock,
        shutdown: &Shutdown,
    ) -> io::Result<Arc<Self>> {
        let store: Arc<dyn Store> = match &settings.at {
            LogAt::Directory(dir) => Arc::new(Directory::new(dir.clone())),
            LogAt::Objects(at) => Arc::new(Objects::new(at)?),
        };
        let keys = Arc::new(keys);
        let origin = settings.origin.clone().unwrap_or_else(|| keys.origin());
        let (published, shown) = watch::channel(None);
        let (jobs, queue) = mpsc::channel(WAITING_MAX);
        let seen_max: Arc<AtomicU64> = Arc::default();
        let sequencer = Sequencer::new(
            (store.clone(), ledger.clone()),
            (keys.clone(), origin),
            clock,
            (published, seen_max.clone()),
        );
        let receipts = Arc::new(Self {
            jobs,
            published: shown,
            store,
            reads: Semaphore::new(READS_MAX),
            ledger: ledger.clone(),
            keys,
            clock,
            operator: settings.operator.clone(),
            known: Mutex::new(None),
            changes: AtomicU64::new(0),
            came: AtomicU64::new(0),
            recent: Recent::default(),
            shares: Shares::default(),
            witnesses: Witnesses::new(settings.witnesses.clone(), settings.quorum, seen_max),
        });
        shutdown.spawn(sequencer.run(queue, shutdown.token()));
        shutdown.spawn(directory::keep(receipts.clone(), shutdown.token()));
        shutdown.spawn(evidence::keep(receipts.clone(), shutdown.token()));
        shutdown.spawn(witnesses::keep(receipts.clone(), shutdown.token()));
        Ok(receipts)
    }

    /// Appends an entry. Once this is `Ok`, nothing takes it back; the same entry has one place.
    pub(crate) async fn append(&self, entry: Entry) -> Result<Logged, LogError> {
        let (reply, answer) = oneshot::channel();
        let evidence = entry.evidence.clone();
        self.jobs
            .try_send(Job { entry, reply })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => LogError::Busy,
                mpsc::error::TrySendError::Closed(_) => LogError::Closed,
            })?;
        match tokio::time::timeout(PLACED_WITHIN, answer).await {
            Ok(answered) => {
                let logged = answered.map_err(|_| LogError::Closed)??;
                self.recent.add(&evidence);
                Ok(logged)
            }
            // It may get its place yet; who asks again gets the same.
            Err(_elapsed) => Err(LogError::Late),
        }
    }

    /// What the chain of rounds begins with.
    pub(crate) fn chain_secret(&self) -> ChainSecret {
        self.keys.chain
    }

    /// Has a chain's anchor stand in the log; the entry. Once is enough.
    pub(crate) async fn log_chain(&self, anchor: &Anchor) -> Result<Vec<u8>, LogError> {
        self.log_own(anchor.sign(&self.keys.directory)).await
    }

    /// Which beacon rounds take their values from, as an entry.
    pub(crate) fn signed(&self, used: &Used) -> Option<Vec<u8>> {
        used.sign(&self.keys.directory)
    }

    /// Has it stand in the log which beacon rounds take their values from. Once is enough.
    pub(crate) async fn log_used(&self, used: &Used) -> Result<Vec<u8>, LogError> {
        self.log_own(self.signed(used)).await
    }

    async fn log_own(&self, signed: Option<Vec<u8>>) -> Result<Vec<u8>, LogError> {
        let corrupt = || LogError::from(StoreError::Corrupt("beacon_chain".to_owned()));
        let bytes = signed.ok_or_else(corrupt)?;
        let entry = Entry::read(bytes.clone()).map_err(|_| corrupt())?;
        self.append(entry).await?;
        Ok(bytes)
    }

    /// What the log shows last, if it shows anything yet.
    pub(crate) fn published(&self) -> Option<Arc<Published>> {
        self.published.borrow().clone()
    }

    /// The log's key, as policies have it.
    pub(crate) fn log_key(&self) -> Option<VerifierKey> {
        let published = self.published()?;
        let key = self.keys.log.public();
        VerifierKey::new(&published.origin, Algorithm::Ed25519, key)
    }

    /// What the operator says to believe, as a policy.
    pub(crate) fn policy(&self) -> Option<String> {
        Some(self.witnesses.policy(&self.log_key()?))
    }

    /// A tile's bytes, if what is shown has it as wide.
    pub(crate) async fn tile(&self, part: Tile) -> Result<Option<Vec<u8>>, LogError> {
        if !self.shows(&part) {
            return Ok(None);
        }
        let read = move |store: &dyn Store| reader::bytes(store, &part);
        self.read(read).await
    }

    /// The bundle of a tile, if what is shown has it as wide.
    pub(crate) async fn bundle(&self, part: Tile) -> Result<Option<Vec<u8>>, LogError> {
        if !self.shows(&part) {
            return Ok(None);
        }
        let read = move |store: &dyn Store| reader::bundle(store, &part);
        self.read(read).await
    }

    /// What anybody may ask of the store, so many at a time.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Store) -> io::Result<T> + Send + 'static,
    ) -> Result<T, LogError> {
        let turn = tokio::time::timeout(TURN_WITHIN, self.reads.acquire());
        let turn = turn.await.map_err(|_| LogError::Crowded)?;
        let read = blocking(&self.store, work).await;
        drop(turn);
        Ok(read?)
    }

    fn shows(&self, part: &Tile) -> bool {
        let size = self.published().map_or(0, |published| published.size);
        let widest = Tile::within(size, part.level, part.index);
        part.width <= TILE_WIDTH && widest.is_some_and(|widest| part.width <= widest.width)
    }

    /// The checkpoint for whoever asks for the newest: the last that was witnessed, if any was.
    pub(crate) fn checkpoint(&self) -> Option<Note> {
        let newest = || self.published().map(|published| published.note.clone());
        self.witnesses
            .witnessed()
            .map(|(_, note)| note)
            .or_else(newest)
    }

    /// The entry at a place, if the log shows it.
    pub(crate) async fn entry(&self, place: u64) -> Result<Option<Vec<u8>>, LogError> {
        let size = self.published().map_or(0, |published| published.size);
        let read = move |store: &dyn Store| reader::entry(store, size, place);
        Ok(blocking(&self.store, read).await?)
    }

    /// Appends what the referee of this broker says, or what it files for whoever may; see [`Keys`].
    pub(crate) async fn say(
        &self,
        statement: &Statement,
        as_referee: bool,
    ) -> Result<(Logged, String), LogError> {
        let key = match as_referee {
            true => &self.keys.referee,
            false => &self.keys.broker,
        };
        let unsaid = |why: String| LogError::from(io::Error::other(why));
        let mut envelope = statement
            .envelope()
            .map_err(|why| unsaid(why.to_string()))?;
        envelope.sign(key);
        let entry = Entry::read(envelope.to_bytes()).map_err(|why| unsaid(why.to_string()))?;
        let leaf = entry.leaf().to_owned();
        Ok((self.append(entry).await?, leaf))
    }

    /// The key id that the broker files with, and that of its referee.
    pub(crate) fn speakers(&self) -> (KeyId, KeyId) {
        (
            self.keys.broker.public().id(),
            self.keys.referee.public().id(),
        )
    }

    /// The entries from a place on, as far as the log shows them and no farther than their bundle goes: each is
    /// the one that the ledger has there, and so was admitted.
    pub(crate) async fn entries_from(&self, place: u64) -> Result<Vec<Placed>, LogError> {
        let size = self.published().map_or(0, |published| published.size);
        let read = move |store: &dyn Store| reader::entries_from(store, size, place);
        let entries = blocking(&self.store, read).await?;
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let end = place + entries.len() as u64;
        let rows = self.ledger.receipts(ReceiptQuery {
            before: Some(end),
            max: u32::try_from(entries.len()).unwrap_or(u32::MAX),
            ..ReceiptQuery::default()
        });
        let rows = rows.await?;
        let known = rows.first().map_or(0, |row| row.place + 1);
        if known < end {
            return Err(LogError::CatchingUp {
                published: size,
                size: known,
            });
        }
        let whole = rows.len() == entries.len();
        // Newest first.
        let placed = (place..).zip(entries).zip(rows.into_iter().rev());
        let placed = placed.map(|((place, bytes), row)| {
            let same = row.place == place && row.leaf == hex(&tree::leaf(&bytes));
            same.then_some(Placed {
                place,
                leaf: row.leaf,
                bytes,
                issued_at_s: row.issued_at_s,
            })
        });
        let all: Option<Vec<Placed>> = placed.collect();
        all.filter(|_| whole).ok_or(LogError::Damaged(size))
    }

    /// The entry at a place with its proof under the checkpoint that is shown.
    pub(crate) async fn show(&self, place: u64) -> Result<Option<Shown>, LogError> {
        let witnessed = self.witnesses.witnessed();
        let newest = self
            .published()
            .map(|published| (published.size, published.note.clone()));
        let has = |(size, _): &(u64, Note)| place < *size;
        let Some(under) = witnessed.filter(has).or(newest.filter(has)) else {
            return Ok(None);
        };
        let size = under.0;
        let read = move |store: &dyn Store| {
            let entry = reader::entry(store, size, place)?;
            Ok(entry.zip(reader::inclusion(store, size, place)?))
        };
        let Some((envelope, path)) = self.read(read).await? else {
            return Ok(None);
        };
        let proof = LogProof {
            index: place,
            path,
            checkpoint: under.1,
        };
        let proof = proof.to_string();
        Ok(Some(Shown { envelope, proof }))
    }
}

/// Runs `work` on the store where it may block.
async fn blocking<T: Send + 'static>(
    store: &Arc<dyn Store>,
    work: impl FnOnce(&dyn Store) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let store = store.clone();
    tokio::task::spawn_blocking(move || work(&*store))
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod test;
