//! Clusters: placed together, ready together, ended or run again together.

use super::*;
use crate::edge::Started;
use crate::program::Program;
use crate::reclaim;
use crate::rig::admin;
use nearlight_protocol::control::{AckOutcome, DenyReason, FromEdge, RunningSession};
use nearlight_protocol::id::SessionId;
use std::collections::BTreeSet;

pub(super) fn cluster(replicas: u32, more: &Value) -> Value {
    let mut wanted = json!({ "cluster": { "replicas": replicas } });
    for (key, value) in more.as_object().unwrap() {
        match (key.as_str(), value.as_object()) {
            ("cluster", Some(more)) => wanted["cluster"]
                .as_object_mut()
                .unwrap()
                .extend(more.clone()),
            _ => wanted[key] = value.clone(),
        }
    }
    job(&wanted)
}

/// Two nodes of one engine, and what they have together.
async fn site(rig: &Rig, slots: [usize; 2]) -> [Edge; 2] {
    let edge = async |slots| {
        let mut node = job_node(rig, slots);
        node.jobs.as_mut().unwrap().engine = "engine".to_owned();
        Box::pin(edge_of(rig, node)).await
    };
    [edge(slots[0]).await, edge(slots[1]).await]
}

pub(super) async fn placement(client: &Client, session: &str) -> Value {
    client
        .get(&format!("/v1/sessions/{session}/placement"))
        .await
        .json()
}

pub(super) async fn waits(client: &Client, session: &str, best: u32) {
    eventually("why it waits", || async {
        let placement = placement(client, session).await;
        placement["cluster"]["best"] == best && placement["outcome"] == "waits"
    })
    .await;
}

async fn is_in(client: &Client, session: &str, wanted: &str) {
    let path = format!("/v1/sessions/{session}");
    eventually(wanted, || async {
        phase(&client.get(&path).await.json()) == wanted
    })
    .await;
}

/// Takes so many orders to start, by rank.
pub(super) async fn starts(edge: &mut Edge, count: usize) -> Vec<Started> {
    let mut all = Vec::new();
    for _ in 0..count {
        let started = edge.expect_start().await;
        edge.ack(started.command).await;
        all.push(started);
    }
    all.sort_by_key(rank);
    all
}

fn rank(started: &Started) -> u32 {
    started.start.replica.as_ref().expect("a replica").rank
}

/// Carries out so many orders to stop, of whichever of `of`. Their reasons by rank.
async fn stops(edge: &mut Edge, of: &[&Started]) -> Vec<(u32, EndReason)> {
    let mut seen = Vec::new();
    for _ in of {
        let nearlight_protocol::control::ToEdge::Command { command, order } = edge.next().await
        else {
            panic!("no order");
        };
        let nearlight_protocol::control::Order::Stop { session, reason } = order else {
            panic!("no stop but {order:?}");
        };
        let stopped = of.iter().find(|started| started.start.session == session);
        let stopped = stopped.unwrap_or_else(|| panic!("{session} is none of them"));
        edge.ack(command).await;
        let detail = String::new();
        edge.report(stopped, SessionReport::Ended { reason, detail })
            .await;
        seen.push((rank(stopped), reason));
    }
    seen.sort_unstable_by_key(|(rank, _)| *rank);
    seen
}

async fn fails(edge: &mut Edge, started: &Started, reason: EndReason) {
    let detail = "exit status 1".to_owned();
    edge.report(started, SessionReport::Ended { reason, detail })
        .await;
}

