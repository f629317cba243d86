//! Jobs on the real agent, with real containers and a broker of the test: their life, their ends, and what they
//! leave.
#![allow(clippy::unwrap_used, reason = "a test that fails should say where")]

#[path = "jobs/clusters.rs"]
mod clusters;
#[path = "jobs/direct.rs"]
mod direct;
#[path = "jobs/gvisor.rs"]
mod gvisor;
#[path = "jobs/hostile.rs"]
mod hostile;
#[path = "jobs/kept.rs"]
mod kept;
#[path = "jobs/lying_registry.rs"]
mod lying_registry;
#[path = "jobs/names.rs"]
mod names;
#[path = "jobs/pull.rs"]
mod pull;
#[path = "jobs/sandbox.rs"]
mod sandbox;
mod support;
#[path = "jobs/users.rs"]
mod users;
#[path = "jobs/walls.rs"]
mod walls;

use nearlight_protocol::api::{EndReason, StartProgress};
use nearlight_protocol::control::{AckOutcome, DenyReason, Order, SessionReport};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::job::{ContainerRuntime, GpuNeed, RestartPolicy};
use nix::sys::signal::Signal;
use support::jobs::{
    command, docker, end_of, get, image, ready, secret, served, site, started, stopped, traces,
};
use support::node::{Site, until};

const NOTHING: [String; 0] = [];

fn container(session: &SessionId) -> String {
    format!("nearlight-{session}")
}

#[tokio::test]
async fn a_job_gets_healthy_answers_and_ends_without_a_trace() {
    let Some(site) = site().await else { return };
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    let offer = edge.inventory.jobs.clone().expect("this node takes jobs");
    assert!(
        offer.runtimes.contains(&ContainerRuntime::Runc),
        "{offer:?}"
    );
    assert!(offer.disk_mib > 0, "{offer:?}");

    let mut spec = served();
    spec.env = [("MODE".to_owned(), "fast".to_owned())].into();
    spec.secrets = vec!["TOKEN".to_owned()];
    let session = started(&site, &mut edge, 0, 1, spec).await;
    for expected in [
        StartProgress::StartingContainer,
        StartProgress::WaitingForHealth { restarts: 0 },
    ] {
        let expected = SessionReport::Progress { progress: expected };
        edge.report(&session, |event| *event == expected).await;
    }
    edge.wait_ready(&session).await;

    let env = get(&session, "/env").await;
    assert!(
        env.contains("MODE=fast\n") && env.contains("HOME=/home/job\n"),
        "{env}"
    );
    assert_eq!(
        get(&session, "/read/run/secrets/TOKEN").await,
        secret("TOKEN")
    );
    let status = get(&session, "/read/proc/self/status").await;
    for lock in [
        "Uid:\t1000\t1000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(status.contains(lock), "{lock}: {status}");
    }
    // Nowhere but in the container.
    let shown = docker(&["inspect", &container(&session)]).unwrap();
    let log = docker(&["logs", &container(&session)]).unwrap();
    let record = std::fs::read_to_string(site.data().join(format!("jobs/{session}.json"))).unwrap();
    for place in [&shown, &log, &record, &env] {
        assert!(!place.contains("hunter2"), "{place}");
    }
    assert!(log.contains("listening"), "{log}");

    // What it used is told before its end, whatever it did a moment ago.
    assert_eq!(get(&session, "/keep/48").await, (48 << 20).to_string());
    let burnt_ms: u64 = get(&session, "/burn/700").await.parse().unwrap();
    edge.order(Order::Stop {
        session: session.clone(),
        reason: EndReason::PlayerEnded,
    })
    .await;
    let is_last = |event: &SessionReport| match event {
        SessionReport::Used { facts } => facts.cpu_ms.is_some_and(|ms| ms >= burnt_ms),
        _ => false,
    };
    let SessionReport::Used { facts } = edge.report(&session, is_last).await else {
        unreachable!("that is what was waited for")
    };
    // Its own, and the program that is its init; all within what it may have.
    assert!(
        (48..=128).contains(&facts.mem_mib_peak.unwrap()),
        "{facts:?}"
    );
    assert_eq!(
        (facts.gpu_mem_mib_peak, facts.gpu_busy_percent_mean),
        (None, None)
    );
    assert_eq!(edge.ended(&session).await.0, EndReason::PlayerEnded);
    assert_eq!(traces(&site), NOTHING);
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exited().await, Some(0));
}

