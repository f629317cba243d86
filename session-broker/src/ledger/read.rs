//! Reading rows back, each validated on the way.
//!
//! What takes several statements, and is held in memory as one thing, is read as of one moment: a node that
//! another broker takes between two of them would leave its sessions here without it. That is a [`Snapshot`], or
//! the writer's own transaction ([`super::basis`]).

use super::dialect::Engine;
use super::identity::priority;
use super::phase_row::{
    APP, JOB, PhaseRow, START, STOP, epoch_value, from_ms, ms, parse, reason_value,
};
use super::share::BrokerId;
use super::{
    Capacity, HeldBy, LiveOf, Loaded, NodeRow, OutboxRow, Sealed, SessionRow, SlotRow, StoreError,
    Usage, Wish,
};
use nearlight_protocol::app::DisplayMode;
use nearlight_protocol::control::{Order, Start};
use nearlight_protocol::id::{NodeId, SessionId, SlotId, UserId};
use nearlight_protocol::job::JobSpec;
use nearlight_protocol::unit::{MonoTime, UnixMillis};
use nearlight_protocol::work::{AppWork, Replica, Secrets, Work};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Row};
use std::collections::BTreeMap;

/// A session with the text of its app or job.
const SESSION: &str = "
    SELECT s.session_id, s.user_id, s.tenant_id, s.holder, s.priority, s.kind, s.wish, s.created_ms,
        s.display_width, s.display_height, s.display_hz, s.keyboard_layout, s.phase, s.since_ms,
        s.ready_ms, s.node_id, s.slot_id, s.epoch, s.viewer, s.reason, s.detail, s.starts_denied,
        s.ended_ms, a.app, j.spec, j.moves, k.sealed, m.cluster_id, m.cluster_run, m.cluster_rank
    FROM session s
    LEFT JOIN app_edition a ON a.digest = s.app_digest
    LEFT JOIN job_spec j ON j.session_id = s.session_id
    LEFT JOIN job_secret k ON k.session_id = s.session_id
    LEFT JOIN cluster_replica m ON m.session_id = s.session_id";

/// Those for which `condition` holds. Made of constants of this file alone.
fn sessions_where(condition: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("{SESSION} WHERE {condition}"))
}

/// An order with what its session has of it. A start whose session went is nobody's any more.
const ORDER: &str = "
    SELECT o.command_id, o.node_id, o.session_id, o.epoch, o.kind AS order_kind, o.body, s.kind,
        s.keyboard_layout, s.display_width, s.display_height, s.display_hz, a.app, j.spec, k.sealed,
        m.cluster_id, m.cluster_run, m.cluster_rank
    FROM outbox o LEFT JOIN session s ON s.session_id = o.session_id
    LEFT JOIN app_edition a ON a.digest = s.app_digest
    LEFT JOIN job_spec j ON j.session_id = o.session_id
    LEFT JOIN job_secret k ON k.session_id = o.session_id
    LEFT JOIN cluster_replica m ON m.session_id = o.session_id
    WHERE (o.kind = 'stop' OR a.app IS NOT NULL OR j.spec IS NOT NULL)";

/// Those for which `condition` holds, too, in their order.
fn orders_where(condition: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("{ORDER} AND {condition} ORDER BY o.command_id"))
}

const HELD: &str = "o.node_id IN (SELECT n.node_id FROM node n WHERE n.holder = $1)";

/// Readers whose reads are of one moment, the first read's, until this is dropped.
#[derive(Debug)]
pub(super) struct Snapshot(sqlx::Transaction<'static, sqlx::Any>);

impl Snapshot {
    pub(super) async fn of(pool: &AnyPool, engine: Engine) -> Result<Self, StoreError> {
        let begun = pool.begin_with(engine.begin_snapshot()).await;
        begun.map(Self).map_err(StoreError::NotApplied)
    }

    pub(super) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.0
    }
}

/// What a statement with one value returns.
async fn rows_of(
    at: &mut AnyConnection,
    text: AssertSqlSafe<String>,
    value: &str,
) -> Result<Vec<AnyRow>, StoreError> {
    let query = sqlx::query(text).bind(value);
    let rows = query.fetch_all(at).await;
    rows.map_err(StoreError::NotApplied)
}

