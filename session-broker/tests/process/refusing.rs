//! Nodes that refuse sessions, or fail to start them: who goes elsewhere, and who is kept off.

use crate::edge::{Edge, Started};
use crate::http::Client;
use crate::rig::{Rig, eventually, id, phase};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{AckOutcome, DenyReason, FromEdge, SessionReport};
use serde_json::{Value, json};

/// A node that has the image of the apps, and so comes first, and one that has not.
async fn first_and_second(rig: &Rig, slots: usize) -> (Edge, Edge) {
    let mut node = rig.node(8);
    node.images = vec!["demo:1".to_owned()];
    let first = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
    (first, rig.edge(slots).await)
}

/// The next session on a node, whose engine does not start it.
pub(crate) async fn fails_next(edge: &mut Edge) -> Started {
    let started = edge.expect_start().await;
    edge.ack(started.command).await;
    let ended = SessionReport::Ended {
        reason: EndReason::RuntimeFailed,
        detail: "the container engine did not create the container in time".to_owned(),
    };
    edge.report(&started, ended).await;
    started
}

/// The next session on a node, which refuses it for what is over soon.
pub(crate) async fn refuses_next(edge: &mut Edge) -> Started {
    let started = edge.expect_start().await;
    let outcome = AckOutcome::Denied {
        reason: DenyReason::SlotBusy,
        detail: "still running".to_owned(),
    };
    let command = started.command;
    edge.send(FromEdge::Ack { command, outcome }).await;
    started
}

pub(crate) async fn excluded(client: &Client, session: &str) -> Value {
    let path = format!("/v1/sessions/{session}/placement");
    client.get(&path).await.json()["excluded"].clone()
}

#[tokio::test]
async fn a_node_whose_starts_fail_swallows_nobody() {
    let rig = Rig::start().await;
    let (mut broken, mut well) = Box::pin(first_and_second(&rig, 4)).await;
    let [one, two, three] = [rig.guest().await, rig.guest().await, rig.guest().await];
    let mut expected = Vec::new();
    // The second session of the first guest is not tried there, and what comes once two guests' starts have failed.
    for (guest, is_tried_there) in [(&one, true), (&one, false), (&two, true), (&three, false)] {
        let session = id(&guest.create("demo").await);
        if is_tried_there {
            let failed = fails_next(&mut broken).await;
            assert_eq!(failed.start.session.to_string(), session);
        }
        let started = well.start_next().await;
        assert_eq!(started.start.session.to_string(), session);
        expected.push((guest, session));
    }
    for (guest, session) in expected {
        let path = format!("/v1/sessions/{session}");
        eventually("it to be ready", async || {
            phase(&guest.get(&path).await.json()) == "ready"
        })
        .await;
    }
    let waits = id(&three.create("demo").await);
    eventually("it to wait", async || {
        excluded(&three, &waits).await
            == json!([
                { "reason": "slots-taken", "nodes": 1 },
                { "reason": "refused", "nodes": 1 },
            ])
    })
    .await;
}

#[tokio::test]
async fn a_node_whose_start_failed_is_tried_again_once_some_time_has_passed() {
    let rig = Rig::start().await;
    let (mut broken, mut well) = Box::pin(first_and_second(&rig, 1)).await;
    let admin = rig.admin();
    let first = id(&admin.create("demo").await);
    fails_next(&mut broken).await;
    let started = well.start_next().await;
    assert_eq!(started.start.session.to_string(), first);
    let second = id(&admin.create("demo").await);
    eventually("it to wait", async || {
        let excluded = excluded(&admin, &second).await.to_string();
        excluded.contains("refused")
    })
    .await;
    let again = broken.start_next().await;
    assert_eq!(again.start.session.to_string(), second);
    let third = id(&admin.create("demo").await);
    let next = broken.start_next().await;
    assert_eq!(next.start.session.to_string(), third, "a start has worked");
}

#[tokio::test]
async fn a_start_that_fails_where_no_other_node_is_ends_at_once() {
    let rig = Rig::start().await;
    let mut broken = rig.edge(4).await;
    let guest = rig.guest().await;
    for _ in 0..2 {
        let session = id(&guest.create("demo").await);
        fails_next(&mut broken).await;
        let path = format!("/v1/sessions/{session}");
        eventually("it to be over", async || {
            guest.get(&path).await.at("/state/reason") == "runtime-failed"
        })
        .await;
    }
}

#[tokio::test]
async fn a_session_that_a_node_refused_is_placed_on_another_one() {
    let rig = Rig::start().await;
    let (mut first, mut second) = Box::pin(first_and_second(&rig, 1)).await;
    let guest = rig.guest().await;
    let session = id(&guest.create("demo").await);
    refuses_next(&mut first).await;
    let started = second.start_next().await;
    assert_eq!(started.start.session.to_string(), session);
    // Whoever comes next was not refused.
    let next = id(&guest.create("demo").await);
    assert_eq!(
        first.start_next().await.start.session.to_string(),
        next,
        "one slot of eight has refused one session"
    );
}

#[tokio::test]
async fn a_session_goes_back_to_where_it_was_refused_if_nothing_else_is_free() {
    let rig = Rig::start().await;
    let admin = rig.admin();
    let mut full = rig.edge(1).await;
    let first = id(&admin.create("demo").await);
    assert_eq!(full.start_next().await.start.session.to_string(), first);
    let mut well = rig.edge(2).await;
    let second = id(&admin.create("demo").await);
    let refused = refuses_next(&mut well).await;
    assert_eq!(refused.start.session.to_string(), second);
    // The other node is there and could run it, but for a session that may last for an hour.
    let again = well.start_next().await;
    assert_eq!(again.start.session.to_string(), second);
}
