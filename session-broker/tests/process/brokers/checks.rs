//! What checkers ask of a node, at a broker that does not hold it.

use super::at;
use crate::checkers::member_at;
use crate::http::Client;
use crate::shared::Shared;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::control::ToEdge;
use serde_json::json;

/// A checker asks any broker of the region; what comes back is of the node, and not of the way between brokers.
#[tokio::test]
async fn a_node_is_asked_by_way_of_the_broker_that_holds_it() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two_with_a_log().await;
    let there = shared.admin("b", &b);
    let here = at(&there, &a);
    let listeners = (&Client::nobody(b.listen), a.node_listen);
    let member = member_at(&there, listeners, 1, "west").await;
    let mut edge = shared.edge(1, &b, &[&here, &there]).await;
    let node = edge.node.id.clone();
    let digits = "ab".repeat(32);
    let question = json!({ "round": 1, "value": digits, "checker": member.id(), "nonce": digits });
    // Its certificate is shown to the first broker, and the second goes by it. An operator probes with a key.
    let asked = [
        (&member.client, format!("/v1/nodes/{node}/alive"), question),
        (
            &here,
            format!("/v1/probes?node={node}"),
            json!({ "node": node }),
        ),
    ];
    for (client, path, body) in asked {
        let asking = client.clone();
        let posted = async move { asking.post_json(&path, &body).await };
        let posted = Shutdown::new().spawn(posted);
        // The scripted node dials no tunnel; that it is asked for one is the way to it.
        while !matches!(edge.next().await, ToEdge::OpenTunnel(_)) {}
        posted.await.unwrap().refused(503, "node-unreachable");
    }
    let unnamed = here.post_json("/v1/probes", &json!({ "node": node })).await;
    unnamed.refused(500, "internal");
    // Nobody says for themselves which checker they are.
    let spiffe = nearlight_kit::pki::Credentials::load(member.pki.path(), "checker");
    let name = spiffe
        .unwrap()
        .spiffe
        .replace("spiffe://nearlight/checker/", "");
    let forged = here.with("x-nearlight-checker", &name);
    let question = json!({ "round": 1, "value": digits, "checker": member.id(), "nonce": digits });
    let path = format!("/v1/nodes/{node}/alive");
    forged
        .post_json(&path, &question)
        .await
        .refused(403, "forbidden");
}
