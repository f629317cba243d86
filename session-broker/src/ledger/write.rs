//! One op, as SQL in the writer's transaction.

use super::phase_row::{PhaseRow, epoch_column, parse, to_ms};
use super::watch_row;
use super::{Applied, Credential, Idempotency, Op, Reserve, SessionRow, SpentTicket, StoreError};
use nearlight_protocol::api::Role;
use nearlight_protocol::control::{Inventory, Order};
use nearlight_protocol::id::{AppId, NodeId, SessionId, UserId};
use nearlight_protocol::unit::MonoTime;
use nearlight_session::lifecycle::Phase;
use nearlight_session::{Claim, Epoch};
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection};
use sqlx::{Connection, Row};

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// Free capacity is what no live claim holds; after a node shrank, nothing rather than less.
const RECOUNT_CAPACITY: &str = "
    UPDATE node_capacity SET rev = rev + 1,
        cpu_milli_free = CASE WHEN cpu_milli_total > held.cpu
            THEN cpu_milli_total - held.cpu ELSE 0 END,
        mem_mib_free = CASE WHEN mem_mib_total > held.mem
            THEN mem_mib_total - held.mem ELSE 0 END,
        uplink_kbps_free = CASE WHEN uplink_kbps_total IS NULL THEN NULL
            WHEN uplink_kbps_total > held.kbps THEN uplink_kbps_total - held.kbps ELSE 0 END
    FROM (SELECT COALESCE(SUM(cpu_milli), 0) AS cpu, COALESCE(SUM(mem_mib), 0) AS mem,
              COALESCE(SUM(kbps), 0) AS kbps
          FROM claim WHERE node_id = ? AND released_ms IS NULL) AS held
    WHERE node_id = ?";

/// Applies `op`; `before` is what came of the op before it in the same list.
pub(super) async fn apply(
    tx: &mut SqliteConnection,
    op: &Op,
    before: Option<&Applied>,
) -> Result<Applied, StoreError> {
    match op {
        Op::CreateSession {
            row,
            idempotency,
            quota,
        } => create_session(tx, row, idempotency, *quota).await,
        Op::Reserve(reserve) if reserve.with_create && before != Some(&Applied::Done) => {
            Ok(Applied::Skipped)
        }
        Op::Reserve(reserve) => self::reserve(tx, reserve).await,
        Op::SavePhase {
            session,
            phase,
            starts_denied,
            at,
        } => save_phase(tx, session, phase, *starts_denied, *at).await,
        Op::ReturnQuota { user } => return_quota(tx, user).await,
        Op::BeginUsage {
            session,
            user,
            app,
            claim,
            at,
        } => begin_usage(tx, session, user, app, claim, *at).await,
        Op::Release { session, claim, at } => release(tx, session, claim, *at).await,
        Op::OrderStop {
            session,
            node,
            epoch,
            order,
            at,
        } => push_order(tx, session, node, *epoch, order, *at).await,
        Op::Acked { command } => {
            let delete = sqlx::query("DELETE FROM outbox WHERE command_id = ?");
            run(tx, delete.bind(int(*command)?)).await?;
            Ok(Applied::Done)
        }
        Op::SaveNode {
            node,
            name,
            region,
            build,
            inventory,
            at,
        } => save_node(tx, node, [name, region, build], inventory, *at).await,
        Op::RaiseEpoch { slot, epoch } => {
            let raise = sqlx::query("UPDATE slot SET epoch = ? WHERE slot_id = ? AND epoch < ?");
            let epoch = epoch_column(*epoch)?;
            run(tx, raise.bind(epoch).bind(slot.as_str()).bind(epoch)).await?;
            Ok(Applied::Done)
        }
        Op::SeenNodes { nodes, at } => {
            for node in nodes {
                let seen = sqlx::query("UPDATE node SET last_seen_ms = ? WHERE node_id = ?");
                run(tx, seen.bind(to_ms(*at)).bind(node.as_str())).await?;
            }
            Ok(Applied::Done)
        }
        Op::SpendTicket { ticket, on, at } => spend_ticket(tx, ticket, on, *at).await,
        Op::AddCredential { credential, at } => add_credential(tx, credential, *at).await,
        Op::AddWatchLink { link, links_max } => watch_row::add(tx, link, *links_max).await,
        Op::RevokeWatchLink { session, link, at } => {
            watch_row::revoke(tx, session, link, *at).await
        }
        Op::SweepEnded {
            before,
            sessions_max,
        } => sweep_ended(tx, *before, *sessions_max).await,
        Op::Prune { before } => prune(tx, *before).await,
    }
}