#[tokio::test]
async fn a_job_that_ends_says_why() {
    let Some(site) = site().await else { return };
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    let mut epoch = 0;

    let mut late = served();
    late.ports[0].health.as_mut().unwrap().path = "/healthz".to_owned();
    late.ports[0].port = 9000;
    late.time.start_s = 2;
    let mut missing = command(&["exit", "0"]);
    missing.image = "nearlight/no-such-job:1".to_owned();
    let mut large = command(&["exit", "0"]);
    large.resources.disk_mib = u32::MAX >> 6;
    let mut walled = command(&["exit", "0"]);
    walled.place.runtime = ContainerRuntime::Kata;
    for (spec, reason, words) in [
        (command(&["exit", "0"]), EndReason::JobDone, "my last words"),
        (
            command(&["exit", "3"]),
            EndReason::JobFailed,
            "exit status 3\nmy last words",
        ),
        (
            command(&["no-such-verb"]),
            EndReason::JobFailed,
            "exit status 101",
        ),
        (command(&["hog"]), EndReason::JobOutOfMemory, ""),
        (
            late,
            EndReason::JobStartTimeout,
            "port api is not healthy: Connection refused (os error 111)\nlistening",
        ),
        (missing, EndReason::ImageMissing, "no-such-job"),
        (large, EndReason::RuntimeFailed, "MiB of disk"),
        (walled, EndReason::RuntimeFailed, "runtime"),
    ] {
        epoch += 1;
        let session = started(&site, &mut edge, 0, epoch, spec.clone()).await;
        let (why, detail) = end_of(&mut edge, &session).await;
        assert_eq!(why, reason, "{:?}: {detail}", spec.command);
        assert!(detail.contains(words), "{:?}: {detail}", spec.command);
        assert_eq!(traces(&site), NOTHING, "{:?}", spec.command);
    }

    let session = ready(&site, &mut edge, 0, epoch + 1, served()).await;
    get(&session, "/sick").await;
    let (why, detail) = end_of(&mut edge, &session).await;
    assert_eq!(why, EndReason::JobUnhealthy);
    assert!(
        detail.contains("port api failed 2 checks in a row: status 500\n"),
        "{detail}"
    );

    // One that hears no SIGTERM is killed.
    let mut deaf = served();
    deaf.command = ["deaf", "8000"].map(str::to_owned).into();
    let session = ready(&site, &mut edge, 0, epoch + 2, deaf).await;
    stopped(&mut edge, &session).await;
    assert_eq!(traces(&site), NOTHING);
}

#[tokio::test]
async fn a_job_that_is_not_what_its_grant_allows_is_denied() {
    let Some(site) = site().await else { return };
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    let session = nearlight_kit::ids::session();
    let mut bad = served();
    bad.ports[0].port = 0;
    let mut with_secret = served();
    with_secret.secrets = vec!["TOKEN".to_owned()];
    let order = support::jobs::start(&site.broker, &session, (&edge, 0, 1), with_secret);
    let Order::Start(mut without_value) = order else {
        unreachable!()
    };
    without_value.secrets = nearlight_protocol::work::Secrets::default();
    for order in [
        support::jobs::start(&site.broker, &session, (&edge, 0, 1), bad),
        Order::Start(without_value),
    ] {
        match edge.done(order).await {
            AckOutcome::Denied { reason, .. } => assert_eq!(reason, DenyReason::GrantInvalid),
            AckOutcome::Done => panic!("it was done"),
        }
    }
    assert_eq!(traces(&site), NOTHING);
}

