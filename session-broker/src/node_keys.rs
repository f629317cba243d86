//! The keys that nodes sign receipts with: told on the control stream, kept by the ledger, entered into the
//! directory by the broker itself. And what each node says that it proves with its key, for as long as this broker runs.
//!
//! ```text
//!   Hello --verified--> queue --> ledger: node_key, directory (one transaction) --> known here
//! ```
//!
//! **Invariants.** A key counts only with its own signature over the node's id, so that nobody names another one's.
//! A key is of one node; a node has one, and a new one ends the window of the former; of new ones it has four in 30 days. What an administrator put into
//! the directory stays as it is.
//!
//! **What it does not know:** whether a node is attached, and what a receipt says.

use crate::ledger::{Applied, CheckChange, Ledger, NodeKey, NodeKeyRow, Op, StoreError};
use crate::receipts::{FAR_S, KEYS_MAX};
use crate::time::Clock;
use nearlight_proof::encoding::array_from_hex;
use nearlight_proof::key::PublicKey;
use nearlight_protocol::control::{Proves, ReceiptKeyClaim, receipt_key_proof};
use nearlight_protocol::id::NodeId;
use nearlight_protocol::limits::NODE_GPUS_MAX;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Keys that wait to be written: those of one storm of attaches. One that finds no room comes with the node's
/// next attach.
const WAITING_MAX: usize = 4096;
/// How often what other brokers wrote is read, and what could not be written is tried again.
const REFRESH: Duration = Duration::from_secs(15);
/// So many seconds before it was told a key counts, for clocks that are behind the broker's.
pub(crate) const EARLY_S: u64 = 300;

/// A node with a key that it has proved to have.
type Told = (NodeId, PublicKey);

/// See the module.
#[derive(Debug)]
pub(crate) struct NodeKeys {
    ledger: Arc<dyn Ledger>,
    clock: Clock,
    /// Who runs nodes of which nothing else is known.
    operator: String,
    told: mpsc::Sender<Told>,
    /// Held for a look-up, never across an await.
    known: RwLock<HashMap<NodeId, Arc<NodeKeyRow>>>,
    /// What nodes said last that they prove. Held for a look-up, never across an await.
    proves: RwLock<HashMap<NodeId, Arc<[Proves]>>>,
}

impl NodeKeys {
    /// With what the ledger has, and what [`NodeKeys::keep`] is to be given.
    pub(crate) async fn open(
        ledger: Arc<dyn Ledger>,
        clock: Clock,
        operator: String,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Told>), StoreError> {
        let (told, queue) = mpsc::channel(WAITING_MAX);
        let keys = Arc::new(Self {
            ledger,
            clock,
            operator,
            told,
            known: RwLock::default(),
            proves: RwLock::default(),
        });
        keys.refresh().await?;
        Ok((keys, queue))
    }

