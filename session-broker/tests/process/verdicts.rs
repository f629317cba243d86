//! What receipts do: verdicts, ranks and gates over the real routes; a lying checker among honest ones is
//! named, a wrongly failed node wins its dispute, and stakes follow.

use crate::http::{Answer, Client};
use crate::proving::{Probed, probe};
use crate::rig::{Rig, eventually, id};
use nearlight_proof::encoding::{hex, sha256};
use nearlight_proof::key::{KeyId, SecretKey};
use nearlight_proof::log::tree::leaf;
use nearlight_proof::receipt::fixture::{entry, statement};
use nearlight_proof::receipt::predicate::{Dispute, Predicate};
use nearlight_protocol::control::{ReceiptKeyClaim, receipt_key_proof};
use nearlight_protocol::id::NodeId;
use serde_json::{Value, json};
use session_broker::ledger::Fault;

const ENVELOPE: (&str, &str) = ("content-type", "application/vnd.dsse.envelope.v1+json");
const BYTES: (&str, &str) = ("content-type", "application/octet-stream");

pub(crate) fn checker(number: u8) -> SecretKey {
    SecretKey::from_seed(&[100 + number; 32])
}

pub(crate) fn node_key() -> SecretKey {
    SecretKey::from_seed(&[99; 32])
}

/// Lets checkers in, each of an operator of its own.
pub(crate) async fn let_in(admin: &Client, checkers: &[SecretKey]) {
    for (number, key) in checkers.iter().enumerate() {
        let window = json!({
            "role": "checker", "operator": format!("checks-{number}"), "licence": null,
            "from_s": 0, "until_s": 4_000_000_000_u64,
        });
        let path = format!("/v1/directory/keys/{}", hex(key.public().as_bytes()));
        let json = [("content-type", "application/json")];
        let put = admin
            .request("PUT", &path, &json, &window.to_string())
            .await;
        assert_eq!(put.status, 204, "{put:?}");
    }
}

/// A node that has told its receipt key.
pub(crate) async fn proving_node(rig: &Rig, slots: usize) -> crate::edge::Edge {
    proves(rig, rig.node(slots)).await
}

/// The same of this node.
pub(crate) async fn proves(rig: &Rig, mut node: crate::edge::Node) -> crate::edge::Edge {
    let key = node_key();
    node.receipt_key = Some(Box::new(ReceiptKeyClaim {
        key: hex(key.public().as_bytes()),
        signature: hex(&key.sign(&receipt_key_proof(&node.id))),
    }));
    let edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
    let (admin, at) = (rig.admin(), standing_path(&node.id));
    eventually("the node's key to be known", || async {
        admin.get(&at).await.at("/receipt_key_id") == key.public().id().to_string()
    })
    .await;
    edge
}

pub(crate) fn standing_path(node: &NodeId) -> String {
    format!("/v1/nodes/{node}/standing")
}

pub(crate) async fn hand_in(client: &Client, receipt: &str) -> u64 {
    let placed = client
        .request("POST", "/v1/receipts", &[ENVELOPE], receipt)
        .await;
    assert_eq!(placed.status, 201, "{placed:?}");
    placed.json()["index"].as_u64().unwrap()
}

/// The node's standing, once it is so.
pub(crate) async fn standing(
    rig: &Rig,
    node: &NodeId,
    what: &str,
    is: impl Fn(&Value) -> bool,
) -> Value {
    let (admin, path) = (rig.admin(), standing_path(node));
    eventually(what, || async { is(&admin.get(&path).await.json()) }).await;
    admin.get(&path).await.json()
}

pub(crate) fn newest(standing: &Value) -> (&str, &str) {
    let newest = &standing["verdicts"][0];
    let text = |name: &str| newest[name].as_str().unwrap_or_default();
    (text("state"), text("finding"))
}

