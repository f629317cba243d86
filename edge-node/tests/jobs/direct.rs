//! Callers at the real node itself: a real container behind it, and no broker in the end.

use super::NOTHING;
use super::support::jobs::{ready, served, site, stopped, traces};
use nearlight_protocol::id::SessionId;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(60);

/// The status and the body of what a caller is answered.
pub(super) async fn call(at: SocketAddr, session: &SessionId, ticket: &str) -> (u16, String) {
    let host = session.as_str().replace('_', "-");
    let request = format!(
        "GET /env HTTP/1.1\r\nHost: {host}.localhost\r\nAuthorization: Bearer {ticket}\r\nConnection: close\r\n\r\n"
    );
    let asked = async {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, body.to_owned())
}

#[tokio::test]
async fn a_job_is_called_at_its_node_also_while_no_broker_is_there() {
    let Some(mut site) = site().await else { return };
    site.config = "[jobs.direct]\nlisten = \"127.0.0.1:0\"\n".to_owned();
    let mut agent = site.agent();
    let mut edge = site.broker.attach().await;
    let offered = edge.inventory.jobs.clone().unwrap().direct.unwrap();
    assert_eq!(
        (offered.domain.as_str(), offered.secure),
        ("localhost", false)
    );
    let told = agent.ready();
    let at: SocketAddr = told["direct"].as_str().unwrap().parse().unwrap();
    assert_eq!(at.port(), offered.port);

    let session = ready(&site, &mut edge, 0, 1, served()).await;
    let ticket = site.broker.ticket(&session);
    let (status, env) = call(at, &session, &ticket).await;
    assert!(status == 200 && env.contains("HOME="), "{status} {env}");
    let other = site.broker.ticket(&SessionId::from_parts(1, [1; 10]));
    for wrong in ["nlk_key", "theirs", &other] {
        assert_eq!(call(at, &session, wrong).await.0, 401, "{wrong}");
    }

    drop(edge);
    let (status, env) = call(at, &session, &ticket).await;
    assert!(status == 200 && env.contains("HOME="), "{status} {env}");

    let mut edge = site.broker.attach().await;
    stopped(&mut edge, &session).await;
    assert_eq!(call(at, &session, &ticket).await.0, 410);
    assert_eq!(traces(&site), NOTHING);
}
