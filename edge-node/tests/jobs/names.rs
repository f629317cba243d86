//! A job that may reach a name: its addresses at its port, as they come and go, and nothing else.

use super::NOTHING;
use super::support::jobs::{alone, get, ready, served, site, stopped, traces};
use super::support::node::until;
use super::walls::{Beside, run};
use nearlight_protocol::id::SessionId;
use std::net::TcpStream;
use std::time::Duration;

const NAME: &str = "api.nearlight.test";
const FIRST: &str = "198.51.100.2";
const SECOND: &str = "198.51.100.3";
/// Of another name, or of none.
const OTHER: &str = "198.51.100.4";
const PORT: &str = "7000";
const OTHER_PORT: &str = "7001";
const HELLO: &str = "connected hello";

/// Between two looks at what the job has learnt. Nothing depends on it.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Far longer than a node waits before it looks names up again.
const PATIENCE: Duration = Duration::from_secs(180);

/// What came of connections to these addresses of the machine beside.
async fn reached(job: &SessionId, ports: &[(&str, &str)]) -> Vec<bool> {
    let mut reached = Vec::new();
    for (address, port) in ports {
        let said = get(job, &format!("/connect/{address}:{port}")).await;
        assert!(said == HELLO || said.starts_with("failed"), "{said}");
        reached.push(said == HELLO);
    }
    reached
}

/// The rule that leads what the job sends to its own rules.
fn jump(job: &SessionId) -> Option<String> {
    let rules = run("iptables", &["-w", "-S", "DOCKER-USER"]);
    let mut rules = rules.lines().filter_map(|line| line.strip_prefix("-A "));
    rules
        .find(|rule| rule.contains(job.as_str()))
        .map(str::to_owned)
}

#[tokio::test]
async fn a_job_reaches_a_name_where_it_is_now_also_while_no_resolver_answers_its_next_agent() {
    let Some(mut site) = site().await else { return };
    // Its agents have all mounts of this host.
    let _alone = alone();
    let _beside = Beside::new(
        &[("198.51.100.1", &[FIRST, SECOND, OTHER])],
        &[PORT, OTHER_PORT],
    );
    let names = site.own_names();
    let is_at = |at: &str| std::fs::write(&names, format!("{at}\t{NAME}\n")).unwrap();
    is_at(FIRST);
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    let mut spec = served();
    spec.egress.allow = vec![format!("{NAME}:{PORT}")];
    let job = ready(&site, &mut edge, 0, 1, spec).await;
    let all = [
        (FIRST, PORT),
        (SECOND, PORT),
        (OTHER, PORT),
        (FIRST, OTHER_PORT),
        (SECOND, OTHER_PORT),
    ];
    // All of them are there: what is refused below is refused by rules.
    for (address, port) in all {
        TcpStream::connect(format!("{address}:{port}")).unwrap();
    }
    let found = get(&job, &format!("/resolve/{NAME}")).await;
    assert!(found.contains(FIRST) && !found.contains(SECOND), "{found}");
    let other = get(&job, "/resolve/other.nearlight.test").await;
    assert!(other.starts_with("failed"), "{other}");
    let first = [true, false, false, false, false];
    assert_eq!(reached(&job, &all).await, first);

    // The next agent puts the job's rules in order at once, whatever it can look up.
    agent.kill().await;
    drop(edge);
    std::fs::write(&names, "").unwrap();
    let removed = jump(&job).unwrap();
    let parts = removed.split(' ').map(|part| part.trim_matches('"'));
    run(
        "iptables",
        &["-w", "-D"].into_iter().chain(parts).collect::<Vec<_>>(),
    );
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    assert!(edge.runs(&job).unwrap().ready);
    until("its rules are in order", || jump(&job).is_some()).await;
    assert_eq!(reached(&job, &all).await, first);

    // It moves: its new address is reached, the former one by who still uses it, and nothing else.
    is_at(SECOND);
    let learns = async {
        while !get(&job, &format!("/resolve/{NAME}"))
            .await
            .contains(SECOND)
        {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let learnt = tokio::time::timeout(PATIENCE, learns).await;
    learnt.expect("the name is looked up again");
    let both = [true, true, false, false, false];
    assert_eq!(reached(&job, &all).await, both);
    stopped(&mut edge, &job).await;
    site.no_names();
    assert_eq!(traces(&site), NOTHING);
}
