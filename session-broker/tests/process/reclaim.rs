//! A node's capacity that is taken back: with notice, undone, through a killed broker, and to the end.

use crate::edge::{Edge, Node, Started};
use crate::http::{Answer, Client};
use crate::jobs::{ask, host, job};
use crate::program::Program;
use crate::rig::{Rig, admin, eventually, id};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{Order, SessionReport, ToEdge};
use serde_json::{Value, json};
use std::path::Path;

pub(crate) async fn drain(client: &Client, node: &Node, how: &Value) -> Answer {
    client
        .post_json(&format!("/v1/nodes/{}/drain", node.id), how)
        .await
}

/// What the node is told next is that these end soon.
pub(crate) async fn told(edge: &mut Edge, mut these: Vec<String>) {
    while !these.is_empty() {
        let (session, reason) = match edge.next().await {
            ToEdge::EndingSoon {
                session, reason, ..
            } => (session, reason),
            // Its broker was killed before it had noted the ack.
            ToEdge::Command {
                command,
                order: Order::Start(_),
            } => {
                edge.ack(command).await;
                continue;
            }
            other => panic!("{these:?} are not told, but {other:?} is"),
        };
        assert_eq!(reason, EndReason::Preempted);
        let told = these.iter().position(|of| *of == session.to_string());
        these
            .remove(told.unwrap_or_else(|| panic!("{session} is told, and not once of {these:?}")));
    }
}

async fn preempted_at(client: &Client, session: &str) -> Value {
    let shown = client.get(&format!("/v1/sessions/{session}")).await.json();
    shown["preempted_at"].clone()
}

/// Takes so many orders to stop, all for that reason.
async fn stopped(edge: &mut Edge, of: &[&Started]) {
    for _ in of {
        let ToEdge::Command { command, order } = edge.next().await else {
            panic!("no order");
        };
        let Order::Stop { session, reason } = order else {
            panic!("no stop but {order:?}");
        };
        assert_eq!(reason, EndReason::Preempted);
        edge.ack(command).await;
        let started = of.iter().find(|started| started.start.session == session);
        let detail = String::new();
        edge.report(started.unwrap(), SessionReport::Ended { reason, detail })
            .await;
    }
}

/// A job that is ready, a game, and a job that starts, on one node.
struct Three {
    node: Node,
    edge: Edge,
    runs: [Started; 3],
}

impl Three {
    async fn on(dir: &Path, broker: &Program, client: &Client) -> Self {
        let pki = dir.join("pki");
        let mut node = Node::new(&pki, 3);
        node.jobs = Some(host());
        let mut edge = node.attach(&pki, broker.node_listen, Vec::new()).await;
        eventually("the node", || async {
            client.get("/v1/nodes").await.at("/nodes/0/slots_free") == "3"
        })
        .await;
        let any = job(&json!({ "place": { "trust": "any" } }));
        assert_eq!(ask(client, &any).await.status, 201);
        let server = edge.start_next().await;
        assert_eq!(client.create("demo").await.status, 201);
        let game = edge.start_next().await;
        assert_eq!(ask(client, &any).await.status, 201);
        let starts = edge.expect_start().await;
        edge.ack(starts.command).await;
        let runs = [server, game, starts];
        Self { node, edge, runs }
    }

    fn ids(&self) -> Vec<String> {
        let ids = self.runs.iter().map(|of| of.start.session.to_string());
        ids.collect()
    }

    /// The node is back with all of them.
    async fn attach(&mut self, dir: &Path, broker: &Program) {
        let running = self.runs.each_ref().map(|of| of.running(false));
        let pki = dir.join("pki");
        let attached = self.node.attach(&pki, broker.node_listen, running.to_vec());
        self.edge = attached.await;
    }
}

#[tokio::test]
async fn what_a_node_runs_is_told_of_its_end_and_that_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Program::start(dir.path()).await;
    let client = admin(dir.path(), broker.listen);
    let mut three = Box::pin(Three::on(dir.path(), &broker, &client)).await;
    let all = three.ids();

    // A slip of the pen takes nothing back.
    for how in [
        json!({ "reclaim_s": 0 }),
        json!({ "reclaim_s": 604_801 }),
        json!({ "reason": "why" }),
        json!({ "reclaim_s": 60, "reason": "a\nb" }),
        json!({ "reclaim": 60 }),
        json!([60]),
    ] {
        drain(&client, &three.node, &how)
            .await
            .refused(400, "bad-request");
    }
    assert_eq!(preempted_at(&client, &all[0]).await, Value::Null);

    let hour = json!({ "reclaim_s": 3600, "reason": "sold to somebody else" });
    assert_eq!(drain(&client, &three.node, &hour).await.status, 204);
    told(&mut three.edge, all.clone()).await;
    let at = preempted_at(&client, &all[1]).await;
    assert!(at.as_u64().is_some(), "{at}");
    for session in &all {
        assert_eq!(preempted_at(&client, session).await, at);
    }
    let nodes = client.get("/v1/nodes").await.json();
    assert_eq!(nodes["nodes"][0]["reclaim_at"], at);
    assert_eq!(nodes["nodes"][0]["status"], "draining");

    // Undone, all go on; and so they are told.
    let path = format!("/v1/nodes/{}/drain", three.node.id);
    assert_eq!(client.delete(&path).await.status, 204);
    let mut these = all.clone();
    while !these.is_empty() {
        let ToEdge::GoesOn { session } = three.edge.next().await else {
            panic!("{these:?} are not told that they go on");
        };
        these.retain(|of| *of != session.to_string());
    }
    assert_eq!(preempted_at(&client, &all[1]).await, Value::Null);
    let audit = client.get("/v1/audit").await;
    let detail = "ends in 3600 s. sold to somebody else";
    assert!(audit.body.contains(detail), "{audit:?}");
}

