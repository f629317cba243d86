//! Callers at the node itself, over TLS with a certificate of the test's own: what a broker's endpoint does, and goes
//! on doing when there is no broker.

use crate::http::PATIENCE;
use crate::rig::eventually;
use crate::upstream::Upstream;
use crate::world::{World, bearer, host_of, read, tickets};
use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode, Uri};
use edge_node::tunnel::Direct;
use futures_util::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use nearlight_kit::endpoint::listen::Listen;
use nearlight_kit::pki;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::endpoint::Endpoint;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::job::PortAccess;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// A world whose node has an address of its own.
struct Here {
    world: World,
    at: SocketAddr,
    keys: tempfile::TempDir,
}

impl Here {
    async fn start() -> Self {
        let keys = tempfile::tempdir().unwrap();
        let identity = pki::Identity {
            spiffe: "spiffe://nearlight/direct".to_owned(),
            dns: vec!["*.node.example".to_owned()],
            ips: Vec::new(),
        };
        let ca = pki::ensure_ca(keys.path()).unwrap();
        ca.issue(keys.path(), "direct", identity).unwrap();
        let files = ["direct.pem", "direct.key.pem"].map(|name| keys.path().join(name));
        let [cert, key] = files;
        let wanted = Listen {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            domain: "node.example".to_owned(),
            certificate: Some((cert, key)),
            public_port: Some(443),
        };
        let direct = Direct::bind(&wanted).await.unwrap();
        let at = direct.local_addr().unwrap();
        let world = Box::pin(World::start_as(|_| {}, Some(direct))).await;
        Self { world, at, keys }
    }

    async fn connect(&self, host: &str, protocol: &[u8]) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.at).await.unwrap();
        let config = pki::client_config(self.keys.path(), "direct").unwrap();
        let mut tls = ClientConfig::clone(&*config);
        tls.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let connector = TlsConnector::from(Arc::new(tls));
        let stream = connector.connect(name, tcp).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
        stream
    }

    /// A caller at the node, whom nobody knows yet.
    async fn caller(&self, endpoint: &Endpoint) -> Caller {
        self.caller_at(endpoint.direct_url.as_deref().unwrap())
            .await
    }

    async fn caller_at(&self, url: &str) -> Caller {
        let uri: Uri = url.parse().unwrap();
        assert_eq!((uri.scheme_str(), uri.port()), (Some("https"), None));
        let stream = self.connect(uri.host().unwrap(), b"h2").await;
        let handshake = http2::handshake(Shutdown::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.unwrap();
        Shutdown::new().spawn(connection);
        Caller {
            sender,
            url: url.to_owned(),
        }
    }

    async fn endpoint(&self, session: &SessionId) -> Endpoint {
        self.world.endpoint(session, json!({})).await
    }
}

/// Somebody on one connection to the node.
struct Caller {
    sender: SendRequest<Body>,
    url: String,
}

impl Caller {
    async fn send(
        &mut self,
        method: &str,
        path: &str,
        (lines, body): (&[(&str, &str)], Body),
    ) -> Response<Incoming> {
        let url = format!("{}{}", self.url, path.trim_start_matches('/'));
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let sent = self.sender.send_request(request.body(body).unwrap());
        tokio::time::timeout(PATIENCE, sent).await.unwrap().unwrap()
    }

    async fn get(&mut self, path: &str, lines: &[(&str, &str)]) -> (StatusCode, String) {
        read(self.send("GET", path, (lines, Body::empty())).await).await
    }

