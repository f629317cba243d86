//! Webhooks, with an endpoint of the test's own that answers as it is told.

use crate::http::{Answer, Client};
use crate::isolation::tenant;
use crate::jobs::{ask, edge, job};
use crate::program::Program;
use crate::reclaim;
use crate::rig::{Rig, admin, eventually, id};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::control::SessionReport;
use ring::hmac;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const LOOPBACK: &str = "127.0.0.0/8";

/// What came to an endpoint.
#[derive(Clone, Debug)]
struct Came {
    headers: BTreeMap<String, String>,
    body: String,
}

impl Came {
    fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Whether one of the signatures is of this secret.
    fn is_signed_with(&self, secret: &str) -> bool {
        let secret = STANDARD.decode(secret.strip_prefix("whsec_").unwrap());
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.unwrap());
        let (id, at) = (self.id(), &self.headers["webhook-timestamp"]);
        let text = format!("{id}.{at}.{}", self.body);
        let mut signatures = self.headers["webhook-signature"].split(' ');
        signatures.any(|signature| {
            let tag = STANDARD.decode(signature.strip_prefix("v1,").unwrap());
            hmac::verify(&key, text.as_bytes(), &tag.unwrap()).is_ok()
        })
    }
}

/// What an endpoint answers from now on; nothing at all without a status line.
type Says = Arc<Mutex<Option<&'static str>>>;

/// An endpoint.
struct Endpoint {
    at: SocketAddr,
    says: Says,
    came: Arc<Mutex<Vec<Came>>>,
    tasks: Shutdown,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

impl Endpoint {
    async fn start(says: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Self {
            at: listener.local_addr().unwrap(),
            says: Arc::new(Mutex::new(says)),
            came: Arc::default(),
            tasks: Shutdown::new(),
        };
        let (says, came, tasks) = (
            endpoint.says.clone(),
            endpoint.came.clone(),
            endpoint.tasks.clone(),
        );
        endpoint.tasks.spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tasks.spawn(serve(tcp, says.clone(), came.clone()));
            }
        });
        endpoint
    }

    fn says(&self, line: Option<&'static str>) {
        *self.says.lock().unwrap() = line;
    }

    fn url(&self) -> String {
        format!("http://{}/hooks", self.at)
    }

    fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    async fn has(&self, count: usize) -> Vec<Came> {
        eventually("notices", || async { self.came().len() >= count }).await;
        self.came()
    }
}

async fn serve(mut tcp: TcpStream, says: Says, came: Arc<Mutex<Vec<Came>>>) {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            });
            if body.len() >= length.unwrap_or(0) {
                break (head.to_owned(), body.to_owned());
            }
        }
        let mut part = [0; 4096];
        match tcp.read(&mut part).await {
            Ok(n @ 1..) => bytes.extend_from_slice(&part[..n]),
            Ok(0) | Err(_) => return,
        }
    };
    let headers = head.lines().filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_lowercase(), value.to_owned()))
    });
    came.lock().unwrap().push(Came {
        headers: headers.collect(),
        body,
    });
    let line = *says.lock().unwrap();
    match line {
        Some(line) => {
            let answer =
                format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = tcp.write_all(answer.as_bytes()).await;
        }
        // Until whoever asked is gone.
        None => while matches!(tcp.read(&mut [0; 64]).await, Ok(1..)) {},
    }
}

async fn set(client: &Client, url: &str) -> Answer {
    let headers = [("content-type", "application/json")];
    let body = json!({ "url": url }).to_string();
    client.request("PUT", "/v1/webhook", &headers, &body).await
}

async fn order(client: &Client, path: &str) -> Answer {
    client.request("POST", path, &[], "").await
}

async fn rig() -> Rig {
    Rig::start_with(|config| config.webhook_networks = vec![LOOPBACK.to_owned()]).await
}

