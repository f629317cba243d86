use super::*;
use serde_json::{Value, json};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A job that uses every key.
fn whole() -> Value {
    json!({
        "image": "registry.example/team/server:2",
        "command": ["python", "serve.py"],
        "env": { "LOG_LEVEL": "info" },
        "secrets": ["hf-token"],
        "resources": {
            "cpu_milli": 4000, "mem_mib": 16384, "disk_mib": 4096, "shm_mib": 1024, "pids": 1024,
            "gpu": { "count": 2, "model": "H100", "vram_mib": 80000, "compute_capability": 80 }
        },
        "ports": [
            { "name": "api", "port": 8000, "health": { "path": "/health?full=1" } },
            { "name": "metrics", "port": 9000, "access": "cluster" }
        ],
        "time": { "start_s": 600, "idle_s": 900, "max_s": 86400, "stop_s": 30, "queue_s": 120 },
        "egress": { "allow": ["huggingface.co:443", "203.0.113.0/24"] },
        "place": { "regions": ["fra"], "price_max": 5, "trust": "any", "runtime": "runsc", "secrets_on_unvetted": true },
        "volumes": [{ "name": "cache", "path": "/var/cache/models", "size_mib": 1024 }],
        "assets": [{ "url": "https://models.example/w.safetensors", "digest": DIGEST, "size_mib": 10, "path": "/models/w" }],
        "restart": { "max": 3 },
        "cluster": { "replicas": 3, "head_command": ["ray", "start", "--head"], "on_failure": "restart" },
        "labels": { "customer": "acme" }
    })
}

fn read(value: Value) -> JobSpec {
    serde_json::from_value(value).unwrap()
}

#[test]
fn an_image_alone_is_a_job_with_bounds() {
    let spec = read(json!({ "image": "registry.example/x" }));
    assert_eq!(spec, JobSpec::of_image("registry.example/x"));
    assert_eq!(spec.fault(), None);
    assert_eq!(spec.replicas(), 1);
    assert!(spec.time.max_s > 0 && spec.resources.disk_mib > 0 && spec.resources.pids > 0);
    assert!(spec.egress.allow.is_empty() && !spec.egress.internet);
    assert_eq!(spec.place.trust, Trust::Vetted);
    assert_eq!(
        serde_json::to_value(&spec).unwrap()["image"],
        "registry.example/x"
    );
}

#[test]
fn a_fault_does_not_repeat_a_name_without_end() {
    for name in ["a".repeat(10_000), "é".repeat(10_000)] {
        let mut spec = JobSpec::of_image("registry.example/x");
        spec.labels = [(name, "x".to_owned())].into();
        let said = spec.fault().unwrap().to_string();
        assert!(said.len() < 512 && said.contains("labels."), "{said}");
    }
}

#[test]
fn every_key_is_read_written_and_in_order() {
    let spec = read(whole());
    assert_eq!(spec.fault(), None);
    assert_eq!(spec.replicas(), 3);
    assert_eq!(read(serde_json::to_value(&spec).unwrap()), spec);
}

#[test]
fn a_key_that_is_unknown_is_refused_by_its_name() {
    let error = serde_json::from_value::<JobSpec>(json!({ "image": "x", "gpus": 1 })).unwrap_err();
    assert!(error.to_string().contains("gpus"), "{error}");
}

/// What `pointer` of the whole job is made to, and the key that the fault must name.
fn check(pointer: &str, value: &Value, key: &str) {
    let mut job = whole();
    let place = job.pointer_mut(pointer);
    match place {
        Some(place) => *place = value.clone(),
        None => {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            job.pointer_mut(parent).unwrap()[name] = value.clone();
        }
    }
    let fault = read(job).fault();
    let at = fault.as_ref().map(|fault| fault.key.as_str());
    assert_eq!(at, Some(key), "{pointer} = {value}: {fault:?}");
}

#[test]
fn each_fault_is_found_and_says_where() {
    let cases = [
        ("/image", json!("Not An Image"), "image"),
        ("/command", json!([""]), "command"),
        ("/command", json!(["a\u{0}b"]), "command"),
        ("/env", json!({ "A=B": "1" }), "env.A=B"),
        ("/env", json!({ "1A": "1" }), "env.1A"),
        ("/env", json!({ "MASTER_ADDR": "x" }), "env.MASTER_ADDR"),
        ("/env", json!({ "A": "\u{0}" }), "env.A"),
        ("/secrets", json!(["../x"]), "secrets[0]"),
        ("/secrets", json!(["a", "a"]), "secrets[1]"),
        ("/resources/cpu_milli", json!(0), "resources.cpu_milli"),
        ("/resources/mem_mib", json!(4), "resources.mem_mib"),
        ("/resources/shm_mib", json!(99999), "resources.shm_mib"),
        ("/resources/gpu/count", json!(0), "resources.gpu.count"),
        ("/resources/gpu/model", json!(" "), "resources.gpu.model"),
        (
            "/resources/gpu/model",
            json!("H100\u{1b}[2J"),
            "resources.gpu.model",
        ),
        (
            "/resources/gpu/model",
            json!("H".repeat(97)),
            "resources.gpu.model",
        ),
        ("/place/regions", json!(vec!["x"; 257]), "place.regions"),
        ("/ports/0/name", json!("Api"), "ports[0].name"),
        ("/ports/0/port", json!(0), "ports[0].port"),
        ("/ports/1/name", json!("api"), "ports[1]"),
        (
            "/ports/0/health/path",
            json!("health"),
            "ports[0].health.path",
        ),
        (
            "/ports/0/health/path",
            json!("/a b"),
            "ports[0].health.path",
        ),
        (
            "/ports/0/health/path",
            json!("/\r\nX: 1"),
            "ports[0].health.path",
        ),
        ("/time/max_s", json!(0), "time.max_s"),
        ("/time/stop_s", json!(9999), "time.stop_s"),
    ];
    for (pointer, value, key) in cases {
        check(pointer, &value, key);
    }
}

