//! The ledger: what survives the broker.
//!
//! Everything that must not be lost or doubled is a row: sessions, slots and their epochs, claims,
//! capacity, usage, orders that no node has acked, idempotency keys, spent tickets, credentials,
//! watch links, join tokens, apps and their versions, and what was decided about nodes.
//! Heartbeats and progress are not.
//!
//! A caller hands over a list of [`Op`]s. They are applied in order in one transaction, with those of
//! other callers: one that is refused (a lost race, a used key) leaves nothing behind and the others
//! alone, and says so in its [`Applied`]. When the future resolves with `Ok`, all of it is on the disk.
//!
//! ```text
//!   callers --lists of Op--> writer --group--> plan (levels) --> batch --> write/*: one statement
//!      ^                       |                                 for all of a kind, on a set of rows
//!      +------- Applied -------+ commit, and the turn that makes its outcome knowable
//! ```
//!
//! Two engines, one dialect ([`dialect`]), one schema (`migrations/`), one suite of tests: SQLite in a
//! file, and what speaks PostgreSQL's protocol.
//!
//! **The ambiguous case.** [`StoreError::NotApplied`]: nothing was written. [`StoreError::Unknown`]:
//! the commit itself failed, and it may have been written. Callers treat both alike: they forget
//! what they believed and load again. They never guess.
//!
//! **What it does not know:** which transitions are right ([`nearlight_session`] does), placement,
//! HTTP.

use futures_util::future::BoxFuture;
use nearlight_protocol::app::AppSpec;
use nearlight_protocol::id::{AppId, KeyId, NodeId, SessionId, TenantId, UserId};
use nearlight_protocol::identity::AuditEntry;
use nearlight_protocol::registry::ImagePolicy;
use nearlight_protocol::unit::UnixMillis;
use std::time::Duration;

mod apps;
mod basis;
mod batch;
mod checkpoints;
mod checks;
mod dialect;
mod disputes;
mod fault;
mod identity;
mod moving;
mod op;
mod opening;
mod outside;
mod phase_row;
mod plan;
mod read;
mod read_access;
mod read_apps;
mod read_checks;
mod read_enrolment;
mod read_identity;
mod read_outside;
mod read_receipts;
mod read_saves;
mod read_stakes;
mod read_usage;
mod read_verdicts;
mod read_volumes;
mod read_webhooks;
mod readers;
mod receipts;
mod remains;
mod reseal;
mod resources;
mod rows;
mod schema;
mod share;
mod source;
mod stakes;
mod store;
mod tx;
mod usage;
mod verdicts;
mod volumes;
mod wish;
mod write;
mod writer;

pub use apps::{AppChange, AppRow, VersionRow};
pub use basis::{Basis, HandedBack};
pub use checks::{
    AssignmentQuery, AssignmentRow, AssignmentState, BeaconRow, ChainRow, CheckChange,
    CheckerJoins, CheckerRow, CheckerTokenRow, DrawnRounds, LicenceRow, NodeKey, NodeKeyRow,
};
pub use dialect::Engine;
pub use disputes::{DisputeBy, DisputeReads, DisputeRow};
pub use fault::{Fault, FaultyLedger};
pub use identity::{
    AuditRow, Credential, CredentialHash, IdentityChange, KeyRow, Login, Membership, Of, Secret,
    TenantRow,
};
pub use moving::{MoveError, Moved, move_file};
pub use op::{Applied, Idempotency, Op, Readmit, Reserve, ReserveCluster};
pub use opening::{OpenError, change_beside, copy_file};
pub use outside::{
    DeliveryRow, Due, NOTICES_WAITING_MAX, Notice, OutsideChange, OwnerId, RegistryKnown,
    RegistryRow, WebhookRow,
};
pub use read_receipts::log_size_beside;
pub use read_stakes::StakeReads;
pub(crate) use read_verdicts::RoundSeen;
pub use read_verdicts::VerdictReads;
pub use receipts::{
    Advance, DirectoryKey, DirectoryRows, EvidenceRow, LogChange, LogRow, ReceiptQuery, ReceiptRow,
    SessionReceiptRow,
};
pub use remains::Remains;
pub use reseal::{ResealCount, Resealed, SealedFor, reseal_beside};
pub use resources::{Amounts, Beyond, Resource};
pub use rows::{
    Capacity, Decided, HeldBy, JoinTokenRow, Loaded, NodeRow, OutboxRow, Reclaim, Redeemed,
    SavedAt, Sealed, SessionRow, SlotRow, SpentTicket, Standing, Usage, WatchLinkRow,
};
pub use share::{BrokerId, BrokerRow, Member, NotABroker};
pub use source::LedgerAt;
pub use stakes::{AccountRow, Amount, Move, OUTSIDE, POOL, SLASHED, Transfer, TransferRow};
pub use store::SqlLedger;
pub use usage::{
    Bill, Budgeted, CardRow, ClaimLine, Item, UsageLine, UsagePlace, UsageQuery, VolumeLine,
};
pub use verdicts::{Agreement, CheckRow, Folded, NewVerdicts, RoundOf, VerdictRow, VoidKey};
pub use volumes::{TakeVolume, VolumeRow, VolumesSeen};
pub use wish::{Estimate, Wish};

