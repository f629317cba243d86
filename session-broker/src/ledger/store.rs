//! The ledger in an engine: one writer, a few readers. How it is opened otherwise is [`super::opening`]'s.

use super::basis::Basis;
use super::checkpoints;
use super::dialect::Engine;
use super::opening::{OpenError, migrate, tell};
use super::readers::{LONG, OWN, Readers, SHORT};
use super::share::{self, BrokerId, BrokerRow, Member};
use super::source::{LedgerAt, Source};
use super::tx::Tx;
use super::writer::{Done, Job, WAITING_MAX, What, Writer};
use super::{
    AppRow, Applied, AssignmentQuery, AssignmentRow, Budgeted, CardRow, ChainRow, CheckerRow,
    CheckerTokenRow, Credential, CredentialHash, Decided, DeliveryRow, DirectoryKey, DirectoryRows,
    Due, EvidenceRow, JoinTokenRow, KeyRow, Ledger, LicenceRow, LiveOf, Loaded, LogRow, NodeKeyRow,
    NodeRow, Of, Op, OwnerId, ReceiptQuery, ReceiptRow, RegistryKnown, RegistryRow, SavedAt,
    SessionReceiptRow, SessionRow, SpentTicket, StoreError, TenantRow, Usage, UsageLine,
    UsageQuery, VolumeRow, WatchLinkRow, WebhookRow, read, read_access, read_apps, read_checks,
    read_enrolment, read_identity, read_outside, read_receipts, read_saves, read_usage,
    read_volumes, read_webhooks,
};
use crate::time::Clock;
use futures_util::future::BoxFuture;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::id::{AppId, KeyId, NodeId, SessionId, TenantId, UserId};
use nearlight_protocol::identity::AuditEntry;
use nearlight_protocol::registry::ImagePolicy;
use nearlight_protocol::unit::UnixMillis;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// A ledger in SQLite or in PostgreSQL.
#[derive(Debug)]
pub struct SqlLedger {
    pub(super) readers: Readers,
    /// For what reads many rows.
    long: Readers,
    /// For what the broker acts on.
    own: Readers,
    pub(super) engine: Engine,
    writer: mpsc::Sender<Job>,
    me: BrokerId,
    clock: Clock,
    /// What became of the last write.
    failing: AtomicBool,
    /// How often its writer found that the ledger went back.
    setbacks: Arc<AtomicU64>,
    /// When the last transaction of its writer began that was committed. Held to look at it, or to move it on.
    written: Arc<Mutex<Instant>>,
}

impl SqlLedger {
    /// Opens it, makes its tables if there are none, and starts its writer, as `me`. From now on a
    /// broker of that name that had it open before can write no more, and stops; so does this one,
    /// once another of its name opens it.
    ///
    /// # Errors
    /// [`OpenError`]: it is not there, no ledger, or of a newer broker.
    pub async fn open(
        at: &LedgerAt,
        me: Member,
        clock: Clock,
        shutdown: &Shutdown,
    ) -> Result<Self, OpenError> {
        let source = Source::new(at)?;
        let name = source.name.clone();
        let open = |source| OpenError::Open {
            name: name.clone(),
            source,
        };
        let mut connection = source.connect().await.map_err(open)?;
        migrate(source.engine, &mut connection, &name).await?;
        let durability = source.durability(&mut connection).await.map_err(open)?;
        tell(&durability, &name);
        let readers = Readers::open(&source, SHORT).await.map_err(open)?;
        let long = Readers::open(&source, LONG).await.map_err(open)?;
        let own = Readers::open(&source, OWN).await.map_err(open)?;
        let engine = source.engine;
        let tx = Tx::new(engine, connection);
        let id = me.id.clone();
        let beside = source.clone();
        let writer = Writer::open(source, tx, me, shutdown.token()).await;
        let writer = writer.map_err(|source| OpenError::Term { name, source })?;
        let (setbacks, written) = (writer.setbacks(), writer.written());
        let (sender, jobs) = mpsc::channel(WAITING_MAX);
        shutdown.spawn(writer.run(jobs));
        shutdown.spawn(checkpoints::run(beside, written.clone(), shutdown.token()));
        Ok(Self {
            readers,
            long,
            own,
            engine,
            writer: sender,
            me: id,
            clock,
            failing: AtomicBool::new(false),
            setbacks,
            written,
        })
    }