    async fn status(&mut self, token: &str) -> StatusCode {
        let bearer = bearer(token);
        self.get("/", &[("authorization", &bearer)]).await.0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_go_both_ways_as_they_come() {
    let (here, upstream) = (Here::start().await, Upstream::http().await);
    let session = here.world.job(&[("api", upstream.at)]).await;
    let endpoint = here.endpoint(&session).await;
    let bearer = bearer(&endpoint.ticket);
    let lines = [
        ("authorization", bearer.as_str()),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-nearlight-session", "ses_forged"),
    ];
    let mut caller = here.caller(&endpoint).await;
    let (status, seen) = caller.get("/a?b=c", &lines).await;
    assert_eq!(status, 200, "{seen}");
    let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["target"], "/a?b=c");
    let headers = seen["headers"].as_array().unwrap();
    let host = host_of(endpoint.direct_url.as_ref().unwrap());
    assert!(headers.contains(&json!(["host", host])), "{seen}");
    assert!(
        headers.contains(&json!(["x-forwarded-proto", "https"])),
        "{seen}"
    );
    for hidden in ["authorization", "x-forwarded-for", "x-nearlight-session"] {
        let is_there = headers.iter().any(|line| line[0] == hidden);
        assert!(!is_there, "{hidden} in {seen}");
    }

    let total = 8 * 1024 * 1024;
    let up = Body::from(vec![7; total]);
    let answer = caller.send("POST", "/up", (&lines, up)).await;
    assert_eq!(read(answer).await, (StatusCode::OK, total.to_string()));
    let path = format!("/down?bytes={total}");
    let down = caller.send("GET", &path, (&lines, Body::empty())).await;
    let down = down.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(down.len(), total);

    let events = caller.send("GET", "/events", (&lines, Body::empty())).await;
    let mut events = events.into_body();
    for n in 0..5 {
        let event = tokio::time::timeout(PATIENCE, events.frame()).await;
        let event = event.expect("nothing waits for more").unwrap().unwrap();
        assert_eq!(event.into_data().unwrap(), format!("data: {n}\n\n"));
        let seen = caller.send("POST", "/seen", (&lines, Body::empty())).await;
        assert_eq!(seen.status(), 200);
    }
    assert!(here.world.table.seen(&session) > 10, "the job is not idle");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_goes_through() {
    let here = Here::start().await;
    let (echo, _echo) = Upstream::echo().await;
    let session = here.world.job(&[("ws", echo)]).await;
    let endpoint = here.endpoint(&session).await;
    let host = host_of(endpoint.direct_url.as_ref().unwrap());
    let stream = here.connect(host, b"http/1.1").await;
    let mut request = format!("wss://{host}/any").into_client_request().unwrap();
    let with = bearer(&endpoint.ticket).parse().unwrap();
    request.headers_mut().insert("authorization", with);
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    for n in 0..100 {
        socket.send(Message::text(n.to_string())).await.unwrap();
        let back = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
        assert_eq!(back.unwrap().unwrap().into_text().unwrap(), n.to_string());
    }
    here.world.table.close(&session);
    let end = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_its_session_for_its_time_and_nothing_else_does() {
    let (here, upstream) = (Here::start().await, Upstream::http().await);
    let ports = [("api", upstream.at), ("web", upstream.at)];
    let (one, other) = (here.world.job(&ports).await, here.world.job(&ports).await);
    let (of_one, of_other) = (here.endpoint(&one).await, here.endpoint(&other).await);
    let of_web = here.world.endpoint(&one, json!({ "port": "web" })).await;
    let mut caller = here.caller(&of_one).await;
    assert_eq!(caller.status(&of_one.ticket).await, 200);
    assert_eq!(here.caller(&of_web).await.status(&of_web.ticket).await, 200);
    for wrong in [&of_other.ticket, &of_web.ticket, "nlk_key", "theirs"] {
        assert_eq!(caller.status(wrong).await, 401, "{wrong}");
    }
    let (status, said) = caller.get("/", &[]).await;
    assert_eq!(status, 401);
    assert!(said.contains("endpoint"), "it says what to do: {said}");

    let shortly = here.world.endpoint(&one, json!({ "expires_s": 1 })).await;
    let mut caller = here.caller(&shortly).await;
    tokio::time::timeout(PATIENCE, async {
        while caller.status(&shortly.ticket).await == 200 {}
    })
    .await
    .unwrap();
    assert_eq!(caller.status(&shortly.ticket).await, 401);

    // However long it is at the broker, a node hears of no key that is revoked.
    let long = here
        .world
        .endpoint(&one, json!({ "expires_s": 86_400 }))
        .await;
    let hour = Duration::from_secs(3600).as_millis();
    let longer = long.expires_at - long.direct_expires_at.unwrap();
    assert_eq!(u128::from(longer), 23 * hour);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_port_is_open_to_all_and_one_for_replicas_to_nobody() {
    let (here, upstream) = (Here::start().await, Upstream::http().await);
    let session = here.world.ready().await;
    let mut ports = tickets(&[("page", upstream.at), ("ray", upstream.at)]);
    (ports[0].2, ports[1].2) = (PortAccess::Public, PortAccess::Cluster);
    here.world.table.open(session.clone(), ports);
    let endpoint = here.endpoint(&session).await;
    assert_eq!(here.caller(&endpoint).await.get("/", &[]).await.0, 200);
    let of_ray = here
        .world
        .endpoint(&session, json!({ "port": "ray" }))
        .await;
    assert_eq!(here.caller(&of_ray).await.status(&of_ray.ticket).await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_of_a_session_hears_that_it_is_gone_and_others_hear_nothing() {
    let (here, upstream) = (Here::start().await, Upstream::http().await);
    let session = here.world.job(&[("api", upstream.at)]).await;
    let endpoint = here.endpoint(&session).await;
    let mut caller = here.caller(&endpoint).await;
    assert_eq!(caller.status(&endpoint.ticket).await, 200);
    here.world.table.close(&session);
    assert_eq!(caller.status(&endpoint.ticket).await, 410);
    assert_eq!(caller.get("/", &[]).await.0, 404);
    assert_eq!(caller.status("theirs").await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_has_signed_is_void_once_the_key_is_no_longer_the_brokers() {
    let (here, upstream) = (Here::start().await, Upstream::http().await);
    let session = here.world.job(&[("api", upstream.at)]).await;
    let endpoint = here.endpoint(&session).await;
    let mut caller = here.caller(&endpoint).await;
    assert_eq!(caller.status(&endpoint.ticket).await, 200);
    let path = "/.well-known/jwks.json";
    let own: serde_json::Value = jwks(&here.world, path).await;
    let rotated = jwks(&World::start().await, path).await;
    assert!(here.world.keys.learn(&rotated));
    assert_eq!(caller.status(&endpoint.ticket).await, 401);
    assert!(
        !here.world.keys.learn(&json!({ "keys": [] })),
        "the ones before stay"
    );
    assert_eq!(caller.status(&endpoint.ticket).await, 401);
    // Both for a while, as brokers that share a ledger have it.
    let mut both = rotated;
    let keys = both["keys"].as_array_mut().unwrap();
    keys.extend(own["keys"].as_array().unwrap().clone());
    assert!(here.world.keys.learn(&both));
    assert_eq!(caller.status(&endpoint.ticket).await, 200);
}

async fn jwks(world: &World, path: &str) -> serde_json::Value {
    let answer = world.rig.nobody().get(path).await;
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_opens_an_address_once_at_the_node_that_it_is_for() {
    let (here, upstream) = (Here::start().await, Upstream::http().await);
    let session = here.world.job(&[("web", upstream.at)]).await;
    let endpoint = here.endpoint(&session).await;
    let once = endpoint.direct_open_url.clone().unwrap();
    let (_, query) = once.split_once('?').unwrap();
    let (_, of_broker) = endpoint.open_url.split_once('?').unwrap();
    let at_broker = here.world.caller_of(&endpoint.url);
    let refused = at_broker.get(&format!("/?{query}")).await;
    assert_eq!(refused.0, 401, "it is for the node: {refused:?}");
    let mut browser = here.caller(&endpoint).await;
    let refused = browser.get(&format!("/?{of_broker}"), &[]).await;
    assert_eq!(refused.0, 401, "it is for the broker: {refused:?}");

    let path = format!("/lab?a=b&{query}");
    let opened = browser.send("GET", &path, (&[], Body::empty())).await;
    assert_eq!(opened.status(), 303);
    assert_eq!(opened.headers()["location"], "/lab?a=b");
    let cookie = opened.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(
        cookie.starts_with("__Host-nearlight-endpoint=") && cookie.ends_with("; Secure"),
        "{cookie}"
    );
    assert_eq!(browser.get(&path, &[]).await.0, 401, "it works once");
    let ticket = query.split_once('=').unwrap().1;
    assert_eq!(browser.status(ticket).await, 401, "it opens nothing itself");

    let pair = cookie.split(';').next().unwrap();
    let (status, seen) = browser.get("/", &[("cookie", pair)]).await;
    assert_eq!(status, 200);
    assert!(!seen.contains("nearlight-endpoint"), "{seen}");
    let own = endpoint.direct_url.as_ref().unwrap().trim_end_matches('/');
    for (origin, expected) in [(own, 200), ("https://evil.example", 403), ("null", 403)] {
        let lines = [("cookie", pair), ("origin", origin)];
        assert_eq!(browser.get("/", &lines).await.0, expected, "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_go_on_when_no_broker_is_left() {
    let (here, upstream) = (Here::start().await, Upstream::http().await);
    let session = here.world.job(&[("api", upstream.at)]).await;
    let endpoint = here.endpoint(&session).await;
    let mut before = here.caller(&endpoint).await;
    assert_eq!(before.status(&endpoint.ticket).await, 200);
    here.world.rig.stop().await;
    let jobs_listen = here.world.rig.broker.jobs_listen.unwrap();
    eventually("the broker to be gone", || async {
        TcpStream::connect(jobs_listen).await.is_err()
    })
    .await;
    assert_eq!(before.status(&endpoint.ticket).await, 200);
    let mut after = here.caller(&endpoint).await;
    assert_eq!(after.status(&endpoint.ticket).await, 200);
    assert_eq!(after.status("theirs").await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_sent_to_a_node_of_its_own_address_once_it_is_vetted() {
    let (here, upstream) = (Here::start().await, Upstream::http().await);
    let session = here.world.job(&[("api", upstream.at)]).await;
    assert!(here.endpoint(&session).await.direct_url.is_some());
    let node = format!("/v1/nodes/{}/vet", here.world.node.id);
    let undone = here.world.owner.delete(&node).await;
    assert_eq!(undone.status, 204, "{undone:?}");
    eventually("the node to be anybody's", || async {
        here.endpoint(&session).await.direct_url.is_none()
    })
    .await;
    // Nor is there one where a node has none.
    let without = World::start().await;
    let session = without.job(&[("api", upstream.at)]).await;
    let endpoint = without.endpoint(&session, json!({})).await;
    let of_node = (
        endpoint.direct_url,
        endpoint.direct_open_url,
        endpoint.direct_expires_at,
    );
    assert_eq!(of_node, (None, None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_says_which_session_is_asked() {
    let (here, upstream) = (Here::start().await, Upstream::http().await);
    let session = here.world.job(&[("api", upstream.at)]).await;
    let endpoint = here.endpoint(&session).await;
    let host = host_of(endpoint.direct_url.as_ref().unwrap());
    let stream = here.connect(host, b"http/1.1").await;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    Shutdown::new().spawn(connection);
    let request = Request::get("/")
        .header("host", "ses-00000000000000000000000000.node.example")
        .header("authorization", bearer(&endpoint.ticket))
        .body(Body::empty())
        .unwrap();
    let other = sender.send_request(request).await.unwrap();
    assert_eq!(read(other).await.0, 404, "the host says which session");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_ticket_is_for_its_node_alone() {
    let (here, upstream) = (Here::start().await, Upstream::http().await);
    let session = here.world.job(&[("api", upstream.at)]).await;
    let endpoint = here.endpoint(&session).await;
    let direct = endpoint.direct_ticket.clone().unwrap();
    assert_eq!(here.caller(&endpoint).await.status(&direct).await, 200);
    let at_broker = here.world.caller_of(&endpoint.url);
    let with = |ticket: &str| at_broker.with("authorization", &bearer(ticket));
    let (status, said) = with(&direct).get("/").await;
    assert_eq!(status, 401, "its operator has seen it: {said}");
    assert_eq!(with(&endpoint.ticket).get("/").await.0, 200);
    // A node that is not the one it is for, with the same broker's keys.
    let elsewhere = Here::start().await;
    let path = "/.well-known/jwks.json";
    let keys: serde_json::Value = jwks(&here.world, path).await;
    assert!(elsewhere.world.keys.learn(&keys));
    let ports = tickets(&[("api", upstream.at)]);
    elsewhere.world.table.open(session.clone(), ports);
    let mut other = elsewhere.caller(&endpoint).await;
    assert_eq!(other.status(&direct).await, 401);
    assert_eq!(
        other.status(&endpoint.ticket).await,
        200,
        "as programs of before"
    );
    elsewhere.world.table.close(&session);
    let gone = [
        other.status(&direct).await,
        other.status(&endpoint.ticket).await,
    ];
    assert_eq!(gone, [404, 410], "whose node it is not hears nothing");
    // It has the scope that was asked for.
    let reads = json!({ "methods": ["GET"], "path": "/v1" });
    let reads = here.world.endpoint(&session, reads).await;
    let direct = bearer(reads.direct_ticket.as_ref().unwrap());
    let mut caller = here.caller(&reads).await;
    let lines = [("authorization", direct.as_str())];
    assert_eq!(caller.get("/v1/a", &lines).await.0, 200);
    assert_eq!(caller.get("/a", &lines).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_reads_at_the_node_is_cut_though_the_container_goes_on() {
    let (here, upstream) = (Here::start().await, Upstream::http().await);
    let session = here.world.job(&[("api", upstream.at)]).await;
    let endpoint = here.endpoint(&session).await;
    let bearer = bearer(&endpoint.ticket);
    let lines = [("authorization", bearer.as_str())];
    let mut caller = here.caller(&endpoint).await;
    // Events of which the second one never comes, and an upload that has no end.
    let events = caller.send("GET", "/events", (&lines, Body::empty())).await;
    let mut events = events.into_body();
    assert!(events.frame().await.unwrap().is_ok());
    let (upload, uploads) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let uploads = futures_util::stream::unfold(uploads, |mut uploads| async move {
        Some((uploads.recv().await?, uploads))
    });
    let mut second = here.caller(&endpoint).await;
    let body = Body::from_stream(uploads);
    let token = bearer.clone();
    let uploading = Shutdown::new().spawn(async move {
        let url = format!("{}up", second.url);
        let request = Request::post(url).header("authorization", token).body(body);
        second.sender.send_request(request.unwrap()).await
    });
    upload.send(Ok(Bytes::from_static(b"a"))).await.unwrap();
    here.world.table.close(&session);
    let cut = tokio::time::timeout(PATIENCE, events.frame()).await;
    assert!(
        cut.expect("it is cut").unwrap().is_err(),
        "and not taken for whole"
    );
    let answered = tokio::time::timeout(PATIENCE, uploading).await;
    let answered = answered.expect("the upload ends").unwrap();
    assert!(
        answered.is_ok_and(|answer| answer.status() == 410),
        "its head was waited for"
    );
    drop(upload);
}
