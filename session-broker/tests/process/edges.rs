//! Control streams: who is taken, who wins, and how what a node runs meets what we believe.

use crate::edge::{Edge, Node, Started};
use crate::http::Client;
use crate::rig::{Rig, eventually, id};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{FromEdge, Order, RUNNING_PARTS_FEATURE, RunningSession, ToEdge};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::limits::{CONTROL_MESSAGE_BYTES_MAX, CONTROL_OUTBOX_MAX};
use nearlight_protocol::unit::U64;
use serde_json::{Value, json};

async fn playing(guest: &Client, edge: &mut Edge) -> (String, Started) {
    let session = id(&guest.create("demo").await);
    let started = edge.start_next().await;
    reach(guest, &session, "ready").await;
    (session, started)
}

async fn reach(guest: &Client, session: &str, phase: &str) {
    let path = format!("/v1/sessions/{session}");
    eventually(phase, || async {
        guest.get(&path).await.at("/state/phase") == phase
    })
    .await;
}

#[tokio::test]
async fn a_node_speaks_for_its_certificate_only() {
    let rig = Rig::start().await;
    let (node, other) = (rig.node(1), rig.node(1));
    let mut edge = node
        .dial(&rig.pki(), rig.broker.node_listen, &other.id)
        .await;
    let ToEdge::Refused { detail, .. } = edge.next().await else {
        panic!("it was taken");
    };
    assert!(detail.contains(other.id.as_str()), "{detail}");
    assert!(edge.next_or_closed().await.is_none());
}

#[tokio::test]
async fn the_newest_attach_wins_and_the_older_stream_is_sent_away() {
    let rig = Rig::start().await;
    let mut older = rig.edge(1).await;
    let node = older.node.clone();
    let guest = rig.guest().await;
    let (session, started) = playing(&guest, &mut older).await;
    let mut newer = rig.attach(&node, vec![started.running(true)]).await;
    assert!(matches!(older.next().await, ToEdge::GoAway { .. }));
    assert!(older.next_or_closed().await.is_none());
    reach(&guest, &session, "playing").await;
    assert_eq!(
        guest
            .delete(&format!("/v1/sessions/{session}"))
            .await
            .status,
        202
    );
    assert_eq!(newer.stop_next(&started).await, EndReason::PlayerEnded);
}

#[tokio::test]
async fn garbage_and_floods_cost_a_node_its_stream_only() {
    let rig = Rig::start().await;
    let mut good = rig.edge(1).await;
    for text in [
        "{".to_owned(),
        r#"{"type":"no-such"}"#.to_owned(),
        r#"{"type":"ack","command":7}"#.to_owned(),
        "x".repeat(CONTROL_MESSAGE_BYTES_MAX + 1),
    ] {
        let mut bad = rig.edge(1).await;
        bad.send_text(&text).await;
        assert!(bad.next_or_closed().await.is_none());
    }
    let guest = rig.guest().await;
    eventually("the bad ones to be gone", || async {
        let nodes = guest.get("/v1/nodes").await.json();
        let online = nodes["nodes"].as_array().unwrap().clone();
        online.iter().filter(|n| n["status"] == "online").count() == 1
    })
    .await;
    playing(&guest, &mut good).await;
}

/// A node may be newer than its broker: kinds of messages wait for a feature, values within one do not.
#[tokio::test]
async fn what_only_a_newer_node_knows_costs_neither_its_stream_nor_its_sessions() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(2).await;
    let guest = rig.guest().await;
    let (session, started) = playing(&guest, &mut edge).await;
    let report = |event: Value| {
        let epoch = started.grant.epoch;
        json!({ "type": "report", "session": session, "epoch": epoch, "event": event }).to_string()
    };
    let progress = json!({ "event": "progress", "progress": { "step": "dreaming" } });
    for newer in [
        report(json!({ "event": "dreamt", "of": 7 })),
        report(progress),
    ] {
        edge.send_text(&newer).await;
    }
    let mut inventory = serde_json::to_value(FromEdge::Inventory(edge.node.inventory())).unwrap();
    inventory["gpu"] = json!("dreams");
    inventory["jobs"] = json!({ "runtimes": ["dreamt", "runc"] });
    edge.send_text(&inventory.to_string()).await;

    // Its reasons stand for what is known of them: that it denies a start, and that a session is over.
    let other = rig.guest().await;
    let denied = id(&other.create("demo").await);
    let refused = edge.expect_start().await;
    assert_eq!(refused.start.session.as_str(), denied);
    let outcome = json!({ "outcome": "denied", "reason": "dreams", "detail": "" });
    let ack = json!({ "type": "ack", "command": refused.command, "outcome": outcome });
    edge.send_text(&ack.to_string()).await;
    reach(&other, &denied, "queued").await;
    let ended = json!({ "event": "ended", "reason": "woke-up", "detail": "it woke up" });
    edge.send_text(&report(ended)).await;
    reach(&guest, &session, "ended").await;
    let shown = guest.get(&format!("/v1/sessions/{session}")).await;
    assert_eq!(shown.at("/state/reason"), "internal");
    assert!(edge.is_open().await);
    let metrics = rig.admin().get("/metrics").await.body;
    let counted = r#"broker_control_unread_total{kind="report"} 2"#;
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn a_session_goes_on_when_its_edge_comes_back_with_it() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let node = edge.node.clone();
    let guest = rig.guest().await;
    let (session, started) = playing(&guest, &mut edge).await;
    drop(edge);
    eventually("the node to be offline", || async {
        guest.get("/v1/nodes").await.at("/nodes/0/status") == "offline"
    })
    .await;
    let now = guest.get(&format!("/v1/sessions/{session}")).await;
    assert_eq!(
        now.at("/state/phase"),
        "ready",
        "a lost stream stops nothing"
    );
    let _edge = rig.attach(&node, vec![started.running(true)]).await;
    reach(&guest, &session, "playing").await;
}

