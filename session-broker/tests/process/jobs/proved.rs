//! GPUs of which receipts stand for less memory than their driver says.

use super::gpus::{gpu, gpu_node, wants};
use super::placing::waits_for;
use super::*;
use crate::proving::probe;
use crate::verdicts::{checker, hand_in, let_in, node_key, proves, standing};

/// What 850 MiB that were filled stand for.
const PROVED_MIB: u32 = 1_000;

/// A class that fills less than a card has proves that much: a card of 24 GB passed by it, and took what asked for all.
#[tokio::test]
async fn a_gpu_that_was_proved_in_part_takes_no_job_that_asks_for_more() {
    let rig = Rig::start().await;
    let (admin, checkers) = (rig.admin(), [1, 2, 3].map(checker));
    let (_, _, client) = tenant(&rig, "a").await;
    let card = "GPU-11111111-1111-1111-1111-111111111111";
    let node = gpu_node(&rig, 4, vec![gpu(card, "NVIDIA L4", 23_034)]);
    let mut edge = proves(&rig, node).await;
    let node = edge.node.clone();
    vet(&admin, &node).await;
    let_in(&admin, &checkers).await;
    let of = async |mib: u32| id(&ask(&client, &wants(json!({ "vram_mib": mib }))).await);

    // Nobody has proved it yet: what its driver says counts, as of any new node.
    standing(&rig, &node.id, "it to be unproven", |of| {
        of["gate"] == "unproven"
    })
    .await;
    let first = of(23_034).await;
    let started = edge.start_next().await;
    assert_eq!(started.start.session.to_string(), first);
    client.delete(&format!("/v1/sessions/{first}")).await;
    edge.stop_next(&started).await;

    for checker in &checkers {
        let probed = probe(checker, &node_key(), node.id.as_str(), 7);
        let receipt = probed.of_gpu([checker, &node_key()], card, 850 * 16);
        hand_in(&rig.nobody(), &receipt).await;
    }
    let shown = standing(&rig, &node.id, "the receipts to count", |of| {
        of["gpu_memory"] != json!([])
    })
    .await;
    assert_eq!(
        shown["gpu_memory"],
        json!([{ "gpu": card, "proved_mib": PROVED_MIB }])
    );
    let more = of(PROVED_MIB + 1).await;
    waits_for(&client, &more, &["gpu-memory-unproved:1"]).await;
    let larger = of(30_000).await;
    waits_for(&client, &larger, &["gpu-memory:1"]).await;
    let fits = of(PROVED_MIB).await;
    let started = edge.start_next().await;
    assert_eq!(started.start.session.to_string(), fits);
    client.delete(&format!("/v1/sessions/{fits}")).await;
    edge.stop_next(&started).await;

    // A larger class later: who waited is placed.
    for checker in &checkers {
        let probed = probe(checker, &node_key(), node.id.as_str(), 8);
        let receipt = probed.of_gpu([checker, &node_key()], card, 2 * 850 * 16);
        hand_in(&rig.nobody(), &receipt).await;
    }
    let started = edge.start_next().await;
    assert_eq!(started.start.session.to_string(), more);
}