/// What a broker holds, or what is on one of its nodes, as the engine has it: what is made of it needs no
/// transaction to stay open.
#[derive(Default)]
pub(super) struct Rows {
    sessions: Vec<AnyRow>,
    outbox: Vec<AnyRow>,
    nodes: NodeRows,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sessions = self.sessions.len();
        let mut rows = f.debug_struct("Rows");
        rows.field("sessions", &sessions).finish_non_exhaustive()
    }
}

impl Rows {
    /// Each validated.
    pub(super) fn read(&self, now: MonoTime) -> Result<Loaded, StoreError> {
        let sessions = self.sessions.iter().map(|row| session(row, now));
        let mut sessions = sessions.collect::<Result<Vec<_>, _>>()?;
        sessions.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Ok(Loaded {
            sessions,
            nodes: self.nodes.read()?,
            outbox: self.outbox.iter().map(order).collect::<Result<_, _>>()?,
            ..Loaded::default()
        })
    }
}

/// See [`super::Ledger::load`]. In a transaction whose reads are of one moment.
pub(super) async fn all(
    at: &mut AnyConnection,
    holder: &BrokerId,
    ended_after_ms: UnixMillis,
) -> Result<Rows, StoreError> {
    // Each half finds its rows by an index.
    let ended = format!("{SESSION} WHERE s.ended_ms >= $1 AND s.holder = $2");
    let live = format!("s.ended_ms IS NULL AND s.holder = $2 UNION ALL {ended}");
    let sessions = sqlx::query(sessions_where(&live))
        .bind(ms(ended_after_ms))
        .bind(holder.as_str())
        .fetch_all(&mut *at)
        .await
        .map_err(StoreError::NotApplied)?;
    Ok(Rows {
        sessions,
        outbox: rows_of(at, orders_where(HELD), holder.as_str()).await?,
        nodes: NodeRows::fetch(at, Of::Holder(holder)).await?,
    })
}

const ON_NODE: &str = "s.session_id IN (SELECT c.session_id FROM claim c
    WHERE c.node_id = $1 AND c.released_ms IS NULL)";

/// See [`super::Ledger::of_node`]. In a transaction whose reads are of one moment.
pub(super) async fn of_node(
    at: &mut AnyConnection,
    node: &NodeId,
    holder: &BrokerId,
) -> Result<Rows, StoreError> {
    let nodes = NodeRows::fetch(at, Of::Node(node, holder)).await?;
    if nodes.nodes.is_empty() {
        return Ok(Rows::default());
    }
    let outbox = orders_where("o.node_id = $1");
    Ok(Rows {
        sessions: rows_of(at, sessions_where(ON_NODE), node.as_str()).await?,
        outbox: rows_of(at, outbox, node.as_str()).await?,
        nodes,
    })
}

/// One session, and who holds it.
pub(super) async fn one_session(
    pool: &AnyPool,
    id: &SessionId,
    now: MonoTime,
) -> Result<Option<(SessionRow, BrokerId)>, StoreError> {
    let query = sqlx::query(sessions_where("s.session_id = $1"));
    let row = query.bind(id.as_str()).fetch_optional(pool).await;
    let row = row.map_err(StoreError::NotApplied)?;
    row.map(|row| Ok((session(&row, now)?, parse(row.get("holder"))?)))
        .transpose()
}

/// The replica of this rank of a cluster's last run.
pub(super) async fn replica_of(
    pool: &AnyPool,
    (cluster, rank): (&SessionId, u32),
    now: MonoTime,
) -> Result<Option<SessionRow>, StoreError> {
    let last = "s.session_id = (SELECT r.session_id FROM cluster_replica r
        WHERE r.cluster_id = $1 AND r.cluster_rank = $2 ORDER BY r.cluster_run DESC LIMIT 1)";
    let query = sqlx::query(sessions_where(last));
    let row = query.bind(cluster.as_str()).bind(i64::from(rank));
    let row = row.fetch_optional(pool).await;
    let row = row.map_err(StoreError::NotApplied)?;
    row.map(|row| session(&row, now)).transpose()
}