#[tokio::test]
async fn a_session_that_its_edge_no_longer_runs_is_lost() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let node = edge.node.clone();
    let guest = rig.guest().await;
    let (session, _) = playing(&guest, &mut edge).await;
    drop(edge);
    let mut edge = rig.attach(&node, Vec::new()).await;
    reach(&guest, &session, "ended").await;
    let now = guest.get(&format!("/v1/sessions/{session}")).await;
    assert_eq!(now.at("/state/reason"), "node-lost");
    playing(&guest, &mut edge).await;
}

#[tokio::test]
async fn what_nobody_ordered_or_is_over_is_stopped() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let node = edge.node.clone();
    let guest = rig.guest().await;
    let (session, started) = playing(&guest, &mut edge).await;
    guest.delete(&format!("/v1/sessions/{session}")).await;
    edge.stop_next(&started).await;
    reach(&guest, &session, "ended").await;
    drop(edge);

    let mut edge = rig.attach(&node, vec![started.running(false)]).await;
    let (command, reason) = edge.expect_stop(&started.start.session).await;
    assert_eq!(reason, EndReason::PlayerEnded);
    edge.ack(command).await;
    drop(edge);

    let forged = RunningSession {
        session: nearlight_kit::ids::session(),
        grant: "e30.e30.e30".to_owned(),
        attached: false,
        ready: true,
    };
    let unknown = forged.session.clone();
    let mut edge = rig.attach(&node, vec![forged]).await;
    let (command, reason) = edge.expect_stop(&unknown).await;
    assert_eq!(reason, EndReason::Internal);
    edge.ack(command).await;
}

#[tokio::test]
async fn a_nodes_grant_is_no_other_nodes() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let guest = rig.guest().await;
    let (session, started) = playing(&guest, &mut edge).await;
    let thief: Node = rig.node(1);
    let mut other = rig.attach(&thief, vec![started.running(true)]).await;
    other.expect_stop(&started.start.session).await;
    let now = guest.get(&format!("/v1/sessions/{session}")).await;
    assert_eq!(now.at("/node"), edge.node.id.to_string());
    assert_eq!(now.at("/state/phase"), "ready");
}

#[tokio::test]
async fn an_edge_without_a_certificate_of_ours_is_not_heard() {
    let rig = Rig::start().await;
    let foreign = tempfile::tempdir().unwrap();
    let node = Node::new(foreign.path(), 1);
    // It even trusts our CA: the broker has to refuse it.
    std::fs::copy(rig.pki().join("ca.pem"), foreign.path().join("ca.pem")).unwrap();
    let config = nearlight_kit::pki::client_config(foreign.path(), node.id.as_str()).unwrap();
    let tcp = tokio::net::TcpStream::connect(rig.broker.node_listen)
        .await
        .unwrap();
    let name = rustls_pki_types::ServerName::try_from("nearlight-broker").unwrap();
    let tls = tokio_rustls::TlsConnector::from(config)
        .connect(name, tcp)
        .await;
    if let Ok(tls) = tls {
        // With TLS 1.3 the client learns of the refusal on its first read.
        let attached = tokio_tungstenite::client_async("ws://nearlight-broker/", tls).await;
        assert!(attached.is_err());
    }
}

/// What it calls itself goes to terminals and pages.
#[tokio::test]
async fn a_node_whose_name_a_terminal_would_obey_is_refused() {
    let rig = Rig::start().await;
    let names = [
        ("den\u{1b}[2J".to_owned(), "here".to_owned()),
        ("den".to_owned(), "a\nb".to_owned()),
        ("den".to_owned(), "\u{202e}ereh".to_owned()),
        ("n".repeat(65), "here".to_owned()),
    ];
    for (name, region) in names {
        let mut node = rig.node(1);
        (node.name, node.region) = (name, region);
        let mut edge = node
            .dial(&rig.pki(), rig.broker.node_listen, &node.id)
            .await;
        match edge.next().await {
            ToEdge::Refused { detail, .. } => {
                assert!(detail.contains("control characters"), "{detail}");
            }
            other => panic!("{:?} is taken: {other:?}", node.name),
        }
    }
}

