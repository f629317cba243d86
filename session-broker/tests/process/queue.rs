//! Everything is taken: places in the queue, and what happens when a slot frees.

use crate::rig::{Rig, id};
use nearlight_protocol::api::EndReason;
use serde_json::json;

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

#[tokio::test]
async fn a_session_that_the_uplink_does_not_carry_waits_for_it() {
    let rig = Rig::start().await;
    let mut node = rig.node(4);
    // Room for two of the 8 Mbit/s that the app `wide` wants at least, and some.
    node.uplink_kbps = Some(20_000);
    let mut edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
    let listed = rig.admin().get("/v1/nodes").await;
    assert_eq!(listed.at("/nodes/0/uplink_kbps"), "20000");
    let (one, two) = (rig.guest().await, rig.guest().await);
    let first = id(&one.create("wide").await);
    let started = edge.start_next().await;
    one.create("wide").await;
    edge.start_next().await;
    let third = id(&two.create("wide").await);
    let path = format!("/v1/sessions/{third}");
    crate::rig::eventually("the reason to be told", || async {
        two.get(&path).await.at("/state/waits_for") == "uplink"
    })
    .await;
    let shown = two.get(&path).await;
    assert_eq!(shown.at("/state/position"), "1");
    assert_eq!(shown.at("/state/eta_s"), "null");
    let metrics = rig.admin().get("/metrics").await.body;
    let counted = r#"broker_place_rejected_nodes_total{reason="uplink-taken"}"#;
    assert!(metrics.contains(counted), "{metrics}");
    // What wants less is not held up by it.
    two.create("demo").await;
    let modest = edge.start_next().await;
    assert_eq!(modest.app().app.id.to_string(), "demo");

    one.delete(&format!("/v1/sessions/{first}")).await;
    edge.stop_next(&started).await;
    assert_eq!(edge.start_next().await.start.session.to_string(), third);
}

#[tokio::test]
async fn an_uplink_that_turns_out_narrower_ends_nothing_and_takes_nothing_new() {
    let rig = Rig::start().await;
    let mut node = rig.node(4);
    let mut edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
    let guest = rig.guest().await;
    let running = id(&guest.create("wide").await);
    edge.start_next().await;
    node.uplink_kbps = Some(9_000);
    let inventory = nearlight_protocol::control::FromEdge::Inventory(node.inventory());
    edge.send(inventory).await;
    crate::rig::eventually("the uplink to be known", || async {
        guest.get("/v1/nodes").await.at("/nodes/0/uplink_kbps") == "9000"
    })
    .await;
    let waiting = guest.create("wide").await;
    assert_eq!(waiting.at("/state/phase"), "queued");
    let running = guest.get(&format!("/v1/sessions/{running}")).await;
    assert_eq!(running.at("/state/phase"), "ready");
    // Nor does a restart forget what is set aside.
    let row = rig.ledger.node(node.id.clone()).await.unwrap().unwrap();
    assert_eq!(row.capacity.uplink_kbps_free, Some(1_000));
}

#[tokio::test]
async fn a_sessions_encoder_is_claimed_with_its_app() {
    let rig = Rig::start().await;
    let mut node = rig.node(4);
    // Each takes 1000 for its app and 1000 for its encoder.
    (node.cpu_milli, node.encode_cpu_milli) = (5_000, 1_000);
    let mut edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
    let (one, two) = (rig.guest().await, rig.guest().await);
    one.create("demo").await;
    edge.start_next().await;
    one.create("demo").await;
    edge.start_next().await;
    let third = id(&two.create("demo").await);
    let path = format!("/v1/sessions/{third}");
    crate::rig::eventually("the reason to be told", || async {
        two.get(&path).await.json()["state"]["waits_for"] == "cpu"
    })
    .await;
    let row = rig.ledger.node(node.id.clone()).await.unwrap().unwrap();
    assert_eq!(row.capacity.cpu_milli_free, 1_000);
}

/// Nothing has ended that had a slot, so that no forecast knows half of the waits.
#[tokio::test]
async fn who_waits_is_told_the_pace_of_the_line_of_those_who_want_the_same() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let guest = rig.guest().await;
    guest.create("demo").await;
    edge.start_next().await;
    let mut line = Vec::new();
    for _ in 0..6 {
        let guest = rig.guest().await;
        let session = id(&guest.create("demo").await);
        line.push((guest, format!("/v1/sessions/{session}")));
    }
    let other = rig.guest().await;
    let other_path = format!("/v1/sessions/{}", id(&other.create("wide").await));
    let (last, last_path) = line.pop().unwrap();
    let unknown = last.get(&last_path).await;
    assert_eq!(unknown.at("/state/eta_s"), "null", "nobody has left it");
    for (guest, path) in &line[..4] {
        assert_eq!(guest.delete(path).await.status, 202);
    }
    crate::rig::eventually("the pace to be told", || async {
        let shown = last.get(&last_path).await.json();
        shown["state"]["eta_s"].is_number() && shown["state"]["position"] == 2
    })
    .await;
    let shown = last.get(&last_path).await.json();
    let (half_s, most_s) = (&shown["state"]["eta_s"], &shown["state"]["eta_most_s"]);
    assert!(half_s.as_u64() <= most_s.as_u64(), "{shown}");
    assert!(
        most_s.as_u64() < Some(3600),
        "not when all must be over: {shown}"
    );
    let other = other.get(&other_path).await;
    assert_eq!(other.at("/state/position"), "3");
    assert_eq!(other.at("/state/eta_s"), "null", "another line");
}

/// The tenant's priority is a head start; whoever listens hears of each place.
#[tokio::test]
async fn a_tenant_of_high_priority_waits_before_others_and_each_change_of_place_is_told() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let first = rig.guest().await;
    first.create("demo").await;
    let running = edge.start_next().await;
    let guest = rig.guest().await;
    let waits = id(&guest.create("demo").await);
    let mut events = guest.events(&waits).await;
    while events.next().await["state"]["position"] != 1 {}

    let (tenant, _, member) = crate::isolation::tenant(&rig, "payers").await;
    let settings = json!({ "name": "payers", "priority": "high" });
    let path = format!("/v1/tenants/{tenant}");
    let changed = rig
        .admin()
        .request(
            "PATCH",
            &path,
            &[("content-type", "application/json")],
            &settings.to_string(),
        )
        .await;
    assert_eq!(changed.at("/priority"), "high");
    let paid = id(&member.create("demo").await);
    let moved = loop {
        let shown = events.next().await;
        if shown["state"]["position"] == 2 {
            break shown;
        }
    };
    // Of the one that runs only its limit is known, and that is for the first in the queue.
    assert_eq!(moved["state"]["eta_s"], serde_json::Value::Null);
    let shown = member.get(&format!("/v1/sessions/{paid}")).await;
    assert_eq!(shown.at("/state/position"), "1");
    let most_s: u32 = shown.at("/state/eta_most_s").parse().unwrap();
    assert!(
        (3600..2 * 3600).contains(&most_s),
        "an hour and a start: {most_s}"
    );

    // It stays so when the broker comes back.
    let rig = rig.restart().await;
    let mut edge = rig.attach(&edge.node, vec![running.running(false)]).await;
    let path = format!("/v1/sessions/{}", running.start.session);
    let first = crate::http::Client {
        at: rig.broker.listen,
        ..first
    };
    assert_eq!(first.delete(&path).await.status, 202);
    edge.stop_next(&running).await;
    assert_eq!(edge.start_next().await.start.session.to_string(), paid);
}
