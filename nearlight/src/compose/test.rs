//! What compose files become, and what they are refused for.

use super::*;
use nearlight_protocol::job::{ContainerRuntime, PortAccess};
use proptest::prelude::*;

/// A service with these lines, each indented once more.
fn service(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!("services:\n  web:\n{lines}")
}

fn job(text: &str) -> JobSpec {
    match convert(text) {
        Ok(composed) => composed.spec,
        Err(refused) => panic!("{refused}\n{text}"),
    }
}

/// Everything that maps.
const COMPOSE: &str = r#"
x-common: &common
  restart: "no"
services:
  web:
    <<: *common
    image: registry.example/team/server:2
    entrypoint: ["/bin/server"]
    command: --model "all MiniLM" --price 5$$
    environment:
      MODEL: all-MiniLM
      THREADS: 4
      DEBUG: "true"
    ports:
      - "127.0.0.1:8000:8000"
      - target: 9000
        name: metrics
        x-nearlight: {access: public, health: {path: /healthz, every_s: 2}}
    deploy:
      resources:
        limits: {cpus: "1.5", memory: 2g, pids: 100}
        reservations:
          devices:
            - driver: nvidia
              count: 2
              capabilities: [gpu]
    shm_size: 256m
    restart: on-failure:3
    stop_grace_period: 1m30s
    volumes: ["cache:/cache", {type: volume, source: out, target: /out}]
    secrets:
      - token
      - {source: key, target: /run/secrets/api-key}
    labels: [customer=acme]
    runtime: runsc
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    init: true
    x-nearlight:
      egress: {allow: ["pypi.org:443"]}
      resources: {gpu: {model: H100}}
      time: {max_s: 3600}
volumes:
  cache: {x-nearlight: {size_mib: 4096}}
  out: {name: results, driver: local, x-nearlight: {size_mib: 512}}
secrets:
  token: {file: ./token.txt}
  key: {environment: API_KEY}
"#;

/// The job that it is.
const JOB: &str = r#"
image = "registry.example/team/server:2"
entrypoint = ["/bin/server"]
command = ["--model", "all MiniLM", "--price", "5$"]
secrets = ["token", "api-key"]
[env]
MODEL = "all-MiniLM"
THREADS = "4"
DEBUG = "true"
[resources]
cpu_milli = 1500
mem_mib = 2048
shm_mib = 256
pids = 100
gpu = { count = 2, model = "H100" }
[[ports]]
name = "p8000"
port = 8000
[[ports]]
name = "metrics"
port = 9000
access = "public"
health = { path = "/healthz", every_s = 2 }
[time]
max_s = 3600
stop_s = 90
[egress]
allow = ["pypi.org:443"]
[place]
runtime = "runsc"
[[volumes]]
name = "cache"
path = "/cache"
size_mib = 4096
[[volumes]]
name = "results"
path = "/out"
size_mib = 512
[restart]
policy = "on-failure"
max = 3
[labels]
customer = "acme"
"#;

/// Lines of a service, the line of what is refused, and what is said.
const REFUSED: &[(&str, usize, &str)] = &[
    (
        "build: .",
        3,
        "services.web.build: a job is made of an image",
    ),
    (
        "image: a:1\nenv_file: .env",
        4,
        "write its lines under `environment`",
    ),
    ("image: a:1\nnetworks: [front]", 4, "x-nearlight.egress"),
    (
        "image: a:1\ndepends_on: [db]",
        4,
        "start what it needs before it",
    ),
    ("image: a:1\ncontainer_name: x", 4, "leave it out"),
    ("image: a:1\nuser: root", 4, "set USER in the image"),
    ("image: a:1\nprivileged: true", 4, "no job has this"),
    ("image: a:1\nread_only: false", 4, "image is read-only"),
    (
        "image: a:1\nsecurity_opt: [seccomp=unconfined]",
        4,
        "no job has this",
    ),
    ("image: a:1\ncolour: red", 4, "services.web.colour"),
    ("image: a:${TAG}", 3, "variables of your shell"),
    (
        "image: a:1\nenvironment: [HOME_DIR]",
        4,
        "write HOME_DIR=VALUE",
    ),
    ("image: a:1\nenvironment: {A: }", 4, "write the value, or"),
    ("image: a:1\nports: [\"53:53/udp\"]", 4, "HTTP over TCP"),
    (
        "image: a:1\nports: [\"8000-8010:8000-8010\"]",
        4,
        "each port of the range",
    ),
    (
        "image: a:1\nports:\n- target: 80\n  mode: host",
        6,
        "leave it out",
    ),
    (
        "image: a:1\nports:\n- target: 80\n  x-nearlight: {heath: {}}",
        6,
        "no part of a port",
    ),
    (
        "image: a:1\nvolumes: [\"./src:/src\"]",
        4,
        "nothing of this machine",
    ),
    (
        "image: a:1\nvolumes: [\"cache:/cache\"]",
        4,
        "no `cache` under",
    ),
    ("image: a:1\nvolumes: [/cache]", 4, "without a name"),
    ("image: a:1\nsecrets: [token]", 4, "no `token` under"),
    ("image: a:1\nrestart: sometimes", 4, "on-failure:3"),
    ("image: a:1\nscale: 2\nrestart: always", 2, "on-failure:3"),
    ("image: a:1\nscale: 0", 4, "at least one container"),
    ("image: a:1\ngpus: all", 4, "say how many GPUs"),
    (
        "image: a:1\ngpus: [{device_ids: [\"0\"], capabilities: [gpu]}]",
        4,
        "resources.gpu.model",
    ),
    (
        "image: a:1\ncpus: 1\ndeploy: {resources: {reservations: {cpus: 2}}}",
        5,
        "say one figure",
    ),
    ("image: a:1\nstop_grace_period: 1500ms", 4, "whole seconds"),
    ("image: a:1\nstop_signal: SIGINT", 4, "stopped with SIGTERM"),
    (
        "image: a:1\nx-nearlight: {egres: {}}",
        4,
        "no part of a job",
    ),
    (
        "image: a:1\nmem_limit: 1m",
        4,
        "as a job: resources.mem_mib",
    ),
    ("image: A B", 3, "as a job: image"),
    ("command: a", 2, "there is no `image`"),
    ("image: a:1\nimage: b:1", 4, "`image` is there twice"),
    ("image: !reset a:1", 3, "tags"),
    (
        "image: a:1\nenvironment: {MASTER_ADDR: x}",
        4,
        "as a job: env.MASTER_ADDR",
    ),
];