pub(crate) async fn dispute(admin: &Client, receipt: u64, shown: &[&Probed]) -> Answer {
    let pieces: Vec<Vec<u8>> = shown.iter().flat_map(|of| of.evidence()).collect();
    let filed = file(admin, receipt, &pieces).await;
    put(admin, &pieces).await;
    filed
}

/// Files a dispute that names these pieces.
async fn file(admin: &Client, receipt: u64, pieces: &[Vec<u8>]) -> Answer {
    let named: Vec<Value> = pieces
        .iter()
        .map(|piece| json!({ "sha256": hex(&sha256(&[piece])), "bytes": piece.len() }))
        .collect();
    let body = json!({ "receipt": receipt, "reason": "the opening was right", "evidence": named });
    let filed = admin.post_json("/v1/disputes", &body).await;
    assert_eq!(filed.status, 201, "{filed:?}");
    filed
}

pub(crate) async fn put(admin: &Client, pieces: &[Vec<u8>]) {
    for piece in pieces {
        let path = format!("/v1/evidence/{}", hex(&sha256(&[piece])));
        let put = admin.put_bytes(&path, BYTES, piece).await;
        assert_eq!(put.status, 204, "{put:?}");
    }
}

/// A dispute that somebody signs, to be decided when its issuer likes.
fn signed_dispute(issuer: &SecretKey, leaf: KeyId, deadline_s: u64) -> String {
    let predicate = Predicate::Dispute(Dispute {
        claim: "it is wrong".to_owned(),
        deadline_s,
    });
    let said = statement(issuer, leaf, crate::proving::now_s(), predicate);
    String::from_utf8(entry(&said, &[issuer])).unwrap()
}

pub(crate) async fn ended(client: &Client, filed: &Answer) -> Value {
    let path = format!("/v1/disputes/{}", filed.json()["index"]);
    eventually("the referee to decide", || async {
        client.get(&path).await.json()["verdict"].is_u64()
    })
    .await;
    let verdict = client.get(&path).await.json()["verdict"].as_u64().unwrap();
    let shown = client.get(&format!("/v1/receipts/{verdict}")).await.json();
    let envelope: Value = serde_json::from_str(shown["envelope"].as_str().unwrap()).unwrap();
    let payload = envelope["payload"].as_str().unwrap();
    let payload = nearlight_proof::encoding::from_base64(payload).unwrap();
    let statement: Value = serde_json::from_slice(&payload).unwrap();
    statement["predicate"]["body"].clone()
}

pub(crate) async fn deposit(admin: &Client, account: &str, micro: u64) {
    let body = json!({
        "id": "first", "direction": "deposit", "account": account, "amount_micro": micro.to_string(),
    });
    let moved = admin.post_json("/v1/stakes", &body).await;
    assert_eq!(moved.status, 200, "{moved:?}");
}

/// What an account has free, what is held of it, and its transfers.
pub(crate) async fn account(admin: &Client, name: &str) -> (u64, u64, Vec<Value>) {
    let list = admin
        .get(&format!("/v1/stakes?account={name}"))
        .await
        .json();
    let of = |part: &str| -> u64 {
        let text = list["accounts"][0][part].as_str().unwrap_or("0");
        text.parse().unwrap()
    };
    let held = of("held_micro");
    let free = of("credits_micro") - of("debits_micro") - held;
    (free, held, list["transfers"].as_array().unwrap().clone())
}

