//! Replicas of a cluster on the real agent: they start together, meet, and nobody else is there.

use super::*;
use nearlight_protocol::control::{FromEdge, Start};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::job::{Cluster, JobSpec, OnFailure};
use nearlight_protocol::work::Replica;
use std::collections::BTreeSet;
use std::net::TcpListener;
use support::broker::Attached;
use support::node::Site;

/// A job of three that meet on the first one's port, and then serve.
fn meeting() -> JobSpec {
    meeting_of(3)
}

fn meeting_of(replicas: u32) -> JobSpec {
    let mut spec = served();
    spec.command = ["meet", "8000"].map(str::to_owned).into();
    spec.cluster = Some(Cluster {
        replicas,
        rendezvous_port: 29_500,
        head_command: Vec::new(),
        on_failure: OnFailure::End,
    });
    spec
}

/// So many sessions, the first of which is the cluster's.
fn sessions<const N: usize>() -> [SessionId; N] {
    std::array::from_fn(|_| nearlight_kit::ids::session())
}

/// Orders one of them; it is acked.
async fn order(site: &Site, edge: &mut Attached, at: (usize, u64), all: &[SessionId], rank: u32) {
    order_again(site, edge, at, (all, 0), rank).await;
}

/// The same, of a later run of the cluster.
async fn order_again(
    site: &Site,
    edge: &mut Attached,
    (slot, epoch): (usize, u64),
    (all, run): (&[SessionId], u32),
    rank: u32,
) {
    let session = &all[rank as usize];
    let of = u32::try_from(all.len()).unwrap();
    let spec = meeting_of(of);
    let mut order = support::jobs::start(
        &site.broker,
        session,
        (edge, slot, epoch),
        spec.of_replica(rank),
    );
    let Order::Start(start) = &mut order else {
        unreachable!()
    };
    start.replica = Some(Replica {
        cluster: all[0].clone(),
        run,
        rank,
        of,
    });
    assert_eq!(edge.done(order).await, AckOutcome::Done);
}

/// Waits until all of these are ready; whatever else is reported of them fails the test.
async fn all_ready(edge: &mut Attached, of: &[&SessionId]) {
    let mut left: BTreeSet<&SessionId> = of.iter().copied().collect();
    while !left.is_empty() {
        if let FromEdge::Report { session, event, .. } = edge.next().await {
            match event {
                SessionReport::Ready => drop(left.remove(&session)),
                SessionReport::Ended { reason, detail } => panic!("{session}: {reason:?} {detail}"),
                _ => {}
            }
        }
    }
}

fn state(session: &SessionId) -> String {
    let format = ["inspect", "-f", "{{.State.Status}}", &container(session)];
    docker(&format).unwrap_or_default()
}

fn mesh_address(cluster: &SessionId, of: &SessionId) -> String {
    let format =
        format!("{{{{(index .NetworkSettings.Networks \"nearlight-{cluster}-0\").IPAddress}}}}");
    docker(&["inspect", "-f", &format, &container(of)]).unwrap()
}

/// Each replica finds the others by name; they reach nobody else, and nobody else reaches them.
async fn who_reaches_whom(all: &[SessionId; 3], third: &str, stranger: &SessionId) {
    let found = get(&all[0], "/resolve/r2").await;
    assert!(found.contains(third), "{found}");
    let greeted = get(&all[0], &format!("/connect/{third}:8001")).await;
    assert_eq!(greeted, "connected hello");
    let host = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = host.local_addr().unwrap().port();
    let (net, last) = third.rsplit_once('.').unwrap();
    let gateway = format!("{net}.{}", last.parse::<u8>().unwrap() - 3);
    let to_host = get(&all[0], &format!("/connect/{gateway}:{port}")).await;
    assert!(to_host.starts_with("failed"), "{to_host}");
    for (rank, replica) in all.iter().enumerate() {
        let address = mesh_address(&all[0], replica);
        let reached = get(stranger, &format!("/connect/{address}:8001")).await;
        assert!(reached.starts_with("failed"), "{rank}: {reached}");
    }
}