#[tokio::test]
async fn a_tenant_is_told_when_its_job_is_ready_and_when_it_is_over() {
    let rig = rig().await;
    let mut edge = edge(&rig, 2).await;
    let endpoint = Endpoint::start(Some("204 No Content")).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let (_, _, other) = tenant(&rig, "b").await;
    let given = set(&client, &endpoint.url()).await;
    assert_eq!(given.status, 200, "{given:?}");
    let secret = given.at("/secret");
    let moved = set(&client, &endpoint.url()).await;
    assert!(moved.json().get("secret").is_none(), "it is shown once");
    let shown = client.get("/v1/webhook").await;
    assert!(!shown.body.contains("whsec_"), "{shown:?}");

    // Nobody else's jobs, and no apps.
    ask(&other, &job(&json!({}))).await;
    let theirs = edge.start_next().await;
    let labels = json!({ "labels": { "customer": "acme" } });
    let session = id(&ask(&client, &job(&labels)).await);
    let started = edge.start_next().await;
    let ready = endpoint.has(1).await.remove(0);
    assert_eq!(ready.json()["type"], "session.ready");
    assert_eq!(ready.json()["data"]["session"], session.as_str());
    assert_eq!(ready.json()["data"]["labels"]["customer"], "acme");
    assert!(ready.is_signed_with(&secret), "{ready:?}");

    let rotated = order(&client, "/v1/webhook/rotate").await.at("/secret");
    assert_ne!(rotated, secret);
    let reason = nearlight_protocol::api::EndReason::JobFailed;
    let detail = "exit status 3".to_owned();
    edge.report(&started, SessionReport::Ended { reason, detail })
        .await;
    let ended = endpoint.has(2).await.remove(1);
    let told = ended.json();
    assert_eq!(told["type"], "session.ended");
    assert_eq!(told["data"]["reason"], "job-failed");
    assert_eq!(told["data"]["detail"], "exit status 3");
    assert!(ended.is_signed_with(&secret) && ended.is_signed_with(&rotated));
    assert_ne!(ended.id(), ready.id());
    eventually("both to be delivered", || async {
        let list = client.get("/v1/webhook/deliveries").await;
        ["/deliveries/0/state", "/deliveries/1/state"].map(|at| list.at(at))
            == ["delivered", "delivered"].map(str::to_owned)
    })
    .await;
    let path = format!("/v1/sessions/{}", theirs.start.session);
    assert_eq!(other.delete(&path).await.status, 202);
    edge.stop_next(&theirs).await;
    assert_eq!(client.delete("/v1/webhook").await.status, 204);
    client.get("/v1/webhook").await.refused(404, "not-found");
    assert_eq!(endpoint.came().len(), 2);
}

