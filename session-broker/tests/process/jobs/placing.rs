//! Where jobs go, and why one waits.

use super::*;

pub(super) async fn excluded(client: &Client, session: &str) -> Vec<String> {
    let path = format!("/v1/sessions/{session}/placement");
    let placement = client.get(&path).await.json();
    let by = placement["excluded"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    by.iter()
        .map(|by| format!("{}:{}", by["reason"].as_str().unwrap(), by["nodes"]))
        .collect()
}

/// Waits until the job is told these reasons.
pub(super) async fn waits_for(client: &Client, session: &str, reasons: &[&str]) {
    eventually(&format!("{reasons:?}"), || async {
        excluded(client, session).await == reasons
    })
    .await;
}

#[tokio::test]
async fn jobs_go_to_vetted_nodes_unless_they_say_otherwise() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let node = job_node(&rig, 2);
    let mut edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;

    let wary = id(&ask(&client, &job(&json!({}))).await);
    waits_for(&client, &wary, &["trust:1"]).await;
    let anywhere = json!({ "place": { "trust": "any" } });
    let bold = id(&ask(&client, &job(&anywhere)).await);
    let started = edge.start_next().await;
    assert_eq!(started.start.session.to_string(), bold);
    // Its owner can read what is on it: secrets need a word of their own.
    let secret = |place: Value| {
        let mut body = job(&json!({ "secrets": ["TOKEN"], "place": place }));
        body["secrets"] = json!({ "TOKEN": "t" });
        body
    };
    let careful = id(&ask(&client, &secret(json!({ "trust": "any" }))).await);
    waits_for(&client, &careful, &["trust:1"]).await;
    let consents = json!({ "trust": "any", "secrets_on_unvetted": true });
    let careless = id(&ask(&client, &secret(consents)).await);
    let started = edge.start_next().await;
    assert_eq!(started.start.session.to_string(), careless);
    assert_eq!(started.start.secrets.0["TOKEN"], "t");
    client.delete(&format!("/v1/sessions/{careless}")).await;
    edge.stop_next(&started).await;

    vet(&rig.admin(), &node).await;
    let next = edge.start_next().await;
    assert_eq!(next.start.session.to_string(), wary, "who came first");
    let listed = rig.admin().get("/v1/nodes").await;
    assert_eq!(listed.at("/nodes/0/vetted"), "true");
    let noted = rig.admin().get("/v1/audit?limit=1").await;
    assert_eq!(noted.at("/entries/0/action"), "node-vet");
    // No longer: what runs goes on, and nothing comes.
    let off = format!("/v1/nodes/{}/vet", node.id);
    assert_eq!(rig.admin().delete(&off).await.status, 204);
    client.delete(&format!("/v1/sessions/{wary}")).await;
    edge.stop_next(&next).await;
    waits_for(&client, &careful, &["trust:1"]).await;
}

#[tokio::test]
async fn a_node_that_cannot_hold_a_job_is_said_to_lack_what_it_lacks() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let _plain = rig.edge(1).await;
    let _host = edge(&rig, 1).await;
    let check = async |more: Value, reasons: &[&str]| {
        let session = id(&ask(&client, &job(&more)).await);
        waits_for(&client, &session, reasons).await;
        client.delete(&format!("/v1/sessions/{session}")).await;
    };
    let runsc = json!({ "place": { "runtime": "runsc" } });
    check(runsc, &["no-jobs:1", "runtime:1"]).await;
    let disk = json!({ "resources": { "disk_mib": 70_000 } });
    check(disk, &["no-jobs:1", "disk:1"]).await;
    let gpu = json!({ "resources": { "gpu": { "count": 1 } } });
    check(gpu, &["no-jobs:1", "gpus:1"]).await;
    let cpu = json!({ "resources": { "cpu_milli": 65_000 } });
    check(cpu, &["no-jobs:1", "too-small:1"]).await;
}

#[tokio::test]
async fn the_disk_of_a_job_counts_and_is_the_ledgers() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let mut edge = edge(&rig, 2).await;
    let wanted = |disk_mib: u32| job(&json!({ "resources": { "disk_mib": disk_mib } }));
    let first = id(&ask(&client, &wanted(40_000)).await);
    let started = edge.start_next().await;
    assert_eq!(started.start.session.to_string(), first);
    let large = id(&ask(&client, &wanted(40_000)).await);
    waits_for(&client, &large, &["disk-taken:1"]).await;
    // What is held is the ledger's: a broker that starts again keeps to it.
    let rig = rig.restart().await;
    let running = vec![started.running(false)];
    let mut edge = rig.attach(&edge.node, running).await;
    let client = Client {
        at: rig.broker.listen,
        ..client
    };
    waits_for(&client, &large, &["disk-taken:1"]).await;
    client.delete(&format!("/v1/sessions/{first}")).await;
    edge.stop_next(&started).await;
    let next = edge.start_next().await;
    assert_eq!(next.start.session.to_string(), large);
}

#[tokio::test]
async fn a_job_takes_the_cpu_that_it_asked_for_and_none_for_an_encoder() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let node = Node {
        cpu_milli: 2000,
        encode_cpu_milli: 500,
        ..job_node(&rig, 2)
    };
    let mut edge = edge_of(&rig, node).await;
    let cpu = |milli: u32| job(&json!({ "resources": { "cpu_milli": milli } }));
    let whole = id(&ask(&client, &cpu(2000)).await);
    let started = edge.start_next().await;
    assert_eq!(started.start.session.to_string(), whole);
    let more = id(&ask(&client, &cpu(10)).await);
    waits_for(&client, &more, &["cpu-taken:1"]).await;
}