#[test]
fn a_service_becomes_a_job() {
    let Composed {
        spec,
        secrets,
        notes,
    } = convert(COMPOSE).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(spec, toml::from_str(JOB).unwrap());
    let from = |name: &str, from| ComposeSecret {
        name: name.to_owned(),
        from,
    };
    let expected = [
        from("token", SecretSource::File("./token.txt".to_owned())),
        from("api-key", SecretSource::Env("API_KEY".to_owned())),
    ];
    assert_eq!(secrets, expected);
    // The host's port, and the bound of the disk that nothing was said about.
    let notes: Vec<_> = notes.iter().map(ToString::to_string).collect();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].starts_with("line 5: services.web: has 2048 MiB of disk;"));
    assert!(notes[1].starts_with("line 15: services.web.ports[0]: the endpoint takes the place"));
}

#[test]
fn what_was_converted_reads_as_the_same_job() {
    let texts = [
        service("image: a:1"),
        service("image: a:1\ndeploy: {replicas: 3}\nrestart: on-failure:2"),
        service(
            "image: a:1\nports: [80]\nx-nearlight: {time: {idle_s: 60}, place: {regions: [fra]}}",
        ),
    ];
    for text in texts {
        let spec = job(&text);
        let toml = job_toml(&spec).unwrap();
        assert_eq!(toml::from_str::<JobSpec>(&toml).unwrap(), spec, "{toml}");
    }
    assert_eq!(
        job_toml(&JobSpec::of_image("a:1")).unwrap(),
        "image = \"a:1\"\n",
        "what a job has by default is left out"
    );
}

#[test]
fn replicas_are_a_cluster_that_starts_again_together() {
    let spec = job(&service(
        "image: a:1\ndeploy: {replicas: 3}\nrestart: on-failure:2",
    ));
    let cluster = spec.cluster.unwrap();
    assert_eq!(
        (cluster.replicas, cluster.on_failure),
        (3, OnFailure::Restart)
    );
    assert_eq!(spec.restart.max, 2);
    let spec = job(&service("image: a:1\nscale: 2"));
    assert_eq!(spec.cluster.unwrap().on_failure, OnFailure::End);
    assert_eq!(job(&service("image: a:1\nscale: 1")).cluster, None);
}

#[test]
fn the_small_forms_are_what_they_stand_for() {
    let spec = job(&service(
        "image: a:1\ncpus: 0.25\nmem_limit: 64m\nruntime: kata\nports: [\"80/tcp\"]",
    ));
    assert_eq!(
        (spec.resources.cpu_milli, spec.resources.mem_mib),
        (250, 64)
    );
    assert_eq!(spec.place.runtime, ContainerRuntime::Kata);
    assert_eq!(
        (spec.ports[0].port, spec.ports[0].access),
        (80, PortAccess::Ticket)
    );
    let spec = job(&service("image: a:1\ngpus: [{count: 1}]"));
    assert_eq!(spec.resources.gpu.unwrap().count, 1);
    let spec = job(&service("image: a:1\nrestart: unless-stopped"));
    assert_eq!(spec.restart.max, 1000);
    let spec = job(&service(
        "image: a:1\ndeploy: {restart_policy: {condition: any, max_attempts: 4}}",
    ));
    assert_eq!(
        (spec.restart.policy, spec.restart.max),
        (RestartPolicy::Always, 4)
    );
    let quiet = service("image: a:1\nhealthcheck: {disable: true}\nnetwork_mode: none");
    let notes = convert(&quiet).unwrap().notes;
    assert!(notes.iter().any(|note| note.key.ends_with("healthcheck")));
    assert!(notes.iter().all(|note| !note.why.contains("may reach")));
}