#[tokio::test]
async fn receipts_open_the_gate_and_placement_follows() {
    let rig = Rig::start().await;
    let checkers = [1, 2, 3].map(checker);
    let mut edge = proving_node(&rig, 4).await;
    let (node, key) = (edge.node.id.clone(), node_key());
    let before = standing(&rig, &node, "nobody to count", |of| {
        of["gate"] == "unchecked"
    })
    .await;
    assert!(
        before["advice"][0]
            .as_str()
            .unwrap()
            .contains("Fewer than 3 checkers"),
        "{before}"
    );
    let_in(&rig.admin(), &checkers).await;
    standing(&rig, &node, "the node to be unproven", |of| {
        of["gate"] == "unproven"
    })
    .await;
    // Two sessions are what an unproven node takes; the third waits, and says why.
    let guests = [rig.guest().await, rig.guest().await, rig.guest().await];
    let mut sessions = Vec::new();
    for guest in &guests {
        sessions.push(id(&guest.create("demo").await));
    }
    edge.start_next().await;
    edge.start_next().await;
    let path = format!("/v1/sessions/{}/placement", sessions[2]);
    eventually("the third to wait for proof", || async {
        let placement = guests[2].get(&path).await.json();
        placement["excluded"] == json!([{ "reason": "unproven", "nodes": 1 }])
    })
    .await;
    let lately = standing(&rig, &node, "what came here", |of| {
        of["lately"]["here"] == 2
    })
    .await;
    assert_eq!(lately["lately"]["placements"], 2);

    let mut places = Vec::new();
    for checker in &checkers {
        let probed = probe(checker, &key, node.as_str(), 7);
        places.push(hand_in(&rig.nobody(), &probed.receipt()).await);
    }
    let proven = standing(&rig, &node, "the node to be proven", |of| {
        of["gate"] == "proven"
    })
    .await;
    assert_eq!(newest(&proven), ("passed", "pass"));
    assert_eq!(proven["verdicts"][0]["receipts"], json!(places));
    assert_eq!(proven["rank_permille"], 222, "one pass of today");
    // Its rank opens the gate: the third session starts.
    edge.start_next().await;
    eventually("the third to be placed", || async {
        guests[2].get(&path).await.json()["outcome"] == "placed"
    })
    .await;
    let points = guests[2].get(&path).await.json()["points"]["receipts"].clone();
    assert_eq!(points, 389, "half a point for each of 778 that are missing");

    // The same from the ledger alone, in another broker.
    let rig = rig.restart().await;
    let _edge = rig.attach(&edge.node, Vec::new()).await;
    let after = standing(&rig, &node, "the same after a restart", |of| {
        of["gate"] == "proven"
    })
    .await;
    assert_eq!(after["rank_permille"], 222);
    assert_eq!(after["verdicts"], proven["verdicts"]);
}

/// Three honest checkers and one that lies: the node keeps its standing, and the liar is named with evidence.
#[tokio::test]
async fn a_lying_checker_is_named_and_the_node_keeps_its_standing() {
    let rig = Rig::start_with(|config| config.checks.reward_micro = 10).await;
    let (admin, client) = (rig.admin(), rig.nobody());
    let checkers = [1, 2, 3, 4].map(checker);
    let liar = &checkers[3];
    let edge = proving_node(&rig, 2).await;
    let (node, key) = (edge.node.id.clone(), node_key());
    let_in(&admin, &checkers).await;
    let liars = format!("checker/{}", liar.public().id());
    deposit(&admin, &liars, 1_000).await;
    deposit(&admin, "pool", 1_000).await;
    for checker in &checkers {
        let probed = probe(checker, &key, node.as_str(), 7);
        hand_in(&client, &probed.receipt()).await;
    }
    // What is kept says so first, and what placement goes by a moment later.
    let proven = standing(&rig, &node, "four passes", |of| {
        let receipts = of["verdicts"][0]["receipts"].as_array();
        receipts.is_some_and(|of| of.len() == 4) && of["gate"] == "proven"
    })
    .await;
    assert_eq!(newest(&proven), ("passed", "pass"));

    for checker in &checkers[..3] {
        let probed = probe(checker, &key, node.as_str(), 8);
        hand_in(&client, &probed.receipt()).await;
    }
    let lied_about = probe(liar, &key, node.as_str(), 8);
    let lie = hand_in(&client, &lied_about.lie(liar, "row 3 of C: made up")).await;
    let split = standing(&rig, &node, "a split", |of| newest(of).0 == "split").await;
    assert_eq!(
        split["gate"], "proven",
        "a split counts neither for nor against it"
    );
    assert_eq!(split["rank_permille"], proven["rank_permille"]);

    let filed = dispute(&admin, lie, &[&lied_about]).await;
    let verdict = ended(&client, &filed).await;
    assert_eq!(verdict["finding"], "pass");
    assert_eq!(verdict["liars"], json!([liar.public().id().to_string()]));
    assert!(
        verdict["step"].as_str().unwrap().contains("executed again"),
        "{verdict}"
    );
    let settled = standing(&rig, &node, "the round to be settled", |of| {
        newest(of).0 == "settled"
    })
    .await;
    assert_eq!(
        (newest(&settled).1, &settled["gate"]),
        ("pass", &json!("proven"))
    );
    assert_eq!(settled["verdicts"][0]["liars"], verdict["liars"]);
    assert!(settled["rank_permille"].as_u64() > proven["rank_permille"].as_u64());
    // A tenth of its stake is held, and the row says for which receipt.
    let (free, held, transfers) = account(&admin, &liars).await;
    assert_eq!((free, held), (900, 100));
    let slash = transfers
        .iter()
        .find(|of| of["credit"] == "slashed")
        .unwrap();
    assert_eq!(slash["receipts"], json!([lie]));
    // Round 7 pays four checks and round 8 three, once disputes are over.
    let (free, held, _) = account(&admin, "pool").await;
    assert_eq!((free, held), (930, 70));
    let taken = json!({ "receipt": 999, "reason": "x", "evidence": [] });
    admin
        .post_json("/v1/disputes", &taken)
        .await
        .refused(404, "not-found");
}

