//! Watch links as their owner, their viewers and strangers use them.

use crate::edge::{Edge, Started};
use crate::http::{Answer, Client};
use crate::rig::{Rig, eventually, id};
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::control::{SessionReport, ToEdge, ViewerRole, WhepAction, WhepResult};
use nearlight_protocol::id::{AttachmentId, RequestId};
use serde_json::json;
use session_broker::ledger::Fault;

const SDP: (&str, &str) = ("content-type", "application/sdp");
const FRAGMENT: (&str, &str) = ("content-type", "application/trickle-ice-sdpfrag");

/// A session that shows a picture, and its owner.
async fn playing(rig: &Rig, edge: &mut Edge) -> (Client, String, Started) {
    let owner = rig.guest().await;
    let session = id(&owner.create("demo").await);
    let started = edge.start_next().await;
    let path = format!("/v1/sessions/{session}");
    eventually("ready", || async {
        owner.get(&path).await.at("/state/phase") == "ready"
    })
    .await;
    (owner, session, started)
}

async fn link(owner: &Client, session: &str, expires_s: u32) -> Answer {
    let path = format!("/v1/sessions/{session}/watch-links");
    owner
        .post_json(&path, &json!({ "expires_s": expires_s }))
        .await
}

/// The API's path for the address of a link.
fn api(link: &Answer) -> String {
    assert_eq!(link.status, 201, "{link:?}");
    format!("/v1{}", link.at("/url"))
}

/// Posts an offer on a link; returns what the edge was asked, and the answer still to come.
async fn offer(
    rig: &Rig,
    at: &str,
    edge: &mut Edge,
) -> (
    RequestId,
    AttachmentId,
    String,
    tokio::task::JoinHandle<Answer>,
) {
    let (nobody, path) = (rig.nobody(), format!("{at}/whep"));
    let posting = async move { nobody.request("POST", &path, &[SDP], "v=0\r\n").await };
    let posted = Shutdown::new().spawn(posting);
    match edge.next().await {
        ToEdge::Whep {
            request,
            action:
                WhepAction::Offer {
                    attachment,
                    role: ViewerRole::Watcher { link },
                    ..
                },
            ..
        } => (request, attachment, link.to_string(), posted),
        other => panic!("no watcher's offer but {other:?}"),
    }
}

fn answer() -> WhepResult {
    WhepResult::Answer {
        sdp: "v=0\r\n".to_owned(),
    }
}

async fn expect_end(edge: &mut Edge, session: &str, link: &str) {
    match edge.next().await {
        ToEdge::EndWatch {
            session: of,
            link: ended,
        } => assert_eq!((of.as_str(), ended.as_str()), (session, link)),
        other => panic!("no end of watching but {other:?}"),
    }
}

#[tokio::test]
async fn whoever_has_the_link_watches_and_its_owner_stops_it() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let (owner, session, started) = playing(&rig, &mut edge).await;
    let made = link(&owner, &session, 600).await;
    let at = api(&made);
    let shown = rig.nobody().get(&at).await;
    assert_eq!(
        (shown.at("/title"), shown.at("/live")),
        ("demo".to_owned(), "true".to_owned())
    );
    assert_eq!(shown.header("set-cookie"), None, "nobody becomes anybody");

    let (request, attachment, named, posted) = offer(&rig, &at, &mut edge).await;
    assert_eq!(named, made.at("/id"));
    edge.answer(request, answer()).await;
    let taken = posted.await.unwrap();
    assert_eq!(taken.status, 201, "{taken:?}");
    let location = taken.header("location").unwrap().to_owned();
    assert_eq!(location, format!("{at}/whep/{attachment}"));

    let (nobody, path) = (rig.nobody(), location.clone());
    let patching = async move { nobody.request("PATCH", &path, &[FRAGMENT], "a=x\r\n").await };
    let patched = Shutdown::new().spawn(patching);
    let ToEdge::Whep {
        request,
        action: WhepAction::Patch { .. },
        ..
    } = edge.next().await
    else {
        panic!("no patch");
    };
    edge.answer(request, WhepResult::Done).await;
    assert_eq!(patched.await.unwrap().status, 204);

    edge.report(&started, SessionReport::Watchers { count: 1 })
        .await;
    let own = format!("/v1/sessions/{session}");
    eventually("the watcher to be counted", || async {
        owner.get(&own).await.at("/watchers") == "1"
    })
    .await;

    let links = owner.get(&format!("{own}/watch-links")).await;
    assert_eq!(links.at("/links/0/id"), made.at("/id"));
    assert!(
        !links.body.contains(at.rsplit('/').next().unwrap()),
        "the secret is told once"
    );
    let revoked = owner.delete(made.header("location").unwrap()).await;
    assert_eq!(revoked.status, 204, "{revoked:?}");
    expect_end(&mut edge, &session, &made.at("/id")).await;
    rig.nobody().get(&at).await.refused(410, "link-ended");
    let late = rig
        .nobody()
        .request("POST", &format!("{at}/whep"), &[SDP], "v=0\r\n")
        .await;
    late.refused(410, "link-ended");
    rig.nobody()
        .delete(&location)
        .await
        .refused(410, "link-ended");
    assert_eq!(
        owner.get(&format!("{own}/watch-links")).await.json()["links"],
        json!([])
    );
    let again = owner.delete(made.header("location").unwrap()).await;
    assert_eq!(again.status, 204, "once is enough, and twice does no harm");
}

