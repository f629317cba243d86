//! Attaching viewers: take-over, trickled candidates, leaving, and every wrong ticket.

use crate::edge::{Edge, Started};
use crate::http::{Answer, Client};
use crate::rig::{Rig, eventually, id};
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::control::{SessionReport, ToEdge, WhepAction, WhepRefusal, WhepResult};
use nearlight_protocol::id::AttachmentId;
use serde_json::json;

const SDP: (&str, &str) = ("content-type", "application/sdp");
const FRAGMENT: (&str, &str) = ("content-type", "application/trickle-ice-sdpfrag");

/// A session that shows a picture.
async fn ready(rig: &Rig, guest: &Client, edge: &mut Edge) -> (String, Started) {
    let session = id(&guest.create("demo").await);
    let started = edge.start_next().await;
    reach(guest, &session, "ready").await;
    drop(rig.nobody());
    (session, started)
}

async fn reach(guest: &Client, session: &str, phase: &str) {
    let path = format!("/v1/sessions/{session}");
    eventually(phase, || async {
        guest.get(&path).await.at("/state/phase") == phase
    })
    .await;
}

pub(crate) async fn ticket(guest: &Client, session: &str, take_over: bool) -> Answer {
    let path = format!("/v1/sessions/{session}/tickets");
    guest
        .post_json(&path, &json!({ "take_over": take_over }))
        .await
}

pub(crate) fn bearer(rig: &Rig, token: &str) -> Client {
    rig.nobody()
        .with("authorization", &format!("Bearer {token}"))
}

/// Posts an offer while the edge answers it with `result`.
pub(crate) async fn offer(
    viewer: &Client,
    session: &str,
    edge: &mut Edge,
    result: WhepResult,
) -> (Answer, AttachmentId, bool) {
    let (viewer, path) = (viewer.clone(), format!("/v1/sessions/{session}/whep"));
    let posting = async move { viewer.request("POST", &path, &[SDP], "v=0\r\n").await };
    let posted = Shutdown::new().spawn(posting);
    let (request, attachment, take_over) = edge.expect_offer().await;
    edge.answer(request, result).await;
    (posted.await.unwrap(), attachment, take_over)
}

pub(crate) fn answer() -> WhepResult {
    WhepResult::Answer {
        sdp: "v=0\r\n".to_owned(),
    }
}

#[tokio::test]
async fn a_second_tab_has_to_ask_to_take_over() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let guest = rig.guest().await;
    let (session, started) = ready(&rig, &guest, &mut edge).await;
    let first = ticket(&guest, &session, false).await.at("/ticket");
    let (taken, attachment, _) = offer(&bearer(&rig, &first), &session, &mut edge, answer()).await;
    assert_eq!(taken.status, 201);
    edge.report(
        &started,
        SessionReport::Attached {
            attachment: attachment.clone(),
        },
    )
    .await;
    reach(&guest, &session, "playing").await;

    ticket(&guest, &session, false)
        .await
        .refused(409, "attached-elsewhere");
    let second = ticket(&guest, &session, true).await.at("/ticket");
    let (taken, newer, take_over) =
        offer(&bearer(&rig, &second), &session, &mut edge, answer()).await;
    assert_eq!((taken.status, take_over), (201, true));
    edge.report(&started, SessionReport::Attached { attachment: newer })
        .await;
    // The old attachment's end comes after the new one's beginning, and ends nothing.
    edge.report(&started, SessionReport::Detached { attachment })
        .await;
    edge.report(&started, SessionReport::InputSeen).await;
    let now = guest.get(&format!("/v1/sessions/{session}")).await;
    assert_eq!(now.at("/state/phase"), "playing");
}