/// A node whose disk is full can do nothing, and must not be taken for one that can.
#[tokio::test]
async fn a_node_at_fault_takes_nothing_until_it_is_well() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let well = edge.node.inventory();
    let mut full = well.clone();
    full.fault = "no space left".to_owned();
    edge.send(FromEdge::Inventory(full)).await;
    let admin = rig.admin();
    eventually("the fault to be shown", || async {
        admin.get("/v1/nodes").await.at("/nodes/0/fault") == "no space left"
    })
    .await;
    let guest = rig.guest().await;
    let seen = guest.get("/v1/nodes").await;
    assert_eq!(seen.at("/nodes/0/status"), "draining");
    assert_eq!(seen.at("/nodes/0/fault"), "null", "for operators alone");
    let waits = guest.create("demo").await;
    assert_eq!(waits.at("/state/phase"), "queued", "{waits:?}");
    edge.send(FromEdge::Inventory(well)).await;
    edge.start_next().await;
}

/// A node that lies, or acks nothing, must not fill the ledger: it runs what nobody ordered by the hundred.
#[tokio::test]
async fn a_node_that_makes_sessions_up_fills_its_outbox_and_no_more() {
    let rig = Rig::start().await;
    let node = rig.node(1);
    let made_up = |_| RunningSession {
        session: nearlight_kit::ids::session(),
        grant: "forged".to_owned(),
        attached: false,
        ready: true,
    };
    let all: Vec<RunningSession> = (0..150).map(made_up).collect();
    let mut edge = rig.attach(&node, all.clone()).await;
    // It acks none, shows others, and attaches again with more.
    for _ in 0..CONTROL_OUTBOX_MAX {
        ordered_stop(&mut edge).await;
    }
    let others: Vec<RunningSession> = (0..150).map(made_up).collect();
    edge.send(FromEdge::Running {
        sessions: others.clone(),
    })
    .await;
    let mut edge = rig.attach(&node, others).await;
    let mut first = Vec::new();
    for _ in 0..CONTROL_OUTBOX_MAX {
        first.push(ordered_stop(&mut edge).await);
    }
    let asked = first
        .iter()
        .filter(|(_, session)| all.iter().any(|s| s.session == *session));
    assert_eq!(
        asked.count(),
        CONTROL_OUTBOX_MAX,
        "those of the first time, and nothing else"
    );
    let metrics = rig.admin().get("/metrics").await.body;
    assert!(metrics.contains("broker_outbox_full_total"), "{metrics}");

    // Once it acks, it is asked to show what is left.
    for (command, _) in first {
        edge.ack(command).await;
    }
    while let Some(message) = edge.next_or_closed().await {
        match message {
            ToEdge::GoAway { .. } => break,
            // Sent again after the second list.
            ToEdge::Command { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let rest = all.last().unwrap().clone();
    let mut edge = rig.attach(&node, vec![rest.clone()]).await;
    assert_eq!(ordered_stop(&mut edge).await.1, rest.session);
}

/// The grants of what a node runs may be more than one message.
#[tokio::test]
async fn what_a_node_shows_in_parts_is_one_list() {
    let rig = Rig::start().await;
    let node = rig.node(1);
    let made_up = || RunningSession {
        session: nearlight_kit::ids::session(),
        grant: "forged".to_owned(),
        attached: false,
        ready: true,
    };
    let mut edge = rig.attach(&node, Vec::new()).await;
    let features = edge.welcome.as_ref().map(|welcome| &welcome.features);
    assert!(features.is_some_and(|all| all.iter().any(|f| f == RUNNING_PARTS_FEATURE)));
    let all: Vec<_> = (0..3).map(|_| made_up()).collect();
    for part in &all[..2] {
        let sessions = vec![part.clone()];
        edge.send(FromEdge::RunningPart { sessions }).await;
    }
    let sessions = all[2..].to_vec();
    edge.send(FromEdge::Running { sessions }).await;
    let mut stopped = Vec::new();
    for _ in &all {
        stopped.push(ordered_stop(&mut edge).await.1);
    }
    let mut shown: Vec<_> = all.into_iter().map(|shown| shown.session).collect();
    stopped.sort_unstable();
    shown.sort_unstable();
    assert_eq!(stopped, shown);
}

/// The next message must be an order to stop.
async fn ordered_stop(edge: &mut Edge) -> (U64, SessionId) {
    match edge.next().await {
        ToEdge::Command {
            command,
            order: Order::Stop { session, .. },
        } => (command, session),
        other => panic!("no stop but {other:?}"),
    }
}
