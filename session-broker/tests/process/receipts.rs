//! The log of receipts over HTTP: a stranger reads it, a witness watches it, and the broker is killed.

use crate::http::{Answer, Client};
use crate::program::Program;
use crate::rig::{Rig, admin, eventually};
use nearlight_proof::encoding::{hex, sha256};
use nearlight_proof::key::{PublicKey, SecretKey};
use nearlight_proof::log::checkpoint::Checkpoint;
use nearlight_proof::log::note::{Note, VerifierKey};
use nearlight_proof::log::policy::Policy;
use nearlight_proof::log::tile::{self, TILE_WIDTH, Tile};
use nearlight_proof::log::tree::{LogHasher, extends};
use nearlight_proof::receipt::directory::Directory;
use nearlight_proof::receipt::predicate::{Predicate, Revoke};
use nearlight_proof::receipt::report::Outcome;
use nearlight_proof::receipt::statement::{
    Assurance, Countersign, Evidence, Head, Statement, Subject,
};
use nearlight_proof::receipt::verify::{Given, PolicySource, verify};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

const ENVELOPE: (&str, &str) = ("content-type", "application/vnd.dsse.envelope.v1+json");
const BYTES: (&str, &str) = ("content-type", "application/octet-stream");

fn checker() -> SecretKey {
    SecretKey::from_seed(&[11; 32])
}

/// A dispute by the checker: the smallest receipt. Its claim makes it its own.
pub(crate) fn receipt(claim: &str, evidence: &[&[u8]]) -> String {
    let key = checker();
    let piece = |bytes: &&[u8]| Evidence {
        sha256: nearlight_proof::key::KeyId(sha256(&[bytes])),
        bytes: bytes.len() as u64,
        kept_until_s: 0,
    };
    let statement = Statement {
        subject: Subject {
            name: "receipt".to_owned(),
            sha256: key.public().id(),
        },
        head: Head {
            issuer: key.public().id(),
            issued_at_s: nearlight_kit::clock::unix_ms() / 1000,
            countersign: Countersign::None,
            assurance: Assurance::Timing,
            does_not_prove: Vec::new(),
            evidence: evidence.iter().map(piece).collect(),
        },
        // What this key signs in a hundred years is void: a receipt that stands for itself.
        predicate: Predicate::Revoke(Revoke {
            reason: claim.to_owned(),
            from_s: 4_000_000_000,
        }),
    };
    let mut envelope = statement.envelope().unwrap();
    envelope.sign(&key);
    String::from_utf8(envelope.to_bytes()).unwrap()
}

/// Lets the checker in.
pub(crate) async fn let_in(admin: &Client) {
    let key = hex(checker().public().as_bytes());
    let window = json!({
        "role": "checker", "operator": "east", "licence": null,
        "from_s": 0, "until_s": 4_000_000_000_u64,
    });
    let path = format!("/v1/directory/keys/{key}");
    let json = [("content-type", "application/json")];
    let put = admin
        .request("PUT", &path, &json, &window.to_string())
        .await;
    assert_eq!(put.status, 204, "{put:?}");
}

pub(crate) async fn append(client: &Client, envelope: &str) -> Answer {
    client
        .request("POST", "/v1/receipts", &[ENVELOPE], envelope)
        .await
}

pub(crate) async fn index(client: &Client, envelope: &str) -> u64 {
    let placed = append(client, envelope).await;
    assert!([200, 201].contains(&placed.status), "{placed:?}");
    placed.json()["index"].as_u64().unwrap()
}

/// What a stranger is given to verify by: the log's key, and the directory.
pub(crate) struct Trust {
    policy: String,
    authority: String,
    directory: String,
}

impl Trust {
    pub(crate) async fn ask(client: &Client) -> Self {
        eventually("the log to show something", || async {
            client.get("/v1/directory").await.status == 200
        })
        .await;
        let shown = client.get("/v1/directory").await.json();
        Self {
            policy: format!("log {}\nquorum none\n", shown["log_key"].as_str().unwrap()),
            authority: shown["directory_key"].as_str().unwrap().to_owned(),
            directory: shown["envelope"].as_str().unwrap().to_owned(),
        }
    }

    /// A policy that asks for so many of these.
    pub(crate) fn with_witnesses(self, keys: &[VerifierKey], quorum: usize) -> Self {
        let log = self.log_key();
        let names = (0..keys.len()).map(|n| format!(" w{n}"));
        let lines = keys.iter().enumerate();
        let lines: String = lines
            .map(|(n, key)| format!("witness w{n} {key}\n"))
            .collect();
        let group: String = names.collect();
        let policy = format!("log {log}\n{lines}group all {quorum}{group}\nquorum all\n");
        Self { policy, ..self }
    }