#[tokio::test]
async fn three_replicas_on_two_nodes_of_one_engine_start_together_and_meet() {
    let (Some(site), Some(other)) = (site().await, site().await) else {
        return;
    };
    let (_one, _two) = (site.agent(), other.agent());
    let mut edge = site.broker.attach().await;
    let mut far = other.broker.attach().await;
    let engine = |edge: &Attached| edge.inventory.jobs.clone().unwrap().engine;
    assert!(!engine(&edge).is_empty());
    assert_eq!(engine(&edge), engine(&far), "they are one site");

    let all = sessions::<3>();
    order(&site, &mut edge, (0, 1), &all, 0).await;
    order(&site, &mut edge, (1, 1), &all, 1).await;
    until("two are made", || {
        [0, 1].iter().all(|n: &usize| state(&all[*n]) == "created")
    })
    .await;
    order(&other, &mut far, (0, 1), &all, 2).await;
    all_ready(&mut edge, &[&all[0], &all[1]]).await;
    all_ready(&mut far, &[&all[2]]).await;
    // The first is ready once it has met the others; these have heard of each other then.
    assert_eq!(get(&all[0], "/read/tmp/met").await, "12");
    let env = get(&all[0], "/env").await;
    for told in [
        "NNODES=3\n",
        "NODE_RANK=0\n",
        "MASTER_ADDR=r0\n",
        "MASTER_PORT=29500\n",
        "NEARLIGHT_REPLICA=0\n",
    ] {
        assert!(env.contains(told), "{told}: {env}");
    }
    assert_eq!(get(&all[0], "/read/etc/hostname").await.trim(), "r0");
    let third = mesh_address(&all[0], &all[2]);
    until("the third serves", || {
        std::net::TcpStream::connect(format!("{third}:8001")).is_ok()
    })
    .await;
    let stranger = ready(&other, &mut far, 1, 1, served()).await;
    who_reaches_whom(&all, &third, &stranger).await;
    stopped(&mut far, &stranger).await;

    // One that goes takes nothing from the others; the last takes the network away.
    stopped(&mut far, &all[2]).await;
    assert_eq!(get(&all[0], "/read/tmp/met").await, "12");
    stopped(&mut edge, &all[1]).await;
    stopped(&mut edge, &all[0]).await;
    assert_eq!(traces(&site), NOTHING);
    assert_eq!(traces(&other), NOTHING);
}

#[tokio::test]
async fn replicas_outlive_their_agent_and_one_that_is_killed_says_so_alone() {
    let (Some(site), Some(other)) = (site().await, site().await) else {
        return;
    };
    let (agent, _two) = (site.agent(), other.agent());
    let mut edge = site.broker.attach().await;
    let mut far = other.broker.attach().await;
    let all = sessions::<3>();
    order(&other, &mut far, (0, 1), &all, 2).await;
    order(&site, &mut edge, (0, 1), &all, 0).await;
    order(&site, &mut edge, (1, 1), &all, 1).await;
    all_ready(&mut edge, &[&all[0], &all[1]]).await;
    all_ready(&mut far, &[&all[2]]).await;
    agent.kill().await;
    drop(edge);

    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    assert_eq!(edge.ended, []);
    let running: BTreeSet<_> = edge.running.iter().map(|r| &r.session).collect();
    assert_eq!(running, [&all[0], &all[1]].into());
    let third = mesh_address(&all[0], &all[2]);
    assert_eq!(
        get(&all[0], &format!("/connect/{third}:8001")).await,
        "connected hello"
    );
    docker(&["kill", "-s", "KILL", &container(&all[1])]).unwrap();
    let (reason, _) = end_of(&mut edge, &all[1]).await;
    assert_eq!(reason, EndReason::JobFailed);
    assert_eq!(
        get(&all[0], "/read/tmp/met").await,
        "12",
        "what follows is the broker's"
    );
    stopped(&mut edge, &all[0]).await;
    stopped(&mut far, &all[2]).await;
    assert_eq!(traces(&other), NOTHING);
    drop(agent);
}

