//! What checkers ask of a node, at a broker that does not hold it.

use super::at;
use crate::shared::Shared;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::control::ToEdge;
use serde_json::json;

/// A checker asks any broker of the region; what comes back is of the node, and not of the way between brokers.
#[tokio::test]
async fn a_node_is_asked_by_way_of_the_broker_that_holds_it() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let there = shared.admin("b", &b);
    let here = at(&there, &a);
    let mut edge = shared.edge(1, &b, &[&here, &there]).await;
    let node = edge.node.id.clone();
    let digits = "ab".repeat(32);
    let question = json!({ "round": 1, "value": digits, "checker": digits, "nonce": digits });
    let asked = [
        (format!("/v1/nodes/{node}/alive"), question),
        (format!("/v1/probes?node={node}"), json!({ "node": node })),
    ];
    for (path, body) in asked {
        let asking = here.clone();
        let posted = async move { asking.post_json(&path, &body).await };
        let posted = Shutdown::new().spawn(posted);
        // The scripted node dials no tunnel; that it is asked for one is the way to it.
        while !matches!(edge.next().await, ToEdge::OpenTunnel(_)) {}
        posted.await.unwrap().refused(503, "node-unreachable");
    }
    let unnamed = here.post_json("/v1/probes", &json!({ "node": node })).await;
    unnamed.refused(500, "internal");
}
