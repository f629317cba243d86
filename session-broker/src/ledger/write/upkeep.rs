//! Rows that are no longer needed, a few at a time.

use crate::ledger::batch::Answers;
use crate::ledger::phase_row::{from_ms, to_ms};
use crate::ledger::plan::At;
use crate::ledger::tx::Tx;
use crate::ledger::{Applied, Op, Remains, StoreError};
use nearlight_protocol::unit::MonoTime;
use serde::Serialize;
use sqlx::Row;

/// One more than is swept, to know whether more are due.
const ENDED_LONGEST_AGO: &str = "
    SELECT session_id, ended_ms FROM session
    WHERE ended_ms < (SELECT r.before FROM {rows before bigint})
    ORDER BY ended_ms, session_id LIMIT (SELECT r.n FROM {rows n bigint})";

const SWEEP: [&str; 9] = [
    "DELETE FROM claim WHERE session_id IN (SELECT r.session_id FROM {rows session_id text})",
    "DELETE FROM session_budget
         WHERE session_id IN (SELECT r.session_id FROM {rows session_id text})",
    "DELETE FROM ticket_spend
         WHERE session_id IN (SELECT r.session_id FROM {rows session_id text})",
    "DELETE FROM watch_link WHERE session_id IN (SELECT r.session_id FROM {rows session_id text})",
    "DELETE FROM job_spec WHERE session_id IN (SELECT r.session_id FROM {rows session_id text})",
    "DELETE FROM job_secret WHERE session_id IN (SELECT r.session_id FROM {rows session_id text})",
    "DELETE FROM cluster_replica
         WHERE cluster_id IN (SELECT r.session_id FROM {rows session_id text})",
    "DELETE FROM session_label
         WHERE session_id IN (SELECT r.session_id FROM {rows session_id text})",
    "DELETE FROM session WHERE session_id IN (SELECT r.session_id FROM {rows session_id text})",
];

const KEYS: &str = "
    DELETE FROM idempotency WHERE (user_id, idem_key) IN (
        SELECT d.user_id, d.idem_key FROM idempotency d
        WHERE d.created_ms < (SELECT r.before FROM {rows before bigint})
        ORDER BY d.created_ms LIMIT (SELECT r.n FROM {rows n bigint}))";

const TICKETS: &str = "
    DELETE FROM ticket_spend WHERE ticket_id IN (
        SELECT d.ticket_id FROM ticket_spend d
        WHERE d.spent_ms < (SELECT r.before FROM {rows before bigint})
            AND NOT EXISTS (SELECT 1 FROM session s
                WHERE s.session_id = d.session_id AND s.ended_ms IS NULL)
        ORDER BY d.spent_ms LIMIT (SELECT r.n FROM {rows n bigint}))";

/// What was acked is gone already: few are left, and their numbers go with their age.
const ORDERS: &str = "
    DELETE FROM outbox WHERE command_id IN (
        SELECT d.command_id FROM outbox d
        WHERE d.created_ms < (SELECT r.before FROM {rows before bigint})
            AND NOT EXISTS (SELECT 1 FROM session s
                WHERE s.session_id = d.session_id AND s.ended_ms IS NULL)
        ORDER BY d.command_id LIMIT (SELECT r.n FROM {rows n bigint}))";

const EXPIRED_LINKS: &str = "
    DELETE FROM watch_link WHERE link_id IN (
        SELECT d.link_id FROM watch_link d
        WHERE d.expires_ms < (SELECT r.before FROM {rows before bigint})
        ORDER BY d.expires_ms LIMIT (SELECT r.n FROM {rows n bigint}))";

const REVOKED_LINKS: &str = "
    DELETE FROM watch_link WHERE link_id IN (
        SELECT d.link_id FROM watch_link d
        WHERE d.revoked_ms < (SELECT r.before FROM {rows before bigint})
        ORDER BY d.revoked_ms LIMIT (SELECT r.n FROM {rows n bigint}))";

/// An operator makes each of them: the table is small.
const JOIN_TOKENS: &str = "
    DELETE FROM join_token WHERE hash IN (
        SELECT d.hash FROM join_token d
        WHERE d.expires_ms < (SELECT r.before FROM {rows before bigint})
        LIMIT (SELECT r.n FROM {rows n bigint}))";

const SAVES: &str = "
    DELETE FROM save_location WHERE (user_id, app_id, node_id) IN (
        SELECT d.user_id, d.app_id, d.node_id FROM save_location d
        WHERE d.used_ms < (SELECT r.before FROM {rows before bigint})
        ORDER BY d.used_ms LIMIT (SELECT r.n FROM {rows n bigint}))";

/// No index speaks of `ended_ms`, and none needs to: what ended before began before, and of what began before little
/// ran for longer.
const USAGE: &str = "
    DELETE FROM usage_interval WHERE (session_id, slot_id, epoch) IN (
        SELECT d.session_id, d.slot_id, d.epoch FROM usage_interval d
        WHERE d.began_ms < (SELECT r.before FROM {rows before bigint})
            AND {still d.ended_ms < (SELECT r.before FROM {rows before bigint})}
        ORDER BY d.began_ms LIMIT (SELECT r.n FROM {rows n bigint}))";

