//! The real program, killed and started again while sessions run.

use crate::edge::{Edge, Node};
use crate::http::Client;
use crate::program::Program;
use crate::rig::{admin, eventually, id};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{SessionReport, ToEdge};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

/// The same caller at the broker's new address.
fn moved(client: &Client, to: &Program) -> Client {
    Client {
        at: to.listen,
        ..client.clone()
    }
}

async fn reach(client: &Client, session: &str, phase: &str) {
    let path = format!("/v1/sessions/{session}");
    eventually(phase, || async {
        client.get(&path).await.at("/state/phase") == phase
    })
    .await;
}

async fn attached(dir: &TempDir, broker: &Program, slots: usize) -> Edge {
    let pki = dir.path().join("pki");
    let node = Node::new(&pki, slots);
    let edge = node.attach(&pki, broker.node_listen, Vec::new()).await;
    let client = admin(dir.path(), broker.listen);
    eventually("the node", || async {
        client.get("/v1/nodes").await.at("/nodes/0/slots_free") == slots.to_string()
    })
    .await;
    edge
}

/// A full disk under the log, or a reader that died with whoever started the broker, is no reason to
/// fail, nor to live for ever.
#[tokio::test]
async fn a_log_that_nobody_can_write_hurts_nothing() {
    let full = std::fs::File::options().write(true).open("/dev/full");
    let (reader, unread) = std::io::pipe().unwrap();
    drop(reader);
    for stderr in [full.unwrap().into(), std::process::Stdio::from(unread)] {
        let dir = tempfile::tempdir().unwrap();
        let broker = Program::start_saying_to(dir.path(), stderr).await;
        let ready = Client::nobody(broker.listen).get("/readyz").await;
        assert_eq!(ready.status, 200, "{ready:?}");
        let ended = broker.terminate().await;
        assert_eq!(ended.code(), Some(0), "{ended}");
    }
}

#[tokio::test]
async fn a_killed_broker_finds_its_sessions_and_their_streams_went_on() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Program::start(dir.path()).await;
    let mut edge = attached(&dir, &broker, 1).await;
    let guest = Client::guest(broker.listen).await;
    let session = id(&guest.create("demo").await);
    let started = edge.start_next().await;
    let attachment = nearlight_kit::ids::attachment();
    let named = attachment.clone();
    edge.report(&started, SessionReport::Attached { attachment })
        .await;
    reach(&guest, &session, "playing").await;
    let waiting = id(&guest.create("demo").await);
    broker.kill().await;

    let broker = Program::start(dir.path()).await;
    let guest = moved(&guest, &broker);
    let listed = guest.get("/v1/sessions").await.json();
    assert_eq!(
        listed["sessions"].as_array().unwrap().len(),
        2,
        "before any edge is back"
    );
    let path = format!("/v1/sessions/{session}");
    assert_eq!(guest.get(&path).await.at("/state/phase"), "playing");
    let next = guest.get(&format!("/v1/sessions/{waiting}")).await;
    assert_eq!(next.at("/state/position"), "1", "the queue, too");

    let node = edge.node.clone();
    let pki = dir.path().join("pki");
    let mut edge = node
        .attach(&pki, broker.node_listen, vec![started.running(true)])
        .await;
    edge.report(&started, SessionReport::Detached { attachment: named })
        .await;
    reach(&guest, &session, "detached").await;
    assert_eq!(guest.delete(&path).await.status, 202);
    assert_eq!(edge.stop_next(&started).await, EndReason::PlayerEnded);
    let second = edge.start_next().await;
    assert_eq!(second.start.session.to_string(), waiting);
    assert_eq!(second.grant.epoch.0, 2, "epochs go on where they were");
}

#[tokio::test]
async fn orders_go_out_again_until_they_are_acked() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Program::start(dir.path()).await;
    let mut edge = attached(&dir, &broker, 1).await;
    let node = edge.node.clone();
    let pki = dir.path().join("pki");
    let guest = Client::guest(broker.listen).await;
    let session = id(&guest.create("demo").await);
    let unacked = edge.expect_start().await;
    broker.kill().await;

    let broker = Program::start(dir.path()).await;
    let guest = moved(&guest, &broker);
    let mut edge = node.attach(&pki, broker.node_listen, Vec::new()).await;
    let again = edge.expect_start().await;
    assert_eq!(again.command, unacked.command, "the very same order");
    assert_eq!(again.grant, unacked.grant);
    edge.ack(again.command).await;
    edge.report(&again, SessionReport::Ready).await;
    reach(&guest, &session, "ready").await;
    guest.delete(&format!("/v1/sessions/{session}")).await;
    let (stop, _) = edge.expect_stop(&again.start.session).await;
    broker.kill().await;

    let broker = Program::start(dir.path()).await;
    let guest = moved(&guest, &broker);
    let mut edge = node
        .attach(&pki, broker.node_listen, vec![again.running(false)])
        .await;
    let (repeated, reason) = edge.expect_stop(&again.start.session).await;
    assert_eq!((repeated, reason), (stop, EndReason::PlayerEnded));
    edge.ack(repeated).await;
    reach(&guest, &session, "ended").await;
}

