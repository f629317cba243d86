//! Nodes of one operator: their checkers are told one moment for all of them, and one for a node that is due alone is none.

use crate::checkers::{Member, member, node};
use crate::rig::{Rig, eventually};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Probes that are due, by node: the place of each checker, and when it tells the node its nonce.
type Moments = BTreeMap<String, BTreeMap<u64, Option<u64>>>;

async fn moments(members: &[Member]) -> (BTreeSet<u64>, Moments) {
    let (mut rounds, mut moments) = (BTreeSet::new(), Moments::new());
    for member in members {
        let duties = member.duties().await.into_iter();
        for duty in duties.filter(|duty| duty["duty"] == "capacity") {
            rounds.insert(duty["round"].as_u64().unwrap());
            let node = duty["node_key_id"].as_str().unwrap().to_owned();
            let place = duty["place"].as_u64().unwrap();
            let meets = duty["meets_unix_ms"].as_u64();
            moments.entry(node).or_default().insert(place, meets);
        }
    }
    (rounds, moments)
}

#[tokio::test]
async fn nodes_of_one_operator_meet_and_a_node_alone_waits_for_nobody() {
    let rig = Rig::start_with(|config| {
        config.checks.round_s = 4;
        config.checks.capacity_s = 600;
        config.limits.requests_burst = 5000;
        config.limits.key_requests_burst = 5000;
    })
    .await;
    let (_one, key) = node(&rig, 50).await;
    let (_other, other) = node(&rig, 51).await;
    let [key, other] = [key, other].map(|key| key.public().id().to_string());
    // Rounds begin with the first checker: both nodes are new in the first one.
    let mut members = Vec::new();
    for (n, operator) in [(1, "a"), (2, "b"), (3, "c")] {
        members.push(member(&rig, n, operator).await);
    }
    eventually("both are due", async || {
        moments(&members).await.1.len() == 2
    })
    .await;
    let (rounds, met) = moments(&members).await;
    assert_eq!(rounds.len(), 1, "{rounds:?}");
    assert_eq!(met[&key], met[&other], "one moment for each place");
    let told: Vec<u64> = met[&key].values().map(|meets| meets.unwrap()).collect();
    // 600 s by three places and two who stand in, from 30 s on.
    assert!(!told.is_empty());
    assert!(told.windows(2).all(|two| two[1] == two[0] + 120_000));
    let path = format!("/v1/beacon/{}", rounds.first().unwrap());
    let beacon: Value = rig.nobody().get(&path).await.json();
    let began_ms = beacon["began_unix_ms"].as_u64().unwrap();
    let first = met[&key].keys().next().unwrap();
    assert_eq!(told[0], began_ms + 30_000 + first * 120_000);

    let (_third, third) = node(&rig, 52).await;
    let third = third.public().id().to_string();
    let is_due = async || moments(&members).await.1.contains_key(&third);
    eventually("the third is due", is_due).await;
    let (_, met) = moments(&members).await;
    assert!(met[&third].values().all(Option::is_none), "{met:?}");
    assert!(met[&key].values().all(Option::is_some), "{met:?}");
}
