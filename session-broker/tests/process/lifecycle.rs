//! One session from its creation to its end, and its ends by itself.

use crate::rig::{Rig, id, phase};
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::api::{EndReason, StartProgress};
use nearlight_protocol::control::{AckOutcome, DenyReason, FromEdge, SessionReport, WhepResult};
use serde_json::json;

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "one life, told in order")]
async fn a_session_is_placed_started_played_left_and_ended() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let guest = rig.guest().await;

    let created = guest.create("demo").await;
    let session = id(&created);
    assert_eq!(created.at("/state/phase"), "placing");
    assert_eq!(created.at("/node"), edge.node.id.to_string());
    assert_eq!(
        created.header("location"),
        Some(&*format!("/v1/sessions/{session}"))
    );
    let mut events = guest.events(&session).await;

    let started = edge.expect_start().await;
    assert_eq!(started.app().app.launch.image, "demo:1");
    assert_eq!(started.app().keyboard_layout, "us");
    edge.ack(started.command).await;
    events.until("starting").await;
    let progress = StartProgress::WaitingForPicture;
    edge.report(&started, SessionReport::Progress { progress })
        .await;
    while events.next().await["state"]["progress"]["step"] != "waiting-for-picture" {}
    let early = guest
        .post_json(&format!("/v1/sessions/{session}/tickets"), &json!({}))
        .await;
    early.refused(409, "session-not-ready");
    edge.report(&started, SessionReport::Ready).await;
    assert!(events.until("ready").await["ends_at"].is_number());

    let tickets = format!("/v1/sessions/{session}/tickets");
    let ticket = guest.post_json(&tickets, &json!({})).await;
    assert_eq!(ticket.status, 201, "{ticket:?}");
    let bearer = rig
        .nobody()
        .with("authorization", &format!("Bearer {}", ticket.at("/ticket")));
    let sdp = [("content-type", "application/sdp")];
    let whep = ticket.at("/whep_path");
    let viewer = bearer.clone();
    let path = whep.clone();
    let posting = async move { viewer.request("POST", &path, &sdp, "v=0\r\n").await };
    let posted = Shutdown::new().spawn(posting);
    let (request, attachment, take_over) = edge.expect_offer().await;
    assert!(!take_over);
    let answer = WhepResult::Answer {
        sdp: "v=0\r\nanswer".to_owned(),
    };
    edge.answer(request, answer).await;
    let answer = posted.await.unwrap();
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (201, "v=0\r\nanswer")
    );
    assert_eq!(
        answer.header("location"),
        Some(&*format!("{whep}/{attachment}"))
    );
    assert_eq!(answer.header("content-type"), Some("application/sdp"));
    assert_eq!(
        answer.header("accept-patch"),
        Some("application/trickle-ice-sdpfrag")
    );
    assert!(answer.header("etag").is_some());

    let gone = attachment.clone();
    edge.report(&started, SessionReport::Attached { attachment })
        .await;
    events.until("playing").await;
    let again = bearer.request("POST", &whep, &sdp, "v=0\r\n").await;
    again.refused(409, "attached-elsewhere");

    edge.report(&started, SessionReport::Detached { attachment: gone })
        .await;
    events.until("detached").await;
    let spent = bearer.request("POST", &whep, &sdp, "v=0\r\n").await;
    spent.refused(401, "ticket-invalid");

    let path = format!("/v1/sessions/{session}");
    assert_eq!(guest.delete(&path).await.status, 202);
    assert_eq!(edge.stop_next(&started).await, EndReason::PlayerEnded);
    let ended = loop {
        let session = events.next().await;
        if phase(&session) == "ended" {
            break session;
        }
    };
    assert_eq!(ended["state"]["reason"], "player-ended");
    assert_eq!(
        ended["node"],
        edge.node.id.to_string(),
        "where it ran stays known"
    );
    assert_eq!(
        guest.delete(&path).await.status,
        202,
        "once more changes nothing"
    );
    let late = guest.post_json(&tickets, &json!({})).await;
    late.refused(410, "session-ended");

    let usage = rig.ledger.usage(session.parse().unwrap()).await.unwrap();
    assert_eq!(usage.len(), 1, "one interval, from the acked start");
    assert!(usage[0].ended_ms.is_some(), "to the acked stop");
}

#[tokio::test]
async fn what_the_node_says_of_an_end_reaches_the_owner() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let guest = rig.guest().await;
    let session = id(&guest.create("demo").await);
    let mut events = guest.events(&session).await;
    let started = edge.expect_start().await;
    edge.ack(started.command).await;
    let ended = SessionReport::Ended {
        reason: EndReason::ImageMissing,
        detail: "no such image: demo:1".to_owned(),
    };
    edge.report(&started, ended).await;
    let state = loop {
        let session = events.next().await;
        if phase(&session) == "ended" {
            break session["state"].clone();
        }
    };
    assert_eq!(state["reason"], "image-missing");
    assert!(
        state["detail"]
            .as_str()
            .unwrap()
            .contains("no such image: demo:1")
    );
}

#[tokio::test]
async fn a_start_that_is_refused_goes_elsewhere_and_not_for_ever() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(3).await;
    let guest = rig.guest().await;
    let session = id(&guest.create("demo").await);
    let mut events = guest.events(&session).await;
    let mut slots = Vec::new();
    for _ in 0..3 {
        let started = edge.expect_start().await;
        slots.push(started.grant.slot.clone());
        let outcome = AckOutcome::Denied {
            reason: DenyReason::SlotBusy,
            detail: format!("still running{}", ".".repeat(5_000)),
        };
        let command = started.command;
        edge.send(FromEdge::Ack { command, outcome }).await;
    }
    slots.sort_unstable();
    slots.dedup();
    assert_eq!(
        slots.len(),
        3,
        "a slot that refused is left alone for a while"
    );
    let state = loop {
        let session = events.next().await;
        if phase(&session) == "ended" {
            break session["state"].clone();
        }
    };
    assert_eq!(state["reason"], "runtime-failed");
    let detail = state["detail"].as_str().unwrap();
    assert!(detail.contains("still running"), "{detail}");
    assert!(detail.len() < 3_000, "what a node says is kept short");
}

#[tokio::test]
async fn a_report_under_another_epoch_or_from_another_node_changes_nothing() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let guest = rig.guest().await;
    let session = id(&guest.create("demo").await);
    let started = edge.expect_start().await;
    let mut other = rig.edge(1).await;
    edge.ack(started.command).await;
    let mut stale = started.clone();
    stale.grant.epoch.0 += 1;
    edge.report(&stale, SessionReport::Ready).await;
    other.report(&started, SessionReport::Ready).await;
    let progress = StartProgress::StartingApp;
    edge.report(&started, SessionReport::Progress { progress })
        .await;
    let mut events = guest.events(&session).await;
    while events.until("starting").await["state"]["progress"]["step"] != "starting-app" {}
    let now = guest.get(&format!("/v1/sessions/{session}")).await;
    assert_eq!(now.at("/state/phase"), "starting");
}
