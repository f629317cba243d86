//! GPUs of jobs: which of a node's a job gets, and why one waits for some.

use super::placing::waits_for;
use super::*;
use crate::edge::Started;
use crate::shared::{Shared, online};
use nearlight_protocol::control::{AckOutcome, DenyReason, FromEdge, Gpu, Heartbeat};
use nearlight_protocol::gpu::{GpuProcess, GpuReading, GpuSeen};

pub(super) fn gpu(uuid: &str, model: &str, vram_mib: u32) -> Gpu {
    Gpu {
        uuid: uuid.to_owned(),
        model: model.to_owned(),
        vram_mib,
        compute_capability: 90,
        ..Gpu::default()
    }
}

fn h100(n: usize) -> Gpu {
    gpu(&format!("GPU-{n}"), "NVIDIA H100 80GB HBM3", 81_920)
}

/// A node with these GPUs, and slots for more jobs than that.
pub(super) fn gpu_node(rig: &Rig, slots: usize, gpus: Vec<Gpu>) -> Node {
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

pub(super) fn wants(need: Value) -> Value {
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
async fn a_gpu_that_a_node_does_not_give_is_left_alone_for_a_while() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let node = gpu_node(&rig, 4, vec![h100(0), h100(1)]);
    let mut edge = edge_of(&rig, node).await;
    let session = id(&ask(&client, &wants(json!({ "count": 1 }))).await);
    let refused = edge.expect_start().await;
    assert_eq!(given(&refused), ["GPU-0"]);
    let outcome = AckOutcome::Denied {
        reason: DenyReason::SlotBusy,
        detail: "a job that ends has GPU-0 still".to_owned(),
    };
    let command = refused.command;
    edge.send(FromEdge::Ack { command, outcome }).await;
    let started = edge.start_next().await;
    assert_eq!(started.start.session.to_string(), session);
    assert_eq!(given(&started), ["GPU-1"]);
    let next = id(&ask(&client, &wants(json!({ "count": 1 }))).await);
    let started = edge.start_next().await;
    assert_eq!(started.start.session.to_string(), next);
    assert_eq!(given(&started), ["GPU-0"], "after a while");
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
    edge.send(FromEdge::Inventory(ill.inventory())).await;
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
    edge.send(FromEdge::Inventory(node.inventory())).await;
    let next = edge.start_next().await;
    assert_eq!(next.start.session.to_string(), waits);
    assert_eq!(given(&next), ["GPU-2"], "the first one's job goes on");
}

/// A heartbeat that says what was read of a GPU: as many MiB in use.
pub(crate) fn heartbeat(uuid: &str, mib: u32) -> FromEdge {
    let process = GpuProcess {
        pid: 4711,
        vram_mib_used: Some(mib),
    };
    FromEdge::Heartbeat(Heartbeat {
        gpus: vec![GpuSeen {
            uuid: uuid.to_owned(),
            reading: GpuReading {
                vram_mib_used: Some(mib),
                busy_percent: Some(63),
                ecc_uncorrected: Some(0),
                xids: vec![31],
                processes: Some(vec![process]),
                ..GpuReading::default()
            },
        }],
        ..Heartbeat::default()
    })
}

#[tokio::test]
async fn an_operator_sees_what_a_node_read_of_its_gpus_and_who_has_them() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let slice = Gpu {
        uuid: "MIG-2".to_owned(),
        encodes: Some(false),
        slice_of: Some("GPU-9".to_owned()),
        ..h100(1)
    };
    let small = gpu("GPU-1", "NVIDIA L4", 23_034);
    let node = gpu_node(&rig, 2, vec![small, slice]);
    let mut edge = edge_of(&rig, node.clone()).await;
    let path = format!("/v1/nodes/{}", node.id);
    let shown = async || rig.admin().get(&path).await;
    assert_eq!(shown().await.at("/gpus/1/slice_of"), "GPU-9");
    assert_eq!(shown().await.at("/gpus/1/encodes"), "false");
    assert_eq!(shown().await.at("/gpus/1/compute_capability"), "90");
    let first = shown().await.json()["gpus"][0].clone();
    for unknown in ["encodes", "slice_of", "session", "reading", "read_at"] {
        assert!(first.get(unknown).is_none(), "{unknown}: {first}");
    }
    ask(&client, &wants(json!({ "count": 1 }))).await;
    let started = edge.start_next().await;
    assert_eq!(given(&started), ["GPU-1"]);
    edge.send(heartbeat("GPU-0", 1)).await;
    edge.send(heartbeat("GPU-1", 9_000)).await;
    eventually("what was read to be shown", || async {
        shown().await.at("/gpus/0/reading/vram_mib_used") == "9000"
    })
    .await;
    let seen = shown().await;
    let session = started.start.session.to_string();
    assert_eq!(seen.at("/gpus/0/session"), session);
    let reading = json!({
        "vram_mib_used": 9_000, "busy_percent": 63, "ecc_uncorrected": 0, "xids": [31],
        "processes": [{ "pid": 4711, "vram_mib_used": 9_000 }],
    });
    assert_eq!(seen.json()["gpus"][0]["reading"], reading);
    assert!(seen.json()["gpus"][0]["read_at"].is_u64(), "{seen:?}");
    let other = seen.json()["gpus"][1].clone();
    assert!(other.get("reading").is_none(), "{other}");
    // The list is of the whole fleet, and tells no more of each than it changes seldom.
    let list = rig.admin().get("/v1/nodes").await.json();
    assert_eq!(list["nodes"][0]["gpus"][0]["session"], json!(session));
    assert!(
        list["nodes"][0]["gpus"][0].get("reading").is_none(),
        "{list}"
    );
    // Nobody else sees any of it.
    let public = client.get(&path).await;
    assert_eq!(public.status, 200, "{public:?}");
    assert!(public.json().get("gpus").is_none(), "{public:?}");
    let nobody = format!("/v1/nodes/nod_{}", "0".repeat(26));
    rig.admin().get(&nobody).await.refused(404, "not-found");
    // What was read is the stream's, and goes with it.
    drop(edge);
    eventually("it to be forgotten", || async {
        let seen = shown().await.json();
        seen["status"] == "offline" && seen["gpus"][0].get("reading").is_none()
    })
    .await;
}

