//! Who may open a probe.

use crate::checkers::{due, member, node, rig};
use serde_json::json;

/// Whoever may probe could hold a node's only seat for ever, and with it every verdict.
#[tokio::test]
async fn a_checker_probes_what_is_assigned_to_it_and_nothing_else() {
    let rig = rig(1, 60).await;
    let members = [
        member(&rig, 1, "north").await,
        member(&rig, 2, "south").await,
        member(&rig, 3, "west").await,
    ];
    let (edge, _key) = node(&rig, 9).await;
    let (assigned, _) = due(&members, "capacity").await;
    let probe = |gpu: Option<&str>| json!({ "node": edge.node.id, "gpu": gpu });
    let other = probe(Some("GPU-1"));
    let other = assigned.client.post_json("/v1/probes", &other);
    other.await.refused(403, "forbidden");
    let answer = assigned.client.post_json("/v1/probes", &probe(None)).await;
    // It is let through to the node, which is scripted and has no prover.
    answer.refused(503, "node-unreachable");
    // Who is no checker may, of one's own: `run --once` of an operator.
    let own = rig.admin().post_json("/v1/probes", &probe(None)).await;
    own.refused(503, "node-unreachable");
}
