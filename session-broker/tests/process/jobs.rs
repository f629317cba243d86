//! Jobs: a tenant's container in place of an app, from what is asked for to its end.

use crate::edge::{Edge, Node};
use crate::http::{Answer, Client};
use crate::isolation::{bearer, tenant};
use crate::rig::{Rig, eventually, id, phase};
use nearlight_protocol::api::{EndReason, StartProgress};
use nearlight_protocol::control::{JobHost, SessionReport};
use nearlight_protocol::job::ContainerRuntime;
use serde_json::{Value, json};

mod clusters;
mod elsewhere;
mod gpus;
mod holding;
mod images;
mod placing;
mod proved;
mod secrets;
mod volumes;

pub(crate) use secrets::traces_of;

/// An image that is pinned already.
fn image() -> String {
    format!("registry.example/team/server:2@sha256:{}", "0a".repeat(32))
}

/// A job of that image, with more over it.
pub(crate) fn job(more: &Value) -> Value {
    let mut job = json!({ "image": image() });
    let more = more.as_object().unwrap().clone();
    job.as_object_mut().unwrap().extend(more);
    json!({ "job": job })
}

pub(crate) async fn ask(client: &Client, body: &Value) -> Answer {
    let key = nearlight_kit::ids::request().to_string();
    let client = client.with("idempotency-key", &key);
    client.post_json("/v1/sessions", body).await
}

/// What a node with Docker and enough of everything offers.
pub(crate) fn host() -> JobHost {
    JobHost {
        runtimes: vec![ContainerRuntime::Runc],
        disk_mib: 65_536,
        volumes: Some(Vec::new()),
        ..JobHost::default()
    }
}

fn job_node(rig: &Rig, slots: usize) -> Node {
    Node {
        jobs: Some(host()),
        ..rig.node(slots)
    }
}

pub(crate) async fn vet(client: &Client, node: &Node) {
    let path = format!("/v1/nodes/{}/vet", node.id);
    let vetted = client.request("POST", &path, &[], "").await;
    assert_eq!(vetted.status, 204);
}

/// Attaches a vetted node that takes jobs.
pub(crate) async fn edge(rig: &Rig, slots: usize) -> Edge {
    edge_of(rig, job_node(rig, slots)).await
}

async fn edge_of(rig: &Rig, node: Node) -> Edge {
    let edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
    vet(&rig.admin(), &node).await;
    edge
}

pub(crate) async fn ended(client: &Client, session: &str) -> Value {
    let path = format!("/v1/sessions/{session}");
    eventually("its end", || async {
        client.get(&path).await.at("/state/phase") == "ended"
    })
    .await;
    client.get(&path).await.json()["state"].clone()
}

#[tokio::test]
async fn a_job_is_placed_started_with_its_spec_ready_without_a_viewer_and_ended() {
    let rig = Rig::start().await;
    let mut edge = edge(&rig, 1).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let wanted = job(&json!({
        "command": ["serve", "--port", "8000"],
        "env": { "MODE": "fast" },
        "resources": { "cpu_milli": 2000, "mem_mib": 4096 },
        "ports": [{ "name": "http", "port": 8000 }],
        "labels": { "customer": "acme" },
    }));
    let created = ask(&client, &wanted).await;
    let session = id(&created);
    assert_eq!(created.at("/kind"), "job");
    assert_eq!(created.at("/title"), "team/server:2");
    assert_eq!(created.at("/labels/customer"), "acme");
    assert_eq!(created.at("/play_path"), "");
    assert!(created.json().get("app").is_none(), "{created:?}");
    let mut events = client.events(&session).await;

    let started = edge.expect_start().await;
    let spec = started.start.work.job().expect("a job");
    assert_eq!(spec.image, image());
    assert_eq!(spec.command, ["serve", "--port", "8000"]);
    assert_eq!(
        (spec.env["MODE"].as_str(), spec.ports[0].port),
        ("fast", 8000)
    );
    assert!(started.start.secrets.is_empty());
    edge.ack(started.command).await;
    let starting = events.until("starting").await;
    assert_eq!(starting["state"]["progress"]["step"], "starting-container");
    let progress = StartProgress::WaitingForHealth { restarts: 0 };
    edge.report(&started, SessionReport::Progress { progress })
        .await;
    while events.next().await["state"]["progress"]["step"] != "waiting-for-health" {}
    edge.report(&started, SessionReport::Ready).await;
    events.until("ready").await;
    for path in ["tickets", "watch-links"] {
        let asked = format!("/v1/sessions/{session}/{path}");
        let body = match path {
            "tickets" => json!({}),
            _ => json!({ "expires_s": 60 }),
        };
        client
            .post_json(&asked, &body)
            .await
            .refused(400, "bad-request");
    }

    let path = format!("/v1/sessions/{session}");
    assert_eq!(client.delete(&path).await.status, 202);
    assert_eq!(edge.stop_next(&started).await, EndReason::PlayerEnded);
    assert_eq!(ended(&client, &session).await["reason"], "player-ended");
    let usage = rig.ledger.usage(session.parse().unwrap()).await.unwrap();
    assert!(usage.len() == 1 && usage[0].ended_ms.is_some(), "{usage:?}");
}

