//! Checkers: how they come in, who is assigned whom, and what is taken of what they say. Nodes are scripted, and sign
//! with keys that the test has.

use crate::edge::Edge;
use crate::http::{Answer, Client};
use crate::node_keys::claim;
use crate::receipts::Trust;
use crate::rig::{Rig, eventually};
use nearlight_kit::clock::WallClock;
use nearlight_kit::pki::{Credentials, PendingKey};
use nearlight_proof::beacon::anchor::Anchor;
use nearlight_proof::beacon::chain;
use nearlight_proof::encoding::{array_from_hex, hex};
use nearlight_proof::key::{KeyId, PublicKey, SecretKey};
use nearlight_proof::membership::{Delegation, join};
use nearlight_proof::porc::alive::{Challenge, message};
use nearlight_proof::porc::committee::{self, Candidate, set_root};
use nearlight_proof::porc::exchange::begin::Begin;
use nearlight_proof::porc::exchange::exam::{Exam, Miss};
use nearlight_proof::porc::score::Class;
use nearlight_proof::porc::seed::Secrets;
use nearlight_proof::receipt::directory::Role;
use nearlight_proof::receipt::predicate::{Elapsed, Sizes};
use nearlight_proof::receipt::statement::Countersign;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const ENVELOPE: (&str, &str) = ("content-type", "application/vnd.dsse.envelope.v1+json");

/// A checker of the test: its key, and the client that shows its certificate.
pub(crate) struct Member {
    pub(crate) key: SecretKey,
    pub(crate) client: Client,
    pub(crate) instance: String,
    /// Where its certificate is, as `checker`.
    pub(crate) pki: Arc<TempDir>,
}

impl Member {
    pub(crate) fn id(&self) -> String {
        self.key.public().id().to_string()
    }

    /// What is due.
    pub(crate) async fn duties(&self) -> Vec<Value> {
        let mine = self.assignments().await;
        assert_eq!(mine.status, 200, "{mine:?}");
        mine.json()["assignments"].as_array().unwrap().clone()
    }

    pub(crate) async fn assignments(&self) -> Answer {
        let path = format!("/v1/checkers/me/assignments?instance={}", self.instance);
        self.client.get(&path).await
    }

    pub(crate) async fn report(&self, duty: &Value, outcome: Value) -> Answer {
        let said = json!({
            "round": duty["round"], "duty": duty["duty"], "node_key_id": duty["node_key_id"],
            "outcome": outcome,
        });
        let path = format!("/v1/checkers/me/reports?instance={}", self.instance);
        self.client.post_json(&path, &said).await
    }

    /// A receipt of this checker about the duty's node, of the duty's round.
    fn receipt(&self, duty: &Value) -> Vec<u8> {
        let text = |name: &str| duty[name].as_str().unwrap().to_owned();
        let node = PublicKey::from_hex(&text("node_key")).unwrap();
        let sizes = Sizes {
            rows: 16,
            blocks: 4,
            lanes: 2,
            reads: 1_000,
            frames: 1,
            tiles: 1,
            steps: 96,
        };
        let class = Class {
            class: "test".to_owned(),
            sizes,
            reference: Elapsed {
                compute_us: 1,
                fill_us: 1,
                read_us: 1,
                render_us: 1,
            },
            pass_permille: 1,
        };
        let begin = Begin {
            checker: String::new(),
            node: node.id(),
            round: duty["round"].as_u64().unwrap(),
            beacon: KeyId::from_hex(&text("value")).unwrap(),
            probe: text("node"),
            gpu: "cpu".to_owned(),
            class: "test".to_owned(),
            table: KeyId([1; 32]),
            checkers: KeyId::from_hex(&text("checkers")).unwrap(),
            sizes,
            secrets: [KeyId([0; 32]); 3],
        };
        let secrets = Secrets {
            nonce: rand::random(),
            read: [2; 32],
            open: [3; 32],
        };
        let mut exam = Exam::new(begin, secrets, (&self.key, node), &class).unwrap();
        exam.ask(0).unwrap();
        exam.miss(Miss::Unreachable("scripted".to_owned()));
        let at = (text("node"), nearlight_kit::clock::unix_ms() / 1000);
        let refused = Countersign::Refused("scripted".to_owned());
        let receipt = exam.receipt((&at.0, at.1), refused, Vec::new()).unwrap();
        receipt.to_bytes()
    }

