//! What a claim costs where a rate card goes by scores: from checkers' receipts to the line of usage that names one.

use crate::edge::Edge;
use crate::http::Client;
use crate::proving::probe;
use crate::rig::{Rig, eventually, id};
use crate::told::priced;
use crate::verdicts::{checker, hand_in, let_in, node_key, proving_node, standing};
use nearlight_protocol::usage::{UsageEntry, UsageReport};
use serde_json::json;

/// Micro-units a second of a slot, and thousandths of a node that nothing is known of.
const SLOT: u64 = 1_000_000;
const UNPROVEN: u64 = 500;

/// The one that nobody has checked costs half, which weighs more than what it lacks of a rank.
#[tokio::test]
async fn of_two_nodes_the_one_that_costs_less_by_its_score_is_chosen() {
    let rig = Rig::start_with(|config| {
        priced(
            config,
            "slot = 500\nby_score = { cap_permille = 1000, unproven_permille = 500 }",
        );
    })
    .await;
    let checkers = [1, 2, 3].map(checker);
    let proven = proving_node(&rig, 4).await;
    let (admin, node) = (rig.admin(), proven.node.id.clone());
    let_in(&admin, &checkers).await;
    let price = async || {
        let session = id(&admin.create("demo").await);
        let path = format!("/v1/sessions/{session}/placement");
        let placed = admin.get(&path).await.json();
        (placed["node"].clone(), placed["points"]["price"].clone())
    };
    standing(&rig, &node, "the node to be unproven", |of| {
        of["gate"] == "unproven"
    })
    .await;
    assert_eq!(price().await, (json!(node), json!(900)));
    for checker in &checkers {
        let probed = probe(checker, &node_key(), node.as_str(), 7);
        hand_in(&rig.nobody(), &probed.receipt()).await;
    }
    let passed = standing(&rig, &node, "the node to be proven", |of| {
        of["gate"] == "proven"
    })
    .await;
    let score = passed["verdicts"][0]["score_permille"].as_u64().unwrap();
    let whole = json!(1_800 * score.min(1_000) / 1_000);
    assert_eq!(price().await, (json!(node), whole));
    let cheap = rig.edge(4).await;
    for _ in 0..2 {
        assert_eq!(price().await, (json!(cheap.node.id), json!(900)));
    }
}

/// A session that runs and ends; what its claim cost.
async fn played(client: &Client, edge: &mut Edge) -> UsageEntry {
    let session = id(&client.create("demo").await);
    let started = edge.start_next().await;
    let path = format!("/v1/sessions/{session}");
    eventually("it to be ready", || async {
        client.get(&path).await.at("/state/phase") == "ready"
    })
    .await;
    let line = async || -> Option<UsageEntry> {
        let answer = client.get("/v1/usage?").await;
        let report: UsageReport = serde_json::from_str(&answer.body).unwrap();
        report.entries.into_iter().find(|entry| {
            let found = entry.session.as_ref();
            found.is_some_and(|found| found.as_str() == session.as_str())
        })
    };
    eventually("a second of it", async || {
        line().await.is_some_and(|line| line.seconds > 0)
    })
    .await;
    client.delete(&path).await;
    edge.stop_next(&started).await;
    eventually("its claim to be over", async || {
        line()
            .await
            .is_some_and(|line| line.ended_unix_ms.is_some())
    })
    .await;
    line().await.unwrap()
}

#[tokio::test]
async fn a_claim_costs_by_the_score_of_the_last_verdict_and_its_line_names_a_receipt() {
    let rig = Rig::start_with(|config| {
        let file = config.data.with_file_name("rates.toml");
        let card = format!(
            "currency = \"EUR\"\n[[card]]\nvalid_from = 2026-01-01T00:00:00Z\nslot = {SLOT}\n\
             by_score = {{ cap_permille = 1200, unproven_permille = {UNPROVEN} }}\n"
        );
        std::fs::write(&file, card).unwrap();
        config.rates.file = file;
    })
    .await;
    let checkers = [1, 2, 3].map(checker);
    let mut edge = proving_node(&rig, 4).await;
    let (node, key) = (edge.node.id.clone(), node_key());
    let_in(&rig.admin(), &checkers).await;
    standing(&rig, &node, "the node to be unproven", |of| {
        of["gate"] == "unproven"
    })
    .await;
    let unproven = played(&rig.admin(), &mut edge).await;
    assert_eq!(
        (unproven.score_permille, unproven.score_receipt),
        (None, None)
    );
    assert_eq!(
        unproven.amount_micro,
        unproven.seconds * SLOT * UNPROVEN / 1000
    );

    let mut places = Vec::new();
    for checker in &checkers {
        let probed = probe(checker, &key, node.as_str(), 7);
        places.push(hand_in(&rig.nobody(), &probed.receipt()).await);
    }
    let proven = standing(&rig, &node, "the node to be proven", |of| {
        of["gate"] == "proven"
    })
    .await;
    let score = proven["verdicts"][0]["score_permille"].as_u64().unwrap();
    let line = played(&rig.admin(), &mut edge).await;
    assert_eq!(line.score_permille.map(u64::from), Some(score));
    assert!(places.contains(&line.score_receipt.unwrap()), "{line:?}");
    assert_ne!(score.min(1200), UNPROVEN);
    assert_eq!(
        line.amount_micro,
        line.seconds * SLOT * score.min(1200) / 1000
    );
}
