//! A job behind another kernel than its host's: gVisor (`runsc`), where the engine has it.

use super::hostile::{
    CALLS, Neighbour, SLACK, burns, direct, fills_its_disk, fills_its_memory, floods, held_by_node,
    is_locked_in, loops, processes,
};
use super::support;
use super::walls::reaches_what_its_spec_says;
use super::{NOTHING, container};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::job::{ContainerRuntime, JobSpec};
use support::jobs::{
    address, alone, command, docker, end_of, get, ready, secret, served, site, started, stopped,
    traces,
};
use support::node::until;

/// Whether the engine has it; where not, it is said.
fn has_gvisor(runtimes: &[ContainerRuntime]) -> bool {
    let has = runtimes.contains(&ContainerRuntime::Runsc);
    if !has {
        support::skipped(
            "the engine has no runtime `runsc`: install it, then `scripts/docker.sh start`",
        );
    }
    has
}

#[tokio::test]
async fn a_job_in_gvisor_has_a_kernel_of_its_own_and_the_same_walls() {
    let Some(site) = site().await else { return };
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    let offer = edge.inventory.jobs.clone().expect("this node takes jobs");
    if !has_gvisor(&offer.runtimes) {
        return;
    }
    let neighbour = ready(&site, &mut edge, 0, 1, served()).await;
    let mut spec = served();
    spec.place.runtime = ContainerRuntime::Runsc;
    spec.env = [("MODE".to_owned(), "fast".to_owned())].into();
    spec.secrets = vec!["TOKEN".to_owned()];
    let job = ready(&site, &mut edge, 1, 1, spec).await;

    let name = ["inspect", "-f", "{{.HostConfig.Runtime}}", &container(&job)];
    assert_eq!(docker(&name).unwrap().trim(), "runsc");
    let host = std::fs::read_to_string("/proc/version").unwrap();
    assert_eq!(get(&neighbour, "/read/proc/version").await, host);
    let own = get(&job, "/read/proc/version").await;
    assert!(own.starts_with("Linux version") && own != host, "{own}");

    assert!(get(&job, "/env").await.contains("MODE=fast\n"));
    let told = get(&job, "/read/run/secrets/TOKEN").await;
    assert_eq!(told, secret("TOKEN"));
    let shown = docker(&["inspect", &container(&job)]).unwrap();
    let log = docker(&["logs", &container(&job)]).unwrap();
    assert!(!shown.contains("hunter2") && !log.contains("hunter2"));
    assert!(log.contains("listening"), "{log}");

    assert_eq!(get(&job, "/touch/tmp/x").await, "wrote");
    for place in ["x", "bin/x", "etc/hosts", "run/secrets/x"] {
        let said = get(&job, &format!("/touch/{place}")).await;
        assert!(said.starts_with("failed"), "{place}: {said}");
    }
    let on_disk: u32 = get(&job, "/fill/tmp/fat").await.parse().unwrap();
    assert!((16..=32).contains(&on_disk), "{on_disk} MiB");
    let beside = format!("{}:8000", address(&neighbour));
    for target in ["169.254.169.254:80", &beside] {
        let said = get(&job, &format!("/connect/{target}")).await;
        assert!(said.starts_with("failed"), "{target}: {said}");
    }
    stopped(&mut edge, &job).await;
    stopped(&mut edge, &neighbour).await;
    assert_eq!(traces(&site), NOTHING);
}

/// The spec of a job in gVisor.
fn in_gvisor(mut spec: JobSpec) -> JobSpec {
    spec.place.runtime = ContainerRuntime::Runsc;
    spec
}

