//! GPUs of jobs: which of a node's a job gets, and why one waits for some.

use super::placing::waits_for;
use super::*;
use crate::edge::Started;
use nearlight_protocol::control::Gpu;

fn gpu(uuid: &str, model: &str, vram_mib: u32) -> Gpu {
    Gpu {
        uuid: uuid.to_owned(),
        model: model.to_owned(),
        vram_mib,
        compute_capability: 90,
        sick: String::new(),
    }
}

fn h100(n: usize) -> Gpu {
    gpu(&format!("GPU-{n}"), "NVIDIA H100 80GB HBM3", 81_920)
}

/// A node with these GPUs, and slots for more jobs than that.
fn gpu_node(rig: &Rig, slots: usize, gpus: Vec<Gpu>) -> Node {
    let jobs = JobHost {
        gpus,
        gives_gpus: true,
        ..host()
    };
    Node {
        jobs: Some(jobs),
        cpu_milli: 64_000,
        ..rig.node(slots)
    }
}

fn wants(need: Value) -> Value {
    job(&json!({ "resources": { "disk_mib": 0, "gpu": need } }))
}

/// What a start gives to its job: only the grant says so, and it is signed.
fn given(started: &Started) -> Vec<String> {
    let mut gpus = started.grant.gpus.clone();
    let row = started.grant.row.as_ref().expect("a small spec");
    assert_eq!(row.gpus as usize, gpus.len(), "as brokers of before count");
    gpus.sort_unstable();
    gpus
}

#[tokio::test]
async fn a_node_with_eight_gpus_runs_eight_jobs_of_one_and_the_ninth_waits_for_a_gpu() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let node = gpu_node(&rig, 10, (0..8).map(h100).collect());
    let mut edge = edge_of(&rig, node).await;
    let mut running = Vec::new();
    for _ in 0..8 {
        let session = id(&ask(&client, &wants(json!({ "count": 1 }))).await);
        let started = edge.start_next().await;
        assert_eq!(started.start.session.to_string(), session);
        running.push(started);
    }
    let mut all: Vec<String> = running.iter().flat_map(given).collect();
    all.sort_unstable();
    let expected: Vec<String> = (0..8).map(|n| format!("GPU-{n}")).collect();
    assert_eq!(all, expected, "each has one, and no two the same");
    let ninth = id(&ask(&client, &wants(json!({ "count": 1 }))).await);
    waits_for(&client, &ninth, &["gpus-taken:1"]).await;
    let at = client.get(&format!("/v1/sessions/{ninth}")).await;
    assert_eq!(at.at("/state/waits_for"), "gpus");
    // A job without a GPU runs beside all of them.
    let plain = id(&ask(&client, &job(&json!({}))).await);
    assert_eq!(edge.start_next().await.start.session.to_string(), plain);
    let sixth = &running[5];
    client
        .delete(&format!("/v1/sessions/{}", sixth.start.session))
        .await;
    edge.stop_next(sixth).await;
    let next = edge.start_next().await;
    assert_eq!(next.start.session.to_string(), ninth);
    assert_eq!(given(&next), given(sixth), "the one that came free");
}

#[tokio::test]
async fn the_smallest_gpu_that_suits_is_taken_and_the_ledger_remembers_which() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let gpus = vec![h100(1), gpu("GPU-4", "NVIDIA L4", 23_034)];
    let mut edge = edge_of(&rig, gpu_node(&rig, 3, gpus)).await;
    ask(&client, &wants(json!({ "count": 1 }))).await;
    let first = edge.start_next().await;
    assert_eq!(given(&first), ["GPU-4"]);
    let small = id(&ask(&client, &wants(json!({ "model": "l4" }))).await);
    waits_for(&client, &small, &["gpus-taken:1"]).await;
    // A broker that starts again knows it from the ledger.
    let rig = rig.restart().await;
    let mut edge = rig.attach(&edge.node, vec![first.running(false)]).await;
    let client = Client {
        at: rig.broker.listen,
        ..client
    };
    waits_for(&client, &small, &["gpus-taken:1"]).await;
    ask(&client, &wants(json!({ "vram_mib": 10_000 }))).await;
    assert_eq!(given(&edge.start_next().await), ["GPU-1"], "the other one");
    eventually("each is billed by its own model", || async {
        let said = client.get("/v1/usage").await.json().to_string();
        said.contains(r#"["NVIDIA H100 80GB HBM3"]"#) && said.contains(r#"["NVIDIA L4"]"#)
    })
    .await;
}