/// Where the broker writes things down.
pub trait Ledger: DisputeReads + StakeReads + VerdictReads + Send + Sync + std::fmt::Debug {
    /// Applies `ops` in one transaction. One answer an op, in order.
    fn write(&self, ops: Vec<Op>) -> BoxFuture<'_, Result<Vec<Applied>, StoreError>>;

    /// As [`Ledger::write`], of a broker about what it holds. If more has happened to that than `basis`
    /// says, nothing is written: where others took nodes, or a session that is to end is another broker's, it
    /// gets its changes back ([`StoreError::Lost`]); where the ledger went back, it has to load again, as after
    /// any [`StoreError::NotApplied`].
    fn write_as_holder(
        &self,
        ops: Vec<Op>,
        basis: Basis,
    ) -> BoxFuture<'_, Result<Vec<Applied>, StoreError>>;

    /// How often the ledger was found to have gone back behind what this broker had committed. Asked before
    /// anything is read: what is read may be from after the next setback, but not from before this one.
    fn setbacks(&self) -> u64;

    /// Whether the last write failed for a reason of the ledger's own, such as a full disk.
    fn is_failing(&self) -> bool;

    /// For how long nothing was written: since the last commit that succeeded was asked for.
    fn silent_for(&self) -> Duration;

    /// Everything that this broker holds, as of one moment: sessions that live or ended after
    /// `ended_after_ms`, nodes, unacked orders. What is read is committed with it, and [`Loaded::basis`] is what
    /// its changes go by.
    fn load(&self, ended_after_ms: UnixMillis) -> BoxFuture<'_, Result<Loaded, StoreError>>;

    /// One node, if this broker holds it.
    fn node(&self, node: NodeId) -> BoxFuture<'_, Result<Option<NodeRow>, StoreError>>;

    /// One node, the sessions that hold a claim on it, and its unacked orders, as of one moment; nothing
    /// if another broker holds it.
    fn of_node(&self, node: NodeId) -> BoxFuture<'_, Result<Loaded, StoreError>>;

    /// As [`Ledger::of_node`], for who believes to hold it and finds another broker there: that may be lost with
    /// the moments before a failover. What is read is committed with it, as in [`Ledger::load`].
    fn surely_of_node(&self, node: NodeId) -> BoxFuture<'_, Result<Loaded, StoreError>>;

    /// One session, and which broker holds it.
    fn session(
        &self,
        session: SessionId,
    ) -> BoxFuture<'_, Result<Option<(SessionRow, BrokerId)>, StoreError>>;

    /// The replica of this rank of a cluster's last run, beside the first one.
    fn replica(
        &self,
        cluster: SessionId,
        rank: u32,
    ) -> BoxFuture<'_, Result<Option<SessionRow>, StoreError>>;

    /// The sessions that wait, of those that this broker holds.
    fn waiting(&self) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>>;

    /// The live sessions that a broker holds, as far as they are asked for.
    fn live_of(
        &self,
        holder: BrokerId,
        whose: LiveOf,
    ) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>>;

    /// Every broker that has ever written to the ledger.
    fn brokers(&self) -> BoxFuture<'_, Result<Vec<BrokerRow>, StoreError>>;

    /// Whose credential this is the hash of, unless it was revoked.
    fn credential(
        &self,
        hash: CredentialHash,
    ) -> BoxFuture<'_, Result<Option<Credential>, StoreError>>;

