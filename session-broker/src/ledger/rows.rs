//! The rows that a broker works with, as they are read: sessions, nodes with their slots and claims, orders, what
//! opens a door, and what was decided about nodes.
//!
//! **What it does not know:** how they lie in tables, who may change them.

use super::basis::Basis;
use super::identity::CredentialHash;
use super::wish::Wish;
use nearlight_protocol::app::AppSpec;
use nearlight_protocol::control::{Inventory, Order};
use nearlight_protocol::id::{
    AttachmentId, NodeId, SessionId, SlotId, TenantId, UserId, WatchLinkId,
};
use nearlight_protocol::identity::Priority;
use nearlight_protocol::unit::{MonoTime, UnixMillis};
use nearlight_protocol::work::{Replica, Work};
use nearlight_session::Epoch;
use nearlight_session::lifecycle::Phase;
use std::collections::BTreeMap;

/// Where saves are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedAt {
    /// The node.
    pub node: NodeId,
    /// When it showed a picture last.
    pub used_ms: UnixMillis,
}

/// A session's row.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRow {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// Its user's tenant.
    pub tenant: Option<TenantId>,
    /// Where it stands in the queue.
    pub priority: Priority,
    /// What it runs: an app as the catalogue had it when the session was created, or a job.
    pub work: Work,
    /// A job's secrets, until a node has them.
    pub sealed: Option<Sealed>,
    /// When it was created.
    pub created_at: MonoTime,
    /// Where it is.
    pub phase: Phase,
    /// Nodes that refused to start it.
    pub starts_denied: u8,
    /// How often it lost its node and was placed again.
    pub moves: u32,
    /// When its phase was written.
    pub since: MonoTime,
    /// The node that runs it, or ran it last.
    pub node: Option<NodeId>,
    /// Where it should run.
    pub wish: Wish,
    /// Which replica of its cluster it is; of a cluster's first, once it was placed.
    pub replica: Option<Replica>,
}

/// A node's row, with its slots and capacity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Its build.
    pub build: String,
    /// What it said it has. The slots' epochs in it are its own; the ledger's are in `slots`.
    pub inventory: Inventory,
    /// Its slots by id: epoch, and who holds it.
    pub slots: BTreeMap<SlotId, SlotRow>,
    /// Until when what it runs is known from itself.
    pub heard_at: MonoTime,
    /// What no claim holds.
    pub capacity: Capacity,
    /// What its volumes take, MiB, in use or not.
    pub volumes_mib: u64,
}

/// A slot as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotRow {
    /// The last epoch that was granted.
    pub epoch: Epoch,
    /// Whether the node still has it.
    pub listed: bool,
    /// Its live claim.
    pub held_by: Option<HeldBy>,
}

/// The live claim of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBy {
    /// The session.
    pub session: SessionId,
    /// The claim's epoch. The slot's is above it once its node or a grant has shown a newer one.
    pub epoch: Epoch,
    /// CPU that it took, thousandths of a core.
    pub cpu_milli: u32,
    /// Memory that it took, MiB.
    pub mem_mib: u32,
    /// Uplink that is set aside for it, kbit/s.
    pub kbps: u32,
    /// Disk that it is held to, MiB.
    pub disk_mib: u32,
    /// How many GPUs it has for itself.
    pub gpus: u32,
    /// Which; none from a broker that did not say.
    pub gpu_uuids: Vec<String>,
}

/// What is left of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Thousandths of a core.
    pub cpu_milli_free: u32,
    /// MiB.
    pub mem_mib_free: u32,
    /// kbit/s of the uplink; `None` while nobody knows what it carries.
    pub uplink_kbps_free: Option<u32>,
    /// Compared and swapped by each claim and release.
    pub rev: u64,
}

/// An order that its node has not acked.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxRow {
    /// Its number.
    pub command: u64,
    /// The node.
    pub node: NodeId,
    /// The session.
    pub session: SessionId,
    /// The epoch of the claim that it is about.
    pub epoch: Epoch,
    /// What to do. A start that is read back has none of its secrets.
    pub order: Order,
    /// The secrets of a job's start that is read back.
    pub sealed: Option<Sealed>,
}

