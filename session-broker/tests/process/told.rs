//! What placement is told: whose a node is, what its GPU holds, what it costs; and what follows for whom it chooses.

use crate::edge::Edge;
use crate::enrolment::joined_with;
use crate::http::Client;
use crate::isolation::tenant;
use crate::rig::{Rig, eventually, id};
use serde_json::{Value, json};
use session_broker::config::Parsed;
use std::collections::BTreeSet;

/// A rate card of these rates.
pub(crate) fn priced(config: &mut Parsed, rates: &str) {
    let file = config.data.with_file_name("rates.toml");
    let card =
        format!("currency = \"EUR\"\n[[card]]\nvalid_from = 2026-01-01T00:00:00Z\n{rates}\n");
    std::fs::write(&file, card).unwrap();
    config.rates.file = file;
}

async fn placement(client: &Client, session: &str) -> Value {
    let path = format!("/v1/sessions/{session}/placement");
    client.get(&path).await.json()
}

/// A node that has come in with an operator's token.
async fn edge_of(rig: &Rig, operator: &str, slots: usize) -> Edge {
    let node = joined_with(rig, slots, &json!({ "operator": operator })).await;
    let edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
    edge
}

/// Where a new session of a caller is, and what it has for spread.
async fn spread(client: &Client) -> (String, String, u64) {
    let session = id(&client.create("demo").await);
    let placed = placement(client, &session).await;
    assert_eq!(placed["outcome"], "placed", "{placed}");
    let points = placed["points"]["spread"].as_u64().unwrap();
    (session, placed["node"].as_str().unwrap().to_owned(), points)
}

#[tokio::test]
async fn the_sessions_of_a_tenant_are_spread_over_operators() {
    let rig = Rig::start().await;
    let (mut north, mut south) = (
        edge_of(&rig, "north", 16).await,
        edge_of(&rig, "south", 16).await,
    );
    for name in ["a", "b", "c", "d", "e"] {
        let (_, _, client) = tenant(&rig, name).await;
        let (_, first, nothing) = spread(&client).await;
        let (second, other, still_nothing) = spread(&client).await;
        assert_ne!(first, other, "the second of {name} is with the other one");
        assert_eq!((nothing, still_nothing), (0, 0));
        let (_, _, half) = spread(&client).await;
        assert_eq!(half, 250, "each has half of what {name} has");
        client.delete(&format!("/v1/sessions/{second}")).await;
    }
    let guest = rig.guest().await;
    assert_eq!(spread(&guest).await.2, 0, "a guest is nobody's tenant");
    assert_eq!(spread(&guest).await.2, 0);
    for edge in [&mut north, &mut south] {
        edge.start_next().await;
    }
}

#[tokio::test]
async fn who_runs_a_node_is_known_after_a_restart_as_well() {
    let rig = Rig::start().await;
    let nodes = [
        joined_with(&rig, 4, &json!({ "operator": "north" })).await,
        joined_with(&rig, 4, &json!({})).await,
    ];
    let (_, _, client) = tenant(&rig, "a").await;
    let rig = rig.restart().await;
    let client = Client {
        at: rig.broker.listen,
        ..client
    };
    let mut edges = Vec::new();
    for node in &nodes {
        edges.push(rig.attach(node, Vec::new()).await);
        rig.online(node).await;
    }
    let mut on = BTreeSet::new();
    for expected in [0, 0, 250] {
        let (_, node, points) = spread(&client).await;
        assert_eq!(points, expected);
        on.insert(node);
    }
    assert_eq!(on.len(), 2);
}

#[tokio::test]
async fn an_app_goes_where_the_gpu_holds_it() {
    let rig = Rig::start_with(|config| {
        let app = r#"
            id = "heavy"
            title = "heavy"
            summary = "For tests."
            picture = "/apps/heavy.webp"
            shelf = "tool"
            launch = { image = "demo:1", command = ["/demo"] }
            needs = { kbps_min = 1000, gpu = "render", vram_mib = 24576 }
        "#;
        std::fs::write(config.apps.join("heavy.toml"), app).unwrap();
    })
    .await;
    let with = async |vram_mib| {
        let mut node = rig.node(1);
        node.vram_mib = vram_mib;
        let edge = rig.attach(&node, Vec::new()).await;
        rig.online(&node).await;
        edge
    };
    let (_small, mut large) = (with(8_192).await, with(24_576).await);
    let guest = rig.guest().await;
    let first = id(&guest.create("heavy").await);
    let started = large.start_next().await;
    assert_eq!(started.app().app.needs.vram_mib, 0, "older nodes know none");
    let second = id(&guest.create("heavy").await);
    eventually("the other node to be excluded", async || {
        placement(&guest, &second).await["excluded"]
            == json!([
                { "reason": "vram", "nodes": 1 },
                { "reason": "slots-taken", "nodes": 1 },
            ])
    })
    .await;
    guest.delete(&format!("/v1/sessions/{first}")).await;
    large.stop_next(&started).await;
    large.start_next().await;
}

/// Both are alike but for the CPU that their encoder takes, which is paid for.
#[tokio::test]
async fn of_two_nodes_the_cheaper_one_is_taken_and_a_limit_excludes_the_other() {
    let rig = Rig::start_with(|config| priced(config, "cpu_core = 500")).await;
    let encodes = async |milli| {
        let mut node = rig.node(4);
        node.encode_cpu_milli = milli;
        let edge = rig.attach(&node, Vec::new()).await;
        rig.online(&node).await;
        edge
    };
    let (dear, cheap) = (encodes(1_000).await, encodes(0).await);
    let guest = rig.admin();
    for _ in 0..4 {
        let session = id(&guest.create("demo").await);
        let placed = placement(&guest, &session).await;
        assert_eq!(placed["node"], cheap.node.id.to_string());
        // A core of 500 millionths a second is 1.8 an hour.
        assert_eq!(placed["points"]["price"], 1_800);
    }
    let capped = async |max: u32| {
        let body = json!({ "app": "demo", "price_max": max });
        let key = nearlight_kit::ids::request().to_string();
        let client = guest.with("idempotency-key", &key);
        id(&client.post_json("/v1/sessions", &body).await)
    };
    let session = capped(1_000).await;
    let placed = placement(&guest, &session).await;
    assert_eq!(placed["node"], dear.node.id.to_string());
    assert_eq!(placed["points"]["price"], 3_600);
    let session = capped(999).await;
    let expected = json!([
        { "reason": "price", "nodes": 1 },
        { "reason": "slots-taken", "nodes": 1 },
    ]);
    eventually("the dear one to be excluded", async || {
        placement(&guest, &session).await["excluded"] == expected
    })
    .await;
}

#[tokio::test]
async fn a_limit_of_a_price_needs_prices() {
    let rig = Rig::start().await;
    let guest = rig.guest().await;
    let body = json!({ "app": "demo", "price_max": 5 });
    let asked = guest.with("idempotency-key", "a");
    let refused = asked.post_json("/v1/sessions", &body).await;
    refused.refused(400, "bad-request");
    assert!(refused.at("/detail").contains("rate card"), "{refused:?}");
}
