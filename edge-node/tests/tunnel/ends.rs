//! Jobs that are not ready or over, nodes that go, tunnels that are cut or stolen.

use crate::http::PATIENCE;
use crate::rig::eventually;
use crate::upstream::Upstream;
use crate::world::{World, read, tickets, tls_of, tunnels};
use axum::body::Body;
use http_body_util::BodyExt;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::tunnel::{ALPN, UNKNOWN};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// A port on which nobody listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_does_not_listen_is_a_bad_gateway_that_says_what_to_do() {
    let world = World::start().await;
    let session = world.job(&[("api", nobody().await)]).await;
    let caller = world.caller(&session).await;
    let request = caller.request("GET", "/").body(Body::empty()).unwrap();
    let response = caller.send(request).await;
    assert_eq!(response.status(), 502);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    assert!(!response.headers().contains_key("x-nearlight-own"));
    let (_, body) = read(response).await;
    assert!(
        body.contains("job-unreachable") && body.contains("logs"),
        "{body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_answers_later_and_one_that_is_over_says_why() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let mut running = Vec::new();
    for _ in 0..4 {
        running.push(world.job(&[("api", upstream.at)]).await);
    }
    // The node's slots are taken.
    let waits = world.asked().await;
    let caller = world.caller(&waits).await;
    let request = caller.request("GET", "/").body(Body::empty()).unwrap();
    let response = caller.send(request).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "2");
    let (_, body) = read(response).await;
    assert!(
        body.contains("job-not-ready") && body.contains("queued"),
        "{body}"
    );

    let over = running.remove(0);
    let caller = world.caller(&over).await;
    assert_eq!(caller.get("/").await.0, 200);
    let path = format!("/v1/sessions/{over}");
    assert_eq!(world.owner.delete(&path).await.status, 202);
    eventually("the job to be over", || async {
        caller.get("/").await.0 == 410
    })
    .await;
    let (_, body) = caller.get("/").await;
    assert!(body.contains("session-ended"), "{body}");
    let (ask, nothing) = (format!("{path}/endpoint"), json!({}));
    let again = world.owner.post_json(&ask, &nothing).await;
    assert_eq!(again.status, 410, "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_closed_in_the_middle_is_cut() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("api", upstream.at)]).await;
    let caller = world.caller(&session).await;
    let request = caller
        .request("GET", "/hang?begin")
        .body(Body::empty())
        .unwrap();
    let mut body = caller.send(request).await.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    world.table.close(&session);
    let end = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap();
    assert!(end.unwrap().is_err(), "it does not look whole");
    eventually("the container to notice", || async {
        upstream.known.given_up.load(Ordering::SeqCst) == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_another_epoch_is_not_served() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.ready().await;
    let epoch = world.grants.lock().unwrap()[&session].epoch.0;
    let ports = || tickets(&[("api", upstream.at)]);
    world.table.open_at((session.clone(), epoch + 1), ports());
    let caller = world.caller(&session).await;
    let (status, body) = caller.get("/").await;
    assert_eq!(status, 503, "{body}");
    world.table.open_at((session.clone(), epoch), ports());
    eventually("the endpoint of this epoch", || async {
        caller.get("/").await.0 == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_goes_in_the_middle_cuts_its_requests_and_is_found_again() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("api", upstream.at)]).await;
    let caller = world.caller(&session).await;
    let request = caller
        .request("GET", "/hang?begin")
        .body(Body::empty())
        .unwrap();
    let mut body = caller.send(request).await.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    // The tunnels of this agent end, as they do when its process dies; the next agent has others.
    world.holds.store(true, Ordering::SeqCst);
    world.shutdown.token().cancel();
    let end = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap();
    assert!(end.unwrap().is_err(), "it does not look whole");

    let mut world = world;
    let next = Shutdown::new();
    let (table, again) = tunnels(&world.rig, &world.node, &next);
    table.open(session.clone(), tickets(&[("api", upstream.at)]));
    let asks = Shutdown::new().spawn(async move { caller.get("/again").await });
    let order = tokio::time::timeout(PATIENCE, world.held.recv())
        .await
        .unwrap();
    again.open(order.unwrap());
    assert_eq!(asks.await.unwrap().0, 200);
    next.token().cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_revoked_serves_nothing_more() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("api", upstream.at)]).await;
    let caller = world.caller(&session).await;
    let request = caller
        .request("GET", "/hang?begin")
        .body(Body::empty())
        .unwrap();
    let mut body = caller.send(request).await.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    let node = format!("/v1/nodes/{}", world.node.id);
    let revoked = world.rig.admin().delete(&node).await;
    assert!(revoked.status < 300, "{revoked:?}");
    let end = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap();
    assert!(end.unwrap().is_err(), "it does not look whole");
    let (status, _) = caller.get("/").await;
    assert!(matches!(status.as_u16(), 410 | 503), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_is_its_nodes_and_is_used_once() {
    let (mut world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("api", upstream.at)]).await;
    let caller = world.caller(&session).await;
    world.holds.store(true, Ordering::SeqCst);
    let asks = Shutdown::new().spawn(async move { caller.get("/").await });
    let order = tokio::time::timeout(PATIENCE, world.held.recv())
        .await
        .unwrap()
        .unwrap();

    let pki = world.rig.pki();
    let thief = world.rig.node(1);
    let show = |node| {
        let mut tls = ClientConfig::clone(&*tls_of(&pki, node).unwrap());
        tls.alpn_protocols = vec![ALPN.to_vec()];
        TlsConnector::from(Arc::new(tls))
    };
    let at = world.rig.broker.node_listen;
    let said = async |connector: TlsConnector, id: &str| {
        let name = ServerName::try_from("nearlight-broker").unwrap();
        let tcp = TcpStream::connect(at).await.unwrap();
        let mut tls = connector.connect(name, tcp).await.unwrap();
        tls.write_all(id.as_bytes()).await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, tls.read_u8()).await.unwrap();
        answer.unwrap()
    };
    assert_eq!(said(show(&thief), order.tunnel.as_str()).await, UNKNOWN);
    let other = nearlight_kit::ids::tunnel();
    assert_eq!(said(show(&world.node), other.as_str()).await, UNKNOWN);

    let (table, own) = tunnels(&world.rig, &world.node, &world.shutdown);
    table.open(session, tickets(&[("api", upstream.at)]));
    let id = order.tunnel.clone();
    own.open(order);
    assert_eq!(asks.await.unwrap().0, 200);
    assert_eq!(said(show(&world.node), id.as_str()).await, UNKNOWN);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_dialled_for_a_session_that_is_elsewhere() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let (here, elsewhere) = (
        world.job(&[("api", upstream.at)]).await,
        world.ready().await,
    );
    assert!(!world.table.is_open(&elsewhere));
    let caller = world.caller(&elsewhere).await;
    let (status, _) = caller.get("/").await;
    assert_eq!(status, 503, "its node holds no such endpoint");
    assert_eq!(world.caller(&here).await.get("/").await.0, 200);
}
