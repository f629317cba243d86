//! The one who gives entries their places: batch, stage, swap, tiles, checkpoint, answer.
//!
//! ```text
//!   Unknown --load: ledger's head, what was staged for it, right edge--> Known
//!      ^                                                                   |
//!      +---- anything failed, or another replica was first <--- a round ---+
//! ```
//!
//! Several brokers of one ledger may do this at a time. The swap of (size, root) in the ledger says who was
//! first; the other one loads, finds which of its entries stand in the log meanwhile, and goes on with the
//! rest. What became of a swap without an answer is found out in the same way.
//!
//! **Invariant.** A checkpoint is signed of what the ledger has, after its tiles are in the store, and kept
//! there before anybody sees it.

use super::batch::{Batch, Job, answer, refuse};
use super::edge::Edge;
use super::entry::Entry;
use super::keys::Keys;
use super::store::{Object, Store};
use super::{LogError, Logged, blocking, checkpoints, reader, stage};
use crate::ledger::{Advance, Applied, Ledger, LogChange, LogRow, Op};
use crate::time::Clock;
use nearlight_proof::encoding::{array_from_hex, hex};
use nearlight_proof::log::checkpoint::Checkpoint;
use nearlight_proof::log::note::Note;
use nearlight_proof::log::tile::{self, Tile};
use nearlight_proof::log::tree::{self, Hash, LogHasher};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Entries of one round.
const BATCH_MAX: usize = 512;
/// Bytes of one round, nearly.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// How often a round is tried: the ledger's own patience comes on top.
const TRIES_MAX: u32 = 4;
/// How often is looked whether another broker appended, the ledger went back, or the log can be loaded at last.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What the log has signed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// The log's name.
    pub(crate) origin: String,
    /// How many entries it has.
    pub(crate) size: u64,
    /// The root over them.
    pub(crate) root: Hash,
    /// The signed checkpoint.
    pub(crate) note: Note,
}

/// What is believed of the log.
#[derive(Debug)]
struct Head {
    origin: String,
    edge: Edge,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sequencer {
    store: Arc<dyn Store>,
    ledger: Arc<dyn Ledger>,
    keys: Arc<Keys>,
    /// The name of a log that is begun here.
    origin: String,
    clock: Clock,
    head: Option<Head>,
    published: watch::Sender<Option<Arc<Published>>>,
    /// The largest size that a witness says it saw.
    seen_max: Arc<AtomicU64>,
    /// The last thing that went wrong, for the log of the program to say it once.
    said: String,
}

impl Sequencer {
    pub(super) fn new(
        (store, ledger): (Arc<dyn Store>, Arc<dyn Ledger>),
        (keys, origin): (Arc<Keys>, String),
        clock: Clock,
        (published, seen_max): (watch::Sender<Option<Arc<Published>>>, Arc<AtomicU64>),
    ) -> Self {
        Self {
            store,
            ledger,
            keys,
            origin,
            clock,
            head: None,
            published,
            seen_max,
            said: String::new(),
        }
    }