impl SessionRow {
    /// Since when it waits, or began to.
    pub(crate) const fn waits_since(&self) -> MonoTime {
        match self.moves {
            0 => self.created_at,
            _ => self.since,
        }
    }

    /// What it runs, for the log.
    pub(crate) fn name(&self) -> &str {
        match &self.work {
            Work::App(work) => work.app.id.as_str(),
            Work::Job(spec) => &spec.image,
        }
    }

    /// Whether it stands for a cluster.
    pub fn is_cluster(&self) -> bool {
        let job = self.work.job();
        !self.is_member() && job.is_some_and(|spec| spec.cluster.is_some())
    }

    /// Whether it is a replica of a cluster beside the first: nobody asked for it by itself.
    pub fn is_member(&self) -> bool {
        self.replica
            .as_ref()
            .is_some_and(|replica| replica.rank > 0)
    }

    /// The app, if it is one.
    pub fn app(&self) -> Option<&AppSpec> {
        self.work.app().map(|work| &work.app)
    }
}

/// Secrets, sealed: nothing that is printed shows them, and only a broker opens them.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub String);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealed")
    }
}

/// What a ticket was spent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpentTicket {
    /// The session.
    pub session: SessionId,
    /// The attachment that it opened.
    pub attachment: AttachmentId,
}

/// A watch link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchLinkRow {
    /// Its id.
    pub id: WatchLinkId,
    /// SHA-256 of its secret.
    pub hash: CredentialHash,
    /// The session that it shows.
    pub session: SessionId,
    /// When it was made.
    pub created_ms: UnixMillis,
    /// It is void from then on.
    pub expires_ms: UnixMillis,
}

/// A join token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinTokenRow {
    /// SHA-256 of its secret.
    pub hash: CredentialHash,
    /// The name that it gives its node; may be empty.
    pub name: String,
    /// The region that it gives its node; may be empty.
    pub region: String,
    /// Who will run the node; empty for who runs the network.
    pub operator: String,
    /// When it was made.
    pub created_ms: UnixMillis,
    /// It is void from then on.
    pub expires_ms: UnixMillis,
    /// Who came in with it.
    pub used: Option<Redeemed>,
}

/// Who came in with a join token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redeemed {
    /// SHA-256 of the public key that asked.
    pub key_hash: [u8; 32],
    /// The node that it became.
    pub node: NodeId,
}

/// What an operator has decided about a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: it takes sessions.
    #[default]
    Active,
    /// It takes no new sessions.
    Drained,
    /// It is shut out for good.
    Revoked,
}

/// The capacity of a drained node is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reclaim {
    /// When what runs on it ends, in whole milliseconds.
    pub until: MonoTime,
    /// Why, for the owners of jobs. May be empty.
    pub reason: String,
}

/// What an operator has decided about a node, all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// Whether it takes sessions.
    pub standing: Standing,
    /// Whether jobs that want vetted nodes go to it.
    pub vetted: bool,
    /// Whether what it runs ends, too; of a drained node.
    pub reclaim: Option<Reclaim>,
    /// Who runs it, as its join token said; empty for who runs the network.
    pub operator: String,
}

/// A usage interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The claim's epoch.
    pub epoch: Epoch,
    /// The acked start.
    pub began_ms: UnixMillis,
    /// The acked stop; `None` while it runs.
    pub ended_ms: Option<UnixMillis>,
}

/// Everything that a starting broker needs.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Sessions, oldest first.
    pub sessions: Vec<SessionRow>,
    /// Nodes.
    pub nodes: Vec<NodeRow>,
    /// Unacked orders, oldest first.
    pub outbox: Vec<OutboxRow>,
    /// What changes of all this go by; of one node's nothing.
    pub basis: Basis,
}