/// Killed with the moment to come, and again while it passes.
#[tokio::test]
async fn a_moment_outlives_the_broker_that_was_told_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Program::start(dir.path()).await;
    let client = admin(dir.path(), broker.listen);
    let mut three = Box::pin(Three::on(dir.path(), &broker, &client)).await;
    let all = three.ids();
    let hour = json!({ "reclaim_s": 3600 });
    assert_eq!(drain(&client, &three.node, &hour).await.status, 204);
    told(&mut three.edge, all.clone()).await;
    let at = preempted_at(&client, &all[0]).await;
    broker.kill().await;
    let broker = Program::start(dir.path()).await;
    let client = admin(dir.path(), broker.listen);
    three.attach(dir.path(), &broker).await;
    told(&mut three.edge, all.clone()).await;
    assert_eq!(preempted_at(&client, &all[0]).await, at);

    // One that passes while no broker is there counts once one is.
    let now = json!({ "reclaim_s": 1 });
    assert_eq!(drain(&client, &three.node, &now).await.status, 204);
    told(&mut three.edge, all.clone()).await;
    broker.kill().await;
    let broker = Program::start(dir.path()).await;
    let client = admin(dir.path(), broker.listen);
    three.attach(dir.path(), &broker).await;
    let mut left = all.clone();
    while !left.is_empty() {
        // Whether they are told again depends on how long the start took.
        let (command, order) = match three.edge.next().await {
            ToEdge::Command { command, order } => (command, order),
            ToEdge::EndingSoon { .. } => continue,
            other => panic!("no order but {other:?}"),
        };
        three.edge.ack(command).await;
        let Order::Stop { session, reason } = order else {
            continue;
        };
        assert_eq!(reason, EndReason::Preempted);
        left.retain(|of| *of != session.to_string());
    }
    for session in all {
        let path = format!("/v1/sessions/{session}");
        eventually("its end", || async {
            let shown = client.get(&path).await;
            shown.at("/state/phase") == "ended" && shown.at("/state/reason") == "preempted"
        })
        .await;
    }
}

#[tokio::test]
async fn a_node_that_is_taken_back_gets_nothing_new_until_it_is_undone() {
    let rig = Rig::start().await;
    let node = Node {
        jobs: Some(host()),
        ..rig.node(2)
    };
    let mut edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
    let guest = rig.guest().await;
    let first = id(&guest.create("demo").await);
    let started = edge.start_next().await;
    drain(&guest, &node, &json!({ "reclaim_s": 1 }))
        .await
        .refused(403, "forbidden");
    let client = rig.admin();
    assert_eq!(
        drain(&client, &node, &json!({ "reclaim_s": 1 }))
            .await
            .status,
        204
    );
    let second = id(&guest.create("demo").await);
    told(&mut edge, vec![first.clone()]).await;
    stopped(&mut edge, &[&started]).await;
    eventually("the first to end", || async {
        let shown = guest.get(&format!("/v1/sessions/{first}")).await;
        shown.at("/state/phase") == "ended" && shown.at("/state/reason") == "preempted"
    })
    .await;
    let usage = rig.ledger.usage(first.parse().unwrap()).await.unwrap();
    assert!(usage[0].ended_ms.is_some(), "billed to the stop: {usage:?}");
    let shown = guest.get(&format!("/v1/sessions/{second}")).await;
    assert_eq!(shown.at("/state/phase"), "queued");
    // A moment that has passed ends nothing that comes later.
    let path = format!("/v1/nodes/{}/drain", node.id);
    assert_eq!(client.delete(&path).await.status, 204);
    let started = edge.start_next().await;
    assert_eq!(started.start.session.to_string(), second);
    assert_eq!(preempted_at(&guest, &second).await, Value::Null);
}
