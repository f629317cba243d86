//! Secrets of jobs: sealed at rest, in nothing that is read, and with the node that starts the job.

use super::*;
use crate::program::Program;
use crate::shared::Shared;
use nearlight_protocol::control::{AckOutcome, DenyReason, FromEdge};
use std::path::Path;

const VALUE: &str = "hunter2-correct-horse-battery-staple";

fn with_secret() -> Value {
    let mut body = job(&json!({ "secrets": ["TOKEN"] }));
    body["secrets"] = json!({ "TOKEN": VALUE });
    body
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

/// Files under `dir` that have the secret in the clear, or in what it commonly becomes.
fn traces(dir: &Path) -> Vec<String> {
    traces_of(dir, VALUE)
}

/// The same of another secret.
pub(crate) fn traces_of(dir: &Path, value: &str) -> Vec<String> {
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(value);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(traces_of(&path, value));
            continue;
        }
        // A socket, or a file that went meanwhile, has nothing to read.
        let bytes = std::fs::read(&path).unwrap_or_default();
        if has(&bytes, value) || has(&bytes, &encoded) {
            found.push(path.display().to_string());
        }
    }
    found
}

async fn is_sealed(rig: &Rig, session: &str) -> bool {
    let row = rig.ledger.session(session.parse().unwrap()).await;
    row.unwrap().unwrap().0.sealed.is_some()
}

#[tokio::test]
async fn a_secret_reaches_the_node_and_nothing_that_is_kept_or_shown() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let created = ask(&client, &with_secret()).await;
    let session = id(&created);
    assert!(is_sealed(&rig, &session).await, "it waits with the job");
    assert_eq!(traces(rig.dir.path()), [""; 0]);
    // A broker that starts again opens what the former one sealed.
    let rig = rig.restart().await;
    let mut edge = edge(&rig, 1).await;
    let started = edge.expect_start().await;
    assert_eq!(started.start.secrets.0["TOKEN"], VALUE);
    assert!(!started.start.grant.contains(VALUE));
    // Not acked yet: a stream that breaks gets it again, from the ledger of a broker that starts anew.
    let rig = rig.restart().await;
    let mut edge = rig.attach(&edge.node, Vec::new()).await;
    let again = edge.expect_start().await;
    assert_eq!(again.start.secrets.0["TOKEN"], VALUE);
    assert!(is_sealed(&rig, &session).await);
    edge.ack(again.command).await;
    edge.report(&again, SessionReport::Ready).await;
    let client = Client {
        at: rig.broker.listen,
        ..client
    };
    let path = format!("/v1/sessions/{session}");
    eventually("ready", || async {
        client.get(&path).await.at("/state/phase") == "ready"
    })
    .await;
    assert!(!is_sealed(&rig, &session).await, "the node has it");
    for path in [path.as_str(), "/v1/sessions", "/v1/nodes"] {
        assert!(!client.get(path).await.body.contains(VALUE), "{path}");
    }
    let audit = rig.admin().get("/v1/audit").await;
    assert!(!audit.body.contains(VALUE) && !created.body.contains(VALUE));
    assert_eq!(traces(rig.dir.path()), [""; 0]);
}

#[tokio::test]
async fn a_secret_that_no_node_took_goes_with_its_job() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let session = id(&ask(&client, &with_secret()).await);
    assert!(is_sealed(&rig, &session).await);
    client.delete(&format!("/v1/sessions/{session}")).await;
    ended(&client, &session).await;
    assert!(!is_sealed(&rig, &session).await);
    // One that was refused is offered with its secret to the next slot.
    let mut edge = edge(&rig, 2).await;
    let session = id(&ask(&client, &with_secret()).await);
    let refused = edge.expect_start().await;
    let outcome = AckOutcome::Denied {
        reason: DenyReason::SlotBusy,
        detail: "still running".to_owned(),
    };
    let command = refused.command;
    edge.send(FromEdge::Ack { command, outcome }).await;
    let started = edge.start_next().await;
    assert_eq!(started.start.session.to_string(), session);
    assert_eq!(started.start.secrets.0["TOKEN"], VALUE);
}

/// At its most talkative, and with a ledger in a file.
#[tokio::test]
async fn a_secret_is_not_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("broker.log");
    let broker = Program::start_logged(dir.path(), &log).await;
    let admin = crate::rig::admin(dir.path(), broker.listen);
    let pki = dir.path().join("pki");
    let node = Node {
        jobs: Some(host()),
        ..Node::new(&pki, 1)
    };
    let mut edge = crate::shared::attach_to(&pki, &node, &broker, Vec::new()).await;
    vet(&admin, &node).await;
    let session = id(&ask(&admin, &with_secret()).await);
    let mut wrong = with_secret();
    wrong["secrets"]["OTHER"] = json!(VALUE);
    ask(&admin, &wrong).await.refused(400, "bad-request");
    let started = edge.start_next().await;
    assert_eq!(started.start.secrets.0["TOKEN"], VALUE);
    admin.delete(&format!("/v1/sessions/{session}")).await;
    edge.stop_next(&started).await;
    ended(&admin, &session).await;
    assert!(broker.terminate().await.success());
    let text = std::fs::read(&log).unwrap();
    assert!(has(&text, &session), "the log speaks of the session");
    assert_eq!(traces(dir.path()), [""; 0]);
}

#[tokio::test]
async fn a_job_that_waits_goes_on_at_another_broker_with_its_secret() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let (of_a, of_b) = (shared.admin("a", &a), shared.admin("b", &b));
    let session = id(&ask(&of_a, &with_secret()).await);
    let sealed = "select sealed from job_secret";
    assert!(!shared.postgres.ask(sealed).contains(VALUE));
    a.kill().await;
    let node = Node {
        jobs: Some(host()),
        ..Node::new(&shared.pki(), 1)
    };
    let mut edge = shared.attach(&node, &b, Vec::new()).await;
    crate::shared::online(&of_b, &node).await;
    vet(&of_b, &node).await;
    let started = edge.start_next().await;
    assert_eq!(started.start.session.to_string(), session);
    assert_eq!(started.start.secrets.0["TOKEN"], VALUE);
    eventually("nothing sealed to be left", || async {
        shared.postgres.ask(sealed).is_empty()
    })
    .await;
}
