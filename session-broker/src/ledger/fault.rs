//! A ledger that fails on demand, for tests of what the broker does then.

use super::{
    AppRow, Applied, AssignmentQuery, AssignmentRow, Basis, BrokerId, BrokerRow, Budgeted, CardRow,
    ChainRow, CheckerRow, CheckerTokenRow, Credential, CredentialHash, Decided, DeliveryRow,
    DirectoryKey, DirectoryRows, Due, EvidenceRow, IdentityChange, JoinTokenRow, KeyRow, Ledger,
    LicenceRow, LiveOf, Loaded, LogChange, LogRow, NodeKeyRow, NodeRow, Of, Op, OwnerId,
    ReceiptQuery, ReceiptRow, RegistryKnown, RegistryRow, SavedAt, SessionReceiptRow, SessionRow,
    SpentTicket, StoreError, TenantRow, Usage, UsageLine, UsageQuery, VolumeRow, WatchLinkRow,
    WebhookRow,
};
use futures_util::future::BoxFuture;
use nearlight_protocol::id::{AppId, KeyId, NodeId, SessionId, TenantId, UserId};
use nearlight_protocol::identity::AuditEntry;
use nearlight_protocol::registry::ImagePolicy;
use nearlight_protocol::unit::UnixMillis;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// What goes wrong with the next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It fails, and nothing is written.
    Fails,
    /// It is written, and fails nevertheless.
    FailsButApplied,
    /// As on a full disk: it fails and nothing is written, and so does every write until it is armed
    /// otherwise.
    Full,
}

/// Wraps a ledger; [`FaultyLedger::arm`] makes the next write fail.
#[derive(Clone, Debug)]
pub struct FaultyLedger {
    pub(super) inner: Arc<dyn Ledger>,
    armed: Arc<AtomicU8>,
    /// For the log of receipts, which writes when it likes.
    log_armed: Arc<AtomicU8>,
    /// Whether the last write met [`Fault::Full`].
    is_full: Arc<AtomicBool>,
    /// Whether the next read of a session, or of what a node runs, finds nothing.
    reads_early: Arc<AtomicBool>,
    /// For the next sure look at what a node runs.
    look_armed: Arc<AtomicU8>,
    /// Sure looks that were asked for.
    looks: Arc<AtomicU64>,
    /// Held while such looks take their time.
    slow: Arc<Mutex<()>>,
    /// Counts look-ups of credentials.
    looked_up: Arc<AtomicU64>,
}

impl FaultyLedger {
    /// Around `inner`, with nothing armed.
    pub fn new(inner: Arc<dyn Ledger>) -> Self {
        Self {
            inner,
            armed: Arc::default(),
            log_armed: Arc::default(),
            is_full: Arc::default(),
            reads_early: Arc::default(),
            look_armed: Arc::default(),
            looks: Arc::default(),
            slow: Arc::default(),
            looked_up: Arc::default(),
        }
    }

    /// How many credentials were looked up.
    pub fn looked_up(&self) -> u64 {
        self.looked_up.load(Ordering::SeqCst)
    }

    /// The next write meets `fault`.
    pub fn arm(&self, fault: Fault) {
        self.armed.store(fault as u8, Ordering::SeqCst);
    }

    /// The next write of the log of receipts meets `fault`.
    pub fn arm_log(&self, fault: Fault) {
        self.log_armed.store(fault as u8, Ordering::SeqCst);
    }

    /// Whether the fault of [`FaultyLedger::arm_log`] is still to be met.
    pub fn log_is_armed(&self) -> bool {
        self.log_armed.load(Ordering::SeqCst) != Fault::None as u8
    }

    /// The next read of a session, or of what a node runs, finds nothing: as of a moment at which another broker
    /// had it, before the ledger went back behind that.
    pub fn read_early(&self) {
        self.reads_early.store(true, Ordering::SeqCst);
    }

    /// The next sure look at what a node runs meets `fault`.
    pub fn arm_look(&self, fault: Fault) {
        self.look_armed.store(fault as u8, Ordering::SeqCst);
    }