#[tokio::test]
async fn candidates_trickle_and_viewers_leave_with_the_ticket_that_opened() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let guest = rig.guest().await;
    let (session, _) = ready(&rig, &guest, &mut edge).await;
    let token = ticket(&guest, &session, false).await.at("/ticket");
    let other = ticket(&guest, &session, false).await.at("/ticket");
    let viewer = bearer(&rig, &token);
    let (taken, attachment, _) = offer(&viewer, &session, &mut edge, answer()).await;
    let at = taken.header("location").unwrap().to_owned();

    for (method, header) in [("PATCH", FRAGMENT), ("DELETE", FRAGMENT)] {
        let wrong = bearer(&rig, &other);
        wrong
            .request(method, &at, &[header], "a=x\r\n")
            .await
            .refused(401, "ticket-invalid");
        let nobody = rig.nobody();
        nobody
            .request(method, &at, &[header], "a=x\r\n")
            .await
            .refused(401, "unauthenticated");
    }
    let wrong_type = viewer.request("PATCH", &at, &[SDP], "a=x\r\n").await;
    wrong_type.refused(415, "unsupported-media-type");

    let (patching, path) = (viewer.clone(), at.clone());
    let patching = async move {
        patching
            .request("PATCH", &path, &[FRAGMENT], "a=x\r\n")
            .await
    };
    let patched = Shutdown::new().spawn(patching);
    let ToEdge::Whep {
        request, action, ..
    } = edge.next().await
    else {
        panic!("no whep");
    };
    let fragment = "a=x\r\n".to_owned();
    let expected = WhepAction::Patch {
        attachment: attachment.clone(),
        fragment,
    };
    assert_eq!(action, expected);
    edge.answer(request, WhepResult::Done).await;
    assert_eq!(patched.await.unwrap().status, 204);

    let leaving = async move { viewer.delete(&at).await };
    let left = Shutdown::new().spawn(leaving);
    let ToEdge::Whep {
        request, action, ..
    } = edge.next().await
    else {
        panic!("no whep");
    };
    assert_eq!(action, WhepAction::Delete { attachment });
    edge.answer(request, WhepResult::Done).await;
    assert_eq!(left.await.unwrap().status, 200);
}

#[tokio::test]
async fn wrong_tickets_do_not_reach_the_edge() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(2).await;
    let guest = rig.guest().await;
    let (one, _) = ready(&rig, &guest, &mut edge).await;
    let (two, started) = ready(&rig, &guest, &mut edge).await;
    let good = ticket(&guest, &one, false).await.at("/ticket");
    let (head, signature) = good.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{head}.{flipped}{}", &signature[1..]);
    let path = |session: &str| format!("/v1/sessions/{session}/whep");
    let cases = [
        (forged.as_str(), &one, "ticket-invalid"),
        (good.as_str(), &two, "ticket-invalid"),
        (started.start.grant.as_str(), &two, "ticket-invalid"),
        ("x", &one, "ticket-invalid"),
        ("", &one, "ticket-invalid"),
        ("nlk_0123", &one, "unauthenticated"),
    ];
    for (token, session, name) in cases {
        let viewer = bearer(&rig, token);
        let refused = viewer
            .request("POST", &path(session), &[SDP], "v=0\r\n")
            .await;
        refused.refused(401, name);
    }
    let cookie_alone = guest.request("POST", &path(&one), &[SDP], "v=0\r\n").await;
    cookie_alone.refused(401, "unauthenticated");
    let (taken, ..) = offer(&bearer(&rig, &good), &one, &mut edge, answer()).await;
    assert_eq!(
        taken.status, 201,
        "the first offer that the edge sees is the good one"
    );
}

#[tokio::test]
async fn what_the_edge_refuses_and_an_edge_that_is_gone_are_told() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let guest = rig.guest().await;
    let (session, _) = ready(&rig, &guest, &mut edge).await;
    let key = rig.admin();
    for (reason, status, name) in [
        (WhepRefusal::InvalidOffer, 400, "invalid-offer"),
        (WhepRefusal::AttachedElsewhere, 409, "attached-elsewhere"),
        (WhepRefusal::NotFound, 404, "not-found"),
        (WhepRefusal::NotReady, 409, "session-not-ready"),
    ] {
        let refusal = WhepResult::Refused {
            reason,
            detail: "because".to_owned(),
        };
        let (refused, ..) = offer(&key, &session, &mut edge, refusal).await;
        refused.refused(status, name);
        assert_eq!(refused.at("/detail"), "because");
    }
    // The stream closes while a viewer waits.
    let (viewer, path) = (key.clone(), format!("/v1/sessions/{session}/whep"));
    let posting = async move { viewer.request("POST", &path, &[SDP], "v=0\r\n").await };
    let posted = Shutdown::new().spawn(posting);
    edge.expect_offer().await;
    drop(edge);
    let gone = posted.await.unwrap();
    gone.refused(503, "node-unreachable");
    assert!(gone.header("retry-after").is_some());
}
