//! What becomes of sessions while the container engine hangs or is gone, and of their ends while their agent is.
#![allow(clippy::unwrap_used, reason = "a test that fails should say where")]

mod support;

use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{AckOutcome, DenyReason};
use nearlight_protocol::id::SessionId;
use std::path::PathBuf;
use support::broker::Attached;
use support::engine::Way;
use support::jobs::{docker, get, ready, served, site, stopped, traces};
use support::node::{Site, app, until};
use support::play::{FOREVER, check_nothing_left, docker_site, playing, stop};

const NOTHING: [String; 0] = [];

/// A way to the engine for the agents of a site.
fn way(site: &mut Site) -> Way {
    let way = Way::open_in(site.dir.path());
    site.engine = Some(way.socket.clone());
    way
}

/// Where it is written down how a session ended.
fn ending(site: &Site, session: &SessionId) -> PathBuf {
    site.data().join(format!("ended/{session}.json"))
}

#[tokio::test]
async fn an_agent_that_cannot_take_its_jobs_over_does_not_start_and_gives_none_up() {
    let Some(mut site) = site().await else { return };
    let way = way(&mut site);
    site.runtime = "auto";
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    let session = ready(&site, &mut edge, 0, 1, served()).await;
    let before = site.containers();
    agent.kill().await;
    drop(edge);

    // The sandbox could be opened; the job is in the engine, which hangs.
    way.hang();
    assert_ne!(site.agent().exited().await, Some(0));
    way.reopen();
    // The engine answers, but its operator takes no jobs any more.
    site.config = "[jobs]\ntake = false\n".to_owned();
    assert_ne!(site.agent().exited().await, Some(0));
    assert_eq!(site.containers(), before);

    site.config.clear();
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    assert!(edge.runs(&session).unwrap().ready);
    assert_eq!(edge.ended, []);
    assert_eq!(site.containers(), before);
    assert!(get(&session, "/env").await.contains("HOME="));
    stopped(&mut edge, &session).await;
    assert_eq!(traces(&site), NOTHING);
}

#[tokio::test]
async fn a_node_whose_engine_hangs_is_heard_and_hears_and_forgets_no_image() {
    let Some(mut site) = docker_site().await else {
        return;
    };
    let way = way(&mut site);
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    // Others make images and remove them meanwhile.
    let has_ours = |edge: &Attached| {
        let images = &edge.inventory.images;
        images.iter().any(|image| image == support::IMAGE)
    };
    assert!(has_ours(&edge), "{:?}", edge.inventory.images);
    way.hang();
    // Whoever looks at images waits for the engine.
    way.unheard(1).await;
    let nobody = stop(&nearlight_kit::ids::session());
    assert_eq!(edge.done(nobody).await, AckOutcome::Done);
    drop(edge);
    let edge = site.broker.attach().await;
    assert!(has_ours(&edge), "{:?}", edge.inventory.images);
}

#[tokio::test]
async fn a_session_whose_app_stays_holds_its_slot_until_it_is_gone() {
    let Some(mut site) = docker_site().await else {
        return;
    };
    let way = way(&mut site);
    let (_agent, mut edge, session) = playing(&site).await;
    way.cut();
    edge.order(stop(&session)).await;
    // It has been asked to end, and more than a few times to go.
    way.unheard(9).await;
    let slot = edge.inventory.slots[0].id.clone();
    let other = nearlight_kit::ids::session();
    let next = site.broker.start(&other, &slot, 2, app(FOREVER));
    match edge.done(next).await {
        // Its engine may be known to be away by now: then that is said first.
        AckOutcome::Denied { reason, .. } => assert!(
            matches!(reason, DenyReason::SlotBusy | DenyReason::NodeFault),
            "{reason:?}"
        ),
        AckOutcome::Done => panic!("two sessions in one slot"),
    }
    assert_eq!(site.containers().len(), 1);
    way.reopen();
    assert_eq!(edge.ended(&session).await.0, EndReason::PlayerEnded);
    assert_eq!(edge.next_ack().await, AckOutcome::Done);
    check_nothing_left(&site).await;
}

#[tokio::test]
async fn an_agent_that_is_killed_while_it_takes_a_session_apart_is_followed_by_one_that_knows_why()
{
    let Some(mut site) = docker_site().await else {
        return;
    };
    let way = way(&mut site);
    let (agent, mut edge, session) = playing(&site).await;
    way.hang();
    edge.order(stop(&session)).await;
    until("it is written down", || ending(&site, &session).exists()).await;
    agent.kill().await;
    drop(edge);
    // As far as the former agent may have come.
    docker(&["rm", "-f", &format!("nearlight-{session}")]).unwrap();
    way.reopen();

    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    assert_eq!(edge.end_of(&session).await, EndReason::PlayerEnded);
    check_nothing_left(&site).await;
}

#[tokio::test]
async fn a_job_that_was_done_is_done_for_the_next_agent_too() {
    let Some(site) = site().await else { return };
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    let done = ready(&site, &mut edge, 0, 1, served()).await;
    let cut_off = ready(&site, &mut edge, 1, 1, served()).await;
    get(&done, "/exit/0").await;
    let record = site.data().join(format!("jobs/{done}.json"));
    until("nothing is left of it", || !record.exists()).await;
    agent.kill().await;
    drop(edge);
    // As if it had been killed between the removal of the other one's container and that of its record.
    let written = std::fs::read_to_string(ending(&site, &done)).unwrap();
    let written = written.replace(done.as_str(), cut_off.as_str());
    std::fs::write(ending(&site, &cut_off), written).unwrap();
    docker(&["rm", "-f", &format!("nearlight-{cut_off}")]).unwrap();

    for _ in 0..2 {
        let agent = site.agent();
        let mut edge = site.broker.attach().await;
        assert_eq!(edge.runs(&done), None);
        for session in [&done, &cut_off] {
            assert_eq!(edge.end_of(session).await, EndReason::JobDone);
        }
        agent.kill().await;
    }
    assert_eq!(traces(&site), NOTHING);
}
