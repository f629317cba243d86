//! Several brokers on one ledger, real programs on a real PostgreSQL: callers ask any, nodes attach to
//! any, and one that dies leaves its sessions to the others.

use crate::edge::Started;
use crate::http::Client;
use crate::program::Program;
use crate::rig::{eventually, id};
use crate::shared::Shared;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{SessionReport, ToEdge, WhepResult};
use serde_json::json;

mod checks;
mod cut_off;
mod durability;
mod gone;
mod moves;
mod nearness;
mod refusing;
mod set_back;

const SDP: (&str, &str) = ("content-type", "application/sdp");

/// The same caller at another broker.
fn at(client: &Client, broker: &Program) -> Client {
    Client {
        at: broker.listen,
        ..client.clone()
    }
}

fn path(session: &str) -> String {
    format!("/v1/sessions/{session}")
}

async fn reach(client: &Client, session: &str, phase: &str) {
    eventually(phase, || async {
        client.get(&path(session)).await.at("/state/phase") == phase
    })
    .await;
}

fn of(started: &Started) -> String {
    started.start.session.to_string()
}

#[tokio::test]
async fn a_session_is_asked_for_at_one_broker_and_runs_on_a_node_of_the_other() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let here = Client::guest(a.listen).await;
    let there = at(&here, &b);
    let mut edge = shared.edge(1, &b, &[&here, &there]).await;

    let session = id(&here.create("demo").await);
    let mut events = here.events(&session).await;
    let started = edge.start_next().await;
    assert_eq!(of(&started), session);
    events.until("ready").await;
    for client in [&here, &there] {
        reach(client, &session, "ready").await;
        let listed = client.get("/v1/sessions").await.json();
        assert_eq!(listed["sessions"].as_array().unwrap().len(), 1, "{listed}");
        assert_eq!(listed["sessions"][0]["owned"], true);
    }

    // A ticket and an offer, each at the broker that does not hold the session.
    let asked = format!("{}/tickets", path(&session));
    let ticket = here.post_json(&asked, &json!({ "take_over": false })).await;
    assert_eq!(ticket.status, 201, "{ticket:?}");
    let token = format!("Bearer {}", ticket.at("/ticket"));
    let viewer = Client::nobody(a.listen).with("authorization", &token);
    let whep = format!("{}/whep", path(&session));
    let posting = async move { viewer.request("POST", &whep, &[SDP], "v=0\r\n").await };
    let posted = Shutdown::new().spawn(posting);
    let (request, attachment, _) = edge.expect_offer().await;
    let sdp = "v=0\r\nanswer".to_owned();
    edge.answer(request, WhepResult::Answer { sdp }).await;
    let answer = posted.await.unwrap();
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (201, "v=0\r\nanswer")
    );
    edge.report(&started, SessionReport::Attached { attachment })
        .await;
    events.until("playing").await;

    // Somebody else neither sees nor ends it, whichever broker is asked.
    let stranger = Client::guest(b.listen).await;
    for client in [&stranger, &at(&stranger, &a)] {
        assert!(matches!(
            client.get(&path(&session)).await.status,
            403 | 404
        ));
        assert!(matches!(
            client.delete(&path(&session)).await.status,
            403 | 404
        ));
        let listed = client.get("/v1/sessions").await.json();
        assert_eq!(listed["sessions"], json!([]));
    }
    assert_eq!(here.delete(&path(&session)).await.status, 202);
    assert_eq!(edge.stop_next(&started).await, EndReason::PlayerEnded);
    reach(&here, &session, "ended").await;
}

#[tokio::test]
async fn an_idempotency_key_stands_for_one_session_in_the_whole_region() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let here = Client::guest(a.listen).await;
    let there = at(&here, &b);
    let mut edge = shared.edge(2, &b, &[&here, &there]).await;
    let body = json!({ "app": "demo" });
    let keyed = |client: &Client| client.with("idempotency-key", "once");
    let first = keyed(&here).post_json("/v1/sessions", &body).await;
    edge.start_next().await;
    for client in [&here, &there] {
        let again = keyed(client).post_json("/v1/sessions", &body).await;
        assert_eq!((again.status, again.at("/id")), (201, first.at("/id")));
        let other = json!({ "app": "brief" });
        let reused = keyed(client).post_json("/v1/sessions", &other).await;
        assert_eq!(reused.at("/name"), "idempotency-conflict");
    }
}

