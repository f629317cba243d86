//! A node of ours that lies: its certificate is good, and nothing else.
//!
//! It shows huge epochs, slots of other nodes, sessions of others with forged, stolen and doubled
//! grants, acks orders that are not its own and reports the end of sessions that it does not run. What
//! it is given itself it acks and forgets. None of that may touch anybody else.

use super::broker::Ready;
use super::edge::Seen;
use super::wire::{Socket, forged, grant_of, hear, inventory, say};
use anyhow::Result;
use futures_util::SinkExt;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{
    AckOutcome, DenyReason, FromEdge, RunningSession, SessionReport, Slot, ToEdge,
};
use nearlight_protocol::id::{NodeId, SlotId};
use nearlight_protocol::unit::U64;
use rand::Rng;
use rand::rngs::StdRng;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long it stays, milliseconds.
const STAY_MS: (u64, u64) = (100, 2500);
const PATIENCE: Duration = Duration::from_secs(3);
/// Orders that it acks without having been given them.
const ACKS: u64 = 40;
/// The largest epoch that an engine's integer holds.
const HUGE: u64 = i64::MAX as u64;

/// The liar.
#[derive(Debug)]
pub(super) struct Hostile {
    pub(super) node: NodeId,
    pub(super) slot: SlotId,
    /// Slots of others.
    pub(super) others: Vec<SlotId>,
    pub(super) pki: PathBuf,
    pub(super) brokers: Vec<watch::Receiver<Option<Ready>>>,
    pub(super) seen: Arc<Seen>,
    pub(super) rng: StdRng,
}

impl Hostile {
    /// Lies until it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            // It is cut off for some of it, and comes back.
            let _ = self.once().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn once(&mut self) -> Result<()> {
        let n = self.rng.random_range(0..self.brokers.len());
        let Some(at) = *self.brokers[n].borrow() else {
            return Ok(());
        };
        let dialled = super::wire::dial(&self.pki, at.node_listen, &self.node);
        let (mut socket, _) = tokio::time::timeout(PATIENCE, dialled).await??;
        self.lie(&mut socket).await?;
        let (from, to) = STAY_MS;
        let until = Instant::now() + Duration::from_millis(self.rng.random_range(from..=to));
        while let Ok(message) = tokio::time::timeout_at(until, hear(&mut socket)).await {
            match message? {
                Some(Some(ToEdge::Command { command, .. })) => {
                    let outcome = AckOutcome::Done;
                    say(&mut socket, &FromEdge::Ack { command, outcome }).await?;
                    socket.flush().await?;
                }
                Some(_) => {}
                None => return Ok(()),
            }
        }
        Ok(())
    }

    async fn lie(&mut self, socket: &mut Socket) -> Result<()> {
        let slots = self.others.iter().chain([&self.slot, &self.slot]);
        let slots = slots.map(|id| Slot {
            id: id.clone(),
            epoch: U64(u64::MAX),
        });
        say(socket, &FromEdge::Inventory(inventory(slots.collect()))).await?;
        let grants = self.seen.grants();
        let mut sessions = Vec::new();
        for (session, grant) in &grants {
            let shown = |grant: String| RunningSession {
                session: session.clone(),
                grant,
                attached: true,
                ready: true,
            };
            sessions.push(shown(grant.clone()));
            sessions.push(shown(grant.clone()));
            sessions.push(shown(forged(grant, |grant| {
                grant.node = self.node.clone()
            })?));
            sessions.push(shown(forged(grant, |grant| {
                grant.node = self.node.clone();
                grant.slot = self.slot.clone();
                grant.epoch = U64(HUGE);
            })?));
        }
        say(socket, &FromEdge::Running { sessions }).await?;
        let upto = self.rng.random_range(0..2000);
        for command in upto..upto + ACKS {
            let outcome = if command % 2 == 0 {
                AckOutcome::Done
            } else {
                AckOutcome::Denied {
                    reason: DenyReason::Draining,
                    detail: "no".to_owned(),
                }
            };
            let command = U64(command);
            say(socket, &FromEdge::Ack { command, outcome }).await?;
        }
        for (session, grant) in grants {
            let epoch = grant_of(&grant)?.epoch;
            let reason = EndReason::AppCrashed;
            let detail = "x".repeat(5000);
            let event = SessionReport::Ended { reason, detail };
            say(
                socket,
                &FromEdge::Report {
                    session,
                    epoch,
                    event,
                },
            )
            .await?;
        }
        Ok(tokio::time::timeout(PATIENCE, socket.flush()).await??)
    }
}