/// The first wait is 3.75 to 5 seconds: that is what this test takes.
#[tokio::test]
async fn what_is_not_taken_is_tried_again_under_its_id_and_a_redirect_is_not_followed() {
    let rig = rig().await;
    let endpoint = Endpoint::start(Some("307 Temporary Redirect\r\nlocation: /else")).await;
    let (_, _, client) = tenant(&rig, "a").await;
    set(&client, &endpoint.url()).await;
    let sent = order(&client, "/v1/webhook/test").await;
    assert_eq!(sent.status, 202, "{sent:?}");
    eventually("the first try to fail", || async {
        let list = client.get("/v1/webhook/deliveries").await;
        list.at("/deliveries/0/problem").contains("no redirect")
    })
    .await;
    let list = client.get("/v1/webhook/deliveries").await;
    assert_eq!(list.at("/deliveries/0/attempts"), "1");
    assert_eq!(list.at("/deliveries/0/state"), "waiting");
    assert_eq!(client.get("/v1/webhook").await.at("/waiting"), "1");
    endpoint.says(Some("200 OK"));
    let came = endpoint.has(2).await;
    assert_eq!(came[0].id(), sent.at("/id"));
    assert_eq!(came[1].id(), came[0].id());
    eventually("it to be delivered", || async {
        let list = client.get("/v1/webhook/deliveries").await;
        list.at("/deliveries/0/state") == "delivered"
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_that_hangs_holds_up_nobody_else() {
    let rig = rig().await;
    let dead = Endpoint::start(None).await;
    let well = Endpoint::start(Some("200 OK")).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let (_, _, other) = tenant(&rig, "b").await;
    set(&client, &dead.url()).await;
    set(&other, &well.url()).await;
    for _ in 0..40 {
        assert_eq!(order(&client, "/v1/webhook/test").await.status, 202);
    }
    dead.has(4).await;
    assert_eq!(order(&other, "/v1/webhook/test").await.status, 202);
    well.has(1).await;
    assert_eq!(dead.came().len(), 4, "so many of one owner at a time");
}

#[tokio::test]
async fn an_endpoint_that_is_not_public_is_refused_or_never_dialled() {
    let rig = Rig::start().await;
    let endpoint = Endpoint::start(Some("200 OK")).await;
    let (_, _, client) = tenant(&rig, "a").await;
    for url in [
        endpoint.url().as_str(),
        "http://example.org/",
        "file:///x",
        "",
    ] {
        set(&client, url).await.refused(400, "bad-request");
    }
    let port = endpoint.at.port();
    for url in [
        format!("https://127.0.0.1:{port}/"),
        format!("https://%31%32%37.0.0.1:{port}/"),
        format!("https://2130706433:{port}/"),
        "https://169.254.169.254/latest/".to_owned(),
    ] {
        let refused = set(&client, &url).await;
        refused.refused(400, "bad-request");
        assert!(refused.body.contains("not public"), "{refused:?}");
    }
    // What a name stands for is seen when there is something to post.
    let named = format!("https://localhost:{port}/");
    assert_eq!(set(&client, &named).await.status, 200);
    order(&client, "/v1/webhook/test").await;
    eventually("it to be refused", || async {
        let list = client.get("/v1/webhook/deliveries").await;
        list.at("/deliveries/0/problem").contains("not public")
    })
    .await;
    assert_eq!(endpoint.came().len(), 0);
}

#[tokio::test]
async fn a_broker_that_is_killed_while_it_delivers_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("more.toml");
    std::fs::write(&config, format!("webhook_networks = [\"{LOOPBACK}\"]\n")).unwrap();
    let args = ["--config", config.to_str().unwrap()];
    let endpoint = Endpoint::start(None).await;
    let broker = Program::start_with(dir.path(), &args).await;
    let client = admin(dir.path(), broker.listen);
    let secret = set(&client, &endpoint.url()).await.at("/secret");
    let sent = order(&client, "/v1/webhook/test").await;
    endpoint.has(1).await;
    broker.kill().await;
    endpoint.says(Some("200 OK"));

    let broker = Program::start_with(dir.path(), &args).await;
    let client = admin(dir.path(), broker.listen);
    let came = endpoint.has(2).await;
    assert_eq!(
        came[1].id(),
        sent.at("/id"),
        "without waiting for the lease"
    );
    assert!(came[1].is_signed_with(&secret));
    eventually("it to be delivered", || async {
        let list = client.get("/v1/webhook/deliveries").await;
        list.at("/deliveries/0/state") == "delivered"
    })
    .await;
    assert_eq!(endpoint.came().len(), 2);
}

#[tokio::test]
async fn a_tenant_is_told_once_when_a_job_loses_its_capacity_and_that_it_moves() {
    let rig = rig().await;
    let mut first = edge(&rig, 1).await;
    let endpoint = Endpoint::start(Some("204 No Content")).await;
    let (_, _, client) = tenant(&rig, "a").await;
    assert_eq!(set(&client, &endpoint.url()).await.status, 200);
    let movable = json!({ "restart": { "elsewhere": true, "max": 1 } });
    let session = id(&ask(&client, &job(&movable)).await);
    let started = first.start_next().await;
    endpoint.has(1).await;
    let node = first.node.clone();
    let later = json!({ "reclaim_s": 3600, "reason": "sold" });
    assert_eq!(
        reclaim::drain(&rig.admin(), &node, &later).await.status,
        204
    );
    reclaim::told(&mut first, vec![session.clone()]).await;
    let notice = endpoint.has(2).await.remove(1).json();
    assert_eq!(notice["type"], "session.preempted");
    assert_eq!(notice["data"]["reason"], "preempted");
    assert_eq!(notice["data"]["detail"], "sold");
    let path = format!("/v1/sessions/{session}");
    let at = client.get(&path).await.json()["preempted_at"].clone();
    assert_eq!(notice["data"]["ends_unix_ms"], at);

    // A broker that starts again finds it again, and has nothing to add.
    drop(first);
    let rig = rig.restart().await;
    let mut first = rig.attach(&node, vec![started.running(false)]).await;
    reclaim::told(&mut first, vec![session.clone()]).await;
    let now = json!({ "reclaim_s": 1 });
    assert_eq!(reclaim::drain(&rig.admin(), &node, &now).await.status, 204);
    reclaim::told(&mut first, vec![session.clone()]).await;
    let (command, reason) = first.expect_stop(&started.start.session).await;
    assert_eq!(reason, nearlight_protocol::api::EndReason::Preempted);
    first.ack(command).await;
    let detail = String::new();
    first
        .report(&started, SessionReport::Ended { reason, detail })
        .await;
    let mut second = edge(&rig, 1).await;
    let again = second.start_next().await;
    assert_eq!(again.start.session.to_string(), session);
    let came = endpoint.has(5).await;
    let mut kinds: Vec<_> = came
        .iter()
        .map(|came| came.json()["type"].clone())
        .collect();
    kinds.sort_by_key(ToString::to_string);
    let expected = ["moving", "preempted", "preempted", "ready", "ready"];
    assert_eq!(kinds, expected.map(|kind| json!(format!("session.{kind}"))));
}
