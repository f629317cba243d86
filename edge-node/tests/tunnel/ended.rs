//! The log of a job that is over: by any broker, from the node that had it last.

use crate::brokers::Postgres;
use crate::http::Client;
use crate::rig::{Rig, eventually};
use crate::world::World;
use nearlight_kit::ids;
use nearlight_protocol::id::SessionId;
use std::fs;

/// A log of so many lines as the node keeps it for a session; every second one is of standard error.
fn kept(world: &World, session: &SessionId, lines: u32) {
    let mut bytes = b"nearlight job log 1\n".to_vec();
    for n in 0..lines {
        let part = format!("2026-03-01T00:00:{n:02}.000000000Z line {n}\n");
        bytes.push(if n % 2 == 0 { b'o' } else { b'e' });
        bytes.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    let dir = world.rig.pki().join("job-logs");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(format!("{session}.log")), bytes).unwrap();
}

async fn ended(world: &World, session: &SessionId) {
    let path = format!("/v1/sessions/{session}");
    let answer = world.owner.request("DELETE", &path, &[], "").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    eventually("the session to end", || async {
        world.owner.get(&path).await.at("/state/phase") == "ended"
    })
    .await;
}

/// The texts of a log's lines, and whether it says that no more comes.
pub(crate) async fn read(client: &Client, session: &SessionId, query: &str) -> (Vec<String>, bool) {
    let path = format!("/v1/sessions/{session}/logs?{query}");
    let answer = client.get(&path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let data = answer.body.lines().filter_map(|l| l.strip_prefix("data: "));
    let lines = data.filter_map(|data| {
        let line: serde_json::Value = serde_json::from_str(data).unwrap();
        Some(line.get("text")?.as_str()?.to_owned())
    });
    (lines.collect(), answer.body.contains("event: end"))
}

fn texts(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("line {n}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_job_that_is_over_is_read_as_before_and_by_nobody_else() {
    let world = World::start().await;
    let session = world.ready().await;
    ended(&world, &session).await;
    kept(&world, &session, 20);
    let owner = &world.owner;
    assert_eq!(read(owner, &session, "").await, (texts(0..20), true));
    // To follow it is to read it: it ends.
    assert_eq!(read(owner, &session, "follow=true").await.0, texts(0..20));
    assert_eq!(read(owner, &session, "tail=3").await.0, texts(17..20));
    let after = "after=2026-03-01T00%3A00%3A11.000000000Z-1";
    assert_eq!(read(owner, &session, after).await, (texts(12..20), true));
    let path = format!("/v1/sessions/{session}/logs");
    assert_eq!(owner.get(&format!("{path}?tail=x")).await.status, 400);
    assert_eq!(owner.get(&format!("{path}?replica=1")).await.status, 404);

    let [(_, other)] = world.keys_of_a_tenant([&["sessions:read"]]).await;
    let other = world.client_with(&other);
    let foreign = other.get(&path).await;
    let absent = other
        .get(&format!("/v1/sessions/{}/logs", ids::session()))
        .await;
    assert_eq!((foreign.status, absent.status), (404, 404));
    assert_eq!(foreign.at("/detail"), absent.at("/detail"));
    let audit = owner.get("/v1/audit?limit=50").await.body;
    let reads = audit.matches("session-logs").count();
    assert_eq!(reads, 4, "each reading is noted: {audit}");
    // Commands and files went with the container.
    let files = owner
        .get(&format!("/v1/sessions/{session}/files?path=/x"))
        .await;
    assert_eq!(files.at("/name"), "session-ended", "{files:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_log_that_was_swept_learns_why() {
    let world = World::start().await;
    let session = world.ready().await;
    ended(&world, &session).await;
    let path = format!("/v1/sessions/{session}/logs");
    let swept = world.owner.get(&path).await;
    assert_eq!(swept.at("/name"), "session-ended", "{swept:?}");
    assert!(swept.at("/detail").contains("7 days"), "{swept:?}");
    kept(&world, &session, 3);
    assert_eq!(read(&world.owner, &session, "").await.0, texts(0..3));
}

/// Nobody asked before: a tunnel that is open serves on.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_log_whose_node_is_away_learns_until_when_it_is_kept() {
    let world = World::start().await;
    let session = world.ready().await;
    ended(&world, &session).await;
    kept(&world, &session, 3);
    world.stop_node();
    let admin = world.rig.admin();
    eventually("the node to be offline", || async {
        admin.get("/v1/nodes").await.at("/nodes/0/status") == "offline"
    })
    .await;
    let answer = world
        .owner
        .get(&format!("/v1/sessions/{session}/logs"))
        .await;
    assert_eq!(answer.at("/name"), "node-unreachable", "{answer:?}");
    let away = answer.at("/detail");
    assert!(
        away.contains("is away") && away.contains("until 2"),
        "{away}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_has_neither_the_session_nor_its_node_finds_the_log() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let peer = |parsed: &mut session_broker::config::Parsed, name: &str| {
        parsed.ledger = postgres.url.clone();
        parsed.peers.name = name.to_owned();
        parsed.peers.listen = "127.0.0.1:0".to_owned();
        // Where a session is listed that is over is of no account.
        parsed.sessions.ended_keep_s = 1;
    };
    let holder = World::start_with(|parsed| peer(parsed, "b")).await;
    let pki = holder.rig.pki();
    let other = Rig::start_with(|parsed| {
        peer(parsed, "a");
        parsed.pki = pki;
    })
    .await;
    let session = holder.ready().await;
    ended(&holder, &session).await;
    kept(&holder, &session, 5);
    let path = format!("/v1/sessions/{session}/logs");
    eventually("the brokers to meet", || async {
        other.admin().get(&path).await.status == 200
    })
    .await;
    assert_eq!(
        read(&other.admin(), &session, "tail=2").await.0,
        texts(3..5)
    );
    eventually("the session to be listed no more", || async {
        let found = holder.owner.get(&format!("/v1/sessions/{session}")).await;
        found.status == 404
    })
    .await;
    for admin in [holder.owner.clone(), other.admin()] {
        assert_eq!(read(&admin, &session, "").await, (texts(0..5), true));
    }
    let [(_, foreign)] = holder.keys_of_a_tenant([&["sessions:read"]]).await;
    let bearer = format!("Bearer {foreign}");
    let foreign = other.nobody().with("authorization", &bearer);
    assert_eq!(foreign.get(&path).await.status, 404);
}
