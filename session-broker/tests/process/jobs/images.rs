//! What a job's tag becomes: a digest, of the registry or of the nodes that built it.

use super::*;
use nearlight_kit::shutdown::Shutdown;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const MANIFEST: &str = r#"{"schemaVersion":2}"#;

/// A registry with one image, `team/server:2`, for whoever has its token.
struct Registry {
    at: SocketAddr,
    asked: Arc<AtomicUsize>,
    tasks: Shutdown,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

impl Registry {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let tasks = Shutdown::new();
        let (count, stop) = (asked.clone(), tasks.token());
        tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stop.cancelled() => return,
                };
                let (mut tcp, _) = accepted.unwrap();
                let mut bytes = vec![0; 8192];
                let mut len = 0;
                while !bytes[..len].windows(4).any(|end| end == b"\r\n\r\n") {
                    match tcp.read(&mut bytes[len..]).await {
                        Ok(n @ 1..) => len += n,
                        Ok(0) | Err(_) => break,
                    }
                }
                count.fetch_add(1, Ordering::Relaxed);
                let head = String::from_utf8_lossy(&bytes[..len]).into_owned();
                let _ = tcp.write_all(answer(at, &head).as_bytes()).await;
            }
        });
        Self { at, asked, tasks }
    }

    fn digest() -> String {
        format!("sha256:{:x}", Sha256::digest(MANIFEST))
    }
}

fn answer(at: SocketAddr, head: &str) -> String {
    let has = |text: &str| head.to_ascii_lowercase().contains(text);
    let (status, more, body) = if head.starts_with("GET /token?") {
        ("200 OK", String::new(), r#"{"token":"for-all"}"#)
    } else if !has("authorization: bearer for-all") {
        let realm = format!(
            "www-authenticate: Bearer realm=\"http://{at}/token\",service=\"here\",\
             scope=\"repository:team/server:pull\"\r\n"
        );
        ("401 Unauthorized", realm, "{}")
    } else if head.starts_with("GET /v2/team/server/manifests/2 ") {
        ("200 OK", String::new(), MANIFEST)
    } else {
        ("404 Not Found", String::new(), "{}")
    };
    format!(
        "HTTP/1.1 {status}\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn of(image: &str) -> Value {
    job(&json!({ "image": image }))
}

#[tokio::test]
async fn a_tag_is_pinned_to_the_digest_that_its_registry_has() {
    let registry = Registry::start().await;
    let at = registry.at;
    let rig = Rig::start_with(|config| config.private_registries = vec![at.to_string()]).await;
    let mut edge = edge(&rig, 2).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let tagged = of(&format!("{at}/team/server:2"));
    let keyed = client.with("idempotency-key", "once");
    let created = keyed.post_json("/v1/sessions", &tagged).await;
    let session = id(&created);
    let started = edge.start_next().await;
    let spec = started.start.work.job().unwrap();
    let pinned = format!("{at}/team/server@{}", Registry::digest());
    assert_eq!(spec.image, pinned);
    assert_eq!(
        registry.asked.load(Ordering::Relaxed),
        3,
        "refused, token, manifest"
    );
    for (image, words) in [("team/other:2", "404"), ("team/server", "404")] {
        let answer = ask(&client, &of(&format!("{at}/{image}"))).await;
        answer.refused(400, "bad-request");
        let detail = answer.at("/detail");
        assert!(
            detail.contains(words) && detail.contains("@sha256:"),
            "{detail}"
        );
    }
    // The registry is gone: who asks again gets the job of then, who asks anew is told what to do.
    drop(registry);
    eventually("it to be gone", || async {
        tokio::net::TcpStream::connect(at).await.is_err()
    })
    .await;
    let again = keyed.post_json("/v1/sessions", &tagged).await;
    assert_eq!((again.status, again.at("/id")), (201, session));
    let answer = ask(&client, &tagged).await;
    answer.refused(400, "bad-request");
    assert!(answer.at("/detail").contains("NAME@sha256:"), "{answer:?}");
    assert_eq!(ask(&client, &of(&pinned)).await.status, 201);
}

#[tokio::test]
async fn a_registry_with_a_private_address_is_not_asked() {
    let registry = Registry::start().await;
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let tagged = of(&format!("{}/team/server:2", registry.at));
    ask(&client, &tagged).await.refused(400, "bad-request");
    assert_eq!(registry.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_image_that_nodes_built_is_pinned_to_its_id_and_runs_where_it_is() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let [one, other] = ["1a", "2b"].map(|id| format!("tools:latest@sha256:{}", id.repeat(32)));
    let absent = ask(&client, &of("tools")).await;
    absent.refused(400, "bad-request");
    assert!(absent.at("/detail").contains("no node"), "{absent:?}");
    let built = |image: &str| Node {
        images: vec!["tools:latest".to_owned(), image.to_owned()],
        ..job_node(&rig, 1)
    };
    let mut first = edge_of(&rig, built(&one)).await;
    let mut second = edge_of(&rig, built(&other)).await;
    let mut third = edge_of(&rig, built(&other)).await;
    let _without = edge(&rig, 4).await;
    // Most have the other one.
    let mut sessions = Vec::new();
    for _ in 0..2 {
        sessions.push(id(&ask(&client, &of("tools")).await));
    }
    for edge in [&mut second, &mut third] {
        let started = edge.start_next().await;
        assert_eq!(started.start.work.job().unwrap().image, other);
        assert!(sessions.contains(&started.start.session.to_string()));
    }
    // Neither a node without it nor one with another build will do.
    let waits = id(&ask(&client, &of("tools")).await);
    let path = format!("/v1/sessions/{waits}/placement");
    eventually("it to be told why it waits", || async {
        let placement = client.get(&path).await.json();
        let by = placement["excluded"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let count = |reason: &str| {
            by.iter()
                .find(|by| by["reason"] == reason)
                .map(|by| by["nodes"].clone())
        };
        count("image-missing") == Some(json!(2)) && count("slots-taken") == Some(json!(2))
    })
    .await;
    let named = id(&ask(&client, &of(&one)).await);
    let started = first.start_next().await;
    assert_eq!(started.start.session.to_string(), named);
}

#[tokio::test]
async fn nodes_that_nobody_vetted_do_not_decide_what_a_name_is() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let [ours, theirs] = ["1a", "2b"].map(|id| format!("tools:latest@sha256:{}", id.repeat(32)));
    let built = |image: &str| Node {
        images: vec!["tools:latest".to_owned(), image.to_owned()],
        ..job_node(&rig, 1)
    };
    let mut joined = Vec::new();
    for _ in 0..3 {
        let node = built(&theirs);
        joined.push(rig.attach(&node, Vec::new()).await);
        rig.online(&node).await;
    }
    let mut edge = edge_of(&rig, built(&ours)).await;
    assert_eq!(ask(&client, &of("tools")).await.status, 201);
    let started = edge.start_next().await;
    assert_eq!(started.start.work.job().unwrap().image, ours);
}