#[tokio::test]
async fn one_queue_holds_in_the_whole_region() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let first = Client::guest(b.listen).await;
    let mut edge = shared.edge(1, &b, &[&first, &at(&first, &a)]).await;
    let mut running = {
        id(&first.create("demo").await);
        edge.start_next().await
    };
    let mut waiting = Vec::new();
    for (n, broker) in [&b, &a, &b, &a].into_iter().enumerate() {
        let guest = Client::guest(broker.listen).await;
        let session = id(&guest.create("demo").await);
        let position = (n + 1).to_string();
        eventually("its place", || async {
            guest.get(&path(&session)).await.at("/state/position") == position
        })
        .await;
        waiting.push((guest, session));
    }
    let mut owner = (first, of(&running));
    for (guest, session) in waiting {
        let mut events = at(&guest, &a).events(&session).await;
        assert_eq!(owner.0.delete(&path(&owner.1)).await.status, 202);
        edge.stop_next(&running).await;
        running = edge.start_next().await;
        assert_eq!(of(&running), session, "who came first");
        events.until("ready").await;
        owner = (guest, session);
    }
}

#[tokio::test]
async fn a_node_that_attaches_elsewhere_takes_its_sessions_along() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let here = Client::guest(a.listen).await;
    let mut edge = shared.edge(1, &a, &[&here]).await;
    let session = id(&here.create("demo").await);
    let started = edge.start_next().await;
    let mut events = here.events(&session).await;
    events.until("ready").await;
    let links = format!("{}/watch-links", path(&session));
    let link = here.post_json(&links, &json!({ "expires_s": 600 })).await;
    assert_eq!(link.status, 201, "{link:?}");

    let node = edge.node.clone();
    let mut moved = shared.attach(&node, &b, vec![started.running(false)]).await;
    while edge.next_or_closed().await.is_some() {}
    let attachment = nearlight_kit::ids::attachment();
    moved
        .report(&started, SessionReport::Attached { attachment })
        .await;
    events.until("playing").await;
    for broker in [&a, &b] {
        reach(&at(&here, broker), &session, "playing").await;
        let token = link.at("/url");
        let token = token.rsplit('/').next().unwrap();
        let watched = Client::nobody(broker.listen)
            .get(&format!("/v1/watch/{token}"))
            .await;
        assert_eq!(watched.status, 200, "{watched:?}");
    }
    assert_eq!(here.delete(&path(&session)).await.status, 202);
    assert_eq!(moved.stop_next(&started).await, EndReason::PlayerEnded);
    reach(&here, &session, "ended").await;
    let again = id(&here.create("demo").await);
    let next = moved.start_next().await;
    assert_eq!((of(&next), next.grant.epoch.0), (again, 2));
}

#[tokio::test]
async fn what_a_killed_broker_held_goes_on_at_the_others() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let guest = Client::guest(b.listen).await;
    let mut edge = shared.edge(1, &a, &[&guest]).await;
    let session = id(&guest.create("demo").await);
    let started = edge.start_next().await;
    reach(&guest, &session, "ready").await;
    let other = Client::guest(b.listen).await;
    let waits = id(&other.create("demo").await);
    reach(&other, &waits, "queued").await;
    let ended = id(&other.create("demo").await);
    assert_eq!(other.delete(&path(&ended)).await.status, 202);
    reach(&other, &ended, "ended").await;
    a.kill().await;

    // The list is whole all the time.
    let listed = guest.get("/v1/sessions").await.json();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 1, "{listed}");
    let mut edge = shared
        .attach(&edge.node, &b, vec![started.running(false)])
        .await;
    reach(&guest, &session, "ready").await;
    reach(&other, &waits, "queued").await;
    // New sessions work, behind those that waited.
    let last = Client::guest(b.listen).await;
    let new = id(&last.create("demo").await);
    assert_eq!(guest.delete(&path(&session)).await.status, 202);
    edge.stop_next(&started).await;
    let next = edge.start_next().await;
    assert_eq!(of(&next), waits);
    assert_eq!(other.delete(&path(&waits)).await.status, 202);
    edge.stop_next(&next).await;
    assert_eq!(of(&edge.start_next().await), new);

    reach(&other, &ended, "ended").await;

    // It comes back under its name, and holds nothing of before.
    let a = shared.broker("a").await;
    reach(&at(&last, &a), &new, "ready").await;
}

