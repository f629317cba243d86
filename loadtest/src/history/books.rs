//! What the ledger says of itself: one statement, so one moment.

use super::postgres::Postgres;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The state of the ledger at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Books {
    /// Slots with two live claims.
    pub(super) double_slots: Vec<String>,
    /// Nodes whose live claims are more than they have.
    pub(super) overbooked_nodes: Vec<String>,
    /// Nodes whose free capacity is not what their live claims leave.
    pub(super) miscounted_nodes: Vec<String>,
    /// Ended or waiting sessions with a live claim.
    pub(super) claims_of_nobody: Vec<String>,
    /// Sessions that run, of which no claim is live.
    pub(super) sessions_without_claim: Vec<String>,
    /// Slots whose epoch is below that of a claim.
    pub(super) low_epochs: Vec<String>,
    /// Gangs of whose present run not every replica has a session.
    pub(super) half_gangs: Vec<String>,
    /// Gangs of which a replica lives after the first one's end, or without another one that has failed.
    pub(super) split_gangs: Vec<String>,
    /// Users whose quota is not the number of their live sessions.
    pub(super) wrong_quotas: Vec<String>,
    /// Sessions that no idempotency key stands for.
    pub(super) unasked_sessions: Vec<String>,
    /// Sessions whose usage overlaps another one's of the same slot.
    pub(super) overlapping_usage: Vec<String>,
    /// Sessions whose claim is released and whose usage goes on.
    pub(super) endless_usage: Vec<String>,
    /// Live claims.
    pub(super) live_claims: u64,
    /// Places of quotas that are taken.
    pub(super) quota_used: u64,
    /// Nodes with orders that are not acked, one entry an order.
    pub(super) outbox_nodes: Vec<String>,
    /// Every session.
    pub(super) sessions: Vec<Session>,
    /// Every interval of usage.
    pub(super) usage: Vec<Usage>,
}

/// A session's row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    /// Its id.
    pub(super) id: String,
    /// Its phase.
    pub(super) phase: String,
    /// Why it ended.
    pub(super) reason: Option<String>,
    /// Its holder.
    pub(super) holder: String,
}

/// An interval of usage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Usage {
    /// Whose.
    pub(super) session: String,
    /// At which node.
    pub(super) node: String,
    /// Under which epoch.
    pub(super) epoch: u64,
    /// When it began, milliseconds since the Unix epoch.
    pub(super) began_ms: u64,
    /// When it ended.
    pub(super) ended_ms: Option<u64>,
}

const SQL: &str = "
WITH live AS (SELECT * FROM claim WHERE released_ms IS NULL),
replica AS (SELECT m.*, s.phase, s.reason FROM cluster_replica m JOIN session s USING (session_id)),
head AS (SELECT m.*, (j.spec::json->'cluster'->>'replicas')::BIGINT AS replicas FROM replica m
    JOIN job_spec j USING (session_id) WHERE m.cluster_rank = 0),
other AS (SELECT * FROM replica WHERE cluster_rank > 0),
place AS (SELECT s.session_id, s.user_id, s.phase, s.reason,
    COALESCE((j.spec::json->'cluster'->>'replicas')::BIGINT, 1) AS places,
    j.spec::json->'cluster' IS NOT NULL AS is_gang
    FROM session s LEFT JOIN job_spec j USING (session_id)
    WHERE NOT EXISTS (SELECT 1 FROM cluster_replica m WHERE m.session_id = s.session_id AND m.cluster_rank > 0)),