#[tokio::test]
async fn what_is_read_of_gpus_is_told_at_every_broker_of_the_region() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let (here, there) = (shared.admin("a", &a), shared.admin("b", &b));
    let node = Node {
        jobs: Some(JobHost {
            gpus: vec![h100(1)],
            gives_gpus: true,
            ..host()
        }),
        ..Node::new(&shared.pki(), 1)
    };
    let mut edge = shared.attach(&node, &b, Vec::new()).await;
    online(&here, &node).await;
    edge.send(heartbeat("GPU-1", 700)).await;
    let path = format!("/v1/nodes/{}", node.id);
    for broker in [&there, &here] {
        eventually("what was read to be shown", || async {
            let shown = broker.get(&path).await;
            shown.at("/gpus/0/reading/vram_mib_used") == "700"
        })
        .await;
    }
    // Without the broker that hears the node, the other one still says what it is.
    b.kill().await;
    eventually("the rest to be shown", || async {
        let shown = here.get(&path).await.json();
        shown["gpus"][0]["uuid"] == "GPU-1" && shown["gpus"][0].get("reading").is_none()
    })
    .await;
}

#[tokio::test]
async fn a_tenant_has_no_more_gpus_than_it_may_and_is_told_what_it_has() {
    let rig = Rig::start().await;
    let (owner, _, client) = tenant(&rig, "a").await;
    let path = format!("/v1/tenants/{owner}");
    let set = async |body: Value| {
        let json = [("content-type", "application/json")];
        let admin = rig.admin();
        admin
            .request("PATCH", &path, &json, &body.to_string())
            .await
    };
    let limited = set(json!({ "name": "a", "gpus_max": 3, "mem_mib_max": 4096 })).await;
    assert_eq!(limited.at("/gpus_max"), "3", "{limited:?}");
    let first = ask(&client, &wants(json!({ "count": 2 }))).await;
    let session = id(&first);
    let beyond = ask(&client, &wants(json!({ "count": 2 }))).await;
    beyond.refused(429, "quota-exceeded");
    let says = beyond.at("/detail");
    assert!(says.contains("3 GPUs at once"), "{says}");
    assert!(says.contains("has 2; this asks for 2"), "{says}");
    let memory = job(&json!({ "resources": { "disk_mib": 0, "mem_mib": 3500 } }));
    let beyond = ask(&client, &memory).await;
    beyond.refused(429, "quota-exceeded");
    assert!(
        beyond.at("/detail").contains("4096 MiB of memory"),
        "{beyond:?}"
    );
    // It sees what it has, and another one has its own.
    let own = client.get("/v1/tenants").await;
    let used = ["gpus_used", "cpu_milli_used", "mem_mib_used"];
    let used = used.map(|key| own.at(&format!("/tenants/0/{key}")));
    assert_eq!(used, ["2", "1000", "1024"]);
    let (_, _, other) = tenant(&rig, "b").await;
    id(&ask(&other, &wants(json!({ "count": 8 }))).await);
    client.delete(&format!("/v1/sessions/{session}")).await;
    ended(&client, &session).await;
    id(&ask(&client, &wants(json!({ "count": 3 }))).await);
    let log = rig.admin().get("/v1/audit").await;
    let noted = log.json().to_string();
    assert!(noted.contains("a, 3 GPUs, 4096 MiB of memory"), "{noted}");
}
