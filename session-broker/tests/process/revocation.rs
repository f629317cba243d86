//! What an operator decides about nodes: drained, and shut out for good.

use crate::edge::{Edge, Node};
use crate::enrolment::{joined, renew_at_the_door, token};
use crate::http::Client;
use crate::rig::{Rig, eventually, id};
use nearlight_kit::enrol::{broker_name, enrol};
use nearlight_kit::pki::PendingKey;
use nearlight_protocol::control::{FromEdge, ToEdge};
use nearlight_protocol::problem::ProblemType;
use serde_json::json;

async fn reach(client: &Client, session: &str, phase: &str) {
    let path = format!("/v1/sessions/{session}");
    eventually(phase, || async {
        client.get(&path).await.at("/state/phase") == phase
    })
    .await;
}

async fn status(client: &Client, node: &Node) -> Option<String> {
    let nodes = client.get("/v1/nodes").await.json();
    let listed = nodes["nodes"].as_array().unwrap().clone();
    let found = listed.iter().find(|n| n["id"] == node.id.as_str())?;
    found["status"].as_str().map(str::to_owned)
}

async fn shown(client: &Client, node: &Node, expected: Option<&str>) {
    eventually(expected.unwrap_or("not shown"), || async {
        status(client, node).await.as_deref() == expected
    })
    .await;
}

pub(crate) async fn decide(rig: &Rig, method: &str, node: &Node, what: &str) -> u16 {
    let path = format!("/v1/nodes/{}{what}", node.id);
    rig.admin().request(method, &path, &[], "").await.status
}

async fn refused_as_revoked(rig: &Rig, node: &Node) {
    let at = rig.broker.node_listen;
    let mut edge = node.dial(&rig.pki(), at, &node.id).await;
    let ToEdge::Refused {
        revoked, detail, ..
    } = edge.next().await
    else {
        panic!("it was taken");
    };
    assert!(revoked, "{detail}");
    assert!(edge.next_or_closed().await.is_none());
}

#[tokio::test]
async fn a_revoked_node_is_cut_off_at_once_and_gets_nothing_for_good() {
    let rig = Rig::start().await;
    let guest = rig.guest().await;
    // Its token and key once more, for later.
    let token = token(&rig, &json!({})).await;
    let key = PendingKey::generate().unwrap();
    let name = broker_name();
    let (enrolled, issued, _) = enrol(&token, &name, &key, &rig.wall).await.unwrap();
    issued.save(&rig.pki(), enrolled.node.as_str()).unwrap();
    let node = Node {
        wall: rig.wall.clone(),
        ..Node::known(enrolled.node, 2)
    };
    let mut edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
    let playing = id(&guest.create("demo").await);
    edge.start_next().await;
    reach(&guest, &playing, "ready").await;

    assert_eq!(decide(&rig, "DELETE", &node, "").await, 204);
    let ToEdge::Refused { revoked: true, .. } = edge.next().await else {
        panic!("it is not told");
    };
    assert!(edge.next_or_closed().await.is_none());
    let ended = guest.get(&format!("/v1/sessions/{playing}")).await;
    assert_eq!(ended.at("/state/phase"), "ended");
    assert_eq!(ended.at("/state/reason"), "node-drained");
    assert!(ended.at("/state/detail").contains("revoked"), "{ended:?}");

    // Attaching, renewing, renewing late, and coming in again with the same token and key.
    refused_as_revoked(&rig, &node).await;
    let late = renew_at_the_door(&rig, &node).await.unwrap_err();
    assert_eq!(late.problem(), Some(ProblemType::NodeRevoked));
    let again = enrol(&token, &name, &key, &rig.wall).await.unwrap_err();
    assert_eq!(again.problem(), Some(ProblemType::NodeRevoked));
    rig.wall.set_ahead(3 * 24 * 3600);
    let late = renew_at_the_door(&rig, &node).await.unwrap_err();
    assert_eq!(late.problem(), Some(ProblemType::NodeRevoked));
    rig.wall.set_ahead(0);

    // Placement has no such node: with it alone there is nothing to wait for.
    let waiting = id(&guest.create("demo").await);
    reach(&guest, &waiting, "queued").await;
    shown(&guest, &node, None).await;
    shown(&rig.admin(), &node, Some("revoked")).await;

    // Once is enough, and neither a restart nor an end of a drain changes it.
    assert_eq!(decide(&rig, "DELETE", &node, "").await, 204);
    assert_eq!(decide(&rig, "DELETE", &node, "/drain").await, 204);
    let rig = rig.restart().await;
    refused_as_revoked(&rig, &node).await;
    shown(&rig.admin(), &node, Some("revoked")).await;
    let other = joined(&rig, 1).await;
    let mut edge = rig.attach(&other, Vec::new()).await;
    assert_eq!(edge.start_next().await.start.session.to_string(), waiting);
}

