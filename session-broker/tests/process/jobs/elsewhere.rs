//! Jobs that lose their node and go on at another one, and prices that jobs may have.

use super::*;
use nearlight_protocol::control::{FromEdge, Gpu};

const SECRET: &str = "correct-horse-battery";

fn movable(max: u32) -> Value {
    let mut body = job(&json!({
        "secrets": ["TOKEN"],
        "restart": { "elsewhere": true, "max": max },
    }));
    body["secrets"] = json!({ "TOKEN": SECRET });
    body
}

async fn hasty() -> Rig {
    Rig::start_with(|config| {
        config.sessions.node_grace_s = 1;
        config.sessions.skew_s = 0;
    })
    .await
}

async fn is_sealed(rig: &Rig, session: &str) -> bool {
    let row = rig.ledger.session(session.parse().unwrap()).await;
    row.unwrap().unwrap().0.sealed.is_some()
}

#[tokio::test]
async fn a_job_whose_node_is_lost_goes_on_elsewhere_with_its_secret_as_often_as_it_may() {
    let rig = hasty().await;
    let node = job_node(&rig, 1);
    let mut lost = edge_of(&rig, node.clone()).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let session = id(&ask(&client, &movable(1)).await);
    let first = lost.start_next().await;
    let mut events = client.events(&session).await;
    events.until("ready").await;
    assert!(is_sealed(&rig, &session).await, "it may start again");
    drop(lost);

    // Its grace is over: it waits, and the next node has it under another claim.
    events.until("queued").await;
    let mut other = edge(&rig, 1).await;
    let second = other.start_next().await;
    assert_eq!(second.start.session.to_string(), session);
    assert_eq!(second.start.secrets.0["TOKEN"], SECRET);
    assert_ne!(second.grant.node, first.grant.node);
    events.until("ready").await;
    eventually("its secrets to go", || async {
        !is_sealed(&rig, &session).await
    })
    .await;

    // The lost node is back with what it ran: it has to stop that, and the job goes on.
    let mut back = rig.attach(&node, vec![first.running(false)]).await;
    let (command, reason) = back.expect_stop(&first.start.session).await;
    assert_eq!(reason, EndReason::NodeLost);
    back.ack(command).await;
    let path = format!("/v1/sessions/{session}");
    assert_eq!(client.get(&path).await.at("/state/phase"), "ready");
    let usage = rig.ledger.usage(session.parse().unwrap()).await.unwrap();
    assert_eq!(usage.len(), 2, "{usage:?}");
    assert_eq!(
        usage.iter().filter(|one| one.ended_ms.is_none()).count(),
        1,
        "{usage:?}"
    );

    // It had its one move.
    drop(other);
    let over = ended(&client, &session).await;
    assert_eq!(over["reason"], "node-lost");
    let usage = rig.ledger.usage(session.parse().unwrap()).await.unwrap();
    assert!(usage.iter().all(|one| one.ended_ms.is_some()), "{usage:?}");
}

#[tokio::test]
async fn a_broker_that_starts_again_knows_how_often_a_job_has_moved() {
    let rig = hasty().await;
    let mut first = edge(&rig, 1).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let secret = client
        .headers
        .iter()
        .find(|(name, _)| name == "authorization");
    let secret = secret.unwrap().1.clone();
    let session = id(&ask(&client, &movable(1)).await);
    let started = first.start_next().await;
    let reason = EndReason::NodeDrained;
    let detail = String::new();
    first.send(FromEdge::Draining).await;
    first
        .report(&started, SessionReport::Ended { reason, detail })
        .await;
    let path = format!("/v1/sessions/{session}");
    eventually("it to wait", || async {
        client.get(&path).await.at("/state/phase") == "queued"
    })
    .await;
    drop(first);
    let rig = rig.restart().await;
    let client = rig.nobody().with("authorization", &secret);
    let mut second = edge(&rig, 1).await;
    let started = second.start_next().await;
    assert_eq!(started.start.session.to_string(), session);
    assert_eq!(started.start.secrets.0["TOKEN"], SECRET);
    second.send(FromEdge::Draining).await;
    let detail = String::new();
    second
        .report(&started, SessionReport::Ended { reason, detail })
        .await;
    assert_eq!(ended(&client, &session).await["reason"], "node-drained");
}

#[tokio::test]
async fn a_job_that_may_move_says_how_often() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let unbounded = ask(&client, &movable(0)).await;
    unbounded.refused(400, "bad-request");
    assert!(unbounded.at("/detail").contains("restart.max"));
}

fn capped(price_max: u32) -> Value {
    job(&json!({
        "resources": {
            "cpu_milli": 1000,
            "mem_mib": 1024,
            "gpu": { "count": 1 },
        },
        "place": { "price_max": price_max },
    }))
}

#[tokio::test]
async fn a_job_goes_where_it_costs_no_more_than_it_may() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let unpriced = ask(&client, &capped(1000)).await;
    unpriced.refused(400, "bad-request");
    assert!(unpriced.at("/detail").contains("rate card"), "{unpriced:?}");

    let rig = Rig::start_with(|config| {
        let file = config.data.with_file_name("rates.toml");
        let card = "currency = \"EUR\"\n[[card]]\nvalid_from = 2020-01-01T00:00:00Z\n\
                    slot = 10\ncpu_core = 5\nmem_gib = 5\ngpu = { H100 = 700, L4 = 80 }\n";
        std::fs::write(&file, card).unwrap();
        config.rates.file = file;
    })
    .await;
    let (_, _, client) = tenant(&rig, "a").await;
    let low = ask(&client, &capped(19)).await;
    low.refused(400, "bad-request");
    assert!(low.at("/detail").contains("that is 20"), "{low:?}");
    let with = |model: &str| {
        let gpu = Gpu {
            uuid: format!("GPU-{model}"),
            model: format!("NVIDIA {model}"),
            vram_mib: 24_000,
            compute_capability: 89,
            ..Gpu::default()
        };
        Node {
            jobs: Some(JobHost {
                gpus: vec![gpu],
                gives_gpus: true,
                ..host()
            }),
            ..job_node(&rig, 2)
        }
    };
    let mut dear = edge_of(&rig, with("H100")).await;
    let waits = id(&ask(&client, &capped(100)).await);
    let path = format!("/v1/sessions/{waits}/placement");
    eventually("it to be told that the node is too dear", || async {
        let placement = client.get(&path).await.json();
        placement["excluded"] == json!([{ "reason": "price", "nodes": 1 }])
    })
    .await;
    let rich = id(&ask(&client, &capped(720)).await);
    assert_eq!(dear.start_next().await.start.session.to_string(), rich);
    let mut cheap = edge_of(&rig, with("L4")).await;
    assert_eq!(cheap.start_next().await.start.session.to_string(), waits);
}