/// The sessions of a holder that wait, oldest first.
pub(super) async fn waiting(
    pool: &AnyPool,
    holder: &BrokerId,
    now: MonoTime,
) -> Result<Vec<SessionRow>, StoreError> {
    let waits = "s.ended_ms IS NULL AND s.phase = 'queued' AND s.holder = $1";
    let rows = sqlx::query(sessions_where(waits))
        .bind(holder.as_str())
        .fetch_all(pool)
        .await;
    let rows = rows.map_err(StoreError::NotApplied)?;
    let sessions = rows.iter().map(|row| session(row, now));
    let mut sessions: Vec<SessionRow> = sessions.collect::<Result<_, _>>()?;
    sessions.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Ok(sessions)
}

/// The live sessions that a broker holds, as far as they are asked for.
pub(super) async fn live_of(
    pool: &AnyPool,
    holder: &BrokerId,
    whose: &LiveOf,
    now: MonoTime,
) -> Result<Vec<SessionRow>, StoreError> {
    let (whose, ids): (String, Vec<&str>) = match whose {
        LiveOf::Everyone => (String::new(), Vec::new()),
        LiveOf::Tenant(tenant) => (" AND s.tenant_id = $2".to_owned(), vec![tenant.as_str()]),
        LiveOf::Users(users) => {
            let places: Vec<String> = (0..users.len()).map(|n| format!("${}", n + 2)).collect();
            let whose = format!(" AND s.user_id IN ({})", places.join(", "));
            (whose, users.iter().map(UserId::as_str).collect())
        }
    };
    let live = format!("s.ended_ms IS NULL AND s.holder = $1{whose}");
    let mut query = sqlx::query(sessions_where(&live)).bind(holder.as_str());
    for id in ids {
        query = query.bind(id);
    }
    let rows = query
        .fetch_all(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    rows.iter().map(|row| session(row, now)).collect()
}

/// Whose rows are read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of<'a> {
    /// All of a broker.
    Holder(&'a BrokerId),
    /// One, if it is that broker's.
    Node(&'a NodeId, &'a BrokerId),
}

const NODES: &str = "
    SELECT n.node_id, n.name, n.region, n.build, n.inventory, n.heard_ms,
        c.cpu_milli_free, c.mem_mib_free, c.uplink_kbps_free, c.rev,
        (SELECT CAST(COALESCE(SUM(v.size_mib), 0) AS BIGINT) FROM volume v
            WHERE v.node_id = n.node_id) AS volumes_mib
    FROM node n JOIN node_capacity c ON c.node_id = n.node_id";

const SLOTS: &str = "
    SELECT s.node_id, s.slot_id, s.epoch, s.listed, c.session_id AS held_by, c.epoch AS held_epoch,
        c.cpu_milli, c.mem_mib, c.kbps, c.disk_mib, c.gpus
    FROM slot s JOIN node n ON n.node_id = s.node_id
    LEFT JOIN claim c ON c.slot_id = s.slot_id AND c.released_ms IS NULL";

const GPUS: &str = "
    SELECT g.node_id, g.gpu_uuid, g.slot_id, g.epoch
    FROM node n JOIN claim_gpu g ON g.node_id = n.node_id";

impl Of<'_> {
    async fn fetch(self, at: &mut AnyConnection, what: &str) -> Result<Vec<AnyRow>, StoreError> {
        // Made of constants of this file alone.
        let text = |condition: &str| AssertSqlSafe(format!("{what} WHERE {condition}"));
        let query = match self {
            Self::Holder(holder) => sqlx::query(text("n.holder = $1")).bind(holder.as_str()),
            Self::Node(node, holder) => sqlx::query(text("n.node_id = $1 AND n.holder = $2"))
                .bind(node.as_str())
                .bind(holder.as_str()),
        };
        let rows = query.fetch_all(at).await;
        rows.map_err(StoreError::NotApplied)
    }
}

/// Nodes that a broker holds, by id.
pub(super) async fn nodes(at: &mut AnyConnection, of: Of<'_>) -> Result<Vec<NodeRow>, StoreError> {
    NodeRows::fetch(at, of).await?.read()
}

/// Nodes with what hangs on them.
#[derive(Default)]
struct NodeRows {
    nodes: Vec<AnyRow>,
    slots: Vec<AnyRow>,
    gpus: Vec<AnyRow>,
}

