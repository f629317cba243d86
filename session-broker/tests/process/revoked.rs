//! Revocations over the real routes: what they are of weighs nothing any more, and verdict, rank, gate and stakes follow.

use crate::http::{Answer, Client};
use crate::proving::{now_s, probe};
use crate::receipts::Trust;
use crate::rig::{Rig, eventually};
use crate::verdicts::{
    account, checker, deposit, dispute, ended, hand_in, let_in, newest, node_key, proving_node,
    standing,
};
use nearlight_proof::key::{KeyId, SecretKey};
use nearlight_proof::log::policy::Policy;
use nearlight_proof::log::tree::leaf;
use nearlight_proof::receipt::fixture::{entry, statement};
use nearlight_proof::receipt::predicate::{Predicate, Revoke};
use nearlight_proof::receipt::report::Outcome;
use nearlight_proof::receipt::verify::{Given, PolicySource, verify};
use serde_json::{Value, json};

const ENVELOPE: (&str, &str) = ("content-type", "application/vnd.dsse.envelope.v1+json");

/// What somebody signs to revoke a receipt.
async fn revoke(client: &Client, by: &SecretKey, receipt: &str) -> Answer {
    revoke_leaf(client, by, KeyId(leaf(receipt.as_bytes()))).await
}

async fn revoke_leaf(client: &Client, by: &SecretKey, subject: KeyId) -> Answer {
    let predicate = Predicate::Revoke(Revoke {
        from_s: 0,
        reason: "the key was stolen".to_owned(),
    });
    let said = statement(by, subject, now_s(), predicate);
    let envelope = String::from_utf8(entry(&said, &[by])).unwrap();
    let sent = client.request("POST", "/v1/receipts", &[ENVELOPE], &envelope);
    sent.await
}

fn place(answer: &Answer) -> u64 {
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["index"].as_u64().unwrap()
}

fn rank(standing: &Value) -> u64 {
    standing["rank_permille"].as_u64().unwrap()
}

/// What a stranger makes of a receipt, with the entry that revokes it and without.
async fn outcomes(client: &Client, receipt: u64, revocation: u64) -> [Outcome; 2] {
    let trust = Trust::ask(client).await;
    let (directory, log) = (trust.directory(), trust.log_key());
    let policy = Policy::parse(&format!("log {log}\nquorum none\n")).unwrap();
    let mut shown = Vec::new();
    for index in [receipt, revocation] {
        let path = format!("/v1/receipts/{index}");
        eventually("its proof", || async {
            client.get(&path).await.status == 200
        })
        .await;
        let receipt = client.get(&path).await.json();
        let text = |name: &str| receipt[name].as_str().unwrap().as_bytes().to_vec();
        shown.push((text("envelope"), text("proof")));
    }
    let later = [(&shown[1].0[..], &shown[1].1[..])];
    [&later[..], &[]].map(|later| {
        let given = Given {
            policy: &policy,
            policy_source: PolicySource::LogOperator,
            directory: &directory,
            later,
        };
        verify(&shown[0].0, &shown[0].1, &given).outcome
    })
}