#[tokio::test]
async fn a_link_ends_by_itself_and_with_its_session() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let (owner, session, started) = playing(&rig, &mut edge).await;
    let brief = link(&owner, &session, 1).await;
    let long = link(&owner, &session, 600).await;
    expect_end(&mut edge, &session, &brief.at("/id")).await;
    rig.nobody()
        .get(&api(&brief))
        .await
        .refused(410, "link-ended");
    assert_eq!(rig.nobody().get(&api(&long)).await.status, 200);
    owner.delete(&format!("/v1/sessions/{session}")).await;
    edge.stop_next(&started).await;
    eventually("the link to end with its session", || async {
        rig.nobody().get(&api(&long)).await.status == 410
    })
    .await;
    link(&owner, &session, 60)
        .await
        .refused(410, "session-ended");
}

#[tokio::test]
async fn strangers_make_see_and_revoke_no_links() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let (owner, session, _) = playing(&rig, &mut edge).await;
    let made = link(&owner, &session, 600).await;
    let stranger = rig.guest().await;
    link(&stranger, &session, 600)
        .await
        .refused(404, "not-found");
    link(&rig.nobody(), &session, 600)
        .await
        .refused(401, "unauthenticated");
    let links = format!("/v1/sessions/{session}/watch-links");
    stranger.get(&links).await.refused(404, "not-found");
    let location = made.header("location").unwrap();
    stranger.delete(location).await.refused(404, "not-found");
    // A session of one's own is no way to another's link.
    let own = id(&stranger.create("demo").await);
    let sideways = format!("/v1/sessions/{own}/watch-links/{}", made.at("/id"));
    stranger.delete(&sideways).await.refused(404, "not-found");
    assert_eq!(
        rig.nobody().get(&api(&made)).await.status,
        200,
        "it still holds"
    );
    for expires_s in [0, 86_401, u32::MAX] {
        link(&owner, &session, expires_s)
            .await
            .refused(400, "bad-request");
    }
}

#[tokio::test]
async fn forged_links_lead_nowhere_and_a_link_only_to_its_own_viewers() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let (owner, session, _) = playing(&rig, &mut edge).await;
    let (one, two) = (
        link(&owner, &session, 600).await,
        link(&owner, &session, 600).await,
    );
    let at = api(&one);
    let (request, attachment, _, posted) = offer(&rig, &at, &mut edge).await;
    edge.answer(request, answer()).await;
    assert_eq!(posted.await.unwrap().status, 201);

    let nobody = rig.nobody();
    let cut = &at[..at.len() - 1];
    let long = format!("/v1/watch/{}", "a".repeat(8000));
    let forged = [
        cut,
        "/v1/watch/x",
        "/v1/watch/%00",
        "/v1/watch/%ff",
        "/v1/watch/..%2f",
        &long,
    ];
    for forged in forged {
        nobody.get(forged).await.refused(404, "not-found");
        let whep = format!("{forged}/whep");
        nobody
            .request("POST", &whep, &[SDP], "v=0\r\n")
            .await
            .refused(404, "not-found");
    }
    // Another link of the same session, an id that is none, and the ticket's endpoint.
    let other = format!("{}/whep/{attachment}", api(&two));
    nobody.delete(&other).await.refused(404, "not-found");
    nobody
        .delete(&format!("{at}/whep/att_x"))
        .await
        .refused(404, "not-found");
    let token = at.rsplit('/').next().unwrap();
    let bearer = nobody.with("authorization", &format!("Bearer {token}"));
    let player = format!("/v1/sessions/{session}/whep");
    bearer
        .request("POST", &player, &[SDP], "v=0\r\n")
        .await
        .refused(401, "ticket-invalid");
    for garbage in ["", "v=1", "\u{0}", "o=- 0 0 IN IP4 0.0.0.0"] {
        let path = format!("{at}/whep");
        nobody
            .request("POST", &path, &[SDP], garbage)
            .await
            .refused(400, "invalid-offer");
    }
    let big = format!("v=0\r\n{}", "a".repeat(50_000));
    let path = format!("{at}/whep");
    nobody
        .request("POST", &path, &[SDP], &big)
        .await
        .refused(413, "body-too-large");
    nobody
        .request("POST", &path, &[FRAGMENT], "v=0")
        .await
        .refused(415, "unsupported-media-type");
}