impl NodeRows {
    async fn fetch(at: &mut AnyConnection, of: Of<'_>) -> Result<Self, StoreError> {
        let nodes = of.fetch(at, NODES).await?;
        let slots = of.fetch(at, SLOTS).await?;
        let has_gpus = slots.iter().any(|slot| {
            let held: Option<i64> = slot.get("gpus");
            held.is_some_and(|gpus| gpus > 0)
        });
        let gpus = match has_gpus {
            true => of.fetch(at, GPUS).await?,
            false => Vec::new(),
        };
        Ok(Self { nodes, slots, gpus })
    }

    fn read(&self) -> Result<Vec<NodeRow>, StoreError> {
        let nodes = self.nodes.iter().map(node);
        let mut nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        // Engines sort text each in its own way.
        nodes.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        for row in &self.slots {
            add_slot(&mut nodes, row)?;
        }
        name_gpus(&mut nodes, &self.gpus)?;
        Ok(nodes)
    }
}

/// Gives its node a slot. `nodes` are sorted by id.
fn add_slot(nodes: &mut [NodeRow], row: &AnyRow) -> Result<(), StoreError> {
    let of: NodeId = parse(row.get("node_id"))?;
    let Ok(at) = nodes.binary_search_by(|n| n.id.cmp(&of)) else {
        return Ok(());
    };
    let held_by = match row.get::<Option<&str>, _>("held_by") {
        Some(session) => Some(HeldBy {
            session: parse(session)?,
            epoch: epoch_value(row.get("held_epoch"))?,
            cpu_milli: unsigned(row.get("cpu_milli"))?,
            mem_mib: unsigned(row.get("mem_mib"))?,
            kbps: unsigned(row.get("kbps"))?,
            disk_mib: unsigned(row.get("disk_mib"))?,
            gpus: unsigned(row.get("gpus"))?,
            gpu_uuids: Vec::new(),
        }),
        None => None,
    };
    let slot = SlotRow {
        epoch: epoch_value(row.get("epoch"))?,
        listed: row.get::<i64, _>("listed") != 0,
        held_by,
    };
    nodes[at].slots.insert(parse(row.get("slot_id"))?, slot);
    Ok(())
}

/// Says of each claim which GPUs it has. `nodes` are sorted by id.
fn name_gpus(nodes: &mut [NodeRow], gpus: &[AnyRow]) -> Result<(), StoreError> {
    for row in gpus {
        let of: NodeId = parse(row.get("node_id"))?;
        let slot: SlotId = parse(row.get("slot_id"))?;
        let epoch = epoch_value(row.get("epoch"))?;
        let Ok(at) = nodes.binary_search_by(|n| n.id.cmp(&of)) else {
            continue;
        };
        let slot = nodes[at].slots.get_mut(&slot);
        let held = slot.and_then(|slot| slot.held_by.as_mut());
        if let Some(held) = held.filter(|held| held.epoch == epoch) {
            held.gpu_uuids.push(row.get("gpu_uuid"));
        }
    }
    let slots = nodes.iter_mut().flat_map(|node| node.slots.values_mut());
    let held = slots.filter_map(|slot| slot.held_by.as_mut());
    held.for_each(|held| held.gpu_uuids.sort_unstable());
    Ok(())
}

pub(super) async fn usage(pool: &AnyPool, of: SessionId) -> Result<Vec<Usage>, StoreError> {
    sqlx::query(
        "SELECT epoch, began_ms, ended_ms FROM usage_interval WHERE session_id = $1 ORDER BY epoch",
    )
    .bind(of.as_str())
    .fetch_all(pool)
    .await
    .map_err(StoreError::NotApplied)?
    .iter()
    .map(|row| {
        let ended: Option<i64> = row.get("ended_ms");
        Ok(Usage {
            epoch: epoch_value(row.get("epoch"))?,
            began_ms: unsigned(row.get("began_ms"))?,
            ended_ms: ended.map(unsigned).transpose()?,
        })
    })
    .collect()
}

