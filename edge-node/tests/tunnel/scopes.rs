//! Tickets for a part of a job, and their end; keys that may call jobs and nothing else.

use crate::upstream::Upstream;
use crate::world::{Caller, World, bearer};
use axum::body::Body;
use serde_json::json;

async fn status(caller: &Caller, method: &str, path: &str) -> u16 {
    let request = caller.request(method, path).body(Body::empty()).unwrap();
    caller.send(request).await.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_for_some_methods_and_paths_opens_no_others() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("api", upstream.at)]).await;
    let asked = json!({ "methods": ["GET", "HEAD", "OPTIONS"], "path": "/v1" });
    let endpoint = world.endpoint(&session, asked).await;
    let caller = world.caller_of(&endpoint.url);
    let reads = caller.with("authorization", &bearer(&endpoint.ticket));
    for (method, path, expected) in [
        ("GET", "/v1", 200),
        ("GET", "/v1/models?x=/../admin", 200),
        ("OPTIONS", "/v1/models", 200),
        ("POST", "/v1/models", 403),
        ("DELETE", "/v1", 403),
        ("GET", "/", 403),
        ("GET", "/v1x", 403),
        ("GET", "/v1/../admin", 403),
        ("GET", "/v1/%2e%2e/admin", 403),
        ("GET", "/v1//admin", 403),
        ("GET", "/v1/..%2fadmin", 403),
    ] {
        assert_eq!(
            status(&reads, method, path).await,
            expected,
            "{method} {path}"
        );
    }
    let sly = reads.with("x-http-method-override", "DELETE");
    assert_eq!(status(&sly, "GET", "/v1").await, 403);
    let changes = reads
        .with("connection", "upgrade")
        .with("upgrade", "websocket");
    assert_eq!(status(&changes, "GET", "/v1").await, 403, "it could write");

    // The address leads to what the ticket is for, and its cookie opens no more.
    assert!(endpoint.open_url.contains("/v1?ticket="), "{endpoint:?}");
    let (_, query) = endpoint.open_url.split_once('?').unwrap();
    let opened = caller.request("GET", &format!("/v1?{query}"));
    let opened = caller.send(opened.body(Body::empty()).unwrap()).await;
    assert_eq!(opened.status(), 303);
    let cookie = opened.headers()["set-cookie"].to_str().unwrap();
    let browser = caller.with("cookie", cookie.split(';').next().unwrap());
    assert_eq!(status(&browser, "GET", "/v1/a").await, 200);
    assert_eq!(status(&browser, "GET", "/a").await, 403);

    let path = format!("/v1/sessions/{session}/endpoint");
    for wrong in [
        json!({ "methods": [] }),
        json!({ "methods": ["get"] }),
        json!({ "path": "v1" }),
        json!({ "path": "/a/../b" }),
        json!({ "path": "/%61" }),
    ] {
        let answer = world.owner.post_json(&path, &wrong).await;
        answer.refused(400, "bad-request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_ends_with_the_key_that_asked_for_it() {
    let (mut world, upstream) = (World::start().await, Upstream::http().await);
    let [(revoked, secret), (_, other)] = world.keys_of_a_tenant([&[], &[]]).await;
    let second = world.client_with(&other);
    world.owner = world.client_with(&secret);
    let session = world.job(&[("api", upstream.at)]).await;
    let of_first = world.endpoint(&session, json!({})).await;
    world.owner = second;
    let of_second = world.endpoint(&session, json!({})).await;
    let caller = world.caller_of(&of_first.url);
    let by = |ticket: &str| caller.with("authorization", &bearer(ticket));
    let (one, two) = (by(&of_first.ticket), by(&of_second.ticket));
    let (_, query) = of_first.open_url.split_once('?').unwrap();
    assert_eq!(status(&one, "GET", "/").await, 200);
    let admin = world.rig.admin();
    let gone = admin.delete(&format!("/v1/keys/{revoked}")).await;
    assert_eq!(gone.status, 204, "{gone:?}");
    assert_eq!(status(&one, "GET", "/").await, 401);
    assert_eq!(status(&caller, "GET", &format!("/?{query}")).await, 401);
    assert_eq!(status(&two, "GET", "/").await, 200, "another key's goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_endpoints_calls_jobs_and_changes_none() {
    let (mut world, upstream) = (World::start().await, Upstream::http().await);
    let [(_, whole), (_, calls)] = world.keys_of_a_tenant([&[], &["endpoint"]]).await;
    let calling = world.client_with(&calls);
    world.owner = world.client_with(&whole);
    let session = world.job(&[("api", upstream.at)]).await;
    let url = world.endpoint(&session, json!({})).await.url;
    let caller = world.caller_of(&url);
    let by_key = caller.with("authorization", &bearer(&calls));
    assert_eq!(status(&by_key, "POST", "/").await, 200);
    let path = format!("/v1/sessions/{session}");
    let ended = calling.delete(&path).await;
    ended.refused(403, "forbidden");
    calling.get(&path).await.refused(403, "forbidden");
    world.owner = calling;
    let endpoint = world.endpoint(&session, json!({})).await;
    let by_ticket = caller.with("authorization", &bearer(&endpoint.ticket));
    assert_eq!(status(&by_ticket, "GET", "/").await, 200);
}

/// As `session-broker/src/tunnels/pool.rs` has it.
const STRANGER_MAX: usize = 128;

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_whose_key_is_gone_makes_nobody_known_at_a_public_port() {
    let (mut world, upstream) = (World::start().await, Upstream::http().await);
    let [(id, secret)] = world.keys_of_a_tenant([&[]]).await;
    world.owner = world.client_with(&secret);
    let session = world.public_job(upstream.at).await;
    let endpoint = world.endpoint(&session, json!({})).await;
    let stranger = world.caller_of(&endpoint.url);
    let known = stranger.with("authorization", &bearer(&endpoint.ticket));
    let mut held = Vec::new();
    for _ in 0..STRANGER_MAX {
        let hangs = stranger.request("GET", "/hang?begin");
        let answer = stranger.send(hangs.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status(), 200);
        held.push(answer);
    }
    assert_eq!(
        status(&stranger, "GET", "/").await,
        429,
        "its address has its share"
    );
    assert_eq!(status(&known, "GET", "/").await, 200);
    let gone = world.rig.admin().delete(&format!("/v1/keys/{id}")).await;
    assert_eq!(gone.status, 204, "{gone:?}");
    assert_eq!(status(&known, "GET", "/").await, 429);
}
