//! Who checks whom: rounds, committees, assignments and what came of them.
//!
//! ```text
//!   round begins --value, set of checkers, attached nodes--> plan --> due --report that holds--> done
//!                                                                      `--silence, or a reason--> missed --> another one: due
//! ```
//!
//! [`draw`] has the rounds' values, from [`chain`] or from [`relays`] of a beacon outside, [`plan`] says who is due and who stands in, [`mod@keep`] writes that down, [`report`]
//! takes what checkers say of it. [`meet`] has the moments in which nodes of one operator are told their nonces, [`stream`] has what
//! streams take beside: who can play, and passes to the node.
//!
//! **Invariants.** A plan follows from the round's value, the set of checkers of its beginning, as the directory has it,
//! and the node's key, so that anyone can work it out again. An assignment is settled once, by its own checker or by its end. What was missed
//! stays to be seen. The chain's anchor is in the log before its first round begins.
//!
//! **What it does not know:** what a node can do, what reports come to.

mod chain;
mod draw;
mod keep;
mod meet;
mod plan;
mod relays;
mod report;
mod stream;

pub(crate) use chain::{Chain, ChainSecret};
pub(crate) use draw::Drawing;
pub(crate) use meet::{Meetings, is_probe};
pub(crate) use report::NotTaken;
pub(crate) use stream::NoPass;

use crate::config::Checks as Settings;
use crate::ledger::{
    AssignmentQuery, AssignmentRow, ChainRow, CheckChange, CheckerRow, DirectoryKey, Ledger, Op,
    StoreError,
};
use crate::node_keys::NodeKeys;
use crate::receipts::{LogError, Receipts};
use crate::sessions::Directory;
use crate::time::Clock;
use chain::{LENGTH, Marks};
use nearlight_proof::beacon::anchor::Anchor;
use nearlight_proof::beacon::used::Used;
use nearlight_proof::key::{KeyId, PublicKey};
use nearlight_proof::porc::committee::{self, is_of_set, set_root};
use nearlight_proof::porc::schedule::{CPU, Due, Duty, Round, is_in_time};
use nearlight_protocol::id::{NodeId, UserId};
use plan::{Target, Times};
use std::sync::{Arc, Mutex};
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;

/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 3600 * 1000;

/// Why something of checks cannot be told or done.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ChecksError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The chain in the ledger is made of another secret.
    #[error(
        "the rounds of this ledger are of another key; copy receipts.key from the PKI directory of the broker that began them"
    )]
    OtherChain,
}

