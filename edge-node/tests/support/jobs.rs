//! Jobs for the tests: an image whose program does what it is asked to, and ways to look at what there is.

use super::broker::{Attached, Broker};
use super::node::Site;
use super::{docker_with_image, example};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{AckOutcome, Order, SessionReport, Start};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::job::{Health, JobSpec, Port, PortAccess};
use nearlight_protocol::work::{Secrets, Work};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The port that the tests' program listens on.
pub const PORT: u16 = 8000;
const PATIENCE: Duration = Duration::from_secs(60);

/// A site whose node takes jobs; `None`, and a word of it, where no test of jobs can run.
pub async fn site() -> Option<Site> {
    if !docker_with_image() {
        return None;
    }
    if !nix::unistd::geteuid().is_root() {
        super::skipped("jobs need root");
        return None;
    }
    Some(Site::new("docker").await)
}

/// Held by a test that has all mounts of this host, and by one that looks at when the disks of its jobs are gone.
pub fn alone() -> fs::File {
    let file = fs::File::create(std::env::temp_dir().join("nearlight-test-mounts")).unwrap();
    file.lock().unwrap();
    file
}

/// The image of `job_program` with a user of its own, or of none; made once for each build of it.
pub fn image(user: Option<&str>) -> String {
    let program = example("job_program");
    let hash = fs::read(&program)
        .unwrap()
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
    let image = format!("nearlight/edge-job-{}:{hash:08x}", user.unwrap_or("root"));
    if docker(&["image", "inspect", &image]).is_none() {
        let root = tempfile::tempdir().unwrap();
        fill_root(root.path(), &program);
        import(root.path(), &image, user);
    }
    image
}

fn fill_root(root: &Path, program: &Path) {
    for dir in [
        "proc",
        "dev",
        "tmp",
        "run",
        "etc",
        "bin",
        "var/tmp",
        "data",
        "home/worker",
    ] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::write(root.join("etc/nsswitch.conf"), "hosts: files dns\n").unwrap();
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nworker:x:1234:1235::/home/worker:/bin/sh\n",
    )
    .unwrap();
    fs::write(root.join("home/worker/notes"), "of the image").unwrap();
    fs::write(root.join("data/seed"), "of the image").unwrap();
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for library in listed
        .split_ascii_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        let target = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(library, target).unwrap();
    }
    fs::copy(program, root.join("bin/job")).unwrap();
}

fn import(root: &Path, image: &str, user: Option<&str>) {
    let tar = Command::new("tar")
        .args(["-C", root.to_str().unwrap(), "-c", "."])
        .output()
        .unwrap();
    let user = user.map(|user| format!("USER {user}"));
    let mut args = vec![
        "import",
        "-c",
        "ENTRYPOINT [\"/bin/job\"]",
        "-c",
        "CMD [\"serve\", \"8000\"]",
        "-c",
        "VOLUME /data",
    ];
    if let Some(user) = &user {
        args.extend(["-c", user]);
    }
    args.extend(["-", image]);
    let mut import = Command::new("docker")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    import.stdin.take().unwrap().write_all(&tar.stdout).unwrap();
    assert!(import.wait().unwrap().success());
}

/// A job that serves, and is healthy when it says so.
pub fn served() -> JobSpec {
    let mut spec = JobSpec::of_image(&image(None));
    spec.resources.cpu_milli = 500;
    spec.resources.mem_mib = 128;
    spec.resources.disk_mib = 32;
    spec.resources.shm_mib = 8;
    spec.resources.pids = 64;
    spec.time.start_s = 60;
    spec.time.stop_s = 2;
    spec.ports = vec![Port {
        name: "api".to_owned(),
        port: PORT,
        health: Some(Health {
            path: "/healthz".to_owned(),
            every_s: 1,
            timeout_s: 5,
            failures: 2,
        }),
        access: PortAccess::Ticket,
    }];
    spec
}

/// A job that runs a command and listens on nothing.
pub fn command(words: &[&str]) -> JobSpec {
    let mut spec = served();
    spec.ports.clear();
    spec.command = words.iter().map(|word| (*word).to_owned()).collect();
    spec
}

/// An order to start a job.
pub fn start(
    broker: &Broker,
    session: &SessionId,
    at: (&Attached, usize, u64),
    spec: JobSpec,
) -> Order {
    let (edge, slot, epoch) = at;
    let values = spec.secrets.iter().map(|name| (name.clone(), secret(name)));
    let secrets = Secrets(values.collect::<BTreeMap<_, _>>());
    Order::Start(Box::new(Start {
        session: session.clone(),
        grant: broker.grant(session, &edge.inventory.slots[slot].id, epoch),
        work: Work::Job(Box::new(spec)),
        secrets,
        replica: None,
        storage: None,
        pull: None,
    }))
}

