//! Which node a player's saves are on.

use crate::ledger::StoreError;
use crate::ledger::phase_row::to_ms;
use crate::ledger::tx::Tx;
use nearlight_protocol::id::{AppId, NodeId, UserId};
use nearlight_protocol::unit::MonoTime;
use serde::Serialize;
use std::collections::BTreeMap;

/// The later of two notes stays, whatever their order.
const NOTE: &str = "
    INSERT INTO save_location (user_id, app_id, node_id, used_ms)
    SELECT r.user_id, r.app_id, r.node_id, r.at
    FROM {rows user_id text, app_id text, node_id text, at bigint}
    WHERE TRUE ON CONFLICT (user_id, app_id, node_id) DO UPDATE SET used_ms =
        CASE WHEN excluded.used_ms > save_location.used_ms THEN excluded.used_ms
            ELSE save_location.used_ms END";

/// An app with saves runs for its player on a node.
#[derive(Debug, Serialize)]
pub(crate) struct NoteSave<'a> {
    user_id: &'a str,
    app_id: &'a str,
    node_id: &'a str,
    at: i64,
}

impl<'a> NoteSave<'a> {
    pub(in crate::ledger) fn new(
        user: &'a UserId,
        app: &'a AppId,
        node: &'a NodeId,
        at: MonoTime,
    ) -> Self {
        Self {
            user_id: user.as_str(),
            app_id: app.as_str(),
            node_id: node.as_str(),
            at: to_ms(at),
        }
    }
}

/// Notes them. One row is written once a statement, so of each the latest counts.
pub(crate) async fn note(tx: &mut Tx, notes: &[NoteSave<'_>]) -> Result<(), StoreError> {
    let mut latest: BTreeMap<[&str; 3], &NoteSave<'_>> = BTreeMap::new();
    for note in notes {
        let kept = latest
            .entry([note.user_id, note.app_id, note.node_id])
            .or_insert(note);
        if kept.at < note.at {
            *kept = note;
        }
    }
    let rows: Vec<&NoteSave<'_>> = latest.into_values().collect();
    tx.run(NOTE, &rows).await?;
    Ok(())
}