/// Each replica is shown, and whoever works in one says which.
async fn shows_its_members(client: &Client, session: &str, all: &[Started]) {
    let shown = client.get(&format!("/v1/sessions/{session}")).await.json();
    let members = shown["members"].as_array().unwrap();
    for (member, started) in members.iter().zip(all) {
        assert_eq!(member["replica"], rank(started));
        assert_eq!(member["session"], started.start.session.as_str());
        assert_eq!(member["node"], started.grant.node.as_str());
        assert_eq!(member["state"]["phase"], "ready");
    }
    assert_eq!(members.len(), 3);
    let exec = async |replica: &str| {
        let path = format!("/v1/sessions/{session}/exec{replica}");
        let order = json!({ "command": ["true"] });
        client.post_json(&path, &order).await
    };
    for replica in ["", "?replica=0", "?replica=2"] {
        assert_eq!(exec(replica).await.status, 201, "{replica}");
    }
    exec("?replica=3").await.refused(404, "not-found");
    exec("?replica=x").await.refused(400, "bad-request");
}

#[tokio::test]
async fn a_cluster_of_three_starts_on_one_site_is_ready_together_and_is_one_session() {
    let rig = Rig::start().await;
    let [mut one, mut two] = site(&rig, [2, 1]).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let wanted = cluster(
        3,
        &json!({
            "cluster": { "head_command": ["head"] },
            "command": ["worker"],
            "ports": [{ "name": "http", "port": 8000 }],
        }),
    );
    let session = id(&ask(&client, &wanted).await);
    let mut all = starts(&mut one, 2).await;
    all.extend(starts(&mut two, 1).await);
    all.sort_by_key(rank);
    let sessions: BTreeSet<_> = all.iter().map(|s| s.start.session.to_string()).collect();
    assert_eq!(
        (sessions.len(), all[0].start.session.to_string()),
        (3, session.clone())
    );
    for (started, n) in all.iter().zip(0..) {
        let replica = started.start.replica.as_ref().unwrap();
        assert_eq!((replica.rank, replica.of, replica.run), (n, 3, 0));
        assert_eq!(replica.cluster.to_string(), session);
        let spec = started.start.work.job().unwrap();
        assert_eq!(
            spec.ports.len(),
            usize::from(n == 0),
            "its endpoint is the first's"
        );
        assert!(started.grant.row.is_none(), "none comes back alone");
    }
    // The first is ready, and shown so once all are.
    let is_on_one = |started: &Started| started.grant.node == one.node.id;
    let (of_one, of_two): (Vec<_>, Vec<_>) = all.iter().partition(|s| is_on_one(s));
    let head = &all[0];
    for started in &of_one {
        one.report(started, SessionReport::Ready).await;
    }
    for started in of_two.iter().filter(|s| rank(s) == 0) {
        two.report(started, SessionReport::Ready).await;
    }
    if rank(of_two[0]) > 0 {
        is_in(&client, &session, "starting").await;
        two.report(of_two[0], SessionReport::Ready).await;
    }
    is_in(&client, &session, "ready").await;
    let list = client.get("/v1/sessions").await.json();
    assert_eq!(list["sessions"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(head.start.session.to_string(), session);
    shows_its_members(&client, &session, &all).await;

    // Whoever ends one of them ends all, and each is billed.
    let member = format!("/v1/sessions/{}", all[2].start.session);
    assert_eq!(client.delete(&member).await.status, 202);
    let mut reasons = stops(&mut one, &of_one).await;
    reasons.extend(stops(&mut two, &of_two).await);
    reasons.sort_unstable_by_key(|(rank, _)| *rank);
    let over = EndReason::ClusterEnded;
    assert_eq!(reasons, [(0, EndReason::PlayerEnded), (1, over), (2, over)]);
    assert_eq!(ended(&client, &session).await["reason"], "player-ended");
    for started in &all {
        let usage = rig
            .ledger
            .usage(started.start.session.clone())
            .await
            .unwrap();
        assert_eq!(usage.len(), 1);
    }
}

#[tokio::test]
async fn with_one_slot_too_few_nothing_starts_and_the_reason_says_so() {
    let rig = Rig::start().await;
    let [mut one, mut two] = site(&rig, [1, 1]).await;
    let mut apart = edge(&rig, 2).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let session = id(&ask(&client, &cluster(3, &json!({}))).await);
    waits(&client, &session, 2).await;
    let shown = client.get(&format!("/v1/sessions/{session}")).await;
    assert_eq!(
        (shown.at("/state/phase"), shown.at("/state/waits_for")),
        ("queued".into(), "node".into()),
        "whatever ends, no site has three"
    );
    // Nothing is held meanwhile: others take what there is.
    let alone = id(&ask(&client, &job(&json!({ "place": { "trust": "any" } }))).await);
    let mut started = None;
    for edge in [&mut one, &mut two, &mut apart] {
        let next = tokio::time::timeout(std::time::Duration::from_millis(300), edge.expect_start());
        if let Ok(order) = next.await {
            assert_eq!(order.start.session.to_string(), alone);
            started = Some(order);
        }
    }
    assert!(started.is_some(), "somebody runs it");
    assert_eq!(
        client
            .delete(&format!("/v1/sessions/{session}"))
            .await
            .status,
        202
    );
    assert_eq!(ended(&client, &session).await["reason"], "player-ended");
}

#[tokio::test]
async fn of_two_clusters_of_three_on_four_slots_one_runs_and_the_other_waits_for_its_end() {
    let rig = Rig::start().await;
    let mut edge = edge(&rig, 4).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let first = id(&ask(&client, &cluster(3, &json!({}))).await);
    let second = id(&ask(&client, &cluster(3, &json!({}))).await);
    let all = starts(&mut edge, 3).await;
    assert_eq!(all[0].start.session.to_string(), first);
    waits(&client, &second, 1).await;
    client.delete(&format!("/v1/sessions/{first}")).await;
    stops(&mut edge, &all.iter().collect::<Vec<_>>()).await;
    let next = starts(&mut edge, 3).await;
    assert_eq!(next[0].start.session.to_string(), second);
}

#[tokio::test]
async fn a_replica_that_fails_ends_all_or_has_all_run_again_as_often_as_asked() {
    let rig = Rig::start().await;
    let mut edge = edge(&rig, 3).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let once = id(&ask(&client, &cluster(3, &json!({}))).await);
    let all = starts(&mut edge, 3).await;
    for started in &all {
        edge.report(started, SessionReport::Ready).await;
    }
    is_in(&client, &once, "ready").await;
    // One that has done its part harms nobody.
    fails(&mut edge, &all[1], EndReason::JobDone).await;
    fails(&mut edge, &all[2], EndReason::JobOutOfMemory).await;
    let reason = EndReason::JobOutOfMemory;
    assert_eq!(stops(&mut edge, &[&all[0]]).await, [(0, reason)]);
    assert_eq!(ended(&client, &once).await["reason"], "job-out-of-memory");

    let again = json!({ "cluster": { "on_failure": "restart" }, "restart": { "max": 2 } });
    let session = id(&ask(&client, &cluster(3, &again)).await);
    let over = EndReason::ClusterEnded;
    let mut former: BTreeSet<SessionId> = BTreeSet::new();
    for run in 0..3_u32 {
        let all = starts(&mut edge, 3).await;
        assert_eq!(
            all[0].start.session.to_string(),
            session,
            "the tenant's stays"
        );
        assert!(
            all.iter()
                .all(|s| s.start.replica.as_ref().unwrap().run == run)
        );
        assert!(
            all[1..]
                .iter()
                .all(|s| former.insert(s.start.session.clone()))
        );
        for started in &all {
            edge.report(started, SessionReport::Ready).await;
        }
        is_in(&client, &session, "ready").await;
        let reason = EndReason::JobFailed;
        match run {
            // Another one fails, then the first.
            0 => {
                fails(&mut edge, &all[2], reason).await;
                let stopped = stops(&mut edge, &[&all[0], &all[1]]).await;
                assert_eq!(stopped, [(0, over), (1, over)]);
            }
            _ => {
                fails(&mut edge, &all[0], reason).await;
                let stopped = stops(&mut edge, &[&all[1], &all[2]]).await;
                assert_eq!(stopped, [(1, over), (2, over)]);
            }
        }
    }
    assert_eq!(ended(&client, &session).await["reason"], "job-failed");
    let usage = rig.ledger.usage(session.parse().unwrap()).await.unwrap();
    assert_eq!(usage.len(), 3, "an interval a run");
}

#[tokio::test]
async fn a_node_has_no_cluster_run_again_by_its_word() {
    let rig = Rig::start().await;
    let mut edge = edge(&rig, 3).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let session = id(&ask(&client, &cluster(3, &json!({}))).await);
    let all = starts(&mut edge, 3).await;
    for started in &all {
        edge.report(started, SessionReport::Ready).await;
    }
    is_in(&client, &session, "ready").await;
    fails(&mut edge, &all[0], EndReason::ClusterEnded).await;
    let over = EndReason::ClusterEnded;
    let stopped = stops(&mut edge, &[&all[1], &all[2]]).await;
    assert_eq!(stopped, [(1, over), (2, over)]);
    assert_eq!(ended(&client, &session).await["reason"], "internal");
}

#[tokio::test]
async fn a_start_that_is_refused_has_all_tried_again() {
    let rig = Rig::start().await;
    // It could run one of them, and is no reason to wait for it.
    let _small = edge(&rig, 1).await;
    let mut edge = edge(&rig, 4).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let session = id(&ask(&client, &cluster(2, &json!({}))).await);
    let mut orders = [edge.expect_start().await, edge.expect_start().await];
    orders.sort_by_key(rank);
    let [head, member] = orders;
    edge.ack(head.command).await;
    edge.report(&head, SessionReport::Ready).await;
    let outcome = AckOutcome::Denied {
        reason: DenyReason::SlotBusy,
        detail: "taken".to_owned(),
    };
    edge.send(FromEdge::Ack {
        command: member.command,
        outcome,
    })
    .await;
    assert_eq!(
        stops(&mut edge, &[&head]).await,
        [(0, EndReason::ClusterEnded)]
    );
    let next = starts(&mut edge, 2).await;
    assert_eq!(next[0].start.session.to_string(), session);
    assert_eq!(next[1].start.replica.as_ref().unwrap().run, 1);
}

#[tokio::test]
async fn a_cluster_whose_node_is_lost_ends_and_with_secrets_each_replica_has_them() {
    let rig = Rig::start_with(|parsed| {
        parsed.sessions.node_grace_s = 1;
        parsed.sessions.skew_s = 0;
    })
    .await;
    let [mut one, mut two] = site(&rig, [1, 1]).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let mut wanted = cluster(
        2,
        &json!({
            "secrets": ["TOKEN"], "cluster": { "on_failure": "restart" }, "restart": { "max": 1 },
        }),
    );
    wanted["secrets"] = json!({ "TOKEN": "hunter2" });
    let session = id(&ask(&client, &wanted).await);
    let (a, b) = (starts(&mut one, 1).await, starts(&mut two, 1).await);
    for started in a.iter().chain(&b) {
        assert_eq!(started.start.secrets.0["TOKEN"], "hunter2");
    }
    one.report(&a[0], SessionReport::Ready).await;
    two.report(&b[0], SessionReport::Ready).await;
    is_in(&client, &session, "ready").await;
    let node = two.node.clone();
    drop(two);
    // The other one's end is asked for, and all wait for the node that went.
    stops(&mut one, &[&a[0]]).await;
    is_in(&client, &session, "queued").await;
    let mut two = rig.attach(&node, Vec::new()).await;
    let first = starts(&mut one, 1).await;
    let mut second = two.expect_start_or_stop().await;
    while second.is_none() {
        second = two.expect_start_or_stop().await;
    }
    assert_eq!(
        first[0].start.secrets.0["TOKEN"], "hunter2",
        "kept for its next run"
    );
    assert_eq!(first[0].start.replica.as_ref().unwrap().run, 1);
}

#[tokio::test]
async fn a_cluster_of_which_one_node_is_taken_back_ends_as_one_or_runs_again_elsewhere() {
    let rig = Rig::start().await;
    let [mut one, mut two] = site(&rig, [2, 1]).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let again = json!({ "cluster": { "on_failure": "restart" }, "restart": { "max": 1 } });
    let session = id(&ask(&client, &cluster(3, &again)).await);
    for (run, over) in [(0, EndReason::ClusterEnded), (1, EndReason::Preempted)] {
        let of_one = starts(&mut one, 2).await;
        let of_two = starts(&mut two, 1).await;
        let mut all: Vec<_> = of_one.iter().chain(&of_two).collect();
        all.sort_by_key(|started| rank(started));
        assert_eq!(all[0].start.replica.as_ref().unwrap().run, run);
        for started in &of_one {
            one.report(started, SessionReport::Ready).await;
        }
        two.report(&of_two[0], SessionReport::Ready).await;
        is_in(&client, &session, "ready").await;
        let now = json!({ "reclaim_s": 1 });
        assert_eq!(
            reclaim::drain(&rig.admin(), &two.node, &now).await.status,
            204
        );
        // All are told, for all end with it.
        let ids = |of: &[Started]| of.iter().map(|s| s.start.session.to_string()).collect();
        reclaim::told(&mut one, ids(&of_one)).await;
        reclaim::told(&mut two, ids(&of_two)).await;
        let mut reasons = stops(&mut one, &of_one.iter().collect::<Vec<_>>()).await;
        reasons.extend(stops(&mut two, &[&of_two[0]]).await);
        reasons.sort_unstable_by_key(|(rank, _)| *rank);
        assert_eq!(reasons[0], (0, over));
        if run == 0 {
            waits(&client, &session, 2).await;
            let shown = client.get(&format!("/v1/sessions/{session}")).await.json();
            assert_eq!(shown.get("members"), None, "{shown}");
            let path = format!("/v1/nodes/{}/drain", two.node.id);
            assert_eq!(rig.admin().delete(&path).await.status, 204);
        }
    }
    assert_eq!(ended(&client, &session).await["reason"], "preempted");
}

/// Killed with the claims made, and again with the end of one replica unheard.
#[tokio::test]
async fn i7_a_killed_broker_leaves_no_half_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Program::start(dir.path()).await;
    let pki = dir.path().join("pki");
    let mut node = Node::new(&pki, 3);
    node.jobs = Some(host());
    let mut edge = node.attach(&pki, broker.node_listen, Vec::new()).await;
    let client = admin(dir.path(), broker.listen);
    eventually("the node", || async {
        client.get("/v1/nodes").await.at("/nodes/0/slots_free") == "3"
    })
    .await;
    vet(&client, &node).await;
    let session = id(&ask(&client, &cluster(3, &json!({}))).await);
    let unacked = [
        edge.expect_start().await,
        edge.expect_start().await,
        edge.expect_start().await,
    ];
    broker.kill().await;

    let broker = Program::start(dir.path()).await;
    let client = admin(dir.path(), broker.listen);
    let mut edge = node.attach(&pki, broker.node_listen, Vec::new()).await;
    let again = starts(&mut edge, 3).await;
    let same = |started: &Started| {
        let of = unacked
            .iter()
            .find(|u| u.start.session == started.start.session);
        of.is_some_and(|of| of.start.replica == started.start.replica)
    };
    assert!(again.iter().all(same), "the very same orders");
    for started in &again {
        edge.report(started, SessionReport::Ready).await;
    }
    is_in(&client, &session, "ready").await;
    broker.kill().await;

    // One of them is gone when the next broker looks.
    let broker = Program::start(dir.path()).await;
    let client = admin(dir.path(), broker.listen);
    let running: Vec<RunningSession> = again[..2].iter().map(|s| s.running(false)).collect();
    let mut edge = node.attach(&pki, broker.node_listen, running).await;
    let reasons = stops(&mut edge, &[&again[0], &again[1]]).await;
    assert_eq!(
        reasons,
        [(0, EndReason::NodeLost), (1, EndReason::ClusterEnded)]
    );
    assert_eq!(ended(&client, &session).await["reason"], "node-lost");
}