#[tokio::test]
async fn who_waits_is_told_which_constraint_rules_out_how_many_nodes() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let mut two = edge_of(&rig, gpu_node(&rig, 2, vec![h100(1), h100(2)])).await;
    let mixed = vec![
        gpu("GPU-3", "NVIDIA L4", 23_034),
        Gpu {
            sick: "XID 79: the GPU has fallen off the bus".to_owned(),
            ..h100(4)
        },
    ];
    let _mixed = edge_of(&rig, gpu_node(&rig, 2, mixed)).await;
    // An agent of before: it has GPUs, and does not know what a grant says of them.
    let mut before = gpu_node(&rig, 2, vec![h100(5), h100(6), h100(7)]);
    before.jobs.as_mut().unwrap().gives_gpus = false;
    let _before = edge_of(&rig, before).await;
    let check = async |need: Value, reasons: &[&str]| {
        let session = id(&ask(&client, &wants(need)).await);
        waits_for(&client, &session, reasons).await;
        client.delete(&format!("/v1/sessions/{session}")).await;
    };
    check(json!({ "count": 3 }), &["gpus:3"]).await;
    let model = json!({ "count": 2, "model": "A100" });
    check(model, &["gpus:1", "gpu-model:2"]).await;
    let memory = json!({ "count": 1, "vram_mib": 90_000 });
    check(memory, &["gpus:1", "gpu-memory:2"]).await;
    let newer = json!({ "count": 1, "compute_capability": 100 });
    check(newer, &["gpus:1", "gpu-capability:2"]).await;
    ask(&client, &wants(json!({ "count": 2, "model": "h100" }))).await;
    let started = two.expect_start().await;
    assert_eq!(given(&started), ["GPU-1", "GPU-2"], "all on one node");
    let next = json!({ "model": "h100" });
    check(next, &["gpus:1", "gpus-sick:1", "gpus-taken:1"]).await;
}

#[tokio::test]
async fn a_gpu_that_falls_sick_takes_no_job_any_more_and_what_runs_goes_on() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let node = gpu_node(&rig, 3, vec![h100(1), h100(2)]);
    let mut edge = edge_of(&rig, node.clone()).await;
    ask(&client, &wants(json!({ "count": 1 }))).await;
    let first = edge.start_next().await;
    assert_eq!(given(&first), ["GPU-1"]);
    let mut ill = node.clone();
    for gpu in &mut ill.jobs.as_mut().unwrap().gpus {
        gpu.sick = "XID 48: double bit ECC error".to_owned();
    }
    edge.send(nearlight_protocol::control::FromEdge::Inventory(
        ill.inventory(),
    ))
    .await;
    let shown = async || {
        let nodes = rig.admin().get("/v1/nodes").await;
        nodes.at("/nodes/0/gpus/1/sick")
    };
    eventually("the node's list says why", || async {
        shown().await.contains("XID 48")
    })
    .await;
    let waits = id(&ask(&client, &wants(json!({ "count": 1 }))).await);
    waits_for(&client, &waits, &["gpus-sick:1"]).await;
    let nodes = rig.admin().get("/v1/nodes").await;
    assert_eq!(nodes.at("/nodes/0/gpus/0/taken"), "true");
    assert_eq!(nodes.at("/nodes/0/gpus/1/taken"), "false");
    edge.send(nearlight_protocol::control::FromEdge::Inventory(
        node.inventory(),
    ))
    .await;
    let next = edge.start_next().await;
    assert_eq!(next.start.session.to_string(), waits);
    assert_eq!(given(&next), ["GPU-2"], "the first one's job goes on");
}