#[test]
fn each_fault_of_what_is_around_it_is_found_and_says_where() {
    let cases = [
        ("/egress/internet", json!(true), "egress"),
        ("/egress/allow", json!(["10.0.0.1:80"]), "egress.allow[0]"),
        ("/egress/allow", json!(["*"]), "egress.allow[0]"),
        (
            "/egress/allow",
            json!(["a.example:+443"]),
            "egress.allow[0]",
        ),
        (
            "/egress/allow",
            json!(["203.0.113.0/+24"]),
            "egress.allow[0]",
        ),
        ("/egress/allow", json!(["0.0.0.0/0"]), "egress.allow[0]"),
        ("/egress/allow", json!(["2001:db8::/32"]), "egress.allow[0]"),
        ("/egress/allow", json!(["example.org"]), "egress.allow[0]"),
        ("/volumes/0/name", json!("a/b"), "volumes[0].name"),
        ("/volumes/0/path", json!("/a/../b"), "volumes[0].path"),
        ("/volumes/0/path", json!("/proc/x"), "volumes[0].path"),
        ("/volumes/0/path", json!("/run/secrets"), "volumes[0].path"),
        ("/volumes/0/path", json!("/a:ro"), "volumes[0].path"),
        ("/volumes/0/path", json!("/a\nb"), "volumes[0].path"),
        ("/volumes/0/path", json!("/a\u{1b}[2J"), "volumes[0].path"),
        ("/volumes/0/path", json!("/etc/hosts"), "volumes[0].path"),
        (
            "/assets/0/path",
            json!("/etc/resolv.conf"),
            "assets[0].path",
        ),
        ("/volumes/0/path", json!("/models"), "volumes"),
        ("/volumes/0/size_mib", json!(0), "volumes[0].size_mib"),
        ("/assets/0/url", json!("http://x/y"), "assets[0].url"),
        ("/assets/0/url", json!("https://u:p@x/y"), "assets[0].url"),
        ("/assets/0/digest", json!("sha256:12"), "assets[0].digest"),
        ("/assets/0/size_mib", json!(0), "assets[0].size_mib"),
        ("/cluster/replicas", json!(1), "cluster.replicas"),
        ("/cluster/replicas", json!(100_000), "cluster.replicas"),
        ("/restart/max", json!(100_000), "restart.max"),
        ("/restart/max", json!(0), "restart.max"),
        ("/restart/policy", json!("always"), "restart.policy"),
        ("/labels", json!({ "a b": "1" }), "labels.a b"),
        ("/labels", json!({ "a": "x\ny" }), "labels.a"),
        ("/labels", json!({ "a": "\u{202e}x" }), "labels.a"),
    ];
    for (pointer, value, key) in cases {
        check(pointer, &value, key);
    }
}

#[test]
fn what_only_a_cluster_has_needs_one() {
    let mut job = whole();
    job.as_object_mut().unwrap().remove("cluster");
    assert_eq!(read(job).fault().unwrap().key, "ports[1].access");
    let mut job = whole();
    job["restart"]["elsewhere"] = json!(true);
    assert_eq!(read(job).fault().unwrap().key, "restart.elsewhere");
}

#[test]
fn the_first_replica_has_the_ports_and_the_head_command() {
    let spec = read(whole());
    let head = spec.of_replica(0);
    assert_eq!(
        (head.command, head.ports),
        (
            vec!["ray".to_owned(), "start".to_owned(), "--head".to_owned()],
            spec.ports.clone()
        )
    );
    let other = spec.of_replica(2);
    assert_eq!((&other.command, other.ports.len()), (&spec.command, 0));
    assert_eq!(other.fault(), None, "it is a spec like any other");
}

#[test]
fn a_job_without_a_port_cannot_be_idle() {
    let mut spec = JobSpec::of_image("x");
    spec.time.idle_s = 60;
    assert_eq!(spec.fault().unwrap().key, "time.idle_s");
}