const VOLUME_USAGE: &str = "
    DELETE FROM volume_usage WHERE (volume_id, began_ms, size_mib) IN (
        SELECT d.volume_id, d.began_ms, d.size_mib FROM volume_usage d
        WHERE d.began_ms < (SELECT r.before FROM {rows before bigint})
            AND {still d.ended_ms < (SELECT r.before FROM {rows before bigint})}
        ORDER BY d.began_ms LIMIT (SELECT r.n FROM {rows n bigint}))";

const DELIVERIES: &str = "
    DELETE FROM webhook_delivery WHERE delivery_id IN (
        SELECT d.delivery_id FROM webhook_delivery d
        WHERE d.state <> 'waiting' AND d.created_ms < (SELECT r.before FROM {rows before bigint})
        ORDER BY d.created_ms LIMIT (SELECT r.n FROM {rows n bigint}))";

/// What finds rows by an index that goes with their age.
#[cfg(test)]
pub(in crate::ledger) const BY_AGE: &[&str] = &[
    KEYS,
    TICKETS,
    EXPIRED_LINKS,
    REVOKED_LINKS,
    SAVES,
    USAGE,
    VOLUME_USAGE,
    DELIVERIES,
];

const DAY_MS: i64 = 24 * 3600 * 1000;

impl Remains {
    /// The statement, and for how much longer than the rest it is kept.
    const fn removal(self) -> (&'static str, i64) {
        match self {
            Self::Keys => (KEYS, 0),
            Self::Tickets => (TICKETS, 0),
            Self::Orders => (ORDERS, 0),
            Self::ExpiredLinks => (EXPIRED_LINKS, 0),
            Self::RevokedLinks => (REVOKED_LINKS, 0),
            Self::JoinTokens => (JOIN_TOKENS, 0),
            // A guest's cookie is over after a year, and nobody finds the way to its saves any more.
            Self::Saves => (SAVES, 400 * DAY_MS),
            // A bill can be written, and doubted, for a year after its last second. What runs stays.
            Self::Usage => (USAGE, 400 * DAY_MS),
            Self::VolumeUsage => (VOLUME_USAGE, 400 * DAY_MS),
            // What became of a notice can be looked up for a week.
            Self::Deliveries => (DELIVERIES, 7 * DAY_MS),
        }
    }
}

/// What may go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Upkeep {
    /// So many sessions that ended before, with what belongs to them.
    Sweep(MonoTime, u32),
    /// So many rows of that kind, from before.
    Prune(Remains, MonoTime, u32),
}

impl Upkeep {
    /// What an op asks for, if it is upkeep.
    pub(in crate::ledger) const fn of(op: &Op) -> Option<Self> {
        match op {
            Op::SweepEnded {
                before,
                sessions_max,
            } => Some(Self::Sweep(*before, *sessions_max)),
            Op::Prune {
                what,
                before,
                rows_max,
            } => Some(Self::Prune(*what, *before, *rows_max)),
            _ => None,
        }
    }
}

#[derive(Debug, Serialize)]
struct Bound {
    before: i64,
    n: u64,
}

#[derive(Debug, Serialize)]
struct Swept<'a> {
    session_id: &'a str,
}

pub(crate) async fn carry_out(
    tx: &mut Tx,
    upkeep: &[(At, Upkeep)],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    for (at, work) in upkeep {
        let applied = match *work {
            Upkeep::Sweep(before, n) => sweep(tx, to_ms(before), n).await?,
            Upkeep::Prune(what, before, n) => {
                let (statement, kept_ms) = what.removal();
                let before = to_ms(before).saturating_sub(kept_ms);
                let bound = Bound {
                    before,
                    n: n.into(),
                };
                Applied::Removed {
                    rows: tx.run(statement, &[bound]).await?,
                    oldest_left: None,
                }
            }
        };
        answers.set(*at, applied);
    }
    Ok(())
}

async fn sweep(tx: &mut Tx, before: i64, n: u32) -> Result<Applied, StoreError> {
    let bound = Bound {
        before,
        n: u64::from(n) + 1,
    };
    let ended = tx.ask(ENDED_LONGEST_AGO, &[bound]).await?;
    let (swept, left) = ended.split_at(ended.len().min(n as usize));
    let oldest_left = left.first().map(|row| from_ms(row.get("ended_ms")));
    let swept = swept.iter().map(|row| Swept {
        session_id: row.get("session_id"),
    });
    let swept: Vec<Swept<'_>> = swept.collect();
    for statement in SWEEP {
        tx.run(statement, &swept).await?;
    }
    Ok(Applied::Removed {
        rows: swept.len() as u64,
        oldest_left,
    })
}