async fn create_session(
    tx: &mut SqliteConnection,
    row: &SessionRow,
    idempotency: &Idempotency,
    quota: Option<u32>,
) -> Result<Applied, StoreError> {
    let mut savepoint = tx.begin().await.map_err(StoreError::NotApplied)?;
    let insert = sqlx::query(
        "INSERT INTO idempotency (user_id, idem_key, body_hash, session_id, created_ms)
         VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(row.user.as_str())
    .bind(&idempotency.key)
    .bind(idempotency.body_hash.to_vec())
    .bind(row.id.as_str())
    .bind(to_ms(row.created_at));
    if run(&mut savepoint, insert).await? == 0 {
        savepoint.rollback().await.map_err(StoreError::NotApplied)?;
        return first_with_key(tx, row, idempotency).await;
    }
    let open =
        sqlx::query("INSERT INTO quota (user_id, used) VALUES (?, 0) ON CONFLICT DO NOTHING");
    run(&mut savepoint, open.bind(row.user.as_str())).await?;
    let take = sqlx::query("UPDATE quota SET used = used + 1 WHERE user_id = ? AND used < ?")
        .bind(row.user.as_str())
        .bind(quota.map_or(i64::MAX, i64::from));
    if run(&mut savepoint, take).await? == 0 {
        savepoint.rollback().await.map_err(StoreError::NotApplied)?;
        return Ok(Applied::QuotaUsedUp);
    }
    insert_session(&mut savepoint, row).await?;
    savepoint.commit().await.map_err(StoreError::NotApplied)?;
    Ok(Applied::Done)
}

/// The key was there: whether it stands for the same request.
async fn first_with_key(
    tx: &mut SqliteConnection,
    row: &SessionRow,
    idempotency: &Idempotency,
) -> Result<Applied, StoreError> {
    let first = sqlx::query(
        "SELECT body_hash, session_id FROM idempotency WHERE user_id = ? AND idem_key = ?",
    )
    .bind(row.user.as_str())
    .bind(&idempotency.key)
    .fetch_one(tx)
    .await
    .map_err(StoreError::NotApplied)?;
    let same = first.get::<&[u8], _>("body_hash") == idempotency.body_hash;
    Ok(if same {
        Applied::Replayed {
            session: parse(first.get("session_id"))?,
        }
    } else {
        Applied::KeyReused
    })
}

async fn insert_session(tx: &mut SqliteConnection, row: &SessionRow) -> Result<(), StoreError> {
    let phase = PhaseRow::of(&row.phase, row.created_at)?;
    let insert = sqlx::query(
        "INSERT INTO session (session_id, user_id, app_id, app, display_width, display_height,
             display_hz, keyboard_layout, created_ms, phase, since_ms, detail, starts_denied)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(row.id.as_str())
    .bind(row.user.as_str())
    .bind(row.app.id.as_str())
    .bind(json(&row.app)?)
    .bind(i64::from(row.display.width))
    .bind(i64::from(row.display.height))
    .bind(i64::from(row.display.hz))
    .bind(&row.keyboard_layout)
    .bind(to_ms(row.created_at))
    .bind(phase.phase)
    .bind(phase.since_ms)
    .bind(phase.detail)
    .bind(i64::from(row.starts_denied));
    run(tx, insert).await?;
    Ok(())
}

async fn reserve(tx: &mut SqliteConnection, r: &Reserve) -> Result<Applied, StoreError> {
    let mut savepoint = tx.begin().await.map_err(StoreError::NotApplied)?;
    if !try_reserve(&mut savepoint, r).await? {
        savepoint.rollback().await.map_err(StoreError::NotApplied)?;
        return Ok(Applied::RaceLost);
    }
    let (node, epoch) = (&r.claim.node, r.claim.epoch);
    let ordered = push_order(&mut savepoint, &r.session, node, epoch, &r.order, r.at).await?;
    savepoint.commit().await.map_err(StoreError::NotApplied)?;
    Ok(ordered)
}

/// Slot, claim, capacity and session in turn; `false` as soon as one is not what was decided on.
async fn try_reserve(tx: &mut SqliteConnection, r: &Reserve) -> Result<bool, StoreError> {
    let epoch = epoch_column(r.claim.epoch)?;
    let slot = sqlx::query(
        "UPDATE slot SET epoch = ? WHERE slot_id = ? AND node_id = ? AND epoch = ? AND listed = 1",
    )
    .bind(epoch)
    .bind(r.claim.slot.as_str())
    .bind(r.claim.node.as_str())
    .bind(epoch - 1);
    if run(tx, slot).await? == 0 {
        return Ok(false);
    }
    let claim = sqlx::query(
        "INSERT INTO claim
             (slot_id, epoch, node_id, session_id, cpu_milli, mem_mib, kbps, claimed_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(r.claim.slot.as_str())
    .bind(epoch)
    .bind(r.claim.node.as_str())
    .bind(r.session.as_str())
    .bind(i64::from(r.cpu_milli))
    .bind(i64::from(r.mem_mib))
    .bind(i64::from(r.kbps))
    .bind(to_ms(r.at));
    if run(tx, claim).await? == 0 {
        return Ok(false);
    }
    let capacity = sqlx::query(
        "UPDATE node_capacity SET rev = rev + 1, cpu_milli_free = cpu_milli_free - ?,
             mem_mib_free = mem_mib_free - ?, uplink_kbps_free = uplink_kbps_free - ?
         WHERE node_id = ? AND rev = ? AND cpu_milli_free >= ? AND mem_mib_free >= ?
             AND (uplink_kbps_free IS NULL OR uplink_kbps_free >= ?)",
    )
    .bind(i64::from(r.cpu_milli))
    .bind(i64::from(r.mem_mib))
    .bind(i64::from(r.kbps))
    .bind(r.claim.node.as_str())
    .bind(int(r.capacity_rev)?)
    .bind(i64::from(r.cpu_milli))
    .bind(i64::from(r.mem_mib))
    .bind(i64::from(r.kbps));
    if run(tx, capacity).await? == 0 {
        return Ok(false);
    }
    let phase = PhaseRow::of(&r.phase, r.at)?;
    let session = sqlx::query(
        "UPDATE session SET phase = ?, since_ms = ?, node_id = ?, slot_id = ?, epoch = ?
         WHERE session_id = ? AND phase = 'queued'",
    )
    .bind(phase.phase)
    .bind(phase.since_ms)
    .bind(phase.node_id)
    .bind(phase.slot_id)
    .bind(phase.epoch)
    .bind(r.session.as_str());
    Ok(run(tx, session).await? == 1)
}

async fn save_phase(
    tx: &mut SqliteConnection,
    session: &SessionId,
    phase: &Phase,
    starts_denied: u8,
    at: MonoTime,
) -> Result<Applied, StoreError> {
    let row = PhaseRow::of(phase, at)?;
    let update = sqlx::query(
        "UPDATE session SET phase = ?, since_ms = ?, ready_ms = ?, node_id = COALESCE(?, node_id),
             slot_id = ?, epoch = ?, viewer = ?, reason = ?, detail = ?, starts_denied = ?
         WHERE session_id = ? AND phase <> 'ended'",
    )
    .bind(row.phase)
    .bind(row.since_ms)
    .bind(row.ready_ms)
    // Of an ended session the last node stays on record.
    .bind(row.node_id)
    .bind(row.slot_id)
    .bind(row.epoch)
    .bind(row.viewer)
    .bind(row.reason)
    .bind(row.detail)
    .bind(i64::from(starts_denied))
    .bind(session.as_str());
    run(tx, update).await?;
    Ok(Applied::Done)
}

async fn return_quota(tx: &mut SqliteConnection, user: &UserId) -> Result<Applied, StoreError> {
    let give = sqlx::query("UPDATE quota SET used = used - 1 WHERE user_id = ? AND used > 0");
    run(tx, give.bind(user.as_str())).await?;
    Ok(Applied::Done)
}

async fn begin_usage(
    tx: &mut SqliteConnection,
    session: &SessionId,
    user: &UserId,
    app: &AppId,
    claim: &Claim,
    at: MonoTime,
) -> Result<Applied, StoreError> {
    let insert = sqlx::query(
        "INSERT INTO usage_interval (session_id, epoch, user_id, app_id, node_id, began_ms)
         VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(session.as_str())
    .bind(epoch_column(claim.epoch)?)
    .bind(user.as_str())
    .bind(app.as_str())
    .bind(claim.node.as_str())
    .bind(to_ms(at));
    run(tx, insert).await?;
    Ok(Applied::Done)
}

async fn release(
    tx: &mut SqliteConnection,
    session: &SessionId,
    claim: &Claim,
    at: MonoTime,
) -> Result<Applied, StoreError> {
    let epoch = epoch_column(claim.epoch)?;
    let free = sqlx::query(
        "UPDATE claim SET released_ms = ? WHERE slot_id = ? AND epoch = ? AND released_ms IS NULL",
    )
    .bind(to_ms(at))
    .bind(claim.slot.as_str())
    .bind(epoch);
    if run(tx, free).await? == 1 {
        recount_capacity(tx, &claim.node).await?;
    }
    let usage = sqlx::query(
        "UPDATE usage_interval SET ended_ms = ?
         WHERE session_id = ? AND epoch = ? AND ended_ms IS NULL",
    )
    .bind(to_ms(at))
    .bind(session.as_str())
    .bind(epoch);
    run(tx, usage).await?;
    let void =
        sqlx::query("DELETE FROM outbox WHERE session_id = ? AND epoch = ? AND kind = 'start'")
            .bind(session.as_str())
            .bind(epoch);
    run(tx, void).await?;
    Ok(Applied::Done)
}

async fn push_order(
    tx: &mut SqliteConnection,
    session: &SessionId,
    node: &NodeId,
    epoch: Epoch,
    order: &Order,
    at: MonoTime,
) -> Result<Applied, StoreError> {
    let kind = match order {
        Order::Start(_) => "start",
        Order::Stop { .. } => "stop",
    };
    // The update changes nothing; it makes the row come back whether it is new or not.
    let insert = sqlx::query(
        "INSERT INTO outbox (node_id, session_id, epoch, kind, body, created_ms)
         VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (session_id, epoch, kind) DO UPDATE SET kind = excluded.kind
         RETURNING command_id",
    )
    .bind(node.as_str())
    .bind(session.as_str())
    .bind(epoch_column(epoch)?)
    .bind(kind)
    .bind(json(order)?)
    .bind(to_ms(at));
    let row = insert.fetch_one(tx).await.map_err(StoreError::NotApplied)?;
    let command: i64 = row.get("command_id");
    let command = u64::try_from(command)
        .map_err(|_| StoreError::Corrupt(format!("order number {command} is negative")))?;
    Ok(Applied::Ordered { command })
}

async fn save_node(
    tx: &mut SqliteConnection,
    node: &NodeId,
    [name, region, build]: [&String; 3],
    inventory: &Inventory,
    at: MonoTime,
) -> Result<Applied, StoreError> {
    let upsert = sqlx::query(
        "INSERT INTO node (node_id, name, region, build, inventory, last_seen_ms)
         VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (node_id) DO UPDATE SET name = excluded.name, region = excluded.region,
             build = excluded.build, inventory = excluded.inventory,
             last_seen_ms = excluded.last_seen_ms",
    )
    .bind(node.as_str())
    .bind(name)
    .bind(region)
    .bind(build)
    .bind(json(inventory)?)
    .bind(to_ms(at));
    run(tx, upsert).await?;
    let capacity = sqlx::query(
        "INSERT INTO node_capacity
             (node_id, cpu_milli_total, mem_mib_total, uplink_kbps_total, cpu_milli_free,
              mem_mib_free, rev)
         VALUES (?, ?, ?, ?, 0, 0, 0)
         ON CONFLICT (node_id) DO UPDATE SET cpu_milli_total = excluded.cpu_milli_total,
             mem_mib_total = excluded.mem_mib_total,
             uplink_kbps_total = excluded.uplink_kbps_total",
    )
    .bind(node.as_str())
    .bind(i64::from(inventory.cpu_milli))
    .bind(i64::from(inventory.mem_mib))
    .bind(inventory.uplink_kbps.map(i64::from));
    run(tx, capacity).await?;
    recount_capacity(tx, node).await?;
    let unlist = sqlx::query("UPDATE slot SET listed = 0 WHERE node_id = ?");
    run(tx, unlist.bind(node.as_str())).await?;
    for slot in &inventory.slots {
        // A node cannot take over another one's slot by naming it.
        let list = sqlx::query(
            "INSERT INTO slot (slot_id, node_id, epoch, listed) VALUES (?, ?, 0, 1)
             ON CONFLICT (slot_id) DO UPDATE SET listed = 1 WHERE slot.node_id = excluded.node_id",
        );
        run(tx, list.bind(slot.id.as_str()).bind(node.as_str())).await?;
    }
    Ok(Applied::Done)
}

async fn recount_capacity(tx: &mut SqliteConnection, node: &NodeId) -> Result<(), StoreError> {
    let recount = sqlx::query(RECOUNT_CAPACITY);
    run(tx, recount.bind(node.as_str()).bind(node.as_str())).await?;
    Ok(())
}

async fn spend_ticket(
    tx: &mut SqliteConnection,
    ticket: &str,
    on: &SpentTicket,
    at: MonoTime,
) -> Result<Applied, StoreError> {
    let spend = sqlx::query(
        "INSERT INTO ticket_spend (ticket_id, session_id, attachment_id, spent_ms)
         VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(ticket)
    .bind(on.session.as_str())
    .bind(on.attachment.as_str())
    .bind(to_ms(at));
    Ok(match run(tx, spend).await? {
        0 => Applied::TicketSpent,
        _ => Applied::Done,
    })
}

async fn add_credential(
    tx: &mut SqliteConnection,
    credential: &Credential,
    at: MonoTime,
) -> Result<Applied, StoreError> {
    let role = match credential.role {
        Role::Guest => "guest",
        Role::Admin => "admin",
    };
    let insert = sqlx::query(
        "INSERT INTO credential (hash, user_id, name, role, created_ms) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    )
    .bind(credential.hash.to_vec())
    .bind(credential.user.as_str())
    .bind(&credential.name)
    .bind(role)
    .bind(to_ms(at));
    run(tx, insert).await?;
    Ok(Applied::Done)
}

async fn sweep_ended(
    tx: &mut SqliteConnection,
    before: MonoTime,
    sessions_max: u32,
) -> Result<Applied, StoreError> {
    // The same sessions each time: nobody else writes, and their own rows go last.
    const OLDEST: &str = "(SELECT session_id FROM session WHERE phase = 'ended' AND since_ms < ?
        ORDER BY since_ms, session_id LIMIT ?)";
    const TABLES: [&str; 5] = [
        "claim",
        "usage_interval",
        "ticket_spend",
        "watch_link",
        "session",
    ];
    for table in TABLES {
        let delete = format!("DELETE FROM {table} WHERE session_id IN {OLDEST}");
        let delete = sqlx::query(sqlx::AssertSqlSafe(delete))
            .bind(to_ms(before))
            .bind(i64::from(sessions_max));
        run(tx, delete).await?;
    }
    Ok(Applied::Done)
}

async fn prune(tx: &mut SqliteConnection, before: MonoTime) -> Result<Applied, StoreError> {
    let before = to_ms(before);
    run(
        tx,
        sqlx::query("DELETE FROM idempotency WHERE created_ms < ?").bind(before),
    )
    .await?;
    let tickets = sqlx::query(
        "DELETE FROM ticket_spend WHERE spent_ms < ? AND session_id NOT IN
             (SELECT session_id FROM session WHERE phase <> 'ended')",
    );
    run(tx, tickets.bind(before)).await?;
    let orders = sqlx::query(
        "DELETE FROM outbox WHERE created_ms < ? AND session_id NOT IN
             (SELECT session_id FROM session WHERE phase <> 'ended')",
    );
    run(tx, orders.bind(before)).await?;
    watch_row::prune(tx, before).await?;
    Ok(Applied::Done)
}

async fn run(tx: &mut SqliteConnection, query: Query<'_>) -> Result<u64, StoreError> {
    query
        .execute(tx)
        .await
        .map(|done| done.rows_affected())
        .map_err(StoreError::NotApplied)
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Corrupt(e.to_string()))
}

fn int(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Corrupt(format!("{value} is out of range")))
}
