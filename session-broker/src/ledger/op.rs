//! What callers ask of the ledger, and what came of it.

use super::{
    AppChange, AuditRow, Beyond, Bill, BrokerId, BrokerRow, CheckChange, Credential,
    CredentialHash, IdentityChange, JoinTokenRow, LogChange, Notice, OutsideChange, Reclaim,
    Redeemed, Remains, SessionRow, SpentTicket, TakeVolume, VolumesSeen, WatchLinkRow,
};
use nearlight_protocol::app::AppSpec;
use nearlight_protocol::control::{Inventory, Order};
use nearlight_protocol::grant::GrantRow;
use nearlight_protocol::id::{
    AppId, NodeId, SessionId, SlotId, TenantId, UserId, VolumeId, WatchLinkId,
};
use nearlight_protocol::unit::{MonoTime, UnixMillis};
use nearlight_protocol::usage::UsageFacts;
use nearlight_session::lifecycle::Phase;
use nearlight_session::{Claim, Epoch};
use std::sync::Arc;

/// One change.
#[derive(Clone, Debug)]
pub enum Op {
    /// A new session with its idempotency key, if its user's quota allows.
    CreateSession {
        /// The session, queued.
        row: Box<SessionRow>,
        /// The key that its creator sent.
        idempotency: Idempotency,
        /// Sessions that its user may hold; `None` for no limit.
        quota: Option<u32>,
        /// Sessions that its tenant's members may hold together; `None` for no limit.
        tenant_quota: Option<u32>,
    },
    /// A claim, with the order to start.
    Reserve(Box<Reserve>),
    /// The claims of a cluster, with the orders to start and the sessions of all replicas but the first: all
    /// of it or nothing.
    ReserveCluster(Box<ReserveCluster>),
    /// A session that its node still runs, and of which the ledger has lost everything; if it comes back
    /// to nobody's harm. Otherwise an order to stop it: [`Applied::Ordered`].
    Readmit(Box<Readmit>),
    /// A session's phase changed.
    SavePhase {
        /// The session.
        session: SessionId,
        /// Its phase.
        phase: Phase,
        /// Nodes that refused to start it.
        starts_denied: u8,
        /// When it changed.
        at: MonoTime,
    },
    /// The quotas of the user and their tenant have one more place.
    ReturnQuota {
        /// The session that is ending.
        session: SessionId,
        /// The user.
        user: UserId,
        /// Their tenant.
        tenant: Option<TenantId>,
    },
    /// A usage interval begins.
    BeginUsage {
        /// The session.
        session: SessionId,
        /// Its claim.
        claim: Claim,
        /// What is billed, to whom.
        bill: Box<Bill>,
        /// When.
        at: MonoTime,
    },
    /// What a session that was just created may cost.
    SetBudget {
        /// The session.
        session: SessionId,
        /// Micro-units.
        budget_micro: u64,
    },
    /// A rate card that the operator has written. One that holds already is left as it is.
    PutRateCard {
        /// Since when it is to hold; at the earliest it does now.
        declared_ms: UnixMillis,
        /// What it says, as JSON.
        card: String,
        /// Now.
        at_ms: UnixMillis,
    },
    /// An app with saves shows its player a picture: the node has the newest save from now on.
    NoteSave {
        /// Whose.
        user: UserId,
        /// The app.
        app: AppId,
        /// The node.
        node: NodeId,
        /// When.
        at: MonoTime,
    },
    /// A claim is free again: capacity returns, its usage ends, its unacked orders are void.
    Release {
        /// The session.
        session: SessionId,
        /// The claim.
        claim: Claim,
        /// The end of its usage: as long as its node is known to have run it.
        billed_until: MonoTime,
        /// When.
        at: MonoTime,
    },
    /// What a claim's job has used so far, as its node says.
    NoteUsed {
        /// The session.
        session: SessionId,
        /// The claim.
        claim: Claim,
        /// What is known of it.
        facts: UsageFacts,
    },
    /// What a node says of its volumes.
    NoteVolumes {
        /// The node.
        node: NodeId,
        /// What is new.
        seen: VolumesSeen,
        /// When.
        at: MonoTime,
    },
    /// A volume is to be wiped; [`Applied::RaceLost`] if a session has it, or it is gone.
    DeleteVolume {
        /// Which.
        volume: VolumeId,
        /// When.
        at: MonoTime,
    },
    /// An order to stop.
    OrderStop {
        /// The session.
        session: SessionId,
        /// The node that runs it.
        node: NodeId,
        /// The epoch that it runs under.
        epoch: Epoch,
        /// [`Order::Stop`].
        order: Order,
        /// When.
        at: MonoTime,
    },
    /// A node acked an order.
    Acked {
        /// Which node.
        node: NodeId,
        /// The order.
        command: u64,
    },
    /// A session that waits is another broker's from now on.
    GiveSession {
        /// The session.
        session: SessionId,
        /// Whose.
        to: BrokerId,
    },
    /// A node has attached here: it and its sessions are this broker's from now on.
    HoldNode {
        /// The node.
        node: NodeId,
        /// When.
        at: MonoTime,
    },
    /// A broker is gone: all that it holds is this broker's, if it has not moved since.
    SeizeBroker {
        /// As it was seen last.
        gone: Box<BrokerRow>,
        /// Sessions that ended later than this come along, too.
        ended_after_ms: UnixMillis,
    },
    /// A node is attached, with what it has.
    SaveNode {
        /// Its id.
        node: NodeId,
        /// Its name, region and build.
        name: String,
        /// Its region.
        region: String,
        /// Its build.
        build: String,
        /// What it has.
        inventory: Box<Inventory>,
        /// When.
        at: MonoTime,
    },
    /// A grant of our own, shown by a node, has a higher epoch than the ledger: it lost rows.
    RaiseEpoch {
        /// The slot.
        slot: SlotId,
        /// The grant's epoch.
        epoch: Epoch,
    },
    /// The nodes were heard of.
    SeenNodes {
        /// Which, and until when what it runs is known from itself.
        nodes: Vec<(NodeId, MonoTime)>,
        /// When.
        at: MonoTime,
    },
    /// A ticket is used.
    SpendTicket {
        /// Its id.
        ticket: String,
        /// What it is spent on.
        on: SpentTicket,
        /// When.
        at: MonoTime,
    },
    /// A guest, or the development key. One whose hash is there already is left as it is.
    AddCredential {
        /// The credential.
        credential: Credential,
        /// When.
        at: MonoTime,
    },
    /// A change of identity, with its line of the audit log.
    Identity {
        /// What changes.
        change: IdentityChange,
        /// What is noted if it was done.
        audit: Option<Box<AuditRow>>,
    },
    /// A job lost its node, and waits for another one.
    CountMove {
        /// The session.
        session: SessionId,
    },
    /// Something happened of which an endpoint is to be told, if there is one.
    Notify(Box<Notice>),
    /// A change of what a tenant has outside, with its line of the audit log.
    Outside {
        /// What changes.
        change: OutsideChange,
        /// What is noted if it was done.
        audit: Option<Box<AuditRow>>,
    },
    /// A change of the log of receipts, with its line of the audit log.
    Log {
        /// What changes.
        change: LogChange,
        /// What is noted if it was done.
        audit: Option<Box<AuditRow>>,
    },
    /// A change of who checks whom, with its line of the audit log.
    Check {
        /// What changes.
        change: CheckChange,
        /// What is noted if it was done.
        audit: Option<Box<AuditRow>>,
    },
    /// A node has a job's secrets, or nobody needs them any more.
    ForgetSecrets {
        /// The session.
        session: SessionId,
    },
    /// A session that waits is to be started with this edition of its app.
    SetEdition {
        /// The session.
        session: SessionId,
        /// The edition.
        app: Arc<AppSpec>,
    },
    /// A change of apps, with its line of the audit log.
    App {
        /// What changes.
        change: AppChange,
        /// What is noted if it was done.
        audit: Option<Box<AuditRow>>,
    },
    /// A new watch link, if its session has not too many that hold.
    AddWatchLink {
        /// The link.
        link: WatchLinkRow,
        /// How many of its session may hold at a time.
        links_max: u32,
    },
    /// A watch link is void. One that is void stays as it was.
    RevokeWatchLink {
        /// Its session.
        session: SessionId,
        /// The link.
        link: WatchLinkId,
        /// When.
        at: MonoTime,
    },
    /// A new join token.
    AddJoinToken {
        /// The token, unused.
        token: JoinTokenRow,
    },
    /// Somebody comes in with a join token, if it is unused and not over.
    RedeemJoinToken {
        /// SHA-256 of its secret.
        hash: CredentialHash,
        /// Who.
        by: Redeemed,
        /// When.
        at_ms: UnixMillis,
    },
    /// An operator drains a node, or lets it take sessions again.
    DrainNode {
        /// Which.
        node: NodeId,
        /// Whether it is drained.
        drained: bool,
        /// Whether what it runs ends, too.
        reclaim: Option<Reclaim>,
        /// When.
        at: MonoTime,
    },
    /// An operator vets a node, or not any more.
    VetNode {
        /// Which.
        node: NodeId,
        /// Whether it is vetted.
        vetted: bool,
        /// When.
        at: MonoTime,
    },
    /// A node is shut out for good. One that is stays so.
    RevokeNode {
        /// Which.
        node: NodeId,
        /// When.
        at: MonoTime,
    },
    /// Sessions that ended long ago go, with their claims, tickets and watch links: [`Applied::Removed`].
    SweepEnded {
        /// Those that ended before go.
        before: MonoTime,
        /// How many at most: a transaction must not hold up the others.
        sessions_max: u32,
    },
    /// Old rows of a kind go: [`Applied::Removed`].
    Prune {
        /// Which kind.
        what: Remains,
        /// Those from before may; of some kinds only those from long before.
        before: MonoTime,
        /// How many at most, as above.
        rows_max: u32,
    },
}