#[tokio::test]
async fn replicas_that_are_killed_with_their_agent_end_say_so_and_run_again_as_if_nothing_had_been()
{
    let Some(site) = site().await else { return };
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    let all = sessions::<2>();
    for (slot, rank) in [(0, 0), (1, 1)] {
        order(&site, &mut edge, (slot, 1), &all, rank).await;
    }
    all_ready(&mut edge, &[&all[0], &all[1]]).await;
    let pids = all.each_ref().map(|session| {
        let format = ["inspect", "-f", "{{.State.Pid}}", &container(session)];
        docker(&format).unwrap().parse().unwrap()
    });
    agent.signal(Signal::SIGKILL);
    for pid in pids {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    agent.exited().await;
    drop(edge);

    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    for session in &all {
        assert_eq!(edge.end_of(session).await, EndReason::JobFailed);
    }
    until("nothing is left", || traces(&site).is_empty()).await;

    // As its broker does with one that is to be started again.
    for (slot, rank) in [(0, 1), (1, 0)] {
        order_again(&site, &mut edge, (slot, 2), (&all, 1), rank).await;
    }
    all_ready(&mut edge, &[&all[0], &all[1]]).await;
    for session in &all {
        assert_eq!(get(session, "/read/tmp/met").await, "1");
    }
    for session in &all {
        stopped(&mut edge, session).await;
    }
    assert_eq!(traces(&site), NOTHING);
}

#[tokio::test]
async fn a_replica_that_waits_in_vain_says_so_and_one_whose_agent_died_meanwhile_is_gone() {
    let Some(site) = site().await else { return };
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    let all = sessions::<3>();
    order(&site, &mut edge, (0, 1), &all, 1).await;
    until("it is made", || state(&all[1]) == "created").await;
    agent.kill().await;
    drop(edge);
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    assert_eq!(edge.end_of(&all[1]).await, EndReason::Internal);
    assert_eq!(traces(&site), NOTHING);

    // Nobody comes: it ends by itself. And whoever ends it meanwhile does not wait.
    let all = sessions::<3>();
    let mut spec = meeting().of_replica(2);
    spec.time.start_s = 1;
    let mut wanted = support::jobs::start(&site.broker, &all[2], (&edge, 0, 2), spec);
    if let Order::Start(start) = &mut wanted {
        start.replica = Some(Replica {
            cluster: all[0].clone(),
            run: 0,
            rank: 2,
            of: 3,
        });
    }
    assert_eq!(edge.done(wanted).await, AckOutcome::Done);
    let (reason, detail) = end_of(&mut edge, &all[2]).await;
    assert_eq!(reason, EndReason::JobStartTimeout, "{detail}");
    assert!(detail.contains("3 replicas"), "{detail}");
    order(&site, &mut edge, (1, 2), &all, 1).await;
    stopped(&mut edge, &all[1]).await;
    assert_eq!(traces(&site), NOTHING);
}

#[tokio::test]
async fn a_replica_that_is_none_of_its_cluster_is_denied() {
    let Some(site) = site().await else { return };
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    let all = sessions::<2>();
    let replica = |rank, of| Replica {
        cluster: all[0].clone(),
        run: 0,
        rank,
        of,
    };
    for (session, replica) in [
        (&all[0], None),
        (&all[0], Some(replica(1, 3))),
        (&all[1], Some(replica(0, 3))),
        (&all[1], Some(replica(3, 3))),
        (&all[1], Some(replica(1, 2))),
    ] {
        let order = support::jobs::start(&site.broker, session, (&edge, 0, 1), meeting());
        let Order::Start(start) = order else {
            unreachable!()
        };
        let order = Order::Start(Box::new(Start {
            replica: replica.clone(),
            ..*start
        }));
        match edge.done(order).await {
            AckOutcome::Denied { reason, .. } => assert_eq!(reason, DenyReason::GrantInvalid),
            AckOutcome::Done => panic!("{replica:?} was started"),
        }
    }
    assert_eq!(traces(&site), NOTHING);
}