#[tokio::test]
async fn a_session_that_was_only_placed_on_a_revoked_node_goes_to_another() {
    let rig = Rig::start().await;
    let guest = rig.guest().await;
    let mut bad = rig.edge(1).await;
    let session = id(&guest.create("demo").await);
    bad.expect_start().await;
    let mut good = rig.edge(1).await;
    assert_eq!(decide(&rig, "DELETE", &bad.node.clone(), "").await, 204);
    let started = good.start_next().await;
    assert_eq!(started.start.session.to_string(), session);
    reach(&guest, &session, "ready").await;
}

#[tokio::test]
async fn a_stream_gets_no_certificate_once_its_node_is_revoked() {
    let rig = Rig::start().await;
    let node = joined(&rig, 1).await;
    let mut edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
    assert_eq!(decide(&rig, "DELETE", &node, "").await, 204);
    let request = PendingKey::generate().unwrap().request().unwrap();
    edge.send(FromEdge::Renew { request }).await;
    while let Some(said) = edge.next_or_closed().await {
        assert!(!matches!(said, ToEdge::Renewed(_)));
    }
}

#[tokio::test]
async fn a_drained_node_takes_no_session_until_it_is_undrained_whatever_restarts() {
    let rig = Rig::start().await;
    let node = joined(&rig, 2).await;
    let mut edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
    let guest = rig.guest().await;
    let playing = id(&guest.create("demo").await);
    let started = edge.start_next().await;
    reach(&guest, &playing, "ready").await;

    assert_eq!(decide(&rig, "POST", &node, "/drain").await, 204);
    let waiting = id(&guest.create("demo").await);
    reach(&guest, &waiting, "queued").await;
    shown(&guest, &node, Some("draining")).await;
    reach(&guest, &playing, "ready").await;

    drop(edge);
    let rig = rig.restart().await;
    let guest = Client {
        at: rig.broker.listen,
        ..guest
    };
    let mut edge: Edge = rig.attach(&node, vec![started.running(true)]).await;
    shown(&guest, &node, Some("draining")).await;
    reach(&guest, &waiting, "queued").await;
    reach(&guest, &playing, "playing").await;

    assert_eq!(decide(&rig, "DELETE", &node, "/drain").await, 204);
    let next = edge.start_next().await;
    assert_eq!(next.start.session.to_string(), waiting);
}

#[tokio::test]
async fn nodes_that_never_came_are_not_found_and_enrolled_ones_are() {
    let rig = Rig::start().await;
    let stranger = Node::known(nearlight_kit::ids::node(), 1);
    for (method, what) in [("DELETE", ""), ("POST", "/drain"), ("DELETE", "/drain")] {
        assert_eq!(
            decide(&rig, method, &stranger, what).await,
            404,
            "{method} {what}"
        );
    }
    // It has a certificate and never attached.
    let node = joined(&rig, 1).await;
    assert_eq!(decide(&rig, "DELETE", &node, "").await, 204);
    refused_as_revoked(&rig, &node).await;
}

#[tokio::test]
async fn only_operators_let_in_drain_and_shut_out() {
    let rig = Rig::start().await;
    let edge = rig.edge(1).await;
    let node = format!("/v1/nodes/{}", edge.node.id);
    let drain = format!("{node}/drain");
    for (method, path) in [
        ("POST", "/v1/join-tokens"),
        ("DELETE", node.as_str()),
        ("POST", &drain),
        ("DELETE", &drain),
    ] {
        let json = [("content-type", "application/json")];
        let guest = rig.guest().await;
        guest
            .request(method, path, &json, "{}")
            .await
            .refused(403, "forbidden");
        let nobody = rig.nobody();
        nobody
            .request(method, path, &json, "{}")
            .await
            .refused(401, "unauthenticated");
    }
    shown(&rig.admin(), &edge.node, Some("online")).await;
}