/// The first checker of a round disputes its own receipt, to be decided at once: by a majority of one it would be, for good.
#[tokio::test]
async fn whoever_disputes_first_does_not_say_when_it_is_decided() {
    let rig = Rig::start_with(|config| config.checks.committee = 2).await;
    let (admin, client) = (rig.admin(), rig.nobody());
    let checkers = [1, 2].map(checker);
    let edge = proving_node(&rig, 2).await;
    let (node, key) = (edge.node.id.clone(), node_key());
    let_in(&admin, &checkers).await;
    let covered = probe(&checkers[0], &key, node.as_str(), 7).receipt();
    hand_in(&client, &covered).await;
    standing(&rig, &node, "its receipt to count", |of| {
        newest(of).0 == "open"
    })
    .await;
    let contested = KeyId(leaf(covered.as_bytes()));
    let place = hand_in(&client, &signed_dispute(&checkers[0], contested, 1)).await;
    let path = format!("/v1/disputes/{place}");
    eventually("the dispute to be known", || async {
        client.get(&path).await.status == 200
    })
    .await;
    let filed = client.get(&path).await.json();
    assert!(filed["deadline_s"].as_u64().unwrap() > crate::proving::now_s());
    // Again it is the same one; another of the same key, or one of a key that it does not concern, is none.
    let again = async |by: &SecretKey, deadline_s| {
        let dispute = signed_dispute(by, contested, deadline_s);
        let said = client.request("POST", "/v1/receipts", &[ENVELOPE], &dispute);
        said.await
    };
    again(&checkers[0], 2).await.refused(422, "receipt-refused");
    again(&checkers[1], 1).await.refused(422, "receipt-refused");
    let honest = probe(&checkers[1], &key, node.as_str(), 7);
    hand_in(&client, &honest.lie(&checkers[1], "slow")).await;
    standing(&rig, &node, "what the others find to count", |of| {
        newest(of) == ("split", "inconclusive")
    })
    .await;
    assert!(client.get(&path).await.json()["verdict"].is_null());
}