    /// Has a receipt of its own in the log; its leaf.
    async fn write(&self, duty: &Value) -> String {
        let receipt = String::from_utf8(self.receipt(duty)).unwrap();
        let mut placed = None;
        // The directory is at most two seconds old.
        for _ in 0..200 {
            let answer = self
                .client
                .request("POST", "/v1/receipts", &[ENVELOPE], &receipt)
                .await;
            if answer.status == 201 || answer.status == 200 {
                placed = Some(answer.at("/leaf"));
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        placed.expect("the log takes the receipt")
    }
}

pub(crate) async fn admit(admin: &Client, operator: &str, licence: Option<&str>) -> String {
    let wanted = json!({ "operator": operator, "licence": licence });
    let made = admin.post_json("/v1/checker-tokens", &wanted).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.at("/token")
}

/// What a checker sends to come in, and the key that it is to be certified for.
pub(crate) fn asks_with(token: &str, key: &SecretKey) -> (Value, PendingKey) {
    let pending = PendingKey::generate().unwrap();
    let request = pending.request().unwrap();
    let asked = json!({
        "token": token, "key": hex(key.public().as_bytes()), "request": request,
        "signature": hex(&key.sign(&join(token, &key.public(), &request))),
    });
    (asked, pending)
}

fn asks(token: &str, key: &SecretKey) -> Value {
    asks_with(token, key).0
}

/// Keeps what a checker was given, as it would.
pub(crate) fn keep(pki: &Path, given: &Value, pending: &PendingKey) {
    let text = |name: &str| given[name].as_str().unwrap().to_owned();
    let issued = pending.accept(&text("certificate"), &text("ca"), &WallClock::system());
    issued.unwrap().save(pki, "checker").unwrap();
}

/// Whoever shows what is kept there as `name`.
pub(crate) fn certified(pki: &Path, name: &str, at: SocketAddr, wall: &WallClock) -> Client {
    let shown = Credentials::load(pki, name).unwrap();
    Client::certified(at, shown.client_config(wall).unwrap())
}

pub(crate) async fn member(rig: &Rig, n: u8, operator: &str) -> Member {
    let at = rig.broker.node_listen;
    member_at(&rig.admin(), (&rig.nobody(), at), n, operator).await
}

/// The same at any broker: `nobody` of its public listener, and where its listener for nodes is.
pub(crate) async fn member_at(
    admin: &Client,
    (nobody, at): (&Client, SocketAddr),
    n: u8,
    operator: &str,
) -> Member {
    let key = SecretKey::from_seed(&[n; 32]);
    let token = admit(admin, operator, None).await;
    let (asked, pending) = asks_with(&token, &key);
    let joined = nobody.post_json("/v1/checkers", &asked).await;
    assert_eq!(joined.status, 201, "{joined:?}");
    let pki = tempfile::tempdir().unwrap();
    keep(pki.path(), &joined.json()["certificate"], &pending);
    Member {
        client: certified(pki.path(), "checker", at, &WallClock::system()),
        key,
        instance: format!("copy-of-the-test-{n}"),
        pki: Arc::new(pki),
    }
}

pub(crate) async fn rig(round_s: u32, capacity_s: u32) -> Rig {
    Rig::start_with(|config| {
        config.checks.round_s = round_s;
        config.checks.capacity_s = capacity_s;
        config.limits.requests_burst = 5000;
        config.limits.key_requests_burst = 5000;
    })
    .await
}

/// A node with a key of the test.
pub(crate) async fn node(rig: &Rig, n: u8) -> (Edge, SecretKey) {
    let key = SecretKey::from_seed(&[n; 32]);
    let mut node = rig.node(1);
    node.receipt_key = Some(Box::new(claim(&node.id, &key)));
    let edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
    (edge, key)
}

/// Waits until one of the members has such a duty; who, and the duty.
pub(crate) async fn due<'a>(members: &'a [Member], kind: &str) -> (&'a Member, Value) {
    // Of several checkers one is drawn a round, so a single one may be passed over many times.
    for _ in 0..12_000 {
        for member in members {
            let duties = member.duties().await;
            if let Some(duty) = duties.into_iter().find(|duty| duty["duty"] == kind) {
                return (member, duty);
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("nobody is assigned {kind}");
}

/// The node's answer that it is there, to `checker`.
pub(crate) fn alive(duty: &Value, node: &SecretKey, checker: &SecretKey) -> Value {
    let challenge = Challenge {
        round: duty["round"].as_u64().unwrap(),
        beacon: array_from_hex(duty["value"].as_str().unwrap()).unwrap(),
        node: node.public().id(),
        checker: checker.public().id(),
        nonce: [9; 32],
    };
    json!({ "is": "alive", "nonce": hex(&[9; 32]), "signature": hex(&node.sign(&message(&challenge))) })
}

pub(crate) async fn rows(rig: &Rig, round: u64) -> Value {
    let shown = rig
        .nobody()
        .get(&format!("/v1/assignments?round={round}"))
        .await;
    assert_eq!(shown.status, 200, "{shown:?}");
    shown.json()
}

#[tokio::test]
async fn a_token_lets_one_key_in_that_its_bearer_has() {
    let rig = rig(60, 900).await;
    let key = SecretKey::from_seed(&[1; 32]);
    let token = admit(&rig.admin(), "west", None).await;
    let mut forged = asks(&token, &key);
    forged["key"] = json!(hex(SecretKey::from_seed(&[2; 32]).public().as_bytes()));
    let nobody = rig.nobody();
    nobody
        .post_json("/v1/checkers", &forged)
        .await
        .refused(400, "bad-request");
    let guessed = asks("nlc_guessed", &key);
    nobody
        .post_json("/v1/checkers", &guessed)
        .await
        .refused(401, "join-token-invalid");

    let joined = nobody.post_json("/v1/checkers", &asks(&token, &key)).await;
    assert_eq!(joined.status, 201, "{joined:?}");
    let other = SecretKey::from_seed(&[2; 32]);
    let second = nobody
        .post_json("/v1/checkers", &asks(&token, &other))
        .await;
    second.refused(401, "join-token-invalid");
    // The answer was lost: the same key with the same token has a new certificate.
    let (asked, pending) = asks_with(&token, &key);
    let again = nobody.post_json("/v1/checkers", &asked).await;
    assert_eq!(again.status, 201, "{again:?}");
    let pki = tempfile::tempdir().unwrap();
    keep(pki.path(), &again.json()["certificate"], &pending);
    let me = certified(pki.path(), "checker", rig.broker.node_listen, &rig.wall);
    let shown = me.get("/v1/checkers/me").await;
    assert_eq!(
        (shown.status, shown.at("/checker/operator").as_str()),
        (200, "west")
    );

    let trust = Trust::ask(&nobody).await;
    eventually("the checker to be in the directory", || async {
        let listed = Trust::ask(&nobody).await.directory();
        let found = listed.find(&key.public().id(), Role::Checker);
        found.is_some_and(|(_, entry)| entry.operator == "west" && entry.licence.is_none())
    })
    .await;
    // The chain is the directory's word, and its anchor stands in the log.
    let authority = PublicKey::from_hex(&again.at("/directory_key")).unwrap();
    let envelope = again.at("/chain/envelope");
    assert!(Anchor::open(envelope.as_bytes(), &authority).is_some());
    assert_eq!(trust.directory().pinned_by, authority.id());
    let leaf = hex(&nearlight_proof::log::tree::leaf(envelope.as_bytes()));
    let logged = nobody.get(&format!("/v1/receipts?leaf={leaf}")).await;
    assert_eq!(logged.at("/receipts/0/kind"), "chain/v1");

    // Who is none has no assignments.
    rig.admin()
        .get("/v1/checkers/me")
        .await
        .refused(403, "forbidden");

    let id = key.public().id();
    assert_eq!(
        rig.admin()
            .delete(&format!("/v1/checkers/{id}"))
            .await
            .status,
        204
    );
    eventually("its certificate to be void", || async {
        me.get("/v1/checkers/me").await.status == 401
    })
    .await;
    let back = asks(&admit(&rig.admin(), "west", None).await, &key);
    nobody
        .post_json("/v1/checkers", &back)
        .await
        .refused(409, "name-taken");
}

#[tokio::test]
async fn a_licence_is_delegated_by_its_owner_and_taken_back_with_its_checkers() {
    let rig = rig(60, 900).await;
    let (owner, key) = (
        SecretKey::from_seed(&[1; 32]),
        SecretKey::from_seed(&[2; 32]),
    );
    let wanted = json!({ "key": hex(owner.public().as_bytes()), "owner": "foundation" });
    let given = rig.admin().post_json("/v1/licences", &wanted).await;
    assert_eq!(given.status, 201, "{given:?}");
    let licence = given.at("/id");
    assert_eq!(licence, owner.public().id().to_string());
    let token = admit(&rig.admin(), "west", Some(&licence)).await;
    let now_s = nearlight_kit::clock::unix_ms() / 1000;
    let nobody = rig.nobody();
    let with = |delegation: Delegation| {
        let mut asked = asks(&token, &key);
        asked["delegation"] = json!(delegation.to_string());
        asked
    };
    nobody
        .post_json("/v1/checkers", &asks(&token, &key))
        .await
        .refused(400, "bad-request");
    let other = SecretKey::from_seed(&[3; 32]);
    for wrong in [
        Delegation::sign(&owner, &other.public(), now_s + 1000),
        Delegation::sign(&other, &key.public(), now_s + 1000),
        Delegation::sign(&owner, &key.public(), now_s),
    ] {
        nobody
            .post_json("/v1/checkers", &with(wrong))
            .await
            .refused(400, "bad-request");
    }
    let until_s = now_s + 1000;
    let joined = with(Delegation::sign(&owner, &key.public(), until_s));
    let joined = nobody.post_json("/v1/checkers", &joined).await;
    assert_eq!(joined.status, 201, "{joined:?}");
    eventually("the licence to be in the directory", || async {
        let listed = Trust::ask(&nobody).await.directory();
        let found = listed.find(&key.public().id(), Role::Checker);
        found.is_some_and(|(_, e)| e.licence == Some(owner.public().id()) && e.until_s == until_s)
    })
    .await;
    let taken = rig.admin().delete(&format!("/v1/licences/{licence}")).await;
    assert_eq!(taken.status, 204, "{taken:?}");
    let list = nobody.get("/v1/checkers").await.json();
    assert!(list["checkers"][0]["revoked_s"].is_u64(), "{list}");
}

#[tokio::test]
async fn two_copies_of_one_key_are_one_too_many() {
    let rig = rig(60, 900).await;
    let mut one = member(&rig, 1, "west").await;
    assert_eq!(one.assignments().await.status, 200);
    assert_eq!(one.assignments().await.status, 200, "the same copy again");
    let first = std::mem::replace(&mut one.instance, "another-copy-of-it".to_owned());
    let refused = one.assignments().await;
    refused.refused(403, "forbidden");
    assert!(
        refused.at("/detail").contains("Another copy"),
        "{refused:?}"
    );
    let duty = json!({ "round": 1, "duty": "alive", "node_key_id": "00" });
    let said = one
        .report(&duty, json!({ "is": "missed", "why": "x" }))
        .await;
    said.refused(403, "forbidden");
    // The first stops, and the key is free at once.
    let path = format!("/v1/checkers/me/instance?instance={first}");
    assert_eq!(one.client.delete(&path).await.status, 204);
    assert_eq!(one.assignments().await.status, 200);
}

#[tokio::test]
async fn anyone_can_work_out_who_should_have_checked_whom() {
    let rig = rig(2, 60).await;
    let mut members = Vec::new();
    for (n, operator) in [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "operator")] {
        members.push(member(&rig, n, operator).await);
    }
    let (_edge, key) = node(&rig, 50).await;
    let (_, duty) = due(&members, "capacity").await;
    let round = duty["round"].as_u64().unwrap();
    let shown = rows(&rig, round).await;
    let beacon = rig
        .nobody()
        .get(&format!("/v1/beacon/{round}"))
        .await
        .json();
    assert_eq!(beacon["value"], shown["value"]);
    let anchor = KeyId::from_hex(beacon["chain"]["anchor"].as_str().unwrap()).unwrap();
    let value: [u8; 32] = array_from_hex(shown["value"].as_str().unwrap()).unwrap();
    assert!(chain::verify((0, &anchor), round, &value));
    let late = rig
        .nobody()
        .get(&format!("/v1/beacon/{}", round + 1000))
        .await;
    late.refused(404, "not-found");

    let set: Vec<committee::Checker> = shown["checkers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| committee::Checker {
            key: KeyId::from_hex(of["key_id"].as_str().unwrap()).unwrap(),
            operator: of["operator"].as_str().unwrap().to_owned(),
        })
        .collect();
    assert_eq!(set.len(), 5);
    assert_eq!(shown["checkers_root"], hex(&set_root(&set)));
    let candidate = Candidate {
        key: key.public().id(),
        operator: "operator".to_owned(),
    };
    let expected = committee::assign(&value, &candidate, &set, 3);
    let expected: Vec<String> = expected.iter().map(|of| of.key.to_string()).collect();
    let found: Vec<String> = shown["assignments"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["duty"] == "capacity")
        .map(|row| row["checker"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        found, expected,
        "a committee of three, the node's own operator left out"
    );
}

#[tokio::test]
async fn what_a_checker_copies_or_makes_up_settles_nothing() {
    let rig = rig(5, 600).await;
    let mut members = Vec::new();
    for (n, operator) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        members.push(member(&rig, n, operator).await);
    }
    let (_edge, node_key) = node(&rig, 50).await;
    let (_, duty) = due(&members, "capacity").await;
    let round = duty["round"].as_u64().unwrap();
    let shown = rows(&rig, round).await;
    let committee: Vec<&Member> = shown["assignments"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["duty"] == "capacity")
        .map(|row| members.iter().find(|of| row["checker"] == of.id()).unwrap())
        .collect();
    let [honest, cheat, _] = committee[..] else {
        panic!("no committee of three: {shown}");
    };
    let stranger = members
        .iter()
        .find(|of| committee.iter().all(|c| c.id() != of.id()))
        .unwrap();
    for of in [honest, cheat, stranger] {
        assert_eq!(of.assignments().await.status, 200);
    }
    let leaf = honest.write(&duty).await;
    let is = |leaf: &str| json!({ "is": "receipt", "leaf": leaf });
    // One that is not assigned, with the assigned one's receipt and with its own.
    stranger
        .report(&duty, is(&leaf))
        .await
        .refused(404, "not-found");
    let own = stranger.write(&duty).await;
    stranger
        .report(&duty, is(&own))
        .await
        .refused(404, "not-found");
    // One that is assigned, and copies.
    eventually("the log to show it", || async {
        let refused = cheat.report(&duty, is(&leaf)).await;
        refused.refused(400, "bad-request");
        refused.at("/detail").contains("another checker issued")
    })
    .await;
    let nothing = cheat.report(&duty, is(&"0".repeat(64))).await;
    nothing.refused(400, "bad-request");
    // That a node is there says nothing of what it can do.
    cheat
        .report(&duty, alive(&duty, &node_key, &cheat.key))
        .await
        .refused(400, "bad-request");
    // Its own receipt of another round.
    let mut earlier = duty.clone();
    earlier["round"] = json!(round + 1);
    let other = cheat.write(&earlier).await;
    eventually("the log to show it", || async {
        let refused = cheat.report(&duty, is(&other)).await;
        refused.at("/detail").contains("another round")
    })
    .await;
    eventually("the honest one's report to be taken", || async {
        honest.report(&duty, is(&leaf)).await.status == 204
    })
    .await;
    honest
        .report(&duty, is(&leaf))
        .await
        .refused(404, "not-found");
    let settled = rows(&rig, round).await;
    let state = |of: &Member| {
        let rows = settled["assignments"].as_array().unwrap();
        let row = rows
            .iter()
            .find(|row| row["checker"] == of.id() && row["duty"] == "capacity");
        row.map(|row| (row["state"].clone(), row["leaf"].clone()))
    };
    assert_eq!(state(honest), Some((json!("done"), json!(leaf))));
    assert_eq!(state(cheat), Some((json!("due"), json!(""))));
    assert_eq!(state(stranger), None);
}

#[tokio::test]
async fn a_silent_checker_is_stood_in_for_and_a_node_that_is_there_says_so_itself() {
    let rig = rig(4, 60).await;
    let members = [member(&rig, 1, "a").await, member(&rig, 2, "b").await];
    let (_edge, node_key) = node(&rig, 50).await;
    let (silent, missed) = due(&members, "alive").await;
    let round = missed["round"].as_u64().unwrap();
    let other = members.iter().find(|of| of.id() != silent.id()).unwrap();
    // The other one takes it over, and its answer has to be its own.
    let mut found = None;
    eventually("the other one to stand in", || async {
        let mine = other.assignments().await.json();
        let mut duties = mine["assignments"].as_array().unwrap().iter();
        duties.any(|duty| duty["round"] == round && duty["duty"] == "alive")
    })
    .await;
    let mine = other.assignments().await.json();
    for duty in mine["assignments"].as_array().unwrap() {
        if duty["round"] == round && duty["duty"] == "alive" {
            found = Some(duty.clone());
        }
    }
    let duty = found.unwrap();
    let copied = alive(&duty, &node_key, &silent.key);
    other
        .report(&duty, copied)
        .await
        .refused(400, "bad-request");
    let forged = alive(&duty, &other.key, &other.key);
    other
        .report(&duty, forged)
        .await
        .refused(400, "bad-request");
    let answered = alive(&duty, &node_key, &other.key);
    assert_eq!(other.report(&duty, answered).await.status, 204);
    // Too late for the silent one; and that it missed stays to be seen.
    let late = alive(&missed, &node_key, &silent.key);
    silent.report(&missed, late).await.refused(404, "not-found");
    let shown = rows(&rig, round).await;
    let alive: Vec<(String, String, u64)> = shown["assignments"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["duty"] == "alive")
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            (
                text("checker"),
                text("state"),
                row["place"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = [
        (silent.id(), "missed".to_owned(), 0),
        (other.id(), "done".to_owned(), 1),
    ];
    assert_eq!(alive, expected);
    let why = shown["assignments"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["state"] == "missed")
        .unwrap()["why"]
        .clone();
    assert!(why.as_str().unwrap().contains("said nothing"), "{why}");
    let standing = silent.client.get("/v1/checkers/me").await.json();
    let told = standing["assignments"]
        .as_array()
        .unwrap()
        .iter()
        .any(|row| row["state"] == "missed");
    assert!(told, "{standing}");
}

/// A reason moves an assignment at once, not only when its time is over.
#[tokio::test]
async fn who_says_that_it_cannot_is_stood_in_for_at_once() {
    let rig = rig(2, 3_600).await;
    let mut members = Vec::new();
    for (n, operator) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        members.push(member(&rig, n, operator).await);
    }
    let (_edge, _) = node(&rig, 50).await;
    let (busy, duty) = due(&members, "capacity").await;
    let round = duty["round"].as_u64().unwrap();
    let said = busy
        .report(
            &duty,
            json!({ "is": "missed", "why": "the month's traffic is used up" }),
        )
        .await;
    assert_eq!(said.status, 204, "{said:?}");
    let shown = rows(&rig, round).await;
    let capacity: Vec<&Value> = shown["assignments"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["duty"] == "capacity")
        .collect();
    assert_eq!(capacity.len(), 4, "three, and one who stands in: {shown}");
    let missed: Vec<_> = capacity
        .iter()
        .filter(|row| row["state"] == "missed")
        .collect();
    assert_eq!(missed.len(), 1);
    assert_eq!(missed[0]["why"], "the month's traffic is used up");
    assert_eq!(missed[0]["checker"], busy.id());
}
