//! Loading what the ledger has: at the start, and whenever a commit's outcome is not known.

use super::claimed::Claimed;
use super::entry::Entry;
use super::fate::Clusters;
use super::owner::Owner;
use super::told::Spread;
use super::volumes::Volumes;
use crate::ledger::{Loaded, OutboxRow, StoreError};
use crate::seal::ForNode;
use crate::time::unix_ms;
use nearlight_protocol::control::Order;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::unit::{MonoTime, UnixMillis};
use nearlight_session::Queue;
use nearlight_session::lifecycle::Phase;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// Between two attempts to read a ledger that fails.
const RETRY: Duration = Duration::from_secs(1);

impl Owner {
    /// Forgets everything and takes what the ledger has. Who watches a session goes on watching.
    ///
    /// No control stream is up afterwards: each edge attaches again and says what it runs.
    pub(super) async fn load(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let loaded = self.ledger.load(self.listed_since(now)).await?;
        self.basis = loaded.basis;
        self.standings.learn(self.ledger.standings().await?);
        self.volumes = Volumes::of(self.ledger.volumes(None).await?);

        let mut former = std::mem::take(&mut self.sessions);
        self.queue = Queue::default();
        self.claimed = Claimed::default();
        self.spread = Spread::default();
        self.clusters = Clusters::default();
        self.deadlines.clear();
        self.ended.clear();
        let fleet = std::mem::take(&mut self.fleet);
        let remote = self.fleet.keep_remote(fleet);
        self.directory.show_remote(remote);
        self.take_in(loaded, &mut former, now);
        for id in former.keys() {
            self.directory.forget(id);
        }
        tracing::info!(
            sessions = self.sessions.len(),
            waiting = self.queue.len(),
            nodes = self.fleet.index().len(),
            "ledger loaded"
        );
        Ok(())
    }

    /// Sessions that ended later than this are listed.
    pub(super) fn listed_since(&self, now: MonoTime) -> UnixMillis {
        let keep_us = u64::from(self.times.ended_keep_s) * 1_000_000;
        unix_ms(MonoTime(now.0.saturating_sub(keep_us)))
    }

    /// Takes rows of the ledger into memory. Sessions that were in `former` leave it, and keep who
    /// watches them.
    pub(super) fn take_in(
        &mut self,
        loaded: Loaded,
        former: &mut HashMap<SessionId, Box<Entry>>,
        now: MonoTime,
    ) {
        for row in loaded.nodes {
            let (id, decided) = (row.id.clone(), self.standings.of(&row.id));
            self.fleet.set_row(row, now);
            self.fleet.set_decided(&id, decided, now);
            self.reclaims.insert(id);
        }
        let mut orders = Vec::new();
        for mut order in loaded.outbox {
            if !self.unseal(&mut order) {
                // It never goes out: its session ends once its start is too late.
                continue;
            }
            orders.push(order);
        }
        let mut taken = BTreeSet::new();
        for row in loaded.sessions {
            taken.insert(row.id.clone());
            let (id, phase, since) = (row.id.clone(), row.phase.clone(), row.since);
            let limits = self.times.limits(&row);
            let mut entry = match former.remove(&id) {
                Some(mut entry) => {
                    entry.reload(row, limits);
                    entry
                }
                None => Box::new(Entry::new(row, limits)),
            };
            match &phase {
                Phase::Queued => {
                    self.enqueue(&entry.row);
                }
                Phase::Ended { .. } => {
                    entry.ended_at = Some(since);
                    self.ended.push_back((since, id.clone()));
                }
                Phase::Placing { .. }
                | Phase::Starting { .. }
                | Phase::Ready { .. }
                | Phase::Playing { .. }
                | Phase::Detached { .. }
                | Phase::Ending { .. } => {}
            }
            entry.publish();
            self.clusters.add(&entry.row);
            self.directory.show(id.clone(), entry.for_readers());
            self.sessions.insert(id.clone(), entry);
            self.note(&id, &phase, now);
        }
        self.show_members(&taken);
        self.ended.make_contiguous().sort_unstable();
        for mut order in orders {
            self.refit(&mut order);
            let node = order.node.clone();
            self.fleet
                .change(&node, now, |n| n.outbox.insert(order.command, order));
        }
    }

    /// Gives a start that was read back its secrets. Whether it is whole.
    fn unseal(&self, row: &mut OutboxRow) -> bool {
        let (Order::Start(start), Some(sealed)) = (&mut row.order, row.sealed.take()) else {
            return true;
        };
        match self.sealer.open(&row.session, &sealed) {
            Ok(ForNode { secrets, pull }) => {
                (start.secrets, start.pull) = (secrets, pull);
                true
            }
            Err(error) => {
                tracing::error!(session_id = %row.session, %error,
                    "a job's secrets cannot be opened");
                false
            }
        }
    }

    /// A write failed, or may have: believes nothing of before, and starts from the ledger.
    pub(super) async fn recover(&mut self, error: &StoreError) {
        tracing::error!(
            error = error as &dyn std::error::Error,
            "loading the ledger again"
        );
        crate::metrics::ledger_reload();
        for node in self.fleet.iter() {
            if let Some(stream) = node.link.stream() {
                stream.close();
            }
            self.directory.set_stream(&node.row.id, None);
        }
        self.directory.forget_nodes();
        if let Some(sharing) = &self.sharing {
            sharing.hub.clear();
        }
        while let Err(error) = self.load().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the ledger cannot be read; trying again"
            );
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }
}
