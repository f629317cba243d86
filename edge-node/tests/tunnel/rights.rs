//! Who may talk to a job, and to what of it.

use crate::http::Client;
use crate::rig::eventually;
use crate::upstream::Upstream;
use crate::world::{Caller, World, tickets};
use axum::body::Body;
use axum::http::StatusCode;
use serde_json::json;

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// A tenant, and a key of it.
async fn tenant(world: &World, name: &str) -> (Client, String) {
    let admin = world.rig.admin();
    let made = admin
        .post_json("/v1/tenants", &json!({ "name": name }))
        .await;
    let body = json!({ "name": name, "role": "tenant", "tenant": made.at("/id") });
    let key = admin.post_json("/v1/keys", &body).await;
    assert_eq!(key.status, 201, "{key:?}");
    let secret = key.at("/secret");
    let client = world.rig.nobody().with("authorization", &bearer(&secret));
    (client, secret)
}

async fn status(caller: &Caller) -> StatusCode {
    caller.get("/").await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_its_session_and_port_and_no_other() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let ports = [("api", upstream.at), ("web", upstream.at)];
    let (one, other) = (world.job(&ports).await, world.job(&ports).await);
    let of_one = world.endpoint(&one, json!({})).await;
    let of_web = world.endpoint(&one, json!({ "port": "web" })).await;
    let of_other = world.endpoint(&other, json!({})).await;
    let with = |url: &str, ticket: &str| {
        let caller = world.caller_of(url);
        caller.with("authorization", &bearer(ticket))
    };
    assert_eq!(status(&with(&of_one.url, &of_one.ticket)).await, 200);
    assert_eq!(status(&with(&of_web.url, &of_web.ticket)).await, 200);
    for (url, ticket) in [
        (&of_one.url, &of_other.ticket),
        (&of_other.url, &of_one.ticket),
        (&of_web.url, &of_one.ticket),
        (&of_one.url, &of_web.ticket),
    ] {
        let (refused, body) = with(url, ticket).get("/").await;
        assert_eq!(refused, 401, "{body}");
        assert!(body.contains("endpoint"), "it says what to do: {body}");
    }
    let nobody = world.caller_of(&of_one.url);
    assert_eq!(status(&nobody).await, 401);
    let mut changed = of_one.ticket.clone().into_bytes();
    let last = changed.len() - 2;
    changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    assert_eq!(status(&with(&of_one.url, &changed)).await, 401);
    let (path, body) = (
        format!("/v1/sessions/{one}/endpoint"),
        json!({ "port": "Not A Port" }),
    );
    let wrong = world.owner.post_json(&path, &body).await;
    assert_eq!(wrong.status, 400, "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_void_when_its_time_is_over() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("api", upstream.at)]).await;
    let endpoint = world.endpoint(&session, json!({ "expires_s": 2 })).await;
    let caller = world.caller_of(&endpoint.url);
    let caller = caller.with("authorization", &bearer(&endpoint.ticket));
    assert_eq!(status(&caller).await, 200);
    eventually("the ticket to expire", || async {
        status(&caller).await == 401
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_the_jobs_of_its_tenant_and_others_are_not_there() {
    let (mut world, upstream) = (World::start().await, Upstream::http().await);
    let (client, key) = tenant(&world, "a").await;
    let (_, of_other) = tenant(&world, "b").await;
    let reads = json!({ "name": "reads", "role": "player", "scopes": ["sessions:read"] });
    let reads = client.post_json("/v1/keys", &reads).await;
    assert_eq!(reads.status, 201, "{reads:?}");
    let reads = reads.at("/secret");
    world.owner = client;
    let session = world.job(&[("api", upstream.at)]).await;
    let url = world.endpoint(&session, json!({})).await.url;
    let with = |key: &str| world.caller_of(&url).with("authorization", &bearer(key));
    assert_eq!(status(&with(&key)).await, 200);
    assert_eq!(status(&with(&reads)).await, 403);
    assert_eq!(status(&with("nlk_wrong")).await, 401);
    // Another tenant's key learns what it learns of a session that is not there.
    let absent = world.caller_of("http://ses-00000000000000000000000000.localhost/");
    let absent = absent
        .with("authorization", &bearer(&of_other))
        .get("/")
        .await;
    assert_eq!(with(&of_other).get("/").await, absent);
    assert_eq!(absent.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_opens_an_address_once_and_keeps_a_cookie_for_that_job() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let ports = [("web", upstream.at)];
    let (one, other) = (world.job(&ports).await, world.job(&ports).await);
    let endpoint = world.endpoint(&one, json!({})).await;
    let elsewhere = world.endpoint(&other, json!({})).await;
    let browser = world.caller_of(&endpoint.url);
    let (_, query) = endpoint.open_url.split_once('?').unwrap();
    let open = |browser: &Caller, path: String| {
        let request = browser.request("GET", &path).body(Body::empty()).unwrap();
        let browser = browser.clone();
        async move { browser.send(request).await }
    };
    let at_other = open(&world.caller_of(&elsewhere.url), format!("/?{query}")).await;
    assert_eq!(at_other.status(), 401);
    let opened = open(&browser, format!("/lab?a=b&{query}")).await;
    assert_eq!(opened.status(), 303);
    assert_eq!(opened.headers()["location"], "/lab?a=b");
    let cookie = opened.headers()["set-cookie"].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.to_ascii_lowercase().contains("domain"), "{cookie}");
    let again = open(&browser, format!("/?{query}")).await;
    assert_eq!(again.status(), 401, "it works once");
    let ticket = query.split_once('=').unwrap().1;
    let as_bearer = browser.with("authorization", &bearer(ticket));
    assert_eq!(status(&as_bearer).await, 401, "it opens nothing itself");

    let pair = cookie.split(';').next().unwrap().to_owned();
    let kept = browser.with("cookie", &format!("own=1; {pair}"));
    let (code, seen) = kept.get("/").await;
    assert_eq!(code, 200);
    assert!(
        seen.contains("own=1") && !seen.contains("nearlight-endpoint"),
        "{seen}"
    );
    // What the page itself asks with a token of its own is the container's affair.
    let page = kept.with("authorization", "Bearer own-token");
    assert!(page.get("/").await.1.contains("own-token"));
    let neighbour = world.caller_of(&elsewhere.url).with("cookie", &pair);
    assert_eq!(status(&neighbour).await, 401);

    let own = endpoint.url.trim_end_matches('/');
    assert_eq!(status(&kept.with("origin", own)).await, 200);
    for foreign in [
        elsewhere.url.trim_end_matches('/'),
        "null",
        "https://evil.example",
    ] {
        assert_eq!(
            status(&kept.with("origin", foreign)).await,
            403,
            "{foreign}"
        );
    }
    let image = kept.with("sec-fetch-site", "same-site");
    assert_eq!(status(&image).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_job_cannot_call_the_api_as_its_visitor() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("web", upstream.at)]).await;
    let origin = world.endpoint(&session, json!({})).await.url;
    let origin = origin.trim_end_matches('/');
    // The visitor's own cookie, which a browser may send along.
    let visitor = world.rig.guest().await.with("origin", origin);
    let created = visitor.create("demo").await;
    assert_eq!(created.at("/name"), "origin-refused");
    let path = format!("/v1/sessions/{session}");
    assert_eq!(visitor.delete(&path).await.at("/name"), "origin-refused");
    let read = visitor.get("/v1/sessions").await;
    assert_eq!(read.header("access-control-allow-origin"), None, "{read:?}");
    assert_eq!(
        read.header("cross-origin-resource-policy").unwrap(),
        "same-origin"
    );
    let preflight = visitor.with("access-control-request-method", "POST");
    let preflight = preflight.request("OPTIONS", "/v1/sessions", &[], "").await;
    assert_eq!(preflight.header("access-control-allow-origin"), None);
    // Under a job's host there is no API at all.
    let caller = world.caller(&session).await;
    let (_, seen) = caller.get("/v1/sessions").await;
    assert!(seen.contains("\"target\":\"/v1/sessions\""), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_for_replicas_alone_is_not_there_for_callers() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.ready().await;
    let mut ports = tickets(&[("api", upstream.at), ("ray", upstream.at)]);
    ports[1].2 = nearlight_protocol::job::PortAccess::Cluster;
    world.table.open(session.clone(), ports);
    let endpoint = world.endpoint(&session, json!({ "port": "ray" })).await;
    let caller = world.caller_of(&endpoint.url);
    let caller = caller.with("authorization", &bearer(&endpoint.ticket));
    assert_eq!(status(&caller).await, 404);
}
