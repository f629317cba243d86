//! How an agent learns as whom an image runs: from a container that is made for that alone.

use crate::support::engine::Way;
use crate::support::jobs::{docker, get, image, ready, served, site, started, stopped, traces};
use crate::support::node::{Site, until};
use crate::{NOTHING, container};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::job::JobSpec;

fn way(site: &mut Site) -> Way {
    let way = Way::open_in(site.dir.path());
    site.engine = Some(way.socket.clone());
    way
}

/// A job of an image that has this user, and declares a volume.
fn of_user(user: &str) -> JobSpec {
    let mut spec = served();
    spec.image = image(Some(user));
    spec
}

fn of_a_user() -> JobSpec {
    of_user("worker")
}

#[tokio::test]
async fn an_engine_that_is_killed_while_an_image_is_looked_into_leaves_no_nameless_volumes() {
    let Some(mut site) = site().await else { return };
    let way = way(&mut site);
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    way.hang_at("/archive?");
    let session = started(&site, &mut edge, 0, 1, of_a_user()).await;
    let look = format!("{}-look", container(&session));
    let names = "{{range .Mounts}}{{if eq .Type \"volume\"}}{{.Name}} {{end}}{{end}}";
    let volumes = || docker(&["inspect", "-f", names, &look]);
    until("its image is looked into", || volumes().is_some()).await;
    assert_eq!(volumes().as_deref(), Some(""));

    // What is left of it by an engine that was killed then: it knows of no container that its volumes are of.
    agent.kill().await;
    drop(edge);
    docker(&["rm", "-f", &look]).unwrap();
    way.reopen();
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    assert_eq!(edge.end_of(&session).await, EndReason::Internal);
    assert_eq!(traces(&site), NOTHING);
}

#[tokio::test]
async fn an_image_is_looked_into_once_and_not_at_every_start() {
    let Some(mut site) = site().await else { return };
    let way = way(&mut site);
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    let first = ready(&site, &mut edge, 0, 1, of_a_user()).await;
    stopped(&mut edge, &first).await;

    // From here on the container that it takes is never made.
    way.hang_at("-look");
    let second = ready(&site, &mut edge, 0, 2, of_a_user()).await;
    let status = get(&second, "/read/proc/self/status").await;
    assert!(
        status.contains("Uid:\t1234\t") && status.contains("Gid:\t1235\t"),
        "{status}"
    );
    assert!(get(&second, "/env").await.contains("HOME=/home/worker\n"));
    stopped(&mut edge, &second).await;
    assert_eq!(traces(&site), NOTHING);
}

#[tokio::test]
async fn an_image_whose_container_was_pruned_while_it_was_looked_into_is_not_taken_for_one_without_users()
 {
    let Some(mut site) = site().await else { return };
    let way = way(&mut site);
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    way.hang_at("/archive?");
    // A number stands for itself where no /etc/passwd says its group and home.
    let first = started(&site, &mut edge, 0, 1, of_user("1234")).await;
    let look = format!("{}-look", container(&first));
    until("its image is looked into", || {
        docker(&["inspect", &look]).is_some()
    })
    .await;
    docker(&["rm", &look]).unwrap();
    way.reopen();
    assert_eq!(edge.end_of(&first).await, EndReason::RuntimeFailed);

    let second = ready(&site, &mut edge, 0, 2, of_user("1234")).await;
    let status = get(&second, "/read/proc/self/status").await;
    assert!(
        status.contains("Uid:\t1234\t") && status.contains("Gid:\t1235\t"),
        "{status}"
    );
    stopped(&mut edge, &second).await;
    assert_eq!(traces(&site), NOTHING);
}
