//! Back-ups of a broker that serves, restored onto an empty machine: the real program, on both engines.

use crate::edge::Node;
use crate::http::{Client, PATIENCE};
use crate::program::Program;
use crate::rig::{admin, eventually, id};
use crate::shared::{Postgres, attach_to};
use nearlight_protocol::control::SessionReport;
use nearlight_protocol::unit::U64;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Output;
use tokio::process::Command;

mod settings;

/// Runs the program on `dir` with these arguments, to its end.
async fn once(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_session-broker"));
    command
        .arg("--data")
        .arg(dir.join("data"))
        .arg("--pki")
        .arg(dir.join("pki"));
    command.args(args).output().await.unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Backs up while sessions are created, loses the machine, and restores.
async fn survives(ledger: Option<(&str, &str)>) {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let with = |url: Option<&str>| -> Vec<String> {
        url.map_or_else(Vec::new, |url| vec!["--ledger".to_owned(), url.to_owned()])
    };
    let (before, after) = (with(ledger.map(|l| l.0)), with(ledger.map(|l| l.1)));
    let start = async |dir: &Path, ledger: &[String]| {
        let ledger: Vec<&str> = ledger.iter().map(String::as_str).collect();
        Program::start_with(dir, &ledger).await
    };
    let broker = start(old.path(), &before).await;
    let node = Node::new(&old.path().join("pki"), 1);
    let mut edge = attach_to(&old.path().join("pki"), &node, &broker, Vec::new()).await;
    let guest = Client::guest(broker.listen).await;
    let first = guest.create("demo").await;
    let session = id(&first);
    let started = edge.start_next().await;
    let mut acked = vec![session.clone()];
    for _ in 0..3 {
        acked.push(id(&Client::guest(broker.listen).await.create("demo").await));
    }
    let backup = old.path().join("backup");
    let named = backup.to_str().unwrap();
    let mut asked = vec!["--backup", named];
    asked.extend(before.iter().map(String::as_str));
    let (done, during) = tokio::join!(once(old.path(), &asked), guest.create("demo"));
    assert!(done.status.success(), "{}", said(&done));
    assert!(
        matches!(during.status, 201 | 429),
        "it serves meanwhile: {during:?}"
    );
    let again = once(old.path(), &asked).await;
    assert!(
        said(&again).contains("name a directory that is new"),
        "{}",
        said(&again)
    );
    broker.kill().await;
    drop(edge);

    let mut asked = vec!["--restore", named];
    asked.extend(after.iter().map(String::as_str));
    let done = once(new.path(), &asked).await;
    assert!(done.status.success(), "{}", said(&done));
    let again = once(new.path(), &asked).await;
    assert!(
        said(&again).contains("is there already"),
        "{}",
        said(&again)
    );
    let broker = start(new.path(), &after).await;
    let operator = admin(new.path(), broker.listen);
    for session in &acked {
        let shown = operator.get(&format!("/v1/sessions/{session}")).await;
        assert_eq!(shown.status, 200, "{session} was acked: {shown:?}");
    }
    // The node has its old certificate, and still runs the session.
    let running = vec![started.running(false)];
    let mut edge = attach_to(&old.path().join("pki"), &node, &broker, running).await;
    let guest = Client {
        at: broker.listen,
        ..guest
    };
    let path = format!("/v1/sessions/{session}");
    eventually("the session to go on", || async {
        guest.get(&path).await.at("/state/phase") == "ready"
    })
    .await;
    let attachment = nearlight_kit::ids::attachment();
    edge.report(&started, SessionReport::Attached { attachment })
        .await;
    assert_eq!(guest.delete(&path).await.status, 202);
    edge.stop_next(&started).await;
    let next = edge.start_next().await;
    assert!(
        acked.contains(&next.start.session.to_string()),
        "who waited is next"
    );
}

#[tokio::test]
async fn a_sqlite_ledger_is_restored_onto_an_empty_machine() {
    Box::pin(survives(None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_ledger_is_restored_onto_an_empty_machine() {
    let (Some(old), Some(new)) = (Postgres::start(), Postgres::start()) else {
        return;
    };
    Box::pin(survives(Some((&old.url, &new.url)))).await;
}

#[tokio::test]
async fn a_damaged_back_up_is_not_restored() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = Program::start(old.path()).await;
    let backup = old.path().join("backup");
    let done = once(old.path(), &["--backup", backup.to_str().unwrap()]).await;
    assert!(done.status.success(), "{}", said(&done));
    broker.kill().await;
    let key = backup.join("signing.key");
    std::fs::write(&key, "something else").unwrap();
    let named = ["--restore", backup.to_str().unwrap()];
    let refused = once(new.path(), &named).await;
    assert!(
        said(&refused).contains("signing.key of the back-up is damaged"),
        "{}",
        said(&refused)
    );
    assert!(
        !new.path().join("data").exists(),
        "nothing is half restored"
    );
    std::fs::remove_file(backup.join("manifest.json")).unwrap();
    let refused = once(new.path(), &named).await;
    assert!(
        said(&refused).contains("is no back-up"),
        "{}",
        said(&refused)
    );
}

/// Takes a back-up of `old` and restores it onto a new machine.
async fn moved(old: &Path) -> tempfile::TempDir {
    let new = tempfile::tempdir().unwrap();
    let backup = new.path().join("backup");
    let named = backup.to_str().unwrap();
    for (dir, flag) in [(old, "--backup"), (new.path(), "--restore")] {
        let done = once(dir, &[flag, named]).await;
        assert!(done.status.success(), "{flag}: {}", said(&done));
    }
    new
}

#[tokio::test]
async fn a_rotation_of_the_ca_that_is_under_way_goes_on_after_a_restore() {
    let first = tempfile::tempdir().unwrap();
    Program::start(first.path()).await.kill().await;
    let step = async |dir: &Path, args: &[&str]| {
        let done = once(dir, &[&["--rotate-ca"], args].concat()).await;
        (done.status.success(), said(&done))
    };
    let same = |a: &Path, b: &Path, names: &[&str]| {
        for name in names {
            let [a, b] = [a, b].map(|dir| std::fs::read(dir.join("pki").join(name)).unwrap());
            assert_eq!(a, b, "{name}");
        }
    };
    let (begun, why) = step(first.path(), &["begin"]).await;
    assert!(begun, "{why}");
    let second = moved(first.path()).await;
    let names = ["ca.pem", "ca.key.pem", "ca.next.key.pem", "ca.cross.pem"];
    same(first.path(), second.path(), &names);
    let (again, why) = step(second.path(), &["begin"]).await;
    assert!(!again && why.contains("under way already"), "{why}");

    // A node that knows the old CA alone, and one that renewed at the next one, both attach.
    let (switched, why) = step(second.path(), &["switch", "--force"]).await;
    assert!(switched, "{why}");
    let third = moved(second.path()).await;
    let names = ["ca.pem", "ca.key.pem", "ca.cross.pem", "ca.switched"];
    same(second.path(), third.path(), &names);
    assert!(!third.path().join("pki/ca.next.key.pem").exists());
    let broker = Program::start(third.path()).await;
    for pki in [first.path().join("pki"), third.path().join("pki")] {
        let node = Node::new(&pki, 1);
        attach_to(&pki, &node, &broker, Vec::new()).await;
    }
    broker.kill().await;
    let (retired, why) = step(third.path(), &["retire"]).await;
    assert!(!retired && why.contains("91 days"), "{why}");

    // Nothing is restored over a rotation.
    std::fs::remove_file(third.path().join("pki/ca.pem")).unwrap();
    std::fs::remove_file(third.path().join("pki/ca.key.pem")).unwrap();
    std::fs::remove_file(third.path().join("data/signing.key")).unwrap();
    let named = third.path().join("backup");
    let refused = once(third.path(), &["--restore", named.to_str().unwrap()]).await;
    assert!(
        said(&refused).contains("ca.cross.pem is there already"),
        "{}",
        said(&refused)
    );
}

/// After a restore the node's journal is ahead: its slot works on.
#[tokio::test]
async fn a_node_whose_journal_is_ahead_of_the_ledger_is_followed_and_one_that_lies_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Program::start(dir.path()).await;
    let pki = dir.path().join("pki");
    let mut node = Node::new(&pki, 1);
    node.epoch = U64(40);
    let mut edge = attach_to(&pki, &node, &broker, Vec::new()).await;
    id(&Client::guest(broker.listen).await.create("demo").await);
    assert_eq!(edge.start_next().await.grant.epoch.0, 41);
    let mut liar = Node::new(&pki, 1);
    liar.epoch = U64(u64::MAX >> 1);
    let _edge = attach_to(&pki, &liar, &broker, Vec::new()).await;
    let waits = Client::guest(broker.listen).await.create("demo").await;
    assert_eq!(
        waits.at("/state/phase"),
        "queued",
        "it strands its own slot"
    );
}

/// Puts a copy of a directory of files in the place of another one.
fn replace(with: &Path, of: &Path) {
    let _ = std::fs::remove_dir_all(of);
    std::fs::create_dir(of).unwrap();
    for entry in std::fs::read_dir(with).unwrap() {
        let from = entry.unwrap().path();
        if from.is_file() {
            std::fs::copy(&from, of.join(from.file_name().unwrap())).unwrap();
        }
    }
}

/// As after a failover to a standby that was behind: what was acked last is not there.
#[tokio::test]
async fn a_session_that_the_ledger_lost_goes_on_where_it_runs_and_another_is_said_to_be_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (data, before) = (dir.path().join("data"), dir.path().join("before"));
    let pki = dir.path().join("pki");
    let broker = Program::start(dir.path()).await;
    let mut node = Node::new(&pki, 2);
    drop(attach_to(&pki, &node, &broker, Vec::new()).await);
    let first = Client::guest(broker.listen).await;
    let second = Client::guest(broker.listen).await;
    broker.kill().await;
    replace(&data, &before);

    let broker = Program::start(dir.path()).await;
    let mut edge = attach_to(&pki, &node, &broker, Vec::new()).await;
    let at = |client: &Client, broker: &Program| Client {
        at: broker.listen,
        ..client.clone()
    };
    let session = id(&at(&first, &broker).create("demo").await);
    let started = edge.start_next().await;
    let lost = id(&at(&second, &broker).create("demo").await);
    edge.start_next().await;
    let (path, lost_path) = (
        format!("/v1/sessions/{session}"),
        format!("/v1/sessions/{lost}"),
    );
    let client = at(&second, &broker);
    eventually("a picture", || async {
        client.get(&lost_path).await.at("/state/phase") == "ready"
    })
    .await;
    let asked = json!({ "take_over": false });
    let tickets = format!("{lost_path}/tickets");
    let ticket = client.post_json(&tickets, &asked).await.at("/ticket");
    broker.kill().await;
    drop(edge);
    replace(&before, &data);

    let broker = Program::start(dir.path()).await;
    node.epoch = started.grant.epoch;
    let running = vec![started.running(false)];
    let mut edge = attach_to(&pki, &node, &broker, running).await;
    let client = at(&first, &broker);
    eventually("the session to be back", || async {
        client.get(&path).await.at("/state/phase") == "ready"
    })
    .await;
    let viewer = Client::nobody(broker.listen).with("authorization", &format!("Bearer {ticket}"));
    let sdp = [("content-type", "application/sdp")];
    let whep = format!("{lost_path}/whep");
    let refused = viewer.request("POST", &whep, &sdp, "v=0\r\n").await;
    refused.refused(410, "session-lost");
    let looked = at(&second, &broker).get(&lost_path).await;
    looked.refused(404, "not-found");

    assert_eq!(client.delete(&path).await.status, 202);
    edge.stop_next(&started).await;
    id(&at(&second, &broker).create("demo").await);
    let next = edge.start_next().await;
    assert_eq!(next.grant.epoch.0, started.grant.epoch.0 + 1);
}

/// What a kill leaves of a restore: the marker and some of the keys.
#[tokio::test]
async fn a_restore_that_was_cut_short_keeps_brokers_away_and_goes_on() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = Program::start_with(old.path(), &[]).await;
    let session = id(&Client::guest(broker.listen).await.create("demo").await);
    let backup = old.path().join("backup");
    let done = once(old.path(), &["--backup", backup.to_str().unwrap()]).await;
    assert!(done.status.success(), "{}", said(&done));
    broker.kill().await;

    let data = new.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    let manifest = std::fs::read(backup.join("manifest.json")).unwrap();
    let marker = format!("{:x}", Sha256::digest(manifest));
    std::fs::write(data.join("restore.unfinished"), marker).unwrap();
    std::fs::copy(backup.join("signing.key"), data.join("signing.key")).unwrap();
    let started = tokio::time::timeout(PATIENCE, once(new.path(), &[])).await;
    let started = started.expect("no broker starts on half of a back-up");
    let told = said(&started);
    assert!(told.contains("Run the same --restore again"), "{told}");
    assert!(
        !new.path().join("pki/ca.key.pem").exists(),
        "nor makes keys"
    );
    let restore = ["--restore", backup.to_str().unwrap()];
    let done = once(new.path(), &restore).await;
    assert!(done.status.success(), "{}", said(&done));
    let broker = Program::start_with(new.path(), &[]).await;
    let shown = admin(new.path(), broker.listen);
    let shown = shown.get(&format!("/v1/sessions/{session}")).await;
    assert_eq!(shown.status, 200, "{shown:?}");
    broker.kill().await;
}
