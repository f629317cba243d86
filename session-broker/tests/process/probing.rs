//! Line checks: relayed to the node that is named, for whoever is somebody.

use crate::http::Client;
use crate::rig::Rig;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::control::{ToEdge, WhepRefusal, WhepResult};
use nearlight_protocol::id::NodeId;

const SDP: (&str, &str) = ("content-type", "application/sdp");

fn probe(client: &Client, node: &NodeId) -> tokio::task::JoinHandle<crate::http::Answer> {
    let (client, path) = (client.clone(), format!("/v1/nodes/{node}/probe"));
    Shutdown::new().spawn(async move { client.request("POST", &path, &[SDP], "v=0\r\n").await })
}

#[tokio::test]
async fn a_guest_checks_its_line_to_a_node() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let guest = rig.guest().await;
    let asked = probe(&guest, &edge.node.id);
    let ToEdge::Probe { request, sdp } = edge.next().await else {
        panic!("no probe");
    };
    assert_eq!(sdp, "v=0\r\n");
    let sdp = "v=0\r\ns=answer\r\n".to_owned();
    edge.answer(request, WhepResult::Answer { sdp }).await;
    let answered = asked.await.unwrap();
    assert_eq!(
        (answered.status, answered.body.as_str()),
        (201, "v=0\r\ns=answer\r\n")
    );
    assert_eq!(answered.header("content-type"), Some("application/sdp"));

    let crowded = probe(&guest, &edge.node.id);
    let ToEdge::Probe { request, .. } = edge.next().await else {
        panic!("no probe");
    };
    let reason = WhepRefusal::TooMany;
    let detail = "four check their line already".to_owned();
    edge.answer(request, WhepResult::Refused { reason, detail })
        .await;
    let crowded = crowded.await.unwrap();
    crowded.refused(429, "too-many-requests");
    assert!(crowded.header("retry-after").is_some());
}

#[tokio::test]
async fn what_is_no_line_check_does_not_reach_the_node() {
    let rig = Rig::start_with(|config| {
        config.limits.viewers_per_min = 1;
        config.limits.viewers_burst = 5;
    })
    .await;
    let mut edge = rig.edge(1).await;
    let guest = rig.guest().await;
    let node = edge.node.id.clone();
    let path = format!("/v1/nodes/{node}/probe");
    probe(&rig.nobody(), &node)
        .await
        .unwrap()
        .refused(401, "unauthenticated");
    let typed = guest.request("POST", &path, &[], "v=0\r\n").await;
    typed.refused(415, "unsupported-media-type");
    guest
        .request("POST", "/v1/nodes/nod_x/probe", &[SDP], "v=0")
        .await
        .refused(404, "not-found");
    let unknown = nearlight_kit::ids::node();
    probe(&guest, &unknown)
        .await
        .unwrap()
        .refused(404, "not-found");
    guest
        .request("POST", &path, &[SDP], "hello")
        .await
        .refused(400, "invalid-offer");
    let big = format!("v=0{}", "a".repeat(50_000));
    guest
        .request("POST", &path, &[SDP], &big)
        .await
        .refused(413, "body-too-large");

    // A flood: what is left of the burst goes through, then nothing, whoever it claims to be.
    let asked = [probe(&guest, &node), probe(&guest, &node)];
    for _ in &asked {
        let ToEdge::Probe { request, .. } = edge.next().await else {
            panic!("no probe");
        };
        let sdp = String::new();
        edge.answer(request, WhepResult::Answer { sdp }).await;
    }
    for asked in asked {
        assert_eq!(asked.await.unwrap().status, 201);
    }
    for _ in 0..20 {
        probe(&guest, &node)
            .await
            .unwrap()
            .refused(429, "too-many-requests");
    }
    let other = rig.guest().await;
    probe(&other, &node)
        .await
        .unwrap()
        .refused(429, "too-many-requests");
}

#[tokio::test]
async fn a_node_that_is_away_is_said_to_be_so() {
    let rig = Rig::start().await;
    let edge = rig.edge(1).await;
    let guest = rig.guest().await;
    let node = edge.node.id.clone();
    let mut edge = edge;
    let asked = probe(&guest, &node);
    assert!(matches!(edge.next().await, ToEdge::Probe { .. }));
    drop(edge);
    asked.await.unwrap().refused(503, "node-unreachable");
    probe(&guest, &node)
        .await
        .unwrap()
        .refused(503, "node-unreachable");
}