/// The log takes nothing when the referee has decided: it says so again.
#[tokio::test]
async fn a_decision_that_was_not_written_is_made_again() {
    let rig = Rig::start_with(|config| config.checks.committee = 1).await;
    let (admin, client) = (rig.admin(), rig.nobody());
    let liar = checker(1);
    let edge = proving_node(&rig, 2).await;
    let (node, key) = (edge.node.id.clone(), node_key());
    let_in(&admin, std::slice::from_ref(&liar)).await;
    let probed = probe(&liar, &key, node.as_str(), 7);
    let lie = hand_in(&client, &probed.lie(&liar, "row 3 of C: made up")).await;
    standing(&rig, &node, "the lie to count", |of| {
        newest(of).0 == "failed"
    })
    .await;
    let pieces = probed.evidence();
    let filed = file(&admin, lie, &pieces).await;
    rig.faults.arm_log(Fault::Fails);
    put(&admin, &pieces).await;
    let verdict = ended(&client, &filed).await;
    assert_eq!(verdict["liars"], json!([liar.public().id().to_string()]));
    assert!(!rig.faults.log_is_armed(), "it had failed once");
}

/// All who checked it lie: it is failed, its operator's stake is held, and executing what was drawn gives both
/// back.
#[tokio::test]
async fn a_wrongly_failed_node_wins_its_dispute() {
    let rig = Rig::start_with(|config| config.checks.committee = 2).await;
    let (admin, client) = (rig.admin(), rig.nobody());
    let checkers = [1, 2].map(checker);
    let edge = proving_node(&rig, 2).await;
    let (node, key) = (edge.node.id.clone(), node_key());
    let_in(&admin, &checkers).await;
    deposit(&admin, "operator/operator", 5_000).await;
    let (mut lies, mut shown) = (Vec::new(), Vec::new());
    for round in [7, 8] {
        lies.clear();
        shown.clear();
        for checker in &checkers {
            let probed = probe(checker, &key, node.as_str(), round);
            let reason = "the answer to `reads` was later than the class allows";
            lies.push(hand_in(&client, &probed.lie(checker, reason)).await);
            shown.push(probed);
        }
    }
    let failing = standing(&rig, &node, "the node to fail", |of| {
        of["gate"] == "failing"
    })
    .await;
    assert_eq!(newest(&failing), ("failed", "fail"));
    let guest = rig.guest().await;
    let waits = id(&guest.create("demo").await);
    let path = format!("/v1/sessions/{waits}/placement");
    eventually("nobody to be placed there", || async {
        let placement = guest.get(&path).await.json();
        placement["excluded"] == json!([{ "reason": "failed-checks", "nodes": 1 }])
    })
    .await;
    let (free, held, transfers) = account(&admin, "operator/operator").await;
    assert_eq!(
        (free, held),
        (4_050, 950),
        "a tenth, and a tenth of the rest"
    );
    // Of a verdict the second is known, of a deposit the millisecond: within one, either may be listed first.
    let pending = transfers.iter().filter(|of| of["kind"] == "pending");
    assert_eq!(pending.count(), 2);
    let pay_out = json!({
        "id": "out", "direction": "withdraw", "account": "operator/operator", "amount_micro": "4051",
    });
    admin
        .post_json("/v1/stakes", &pay_out)
        .await
        .refused(400, "bad-request");

    // At full size a dispute has room for one opening: what is shown in several is looked at together.
    let filed = dispute(&admin, lies[0], &[&shown[0]]).await;
    dispute(&admin, lies[1], &[&shown[1]]).await;
    let verdict = ended(&client, &filed).await;
    assert_eq!(
        (
            &verdict["finding"],
            verdict["liars"].as_array().unwrap().len()
        ),
        (&json!("pass"), 2)
    );
    let won = standing(&rig, &node, "the node to be taken again", |of| {
        of["gate"] == "proven"
    })
    .await;
    assert_eq!(newest(&won), ("settled", "pass"));
    let (free, held, transfers) = account(&admin, "operator/operator").await;
    assert_eq!(
        (free, held),
        (4_500, 500),
        "what round 8 held is given back"
    );
    let ends = transfers.iter().find(|of| of["kind"] == "void").unwrap();
    assert_eq!(ends["receipts"], json!(lies));
    eventually("the session to be placed", || async {
        guest.get(&path).await.json()["outcome"] == "placed"
    })
    .await;
}