    /// Sure looks have no answer while this is held.
    pub async fn hold_up_looks(&self) -> OwnedMutexGuard<()> {
        self.slow.clone().lock_owned().await
    }

    /// How many sure looks there were, answered or not.
    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::SeqCst)
    }

    fn is_early(&self) -> bool {
        self.reads_early.swap(false, Ordering::SeqCst)
    }
}

impl FaultyLedger {
    fn meet(
        &self,
        ops: Vec<Op>,
        basis: Option<Basis>,
    ) -> BoxFuture<'_, Result<Vec<Applied>, StoreError>> {
        // Upkeep comes when it likes; a test means what its caller has asked for.
        let upkeep = |op: &Op| {
            matches!(
                op,
                Op::SweepEnded { .. }
                    | Op::Prune { .. }
                    | Op::SeenNodes { .. }
                    | Op::Log {
                        change: LogChange::Fold(_) | LogChange::Evidence(_),
                        ..
                    }
                    | Op::Check { .. }
                    | Op::Identity {
                        change: IdentityChange::UsedKeys(_) | IdentityChange::Prune { .. },
                        ..
                    }
            )
        };
        let is_full = self.armed.load(Ordering::SeqCst) == Fault::Full as u8;
        let armed = if is_full {
            Fault::Full as u8
        } else if ops.iter().all(upkeep) {
            Fault::None as u8
        } else if ops.iter().all(|op| matches!(op, Op::Log { .. })) {
            self.log_armed.swap(Fault::None as u8, Ordering::SeqCst)
        } else {
            self.armed.swap(Fault::None as u8, Ordering::SeqCst)
        };
        Box::pin(async move {
            self.is_full.store(is_full, Ordering::SeqCst);
            if armed == Fault::Fails as u8 || is_full {
                return Err(StoreError::NotApplied(sqlx::Error::WorkerCrashed));
            }
            let applied = match basis {
                Some(basis) => self.inner.write_as_holder(ops, basis).await,
                None => self.inner.write(ops).await,
            };
            if armed == Fault::FailsButApplied as u8 {
                return Err(StoreError::Unknown(sqlx::Error::WorkerCrashed));
            }
            applied
        })
    }
}