    /// What a ticket was spent on.
    fn spent_ticket(
        &self,
        ticket: String,
    ) -> BoxFuture<'_, Result<Option<SpentTicket>, StoreError>>;

    /// The watch link of this hash, whether it still holds or not, until it is pruned.
    fn watch_link(
        &self,
        hash: CredentialHash,
    ) -> BoxFuture<'_, Result<Option<WatchLinkRow>, StoreError>>;

    /// Every watch link that holds at `now_ms`.
    fn watch_links(
        &self,
        now_ms: UnixMillis,
    ) -> BoxFuture<'_, Result<Vec<WatchLinkRow>, StoreError>>;

    /// The join token of this hash, whether it still holds or not, until it is pruned.
    fn join_token(
        &self,
        hash: CredentialHash,
    ) -> BoxFuture<'_, Result<Option<JoinTokenRow>, StoreError>>;

    /// What was decided about nodes, of each about which anything was.
    fn standings(&self) -> BoxFuture<'_, Result<Vec<(NodeId, Decided)>, StoreError>>;

    /// How often apps were changed: another number, another catalogue.
    fn app_changes(&self) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Every app with its versions, by id.
    fn apps(&self) -> BoxFuture<'_, Result<Vec<AppRow>, StoreError>>;

    /// Tenants, oldest first.
    fn tenants(&self, of: Of) -> BoxFuture<'_, Result<Vec<TenantRow>, StoreError>>;

    /// What tenants may spend in a month, of those that may not spend what they like. Every broker asks every few
    /// seconds, so nothing is summed up for it.
    fn tenant_budgets(&self) -> BoxFuture<'_, Result<Vec<(TenantId, u64)>, StoreError>>;

