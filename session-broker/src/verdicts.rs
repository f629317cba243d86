//! What receipts come to: a task goes through the log, entry by entry, weighs what checkers found, and tells
//! the owner of sessions each node's rank.
//!
//! ```text
//!   log, from `next` on --admitted, of keys that count--> checks, seated --core/proof's Round--> verdicts
//!      ^                                                                                    |
//!      +--- one transaction moves `next` and writes what follows, or another broker did ----+
//!   verdicts of 30 days --core/proof's Rank--> ranks --> owner of sessions --> placement
//! ```
//!
//! [`fold`] is what an entry does and [`piece`] what a piece of the log does, [`stakes`] what moves with it,
//! [`referee`] who decides disputes, [`splits`] who asks it, [`revoked`] what revocations are of, [`ranks`] what verdicts
//! come to, [`mod@advice`] what is said of it.
//!
//! **Invariants.** Whatever is written follows from the log alone, in its order: brokers that share a ledger,
//! and one that starts again, come to the same. An entry does what it does once.
//!
//! **What it does not know:** whether a receipt is true; who of those that could be asked was (core/proof's `panel`).

mod advice;
mod fold;
mod piece;
mod ranks;
mod referee;
mod revoked;
mod splits;
mod stakes;

pub(crate) use advice::{Advised, advice};
pub(crate) use ranks::{Proven, Ranks, Scored};
pub(crate) use stakes::StakeTerms;

use crate::checks::{Checks, ChecksError};
use crate::ledger::{Applied, AssignmentQuery, Ledger, LogChange, Op, StoreError};
use crate::receipts::{LogError, Receipts};
use crate::sessions::Sessions;
use crate::time::Clock;
use nearlight_proof::porc::rank::{DAYS, Rank};
use nearlight_proof::receipt::directory::{Directory, Role};
use nearlight_protocol::id::NodeId;
use ranks::Known;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often is looked whether the log has grown.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After so many looks ranks are computed again though no verdict is new: days pass, nodes get keys.
const RANKS_EVERY: u32 = 2;
/// Assignments of a node's capacity that are looked at: of a node of 16 GPUs those of the newest rounds.
const CAPACITY_MAX: u32 = 256;
/// For so long what was found of nodes that nobody could check is good, seconds; for longer of many.
const UNCHECKED_S: u64 = 5;
/// So many of them are looked at in a second, over time: it is the loop that folds the log, too.
const UNCHECKED_PER_S: u64 = 20;
/// Pending transfers that are ended in one look.
const DUE_MAX: u32 = 64;

/// Why verdicts stand still.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerdictError {
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] StoreError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The rounds cannot be told.
    #[error(transparent)]
    Rounds(#[from] ChecksError),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Verdicts {
    ledger: Arc<dyn Ledger>,
    receipts: Arc<Receipts>,
    checks: Arc<Checks>,
    clock: Clock,
    /// How many checkers make a verdict.
    least: usize,
    terms: StakeTerms,
    /// Held for a look-up, never across an await.
    known: RwLock<Known>,
    shown: RwLock<Arc<Ranks>>,
    /// What the referee has looked at. Held for a look-up, never across an await.
    looked: Mutex<referee::Looked>,
    /// Which splits were looked at. Held for a look-up, never across an await.
    splits: Mutex<splits::Splits>,
    /// Which nodes nobody could check, and when that is looked at again, Unix seconds. Held for a look-up, never across an await.
    unchecked: Mutex<(u64, HashSet<NodeId>)>,
}

impl Verdicts {
    pub(crate) fn new(
        (ledger, receipts, checks): (&Arc<dyn Ledger>, &Arc<Receipts>, &Arc<Checks>),
        clock: Clock,
        (least, terms): (usize, StakeTerms),
    ) -> Arc<Self> {
        Arc::new(Self {
            ledger: ledger.clone(),
            receipts: receipts.clone(),
            checks: checks.clone(),
            clock,
            least,
            terms,
            known: RwLock::default(),
            shown: RwLock::default(),
            looked: Mutex::default(),
            splits: Mutex::default(),
            unchecked: Mutex::default(),
        })
    }