/// A node is proven by three; the keys of two were stolen. The operator revokes what they signed: it is as if it had not been
/// made.
#[tokio::test]
async fn what_is_revoked_weighs_nothing_and_the_gate_follows() {
    let rig = Rig::start_with(|config| config.checks.reward_micro = 10).await;
    let (admin, client) = (rig.admin(), rig.nobody());
    let checkers = [1, 2, 3].map(checker);
    let edge = proving_node(&rig, 2).await;
    let (node, key) = (edge.node.id.clone(), node_key());
    let_in(&admin, &checkers).await;
    deposit(&admin, "pool", 1_000).await;
    let (mut receipts, mut places) = (Vec::new(), Vec::new());
    for checker in &checkers {
        receipts.push(probe(checker, &key, node.as_str(), 7).receipt());
        places.push(hand_in(&client, receipts.last().unwrap()).await);
    }
    let proven = standing(&rig, &node, "the node to be proven", |of| {
        of["gate"] == "proven" && newest(of) == ("passed", "pass")
    })
    .await;
    assert!(rank(&proven) > 0);
    assert_eq!(account(&admin, "pool").await.1, 30, "three are paid later");

    // What a round has come to its checkers do not take back.
    let bribed = revoke(&client, &checkers[0], &receipts[0]).await;
    bribed.refused(422, "receipt-refused");
    let body = |of: u64| json!({ "receipt": of, "reason": "its key was stolen" });
    let own = place(&admin.post_json("/v1/revocations", &body(places[0])).await);
    let body = body(places[1]);
    let networks = place(&admin.post_json("/v1/revocations", &body).await);
    let after = standing(&rig, &node, "the node to be unproven", |of| {
        let cited = of["verdicts"][0]["receipts"].as_array();
        of["gate"] == "unproven" && cited.is_some_and(|of| of.contains(&json!(networks)))
    })
    .await;
    assert_eq!(newest(&after), ("open", "inconclusive"));
    assert_eq!(rank(&after), 0);
    assert_eq!(
        after["verdicts"][0]["receipts"],
        json!([places[2], own, networks]),
        "what weighs, and what revokes the rest"
    );
    // Whoever was revoked is not paid, and the row says by what.
    assert_eq!(account(&admin, "pool").await.1, 10);
    let first = format!("earned/{}", checkers[0].public().id());
    let (_, _, transfers) = account(&admin, &first).await;
    let void = transfers.iter().find(|of| of["kind"] == "void").unwrap();
    assert_eq!(void["receipts"], json!([places[0], own]));
    for (receipt, by) in [(places[0], own), (places[1], networks)] {
        let found = outcomes(&client, receipt, by).await;
        assert_eq!(found, [Outcome::Revoked, Outcome::Valid]);
    }

    // Once is enough, whoever says so again.
    let again = revoke(&client, &checkers[0], &receipts[0]).await;
    assert_eq!((again.status, &again.json()["index"]), (200, &json!(own)));
    let again = admin.post_json("/v1/revocations", &body).await;
    assert_eq!(
        (again.status, &again.json()["index"]),
        (200, &json!(networks))
    );
    // Two others check it in their place, and one of the two anew.
    let more = [4, 5].map(checker);
    let_in(&admin, &more).await;
    for checker in [&more[0], &checkers[0]] {
        let probed = probe(checker, &key, node.as_str(), 7);
        hand_in(&client, &probed.receipt()).await;
    }
    let anew = standing(&rig, &node, "the node to be proven again", |of| {
        of["gate"] == "proven" && newest(of) == ("passed", "pass")
    })
    .await;
    assert_eq!(rank(&anew), rank(&proven));

    let rig = rig.restart().await;
    let _edge = rig.attach(&edge.node, Vec::new()).await;
    let kept = standing(&rig, &node, "the same after a restart", |of| {
        of["gate"] == "proven"
    })
    .await;
    assert_eq!(kept["verdicts"], anew["verdicts"]);
}

/// A stolen key failed a node in many rounds: all that it signed since is void, and what it signs from now on.
#[tokio::test]
async fn what_a_stolen_key_signed_since_is_void_and_the_stake_is_given_back() {
    let rig = Rig::start_with(|config| config.checks.committee = 1).await;
    let (admin, client) = (rig.admin(), rig.nobody());
    let checkers = [1, 2].map(checker);
    let edge = proving_node(&rig, 2).await;
    let (node, key) = (edge.node.id.clone(), node_key());
    let_in(&admin, &checkers).await;
    deposit(&admin, "operator/operator", 1_000).await;
    let mut lies = Vec::new();
    for round in [7, 8] {
        let probed = probe(&checkers[0], &key, node.as_str(), round);
        lies.push(hand_in(&client, &probed.lie(&checkers[0], "slow")).await);
    }
    standing(&rig, &node, "the node to fail", |of| {
        of["gate"] == "failing"
    })
    .await;
    assert_eq!(account(&admin, "operator/operator").await.1, 190);

    // What the thief makes void with the key itself moves nothing, and is in the way of nothing.
    let stolen = checkers[0].public().id();
    place(&revoke_leaf(&client, &checkers[0], stolen).await);
    let stolen = stolen.to_string();
    let later = json!({ "key": stolen, "from_s": now_s() + 3_600, "reason": "stolen" });
    place(&admin.post_json("/v1/revocations", &later).await);
    let since = json!({ "key": stolen, "from_s": now_s() - 3_600, "reason": "stolen" });
    let void = place(&admin.post_json("/v1/revocations", &since).await);
    let after = standing(&rig, &node, "the node not to fail", |of| {
        of["gate"] == "unproven"
    })
    .await;
    for verdict in after["verdicts"].as_array().unwrap() {
        assert_eq!(verdict["state"], "open");
        assert_eq!(verdict["receipts"], json!([void]));
    }
    let (free, held, transfers) = account(&admin, "operator/operator").await;
    assert_eq!((free, held), (1_000, 0));
    let ends = transfers.iter().filter(|of| of["kind"] == "void");
    let cited: Vec<&Value> = ends.map(|of| &of["receipts"][1]).collect();
    assert_eq!(cited, [void, void]);

    let late = probe(&checkers[0], &key, node.as_str(), 9);
    hand_in(&client, &late.lie(&checkers[0], "slow")).await;
    let honest = probe(&checkers[1], &key, node.as_str(), 9);
    let honest = hand_in(&client, &honest.receipt()).await;
    let passed = standing(&rig, &node, "round 9 to pass", |of| {
        newest(of) == ("passed", "pass")
    })
    .await;
    assert_eq!(passed["verdicts"][0]["receipts"], json!([honest]));
}