/// An Idempotency-Key and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The key, unique for its user.
    pub key: String,
    /// SHA-256 of the request.
    pub body_hash: [u8; 32],
}

/// A claim to be made.
#[derive(Clone, Debug)]
pub struct Reserve {
    /// For whom.
    pub session: SessionId,
    /// Whether the op right before creates the session; if that creates nothing, this one is
    /// [`Applied::Skipped`].
    pub with_create: bool,
    /// The slot and its next epoch: one above the ledger's, or the race is lost.
    pub claim: Claim,
    /// CPU, thousandths of a core.
    pub cpu_milli: u32,
    /// Memory, MiB.
    pub mem_mib: u32,
    /// Uplink, kbit/s.
    pub kbps: u32,
    /// Disk, MiB.
    pub disk_mib: u32,
    /// The UUIDs of its GPUs: each of them free, or the race is lost.
    pub gpus: Vec<String>,
    /// Volumes that it takes along.
    pub volumes: Vec<TakeVolume>,
    /// The capacity's revision that the decision was made on.
    pub capacity_rev: u64,
    /// [`Order::Start`] with the signed grant.
    pub order: Order,
    /// The session's next phase.
    pub phase: Phase,
    /// When.
    pub at: MonoTime,
}

/// The claims of a cluster that are to be made.
#[derive(Clone, Debug)]
pub struct ReserveCluster {
    /// Of each replica, in their order. The first is of a session that waits.
    pub reserves: Vec<Reserve>,
    /// The sessions of the others, in their order; they have no row yet.
    pub members: Vec<SessionRow>,
    /// How often it was placed before.
    pub run: u32,
}