#[tokio::test]
async fn a_hostile_job_in_gvisor_is_bounded_and_its_neighbour_goes_on() {
    let Some(mut site) = site().await else { return };
    let _alone = alone();
    site.config = "[jobs.direct]\nlisten = \"127.0.0.1:0\"\n".to_owned();
    let mut agent = site.agent();
    let mut edge = site.broker.attach().await;
    let offer = edge.inventory.jobs.clone().expect("this node takes jobs");
    if !has_gvisor(&offer.runtimes) {
        return;
    }
    let at = direct(&mut agent);
    let neighbour = ready(&site, &mut edge, 0, 1, served()).await;
    assert_eq!(get(&neighbour, "/touch/tmp/x").await, "wrote");
    let neighbour = Neighbour::new(at, &site, neighbour);
    let (before, disks) = (held_by_node(&site), loops(&site));

    let hostile = ready(&site, &mut edge, 1, 1, in_gvisor(served())).await;
    let id = docker(&["inspect", "-f", "{{.Id}}", &container(&hostile)]).unwrap();
    assert_ne!(processes(&id), []);
    is_locked_in(&hostile).await;
    // Its kernel gives it a view of mounts of its own, of which the host knows nothing.
    for call in CALLS.into_iter().filter(|call| *call != "root") {
        let said = get(&hostile, &format!("/call/{call}")).await;
        assert!(said.starts_with('E') || call == "unshare", "{call}: {said}");
    }
    burns(&hostile, &neighbour).await;
    fills_its_disk(&hostile, &neighbour, &site).await;
    fills_its_memory(&hostile, &neighbour).await;
    let log = floods(&hostile, &neighbour).await;
    stopped(&mut edge, &hostile).await;
    assert_eq!(processes(&id), []);
    assert!(!log.exists());

    // Where a call would fail in runc, the job ends.
    let attacks = ["call/root", "forks", "threads", "hog"];
    for (epoch, attack) in (2..).zip(attacks) {
        let hostile = ready(&site, &mut edge, 1, epoch, in_gvisor(served())).await;
        assert_eq!(get(&hostile, &format!("/{attack}")).await, "");
        let (why, words) = end_of(&mut edge, &hostile).await;
        let is_bounded = match attack {
            "hog" => why == EndReason::JobOutOfMemory,
            // Of a sandbox that has no more threads, or no more memory for them.
            _ => matches!(why, EndReason::JobFailed | EndReason::JobOutOfMemory),
        };
        assert!(is_bounded, "{attack}: {why:?} {words}");
        neighbour.answers().await;
    }
    until("their disks are the node's again", || loops(&site) == disks).await;
    assert!(held_by_node(&site) <= before + SLACK);
    assert_eq!(get(&neighbour.session, "/read/tmp/x").await, "x");
    let neighbour = neighbour.unharmed().await;
    stopped(&mut edge, &neighbour).await;
    assert_eq!(traces(&site), NOTHING);
}

#[tokio::test]
async fn a_job_in_gvisor_reaches_what_its_spec_says_and_never_a_private_range() {
    let Some(site) = site().await else { return };
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    let offer = edge.inventory.jobs.clone().expect("this node takes jobs");
    if !has_gvisor(&offer.runtimes) {
        return;
    }
    let networks = [["192.88.99.1", "192.88.99.2"], ["10.253.8.1", "10.253.8.2"]];
    reaches_what_its_spec_says((&site, &mut edge), ContainerRuntime::Runsc, networks).await;
}

#[tokio::test]
async fn a_job_in_gvisor_that_ends_says_why() {
    let Some(site) = site().await else { return };
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    let offer = edge.inventory.jobs.clone().expect("this node takes jobs");
    if !has_gvisor(&offer.runtimes) {
        return;
    }
    for (epoch, status, reason) in [(1, "0", EndReason::JobDone), (2, "3", EndReason::JobFailed)] {
        let mut spec = command(&["exit", status]);
        spec.place.runtime = ContainerRuntime::Runsc;
        let job = started(&site, &mut edge, 0, epoch, spec).await;
        let (why, words) = end_of(&mut edge, &job).await;
        assert_eq!(why, reason, "{words:?}");
    }
    let mut hungry = served();
    hungry.place.runtime = ContainerRuntime::Runsc;
    let job = ready(&site, &mut edge, 0, 3, hungry).await;
    get(&job, "/hog").await;
    assert_eq!(end_of(&mut edge, &job).await.0, EndReason::JobOutOfMemory);
    assert_eq!(traces(&site), NOTHING);
}