#[tokio::test]
async fn a_job_that_nobody_calls_ends_as_idle_and_requests_keep_it() {
    let rig = Rig::start().await;
    let mut edge = edge(&rig, 1).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let ports = json!([{ "name": "http", "port": 8000 }]);
    let idle = job(&json!({ "time": { "idle_s": 2 }, "ports": ports }));
    let session = id(&ask(&client, &idle).await);
    let started = edge.start_next().await;
    let mut events = client.events(&session).await;
    let before = events.until("ready").await["ends_at"].as_u64().unwrap();
    edge.report(&started, SessionReport::InputSeen).await;
    while events.next().await["ends_at"].as_u64().unwrap() <= before {}
    assert_eq!(edge.stop_next(&started).await, EndReason::IdleTimeout);
    assert_eq!(ended(&client, &session).await["reason"], "idle-timeout");
}

#[tokio::test]
async fn a_job_waits_in_the_queue_for_as_long_as_it_says() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let brief = job(&json!({ "time": { "queue_s": 1 } }));
    let session = id(&ask(&client, &brief).await);
    let state = ended(&client, &session).await;
    assert_eq!(state["reason"], "queue-timeout");
    // Its place in the quota is free again, and its key stands for it still.
    let usage = rig.ledger.usage(session.parse().unwrap()).await.unwrap();
    assert!(usage.is_empty(), "nothing ran, and nothing is billed");
}

#[tokio::test]
async fn lists_are_filtered_by_kind_and_labels() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let labelled = |customer: &str, team: &str| {
        job(&json!({ "labels": { "customer": customer, "team": team } }))
    };
    let one = id(&ask(&client, &labelled("acme", "a&b")).await);
    let two = id(&ask(&client, &labelled("acme", "c")).await);
    let app = id(&client.create("demo").await);
    let [one, two, app] = [&one, &two, &app].map(String::as_str);
    let listed = async |query: &str| {
        let list = client.get(&format!("/v1/sessions{query}")).await.json();
        let ids = list["sessions"].as_array().unwrap().clone();
        let ids = ids.iter().map(|s| s["id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(listed("").await, [app, two, one]);
    assert_eq!(listed("?kind=job").await, [two, one]);
    assert_eq!(listed("?kind=app").await, [app]);
    assert_eq!(listed("?label=customer=acme").await, [two, one]);
    let both = "?kind=job&label=customer%3Dacme&label=team%3Da%26b";
    assert_eq!(listed(both).await, [one]);
    assert!(listed("?label=customer=other").await.is_empty());
    for wrong in ["?kind=task", "?label=customer"] {
        let answer = client.get(&format!("/v1/sessions{wrong}")).await;
        answer.refused(400, "bad-request");
    }
}

#[tokio::test]
async fn jobs_are_for_keys_of_tenants_operators_and_administrators() {
    let rig = Rig::start().await;
    let (tenant, _, client) = tenant(&rig, "a").await;
    let key = async |role: &str, of: Option<&str>| {
        let body = json!({ "name": role, "role": role, "tenant": of });
        let key = rig.admin().post_json("/v1/keys", &body).await;
        bearer(&rig, &key.at("/secret"))
    };
    let wanted = job(&json!({}));
    for who in [rig.guest().await, key("player", Some(&tenant)).await] {
        ask(&who, &wanted).await.refused(403, "forbidden");
    }
    for who in [client, key("operator", None).await, rig.admin()] {
        assert_eq!(ask(&who, &wanted).await.status, 201);
    }
}

#[tokio::test]
async fn what_is_no_job_is_refused_with_what_is_wrong() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let both = json!({ "app": "demo", "job": { "image": image() } });
    for (body, words) in [
        (json!({}), "either `app`"),
        (both, "either `app`"),
        (
            job(&json!({ "resources": { "cpu_milli": 0 } })),
            "cpu_milli",
        ),
        (job(&json!({ "image": "A B" })), "image"),
        (
            job(&json!({ "place": { "regions": ["nowhere"] } })),
            "nowhere",
        ),
        (job(&json!({ "cluster": { "replicas": 1 } })), "cluster"),
        (
            job(&json!({ "restart": { "elsewhere": true } })),
            "restart.max",
        ),
        (
            json!({ "job": { "image": image() }, "region": "fra" }),
            "place.regions",
        ),
        (
            json!({ "job": { "image": image() }, "saves": "wait" }),
            "saves",
        ),
        (json!({ "app": "demo", "secrets": { "A": "b" } }), "secrets"),
        (job(&json!({ "secrets": ["A"] })), "`A`"),
    ] {
        let answer = ask(&client, &body).await;
        answer.refused(400, "bad-request");
        assert!(answer.at("/detail").contains(words), "{words}: {answer:?}");
    }
}

#[tokio::test]
async fn a_job_asked_for_twice_with_one_key_is_one_job() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let keyed = client.with("idempotency-key", "once");
    let with = |value: &str| {
        let mut body = job(&json!({ "secrets": ["TOKEN"] }));
        body["secrets"] = json!({ "TOKEN": value });
        body
    };
    let first = keyed.post_json("/v1/sessions", &with("one")).await;
    let again = keyed.post_json("/v1/sessions", &with("one")).await;
    assert_eq!((again.status, again.at("/id")), (201, id(&first)));
    let other = keyed.post_json("/v1/sessions", &with("two")).await;
    other.refused(409, "idempotency-conflict");
    assert_eq!(phase(&first.json()), "queued");
}