    /// Gives places until the shutdown; what waits then has them, too.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>, stop: CancellationToken) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            let first = tokio::select! {
                biased;
                job = jobs.recv() => job,
                () = stop.cancelled() => {
                    jobs.close();
                    jobs.recv().await
                }
                _ = look.tick() => {
                    self.look().await;
                    continue;
                }
            };
            let Some(first) = first else { return };
            let mut bytes = first.entry.bytes.len();
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX
                && bytes < BATCH_BYTES_MAX
                && let Ok(job) = jobs.try_recv()
            {
                bytes += job.entry.bytes.len();
                batch.push(job);
            }
            self.round(batch).await;
        }
    }

    /// Loads the log if it is not known, or is not what the ledger has: another broker appended, or the ledger
    /// went back.
    pub(super) async fn look(&mut self) {
        let looked = async {
            if let Some(head) = &self.head {
                let row = self.ledger.receipt_log().await?;
                let (size, root) = (head.edge.size(), hex(&head.edge.root()));
                if row.is_some_and(|row| row.size == size && row.root == root) {
                    return Ok(());
                }
            }
            self.head = None;
            let head = self.load().await?;
            self.publish(&head).await?;
            self.head = Some(head);
            Ok::<_, LogError>(())
        };
        if let Err(error) = looked.await {
            self.complain(&error);
        }
    }

    /// Gives each of a batch its place, or says why not.
    pub(super) async fn round(&mut self, batch: Vec<Job>) {
        let mut waiting = batch;
        for _ in 0..TRIES_MAX {
            match self.attempt(&mut waiting).await {
                Ok(()) => {
                    self.said.clear();
                    return;
                }
                Err(error) => {
                    self.head = None;
                    self.complain(&error);
                    if !matches!(error, LogError::RaceLost | LogError::Ledger(_)) {
                        refuse(waiting, &error);
                        return;
                    }
                }
            }
        }
        refuse(waiting, &LogError::Busy);
    }

    fn complain(&mut self, error: &LogError) {
        let said = error.to_string();
        if matches!(error, LogError::RaceLost) {
            tracing::debug!("another broker appended to the log first");
        } else if said != self.said {
            tracing::warn!(error = said, "the log of receipts stands still");
            self.said = said;
        }
    }

    /// Tries once. Whoever has a place is answered and leaves `waiting`; after an error nothing is believed.
    async fn attempt(&mut self, waiting: &mut Vec<Job>) -> Result<(), LogError> {
        let seen = self.seen_max.load(Ordering::SeqCst);
        let mut head = match self.head.take() {
            Some(head) if seen <= head.edge.size() => head,
            _ => {
                let head = self.load().await?;
                self.publish(&head).await?;
                head
            }
        };
        self.answer_known(waiting).await?;
        let batch = Batch::of(waiting);
        if batch.entries.is_empty() {
            self.head = Some(head);
            return Ok(());
        }
        let from = (head.edge.size(), head.edge.root());
        let entries = || batch.entries.iter().map(|entry| entry.bytes.as_slice());
        let too_long = || LogError::from(io::Error::other("an entry is too long"));
        let objects = head.edge.append(entries()).ok_or_else(too_long)?;
        let to = (head.edge.size(), head.edge.root());
        let staged = stage::object(from.0, (to.0, &to.1), entries()).ok_or_else(too_long)?;
        self.put(vec![staged]).await?;
        let advance = batch.advance(from, to, self.clock.unix_ms());
        self.swap(advance).await?;
        self.put(objects).await?;
        self.tidy(to).await?;
        self.publish(&head).await?;
        answer(waiting, &batch.places(from.0));
        self.head = Some(head);
        Ok(())
    }

    /// Answers who asks for what stands in the log already.
    async fn answer_known(&self, waiting: &mut Vec<Job>) -> Result<(), LogError> {
        let leaves = waiting.iter().map(|job| job.entry.row.leaf.clone());
        let known = self.ledger.logged(leaves.collect()).await?;
        let known: HashMap<String, u64> = known.into_iter().collect();
        let (there, rest) = std::mem::take(waiting)
            .into_iter()
            .partition(|job: &Job| known.contains_key(&job.entry.row.leaf));
        *waiting = rest;
        for job in there {
            let place = known[&job.entry.row.leaf];
            let is_new = false;
            // Who went away does not need it.
            let _ = job.reply.send(Ok(Logged { place, is_new }));
        }
        Ok(())
    }

    async fn swap(&self, advance: Advance) -> Result<(), LogError> {
        let op = Op::Log {
            change: LogChange::Advance(Box::new(advance)),
            audit: None,
        };
        match self.ledger.write(vec![op]).await?.as_slice() {
            [Applied::Done] => Ok(()),
            _ => Err(LogError::RaceLost),
        }
    }

    /// What the ledger has, with all of its tiles in the store.
    async fn load(&self) -> Result<Head, LogError> {
        // After it nothing of ours is in doubt: what is read now is what will be.
        self.ledger.write(Vec::new()).await?;
        let row = match self.ledger.receipt_log().await? {
            Some(row) => row,
            None => self.begin().await?,
        };
        if row.key != hex(self.keys.log.public().as_bytes()) {
            return Err(LogError::OtherKey);
        }
        let size = row.size;
        let root: Hash = array_from_hex(&row.root).ok_or(LogError::Damaged(size))?;
        let (keys, store) = (self.keys.clone(), self.store.clone());
        let loaded = move |store: &dyn Store| {
            stage::apply(store, size, &root)?;
            stage::tidy(store, size)?;
            Ok((Edge::load(size, store)?, checkpoints::newest(store, &keys)?))
        };
        let (edge, newest) = blocking(&store, loaded).await?;
        let edge = edge.filter(|edge| edge.root() == root);
        let mut edge = edge.ok_or(LogError::Damaged(size))?;
        if let Some(newest) = newest.filter(|newest| newest.size > size) {
            edge = self.catch_up(edge, &newest).await?;
        }
        let seen = self.seen_max.load(Ordering::SeqCst);
        if seen > edge.size() {
            return Err(LogError::Behind {
                published: seen,
                size: edge.size(),
            });
        }
        Ok(Head {
            origin: row.origin,
            edge,
        })
    }

    async fn begin(&self) -> Result<LogRow, LogError> {
        let change = LogChange::Begin {
            origin: self.origin.clone(),
            key: hex(self.keys.log.public().as_bytes()),
            root: hex(&tree::root::<LogHasher>(&[])),
            at_ms: self.clock.unix_ms(),
        };
        let begin = Op::Log {
            change,
            audit: None,
        };
        self.ledger.write(vec![begin]).await?;
        let row = self.ledger.receipt_log().await?;
        row.ok_or_else(|| LogError::from(io::Error::other("the ledger begins no log")))
    }

    /// More was published than the ledger has: it was restored, or failed over to a copy that was behind.
    /// What is missing is in the tiles, and is told to the ledger again.
    async fn catch_up(&self, mut edge: Edge, newest: &Checkpoint) -> Result<Edge, LogError> {
        let behind = LogError::Behind {
            published: newest.size,
            size: edge.size(),
        };
        let (from, to) = ((edge.size(), edge.root()), (newest.size, newest.root));
        let whole = move |store: &dyn Store| {
            let now = Edge::load(to.0, store)?.is_some_and(|edge| edge.root() == to.1);
            Ok(now && leads(store, from, to)?)
        };
        if !blocking(&self.store, whole).await? {
            return Err(behind);
        }
        tracing::warn!(
            from = from.0,
            to = to.0,
            "the ledger is behind what the log published, and catches up from its tiles"
        );
        while edge.size() < to.0 {
            let first = edge.size();
            let upto = to.0.min(first + BATCH_MAX as u64);
            let read = move |store: &dyn Store| {
                let entries = (first..upto).map(|place| reader::entry(store, to.0, place));
                entries.collect::<io::Result<Option<Vec<Vec<u8>>>>>()
            };
            let entries = blocking(&self.store, read).await?;
            let entries = entries.ok_or_else(|| behind.clone())?;
            let read = entries.into_iter().map(Entry::read);
            let read: Result<Vec<Entry>, _> = read.collect();
            let entries = read.map_err(|_| behind.clone())?;
            let before = (edge.size(), edge.root());
            let bytes = entries.iter().map(|entry| entry.bytes.as_slice());
            edge.append(bytes).ok_or_else(|| behind.clone())?;
            let after = (edge.size(), edge.root());
            // Bundles are not tiles: what they hold is what was published, or the ledger is told nothing.
            if !blocking(&self.store, move |store| leads(store, after, to)).await? {
                return Err(behind);
            }
            let batch = Batch {
                entries: entries.iter().collect(),
            };
            self.swap(batch.advance(before, after, self.clock.unix_ms()))
                .await?;
        }
        Ok(edge)
    }

    async fn put(&self, objects: Vec<Object>) -> Result<(), LogError> {
        let put = move |store: &dyn Store| store.put(&objects);
        Ok(blocking(&self.store, put).await?)
    }

    /// Takes away what was staged, and the parts of tiles that the new ones stand for.
    async fn tidy(&self, (size, root): (u64, Hash)) -> Result<(), LogError> {
        let tidy = move |store: &dyn Store| {
            store.remove(&stage::path(size, &root))?;
            for level in 0..8 {
                let index = (size >> (level * 8)) / tile::TILE_WIDTH;
                if let Some(part) = Tile::within(size, level, index) {
                    reader::tidy(store, &part)?;
                }
                // One that became full.
                if let Some(full) = index
                    .checked_sub(1)
                    .and_then(|i| Tile::within(size, level, i))
                {
                    reader::tidy(store, &full)?;
                }
            }
            Ok(())
        };
        Ok(blocking(&self.store, tidy).await?)
    }

    /// Signs what the ledger has, keeps it, and shows it.
    async fn publish(&self, head: &Head) -> Result<(), LogError> {
        let checkpoint = Checkpoint {
            origin: head.origin.clone(),
            size: head.edge.size(),
            root: head.edge.root(),
        };
        let unsigned = || io::Error::other("the log's origin is no name for a key");
        let note = checkpoint.sign(&self.keys.log).ok_or_else(unsigned)?;
        let (size, kept) = (checkpoint.size, note.clone());
        let keep = move |store: &dyn Store| checkpoints::keep(store, size, &kept);
        blocking(&self.store, keep).await?;
        self.published.send_replace(Some(Arc::new(Published {
            origin: checkpoint.origin,
            size: checkpoint.size,
            root: checkpoint.root,
            note,
        })));
        Ok(())
    }
}

/// Whether the tree of `from` is the beginning of that of `to`, whose tiles the store has.
fn leads(store: &dyn Store, from: (u64, Hash), to: (u64, Hash)) -> io::Result<bool> {
    let path = reader::consistency(store, from.0, to.0)?;
    let extends =
        |path: Vec<Hash>| tree::extends::<LogHasher>((from.0, &from.1), (to.0, &to.1), &path);
    Ok(path.is_some_and(extends))
}
