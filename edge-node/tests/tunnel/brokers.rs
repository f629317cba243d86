//! Two brokers on one PostgreSQL: a job is asked for at the one that does not hold it.

use crate::rig::{Rig, eventually};
use crate::upstream::Upstream;
use crate::world::{Caller, World, tickets};
use axum::body::Body;
use axum::http::HeaderValue;
use futures_util::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// A PostgreSQL of the test's own.
pub(crate) struct Postgres {
    dir: PathBuf,
    pub(crate) url: String,
}

impl Postgres {
    fn script(args: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/postgres.sh");
        let output = Command::new(script).args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn start() -> Option<Self> {
        if std::env::var_os("NEARLIGHT_WITHOUT_POSTGRES").is_some() {
            return None;
        }
        let output = Self::script(&["start"]);
        let mut lines = output.lines();
        Some(Self {
            dir: lines.next().unwrap().into(),
            url: lines.next().unwrap().to_owned(),
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        Self::script(&["drop", self.dir.to_str().unwrap()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_broker_takes_a_request_and_the_holder_decides() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let peer = |parsed: &mut session_broker::config::Parsed, name: &str| {
        parsed.ledger = postgres.url.clone();
        parsed.peers.name = name.to_owned();
        parsed.peers.listen = "127.0.0.1:0".to_owned();
        parsed.jobs.listen = "127.0.0.1:0".to_owned();
    };
    let holder = World::start_with(|parsed| peer(parsed, "b")).await;
    let pki = holder.rig.pki();
    let other = Rig::start_with(|parsed| {
        peer(parsed, "a");
        parsed.pki = pki;
    })
    .await;
    let upstream = Upstream::http().await;
    let (echo, _echo) = Upstream::echo().await;
    let session = holder.ready().await;
    let ports = tickets(&[("api", upstream.at), ("ws", echo)]);
    holder.table.open(session.clone(), ports);
    let at_other = |caller: Caller| Caller {
        at: other.broker.jobs_listen.unwrap(),
        ..caller
    };
    let caller = at_other(holder.caller(&session).await);
    eventually("the brokers to meet", || async {
        caller.get("/").await.0 == 200
    })
    .await;

    let (_, seen) = caller
        .with("x-forwarded-for", "192.0.2.1")
        .post("/a?b", "body")
        .await;
    assert!(
        seen.contains("\"body\":\"body\"") && seen.contains("/a?b"),
        "{seen}"
    );
    assert!(
        !seen.contains("nearlight") && !seen.contains("192.0.2.1"),
        "{seen}"
    );

    // Nothing is gathered on this way either.
    let request = caller
        .request("GET", "/events")
        .body(Body::empty())
        .unwrap();
    let mut body = caller.send(request).await.into_body();
    for n in 0..5 {
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), format!("data: {n}\n\n"));
        assert_eq!(caller.post("/seen", Body::empty()).await.0, 200);
    }

    let of_ws = holder.endpoint(&session, json!({ "port": "ws" })).await;
    let ws = at_other(holder.caller_of(&of_ws.url));
    let mut request = format!("ws://{}/", ws.host).into_client_request().unwrap();
    let bearer = HeaderValue::from_str(&format!("Bearer {}", of_ws.ticket)).unwrap();
    request.headers_mut().insert("authorization", bearer);
    let tcp = TcpStream::connect(ws.at).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, tcp).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    let back = socket.next().await.unwrap().unwrap();
    assert_eq!(back.into_text().unwrap(), "hello");

    let nobody = at_other(holder.caller_of(&of_ws.url));
    assert_eq!(nobody.get("/").await.0, 401);
    let absent = holder.caller_of("http://ses-00000000000000000000000000.localhost/");
    assert_eq!(at_other(absent).get("/").await.0, 404);

    let app = crate::rig::id(&holder.owner.create("demo").await);
    asks_the_inside(&other, &app).await;
}

/// What is asked of the inside goes the same way, an archive piece by piece: it is the holder that says that an
/// app has none, or that it is another's.
async fn asks_the_inside(other: &Rig, session: &str) {
    let archive = "x".repeat(200_000);
    let tar = ("content-type", "application/x-tar");
    let socket = ("upgrade", "websocket");
    for (method, tail, header, body) in [
        ("GET", "logs?tail=1", tar, ""),
        ("GET", "files?path=/tmp", tar, ""),
        ("PUT", "files?path=/tmp", tar, archive.as_str()),
        ("GET", "exec", socket, ""),
    ] {
        let path = format!("/v1/sessions/{session}/{tail}");
        let answer = other.admin().request(method, &path, &[header], body).await;
        assert!(
            [400, 403].contains(&answer.status),
            "{method} {tail}: {answer:?}"
        );
    }
}