/// A session as its grant has it, to be there again with its claim, its place in the quotas and its usage.
///
/// It comes back if the claim's epoch is above all that this ledger has claimed of the slot: then the
/// ledger has never seen the session, or lost it. One that ended, and was swept, stays away.
#[derive(Clone, Debug)]
pub struct Readmit {
    /// The session.
    pub session: SessionId,
    /// Whose.
    pub user: UserId,
    /// The claim, under the grant's epoch.
    pub claim: Claim,
    /// The rest of the row, and what the claim takes.
    pub row: GrantRow,
    /// The UUIDs of its GPUs.
    pub gpus: Vec<String>,
    /// What is billed of it.
    pub bill: Box<Bill>,
    /// Where it is, as its node says.
    pub phase: Phase,
    /// When it was granted: its usage begins then.
    pub granted_at: MonoTime,
    /// [`Order::Stop`], if it does not come back.
    pub stop: Order,
    /// When.
    pub at: MonoTime,
}

/// What came of an [`Op`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is done.
    Done,
    /// The order is in the outbox under this number.
    Ordered {
        /// Its number.
        command: u64,
    },
    /// The orders of a cluster's replicas are in the outbox under these numbers.
    OrderedAll {
        /// Of each replica, in their order.
        commands: Vec<u64>,
    },
    /// The same key and body came before; this is its session.
    Replayed {
        /// The session.
        session: SessionId,
    },
    /// The version that a description is.
    AppVersion {
        /// Its number.
        version: u32,
        /// Whether it was not there before.
        is_new: bool,
    },
    /// So much is gone.
    Removed {
        /// How many.
        rows: u64,
        /// When the oldest session was over that is due, too.
        oldest_left: Option<MonoTime>,
    },
    /// The same key came before with another body.
    KeyReused,
    /// The user's quota is used up.
    QuotaUsedUp,
    /// The quota of the user's tenant is.
    TenantQuotaUsedUp,
    /// It asks for more than the user's tenant may have together.
    BeyondTenant(Beyond),
    /// Another one has that name.
    NameTaken,
    /// Somebody else was first: the slot, its epoch or the node's capacity is not what it was.
    RaceLost,
    /// The ticket was used before.
    TicketSpent,
    /// The op before it created nothing, so there is nothing to reserve for.
    Skipped,
    /// There is no such row.
    Missing,
}
