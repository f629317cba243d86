//! Everything is taken: places in the queue, and what happens when a slot frees.

use crate::rig::{Rig, id};
use nearlight_protocol::api::EndReason;

#[tokio::test]
async fn who_waits_has_a_position_and_is_started_when_a_slot_frees() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let (first, second, third) = (rig.guest().await, rig.guest().await, rig.guest().await);
    let one = id(&first.create("demo").await);
    let started = edge.start_next().await;
    assert_eq!(started.start.session.to_string(), one);

    let two = second.create("demo").await;
    assert_eq!(two.at("/state/phase"), "queued");
    assert_eq!(two.at("/state/position"), "1");
    assert_eq!(
        two.at("/state/eta_s"),
        "null",
        "unknown is said to be unknown"
    );
    let two = id(&two);
    let three = third.create("demo").await;
    assert_eq!(three.at("/state/position"), "2");
    let three = id(&three);

    let mut events = third.events(&three).await;
    assert_eq!(
        first.delete(&format!("/v1/sessions/{one}")).await.status,
        202
    );
    assert_eq!(edge.stop_next(&started).await, EndReason::PlayerEnded);
    let next = edge.start_next().await;
    assert_eq!(next.start.session.to_string(), two);
    assert_eq!(
        next.grant.epoch.0,
        started.grant.epoch.0 + 1,
        "the slot's next epoch"
    );
    while events.next().await["state"]["position"] != 1 {}

    // Whoever gives up frees the place behind.
    assert_eq!(
        third.delete(&format!("/v1/sessions/{three}")).await.status,
        202
    );
    let gone = third.get(&format!("/v1/sessions/{three}")).await;
    assert_eq!(gone.at("/state/reason"), "player-ended");
}

#[tokio::test]
async fn sessions_wait_for_the_first_node_to_attach() {
    let rig = Rig::start().await;
    let guest = rig.guest().await;
    let session = guest.create("demo").await;
    assert_eq!(session.at("/state/phase"), "queued");
    let apps = guest.get("/v1/apps").await.json();
    let available = |apps: &serde_json::Value| {
        let apps = apps["apps"].as_array().unwrap();
        apps.iter().find(|a| a["id"] == "demo").unwrap()["available"].clone()
    };
    assert_eq!(available(&apps), false);
    let mut edge = rig.edge(1).await;
    let started = edge.start_next().await;
    assert_eq!(started.start.session.to_string(), id(&session));
    assert_eq!(available(&guest.get("/v1/apps").await.json()), true);
}

#[tokio::test]
async fn a_draining_node_gets_nothing_new() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(2).await;
    let guest = rig.guest().await;
    guest.create("demo").await;
    edge.start_next().await;
    edge.send(nearlight_protocol::control::FromEdge::Draining)
        .await;
    crate::rig::eventually("the node to drain", || async {
        guest.get("/v1/nodes").await.at("/nodes/0/status") == "draining"
    })
    .await;
    assert_eq!(guest.create("demo").await.at("/state/phase"), "queued");
}