held AS (SELECT node_id, SUM(cpu_milli) AS cpu, SUM(mem_mib) AS mem, SUM(kbps) AS kbps FROM live GROUP BY node_id),
used AS (SELECT u.*, c.released_ms FROM usage_interval u JOIN claim c USING (slot_id, epoch))
SELECT json_build_object(
'double_slots', (SELECT COALESCE(json_agg(slot_id), '[]') FROM
    (SELECT slot_id FROM live GROUP BY slot_id HAVING COUNT(*) > 1) x),
'overbooked_nodes', (SELECT COALESCE(json_agg(n.node_id), '[]') FROM node_capacity n
    JOIN held h USING (node_id) WHERE h.cpu > n.cpu_milli_total OR h.mem > n.mem_mib_total
    OR h.kbps > n.uplink_kbps_total),
'miscounted_nodes', (SELECT COALESCE(json_agg(n.node_id), '[]') FROM node_capacity n
    LEFT JOIN held h USING (node_id)
    WHERE n.cpu_milli_free <> GREATEST(n.cpu_milli_total - COALESCE(h.cpu, 0), 0)
    OR n.mem_mib_free <> GREATEST(n.mem_mib_total - COALESCE(h.mem, 0), 0)
    OR n.uplink_kbps_free <> GREATEST(n.uplink_kbps_total - COALESCE(h.kbps, 0), 0)),
'claims_of_nobody', (SELECT COALESCE(json_agg(l.session_id), '[]') FROM live l
    LEFT JOIN session s USING (session_id)
    WHERE s.session_id IS NULL OR s.phase IN ('ended', 'queued')),
'sessions_without_claim', (SELECT COALESCE(json_agg(s.session_id), '[]') FROM session s
    WHERE s.phase NOT IN ('ended', 'queued')
    AND NOT EXISTS (SELECT 1 FROM live l WHERE l.session_id = s.session_id
        AND l.slot_id = s.slot_id AND l.epoch = s.epoch)),
'low_epochs', (SELECT COALESCE(json_agg(s.slot_id), '[]') FROM slot s
    WHERE EXISTS (SELECT 1 FROM claim c WHERE c.slot_id = s.slot_id AND c.epoch > s.epoch)),
'wrong_quotas', (SELECT COALESCE(json_agg(q.user_id), '[]') FROM quota q WHERE q.used <>
    (SELECT COALESCE(SUM(p.places), 0) FROM place p WHERE p.user_id = q.user_id AND (p.phase NOT IN ('ended', 'ending')
        OR p.phase = 'ending' AND p.is_gang AND p.reason = 'cluster-ended'))),
'half_gangs', (SELECT COALESCE(json_agg(h.cluster_id), '[]') FROM head h WHERE h.replicas <>
    (SELECT COUNT(*) FROM replica m WHERE m.cluster_id = h.cluster_id AND m.cluster_run = h.cluster_run)),
'split_gangs', (SELECT COALESCE(json_agg(o.session_id), '[]') FROM other o JOIN head h USING (cluster_id)
    WHERE o.phase NOT IN ('ending', 'ended')
        AND (o.cluster_run <> h.cluster_run OR h.phase IN ('queued', 'ending', 'ended'))
    OR o.phase IN ('ending', 'ended') AND o.reason <> 'job-done'
        AND o.cluster_run = h.cluster_run AND h.phase IN ('placing', 'starting', 'ready')),
'unasked_sessions', (SELECT COALESCE(json_agg(p.session_id), '[]') FROM place p
    WHERE NOT EXISTS (SELECT 1 FROM idempotency i WHERE i.session_id = p.session_id)),
'overlapping_usage', (SELECT COALESCE(json_agg(a.session_id), '[]') FROM used a JOIN used b
    ON a.slot_id = b.slot_id AND a.epoch < b.epoch
    WHERE a.ended_ms IS NULL OR a.ended_ms > b.began_ms),
'endless_usage', (SELECT COALESCE(json_agg(session_id), '[]') FROM used
    WHERE ended_ms IS NULL AND released_ms IS NOT NULL),
'live_claims', (SELECT COUNT(*) FROM live),
'quota_used', (SELECT COALESCE(SUM(used), 0) FROM quota),
'outbox_nodes', (SELECT COALESCE(json_agg(node_id), '[]') FROM outbox),
'sessions', (SELECT COALESCE(json_agg(json_build_object('id', session_id, 'phase', phase,
    'reason', reason, 'holder', holder)), '[]') FROM session),
'usage', (SELECT COALESCE(json_agg(json_build_object('session', session_id, 'node', node_id, 'epoch', epoch,
    'began_ms', began_ms, 'ended_ms', ended_ms)), '[]') FROM usage_interval))";

impl Books {
    /// Reads them.
    ///
    /// # Errors
    /// The database is not there.
    pub(super) async fn read(postgres: &Postgres) -> Result<Self> {
        let text = postgres.ask(SQL).await?;
        serde_json::from_str(&text).context("what the ledger says of itself")
    }

    /// Sessions that are not over.
    pub(super) fn live(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter().filter(|s| s.phase != "ended")
    }
}
