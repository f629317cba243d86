//! What becomes of sessions while their agent or their broker is gone.
#![allow(clippy::unwrap_used, reason = "a test that fails should say where")]

mod support;

use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::ToEdge;
use nix::sys::signal::Signal;
use support::node::{Site, until};
use support::play::{
    FOREVER, check_nothing_left, docker_site, play, playing, record_of, stop, worker_of,
};

#[tokio::test]
async fn an_agent_that_is_killed_is_followed_by_one_that_adopts() {
    let Some(site) = docker_site().await else {
        return;
    };
    let (agent, edge, session) = playing(&site).await;
    let before = site.containers();
    agent.kill().await;
    drop(edge);
    assert_eq!(site.containers(), before);

    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    assert_eq!(site.containers(), before);
    let shown: Vec<_> = edge.running.iter().map(|r| (&r.session, r.ready)).collect();
    assert_eq!(shown, [(&session, true)]);
    let grant = &edge.running[0].grant;
    assert_eq!(
        *grant,
        site.broker.grant(&session, &edge.inventory.slots[0].id, 1)
    );
    assert_eq!(edge.inventory.slots[0].epoch.0, 1);

    edge.order(stop(&session)).await;
    assert_eq!(edge.ended(&session).await.0, EndReason::PlayerEnded);
    check_nothing_left(&site).await;
    drop(agent);
}

#[tokio::test]
async fn what_lost_its_counterpart_while_the_agent_was_gone_is_cleared_away() {
    let Some(site) = docker_site().await else {
        return;
    };
    let (agent, mut edge, without_worker) = playing(&site).await;
    let without_app = play(&site, &mut edge, 1, 1, FOREVER).await;
    agent.kill().await;
    drop(edge);

    let worker = worker_of(&site, &without_worker);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    let name = format!("nearlight-{without_app}");
    let removed = std::process::Command::new("docker")
        .args(["rm", "-f", &name])
        .output()
        .unwrap();
    assert!(removed.status.success());
    // A directory that nobody has a record of.
    let orphan = site.run().join(nearlight_kit::ids::session().as_str());
    std::fs::create_dir(orphan).unwrap();

    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    for (session, reason) in [
        (without_worker, EndReason::WorkerCrashed),
        (without_app, EndReason::AppCrashed),
    ] {
        assert_eq!(edge.end_of(&session).await, reason);
    }
    check_nothing_left(&site).await;
    drop(agent);
}

#[tokio::test]
async fn an_app_that_ended_while_the_agent_was_gone_is_reported_with_its_own_reason() {
    let Some(site) = docker_site().await else {
        return;
    };
    let (agent, edge, session) = playing(&site).await;
    agent.kill().await;
    drop(edge);
    let name = format!("nearlight-{session}");
    let stopped = std::process::Command::new("docker")
        .args(["kill", "-s", "KILL", &name])
        .output()
        .unwrap();
    assert!(stopped.status.success());

    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    assert_eq!(edge.end_of(&session).await, EndReason::AppCrashed);
    check_nothing_left(&site).await;
    drop(agent);
}

#[tokio::test]
async fn the_sandbox_is_adopted_and_drained_like_a_container() {
    let site = Site::new("sandbox").await;
    support::node::give_rootfs(&site.data());
    let (agent, edge, session) = playing(&site).await;
    assert_eq!(edge.inventory.runtime, "sandbox");
    let app = |site: &Site| {
        let record = record_of(site, &session);
        i32::try_from(record["running"]["init"]["pid"].as_i64().unwrap()).unwrap()
    };
    let before = app(&site);
    agent.kill().await;
    drop(edge);

    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    assert_eq!(edge.running.len(), 1);
    assert!(edge.running[0].ready);
    assert_eq!(app(&site), before);
    let alive = || std::path::Path::new(&format!("/proc/{before}/status")).exists();
    assert!(alive());
    agent.signal(Signal::SIGTERM);
    assert_eq!(edge.ended(&session).await.0, EndReason::NodeDrained);
    assert_eq!(agent.exited().await, Some(0));
    until("the app is gone", || !alive()).await;
    check_nothing_left(&site).await;
}

#[tokio::test]
async fn sessions_outlive_the_broker_for_the_grace_time_alone() {
    let Some(site) = docker_site().await else {
        return;
    };
    let (agent, mut edge, session) = playing(&site).await;
    // The broker comes back within the grace time: the session goes on.
    edge.say(&ToEdge::GoAway { retry_after_s: 0 }).await;
    drop(edge);
    let edge = site.broker.attach_with_grace(1).await;
    assert_eq!(edge.running.len(), 1);
    assert!(edge.running[0].ready);
    let containers = site.containers();
    assert_eq!(containers.len(), 1);

    // Then it stays away: nobody accepts.
    drop(edge);
    until("the session is cleared away", || {
        site.containers().is_empty()
    })
    .await;
    let edge = loop {
        let edge = site.broker.attach().await;
        if edge.running.is_empty() {
            break edge;
        }
    };
    assert_eq!(edge.ended, [(session, EndReason::NodeLost)]);
    check_nothing_left(&site).await;
    drop(agent);
}
