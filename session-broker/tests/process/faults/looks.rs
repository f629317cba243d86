//! A node comes whose sessions this broker has not, and the ledger fails or hangs just when it is asked for them.
//!
//! The first look is made beside the writer, and what it does not find may be there all the same: another broker's
//! taking of the node was read, and lost in a failover. So it is looked at surely, in a transaction of the broker's
//! own. If that fails the broker loads everything again: were it to go on, the sessions would be nobody's.
//!
//! On both engines: one broker has the node first and another one, of another name, takes it from what that left.

use crate::edge::{Edge, Node, Started};
use crate::http::Client;
use crate::rig::{Rig, eventually, id};
use crate::shared::Postgres;
use session_broker::config::Parsed;
use session_broker::ledger::Fault;
use std::sync::Arc;

/// A node that runs a session, and a broker that is not the one which has placed it.
struct Moved {
    rig: Rig,
    node: Node,
    started: Started,
    path: String,
}

/// Where the ledger is. `None` is a file.
type Engine = Option<Arc<Postgres>>;

impl Moved {
    /// The second broker finds the ledger as `change` leaves it.
    async fn new(engine: &Engine, change: impl FnOnce(&mut Parsed)) -> Self {
        let url = engine.as_ref().map(|postgres| postgres.url.clone());
        let rig = Rig::start_with(|config| config.ledger = url.unwrap_or_default()).await;
        let mut edge = rig.edge(1).await;
        let guest = rig.guest().await;
        let session = id(&guest.create("demo").await);
        let started = edge.start_next().await;
        let path = format!("/v1/sessions/{session}");
        is(&guest, &path, "ready").await;
        let mut node = edge.node.clone();
        node.epoch = started.grant.epoch;
        let rig = Box::pin(rig.restart_with(change)).await;
        Self {
            rig,
            node,
            started,
            path,
        }
    }

    /// Of another name, so that it has to take the node.
    async fn to_another(engine: &Engine) -> Self {
        let renamed = |config: &mut Parsed| config.peers.name = "other".to_owned();
        Box::pin(Self::new(engine, renamed)).await
    }

    /// As after a failover that has lost everything but the node's grant.
    async fn to_an_empty_ledger(engine: &Engine) -> Self {
        let moved = Box::pin(Self::new(engine, |config| match engine {
            Some(postgres) => {
                postgres.ask("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
            }
            None => {
                for file in std::fs::read_dir(&config.data).unwrap() {
                    let file = file.unwrap().path();
                    if file.to_string_lossy().contains("ledger.sqlite") {
                        std::fs::remove_file(file).unwrap();
                    }
                }
            }
        }))
        .await;
        let row = moved
            .rig
            .ledger
            .session(moved.started.start.session.clone());
        assert!(row.await.unwrap().is_none(), "it is lost");
        moved
    }

    async fn attach(&self) -> Edge {
        let running = vec![self.started.running(false)];
        self.rig.attach(&self.node, running).await
    }

    /// It goes on where it runs, under the claim that it had, and is nobody else's.
    async fn goes_on(&self, mut edge: Edge) {
        let admin = self.rig.admin();
        is(&admin, &self.path, "ready").await;
        let row = self.rig.ledger.session(self.started.start.session.clone());
        let (row, _) = row.await.unwrap().unwrap();
        assert_eq!(row.node.as_ref(), Some(&self.node.id));
        assert_eq!(admin.delete(&self.path).await.status, 202);
        edge.stop_next(&self.started).await;
        is(&admin, &self.path, "ended").await;
        let usage = self.rig.ledger.usage(self.started.start.session.clone());
        let usage = usage.await.unwrap();
        assert!(
            matches!(&usage[..], [one] if one.ended_ms.is_some()),
            "{usage:?}"
        );
    }
}

async fn is(client: &Client, path: &str, phase: &str) {
    eventually(phase, || async {
        client.get(path).await.at("/state/phase") == phase
    })
    .await;
}

/// What the ledger does in that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Answers,
    Fails,
    Hangs,
}

/// The node comes, and the first look finds nothing.
async fn comes(moved: Moved, look: Look) {
    let faults = &moved.rig.faults;
    faults.read_early();
    if look == Look::Fails {
        faults.arm_look(Fault::Fails);
    }
    let slow = match look {
        Look::Hangs => Some(faults.hold_up_looks().await),
        Look::Answers | Look::Fails => None,
    };
    let mut edge = moved.attach().await;
    eventually("a sure look", || async { faults.looks() >= 1 }).await;
    match look {
        Look::Answers => {}
        // Everything is loaded again, and everybody attaches again.
        Look::Fails => {
            while edge.next_or_closed().await.is_some() {}
            edge = moved.attach().await;
        }
        // Meanwhile the node loses patience, and comes again.
        Look::Hangs => {
            drop(edge);
            edge = moved.attach().await;
            drop(slow);
        }
    }
    moved.goes_on(edge).await;
    assert_eq!(faults.looks(), 1);
}

const LOOKS: [Look; 3] = [Look::Answers, Look::Fails, Look::Hangs];

async fn a_node_that_is_taken_comes_with_its_sessions(engine: Engine) {
    for look in LOOKS {
        Box::pin(comes(Moved::to_another(&engine).await, look)).await;
    }
}

async fn a_session_that_is_back_is_held(engine: Engine) {
    for look in LOOKS {
        Box::pin(comes(Moved::to_an_empty_ledger(&engine).await, look)).await;
    }
}

#[tokio::test]
async fn a_node_that_is_taken_comes_with_its_sessions_though_the_ledger_fails() {
    Box::pin(a_node_that_is_taken_comes_with_its_sessions(None)).await;
}

#[tokio::test]
async fn a_node_that_is_taken_comes_with_its_sessions_though_postgres_fails() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    Box::pin(a_node_that_is_taken_comes_with_its_sessions(Some(
        Arc::new(postgres),
    )))
    .await;
}

#[tokio::test]
async fn a_session_that_is_back_from_its_grant_is_held_though_the_ledger_fails() {
    Box::pin(a_session_that_is_back_is_held(None)).await;
}

#[tokio::test]
async fn a_session_that_is_back_from_its_grant_is_held_though_postgres_fails() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    Box::pin(a_session_that_is_back_is_held(Some(Arc::new(postgres)))).await;
}