#[tokio::test]
async fn a_gpu_that_its_grant_does_not_name_or_the_node_lacks_is_refused_before_anything_starts() {
    let Some(site) = site().await else { return };
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    let host = edge.inventory.jobs.clone().unwrap();
    assert!(host.gives_gpus, "it reads what a grant says of GPUs");
    let session = nearlight_kit::ids::session();
    let mut spec = served();
    spec.resources.gpu = Some(GpuNeed {
        count: 1,
        model: None,
        vram_mib: 0,
        compute_capability: 0,
    });
    let slot = edge.inventory.slots[0].id.clone();
    for (named, says) in [
        (Vec::new(), "names 0 GPUs"),
        (vec!["GPU-elsewhere"], "no GPU GPU-elsewhere"),
        (vec!["GPU-a", "GPU-b"], "names 2 GPUs"),
    ] {
        let order = support::jobs::start(&site.broker, &session, (&edge, 0, 1), spec.clone());
        let Order::Start(mut order) = order else {
            unreachable!()
        };
        let named = named.into_iter().map(str::to_owned).collect();
        order.grant = site.broker.grant_with(&session, &slot, 1, named);
        match edge.done(Order::Start(order)).await {
            AckOutcome::Denied { reason, detail } => {
                assert_eq!(reason, DenyReason::GrantInvalid);
                assert!(detail.contains(says), "{detail}");
            }
            AckOutcome::Done => panic!("it was done"),
        }
    }
    assert_eq!(traces(&site), NOTHING);
    // Nothing was written down: the epoch is good for who comes next.
    let next = ready(&site, &mut edge, 0, 1, served()).await;
    stopped(&mut edge, &next).await;
}

#[tokio::test]
async fn a_job_is_started_again_as_its_policy_says_with_what_it_had() {
    let Some(site) = site().await else { return };
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    let mut spec = served();
    spec.command = ["flaky", "8000"].map(str::to_owned).into();
    spec.secrets = vec!["TOKEN".to_owned()];
    spec.restart.policy = RestartPolicy::OnFailure;
    spec.restart.max = 4;
    let session = started(&site, &mut edge, 0, 1, spec).await;
    let again = |restarts| SessionReport::Progress {
        progress: StartProgress::WaitingForHealth { restarts },
    };
    edge.report(&session, |event| *event == again(2)).await;
    edge.wait_ready(&session).await;
    assert_eq!(
        get(&session, "/read/run/secrets/TOKEN").await,
        secret("TOKEN")
    );
    assert_eq!(get(&session, "/read/tmp/starts").await, "xxx");

    // An unhealthy one is started again, too, and so is one that crashed.
    get(&session, "/sick").await;
    edge.report(&session, |event| *event == again(3)).await;
    edge.wait_ready(&session).await;
    get(&session, "/exit/9").await;
    edge.report(&session, |event| *event == again(4)).await;
    edge.wait_ready(&session).await;
    get(&session, "/exit/9").await;
    let (reason, detail) = end_of(&mut edge, &session).await;
    assert_eq!(reason, EndReason::JobFailed, "{detail}");
    assert_eq!(traces(&site), NOTHING);
}

#[tokio::test]
async fn an_agent_that_is_killed_is_followed_by_one_that_adopts_its_jobs() {
    let Some(site) = site().await else { return };
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    let mut spec = served();
    spec.secrets = vec!["TOKEN".to_owned()];
    let kept = ready(&site, &mut edge, 0, 1, spec).await;
    let gone = ready(&site, &mut edge, 1, 1, served()).await;
    let before = traces(&site);
    agent.kill().await;
    drop(edge);
    docker(&["rm", "-f", &container(&gone)]).unwrap();
    assert_eq!(get(&kept, "/read/run/secrets/TOKEN").await, secret("TOKEN"));

    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    assert_eq!(edge.end_of(&gone).await, EndReason::JobFailed);
    assert!(edge.runs(&kept).unwrap().ready);
    assert_eq!(get(&kept, "/read/run/secrets/TOKEN").await, secret("TOKEN"));
    let after: Vec<_> = before
        .into_iter()
        .filter(|trace| traces(&site).contains(trace))
        .collect();
    assert!(after.iter().any(|trace| trace.contains(kept.as_str())));
    assert!(
        !traces(&site)
            .iter()
            .any(|trace| trace.contains(gone.as_str()))
    );

    // What ends while nobody looks is reported with its own reason.
    agent.kill().await;
    drop(edge);
    docker(&["kill", "-s", "KILL", &container(&kept)]).unwrap();
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    assert_eq!(edge.end_of(&kept).await, EndReason::JobFailed);
    until("nothing is left", || traces(&site).is_empty()).await;
    drop(agent);
}