impl From<StoreError> for ChecksError {
    fn from(error: StoreError) -> Self {
        Self::Log(error.into())
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Checks {
    ledger: Arc<dyn Ledger>,
    receipts: Arc<Receipts>,
    node_keys: Arc<NodeKeys>,
    /// Which nodes are attached.
    directory: Arc<Directory>,
    clock: Clock,
    settings: Settings,
    chain: OnceCell<Chain>,
    /// Which beacons are used, as the log has it. Held for a look-up, never across an await.
    used: Mutex<Vec<Used>>,
    /// Counts changes of assignments, for those who wait for theirs.
    changes: watch::Sender<u64>,
}

/// A round as everybody may see it.
#[derive(Clone, Debug)]
pub(crate) struct SeenRound {
    pub(crate) round: Round,
    /// What its value is made of, if a beacon outside gave it.
    pub(crate) signature: Option<[u8; 48]>,
    pub(crate) began_ms: u64,
    /// The set, as the directory has it.
    pub(crate) checkers: Vec<SetKey>,
    pub(crate) root: KeyId,
}

/// A checker of a round's set.
#[derive(Clone, Debug)]
pub(crate) struct SetKey {
    pub(crate) id: KeyId,
    pub(crate) key: DirectoryKey,
}

impl SetKey {
    fn of(key: DirectoryKey) -> Option<Self> {
        let id = PublicKey::from_hex(&key.key)?.id();
        Some(Self { id, key })
    }

    /// When it came in, Unix seconds.
    pub(crate) const fn joined_s(&self) -> u64 {
        self.key.from_s.saturating_add(committee::EARLY_S)
    }

    fn counts_at(&self, unix_s: u64) -> bool {
        let revoked = self.key.revoked_at_s;
        is_of_set((self.key.from_s, self.key.until_s, revoked), unix_s)
    }
}

impl SeenRound {
    /// The set, as committees are made of it.
    fn set(&self) -> Vec<committee::Checker> {
        let one = |of: &SetKey| committee::Checker {
            key: of.id,
            operator: of.key.operator.clone(),
        };
        self.checkers.iter().map(one).collect()
    }
}

/// Has rounds get their values, and keeps them, until `stop`.
pub(crate) async fn keep(checks: Arc<Checks>, stop: CancellationToken) {
    tokio::join!(
        draw::keep(checks.clone(), stop.clone()),
        keep::keep(checks, stop)
    );
}

impl Checks {
    pub(crate) fn new(
        (ledger, receipts): (Arc<dyn Ledger>, Arc<Receipts>),
        (node_keys, directory): (Arc<NodeKeys>, Arc<Directory>),
        clock: Clock,
        settings: Settings,
    ) -> Arc<Self> {
        Arc::new(Self {
            ledger,
            receipts,
            node_keys,
            directory,
            clock,
            settings,
            chain: OnceCell::new(),
            used: Mutex::default(),
            changes: watch::channel(0).0,
        })
    }

    /// The class that nodes are held to, and their CPUs.
    pub(crate) fn class(&self) -> &str {
        &self.settings.class
    }

    /// The class that a GPU of a node is held to: that of all GPUs, or the one that is called as its model.
    pub(crate) fn class_of(&self, node: &NodeId, gpu: &str) -> Option<String> {
        if gpu == CPU {
            return None;
        }
        if !self.settings.gpu_class.is_empty() {
            return Some(self.settings.gpu_class.clone());
        }
        let proves = self.node_keys.proves(node);
        let of = proves.iter().find(|of| of.gpu == gpu)?;
        Some(of.model.clone())
    }

    /// How many checkers a duty takes.
    pub(crate) fn committee(&self) -> usize {
        self.settings.committee as usize
    }

    /// For how long a check of capacity may take, seconds.
    pub(crate) fn capacity_s(&self) -> u64 {
        self.settings.capacity_s.into()
    }

    /// Told of each change of assignments.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The checker whose API key a user has.
    pub(crate) async fn checker_of(&self, user: &UserId) -> Result<Option<CheckerRow>, StoreError> {
        let all = self.ledger.checkers().await?;
        let mut counting = all.into_iter().filter(|of| of.revoked_s.is_none());
        Ok(counting.find(|of| of.user == *user))
    }

    /// The chain of rounds, if one was begun.
    pub(crate) async fn begun_chain(&self) -> Result<Option<&Chain>, ChecksError> {
        if let Some(chain) = self.chain.get() {
            return Ok(Some(chain));
        }
        match self.ledger.chain().await? {
            Some(_) => self.chain().await.map(Some),
            None => Ok(None),
        }
    }

    /// The chain of rounds, which is begun if there is none.
    pub(crate) async fn chain(&self) -> Result<&Chain, ChecksError> {
        self.chain.get_or_try_init(|| self.open_chain()).await
    }

    async fn open_chain(&self) -> Result<Chain, ChecksError> {
        let secret = self.receipts.chain_secret();
        let known = self.ledger.chain().await?;
        let length = known.as_ref().map_or(LENGTH, |row| row.length);
        let marks = tokio::task::spawn_blocking(move || Marks::of(&secret, length)).await;
        let marks = marks.map_err(|_| ChecksError::Log(LogError::Closed))?;
        let row = match known {
            Some(row) => row,
            None => self.begin_chain(&marks).await?,
        };
        if row.anchor != marks.anchor().to_string() {
            return Err(ChecksError::OtherChain);
        }
        let anchor = Anchor {
            anchor: marks.anchor(),
            genesis_ms: row.genesis_ms,
            length: row.length,
            round_ms: row.round_ms,
        };
        let envelope = self.receipts.log_chain(&anchor).await?;
        Ok(Chain::new(anchor, envelope, marks))
    }

    /// Round 1 begins a round from now: the anchor is in the log by then, or there are no rounds.
    async fn begin_chain(&self, marks: &Marks) -> Result<ChainRow, ChecksError> {
        let round_ms = u64::from(self.settings.round_s) * 1000;
        let row = ChainRow {
            anchor: marks.anchor().to_string(),
            genesis_ms: self.clock.unix_ms() + round_ms,
            round_ms,
            length: LENGTH,
            used: Vec::new(),
        };
        let change = CheckChange::BeginChain(row.clone());
        self.write(vec![change]).await?;
        // Another broker may have been first.
        Ok(self.ledger.chain().await?.unwrap_or(row))
    }

    /// A round that has begun and has its value, with the checkers of then.
    pub(crate) async fn round(&self, number: u64) -> Result<Option<SeenRound>, ChecksError> {
        let Some(table) = self.timetable().await? else {
            return Ok(None);
        };
        let Some(Drawing::Drawn(value, signature)) = self.drawing(&table, number).await? else {
            return Ok(None);
        };
        let anchor = table.anchor();
        let began_ms = anchor.begins_ms(number);
        let keys = self.ledger.checker_keys().await?.into_iter();
        let known = keys.filter_map(SetKey::of);
        let checkers = known.filter(|of| of.counts_at(began_ms / 1000)).collect();
        let a_day = (DAY_MS / anchor.round_ms).max(1);
        let round = Round {
            number,
            value,
            a_day,
        };
        let mut seen = SeenRound {
            round,
            signature,
            began_ms,
            checkers,
            root: KeyId([0; 32]),
        };
        seen.root = KeyId(set_root(&seen.set()));
        Ok(Some(seen))
    }

    /// The assignments that are asked for.
    pub(crate) async fn assignments(
        &self,
        of: AssignmentQuery,
    ) -> Result<Vec<AssignmentRow>, StoreError> {
        self.ledger.assignments(of).await
    }

    /// Makes changes in one transaction, and tells whoever waits.
    async fn write(
        &self,
        changes: Vec<CheckChange>,
    ) -> Result<Vec<crate::ledger::Applied>, StoreError> {
        let op = |change| Op::Check {
            change,
            audit: None,
        };
        let done = self
            .ledger
            .write(changes.into_iter().map(op).collect())
            .await?;
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
        Ok(done)
    }

    fn times(&self, chain: &Chain, began_ms: u64) -> Times {
        Times {
            began_ms,
            alive_ms: chain.anchor.round_ms,
            capacity_ms: u64::from(self.settings.capacity_s) * 1000,
            stream_ms: u64::from(self.settings.stream_s) * 1000,
        }
    }

    /// What a missed assignment becomes: the row of whoever stands in, if anybody does and the node is there.
    async fn stand_in(&self, missed: &AssignmentRow) -> Result<Option<AssignmentRow>, ChecksError> {
        let Some(seen) = self.round(missed.round).await? else {
            return Ok(None);
        };
        let Some(target) = self.target(&missed.node) else {
            return Ok(None);
        };
        let now_ms = self.clock.unix_ms();
        let duty = Due::of_name(&missed.duty).map(|due| due.duty);
        let said_now = (now_ms / 1000, now_ms / 1000);
        let is_in_time = is_in_time(said_now, seen.began_ms / 1000, self.capacity_s());
        if duty == Some(Duty::Capacity) && !is_in_time {
            // What it could say would weigh nothing.
            return Ok(None);
        }
        let order = plan::ranked(&seen.round, &target, &seen.set());
        // Who was shut out since does not stand in.
        let now_s = now_ms / 1000;
        let players = match duty {
            Some(Duty::Stream) => self.players(self.clock.unix_ms()).await?,
            Some(Duty::Alive | Duty::Capacity) | None => None,
        };
        let counts = |key: &KeyId| {
            let mut set = seen.checkers.iter();
            let can = players.as_ref().is_none_or(|able| able.contains(key));
            can && set.any(|of| of.id == *key && of.counts_at(now_s))
        };
        let others = self
            .assignments(AssignmentQuery::Round(missed.round))
            .await?;
        let chain = self.chain().await?;
        let times = self.times(chain, seen.began_ms);
        let window_ms = missed
            .until_ms
            .saturating_sub(missed.due_ms)
            .min(times.of(duty.unwrap_or(Duty::Capacity)));
        let at = (self.clock.unix_ms(), window_ms, self.committee());
        Ok(plan::stand_in(missed, &others, (&order, counts), at))
    }

    /// What of a node is probed. An older agent says nothing, and proves its CPU.
    fn gpus(&self, node: &NodeId) -> Vec<String> {
        let proves = self.node_keys.proves(node);
        match proves.is_empty() {
            true => vec![CPU.to_owned()],
            false => proves.iter().map(|of| of.gpu.clone()).collect(),
        }
    }

    /// A node that is attached to a broker of this ledger, with its key.
    fn target(&self, node: &NodeId) -> Option<Target> {
        let is_attached =
            self.directory.stream(node).is_some() || self.directory.node_holder(node).is_some();
        let known = self.node_keys.of(node).filter(|_| is_attached)?;
        Some(Target {
            node: node.clone(),
            key: KeyId::from_hex(&known.key_id)?,
            operator: known.operator.clone(),
            gpus: self.gpus(node),
            capacity_is_due: false,
            renders: false,
        })
    }
}