    /// A node's key, if it has told one.
    pub(crate) fn of(&self, node: &NodeId) -> Option<Arc<NodeKeyRow>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(node).cloned()
    }

    /// What a node that attached to this broker says that it proves; nothing of one that says nothing of it.
    pub(crate) fn proves(&self, node: &NodeId) -> Arc<[Proves]> {
        let proves = self.proves.read().unwrap_or_else(PoisonError::into_inner);
        proves.get(node).cloned().unwrap_or_default()
    }

    /// A node that attaches says what it proves. What no receipt can name is left out.
    pub(crate) fn tell_proves(&self, node: &NodeId, proves: Vec<Proves>) {
        let mut sound: Vec<Proves> = Vec::new();
        for one in proves.into_iter().take(NODE_GPUS_MAX) {
            if one.is_sound() && !sound.iter().any(|known| known.gpu == one.gpu) {
                sound.push(one);
            }
        }
        let mut known = self.proves.write().unwrap_or_else(PoisonError::into_inner);
        match sound.is_empty() {
            true => known.remove(node),
            false => known.insert(node.clone(), sound.into()),
        };
    }

    /// A node that attaches tells its key. One that it cannot have is not taken, and the node is, all the same.
    pub(crate) fn tell(&self, node: &NodeId, claim: &ReceiptKeyClaim) {
        let Some(key) = verified(node, claim) else {
            tracing::warn!(node_id = %node, "the node names a receipt key that it does not prove to have");
            return;
        };
        if self.of(node).is_some_and(|known| known.key == claim.key) {
            return;
        }
        if self.told.try_send((node.clone(), key)).is_err() {
            tracing::warn!(node_id = %node, "too many receipt keys wait; this one is told again with the next attach");
        }
    }

    /// Enters what is told, until `stop`.
    pub(crate) async fn keep(
        self: Arc<Self>,
        mut queue: mpsc::Receiver<Told>,
        stop: CancellationToken,
    ) {
        let mut beat = tokio::time::interval(REFRESH);
        let mut waiting: HashMap<NodeId, PublicKey> = HashMap::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                told = queue.recv() => match told {
                    Some((node, key)) => drop(waiting.insert(node, key)),
                    None => return,
                },
                _ = beat.tick() => {
                    if let Err(error) = self.refresh().await {
                        tracing::debug!(%error, "the keys of nodes are not read");
                    }
                }
            }
            let mut failed = HashMap::new();
            for (node, key) in waiting.drain() {
                if let Err(error) = self.enter(&node, &key).await {
                    tracing::debug!(node_id = %node, %error, "a receipt key is not written yet");
                    failed.insert(node, key);
                }
            }
            waiting = failed;
        }
    }

    async fn enter(&self, node: &NodeId, key: &PublicKey) -> Result<(), StoreError> {
        let at_s = self.clock.unix_ms() / 1000;
        let shown = NodeKey {
            node: node.clone(),
            key: nearlight_proof::encoding::hex(key.as_bytes()),
            key_id: key.id().to_string(),
            operator: self.operator.clone(),
            most: KEYS_MAX,
            from_s: at_s.saturating_sub(EARLY_S),
            until_s: FAR_S,
            at_s,
        };
        let op = Op::Check {
            change: CheckChange::NodeKey(Box::new(shown)),
            audit: None,
        };
        let applied = self.ledger.write(vec![op]).await?;
        match applied.first() {
            Some(Applied::RaceLost) => tracing::error!(node_id = %node, key = %key.id(),
                "the node shows the receipt key of another node: its data directory is a copy; remove receipt.key there"),
            Some(Applied::QuotaUsedUp) => tracing::warn!(node_id = %node,
                "the directory of keys is full, or the node has told four receipt keys within 30 days: this one's receipts count for nothing; keep receipt.key of its data directory"),
            Some(Applied::Done) => {
                tracing::info!(node_id = %node, key = %key.id(), "the node's receipt key is in the directory");
            }
            _ => {}
        }
        self.refresh().await
    }

    async fn refresh(&self) -> Result<(), StoreError> {
        let rows = self.ledger.node_keys(self.clock.unix_ms() / 1000).await?;
        let rows = rows.into_iter();
        let rows = rows.map(|row| (row.node.clone(), Arc::new(row))).collect();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = rows;
        Ok(())
    }
}

fn verified(node: &NodeId, claim: &ReceiptKeyClaim) -> Option<PublicKey> {
    let key = PublicKey::from_hex(&claim.key)?;
    let signature: [u8; 64] = array_from_hex(&claim.signature)?;
    key.verifies(&receipt_key_proof(node), &signature)
        .then_some(key)
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_proof::encoding::hex;
    use nearlight_proof::key::SecretKey;

    #[test]
    fn a_key_is_taken_with_its_own_signature_over_this_node_alone() {
        let (node, other) = (nearlight_kit::ids::node(), nearlight_kit::ids::node());
        let secret = SecretKey::from_seed(&[3; 32]);
        let claim = |node: &NodeId, key: &SecretKey| ReceiptKeyClaim {
            key: hex(secret.public().as_bytes()),
            signature: hex(&key.sign(&receipt_key_proof(node))),
        };
        assert_eq!(
            verified(&node, &claim(&node, &secret)),
            Some(secret.public())
        );
        assert_eq!(verified(&node, &claim(&other, &secret)), None, "replayed");
        let thief = SecretKey::from_seed(&[4; 32]);
        assert_eq!(verified(&node, &claim(&node, &thief)), None, "another's");
        let garbled = ReceiptKeyClaim {
            key: "xx".to_owned(),
            signature: String::new(),
        };
        assert_eq!(verified(&node, &garbled), None);
    }
}