fn session(row: &AnyRow, now: MonoTime) -> Result<SessionRow, StoreError> {
    let phase = PhaseRow::read(row);
    let since = from_ms(phase.since_ms);
    let node = phase.node_id.as_deref().map(parse).transpose()?;
    let tenant: Option<&str> = row.get("tenant_id");
    Ok(SessionRow {
        id: parse(row.get("session_id"))?,
        user: parse(row.get("user_id"))?,
        tenant: tenant.map(parse).transpose()?,
        priority: priority(row.get("priority"))?,
        work: work(row)?,
        sealed: sealed(row),
        created_at: from_ms(row.get("created_ms")),
        phase: phase.into_phase(now)?,
        starts_denied: unsigned(row.get("starts_denied"))?,
        moves: unsigned(row.get::<Option<i64>, _>("moves").unwrap_or(0))?,
        since,
        node,
        wish: wish(row.get("wish"))?,
        replica: replica(row)?,
    })
}

fn replica(row: &AnyRow) -> Result<Option<Replica>, StoreError> {
    let Some(cluster) = row.get::<Option<&str>, _>("cluster_id") else {
        return Ok(None);
    };
    let work = work(row)?;
    Ok(Some(Replica {
        cluster: parse(cluster)?,
        run: unsigned(row.get("cluster_run"))?,
        rank: unsigned(row.get("cluster_rank"))?,
        of: work.job().map_or(1, JobSpec::replicas),
    }))
}

fn wish(text: &str) -> Result<Wish, StoreError> {
    if text.is_empty() {
        return Ok(Wish::default());
    }
    json(text)
}

fn node(row: &AnyRow) -> Result<NodeRow, StoreError> {
    let uplink: Option<i64> = row.get("uplink_kbps_free");
    Ok(NodeRow {
        id: parse(row.get("node_id"))?,
        name: row.get("name"),
        region: row.get("region"),
        build: row.get("build"),
        inventory: json(row.get("inventory"))?,
        slots: BTreeMap::new(),
        heard_at: from_ms(row.get("heard_ms")),
        capacity: Capacity {
            cpu_milli_free: unsigned(row.get("cpu_milli_free"))?,
            mem_mib_free: unsigned(row.get("mem_mib_free"))?,
            uplink_kbps_free: uplink.map(unsigned).transpose()?,
            rev: unsigned(row.get("rev"))?,
        },
        volumes_mib: unsigned(row.get("volumes_mib"))?,
    })
}

fn display(row: &AnyRow) -> Result<DisplayMode, StoreError> {
    Ok(DisplayMode {
        width: unsigned(row.get("display_width"))?,
        height: unsigned(row.get("display_height"))?,
        hz: unsigned(row.get("display_hz"))?,
    })
}

fn order(row: &AnyRow) -> Result<OutboxRow, StoreError> {
    let session: SessionId = parse(row.get("session_id"))?;
    let order = match row.get("order_kind") {
        START => Order::Start(Box::new(Start {
            session: session.clone(),
            grant: row.get("body"),
            work: work(row)?.for_start(),
            secrets: Secrets::default(),
            replica: replica(row)?,
            storage: None,
            pull: None,
        })),
        STOP => Order::Stop {
            session: session.clone(),
            reason: reason_value(row.get("body"))?,
        },
        other => return Err(StoreError::Corrupt(format!("unknown order `{other}`"))),
    };
    Ok(OutboxRow {
        command: unsigned(row.get("command_id"))?,
        node: parse(row.get("node_id"))?,
        session,
        epoch: epoch_value(row.get("epoch"))?,
        order,
        sealed: sealed(row),
    })
}

fn work(row: &AnyRow) -> Result<Work, StoreError> {
    match row.get("kind") {
        JOB => Ok(Work::Job(json(text(row, "spec")?)?)),
        APP => Ok(Work::App(AppWork {
            app: json(text(row, "app")?)?,
            display: display(row)?,
            keyboard_layout: row.get("keyboard_layout"),
        })),
        other => Err(StoreError::Corrupt(format!("unknown kind `{other}`"))),
    }
}

fn sealed(row: &AnyRow) -> Option<Sealed> {
    row.get::<Option<String>, _>("sealed").map(Sealed)
}

/// A column of a joined table, where that has to have a row.
fn text<'r>(row: &'r AnyRow, column: &str) -> Result<&'r str, StoreError> {
    let text: Option<&str> = row.get(column);
    text.ok_or_else(|| StoreError::Corrupt(format!("a session without its {column}")))
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Corrupt(e.to_string()))
}

fn unsigned<T: TryFrom<i64>>(column: i64) -> Result<T, StoreError> {
    T::try_from(column).map_err(|_| StoreError::Corrupt(format!("{column} is out of range")))
}