    /// Reads in a transaction of the writer's, which is committed with it.
    async fn read_in_a_turn(&self, what: What) -> Result<Loaded, StoreError> {
        let done = self.hand_in(Vec::new(), None, Some(what)).await?;
        let (rows, basis) = done.read.unwrap_or_default();
        let loaded = rows.read(self.clock.now())?;
        Ok(Loaded { basis, ..loaded })
    }

    async fn hand_in(
        &self,
        ops: Vec<Op>,
        basis: Option<Basis>,
        reads: Option<What>,
    ) -> Result<Done, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.writer
            .send(Job {
                ops,
                basis,
                reads,
                reply,
            })
            .await
            .map_err(|_| StoreError::Closed)?;
        let done = answer.await.map_err(|_| StoreError::Closed)?;
        match &done {
            Ok(_) => {
                self.failing.store(false, Ordering::Relaxed);
            }
            Err(StoreError::NotApplied(_) | StoreError::Unknown(_) | StoreError::Superseded) => {
                self.failing.store(true, Ordering::Relaxed);
            }
            Err(StoreError::Corrupt(_) | StoreError::Lost(_) | StoreError::Closed) => {}
        }
        done
    }
}

#[cfg(test)]
impl SqlLedger {
    /// The connection of long questions, which has nothing else to do meanwhile.
    pub(super) async fn long_reader(&self) -> sqlx::pool::PoolConnection<sqlx::Any> {
        let taken = self.long.read(|at| async move {
            let taken = at.acquire().await;
            taken.map_err(StoreError::NotApplied)
        });
        taken.await.expect("a connection")
    }
}