    /// Keys behind `after`, oldest first, `max` of them.
    fn keys(
        &self,
        of: Of,
        after: Option<KeyId>,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<KeyRow>, StoreError>>;

    /// Lines of the audit log before number `before`, newest first, `max` of them.
    fn audit(
        &self,
        before: Option<u64>,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<AuditEntry>, StoreError>>;

    /// Where a player's newest saves of an app are.
    fn newest_save(
        &self,
        user: UserId,
        app: AppId,
    ) -> BoxFuture<'_, Result<Option<SavedAt>, StoreError>>;

    /// Whether a user's Idempotency-Key has a session.
    fn has_key(&self, user: UserId, key: String) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// The volumes of an owner, or all, by owner and name; those that are yet to be wiped, too.
    fn volumes(&self, owner: Option<String>) -> BoxFuture<'_, Result<Vec<VolumeRow>, StoreError>>;

    /// The usage intervals of a session, by epoch.
    fn usage(&self, session: SessionId) -> BoxFuture<'_, Result<Vec<Usage>, StoreError>>;

    /// Usage intervals with their bills, by beginning.
    fn usage_lines(&self, of: UsageQuery) -> BoxFuture<'_, Result<Vec<UsageLine>, StoreError>>;

    /// The same for what ends sessions: no caller's question goes before it.
    fn spent_lines(&self, of: UsageQuery) -> BoxFuture<'_, Result<Vec<UsageLine>, StoreError>>;

    /// Every rate card, in the order in which they are declared to hold.
    fn rate_cards(&self) -> BoxFuture<'_, Result<Vec<CardRow>, StoreError>>;

    /// The live sessions of this broker that have run and may cost so much.
    fn budgeted(&self) -> BoxFuture<'_, Result<Vec<Budgeted>, StoreError>>;

    /// The registries that an owner has a credential for, by name.
    fn registries(&self, owner: OwnerId) -> BoxFuture<'_, Result<Vec<RegistryRow>, StoreError>>;

    /// What is known of a registry, for an owner.
    fn registry(
        &self,
        owner: OwnerId,
        registry: String,
    ) -> BoxFuture<'_, Result<RegistryKnown, StoreError>>;

    /// Which images jobs of an owner may have.
    fn image_policy(&self, owner: OwnerId) -> BoxFuture<'_, Result<ImagePolicy, StoreError>>;

    /// The endpoint of an owner.
    fn webhook(&self, owner: OwnerId) -> BoxFuture<'_, Result<Option<WebhookRow>, StoreError>>;

    /// What an endpoint was told, or is to be, newest first, `max` of them.
    fn deliveries(
        &self,
        owner: OwnerId,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<DeliveryRow>, StoreError>>;

    /// The head of the log of receipts, as of after everything that was written before.
    fn receipt_log(&self) -> BoxFuture<'_, Result<Option<LogRow>, StoreError>>;

    /// Which of these leaves (hex) stand in the log, and where.
    fn logged(&self, leaves: Vec<String>) -> BoxFuture<'_, Result<Vec<(String, u64)>, StoreError>>;

    /// Entries of the log, newest first.
    fn receipts(&self, of: ReceiptQuery) -> BoxFuture<'_, Result<Vec<ReceiptRow>, StoreError>>;

    /// The receipts of these sessions, of those that have one. At most a page of them is asked for.
    fn session_receipts(
        &self,
        sessions: Vec<SessionId>,
    ) -> BoxFuture<'_, Result<Vec<SessionReceiptRow>, StoreError>>;

    /// What is known of a piece of evidence, by its SHA-256 in hex.
    fn evidence(&self, sha256: String) -> BoxFuture<'_, Result<Option<EvidenceRow>, StoreError>>;

    /// The directory of keys.
    fn directory(&self) -> BoxFuture<'_, Result<DirectoryRows, StoreError>>;

    /// Which edition of the directory is the newest.
    fn directory_serial(&self) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// The keys of the directory whose role is to check.
    fn checker_keys(&self) -> BoxFuture<'_, Result<Vec<DirectoryKey>, StoreError>>;

    /// The receipt keys that nodes have at that time, Unix seconds.
    fn node_keys(&self, now_s: u64) -> BoxFuture<'_, Result<Vec<NodeKeyRow>, StoreError>>;

    /// The licences to check, oldest first.
    fn licences(&self) -> BoxFuture<'_, Result<Vec<LicenceRow>, StoreError>>;

    /// The checker's token of this hash, whether it still holds or not.
    fn checker_token(
        &self,
        hash: CredentialHash,
    ) -> BoxFuture<'_, Result<Option<CheckerTokenRow>, StoreError>>;

    /// Every checker that ever came in, oldest first.
    fn checkers(&self) -> BoxFuture<'_, Result<Vec<CheckerRow>, StoreError>>;

    /// What beacons outside gave for rounds, from one to another of them.
    fn drawn(&self, span: (u64, u64)) -> BoxFuture<'_, Result<DrawnRounds, StoreError>>;

    /// The chain of rounds, and which beacons are used.
    fn chain(&self) -> BoxFuture<'_, Result<Option<ChainRow>, StoreError>>;

    /// Who is to check whom, and what came of it.
    fn assignments(
        &self,
        of: AssignmentQuery,
    ) -> BoxFuture<'_, Result<Vec<AssignmentRow>, StoreError>>;

    /// What is to be delivered now, `of_owner` of each owner, and `max` of those whose endpoints take what they get and of
    /// the others each; with what this broker delivers already.
    fn due_deliveries(
        &self,
        now_ms: UnixMillis,
        of_owner: u32,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<Due>, StoreError>>;
}

/// Whose live sessions are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveOf {
    /// Everyone's.
    Everyone,
    /// Those of a tenant's members.
    Tenant(TenantId),
    /// Those of these users, of whom there is one at least.
    Users(Vec<UserId>),
}

/// The name of an app's edition in the ledger: SHA-256 of its text, in hex.
///
/// # Errors
/// [`StoreError::Corrupt`] for an app that has no text, of which there is none.
pub fn edition_of(app: &AppSpec) -> Result<String, StoreError> {
    write::work::edition_of(app)
}

/// Why the ledger failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was written.
    #[error("the ledger failed, and nothing was written")]
    NotApplied(#[source] sqlx::Error),
    /// It may have been written, or not.
    #[error("the ledger failed while committing")]
    Unknown(#[source] sqlx::Error),
    /// A row does not read as what it should be: written by a newer broker, or by hand.
    #[error("a row of the ledger cannot be read: {0}")]
    Corrupt(String),
    /// Another broker has opened the ledger since; this one must not go on.
    #[error("another broker has taken the ledger over")]
    Superseded,
    /// The broker does not hold all that it believes to hold. Nothing was written; these are the changes, and
    /// what it did not know.
    #[error("another broker has what this one believes to hold")]
    Lost(Box<HandedBack>),
    /// The writer is gone: the broker is stopping.
    #[error("the ledger is closed")]
    Closed,
}

#[cfg(test)]
mod test;
