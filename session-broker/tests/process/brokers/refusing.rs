//! A node whose starts fail, and a broker that does not know of it.

use super::{at, of, path};
use crate::edge::Node;
use crate::http::Client;
use crate::program::Program;
use crate::refusing::{excluded, fails_next};
use crate::rig::{eventually, id};
use crate::shared::{Shared, online};
use serde_json::json;

#[tokio::test]
async fn who_is_kept_off_a_node_of_another_broker_goes_elsewhere_or_waits() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let here = Client::guest(a.listen).await;
    let there = at(&here, &b);
    let mut well = shared.edge(1, &a, &[&here, &there]).await;
    let mut node = Node::new(&shared.pki(), 8);
    node.images = vec!["demo:1".to_owned()];
    let mut broken = shared.attach(&node, &b, Vec::new()).await;
    for client in [&here, &there] {
        online(client, &node).await;
    }
    let first = id(&here.create("demo").await);
    assert_eq!(of(&fails_next(&mut broken).await), first);
    assert_eq!(of(&well.start_next().await), first);
    // The first broker would have it on that node, and the other one keeps it off.
    let second = id(&here.create("demo").await);
    let expected = json!([
        { "reason": "slots-taken", "nodes": 1 },
        { "reason": "refused", "nodes": 1 },
    ]);
    eventually("it to wait", async || {
        excluded(&here, &second).await == expected
    })
    .await;
    assert_eq!(here.get(&path(&second)).await.at("/state/phase"), "queued");
    // Each was given there and back once, at the most.
    let moves = given(&a).await + given(&b).await;
    assert!(moves <= 4, "{moves}");
}

/// Sessions that a broker gave away.
async fn given(broker: &Program) -> u64 {
    let metrics = Client::nobody(broker.metrics_listen.unwrap());
    let page = metrics.get("/metrics").await.body;
    let mut lines = page.lines().filter(|line| line.contains("how=\"given\""));
    let count = lines.next().and_then(|line| line.rsplit(' ').next());
    count.map_or(0, |count| count.parse().unwrap())
}
