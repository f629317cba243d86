//! Many in front who want what is not there, and one behind them who wants what is: nobody is held up,
//! and nobody is missed, whatever it is that makes room.

use crate::app_versions::rolled;
use crate::edge::{Edge, Node};
use crate::enrolment::joined;
use crate::http::Client;
use crate::program::Program;
use crate::revocation::decide;
use crate::rig::{Rig, eventually, id};
use crate::shared::Shared;
use nearlight_protocol::api::EndReason;
use serde_json::json;

/// More than a broker tries against the whole fleet in one turn.
const IN_FRONT: usize = 70;
/// Uplink that a node must have for the app `wide`, and one for two of `demo`, kbit/s.
const WIDE_KBPS: u32 = 8_000;
const NARROW_KBPS: u32 = 2_500;

async fn rig() -> Rig {
    Rig::start_with(|parsed| {
        parsed.limits.guests_burst = 200;
        parsed.limits.creates_burst = 200;
        parsed.limits.requests_burst = 2_000;
    })
    .await
}

/// So many, of a caller each, wait for more uplink than there is.
async fn fill_the_front(guest: impl AsyncFn() -> Client) {
    for _ in 0..IN_FRONT {
        let waits = guest().await.create("wide").await;
        assert_eq!(waits.at("/state/phase"), "queued");
    }
}

/// Another one stands behind them all.
async fn waits(caller: &Client) -> String {
    let waits = caller.create("demo").await;
    let last = (IN_FRONT + 1).to_string();
    assert_eq!(waits.at("/state/position"), last, "{waits:?}");
    id(&waits)
}

/// It is its turn, though those in front wait on.
async fn gets(edge: &mut Edge, session: &str) -> crate::edge::Started {
    let started = edge.start_next().await;
    assert_eq!(started.start.session.to_string(), session);
    started
}

#[tokio::test]
async fn who_wants_what_is_there_is_not_held_up_by_those_who_want_what_is_not() {
    let rig = rig().await;
    let mut node = rig.node(4);
    node.uplink_kbps = Some(WIDE_KBPS + 1_500);
    let mut edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
    rig.guest().await.create("wide").await;
    let wide = edge.start_next().await;
    fill_the_front(async || rig.guest().await).await;
    let modest = rig.guest().await;
    let session = id(&modest.create("demo").await);
    gets(&mut edge, &session).await;

    // What those in front want comes free: the first of them gets it.
    let path = format!("/v1/sessions/{}", wide.start.session);
    rig.admin().delete(&path).await;
    edge.stop_next(&wide).await;
    assert_eq!(edge.start_next().await.app().app.id.to_string(), "wide");
}

#[tokio::test]
async fn nobody_is_missed_whatever_makes_room() {
    let rig = rig().await;
    let mut node = joined(&rig, 4).await;
    node.uplink_kbps = Some(NARROW_KBPS);
    fill_the_front(async || rig.guest().await).await;
    let first = rig.guest().await;

    // A node attaches.
    let one = waits(&first).await;
    let mut edge = rig.attach(&node, Vec::new()).await;
    let started = gets(&mut edge, &one).await;

    // It is drained no more.
    assert_eq!(decide(&rig, "POST", &node, "/drain").await, 204);
    let two = waits(&rig.guest().await).await;
    assert_eq!(decide(&rig, "DELETE", &node, "/drain").await, 204);
    gets(&mut edge, &two).await;

    // Something is given back.
    let three = waits(&rig.guest().await).await;
    assert_eq!(
        first.delete(&format!("/v1/sessions/{one}")).await.status,
        202
    );
    assert_eq!(edge.stop_next(&started).await, EndReason::PlayerEnded);
    gets(&mut edge, &three).await;

    // Another version of the app needs less.
    let four = waits(&rig.guest().await).await;
    let admin = rig.admin();
    let modest = json!({
        "id": "demo", "title": "demo", "summary": "For tests.", "picture": "/apps/demo.webp",
        "shelf": "tool", "launch": { "image": "demo:2", "command": ["/demo"] },
        "needs": { "kbps_min": NARROW_KBPS - 2 * 1_000 },
    });
    assert_eq!(admin.post_json("/v1/apps", &modest).await.status, 201);
    rolled(&admin, 2, &[]).await;
    let started = gets(&mut edge, &four).await;
    assert_eq!(started.app().app.launch.image, "demo:2");
}

#[tokio::test]
async fn a_node_of_another_broker_that_opens_goes_to_whom_it_suits() {
    let Some(shared) = Shared::new() else { return };
    let (home, other) = shared.two().await;
    fill_the_front(async || guest_of(&home).await).await;
    let caller = guest_of(&home).await;
    let session = waits(&caller).await;
    let node = Node {
        uplink_kbps: Some(NARROW_KBPS),
        ..Node::new(&shared.pki(), 1)
    };
    let mut edge = shared.attach(&node, &other, Vec::new()).await;
    let started = gets(&mut edge, &session).await;

    // It is given back: the peers' feed says so.
    let path = format!("/v1/sessions/{session}");
    let next = id(&caller.create("demo").await);
    eventually("its place", || async {
        let shown = caller.get(&format!("/v1/sessions/{next}")).await;
        shown.at("/state/position") == (IN_FRONT + 1).to_string()
    })
    .await;
    assert_eq!(caller.delete(&path).await.status, 202);
    edge.stop_next(&started).await;
    gets(&mut edge, &next).await;
}

async fn guest_of(broker: &Program) -> Client {
    Client::guest(broker.listen).await
}
