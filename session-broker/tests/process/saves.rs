//! A session goes on where its player's saves are, and nowhere else without being asked to.

use crate::edge::Edge;
use crate::http::{Answer, Client};
use crate::rig::{Rig, eventually, id};
use nearlight_protocol::control::SessionReport;
use serde_json::{Value, json};

async fn edge_in(rig: &Rig, region: &str, slots: usize) -> Edge {
    let mut node = rig.node(slots);
    node.region = region.to_owned();
    let edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
    edge
}

async fn create(client: &Client, app: &str, wish: Value) -> Answer {
    let key = nearlight_kit::ids::request().to_string();
    create_with(client, app, wish, &key).await
}

async fn create_with(client: &Client, app: &str, wish: Value, key: &str) -> Answer {
    let mut body = json!({ "app": app });
    let wish = wish.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(wish);
    let client = client.with("idempotency-key", key);
    client.post_json("/v1/sessions", &body).await
}

/// Plays once in a region, so that the saves are there; then so many slots are free again in all.
async fn play(rig: &Rig, guest: &Client, edge: &mut Edge, wish: Value, slots: u64) {
    let session = id(&create(guest, "saves", wish).await);
    let started = edge.start_next().await;
    let path = format!("/v1/sessions/{session}");
    eventually("a picture", || async {
        guest.get(&path).await.at("/state/phase") == "ready"
    })
    .await;
    guest.delete(&path).await;
    edge.stop_next(&started).await;
    slots_free(rig, slots).await;
}

/// Waits until everyone sees so many free slots in all.
async fn slots_free(rig: &Rig, wanted: u64) {
    let admin = rig.admin();
    eventually("the slots to be shown", || async {
        let nodes = admin.get("/v1/nodes").await.json();
        let free = nodes["nodes"].as_array().unwrap().iter();
        free.map(|node| node["slots_free"].as_u64().unwrap())
            .sum::<u64>()
            == wanted
    })
    .await;
}

#[tokio::test]
async fn a_session_goes_on_where_its_saves_are() {
    let rig = Rig::start().await;
    let (mut fra, _sin) = (edge_in(&rig, "fra", 2).await, edge_in(&rig, "sin", 2).await);
    let guest = rig.guest().await;
    play(&rig, &guest, &mut fra, json!({ "region": "fra" }), 4).await;
    let rtt = json!([{ "region": "fra", "ms": 300 }, { "region": "sin", "ms": 3 }]);
    let again = create(&guest, "saves", json!({ "rtt": rtt })).await;
    assert_eq!(
        again.at("/node"),
        fra.node.id.to_string(),
        "though the other one is nearer"
    );
    // Nobody else's, and no other app's.
    let other = create(&rig.guest().await, "saves", json!({ "rtt": rtt })).await;
    assert_ne!(other.at("/node"), fra.node.id.to_string());
    let demo = create(&guest, "demo", json!({ "rtt": rtt })).await;
    assert_ne!(demo.at("/node"), fra.node.id.to_string());
}

#[tokio::test]
async fn the_player_is_asked_before_a_session_begins_without_its_saves() {
    let rig = Rig::start().await;
    let (mut fra, mut sin) = (edge_in(&rig, "fra", 1).await, edge_in(&rig, "sin", 4).await);
    let guest = rig.guest().await;
    play(&rig, &guest, &mut fra, json!({ "region": "fra" }), 5).await;
    let elsewhere = create(&guest, "saves", json!({ "region": "sin" })).await;
    elsewhere.refused(409, "save-elsewhere");
    assert!(
        elsewhere.at("/detail").contains("region fra"),
        "{elsewhere:?}"
    );

    // Somebody takes the node's only slot.
    let blocker = rig.guest().await;
    let blocking = id(&create(&blocker, "demo", json!({ "region": "fra" })).await);
    let started = fra.start_next().await;
    slots_free(&rig, 4).await;
    create(&guest, "saves", json!({}))
        .await
        .refused(409, "save-elsewhere");

    let waits = create(&guest, "saves", json!({ "saves": "wait" })).await;
    assert_eq!(waits.at("/state/phase"), "queued");
    let without = create(&guest, "saves", json!({ "saves": "without" })).await;
    let fresh = sin.expect_start().await;
    assert_eq!(fresh.start.session.to_string(), id(&without));
    sin.ack(fresh.command).await;

    blocker.delete(&format!("/v1/sessions/{blocking}")).await;
    fra.stop_next(&started).await;
    let resumed = fra.start_next().await;
    assert_eq!(resumed.start.session.to_string(), id(&waits));
    guest.delete(&format!("/v1/sessions/{}", id(&waits))).await;
    fra.stop_next(&resumed).await;

    // The one that began anew showed a picture last: its saves are the newest now.
    sin.report(&fresh, SessionReport::Ready).await;
    let path = format!("/v1/sessions/{}", id(&without));
    eventually("a picture", || async {
        guest.get(&path).await.at("/state/phase") == "ready"
    })
    .await;
    guest.delete(&path).await;
    sin.stop_next(&fresh).await;
    slots_free(&rig, 5).await;
    let newest = create(&guest, "saves", json!({})).await;
    assert_eq!(newest.at("/node"), sin.node.id.to_string());
}

#[tokio::test]
async fn a_start_that_showed_nothing_hides_no_save() {
    let rig = Rig::start().await;
    let (mut fra, mut sin) = (edge_in(&rig, "fra", 1).await, edge_in(&rig, "sin", 1).await);
    let guest = rig.guest().await;
    play(&rig, &guest, &mut fra, json!({ "region": "fra" }), 2).await;
    let wish = json!({ "region": "sin", "saves": "without" });
    let failed = id(&create(&guest, "saves", wish).await);
    let started = sin.expect_start().await;
    sin.ack(started.command).await;
    guest.delete(&format!("/v1/sessions/{failed}")).await;
    sin.stop_next(&started).await;
    slots_free(&rig, 2).await;
    let again = create(&guest, "saves", json!({})).await;
    assert_eq!(again.at("/node"), fra.node.id.to_string());
}

#[tokio::test]
async fn asking_again_with_the_same_key_is_answered_like_the_first_time() {
    let rig = Rig::start().await;
    let mut fra = edge_in(&rig, "fra", 1).await;
    let guest = rig.guest().await;
    play(&rig, &guest, &mut fra, json!({}), 1).await;
    let first = create_with(&guest, "saves", json!({}), "once").await;
    assert_eq!(first.status, 201);
    // Its own session has the node's only slot now.
    slots_free(&rig, 0).await;
    let second = create_with(&guest, "saves", json!({}), "once").await;
    assert_eq!((second.status, id(&second)), (201, id(&first)));
    create(&guest, "saves", json!({}))
        .await
        .refused(409, "save-elsewhere");
}
