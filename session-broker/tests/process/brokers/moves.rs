//! Nodes that move between brokers, while what they ran goes elsewhere.

use super::{of, path, reach};
use crate::http::Client;
use crate::rig::id;
use crate::shared::Shared;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{AckOutcome, DenyReason, FromEdge};
use nearlight_protocol::unit::U64;

/// As after a failover to a ledger that lagged: the node's journal is ahead of the claim that it is
/// ordered to start.
#[tokio::test]
async fn a_session_stays_whose_former_node_was_ahead_of_the_ledger_and_moves() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let guest = Client::guest(a.listen).await;
    let mut former = shared.edge(1, &a, &[&guest]).await;
    let session = id(&guest.create("demo").await);
    assert_eq!(of(&former.expect_start().await), session);

    let mut node = former.node.clone();
    node.epoch = U64(5);
    drop(former);
    let mut former = shared.attach(&node, &a, Vec::new()).await;
    let refused = former.expect_start().await;
    let mut edge = shared.edge(1, &a, &[&guest]).await;
    let outcome = AckOutcome::Denied {
        reason: DenyReason::EpochOld,
        detail: "it was used".to_owned(),
    };
    let command = refused.command;
    former.send(FromEdge::Ack { command, outcome }).await;
    let started = edge.start_next().await;
    assert_eq!(of(&started), session);
    reach(&guest, &session, "ready").await;

    let moved = shared.attach(&node, &b, Vec::new()).await;
    while former.next_or_closed().await.is_some() {}
    reach(&guest, &session, "ready").await;
    assert_eq!(guest.delete(&path(&session)).await.status, 202);
    assert_eq!(edge.stop_next(&started).await, EndReason::PlayerEnded);
    reach(&guest, &session, "ended").await;
    drop(moved);
}