#[tokio::test]
async fn links_are_bounded_for_each_session() {
    let rig = Rig::start_with(|config| {
        config.limits.creates_burst = 2000;
        config.limits.requests_burst = 5000;
    })
    .await;
    let mut edge = rig.edge(1).await;
    let (owner, session, _) = playing(&rig, &mut edge).await;
    let mut held = Vec::new();
    for n in 0..1000 {
        let made = link(&owner, &session, 600).await;
        if n < 16 {
            assert_eq!(made.status, 201, "{made:?}");
            held.push(made);
        } else if made.status != 429 {
            panic!("{made:?}");
        }
    }
    let again = rig.admin();
    link(&again, &session, 600)
        .await
        .refused(429, "quota-exceeded");
    owner.delete(held[0].header("location").unwrap()).await;
    assert_eq!(
        link(&again, &session, 600).await.status,
        201,
        "a place is free again"
    );
}

#[tokio::test]
async fn a_viewer_that_comes_while_the_link_ends_is_let_go() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let (owner, session, _) = playing(&rig, &mut edge).await;
    let made = link(&owner, &session, 600).await;
    let (request, _, named, posted) = offer(&rig, &api(&made), &mut edge).await;
    owner.delete(made.header("location").unwrap()).await;
    expect_end(&mut edge, &session, &named).await;
    edge.answer(request, answer()).await;
    posted.await.unwrap().refused(410, "link-ended");
    expect_end(&mut edge, &session, &named).await;
}

#[tokio::test]
async fn a_link_outlives_the_stream_and_one_that_ended_meanwhile_is_not_shown() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let (owner, session, started) = playing(&rig, &mut edge).await;
    let (kept, gone) = (
        link(&owner, &session, 600).await,
        link(&owner, &session, 600).await,
    );
    let node = edge.node.clone();
    drop(edge);
    eventually("the node to be away", || async {
        rig.nobody().get(&api(&kept)).await.at("/live") == "false"
    })
    .await;
    let path = format!("{}/whep", api(&kept));
    let away = rig.nobody().request("POST", &path, &[SDP], "v=0\r\n").await;
    away.refused(503, "node-unreachable");
    owner.delete(gone.header("location").unwrap()).await;
    let mut edge = rig.attach(&node, vec![started.running(false)]).await;
    let shown = edge.watch_links().await;
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].session.as_str(), session);
    let links: Vec<String> = shown[0].links.iter().map(ToString::to_string).collect();
    assert_eq!(links, [kept.at("/id")]);
}

#[tokio::test]
async fn a_revocation_that_the_ledger_may_have_lost_still_ends_the_watching() {
    for fault in [Fault::Fails, Fault::FailsButApplied] {
        let rig = Rig::start().await;
        let mut edge = rig.edge(1).await;
        let (owner, session, _) = playing(&rig, &mut edge).await;
        let made = link(&owner, &session, 600).await;
        rig.faults.arm(fault);
        let revoked = owner.delete(made.header("location").unwrap()).await;
        revoked.refused(500, "internal");
        expect_end(&mut edge, &session, &made.at("/id")).await;
        rig.nobody()
            .get(&api(&made))
            .await
            .refused(410, "link-ended");
        let again = owner.delete(made.header("location").unwrap()).await;
        assert_eq!(again.status, 204, "{again:?}");
    }
}

#[tokio::test]
async fn one_address_opens_only_so_many_viewers() {
    let rig = Rig::start_with(|config| {
        config.limits.viewers_per_min = 1;
        config.limits.viewers_burst = 2;
    })
    .await;
    let mut edge = rig.edge(1).await;
    let (owner, session, _) = playing(&rig, &mut edge).await;
    let made = link(&owner, &session, 600).await;
    for _ in 0..2 {
        let (request, _, _, posted) = offer(&rig, &api(&made), &mut edge).await;
        edge.answer(request, answer()).await;
        assert_eq!(posted.await.unwrap().status, 201);
    }
    let path = format!("{}/whep", api(&made));
    let often = rig.nobody().request("POST", &path, &[SDP], "v=0\r\n").await;
    often.refused(429, "too-many-requests");
    assert!(often.header("retry-after").is_some());
}