impl Ledger for SqlLedger {
    fn write(&self, ops: Vec<Op>) -> BoxFuture<'_, Result<Vec<Applied>, StoreError>> {
        Box::pin(async move { Ok(self.hand_in(ops, None, None).await?.applied) })
    }

    fn write_as_holder(
        &self,
        ops: Vec<Op>,
        basis: Basis,
    ) -> BoxFuture<'_, Result<Vec<Applied>, StoreError>> {
        Box::pin(async move { Ok(self.hand_in(ops, Some(basis), None).await?.applied) })
    }

    fn setbacks(&self) -> u64 {
        self.setbacks.load(Ordering::SeqCst)
    }

    fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    fn silent_for(&self) -> Duration {
        let written = self.written.lock();
        written.unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn load(&self, ended_after_ms: UnixMillis) -> BoxFuture<'_, Result<Loaded, StoreError>> {
        Box::pin(self.read_in_a_turn(What::All { ended_after_ms }))
    }

    fn node(&self, node: NodeId) -> BoxFuture<'_, Result<Option<NodeRow>, StoreError>> {
        self.readers.read(move |at| {
            let node = node.clone();
            async move {
                let of = read::Of::Node(&node, &self.me);
                let mut at = read::Snapshot::of(at, self.engine).await?;
                Ok(read::nodes(at.connection(), of).await?.pop())
            }
        })
    }

    fn of_node(&self, node: NodeId) -> BoxFuture<'_, Result<Loaded, StoreError>> {
        self.readers.read(move |at| {
            let node = node.clone();
            async move {
                let mut at = read::Snapshot::of(at, self.engine).await?;
                let rows = read::of_node(at.connection(), &node, &self.me).await?;
                rows.read(self.clock.now())
            }
        })
    }

    fn surely_of_node(&self, node: NodeId) -> BoxFuture<'_, Result<Loaded, StoreError>> {
        Box::pin(self.read_in_a_turn(What::Node(node)))
    }

    fn session(
        &self,
        session: SessionId,
    ) -> BoxFuture<'_, Result<Option<(SessionRow, BrokerId)>, StoreError>> {
        self.readers.read(move |at| {
            let session = session.clone();
            async move { read::one_session(at, &session, self.clock.now()).await }
        })
    }

    fn replica(
        &self,
        cluster: SessionId,
        rank: u32,
    ) -> BoxFuture<'_, Result<Option<SessionRow>, StoreError>> {
        self.readers.read(move |at| {
            let cluster = cluster.clone();
            async move { read::replica_of(at, (&cluster, rank), self.clock.now()).await }
        })
    }

    fn waiting(&self) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>> {
        self.readers
            .read(|at| read::waiting(at, &self.me, self.clock.now()))
    }

    fn live_of(
        &self,
        holder: BrokerId,
        whose: LiveOf,
    ) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>> {
        self.readers.read(move |at| {
            let (holder, whose) = (holder.clone(), whose.clone());
            let now = self.clock.now();
            async move { read::live_of(at, &holder, &whose, now).await }
        })
    }

    fn brokers(&self) -> BoxFuture<'_, Result<Vec<BrokerRow>, StoreError>> {
        self.readers.read(share::brokers)
    }

    fn credential(
        &self,
        hash: CredentialHash,
    ) -> BoxFuture<'_, Result<Option<Credential>, StoreError>> {
        self.readers
            .read(move |at| read_identity::credential(at, hash))
    }

    fn newest_save(
        &self,
        user: UserId,
        app: AppId,
    ) -> BoxFuture<'_, Result<Option<SavedAt>, StoreError>> {
        self.readers
            .read(move |at| read_saves::newest_save(at, user.clone(), app.clone()))
    }

    fn has_key(&self, user: UserId, key: String) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.readers
            .read(move |at| read_saves::has_key(at, user.clone(), key.clone()))
    }

    fn spent_ticket(
        &self,
        ticket: String,
    ) -> BoxFuture<'_, Result<Option<SpentTicket>, StoreError>> {
        self.readers
            .read(move |at| read_access::spent_ticket(at, ticket.clone()))
    }

    fn watch_link(
        &self,
        hash: CredentialHash,
    ) -> BoxFuture<'_, Result<Option<WatchLinkRow>, StoreError>> {
        self.readers
            .read(move |at| read_access::watch_link(at, hash))
    }

    fn watch_links(
        &self,
        now_ms: UnixMillis,
    ) -> BoxFuture<'_, Result<Vec<WatchLinkRow>, StoreError>> {
        self.readers
            .read(move |at| read_access::watch_links(at, now_ms))
    }

    fn join_token(
        &self,
        hash: CredentialHash,
    ) -> BoxFuture<'_, Result<Option<JoinTokenRow>, StoreError>> {
        self.readers
            .read(move |at| read_enrolment::join_token(at, hash))
    }

    fn standings(&self) -> BoxFuture<'_, Result<Vec<(NodeId, Decided)>, StoreError>> {
        self.readers.read(read_enrolment::standings)
    }

    fn app_changes(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.readers.read(read_apps::changes)
    }

    fn apps(&self) -> BoxFuture<'_, Result<Vec<AppRow>, StoreError>> {
        self.readers.read(read_apps::apps)
    }

    fn tenants(&self, of: Of) -> BoxFuture<'_, Result<Vec<TenantRow>, StoreError>> {
        self.readers
            .read(move |at| read_identity::tenants(at, of.clone()))
    }

    fn tenant_budgets(&self) -> BoxFuture<'_, Result<Vec<(TenantId, u64)>, StoreError>> {
        self.readers.read(read_identity::tenant_budgets)
    }

    fn keys(
        &self,
        of: Of,
        after: Option<KeyId>,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<KeyRow>, StoreError>> {
        self.readers
            .read(move |at| read_identity::keys(at, of.clone(), after.clone(), max))
    }

    fn audit(
        &self,
        before: Option<u64>,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<AuditEntry>, StoreError>> {
        self.long
            .read(move |at| read_identity::audit(at, before, max))
    }

    fn volumes(&self, owner: Option<String>) -> BoxFuture<'_, Result<Vec<VolumeRow>, StoreError>> {
        self.readers
            .read(move |at| read_volumes::volumes(at, owner.clone()))
    }

    fn usage(&self, session: SessionId) -> BoxFuture<'_, Result<Vec<Usage>, StoreError>> {
        self.readers
            .read(move |at| read::usage(at, session.clone()))
    }

    fn usage_lines(&self, of: UsageQuery) -> BoxFuture<'_, Result<Vec<UsageLine>, StoreError>> {
        self.long.read(move |at| read_usage::lines(at, of.clone()))
    }

    fn spent_lines(&self, of: UsageQuery) -> BoxFuture<'_, Result<Vec<UsageLine>, StoreError>> {
        self.own.read(move |at| read_usage::lines(at, of.clone()))
    }

    fn rate_cards(&self) -> BoxFuture<'_, Result<Vec<CardRow>, StoreError>> {
        self.readers.read(read_usage::cards)
    }

    fn budgeted(&self) -> BoxFuture<'_, Result<Vec<Budgeted>, StoreError>> {
        self.own.read(move |at| read_usage::budgeted(at, &self.me))
    }

    fn registries(&self, owner: OwnerId) -> BoxFuture<'_, Result<Vec<RegistryRow>, StoreError>> {
        self.readers
            .read(move |at| read_outside::registries(at, owner.clone()))
    }

    fn registry(
        &self,
        owner: OwnerId,
        registry: String,
    ) -> BoxFuture<'_, Result<RegistryKnown, StoreError>> {
        self.readers
            .read(move |at| read_outside::known(at, owner.clone(), registry.clone()))
    }

    fn image_policy(&self, owner: OwnerId) -> BoxFuture<'_, Result<ImagePolicy, StoreError>> {
        self.readers
            .read(move |at| read_outside::policy(at, owner.clone()))
    }

    fn webhook(&self, owner: OwnerId) -> BoxFuture<'_, Result<Option<WebhookRow>, StoreError>> {
        self.readers
            .read(move |at| read_webhooks::webhook(at, owner.clone()))
    }

    fn deliveries(
        &self,
        owner: OwnerId,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<DeliveryRow>, StoreError>> {
        self.readers
            .read(move |at| read_webhooks::deliveries(at, owner.clone(), max))
    }

    fn receipt_log(&self) -> BoxFuture<'_, Result<Option<LogRow>, StoreError>> {
        Box::pin(async move {
            // After it nothing of ours is in doubt: what is read now is what will be.
            self.write(Vec::new()).await?;
            self.readers.read(read_receipts::log).await
        })
    }

    fn logged(&self, leaves: Vec<String>) -> BoxFuture<'_, Result<Vec<(String, u64)>, StoreError>> {
        self.readers.read(move |at| {
            let leaves = leaves.clone();
            async move { read_receipts::logged(at, &leaves).await }
        })
    }

    fn receipts(&self, of: ReceiptQuery) -> BoxFuture<'_, Result<Vec<ReceiptRow>, StoreError>> {
        self.readers
            .read(move |at| read_receipts::receipts(at, of.clone()))
    }

    fn session_receipts(
        &self,
        sessions: Vec<SessionId>,
    ) -> BoxFuture<'_, Result<Vec<SessionReceiptRow>, StoreError>> {
        self.readers.read(move |at| {
            let sessions = sessions.clone();
            async move { read_receipts::of_sessions(at, &sessions).await }
        })
    }

    fn evidence(&self, sha256: String) -> BoxFuture<'_, Result<Option<EvidenceRow>, StoreError>> {
        self.readers.read(move |at| {
            let sha256 = sha256.clone();
            async move { read_receipts::evidence(at, &sha256).await }
        })
    }

    fn directory(&self) -> BoxFuture<'_, Result<DirectoryRows, StoreError>> {
        self.readers.read(read_receipts::directory)
    }

    fn directory_serial(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.readers.read(read_receipts::directory_serial)
    }

    fn checker_keys(&self) -> BoxFuture<'_, Result<Vec<DirectoryKey>, StoreError>> {
        self.readers.read(read_receipts::checker_keys)
    }

    fn node_keys(&self, now_s: u64) -> BoxFuture<'_, Result<Vec<NodeKeyRow>, StoreError>> {
        self.readers
            .read(move |at| read_checks::node_keys(at, now_s))
    }

    fn licences(&self) -> BoxFuture<'_, Result<Vec<LicenceRow>, StoreError>> {
        self.readers.read(read_checks::licences)
    }

    fn checker_token(
        &self,
        hash: CredentialHash,
    ) -> BoxFuture<'_, Result<Option<CheckerTokenRow>, StoreError>> {
        self.readers
            .read(move |at| read_checks::checker_token(at, hash))
    }

    fn checkers(&self) -> BoxFuture<'_, Result<Vec<CheckerRow>, StoreError>> {
        self.readers.read(read_checks::checkers)
    }

    fn drawn(&self, span: (u64, u64)) -> BoxFuture<'_, Result<super::DrawnRounds, StoreError>> {
        self.readers.read(move |at| read_checks::drawn(at, span))
    }

    fn chain(&self) -> BoxFuture<'_, Result<Option<ChainRow>, StoreError>> {
        self.readers.read(read_checks::chain)
    }

    fn assignments(
        &self,
        of: AssignmentQuery,
    ) -> BoxFuture<'_, Result<Vec<AssignmentRow>, StoreError>> {
        self.readers
            .read(move |at| read_checks::assignments(at, of.clone()))
    }

    fn due_deliveries(
        &self,
        now_ms: UnixMillis,
        of_owner: u32,
        max: u32,
    ) -> BoxFuture<'_, Result<Vec<Due>, StoreError>> {
        self.readers
            .read(move |at| read_webhooks::due(at, &self.me, now_ms, [of_owner, max]))
    }
}
