//! What the API refuses, and how: always a problem, never a guess.

use crate::http::Client;
use crate::rig::{Rig, eventually, id};
use nearlight_protocol::id::SessionId;
use serde_json::json;
use tokio::io::AsyncWriteExt;

const JSON: (&str, &str) = ("content-type", "application/json");
const NOBODYS: &str = "ses_00000000000000000000000000";

#[tokio::test]
async fn whoever_is_nobody_may_only_become_a_guest() {
    let rig = Rig::start().await;
    let nobody = rig.nobody();
    for path in ["/v1/sessions", "/v1/apps", "/v1/nodes"] {
        nobody.get(path).await.refused(401, "unauthenticated");
    }
    let forged = nobody.with("cookie", "nearlight_guest=forged");
    forged
        .get("/v1/sessions")
        .await
        .refused(401, "unauthenticated");
    let wrong = nobody.with("authorization", "Bearer nlk_wrong");
    wrong
        .get("/v1/whoami")
        .await
        .refused(401, "unauthenticated");

    let minted = nobody.get("/v1/whoami").await;
    let cookie = minted.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let known = nobody.with("cookie", cookie.split(';').next().unwrap());
    let again = known.get("/v1/whoami").await;
    assert_eq!(
        (again.at("/role"), again.header("set-cookie")),
        ("guest".to_owned(), None)
    );
}

#[tokio::test]
async fn an_app_has_no_endpoint() {
    let rig = Rig::start_with(|config| config.jobs.listen = "127.0.0.1:0".to_owned()).await;
    let guest = rig.guest().await;
    let app = id(&guest.create("demo").await);
    let path = format!("/v1/sessions/{app}/endpoint");
    let refused = guest.post_json(&path, &json!({})).await;
    refused.refused(400, "bad-request");
    assert!(refused.body.contains("tickets"), "{refused:?}");
}

#[tokio::test]
async fn foreign_origins_and_rebound_hosts_are_refused() {
    let rig = Rig::start().await;
    let guest = rig.guest().await.with("idempotency-key", "k");
    let own = format!("http://{}", guest.at);
    for origin in ["https://evil.example", "http://127.0.0.1:1", "null"] {
        let page = guest.with("origin", origin);
        let refused = page
            .post_json("/v1/sessions", &json!({ "app": "demo" }))
            .await;
        refused.refused(403, "origin-refused");
        assert_eq!(refused.header("access-control-allow-origin"), None);
    }
    for host in ["evil.example", "evil.example:80", "localhost.evil.example"] {
        let rebound = rig.nobody().with("host", host);
        let refused = rebound.get("/v1/whoami").await;
        refused.refused(403, "origin-refused");
        assert_eq!(refused.header("set-cookie"), None);
    }
    let page = guest
        .with("origin", &own)
        .with("sec-fetch-site", "same-origin");
    let created = page
        .post_json("/v1/sessions", &json!({ "app": "demo" }))
        .await;
    assert_eq!(created.status, 201, "{created:?}");
}