impl Ledger for FaultyLedger {
    fn write(&self, ops: Vec<Op>) -> BoxFuture<'_, Result<Vec<Applied>, StoreError>> {
        self.meet(ops, None)
    }

    fn write_as_holder(
        &self,
        ops: Vec<Op>,
        basis: Basis,
    ) -> BoxFuture<'_, Result<Vec<Applied>, StoreError>> {
        self.meet(ops, Some(basis))
    }

    fn setbacks(&self) -> u64 {
        self.inner.setbacks()
    }

    fn is_failing(&self) -> bool {
        self.is_full.load(Ordering::SeqCst) || self.inner.is_failing()
    }

    fn silent_for(&self) -> Duration {
        self.inner.silent_for()
    }

    fn of_node(&self, node: NodeId) -> BoxFuture<'_, Result<Loaded, StoreError>> {
        match self.is_early() {
            true => Box::pin(async { Ok(Loaded::default()) }),
            false => self.inner.of_node(node),
        }
    }

    fn surely_of_node(&self, node: NodeId) -> BoxFuture<'_, Result<Loaded, StoreError>> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let _slow = self.slow.lock().await;
            let armed = self.look_armed.swap(Fault::None as u8, Ordering::SeqCst);
            match armed == Fault::None as u8 {
                true => self.inner.surely_of_node(node).await,
                false => Err(StoreError::NotApplied(sqlx::Error::WorkerCrashed)),
            }
        })
    }

    fn session(
        &self,
        session: SessionId,
    ) -> BoxFuture<'_, Result<Option<(SessionRow, BrokerId)>, StoreError>> {
        match self.is_early() {
            true => Box::pin(async { Ok(None) }),
            false => self.inner.session(session),
        }
    }

    fn replica(
        &self,
        cluster: SessionId,
        rank: u32,
    ) -> BoxFuture<'_, Result<Option<SessionRow>, StoreError>> {
        self.inner.replica(cluster, rank)
    }

    fn waiting(&self) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>> {
        self.inner.waiting()
    }

    fn live_of(
        &self,
        holder: BrokerId,
        whose: LiveOf,
    ) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>> {
        self.inner.live_of(holder, whose)
    }

    fn brokers(&self) -> BoxFuture<'_, Result<Vec<BrokerRow>, StoreError>> {
        self.inner.brokers()
    }

    fn load(&self, ended_after_ms: UnixMillis) -> BoxFuture<'_, Result<Loaded, StoreError>> {
        self.inner.load(ended_after_ms)
    }

    fn node(&self, node: NodeId) -> BoxFuture<'_, Result<Option<NodeRow>, StoreError>> {
        self.inner.node(node)
    }

    fn credential(
        &self,
        hash: CredentialHash,
    ) -> BoxFuture<'_, Result<Option<Credential>, StoreError>> {
        self.looked_up.fetch_add(1, Ordering::SeqCst);
        self.inner.credential(hash)
    }

    fn spent_ticket(
        &self,
        ticket: String,
    ) -> BoxFuture<'_, Result<Option<SpentTicket>, StoreError>> {
        self.inner.spent_ticket(ticket)
    }

    fn watch_link(
        &self,
        hash: CredentialHash,
    ) -> BoxFuture<'_, Result<Option<WatchLinkRow>, StoreError>> {
        self.inner.watch_link(hash)
    }

    fn watch_links(
        &self,
        now_ms: UnixMillis,
    ) -> BoxFuture<'_, Result<Vec<WatchLinkRow>, StoreError>> {
        self.inner.watch_links(now_ms)
    }

    fn join_token(
        &self,
        hash: CredentialHash,
    ) -> BoxFuture<'_, Result<Option<JoinTokenRow>, StoreError>> {
        self.inner.join_token(hash)
    }

    fn standings(&self) -> BoxFuture<'_, Result<Vec<(NodeId, Decided)>, StoreError>> {
        self.inner.standings()
    }

    fn app_changes(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inner.app_changes()
    }

    fn apps(&self) -> BoxFuture<'_, Result<Vec<AppRow>, StoreError>> {
        self.inner.apps()
    }

    fn tenants(&self, of: Of) -> BoxFuture<'_, Result<Vec<TenantRow>, StoreError>> {
        self.inner.tenants(of)
    }

    fn tenant_budgets(&self) -> BoxFuture<'_, Result<Vec<(TenantId, u64)>, StoreError>> {
        self.inner.tenant_budgets()
    }

    fn keys(
        &self,
        of: Of,
        after: Option<KeyId>,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<KeyRow>, StoreError>> {
        self.inner.keys(of, after, max)
    }

    fn audit(
        &self,
        before: Option<u64>,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<AuditEntry>, StoreError>> {
        self.inner.audit(before, max)
    }

    fn newest_save(
        &self,
        user: UserId,
        app: AppId,
    ) -> BoxFuture<'_, Result<Option<SavedAt>, StoreError>> {
        self.inner.newest_save(user, app)
    }

    fn has_key(&self, user: UserId, key: String) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.inner.has_key(user, key)
    }

    fn volumes(&self, owner: Option<String>) -> BoxFuture<'_, Result<Vec<VolumeRow>, StoreError>> {
        self.inner.volumes(owner)
    }

    fn usage(&self, session: SessionId) -> BoxFuture<'_, Result<Vec<Usage>, StoreError>> {
        self.inner.usage(session)
    }

    fn usage_lines(&self, of: UsageQuery) -> BoxFuture<'_, Result<Vec<UsageLine>, StoreError>> {
        self.inner.usage_lines(of)
    }

    fn spent_lines(&self, of: UsageQuery) -> BoxFuture<'_, Result<Vec<UsageLine>, StoreError>> {
        self.inner.spent_lines(of)
    }

    fn rate_cards(&self) -> BoxFuture<'_, Result<Vec<CardRow>, StoreError>> {
        self.inner.rate_cards()
    }

    fn budgeted(&self) -> BoxFuture<'_, Result<Vec<Budgeted>, StoreError>> {
        self.inner.budgeted()
    }

    fn registries(&self, owner: OwnerId) -> BoxFuture<'_, Result<Vec<RegistryRow>, StoreError>> {
        self.inner.registries(owner)
    }

    fn registry(
        &self,
        owner: OwnerId,
        registry: String,
    ) -> BoxFuture<'_, Result<RegistryKnown, StoreError>> {
        self.inner.registry(owner, registry)
    }

    fn image_policy(&self, owner: OwnerId) -> BoxFuture<'_, Result<ImagePolicy, StoreError>> {
        self.inner.image_policy(owner)
    }

    fn webhook(&self, owner: OwnerId) -> BoxFuture<'_, Result<Option<WebhookRow>, StoreError>> {
        self.inner.webhook(owner)
    }

    fn deliveries(
        &self,
        owner: OwnerId,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<DeliveryRow>, StoreError>> {
        self.inner.deliveries(owner, max)
    }

    fn receipt_log(&self) -> BoxFuture<'_, Result<Option<LogRow>, StoreError>> {
        self.inner.receipt_log()
    }

    fn logged(&self, leaves: Vec<String>) -> BoxFuture<'_, Result<Vec<(String, u64)>, StoreError>> {
        self.inner.logged(leaves)
    }

    fn receipts(&self, of: ReceiptQuery) -> BoxFuture<'_, Result<Vec<ReceiptRow>, StoreError>> {
        self.inner.receipts(of)
    }

    fn session_receipts(
        &self,
        sessions: Vec<SessionId>,
    ) -> BoxFuture<'_, Result<Vec<SessionReceiptRow>, StoreError>> {
        self.inner.session_receipts(sessions)
    }

    fn evidence(&self, sha256: String) -> BoxFuture<'_, Result<Option<EvidenceRow>, StoreError>> {
        self.inner.evidence(sha256)
    }

    fn directory(&self) -> BoxFuture<'_, Result<DirectoryRows, StoreError>> {
        self.inner.directory()
    }

    fn directory_serial(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inner.directory_serial()
    }

    fn checker_keys(&self) -> BoxFuture<'_, Result<Vec<DirectoryKey>, StoreError>> {
        self.inner.checker_keys()
    }

    fn node_keys(&self, now_s: u64) -> BoxFuture<'_, Result<Vec<NodeKeyRow>, StoreError>> {
        self.inner.node_keys(now_s)
    }

    fn licences(&self) -> BoxFuture<'_, Result<Vec<LicenceRow>, StoreError>> {
        self.inner.licences()
    }

    fn checker_token(
        &self,
        hash: CredentialHash,
    ) -> BoxFuture<'_, Result<Option<CheckerTokenRow>, StoreError>> {
        self.inner.checker_token(hash)
    }

    fn checkers(&self) -> BoxFuture<'_, Result<Vec<CheckerRow>, StoreError>> {
        self.inner.checkers()
    }

    fn drawn(&self, span: (u64, u64)) -> BoxFuture<'_, Result<super::DrawnRounds, StoreError>> {
        self.inner.drawn(span)
    }

    fn chain(&self) -> BoxFuture<'_, Result<Option<ChainRow>, StoreError>> {
        self.inner.chain()
    }

    fn assignments(
        &self,
        of: AssignmentQuery,
    ) -> BoxFuture<'_, Result<Vec<AssignmentRow>, StoreError>> {
        self.inner.assignments(of)
    }

    fn due_deliveries(
        &self,
        now_ms: UnixMillis,
        of_owner: u32,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<Due>, StoreError>> {
        self.inner.due_deliveries(now_ms, of_owner, max)
    }
}
