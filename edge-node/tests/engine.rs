//! What becomes of sessions while the container engine hangs, or cannot be used.
#![allow(clippy::unwrap_used, reason = "a test that fails should say where")]

mod support;

use support::engine::Way;
use support::jobs::{get, ready, served, site, stopped, traces};

const NOTHING: [String; 0] = [];

#[tokio::test]
async fn an_agent_that_cannot_take_its_jobs_over_does_not_start_and_gives_none_up() {
    let Some(mut site) = site().await else { return };
    let way = Way::open_in(site.dir.path());
    (site.runtime, site.engine) = ("auto", Some(way.socket.clone()));
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    let session = ready(&site, &mut edge, 0, 1, served()).await;
    let before = site.containers();
    agent.kill().await;
    drop(edge);

    // The sandbox could be opened; the job is in the engine, which hangs.
    way.shut();
    assert_ne!(site.agent().exited().await, Some(0));
    way.reopen();
    // The engine answers, but its operator takes no jobs any more.
    site.config = "[jobs]\ntake = false\n".to_owned();
    assert_ne!(site.agent().exited().await, Some(0));
    assert_eq!(site.containers(), before);

    site.config.clear();
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    let shown: Vec<_> = edge.running.iter().map(|r| (&r.session, r.ready)).collect();
    assert_eq!((shown, &edge.ended), (vec![(&session, true)], &Vec::new()));
    assert_eq!(site.containers(), before);
    assert!(get(&session, "/env").await.contains("HOME="));
    stopped(&mut edge, &session).await;
    assert_eq!(traces(&site), NOTHING);
}