#[tokio::test]
async fn keys_cookies_idempotency_and_spent_tickets_outlive_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Program::start(dir.path()).await;
    let mut edge = attached(&dir, &broker, 1).await;
    let node = edge.node.clone();
    let guest = Client::guest(broker.listen)
        .await
        .with("idempotency-key", "mine");
    let create = json!({ "app": "demo" });
    let session = id(&guest.post_json("/v1/sessions", &create).await);
    let started = edge.start_next().await;
    reach(&guest, &session, "ready").await;
    let tickets = format!("/v1/sessions/{session}/tickets");
    let ticket = guest.post_json(&tickets, &json!({})).await.at("/ticket");
    let viewer = Client::nobody(broker.listen).with("authorization", &format!("Bearer {ticket}"));
    let whep = format!("/v1/sessions/{session}/whep");
    let sdp = [("content-type", "application/sdp")];
    let (posting, path) = (viewer.clone(), whep.clone());
    let posting = async move { posting.request("POST", &path, &sdp, "v=0\r\n").await };
    let posted = nearlight_kit::shutdown::Shutdown::new().spawn(posting);
    edge.expect_offer().await;
    broker.kill().await;
    assert_eq!(posted.await.unwrap().status, 0, "the answer never came");

    let broker = Program::start(dir.path()).await;
    let pki = dir.path().join("pki");
    let _edge = node
        .attach(&pki, broker.node_listen, vec![started.running(false)])
        .await;
    let guest = moved(&guest, &broker);
    let replayed = guest.post_json("/v1/sessions", &create).await;
    assert_eq!(id(&replayed), session);
    let spent = moved(&viewer, &broker)
        .request("POST", &whep, &sdp, "v=0\r\n")
        .await;
    spent.refused(401, "ticket-invalid");
    let keys = admin(dir.path(), broker.listen).get("/v1/whoami").await;
    assert_eq!(keys.at("/role"), "admin");
}

#[tokio::test]
async fn a_broker_that_is_told_to_stop_lets_go_of_everyone_and_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Program::start(dir.path()).await;
    let mut edge = attached(&dir, &broker, 1).await;
    let guest = Client::guest(broker.listen).await;
    let session = id(&guest.create("demo").await);
    edge.start_next().await;
    reach(&guest, &session, "ready").await;
    let mut events = guest.events(&session).await;
    events.next().await;
    assert!(broker.terminate().await.success());
    assert!(matches!(edge.next().await, ToEdge::GoAway { .. }));
    assert!(edge.next_or_closed().await.is_none());
    assert!(
        events.next_or_end().await.is_none(),
        "its stream of events ended"
    );

    let broker = Program::start(dir.path()).await;
    let now = moved(&guest, &broker)
        .get(&format!("/v1/sessions/{session}"))
        .await;
    assert_eq!(now.at("/state/phase"), "ready");
}

#[tokio::test]
async fn a_configuration_that_cannot_work_says_which_key() {
    let run = |args: &'static [&'static str]| async move {
        let program = env!("CARGO_BIN_EXE_session-broker");
        let done = Command::new(program).args(args).output().await.unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        (
            done.status.code(),
            said,
            String::from_utf8_lossy(&done.stdout).into_owned(),
        )
    };
    let (code, _, shown) = run(&["--check-config", "--listen", "127.0.0.1:9"]).await;
    assert_eq!(code, Some(0));
    assert!(shown.contains("127.0.0.1:9"), "{shown}");
    let (code, said, _) = run(&["--check-config", "--listen", "0.0.0.0:80"]).await;
    assert_eq!(code, Some(64));
    assert!(
        said.contains("`listen`") && said.contains("tls.cert"),
        "{said}"
    );
}

#[tokio::test]
async fn watch_links_outlive_a_kill_and_what_ended_meanwhile_stays_ended() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Program::start(dir.path()).await;
    let mut edge = attached(&dir, &broker, 1).await;
    let owner = Client::guest(broker.listen).await;
    let session = id(&owner.create("demo").await);
    let started = edge.start_next().await;
    reach(&owner, &session, "ready").await;
    let links = format!("/v1/sessions/{session}/watch-links");
    let link = |expires_s: u32| {
        let (owner, links) = (owner.clone(), links.clone());
        async move {
            let body = json!({ "expires_s": expires_s });
            owner.post_json(&links, &body).await
        }
    };
    let (kept, revoked, brief) = (link(600).await, link(600).await, link(1).await);
    owner.delete(revoked.header("location").unwrap()).await;
    broker.kill().await;
    let node = edge.node.clone();
    drop(edge);

    let broker = Program::start(dir.path()).await;
    let owner = moved(&owner, &broker);
    let api = |made: &crate::http::Answer| format!("/v1{}", made.at("/url"));
    let nobody = Client::nobody(broker.listen);
    assert_eq!(nobody.get(&api(&kept)).await.status, 200);
    nobody.get(&api(&revoked)).await.refused(410, "link-ended");
    eventually("the brief one to end", || async {
        nobody.get(&api(&brief)).await.status == 410
    })
    .await;
    let listed = owner.get(&links).await.json();
    assert_eq!(listed["links"].as_array().unwrap().len(), 1);
    let pki = dir.path().join("pki");
    let running = vec![started.running(false)];
    let mut edge = node.attach(&pki, broker.node_listen, running).await;
    let shown = edge.watch_links().await;
    let shown: Vec<String> = shown[0].links.iter().map(ToString::to_string).collect();
    assert_eq!(shown, [kept.at("/id")]);
}