#[tokio::test]
async fn what_an_agent_left_that_died_while_starting_a_job_is_cleared_away() {
    let Some(site) = site().await else { return };
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    let session = ready(&site, &mut edge, 0, 1, served()).await;
    agent.kill().await;
    drop(edge);
    // As if it had died before it wrote down the container, and another time before it wrote anything.
    let record = site.data().join(format!("jobs/{session}.json"));
    let mut text: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    text["container"] = serde_json::Value::Null;
    std::fs::write(&record, text.to_string()).unwrap();
    nameless(&site, &session);
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    assert_eq!(edge.end_of(&session).await, EndReason::Internal);
    assert_eq!(traces(&site), NOTHING);

    let session = ready(&site, &mut edge, 0, 2, served()).await;
    agent.kill().await;
    drop(edge);
    std::fs::remove_file(site.data().join(format!("jobs/{session}.json"))).unwrap();
    nameless(&site, &nearlight_kit::ids::session());
    let agent = site.agent();
    let edge = site.broker.attach().await;
    assert!(
        edge.ended.contains(&(session, EndReason::Internal)),
        "{:?}",
        edge.ended
    );
    assert_eq!(traces(&site), NOTHING);
    drop(agent);
}

/// What an engine leaves that was killed as it made a job's container: a volume that is of no container.
fn nameless(site: &Site, session: &SessionId) {
    let node = format!("nearlight.node={}", site.broker.node);
    let session = format!("nearlight.session={session}");
    let labels = [node.as_str(), session.as_str(), "nearlight.kind=job"];
    let labels = labels.into_iter().flat_map(|label| ["--label", label]);
    let words: Vec<&str> = ["volume", "create"].into_iter().chain(labels).collect();
    assert!(docker(&words).is_some_and(|name| !name.is_empty()));
}

#[tokio::test]
async fn a_drained_node_ends_its_jobs() {
    let Some(site) = site().await else { return };
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    let mut slow = served();
    slow.command = ["deaf", "8000"].map(str::to_owned).into();
    slow.time.stop_s = 3600;
    let session = ready(&site, &mut edge, 0, 1, slow).await;
    agent.signal(Signal::SIGTERM);
    assert_eq!(edge.ended(&session).await.0, EndReason::NodeDrained);
    assert_eq!(agent.exited().await, Some(0));
    assert_eq!(traces(&site), NOTHING);
}

#[tokio::test]
async fn an_image_runs_as_its_user_with_its_own_files_to_write() {
    let Some(site) = site().await else { return };
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    let mut spec = served();
    spec.image = image(Some("worker"));
    let session = ready(&site, &mut edge, 0, 1, spec).await;
    let status = get(&session, "/read/proc/self/status").await;
    assert!(
        status.contains("Uid:\t1234\t") && status.contains("Gid:\t1235\t"),
        "{status}"
    );
    assert!(get(&session, "/env").await.contains("HOME=/home/worker\n"));
    assert_eq!(
        get(&session, "/read/home/worker/notes").await,
        "of the image"
    );
    assert_eq!(get(&session, "/read/data/seed").await, "of the image");
    for place in [
        "home/worker/x",
        "data/x",
        "tmp/x",
        "var/tmp/x",
        "run/x",
        "dev/shm/x",
    ] {
        assert_eq!(
            get(&session, &format!("/touch/{place}")).await,
            "wrote",
            "{place}"
        );
    }
    stopped(&mut edge, &session).await;
    assert_eq!(traces(&site), NOTHING);
}