#[test]
fn what_no_job_can_be_is_refused_with_its_line_and_what_to_write() {
    for (lines, line, words) in REFUSED.iter().copied() {
        let refused = convert(&service(lines)).expect_err(lines);
        let found = refused
            .0
            .iter()
            .find(|finding| finding.to_string().contains(words));
        let found = found.unwrap_or_else(|| panic!("{lines}\n{refused}"));
        assert_eq!(found.line, line, "{lines}\n{found}");
    }
    for (text, words) in [
        ("", "there is nothing in it"),
        (
            "services: {a: {image: a}, b: {image: b}}",
            "a job is one container",
        ),
        ("services: {}", "a job is one container"),
        ("a: 1", "no job has this"),
        ("[1]", "a mapping of keys"),
        (
            "services: {a: {image: a, volumes: [\"v:/v\"]}}\nvolumes: {v: }",
            "line 2: volumes.v: a volume has a size",
        ),
        ("services: {a: {image: a}}\n---\n{}", "second document"),
        (
            "services: {a: {image: a}}\nconfigs: {}",
            "give it as a secret",
        ),
        ("services:\n\t- a", "line 2"),
    ] {
        let refused = convert(text).expect_err(text).to_string();
        assert!(refused.contains(words), "{text}\n{refused}");
    }
}

#[test]
fn a_health_check_by_command_is_told_as_a_port() {
    let text =
        "image: a:1\nhealthcheck:\n  test: [CMD, curl, -f, \"http://localhost:8080/healthz\"]";
    let said = convert(&service(text)).unwrap_err().to_string();
    assert!(
        said.contains("line 4") && said.contains("curl or wget"),
        "{said}"
    );
    assert!(
        said.contains("- target: 8080") && said.contains("path: \"/healthz\""),
        "{said}"
    );
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let refused = convert(&service("image: a:1\nbuild: .\nuser: root\nnetworks: [a]")).unwrap_err();
    let lines: Vec<_> = refused.0.iter().map(|finding| finding.line).collect();
    assert_eq!(lines, [4, 5, 6]);
}

#[test]
fn aliases_of_aliases_come_to_an_end() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let last = format!("*a{}", i - 1);
        text.push_str(&format!(
            "a{i}: &a{i} [{}]\n",
            [last.as_str(); 10].join(", ")
        ));
    }
    let said = convert(&text).unwrap_err().to_string();
    assert!(said.contains("too much, with what its aliases"), "{said}");
    let said = convert("a: &a [*a]").unwrap_err().to_string();
    assert!(said.contains("inside of what it stands for"), "{said}");
    let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
    let said = convert(&deep).unwrap_err().to_string();
    assert!(said.contains("nested deeper"), "{said}");
    let said = convert(&" ".repeat(yaml::BYTES_MAX + 1))
        .unwrap_err()
        .to_string();
    assert!(said.contains("more than 256 KiB"), "{said}");
}

/// Text that is YAML more often than not, of what compose files are made of.
fn fragments() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "services:",
        "web:",
        "image:",
        "a:1",
        "ports:",
        "- ",
        "80:80",
        "deploy:",
        "replicas:",
        "\n",
        "\n  ",
        "\n    ",
        " ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&a",
        "*a",
        "<<:",
        "$",
        "$$",
        "\"",
        "'",
        "|",
        ">",
        "~",
        "1g",
        "cpus:",
        "volumes:",
        "secrets:",
        "x-nearlight:",
        "environment:",
        "restart:",
        "always",
        "healthcheck:",
        "#",
        "!!str",
        "---",
        "?",
        "\u{e9}",
        "\t",
        "-1",
        "18446744073709551616",
    ]);
    prop::collection::vec(words, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_text_panics_and_what_converts_is_a_job(text in fragments()) {
        match convert(&text) {
            Ok(composed) => prop_assert_eq!(composed.spec.fault(), None),
            Err(refused) => prop_assert!(!refused.0.is_empty()),
        }
    }

    #[test]
    fn any_service_lines_are_a_job_or_refused(lines in fragments()) {
        let text = format!("services:\n  web:\n    image: a:1\n    {}\n", lines.replace('\n', "\n    "));
        if let Ok(composed) = convert(&text) {
            prop_assert_eq!(composed.spec.fault(), None);
            let toml = job_toml(&composed.spec).expect("it is written");
            prop_assert_eq!(toml::from_str::<JobSpec>(&toml).expect("it is read"), composed.spec);
        }
    }
}
