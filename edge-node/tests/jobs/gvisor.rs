//! A job behind another kernel than its host's: gVisor (`runsc`), where the engine has it.

use super::support;
use super::{NOTHING, container};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::job::ContainerRuntime;
use support::jobs::{
    address, command, docker, end_of, get, ready, secret, served, site, started, stopped, traces,
};

#[tokio::test]
async fn a_job_in_gvisor_has_a_kernel_of_its_own_and_the_same_walls() {
    let Some(site) = site().await else { return };
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    let offer = edge.inventory.jobs.clone().expect("this node takes jobs");
    if !offer.runtimes.contains(&ContainerRuntime::Runsc) {
        support::skipped(
            "the engine has no runtime `runsc`: install it, then `scripts/docker.sh start`",
        );
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

#[tokio::test]
async fn a_job_in_gvisor_that_ends_says_why() {
    let Some(site) = site().await else { return };
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    let offer = edge.inventory.jobs.clone().expect("this node takes jobs");
    if !offer.runtimes.contains(&ContainerRuntime::Runsc) {
        support::skipped(
            "the engine has no runtime `runsc`: install it, then `scripts/docker.sh start`",
        );
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
