//! What of a head reaches a container, and what is refused before it does.

use crate::http::PATIENCE;
use crate::upstream::Upstream;
use crate::world::{Caller, World};
use axum::body::Body;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn header<'a>(seen: &'a Value, name: &str) -> Vec<&'a str> {
    let all = seen["headers"].as_array().unwrap().iter();
    let named = all.filter(|pair| pair[0] == name);
    named.map(|pair| pair[1].as_str().unwrap()).collect()
}

/// What comes back for these bytes, on a connection that is then closed.
async fn raw(caller: &Caller, bytes: &str) -> String {
    let mut tcp = TcpStream::connect(caller.at).await.unwrap();
    tcp.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut answer));
    let _ = read.await.expect("it ends");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_sees_the_callers_host_and_nothing_of_who_asks() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("api", upstream.at)]).await;
    let caller = world.caller(&session).await;
    let request = caller
        .request("PATCH", "/v1/a%2Fb?x=1&y=%20")
        .header("x-forwarded-for", "192.0.2.1")
        .header("forwarded", "for=192.0.2.1")
        .header("x-forwarded-proto", "ftp")
        .header("x-nearlight-port", "admin")
        .header("x-nearlight-client", "192.0.2.1:1")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("cookie", "a=b; nearlight-endpoint=planted")
        .body(Body::from("body"))
        .unwrap();
    let (status, body) = crate::world::read(caller.send(request).await).await;
    assert_eq!(status, 200, "{body}");
    let seen: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(seen["method"], "PATCH");
    assert_eq!(seen["target"], "/v1/a%2Fb?x=1&y=%20");
    assert_eq!(seen["body"], "body");
    assert_eq!(header(&seen, "host"), [caller.host.as_str()]);
    assert_eq!(header(&seen, "x-forwarded-proto"), ["http"]);
    assert_eq!(header(&seen, "cookie"), ["a=b"]);
    for absent in [
        "authorization",
        "x-forwarded-for",
        "forwarded",
        "x-hop",
        "via",
    ] {
        assert!(header(&seen, absent).is_empty(), "{absent}: {seen}");
    }
    assert!(!body.contains("nearlight"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_two_ends_is_refused() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("api", upstream.at)]).await;
    let caller = world.caller(&session).await;
    let auth = caller.request("GET", "/").body(()).unwrap();
    let auth = auth.headers()["authorization"].to_str().unwrap().to_owned();
    let head = format!("host: {}\r\nauthorization: {auth}\r\n", caller.host);
    let smuggled = format!("0\r\n\r\nGET /smuggled HTTP/1.1\r\n{head}\r\n");
    let length = smuggled.len();
    for lines in [
        format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"),
        format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n"),
        "content-length: 5\r\ncontent-length: 6\r\n".to_owned(),
        "transfer-encoding: xchunked\r\n".to_owned(),
        "transfer-encoding: chunked, identity\r\n".to_owned(),
        "content-length: +5\r\n".to_owned(),
    ] {
        let request = format!("POST /first HTTP/1.1\r\n{head}{lines}\r\n{smuggled}");
        let answer = raw(&caller, &request).await;
        assert!(!answer.contains("smuggled"), "{lines}: {answer}");
        // A message that hyper itself repairs (the chunks count) is answered as one.
        let is_refused = answer.starts_with("HTTP/1.1 400");
        let is_one =
            answer.matches("HTTP/1.1 ").count() <= 1 && answer.contains("\"target\":\"/first\"");
        assert!(is_refused || is_one, "{lines}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_none_of_ours_learns_nothing() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("api", upstream.at)]).await;
    let caller = world.caller(&session).await;
    let unknown = "ses-00000000000000000000000000.localhost";
    let plain = format!("GET / HTTP/1.1\r\nconnection: close\r\nhost: {unknown}\r\n\r\n");
    let nothing = raw(&caller, &plain).await;
    assert!(nothing.starts_with("HTTP/1.1 404"), "{nothing}");
    let body = nothing.split("\r\n\r\n").nth(1).unwrap().to_owned();
    assert_eq!(body, "Not found\n");
    let (own, at) = (&caller.host, caller.at);
    for hosts in [
        "host: localhost\r\n".to_owned(),
        format!("host: {at}\r\n"),
        "host: play.example.org\r\n".to_owned(),
        format!("host: {own}\r\nhost: {unknown}\r\n"),
        format!("host: other--{unknown}\r\n"),
        format!("host: x@{own}\r\n"),
        "host: \r\n".to_owned(),
        String::new(),
    ] {
        let request = format!("GET / HTTP/1.1\r\nconnection: close\r\n{hosts}\r\n");
        let answer = raw(&caller, &request).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{hosts}: {answer}");
        assert_eq!(answer.split("\r\n\r\n").nth(1).unwrap(), body, "{hosts}");
    }
    let absolute =
        format!("GET http://{unknown}/ HTTP/1.1\r\nconnection: close\r\nhost: {own}\r\n\r\n");
    assert!(raw(&caller, &absolute).await.starts_with("HTTP/1.1 404"));
    let connect = format!("CONNECT {own} HTTP/1.1\r\nconnection: close\r\nhost: {own}\r\n\r\n");
    assert!(raw(&caller, &connect).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_http_2_is_carried_inside() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("api", upstream.at)]).await;
    let caller = world.caller(&session).await;
    let request = caller
        .request("GET", "/plain")
        .header("connection", "Upgrade, HTTP2-Settings")
        .header("upgrade", "h2c")
        .header("http2-settings", "AAMAAABkAAQCAAAAAAIAAAAA")
        .body(Body::empty())
        .unwrap();
    let (status, body) = crate::world::read(caller.send(request).await).await;
    assert_eq!(status, 200);
    let seen: Value = serde_json::from_str(&body).unwrap();
    for absent in ["upgrade", "connection", "http2-settings"] {
        assert!(header(&seen, absent).is_empty(), "{absent}: {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_the_container_does_not_make_is_its_plain_answer() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("api", upstream.at)]).await;
    let caller = world.caller(&session).await;
    let request = caller
        .request("GET", "/plain")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(Body::empty())
        .unwrap();
    let (status, body) = crate::world::read(caller.send(request).await).await;
    assert_eq!(status, 200, "{body}");
    let seen: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(seen["target"], "/plain");
    assert_eq!(header(&seen, "upgrade"), ["websocket"]);
    assert_eq!(header(&seen, "sec-websocket-key").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_sets_no_cookie_for_its_neighbours() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("api", upstream.at)]).await;
    let caller = world.caller(&session).await;
    let request = caller
        .request("GET", "/cookies")
        .body(Body::empty())
        .unwrap();
    let response = caller.send(request).await;
    assert_eq!(response.headers()["set-cookie"], "a=b; Path=/");
}
