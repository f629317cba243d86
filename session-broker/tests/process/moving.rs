//! A broker whose ledger is a file goes on with one in PostgreSQL: the real program.

use crate::edge::Node;
use crate::http::Client;
use crate::program::Program;
use crate::rig::{admin, eventually, id};
use crate::shared::{Postgres, attach_to};
use std::path::Path;
use std::process::Output;
use tokio::process::Command;

/// Moves the ledger in `dir`, and what was said of it.
async fn moved(dir: &Path, to: &str) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_session-broker"));
    command.arg("--data").arg(dir.join("data"));
    command.arg("--pki").arg(dir.join("pki"));
    let output: Output = command.args(["--move-ledger", to]).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_goes_on_with_every_session_once_its_ledger_is_moved() {
    let Some(target) = Postgres::start() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let pki = dir.path().join("pki");
    let broker = Program::start(dir.path()).await;
    let node = Node::new(&pki, 1);
    let mut edge = attach_to(&pki, &node, &broker, Vec::new()).await;
    let guest = Client::guest(broker.listen).await;
    let runs = id(&guest.create("demo").await);
    let started = edge.start_next().await;
    let waits = id(&Client::guest(broker.listen).await.create("demo").await);
    let (done, said) = moved(dir.path(), &target.url).await;
    assert!(!done && said.contains("stop the broker"), "{said}");
    assert!(broker.terminate().await.success());
    drop(edge);

    let (done, said) = moved(dir.path(), &target.url).await;
    assert!(done && said.contains("Set `ledger` to it"), "{said}");
    let (done, said) = moved(dir.path(), &target.url).await;
    assert!(
        !done && said.contains("name a database that is new"),
        "{said}"
    );
    let broker = Program::start_with(dir.path(), &["--ledger", &target.url]).await;
    let running = vec![started.running(false)];
    let mut edge = attach_to(&pki, &node, &broker, running).await;
    let guest = Client {
        at: broker.listen,
        ..guest
    };
    let path = format!("/v1/sessions/{runs}");
    eventually("the session to go on", || async {
        guest.get(&path).await.at("/state/phase") == "ready"
    })
    .await;
    assert_eq!(guest.delete(&path).await.status, 202);
    edge.stop_next(&started).await;
    let next = edge.start_next().await;
    assert_eq!(next.start.session.to_string(), waits, "who waited is next");
    let operator = admin(dir.path(), broker.listen);
    assert_eq!(operator.get(&path).await.status, 200);
}
