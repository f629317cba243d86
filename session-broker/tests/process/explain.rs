//! Why a session runs where it does, or why it waits.

use crate::rig::{Rig, eventually, id};
use nearlight_protocol::control::FromEdge;
use serde_json::{Value, json};

const NOBODYS: &str = "/v1/sessions/ses_00000000000000000000000000/placement";

fn path(session: &str) -> String {
    format!("/v1/sessions/{session}/placement")
}

#[tokio::test]
async fn a_placed_session_says_where_and_by_what_score() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(2).await;
    let guest = rig.guest().await;
    let session = id(&guest.create("demo").await);
    edge.start_next().await;
    let placement = guest.get(&path(&session)).await.json();
    assert_eq!(placement["outcome"], "placed");
    assert_eq!(placement["node"], edge.node.id.to_string());
    assert_eq!(placement["rtt_ms"], Value::Null, "nobody has measured it");
    let step = json!({
        "number": 1, "of": 4, "rtt_ms_max": 20, "from_ms": 0, "until_ms": 3000,
    });
    assert_eq!(placement["step"], step);
    let points = placement["points"].as_object().unwrap();
    let of = |part: &str| points[part].as_u64().unwrap();
    // It has no image, and a GPU that nobody asked for; one slot of two is taken.
    assert_eq!((of("image"), of("gpu"), of("load")), (4000, 2000, 500));
    let parts = points.keys().filter(|part| *part != "total");
    assert_eq!(of("total"), parts.map(|part| of(part)).sum::<u64>());
}

#[tokio::test]
async fn a_waiting_session_says_how_many_nodes_each_constraint_excludes() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let guest = rig.guest().await;
    let first = id(&guest.create("demo").await);
    let started = edge.start_next().await;
    let _small = {
        let mut node = rig.node(1);
        node.cpu_milli = 100;
        let edge = rig.attach(&node, Vec::new()).await;
        rig.online(&node).await;
        edge
    };
    let mut drained = rig.edge(1).await;
    drained.send(FromEdge::Draining).await;
    let second = id(&guest.create("demo").await);
    eventually("every node to be counted", || async {
        let placement = guest.get(&path(&second)).await.json();
        placement["outcome"] == "waits"
            && placement["excluded"]
                == json!([
                    { "reason": "too-small", "nodes": 1 },
                    { "reason": "draining", "nodes": 1 },
                    { "reason": "slots-taken", "nodes": 1 },
                ])
    })
    .await;
    guest.delete(&format!("/v1/sessions/{first}")).await;
    edge.stop_next(&started).await;
    edge.start_next().await;
    let placement = guest.get(&path(&second)).await;
    assert_eq!(placement.at("/outcome"), "placed");
    assert_eq!(placement.at("/node"), edge.node.id.to_string());
}

#[tokio::test]
async fn somebody_elses_session_is_explained_to_the_administrator_alone() {
    let rig = Rig::start().await;
    let _edge = rig.edge(1).await;
    let (one, two) = (rig.guest().await, rig.guest().await);
    let session = id(&one.create("demo").await);
    let theirs = two.get(&path(&session)).await;
    theirs.refused(404, "not-found");
    let nobodys = two.get(NOBODYS).await;
    nobodys.refused(404, "not-found");
    assert_eq!(theirs.at("/detail"), nobodys.at("/detail"));
    let stranger = rig.nobody().get(&path(&session)).await;
    stranger.refused(401, "unauthenticated");
    assert_eq!(one.get(&path(&session)).await.at("/outcome"), "placed");
    let admin = rig.admin().get(&path(&session)).await;
    assert_eq!(admin.at("/outcome"), "placed");
}
