//! A node whose apps run in the sandbox: no job ever does.

use super::NOTHING;
use super::support::IMAGE;
use super::support::jobs::{end_of, started, stopped, traces};
use super::support::node::{Site, give_rootfs};
use super::support::play::{FOREVER, check_nothing_left, play};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::job::JobSpec;

/// Processes of this host that have this word in their command line.
fn with_word(word: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let has = |line: &Vec<u8>| {
        line.split(|byte| *byte == 0)
            .any(|part| part == word.as_bytes())
    };
    lines.filter(has).count()
}

#[tokio::test]
async fn a_node_with_the_sandbox_refuses_a_job_starts_nothing_and_leaves_nothing_in_its_next_agents_way()
 {
    let site = Site::new("sandbox").await;
    // An app of this image is started here.
    give_rootfs(&site.data());
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    assert_eq!(edge.inventory.runtime, "sandbox");
    assert!(edge.inventory.jobs.is_none());

    // Told from what other tests start by this.
    let script = format!("{FOREVER} # {}", std::process::id());
    let mut spec = JobSpec::of_image(IMAGE);
    spec.command = ["/bin/sh", "-c", &script].map(str::to_owned).into();
    let job = started(&site, &mut edge, 0, 1, spec).await;
    let (reason, detail) = end_of(&mut edge, &job).await;
    assert_eq!(
        (reason, detail.as_str()),
        (EndReason::RuntimeFailed, "this node takes no jobs")
    );
    assert_eq!(with_word(&script), 0);
    assert_eq!(traces(&site), NOTHING);

    agent.kill().await;
    drop(edge);
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    assert!(edge.running.is_empty());
    // Its slot is an app's again, which the same image runs in.
    let app = play(&site, &mut edge, 0, 2, &script).await;
    assert_ne!(with_word(&script), 0);
    stopped(&mut edge, &app).await;
    check_nothing_left(&site).await;
}