#[tokio::test]
async fn a_broker_that_slept_through_its_lease_writes_no_more_and_stops() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let guest = Client::guest(b.listen).await;
    let mut edge = shared.edge(1, &b, &[&guest, &at(&guest, &a)]).await;
    let session = id(&guest.create("demo").await);
    let started = edge.start_next().await;
    reach(&guest, &session, "ready").await;
    let waits = id(&Client::guest(a.listen).await.create("demo").await);
    b.signal("-STOP").await;
    // The home takes over what it held, the node comes back there.
    let here = at(&guest, &a);
    let mut edge = shared
        .attach(&edge.node, &a, vec![started.running(false)])
        .await;
    reach(&here, &session, "ready").await;
    let metrics = shared.admin("a", &a);
    eventually("it to be given up", || async {
        metrics
            .get("/metrics")
            .await
            .body
            .contains("broker_peers_given_up_total 1")
    })
    .await;
    b.signal("-CONT").await;
    let status = b.ended().await;
    assert!(status.success(), "it stops by itself: {status}");
    assert_eq!(here.delete(&path(&session)).await.status, 202);
    edge.stop_next(&started).await;
    assert_eq!(of(&edge.start_next().await), waits);
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_and_their_peers_outlive_a_crash_of_the_database() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let guest = Client::guest(a.listen).await;
    let mut edge = shared.edge(2, &b, &[&guest, &at(&guest, &b)]).await;
    let session = id(&guest.create("demo").await);
    let started = edge.start_next().await;
    tokio::task::block_in_place(|| shared.postgres.crash());
    reach(&guest, &session, "ready").await;
    let mut second = None;
    eventually("a new session", || {
        let guest = guest.clone();
        async move { guest.create("demo").await.status == 201 }
    })
    .await;
    while second.is_none() {
        let next = edge.start_next().await;
        second = (of(&next) != of(&started)).then_some(next);
    }
}

#[tokio::test]
async fn a_rolling_restart_loses_no_session_and_no_place() {
    let Some(shared) = Shared::new() else { return };
    let (mut a, mut b) = shared.two().await;
    let guest = Client::guest(a.listen).await;
    let mut edge = shared.edge(1, &a, &[&guest, &at(&guest, &b)]).await;
    let session = id(&guest.create("demo").await);
    let started = edge.start_next().await;
    reach(&guest, &session, "ready").await;
    let other = Client::guest(b.listen).await;
    let waits = id(&other.create("demo").await);
    for turn in 0..4 {
        let (stops, stays) = match turn % 2 {
            0 => (&mut a, &b),
            _ => (&mut b, &a),
        };
        let name = ["a", "b"][turn % 2];
        let (guest, other) = (at(&guest, stays), at(&other, stays));
        let old = std::mem::replace(stops, shared.broker(name).await);
        // The one that was started last has its name now; the other one stops.
        assert!(old.ended().await.success());
        while edge.next_or_closed().await.is_some() {}
        edge = shared
            .attach(&edge.node, stays, vec![started.running(false)])
            .await;
        reach(&guest, &session, "ready").await;
        reach(&other, &waits, "queued").await;
        edge = shared
            .attach(
                &edge.node,
                if turn % 2 == 0 { &b } else { &a },
                vec![started.running(false)],
            )
            .await;
        reach(&guest, &session, "ready").await;
    }
    let guest = at(&guest, &a);
    assert_eq!(guest.delete(&path(&session)).await.status, 202);
    edge.stop_next(&started).await;
    // The order to stop may come twice: the node has attached a moment ago, and what it has not acked is said again.
    let next = loop {
        if let Some(session) = edge.expect_start_or_stop().await {
            break session;
        }
    };
    assert_eq!(next.as_str(), waits);
}

/// Whether the session is playing before long; it must not end meanwhile.
async fn plays_soon(client: &Client, session: &str) -> bool {
    let mut pause = tokio::time::interval(std::time::Duration::from_millis(20));
    for _ in 0..100 {
        match client.get(&path(session)).await.at("/state/phase").as_str() {
            "playing" => return true,
            "ended" | "ending" => panic!("the session was ended"),
            _ => pause.tick().await,
        };
    }
    false
}

