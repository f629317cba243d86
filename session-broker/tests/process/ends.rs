//! Ends by themselves: each with short times, and none at an exact one.

use crate::edge::{Edge, Started};
use crate::http::Client;
use crate::rig::{Rig, eventually, id};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{SessionReport, ToEdge};

async fn ends_as(guest: &Client, session: &str, reason: &str) {
    let path = format!("/v1/sessions/{session}");
    eventually(reason, || async {
        let now = guest.get(&path).await;
        now.at("/state/phase") == "ended" && now.at("/state/reason") == reason
    })
    .await;
}

/// A session of `app` that shows a picture.
async fn ready(guest: &Client, edge: &mut Edge, app: &str) -> (String, Started) {
    let session = id(&guest.create(app).await);
    (session, edge.start_next().await)
}

async fn attach(edge: &mut Edge, started: &Started) {
    let attachment = nearlight_kit::ids::attachment();
    edge.report(started, SessionReport::Attached { attachment })
        .await;
}

#[tokio::test]
async fn a_start_that_never_shows_a_picture_is_stopped() {
    let rig = Rig::start_with(|config| config.sessions.start_s = 1).await;
    let mut edge = rig.edge(1).await;
    let guest = rig.guest().await;
    let session = id(&guest.create("demo").await);
    let started = edge.expect_start().await;
    edge.ack(started.command).await;
    assert_eq!(edge.stop_next(&started).await, EndReason::StartTimeout);
    ends_as(&guest, &session, "start-timeout").await;
}

#[tokio::test]
async fn a_session_to_which_nobody_comes_is_kept_for_its_grace_only() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let guest = rig.guest().await;
    let (session, started) = ready(&guest, &mut edge, "hasty").await;
    assert_eq!(edge.stop_next(&started).await, EndReason::DetachedTimeout);
    ends_as(&guest, &session, "detached-timeout").await;
}

#[tokio::test]
async fn an_idle_player_is_warned_and_then_the_session_ends() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let guest = rig.guest().await;
    let (session, started) = ready(&guest, &mut edge, "hasty").await;
    attach(&mut edge, &started).await;
    let ToEdge::EndingSoon {
        session: of,
        reason,
        ..
    } = edge.next().await
    else {
        panic!("no warning");
    };
    assert_eq!(
        (of.to_string(), reason),
        (session.clone(), EndReason::IdleTimeout)
    );
    assert_eq!(edge.stop_next(&started).await, EndReason::IdleTimeout);
    ends_as(&guest, &session, "idle-timeout").await;
}

#[tokio::test]
async fn the_time_limit_ends_a_session_that_is_played() {
    let rig = Rig::start_with(|config| config.sessions.warn_s = 0).await;
    let mut edge = rig.edge(1).await;
    let guest = rig.guest().await;
    let (session, started) = ready(&guest, &mut edge, "brief").await;
    attach(&mut edge, &started).await;
    loop {
        match edge.next().await {
            ToEdge::EndingSoon { reason, .. } => assert_eq!(reason, EndReason::TimeLimit),
            ToEdge::Command { command, .. } => break edge.ack(command).await,
            other => panic!("{other:?}"),
        }
    }
    ends_as(&guest, &session, "time-limit").await;
}

#[tokio::test]
async fn i4_a_node_that_stays_away_loses_its_session_and_must_stop_it_when_it_is_back() {
    let rig = Rig::start_with(|config| {
        config.sessions.node_grace_s = 1;
        config.sessions.skew_s = 0;
    })
    .await;
    let mut edge = rig.edge(1).await;
    let node = edge.node.clone();
    let guest = rig.guest().await;
    let (session, started) = ready(&guest, &mut edge, "demo").await;
    drop(edge);
    ends_as(&guest, &session, "node-lost").await;
    let usage = rig.ledger.usage(session.parse().unwrap()).await.unwrap();
    assert!(usage[0].ended_ms.is_some(), "nobody pays for a lost node");

    let mut edge = rig.attach(&node, vec![started.running(true)]).await;
    let (command, reason) = edge.expect_stop(&started.start.session).await;
    assert_eq!(reason, EndReason::NodeLost);
    edge.ack(command).await;
    let (_, next) = ready(&guest, &mut edge, "demo").await;
    assert_eq!(next.grant.epoch.0, started.grant.epoch.0 + 1);
}

#[tokio::test]
async fn i4_a_node_that_does_not_stop_a_session_does_not_keep_its_slot() {
    let rig = Rig::start_with(|config| config.sessions.stop_s = 1).await;
    let mut edge = rig.edge(1).await;
    let guest = rig.guest().await;
    let (session, started) = ready(&guest, &mut edge, "demo").await;
    guest.delete(&format!("/v1/sessions/{session}")).await;
    edge.expect_stop(&started.start.session).await;
    ends_as(&guest, &session, "player-ended").await;
    let second = id(&guest.create("demo").await);
    let next = edge.expect_start().await;
    assert_eq!(next.start.session.to_string(), second);
    assert!(
        next.grant.epoch > started.grant.epoch,
        "the edge's journal has the last word"
    );
}