    /// Goes through the log until the shutdown.
    pub(crate) async fn keep(self: Arc<Self>, sessions: Sessions, stop: CancellationToken) {
        let mut beat = tokio::time::interval(LOOK_EVERY);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looks = 0_u32;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = beat.tick() => {}
            }
            let is_new = match self.go_on().await {
                Ok(is_new) => is_new,
                Err(error) => {
                    tracing::debug!(%error, "verdicts wait for the log or the ledger");
                    continue;
                }
            };
            if !is_new && !looks.is_multiple_of(RANKS_EVERY) {
                looks += 1;
                continue;
            }
            looks += 1;
            if let Err(error) = self.settle().await {
                tracing::debug!(%error, "disputes and stakes wait for the log or the ledger");
            }
            match self.rank_all().await {
                Ok(ranks) if ranks != *self.ranks() => {
                    let ranks = Arc::new(ranks);
                    sessions.ranks(ranks.clone()).await;
                    *self.shown.write().unwrap_or_else(PoisonError::into_inner) = ranks;
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "ranks wait for the ledger"),
            }
        }
    }

    /// As the owner of sessions was told last.
    pub(crate) fn ranks(&self) -> Arc<Ranks> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        shown.clone()
    }

    /// The rank of the node that has or had these keys now.
    pub(crate) fn rank_of(&self, keys: &[String]) -> Rank {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.rank(keys, self.now_s())
    }

    /// How many checkers make a verdict.
    pub(crate) const fn least(&self) -> usize {
        self.least
    }

    fn now_s(&self) -> u64 {
        self.clock.unix_ms() / 1000
    }

    /// Takes what the ledger has that is new, and writes what the log has beyond that. Whether there was
    /// anything.
    async fn go_on(&self) -> Result<bool, VerdictError> {
        let mut is_new = false;
        loop {
            let after = {
                let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
                known.rev()
            };
            let since_s = self.now_s().saturating_sub(DAYS * 24 * 3600);
            let new = self.ledger.new_verdicts(after, since_s).await?;
            let (next, told_s) = (new.next, new.told_s);
            is_new |= !new.rows.is_empty();
            self.known
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .take(new);
            let entries = self.receipts.entries_from(next).await?;
            if entries.is_empty() {
                return Ok(is_new);
            }
            let folded = self.fold((next, told_s), entries).await?;
            let change = LogChange::Fold(Box::new(folded));
            let op = Op::Log {
                change,
                audit: None,
            };
            // Whoever was first wrote the same: it is read in the next round.
            let applied = self.ledger.write(vec![op]).await?;
            tracing::debug!(next, applied = ?applied.first() == Some(&Applied::Done), "the log was gone through");
        }
    }

    /// Decides what can be decided, and ends what is due.
    async fn settle(&self) -> Result<(), VerdictError> {
        self.contest_all().await;
        if let Err(error) = self.judge_all().await {
            tracing::debug!(%error, "disputes wait for the log or the ledger");
        }
        let now_ms = self.clock.unix_ms();
        for held in self.ledger.due_transfers(now_ms, DUE_MAX).await? {
            let verdict = match &held.round {
                Some(of) => self.ledger.round(of.clone()).await?.0,
                None => None,
            };
            let transfer = Box::new(stakes::due(&held, verdict.as_ref(), now_ms));
            let change = LogChange::Transfer(transfer);
            let audit = None;
            self.ledger.write(vec![Op::Log { change, audit }]).await?;
        }
        Ok(())
    }

    /// What the rules of stakes are here.
    pub(crate) const fn terms(&self) -> StakeTerms {
        self.terms
    }

    /// Every node's rank. None counts while there are too few checkers for any verdict.
    async fn rank_all(&self) -> Result<Ranks, VerdictError> {
        let now_s = self.now_s();
        let keys = self.receipts.keys().await?;
        if checkers(&keys.directory, now_s) < self.least {
            return Ok(Ranks::default());
        }
        let since_s = now_s.saturating_sub(DAYS * 24 * 3600);
        let mut nodes: HashMap<NodeId, Vec<String>> = HashMap::new();
        for row in self.ledger.node_keys(since_s).await? {
            nodes.entry(row.node).or_default().push(row.key_id);
        }
        let unchecked = self.unchecked(&nodes).await?;
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let of = nodes.into_iter().map(|(node, keys)| {
            if unchecked.contains(&node) {
                return (node, Proven::unchecked());
            }
            let (rank, score) = (known.rank(&keys, now_s), known.score(&keys, now_s));
            let memory = known.memory(&keys, now_s);
            (node, Proven::of(rank, score, memory))
        });
        Ok(Ranks::counted(of.collect()))
    }

    /// Those of which nothing certain is known, because nobody could check them.
    async fn unchecked(
        &self,
        nodes: &HashMap<NodeId, Vec<String>>,
    ) -> Result<HashSet<NodeId>, VerdictError> {
        {
            let looked = self.unchecked.lock();
            let looked = looked.unwrap_or_else(PoisonError::into_inner);
            if self.now_s() < looked.0 {
                return Ok(looked.1.clone());
            }
        }
        let unproven: Vec<(&NodeId, &Vec<String>)> = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            let unproven = nodes.iter().filter(|(_, keys)| !known.is_checked(keys));
            unproven.collect()
        };
        let pause_s = UNCHECKED_S.max(unproven.len() as u64 / UNCHECKED_PER_S);
        let mut unchecked = HashSet::new();
        for (node, keys) in unproven {
            let mut rows = Vec::new();
            for key in keys {
                let of = AssignmentQuery::Capacity {
                    node_key: key.clone(),
                    max: CAPACITY_MAX,
                };
                rows.extend(self.ledger.assignments(of).await?);
            }
            rows.sort_by_key(|row| std::cmp::Reverse(row.round));
            if ranks::nobody_could(&rows, self.least) {
                unchecked.insert(node.clone());
            }
        }
        let mut looked = self
            .unchecked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *looked = (self.now_s() + pause_s, unchecked.clone());
        Ok(unchecked)
    }
}

/// Checkers whose keys count at that time.
fn checkers(directory: &Directory, now_s: u64) -> usize {
    let checkers = directory.of(Role::Checker);
    checkers.filter(|(_, entry)| entry.covers(now_s)).count()
}