/// The value of a secret.
pub fn secret(name: &str) -> String {
    format!("hunter2-{name}")
}

/// Starts a job; it is acked.
pub async fn started(
    site: &Site,
    edge: &mut Attached,
    slot: usize,
    epoch: u64,
    spec: JobSpec,
) -> SessionId {
    let session = nearlight_kit::ids::session();
    let order = start(&site.broker, &session, (edge, slot, epoch), spec);
    assert_eq!(edge.done(order).await, AckOutcome::Done);
    session
}

/// Starts a job and waits until it is ready.
pub async fn ready(
    site: &Site,
    edge: &mut Attached,
    slot: usize,
    epoch: u64,
    spec: JobSpec,
) -> SessionId {
    let session = started(site, edge, slot, epoch, spec).await;
    edge.wait_ready(&session).await;
    session
}

/// Ends a job and waits until it says so.
pub async fn stopped(edge: &mut Attached, session: &SessionId) {
    let reason = EndReason::PlayerEnded;
    let session = session.clone();
    edge.order(Order::Stop {
        session: session.clone(),
        reason,
    })
    .await;
    assert_eq!(edge.ended(&session).await.0, reason);
}

/// The end of a job that nobody ended; restarts on the way are passed over.
pub async fn end_of(edge: &mut Attached, session: &SessionId) -> (EndReason, String) {
    let is_end = |event: &SessionReport| matches!(event, SessionReport::Ended { .. });
    match edge.report(session, is_end).await {
        SessionReport::Ended { reason, detail } => (reason, detail),
        other => unreachable!("{other:?}"),
    }
}

/// The output of `docker`, if it succeeds.
pub fn docker(args: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// The address of a job's container.
pub fn address(session: &SessionId) -> String {
    let name = format!("nearlight-{session}");
    let format = format!("{{{{(index .NetworkSettings.Networks \"{name}\").IPAddress}}}}");
    docker(&["inspect", "-f", &format, &name]).unwrap()
}

/// What a job answers to a GET.
pub async fn get(session: &SessionId, path: &str) -> String {
    let address = format!("{}:{PORT}", address(session));
    let asked = async {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: job\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // A program that ends meanwhile answers nothing.
        let _ = stream.read_to_string(&mut answer).await;
        answer
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap();
    answer
        .split_once("\r\n\r\n")
        .map_or(String::new(), |(_, body)| body.to_owned())
}

/// Everything of this node's jobs that there is on the host: containers, networks, volumes, rules, mounts,
/// files.
pub fn traces(site: &Site) -> Vec<String> {
    let node = site.broker.node.as_str();
    let mut traces = site.containers();
    let filter = format!("label=nearlight.node={node}");
    let networks = docker(&["network", "ls", "-q", "--filter", &filter]).unwrap_or_default();
    traces.extend(networks.lines().map(|id| format!("network {id}")));
    let volumes = docker(&["volume", "ls", "-q", "--filter", &filter]).unwrap_or_default();
    traces.extend(volumes.lines().map(|name| format!("volume {name}")));
    let rules = Command::new("iptables")
        .args(["-w", "-S"])
        .output()
        .unwrap();
    let rules = String::from_utf8(rules.stdout).unwrap();
    traces.extend(
        rules
            .lines()
            .filter(|rule| rule.contains(node))
            .map(str::to_owned),
    );
    let place = site.dir.path().to_str().unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    traces.extend(
        mounts
            .lines()
            .filter(|mount| mount.contains(place))
            .map(str::to_owned),
    );
    for dir in ["data/jobs", "data/disks"] {
        let entries = fs::read_dir(site.dir.path().join(dir))
            .into_iter()
            .flatten()
            .flatten();
        traces.extend(entries.map(|entry| entry.path().display().to_string()));
    }
    traces.extend(
        site.leftovers()
            .into_iter()
            .map(|path| path.display().to_string()),
    );
    traces
}

/// Takes away what a test that failed left of its jobs, but containers.
pub fn sweep(site: &Site) {
    let node = site.broker.node.as_str();
    for trace in traces(site) {
        if let Some(network) = trace.strip_prefix("network ") {
            docker(&["network", "rm", network]);
        } else if let Some(rule) = trace.strip_prefix("-A ").filter(|rule| rule.contains(node)) {
            let rule = rule.split(' ').map(|part| part.trim_matches('"'));
            // One that went with another is gone all the same.
            let _ = Command::new("iptables")
                .args(["-w", "-D"])
                .args(rule)
                .output();
        } else if let Some(mount) = trace.split(' ').nth(4).filter(|_| trace.contains("- ")) {
            let _ = Command::new("umount").args(["-l", mount]).output();
        }
    }
}