#[tokio::test]
async fn a_session_outlives_a_node_that_bounces_between_brokers() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let guest = Client::guest(a.listen).await;
    let edge = shared.edge(1, &a, &[&guest]).await;
    let session = id(&guest.create("demo").await);
    let mut edge = edge;
    let started = edge.start_next().await;
    reach(&guest, &session, "ready").await;
    // Each attaches before the one that it leaves has noticed.
    let mut streams = Vec::new();
    for turn in 0..12 {
        let to = [&b, &a][turn % 2];
        let running = vec![started.running(false)];
        streams.push(shared.attach(&edge.node, to, running).await);
    }
    drop(streams);
    // A stream of before may be taken in after a later one: as a node does, it attaches again.
    let mut last = loop {
        let running = vec![started.running(false)];
        let mut stream = shared.attach(&edge.node, &b, running).await;
        let attachment = nearlight_kit::ids::attachment();
        let event = SessionReport::Attached { attachment };
        stream.try_send(started.reported(event)).await;
        if plays_soon(&guest, &session).await {
            break stream;
        }
    };
    assert_eq!(guest.delete(&path(&session)).await.status, 202);
    assert_eq!(last.stop_next(&started).await, EndReason::PlayerEnded);
}

#[tokio::test]
async fn a_node_that_is_revoked_at_one_broker_is_cut_off_at_the_other() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let here = Client::guest(a.listen).await;
    let mut edge = shared.edge(1, &b, &[&here, &at(&here, &b)]).await;
    let session = id(&here.create("demo").await);
    edge.start_next().await;
    reach(&here, &session, "ready").await;

    let revoked = shared.admin("a", &a);
    let node = format!("/v1/nodes/{}", edge.node.id);
    assert_eq!(revoked.delete(&node).await.status, 204);
    let ToEdge::Refused { revoked: true, .. } = edge.next().await else {
        panic!("it is not told");
    };
    assert!(edge.next_or_closed().await.is_none());
    reach(&here, &session, "ended").await;
    // Neither takes it any more.
    for broker in [&a, &b] {
        let mut again = edge
            .node
            .dial(&shared.pki(), broker.node_listen, &edge.node.id)
            .await;
        assert!(matches!(
            again.next().await,
            ToEdge::Refused { revoked: true, .. }
        ));
    }
}

#[tokio::test]
async fn a_tenant_and_its_keys_hold_at_every_broker() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let admin = shared.admin("a", &a);
    let mut keys = Vec::new();
    for name in ["one", "two"] {
        let tenant = admin
            .post_json("/v1/tenants", &json!({ "name": name }))
            .await;
        let tenant = tenant.at("/id");
        let body = json!({ "name": name, "role": "tenant", "tenant": tenant });
        let key = admin.post_json("/v1/keys", &body).await;
        keys.push((key.at("/key/id"), format!("Bearer {}", key.at("/secret"))));
    }
    let at =
        |to: &Program, key: usize| Client::nobody(to.listen).with("authorization", &keys[key].1);
    let session = id(&at(&a, 0).create("demo").await);
    let path = format!("/v1/sessions/{session}");
    assert_eq!(at(&b, 0).get(&path).await.at("/id"), session);
    let listed = at(&b, 0).get("/v1/sessions").await;
    assert_eq!(listed.at("/sessions/0/id"), session);
    for broker in [&a, &b] {
        at(broker, 1).get(&path).await.refused(404, "not-found");
        at(broker, 1).delete(&path).await.refused(404, "not-found");
        let others = at(broker, 1).get("/v1/sessions").await;
        assert_eq!(others.json()["sessions"], json!([]));
    }
    // The other broker finds out by itself, within seconds.
    admin.delete(&format!("/v1/keys/{}", keys[0].0)).await;
    at(&a, 0).get(&path).await.refused(401, "unauthenticated");
    eventually("the other broker to refuse the key", || async {
        at(&b, 0).get("/v1/apps").await.status == 401
    })
    .await;
    assert_eq!(at(&b, 1).get("/v1/apps").await.status, 200);
}
