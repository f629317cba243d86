//! Room that is held for jobs that have waited long, and what those are told who wait for what is nowhere.

use super::clusters::{cluster, placement, starts, waits};
use super::placing::waits_for;
use super::*;
use crate::edge::Started;
use crate::refusing::refuses_next;

/// A job that ends after so long in any case.
fn lasting(max_s: u32) -> Value {
    job(&json!({ "time": { "max_s": max_s } }))
}

async fn started(client: &Client, edge: &mut Edge, body: &Value) -> (String, Started) {
    let session = id(&ask(client, body).await);
    let started = edge.start_next().await;
    assert_eq!(started.start.session.to_string(), session);
    (session, started)
}

async fn end(client: &Client, edge: &mut Edge, (session, started): (String, Started)) {
    let path = format!("/v1/sessions/{session}");
    assert_eq!(client.delete(&path).await.status, 202);
    edge.stop_next(&started).await;
}

#[tokio::test]
async fn a_cluster_that_has_waited_long_is_overtaken_only_by_who_is_gone_in_time() {
    let rig = Rig::start_with(|config| config.sessions.hold_after_s = 0).await;
    let mut edge = edge(&rig, 4).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let one = started(&client, &mut edge, &lasting(36_000)).await;
    let two = started(&client, &mut edge, &lasting(36_000)).await;
    let three = started(&client, &mut edge, &lasting(36_000)).await;
    let gang = id(&ask(&client, &cluster(3, &json!({}))).await);
    waits(&client, &gang, 1).await;

    // There is a slot, and who would have it for a day waits behind the cluster.
    let long = id(&ask(&client, &lasting(86_400)).await);
    waits_for(&client, &long, &["held:1"]).await;
    let shown = client.get(&format!("/v1/sessions/{long}")).await;
    assert_eq!(shown.at("/state/waits_for"), "slot");
    // Whoever is gone before the others are has it meanwhile.
    let short = started(&client, &mut edge, &lasting(60)).await;
    waits_for(&client, &long, &["slots-taken:1"]).await;
    end(&client, &mut edge, short).await;
    waits_for(&client, &long, &["held:1"]).await;

    // What comes free adds up.
    end(&client, &mut edge, one).await;
    waits(&client, &gang, 2).await;
    waits_for(&client, &long, &["held:1"]).await;
    end(&client, &mut edge, two).await;
    let replicas = starts(&mut edge, 3).await;
    assert_eq!(replicas[0].start.session.to_string(), gang);
    waits_for(&client, &long, &["slots-taken:1"]).await;
    // Nothing is held any more.
    end(&client, &mut edge, three).await;
    let next = edge.start_next().await;
    assert_eq!(next.start.session.to_string(), long);
}

#[tokio::test]
async fn nothing_is_held_where_the_job_was_refused() {
    let rig = Rig::start_with(|config| config.sessions.hold_after_s = 0).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let mut full = edge(&rig, 1).await;
    let _taken = started(&client, &mut full, &lasting(36_000)).await;
    let mut well = edge(&rig, 2).await;
    let waits = id(&ask(&client, &lasting(86_400)).await);
    let refused = refuses_next(&mut well).await;
    assert_eq!(refused.start.session.to_string(), waits);
    // It stands behind, is in no time over, and has what the other one may not have.
    started(&client, &mut well, &lasting(86_400)).await;
}

#[tokio::test]
async fn before_its_time_and_behind_others_nothing_is_held() {
    let rig = Rig::start().await;
    let mut edge = edge(&rig, 3).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let _one = started(&client, &mut edge, &lasting(36_000)).await;
    let gang = id(&ask(&client, &cluster(3, &json!({}))).await);
    waits(&client, &gang, 2).await;
    // It has not waited for five minutes.
    started(&client, &mut edge, &lasting(86_400)).await;
}

#[tokio::test]
async fn who_wants_what_no_node_has_is_told_what_there_is_and_no_time() {
    let rig = Rig::start().await;
    let _edge = edge(&rig, 2).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let asks = json!({ "resources": { "gpu": { "count": 2, "vram_mib": 80_000 } } });
    let session = id(&ask(&client, &job(&asks)).await);
    waits_for(&client, &session, &["gpus:1"]).await;
    let told = placement(&client, &session).await;
    let detail = told["detail"].as_str().unwrap();
    assert!(detail.contains("no node of the fleet can run it"), "{told}");
    assert!(detail.contains("has 0 GPUs, and 2 are asked for"), "{told}");
    let shown = client.get(&format!("/v1/sessions/{session}")).await.json();
    assert_eq!(shown["state"]["eta_s"], Value::Null);
    assert_eq!(shown["state"]["waits_for"], "node");

    let gang = id(&ask(&client, &cluster(3, &json!({}))).await);
    waits(&client, &gang, 2).await;
    let told = placement(&client, &gang).await;
    assert_eq!(told["cluster"]["most"], 2);
    let shown = client.get(&format!("/v1/sessions/{gang}")).await.json();
    assert_eq!(shown["state"]["waits_for"], "node");
}

#[tokio::test]
async fn who_works_in_a_cluster_that_waits_is_told_so_and_how_many_replicas_there_will_be() {
    let rig = Rig::start().await;
    let _edge = edge(&rig, 2).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let gang = id(&ask(&client, &cluster(3, &json!({}))).await);
    waits(&client, &gang, 2).await;
    let exec = async |replica: u32| {
        let path = format!("/v1/sessions/{gang}/exec?replica={replica}");
        let order = json!({ "command": ["true"] });
        client.post_json(&path, &order).await
    };
    for replica in 0..3 {
        exec(replica).await.refused(503, "job-not-ready");
    }
    let none = exec(3).await;
    none.refused(404, "not-found");
    assert!(
        none.at("/detail").contains("has 3 replicas, from 0 to 2"),
        "{none:?}"
    );
    assert_eq!(
        client.delete(&format!("/v1/sessions/{gang}")).await.status,
        202
    );
    exec(2).await.refused(410, "session-ended");
}

#[tokio::test]
async fn a_cluster_that_no_site_is_large_enough_for_waits_for_one_on_a_busy_site_too() {
    let rig = Rig::start().await;
    let mut edge = edge(&rig, 2).await;
    let (_, _, client) = tenant(&rig, "a").await;
    for _ in 0..2 {
        started(&client, &mut edge, &lasting(36_000)).await;
    }
    let gang = id(&ask(&client, &cluster(3, &json!({}))).await);
    waits(&client, &gang, 0).await;
    let shown = client.get(&format!("/v1/sessions/{gang}")).await.json();
    assert_eq!(shown["state"]["waits_for"], "node", "{shown}");
}