/// Whoever is refuted stays so, whatever it takes back; and nobody takes back what is not its own, or what is none.
#[tokio::test]
async fn nobody_takes_back_a_lie_a_verdict_or_what_is_another_ones() {
    let rig = Rig::start_with(|config| config.checks.committee = 2).await;
    let (admin, client) = (rig.admin(), rig.nobody());
    let checkers = [1, 2, 3].map(checker);
    let (honest, liar) = (&checkers[..2], &checkers[2]);
    let edge = proving_node(&rig, 2).await;
    let (node, key) = (edge.node.id.clone(), node_key());
    let_in(&admin, &checkers).await;
    let stake = format!("checker/{}", liar.public().id());
    deposit(&admin, &stake, 1_000).await;
    // As long as its round has come to nothing, a check is its issuer's to take back.
    let early = probe(&honest[0], &key, node.as_str(), 6).receipt();
    hand_in(&client, &early).await;
    standing(&rig, &node, "a round of one", |of| {
        newest(of) == ("open", "inconclusive")
    })
    .await;
    let taken = place(&revoke(&client, &honest[0], &early).await);
    standing(&rig, &node, "it to be taken back", |of| {
        of["verdicts"][0]["receipts"] == json!([taken])
    })
    .await;
    let mut receipts = Vec::new();
    for checker in honest {
        receipts.push(probe(checker, &key, node.as_str(), 7).receipt());
        hand_in(&client, receipts.last().unwrap()).await;
    }
    let lied_about = probe(liar, &key, node.as_str(), 7);
    let lie = lied_about.lie(liar, "row 3 of C: made up");
    let lie_at = hand_in(&client, &lie).await;
    standing(&rig, &node, "a split", |of| newest(of).0 == "split").await;
    let bribed = revoke(&client, liar, &lie).await;
    bribed.refused(422, "receipt-refused");
    let body = json!({ "receipt": lie_at, "reason": "it says that it was stolen" });
    let own = place(&admin.post_json("/v1/revocations", &body).await);
    standing(&rig, &node, "the lie to be taken back", |of| {
        newest(of) == ("passed", "pass")
    })
    .await;
    let filed = dispute(&admin, lie_at, &[&lied_about]).await;
    let verdict = ended(&client, &filed).await;
    assert_eq!(verdict["finding"], "pass");
    assert_eq!(verdict["liars"], json!([liar.public().id().to_string()]));
    eventually("its stake to be held", || async {
        account(&admin, &stake).await.1 == 100
    })
    .await;

    let others = revoke(&client, liar, &receipts[0]).await;
    others.refused(403, "forbidden");
    let others = revoke_leaf(&client, liar, honest[0].public().id()).await;
    others.refused(403, "forbidden");
    let nodes = revoke(&client, &key, &receipts[0]).await;
    nodes.refused(422, "receipt-refused");
    let path = format!("/v1/disputes/{}", filed.json()["index"]);
    let verdict = client.get(&path).await.json()["verdict"].clone();
    let body = |receipt: &Value| json!({ "receipt": receipt, "reason": "x" });
    let entries = [&verdict, &json!(own), &json!(taken), &filed.json()["index"]];
    for entry in entries {
        let refused = admin.post_json("/v1/revocations", &body(entry)).await;
        refused.refused(422, "receipt-refused");
    }
    let unknown = revoke_leaf(&client, liar, KeyId([7; 32])).await;
    unknown.refused(422, "receipt-refused");
    let missing = admin.post_json("/v1/revocations", &body(&json!(999))).await;
    missing.refused(404, "not-found");
    let both = json!({ "receipt": lie_at, "key": "x", "from_s": 0, "reason": "x" });
    let both = admin.post_json("/v1/revocations", &both).await;
    both.refused(400, "bad-request");
    let guest = rig.guest().await;
    let wanted = body(&json!(lie_at));
    let denied = guest.post_json("/v1/revocations", &wanted).await;
    denied.refused(403, "forbidden");
}