    pub(crate) fn log_key(&self) -> VerifierKey {
        VerifierKey::parse(self.policy.split([' ', '\n']).nth(1).unwrap()).unwrap()
    }

    /// The directory, verified.
    pub(crate) fn directory(&self) -> Directory {
        let authority = PublicKey::from_hex(&self.authority).unwrap();
        Directory::open(self.directory.as_bytes(), &authority).unwrap()
    }

    pub(crate) fn outcome(&self, shown: &Value) -> Outcome {
        let authority = PublicKey::from_hex(&self.authority).unwrap();
        let policy = Policy::parse(&self.policy).unwrap();
        let directory = Directory::open(self.directory.as_bytes(), &authority).unwrap();
        let given = Given {
            policy: &policy,
            policy_source: PolicySource::LogOperator,
            directory: &directory,
            later: &[],
        };
        let text = |name: &str| shown[name].as_str().unwrap().as_bytes();
        verify(text("envelope"), text("proof"), &given).outcome
    }

    /// docs/verify/verify.py shares no code with the broker.
    fn second_opinion(&self, dir: &Path, shown: &Value) -> String {
        let has = Command::new("python3")
            .args(["-c", "import cryptography"])
            .output();
        assert!(
            has.is_ok_and(|output| output.status.success()),
            "the second verifier needs python3 with the package cryptography: apt-get install python3-cryptography"
        );
        let write = |name: &str, text: &str| {
            let file = dir.join(name);
            std::fs::write(&file, text).unwrap();
            file
        };
        let output = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verify/verify.py"))
            .arg("receipt")
            .arg(write("envelope.json", shown["envelope"].as_str().unwrap()))
            .arg(write(
                "receipt.tlog-proof",
                shown["proof"].as_str().unwrap(),
            ))
            .arg("--policy")
            .arg(write("policy", &self.policy))
            .arg("--directory")
            .arg(write("directory.json", &self.directory))
            .args(["--authority", &self.authority])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// Somebody who looks at the log's checkpoints from outside.
#[derive(Default)]
struct Witness {
    seen: Option<Checkpoint>,
}

impl Witness {
    /// The newest checkpoint must be of the log that was seen before. Reads what it needs over HTTP.
    async fn look(&mut self, client: &Client, key: &VerifierKey) -> u64 {
        let note = client.get("/log/checkpoint").await;
        assert_eq!(note.status, 200, "{note:?}");
        let note = Note::parse(note.body.as_bytes()).unwrap();
        let new = Checkpoint::open(&note, key).unwrap();
        if let Some(old) = &self.seen {
            let fetched = tiles(client, new.size).await;
            let fetch = |part: Tile| fetched.get(&part).cloned();
            let proof = tile::consistency(old.size, new.size, fetch).unwrap();
            let (before, now) = ((old.size, &old.root), (new.size, &new.root));
            assert!(extends::<LogHasher>(before, now, &proof), "{old:?} {new:?}");
        }
        let size = new.size;
        self.seen = Some(new);
        size
    }
}

/// Whether all that was answered stands where that said, in a log of `size` entries.
async fn stand_there(client: &Client, size: u64, acked: &[(u64, String)]) {
    let mut logged: Vec<Vec<u8>> = Vec::new();
    while let Some(part) = Tile::within(size, 0, logged.len() as u64 / TILE_WIDTH) {
        let bytes = client.bytes(&format!("/log/{}", part.bundle_path())).await;
        let entries = tile::entries(&bytes).unwrap();
        logged.extend(entries.into_iter().map(<[u8]>::to_vec));
        if part.width < TILE_WIDTH {
            break;
        }
    }
    for (at, envelope) in acked {
        let found = logged.get(usize::try_from(*at).unwrap());
        let found = found.map(|bytes| bytes == envelope.as_bytes());
        assert_eq!(found, Some(true), "entry {at} of {size}");
    }
}

/// Every tile of a log, which is small.
async fn tiles(
    client: &Client,
    size: u64,
) -> std::collections::HashMap<Tile, Vec<nearlight_proof::log::tree::Hash>> {
    let mut fetched = std::collections::HashMap::new();
    for part in tile::written(0, size).unwrap() {
        let bytes = client.bytes(&format!("/log/{part}")).await;
        let hashes = tile::hashes(&part, &bytes);
        fetched.insert(
            part,
            hashes.unwrap_or_else(|| panic!("{part}: {}", bytes.len())),
        );
    }
    fetched
}

#[tokio::test]
async fn a_receipt_is_logged_once_and_verified_by_strangers() {
    let rig = Rig::start().await;
    let (client, admin) = (rig.nobody(), rig.admin());
    let trust = Trust::ask(&client).await;
    let first = receipt("late", &[b"what was measured"]);
    append(&client, &first)
        .await
        .refused(422, "receipt-refused");
    let_in(&admin).await;
    let placed = append(&client, &first).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    let again = append(&client, &first).await;
    assert_eq!((again.status, again.body), (200, placed.body.clone()));
    let at = placed.json()["index"].as_u64().unwrap();
    let shown = client.get(&format!("/v1/receipts/{at}")).await.json();
    assert_eq!(shown["envelope"], first.as_str());
    let trust = Trust {
        policy: trust.policy,
        ..Trust::ask(&client).await
    };
    assert_eq!(trust.outcome(&shown), Outcome::Valid);
    assert_eq!(trust.second_opinion(rig.dir.path(), &shown), "VALID");
    let mut witness = Witness::default();
    let size = witness.look(&client, &trust.log_key()).await;
    for n in 0..5 {
        index(&client, &receipt(&format!("more {n}"), &[])).await;
    }
    // An edition of the directory may have come, too.
    let grown = witness.look(&client, &trust.log_key()).await;
    assert!(grown >= size + 5, "{grown} after {size}");
    let about = checker().public().id();
    let list = client
        .get(&format!("/v1/receipts?node={about}&limit=4"))
        .await
        .json();
    assert_eq!(list["receipts"].as_array().unwrap().len(), 4);
    let before = list["next_before"].as_u64().unwrap();
    let rest = client
        .get(&format!("/v1/receipts?node={about}&before={before}"))
        .await;
    assert_eq!(rest.json()["receipts"][1]["index"], at, "{rest:?}");
    client
        .get("/v1/receipts/4000")
        .await
        .refused(404, "not-found");
    for wrong in [
        "tile/0/999",
        "tile/0/0",
        "tile/00/000",
        "tile/entries/000.p/255",
        "tile/9/000",
    ] {
        client
            .get(&format!("/log/{wrong}"))
            .await
            .refused(404, "not-found");
    }
    let full = client
        .get(&format!("/log/tile/entries/000.p/{}", size))
        .await;
    assert_eq!(
        full.header("cache-control"),
        Some("public, max-age=31536000, immutable")
    );
}

#[tokio::test]
async fn evidence_stands_beside_the_receipt_that_names_it() {
    let rig = Rig::start().await;
    let client = rig.nobody();
    Trust::ask(&client).await;
    let_in(&rig.admin()).await;
    let bytes = "the reads of lane 7";
    let path = format!("/v1/evidence/{}", hex(&sha256(&[bytes.as_bytes()])));
    let put = async |body: &str| client.request("PUT", &path, &[BYTES], body).await;
    put(bytes).await.refused(404, "not-found");
    index(&client, &receipt("lane 7", &[bytes.as_bytes()])).await;
    client.get(&path).await.refused(404, "not-found");
    put("something else").await.refused(422, "receipt-refused");
    assert_eq!(put(bytes).await.status, 204);
    let kept = client.get(&path).await;
    assert_eq!((kept.status, kept.body.as_str()), (200, bytes));
}

#[tokio::test]
async fn what_the_log_does_not_take() {
    let rig = Rig::start().await;
    let (client, admin) = (rig.nobody(), rig.admin());
    Trust::ask(&client).await;
    let_in(&admin).await;
    append(&client, "{}").await.refused(422, "receipt-refused");
    let good = receipt("once", &[]);
    let spaced = good.replacen(':', ": ", 1);
    append(&client, &spaced)
        .await
        .refused(422, "receipt-refused");
    let long = "x".repeat(65_536);
    append(&client, &long).await.refused(413, "body-too-large");
    let plain = client.request(
        "POST",
        "/v1/receipts",
        &[("content-type", "text/plain")],
        &good,
    );
    plain.await.refused(415, "unsupported-media-type");
    let key = hex(checker().public().as_bytes());
    let path = format!("/v1/directory/keys/{key}");
    client.delete(&path).await.refused(401, "unauthenticated");
    assert_eq!(admin.delete(&path).await.status, 204);
    append(&client, &receipt("too late", &[]))
        .await
        .refused(422, "receipt-refused");
    let none = format!("/v1/directory/keys/{}", "0".repeat(64));
    admin.delete(&none).await.refused(404, "not-found");
}

/// `kill -9` while receipts are appended, again and again: whatever was answered is there, and no
/// checkpoint is contradicted.
#[tokio::test]
async fn a_broker_that_is_killed_loses_no_receipt_and_contradicts_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut witness = Witness::default();
    let mut acked: Vec<(u64, String)> = Vec::new();
    let mut key = None;
    for life in 0..4_u64 {
        let broker = Program::start(dir.path()).await;
        let client = Client::nobody(broker.listen);
        let trust = Trust::ask(&client).await;
        let key = key.get_or_insert_with(|| trust.log_key());
        if life == 0 {
            let_in(&admin(dir.path(), broker.listen)).await;
        }
        let size = witness.look(&client, key).await;
        stand_there(&client, size, &acked).await;
        let (told, mut heard) = tokio::sync::mpsc::channel(1000);
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (client, told) = (client.clone(), told.clone());
                nearlight_kit::shutdown::Shutdown::new().spawn(async move {
                    for n in 0..200 {
                        let envelope = receipt(&format!("{life} {writer} {n}"), &[]);
                        let placed = append(&client, &envelope).await;
                        if placed.status != 201 {
                            return;
                        }
                        let at = placed.json()["index"].as_u64().unwrap();
                        if told.send((at, envelope)).await.is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        drop(told);
        // Each life is cut at another moment of a round.
        for _ in 0..20 + life * 3 {
            acked.push(heard.recv().await.unwrap());
        }
        witness.look(&client, key).await;
        broker.kill().await;
        for writer in writers {
            writer.abort();
            let _ = writer.await;
        }
        while let Some(more) = heard.recv().await {
            acked.push(more);
        }
    }
    let broker = Program::start(dir.path()).await;
    let client = Client::nobody(broker.listen);
    let trust = Trust::ask(&client).await;
    let size = witness.look(&client, &trust.log_key()).await;
    let places: std::collections::BTreeSet<u64> = acked.iter().map(|(at, _)| *at).collect();
    assert_eq!(places.len(), acked.len(), "each has a place of its own");
    stand_there(&client, size, &acked).await;
    for (at, envelope) in acked.iter().rev().take(8) {
        let shown = client.get(&format!("/v1/receipts/{at}")).await.json();
        assert_eq!(shown["envelope"], envelope.as_str());
        assert_eq!(trust.outcome(&shown), Outcome::Valid);
    }
}

/// What was published after the back-up is not in it: the restored log has another name, and can
/// contradict nothing.
#[tokio::test]
async fn a_restored_log_goes_on_under_another_name() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let once = async |dir: &Path, args: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_session-broker"));
        command
            .arg("--data")
            .arg(dir.join("data"))
            .arg("--pki")
            .arg(dir.join("pki"));
        let output = command.args(args).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let broker = Program::start(old.path()).await;
    let client = Client::nobody(broker.listen);
    let before = Trust::ask(&client).await;
    let_in(&admin(old.path(), broker.listen)).await;
    let kept = receipt("kept", &[b"evidence"]);
    let at = index(&client, &kept).await;
    let digest = hex(&sha256(&[b"evidence"]));
    let evidence = format!("/v1/evidence/{digest}");
    let put = client.request("PUT", &evidence, &[BYTES], "evidence").await;
    assert_eq!(put.status, 204, "{put:?}");
    let backup = old.path().join("backup");
    once(old.path(), &["--backup", backup.to_str().unwrap()]).await;
    let lost = receipt("after the back-up", &[]);
    let lost_at = index(&client, &lost).await;
    let published = client.get(&format!("/v1/receipts/{lost_at}")).await.json();
    broker.kill().await;

    once(new.path(), &["--restore", backup.to_str().unwrap()]).await;
    let broker = Program::start(new.path()).await;
    let client = Client::nobody(broker.listen);
    let after = Trust::ask(&client).await;
    let before = Trust {
        policy: before.policy,
        authority: after.authority.clone(),
        directory: after.directory.clone(),
    };
    let (was, is) = (before.log_key(), after.log_key());
    assert_eq!(was.key(), is.key());
    assert!(
        is.name().starts_with(&format!("{}/", was.name())),
        "{}",
        is.name()
    );
    let shown = client.get(&format!("/v1/receipts/{at}")).await.json();
    assert_eq!(shown["envelope"], kept.as_str());
    assert_eq!(after.outcome(&shown), Outcome::Valid);
    assert_eq!(before.outcome(&shown), Outcome::NotLogged, "another log");
    assert_eq!(client.get(&evidence).await.body, "evidence");
    // Whoever has the receipt hands it in again; the proof under the former name stays true.
    assert!(index(&client, &lost).await > at);
    assert_eq!(before.outcome(&published), Outcome::Valid);
}
