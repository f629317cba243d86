//! The endpoint over TLS, as it stands on the internet: HTTP/2 and HTTP/1.1, and a cookie that stays there.

use crate::upstream::Upstream;
use crate::world::World;
use axum::body::Body;
use axum::http::{Request, Uri};
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use nearlight_kit::pki;
use nearlight_kit::shutdown::Shutdown;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

async fn connect(keys: &Path, world: &World, host: &str, protocol: &[u8]) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(world.rig.broker.jobs_listen.unwrap())
        .await
        .unwrap();
    let mut tls = ClientConfig::clone(&*pki::client_config(keys, "jobs").unwrap());
    tls.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let stream = TlsConnector::from(Arc::new(tls))
        .connect(name, tcp)
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_speak_either_http_over_tls() {
    let keys = tempfile::tempdir().unwrap();
    let identity = pki::Identity {
        spiffe: "spiffe://nearlight/jobs".to_owned(),
        dns: vec!["*.jobs.example".to_owned()],
        ips: Vec::new(),
    };
    let ca = pki::ensure_ca(keys.path()).unwrap();
    ca.issue(keys.path(), "jobs", identity).unwrap();
    let world = World::start_with(|parsed| {
        parsed.jobs.domain = "jobs.example".to_owned();
        parsed.jobs.cert = keys.path().join("jobs.pem");
        parsed.jobs.key = keys.path().join("jobs.key.pem");
        parsed.jobs.public_port = 443;
    })
    .await;
    let upstream = Upstream::http().await;
    let session = world.job(&[("api", upstream.at)]).await;
    let endpoint = world.endpoint(&session, json!({})).await;
    let url: Uri = endpoint.url.parse().unwrap();
    let host = url.authority().unwrap().as_str();
    assert_eq!((url.scheme_str(), url.port()), (Some("https"), None));
    let bearer = format!("Bearer {}", endpoint.ticket);

    let stream = connect(keys.path(), &world, host, b"h2").await;
    let (mut sender, connection) = http2::handshake(Shutdown::new(), TokioIo::new(stream))
        .await
        .unwrap();
    Shutdown::new().spawn(connection);
    let requests = (0..20).map(|n| {
        let request = Request::post(format!("{url}piece/{n}"))
            .header("authorization", &bearer)
            .body(Body::from(n.to_string()))
            .unwrap();
        sender.send_request(request)
    });
    for (n, response) in futures_util::future::join_all(requests)
        .await
        .into_iter()
        .enumerate()
    {
        let response = response.unwrap();
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let seen: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(seen["target"], format!("/piece/{n}"));
        assert_eq!(seen["body"], n.to_string());
        let host_line = json!(["host", host]);
        assert!(
            seen["headers"].as_array().unwrap().contains(&host_line),
            "{seen}"
        );
        assert!(
            seen["headers"]
                .as_array()
                .unwrap()
                .contains(&json!(["x-forwarded-proto", "https"]))
        );
    }

    let stream = connect(keys.path(), &world, host, b"http/1.1").await;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    Shutdown::new().spawn(connection);
    let once: Uri = endpoint.open_url.parse().unwrap();
    let request = Request::get(once.path_and_query().unwrap().as_str())
        .header("host", host)
        .body(Body::empty())
        .unwrap();
    let opened = sender.send_request(request).await.unwrap();
    assert_eq!(opened.status(), 303);
    let cookie = opened.headers()["set-cookie"].to_str().unwrap();
    assert!(
        cookie.starts_with("__Host-nearlight-endpoint=") && cookie.ends_with("; Secure"),
        "{cookie}"
    );
}
