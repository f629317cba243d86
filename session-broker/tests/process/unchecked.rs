//! A node that nobody could check: no checker's table has a class that is called as its GPU.

use crate::checkers::member;
use crate::rig::{Rig, eventually};
use crate::verdicts::{proving_node, standing, standing_path};
use serde_json::json;

#[tokio::test]
async fn a_node_without_a_class_is_unchecked_and_takes_what_it_has_room_for() {
    let rig = Rig::start_with(|config| {
        config.checks.round_s = 3;
        config.checks.capacity_s = 600;
        config.limits.requests_burst = 5000;
        config.limits.key_requests_burst = 5000;
    })
    .await;
    let mut members = Vec::new();
    for (n, operator) in (1..=3).zip(["a", "b", "c"]) {
        members.push(member(&rig, n, operator).await);
    }
    let mut edge = proving_node(&rig, 3).await;
    let node = edge.node.id.clone();
    standing(&rig, &node, "nobody to have said anything", |of| {
        of["gate"] == "unproven"
    })
    .await;
    let (admin, path) = (rig.admin(), standing_path(&node));
    let no_class = json!({ "is": "missed", "why": "the table has no class `Some GPU`" });
    eventually("all to have said that they cannot", || async {
        for member in &members {
            for duty in member.duties().await {
                if duty["duty"] == "capacity" {
                    member.report(&duty, no_class.clone()).await;
                }
            }
        }
        admin.get(&path).await.json()["gate"] == "unchecked"
    })
    .await;
    let shown = admin.get(&path).await.json();
    let advice = shown["advice"][0].as_str().unwrap();
    assert!(advice.contains("no checker's table has a class"), "{shown}");
    // An unproven node takes two.
    for _ in 0..3 {
        rig.guest().await.create("demo").await;
        edge.start_next().await;
    }
}