#[tokio::test]
async fn bad_requests_are_told_apart() {
    let rig = Rig::start().await;
    let guest = rig.guest().await.with("idempotency-key", "k");
    let create = |body: String| {
        let guest = guest.clone();
        async move { guest.request("POST", "/v1/sessions", &[JSON], &body).await }
    };
    for body in [
        "{",
        "null",
        "[]",
        r#"{"app":5}"#,
        r#"{"app":"A B"}"#,
        r#"{"app":"demo","image":"debian:12"}"#,
        r#"{"app":"demo","launch":{"command":["sh"]}}"#,
        r#"{"app":"demo","keyboard_layout":"us;reboot"}"#,
        r#"{"app":"demo","display":{"width":63,"height":3,"hz":0}}"#,
    ] {
        create(body.to_owned()).await.refused(400, "bad-request");
    }
    create("[".repeat(20_000)).await.refused(400, "bad-request");
    create(r#"{"app":"no-such-app"}"#.to_owned())
        .await
        .refused(404, "not-found");
    let big = format!(
        r#"{{"app":"demo","keyboard_layout":"{}"}}"#,
        "x".repeat(70_000)
    );
    create(big).await.refused(413, "body-too-large");
    let plain = [("content-type", "text/plain")];
    let typed = guest
        .request("POST", "/v1/sessions", &plain, r#"{"app":"demo"}"#)
        .await;
    typed.refused(415, "unsupported-media-type");
    let keyless = rig.guest().await;
    let keyless = keyless
        .post_json("/v1/sessions", &json!({ "app": "demo" }))
        .await;
    keyless.refused(400, "bad-request");
    assert_eq!(
        guest.get("/v1/sessions").await.json()["sessions"],
        json!([])
    );
}

#[tokio::test]
async fn unknown_ids_paths_and_methods_are_said_to_be_so() {
    let rig = Rig::start().await;
    let guest = rig.guest().await;
    guest
        .get(&format!("/v1/sessions/{NOBODYS}"))
        .await
        .refused(404, "not-found");
    guest
        .delete(&format!("/v1/sessions/{NOBODYS}"))
        .await
        .refused(404, "not-found");
    guest
        .get(&format!("/v1/sessions/{NOBODYS}/events"))
        .await
        .refused(404, "not-found");
    let tickets = format!("/v1/sessions/{NOBODYS}/tickets");
    guest
        .post_json(&tickets, &json!({}))
        .await
        .refused(404, "not-found");
    for odd in ["x", "ses_", "ses_..%2f..%2fetc", "%00", "%ff"] {
        guest
            .get(&format!("/v1/sessions/{odd}"))
            .await
            .refused(404, "not-found");
    }
    guest.get("/v1/no-such").await.refused(404, "not-found");
    let put = guest.request("PUT", "/v1/sessions", &[], "").await;
    put.refused(405, "method-not-allowed");
    let allow = put.header("allow").unwrap_or_default();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
}

#[tokio::test]
async fn guests_do_not_see_each_others_sessions() {
    let rig = Rig::start().await;
    let _edge = rig.edge(1).await;
    let (one, two) = (rig.guest().await, rig.guest().await);
    let session = id(&one.create("demo").await);
    let path = format!("/v1/sessions/{session}");
    two.get(&path).await.refused(404, "not-found");
    two.delete(&path).await.refused(404, "not-found");
    two.get(&format!("{path}/events"))
        .await
        .refused(404, "not-found");
    let tickets = format!("{path}/tickets");
    two.post_json(&tickets, &json!({}))
        .await
        .refused(404, "not-found");
    assert_eq!(two.get("/v1/sessions").await.json()["sessions"], json!([]));
    assert_eq!(one.get(&path).await.at("/owned"), "true");
    let operator = rig.admin().get(&path).await;
    assert_eq!(
        operator.at("/owned"),
        "false",
        "an administrator sees it, as somebody else's"
    );
}

#[tokio::test]
async fn one_key_is_one_session() {
    let rig = Rig::start().await;
    let guest = rig.guest().await.with("idempotency-key", "k");
    let body = json!({ "app": "demo" });
    let first = guest.post_json("/v1/sessions", &body).await;
    let again = guest.post_json("/v1/sessions", &body).await;
    assert_eq!(id(&first), id(&again));
    let other = json!({ "app": "demo", "keyboard_layout": "de" });
    let reused = guest.post_json("/v1/sessions", &other).await;
    reused.refused(409, "idempotency-conflict");
    let stranger = rig.guest().await.with("idempotency-key", "k");
    let theirs = stranger.post_json("/v1/sessions", &body).await;
    assert_ne!(id(&first), id(&theirs), "a key is its user's own");
}

#[tokio::test]
async fn quotas_and_rates_end_somewhere_and_say_when_to_come_back() {
    let rig = Rig::start_with(|config| {
        config.limits.requests_per_s = 1;
        config.limits.requests_burst = 8;
        config.limits.creates_burst = 3;
    })
    .await;
    let guest = rig.guest().await;
    let first = id(&guest.create("demo").await);
    guest.create("demo").await;
    guest.create("demo").await.refused(429, "quota-exceeded");
    let often = guest.create("demo").await;
    often.refused(429, "too-many-requests");
    assert!(often.header("retry-after").is_some());
    guest.delete(&format!("/v1/sessions/{first}")).await;
    let mut last = guest.get("/v1/sessions").await;
    for _ in 0..8 {
        last = guest.get("/v1/sessions").await;
    }
    last.refused(429, "too-many-requests");
    assert_eq!(
        rig.guest().await.get("/v1/sessions").await.status,
        200,
        "others go on"
    );
}

#[tokio::test]
async fn every_described_path_is_routed_and_every_answer_is_guarded() {
    let rig = Rig::start().await;
    let nobody = rig.nobody();
    let document = nobody.get("/openapi.json").await.json();
    for (path, item) in document["paths"].as_object().unwrap() {
        let at = path
            .replace("{id}", NOBODYS)
            .replace("{attachment}", "att_00000000000000000000000000")
            .replace("{link}", "wat_00000000000000000000000000")
            .replace("{node}", "nod_00000000000000000000000000")
            .replace("{token}", "t");
        for method in item.as_object().unwrap().keys() {
            let answer = nobody.request(&method.to_uppercase(), &at, &[], "").await;
            let routed = answer.status != 405 && !answer.body.contains("openapi.json lists");
            assert!(routed, "{method} {path}: {answer:?}");
            for header in [
                "content-security-policy",
                "x-content-type-options",
                "x-request-id",
            ] {
                assert!(
                    answer.header(header).is_some(),
                    "{method} {path} has no {header}"
                );
            }
        }
    }
    assert_eq!(nobody.get("/readyz").await.at("/nodes_online"), "0");
    let metrics = rig.admin().get("/metrics").await.body;
    assert!(metrics.contains("broker_ledger_commit_seconds"));
    assert!(
        metrics.contains(r#"route="/v1/sessions/{id}""#),
        "routes, not ids"
    );
    let keys = nobody.get("/.well-known/jwks.json").await.json();
    assert_eq!(keys["keys"][0]["crv"], "Ed25519");
    assert!(keys["keys"][0].get("d").is_none(), "the public half only");
}

#[tokio::test]
async fn the_clients_pages_are_one_page_and_its_files_are_files() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site");
    std::fs::create_dir_all(site.join("assets")).unwrap();
    std::fs::write(site.join("index.html"), "<!doctype html>page").unwrap();
    std::fs::write(site.join("assets/main-abc.js"), "code").unwrap();
    std::fs::write(dir.path().join("outside-of-site"), "secret").unwrap();
    let rig = Rig::start_with(|config| config.client_web = site).await;
    let nobody: Client = rig.nobody();
    let session: SessionId = NOBODYS.parse().unwrap();
    let token = "a_-".repeat(14);
    let pages = [
        "/".to_owned(),
        format!("/play/{session}"),
        format!("/watch/{token}"),
    ];
    for page in pages {
        let answer = nobody.get(&page).await;
        assert!(answer.status == 200, "{answer:?}");
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (200, Some("no-cache"))
        );
        assert!(answer.body.contains("page"), "{answer:?}");
    }
    let asset = nobody.get("/assets/main-abc.js").await;
    assert!(asset.header("cache-control").unwrap().contains("immutable"));
    for missing in ["/assets/other.js", "/v1/x", "/favicon.ico"] {
        nobody.get(missing).await.refused(404, "not-found");
    }
    for outside in [
        "/%2e%2e/outside-of-site",
        "/../outside-of-site",
        "/..%2foutside-of-site",
    ] {
        let answer = nobody.get(outside).await;
        assert!(!answer.body.contains("secret"), "{outside}: {answer:?}");
    }
    let posted = nobody.request("POST", "/", &[JSON], "{}").await;
    posted.refused(404, "not-found");
}

#[tokio::test]
async fn metrics_are_for_operators_or_a_listener_of_their_own() {
    let rig = Rig::start_with(|config| config.metrics_listen = "127.0.0.1:0".to_owned()).await;
    rig.nobody()
        .get("/metrics")
        .await
        .refused(401, "unauthenticated");
    rig.guest()
        .await
        .get("/metrics")
        .await
        .refused(403, "forbidden");
    assert_eq!(rig.admin().get("/metrics").await.status, 200);
    let own = Client::nobody(rig.broker.metrics_listen.unwrap());
    let told = own.get("/metrics").await;
    assert!(told.body.contains("broker_ledger_durable"), "{told:?}");
    for other in ["/v1/whoami", "/v1/sessions", "/"] {
        assert_eq!(own.get(other).await.status, 404, "{other}");
    }
}

/// Otherwise everybody behind a load balancer would be one address, and anybody could claim another one.
#[tokio::test]
async fn a_client_is_whom_a_named_load_balancer_names() {
    let rig = Rig::start_with(|config| {
        config.proxies = vec!["127.0.0.1".parse().unwrap()];
        config.limits.guests_burst = 2;
        config.limits.guests_per_min = 1;
    })
    .await;
    let first = [192, 0, 2, 1];
    for expected in [200, 200, 429] {
        assert_eq!(behind(&rig, first).await, expected);
    }
    assert_eq!(behind(&rig, [192, 0, 2, 2]).await, 200, "another client");
    // Without the header nothing is served.
    let plain = rig.nobody().get("/healthz").await;
    assert_eq!(plain.status, 0, "{plain:?}");
}

/// One address that holds connections must not keep everybody else out.
#[tokio::test]
async fn one_address_has_a_part_of_the_connections() {
    let rig = Rig::start_with(|config| {
        config.proxies = vec!["127.0.0.1".parse().unwrap()];
        config.limits.address_connections_max = 2;
    })
    .await;
    let greedy = [192, 0, 2, 1];
    let held = [named(&rig, greedy).await, named(&rig, greedy).await];
    let is_refused = async || behind(&rig, greedy).await == 0;
    eventually("both to be counted", is_refused).await;
    assert_eq!(behind(&rig, [192, 0, 2, 2]).await, 200, "another address");
    drop(held);
    let is_taken = async || behind(&rig, greedy).await == 200;
    eventually("what was closed to be given back", is_taken).await;
}

#[tokio::test]
async fn a_list_is_no_body_and_a_space_is_no_part_of_a_key() {
    let rig = Rig::start().await;
    let list = rig.admin().post_json("/v1/join-tokens", &json!([])).await;
    list.refused(400, "bad-request");
    let spaced = rig.guest().await.with("idempotency-key", "a b");
    let body = json!({ "app": "demo" });
    let refused = spaced.post_json("/v1/sessions", &body).await;
    refused.refused(400, "bad-request");
    assert!(refused.at("/detail").contains("visible"), "{refused:?}");
}

/// What a newcomer at that address is answered.
async fn behind(rig: &Rig, client: [u8; 4]) -> u16 {
    let socket = named(rig, client).await;
    rig.nobody().over(socket, "/v1/whoami").await.status
}

/// A connection of the load balancer for that address.
async fn named(rig: &Rig, client: [u8; 4]) -> tokio::net::TcpStream {
    let mut socket = tokio::net::TcpStream::connect(rig.broker.listen)
        .await
        .unwrap();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    header.extend(client);
    header.extend([127, 0, 0, 1, 0xd4, 0x31, 0, 80]);
    socket.write_all(&header).await.unwrap();
    socket
}
