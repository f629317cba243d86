//! Splits over the real routes: the referee looks at them though nobody minds.

use crate::proving::probe;
use crate::rig::{Rig, eventually};
use crate::verdicts::{
    account, checker, deposit, hand_in, let_in, newest, node_key, proving_node, put, standing,
};
use nearlight_proof::encoding::hex;
use nearlight_proof::key::KeyId;
use nearlight_proof::log::tree::leaf;
use serde_json::{Value, json};

/// The checker that lies shows what it had opened, and no human looks: the round is settled, and the liar named.
#[tokio::test]
async fn a_split_of_which_something_is_shown_is_refereed_though_nobody_minds() {
    let rig = Rig::start_with(|config| config.checks.committee = 2).await;
    let (admin, client) = (rig.admin(), rig.nobody());
    let checkers = [1, 2].map(checker);
    let liar = &checkers[1];
    let edge = proving_node(&rig, 2).await;
    let (node, key) = (edge.node.id.clone(), node_key());
    let_in(&admin, &checkers).await;
    let stake = format!("checker/{}", liar.public().id());
    deposit(&admin, &stake, 1_000).await;
    let honest = probe(&checkers[0], &key, node.as_str(), 7).receipt();
    hand_in(&client, &honest).await;
    let probed = probe(liar, &key, node.as_str(), 7);
    let pieces = probed.evidence();
    let lie = probed.lie_naming(liar, "row 3 of C: made up", &pieces);
    let lie_at = hand_in(&client, &lie).await;
    let about = format!("/v1/receipts?about={}", hex(&leaf(lie.as_bytes())));
    let split = standing(&rig, &node, "a split", |of| newest(of).0 == "split").await;
    assert_eq!(newest(&split).1, "inconclusive");
    let none = client.get(&about).await.json();
    assert_eq!(none["receipts"], json!([]), "nothing is shown yet");

    put(&admin, &pieces).await;
    let settled = standing(&rig, &node, "the round to be settled", |of| {
        newest(of) == ("settled", "pass")
    })
    .await;
    let named = json!([liar.public().id().to_string()]);
    assert_eq!(settled["verdicts"][0]["liars"], named);
    let filed = client.get(&about).await.json();
    let filed: Vec<&Value> = filed["receipts"].as_array().unwrap().iter().collect();
    assert_eq!(filed.len(), 1, "once: {filed:?}");
    assert_eq!(filed[0]["kind"], "dispute/v1");
    assert_ne!(filed[0]["issuer"], named[0]);
    // It follows from the receipt alone: brokers of one ledger say it once.
    let of_lie = format!("/v1/receipts?leaf={}", hex(&leaf(lie.as_bytes())));
    let of_lie = client.get(&of_lie).await.json();
    let said_s = &of_lie["receipts"][0]["issued_at_s"];
    assert!(
        said_s.is_u64() && *said_s == filed[0]["issued_at_s"],
        "{of_lie} {filed:?}"
    );
    eventually("its stake to be held", || async {
        account(&admin, &stake).await.1 == 100
    })
    .await;
    let (_, _, transfers) = account(&admin, &stake).await;
    let slash = transfers.iter().find(|of| of["credit"] == "slashed");
    assert_eq!(slash.unwrap()["receipts"], json!([lie_at]));
}

/// Two of three lie, and one of them has its receipt revoked before anything is shown: both are executed, and named.
#[tokio::test]
async fn of_two_liars_of_a_round_each_is_named_though_one_is_revoked() {
    let rig = Rig::start().await;
    let (admin, client) = (rig.admin(), rig.nobody());
    let checkers = [1, 2, 3, 4].map(checker);
    let edge = proving_node(&rig, 2).await;
    let (node, key) = (edge.node.id.clone(), node_key());
    let_in(&admin, &checkers).await;
    let liars = &checkers[..2];
    let (mut shown, mut lies) = (Vec::new(), Vec::new());
    for liar in liars {
        let probed = probe(liar, &key, node.as_str(), 7);
        let pieces = probed.evidence();
        let lie = probed.lie_naming(liar, "row 3 of C: made up", &pieces);
        lies.push(hand_in(&client, &lie).await);
        shown.push(pieces);
    }
    for honest in &checkers[2..] {
        let honest = probe(honest, &key, node.as_str(), 7).receipt();
        hand_in(&client, &honest).await;
    }
    standing(&rig, &node, "a split", |of| newest(of).0 == "split").await;
    let body = json!({ "receipt": lies[1], "reason": "it says that it was stolen" });
    let revoked = admin.post_json("/v1/revocations", &body).await;
    assert_eq!(revoked.status, 201, "{revoked:?}");
    standing(&rig, &node, "the revocation to be seen", |of| {
        let cited = of["verdicts"][0]["receipts"].as_array();
        cited.is_some_and(|of| of.contains(&revoked.json()["index"]))
    })
    .await;
    put(&admin, &shown.concat()).await;
    let named = |of: &Value, key: KeyId| {
        let liars = of["verdicts"][0]["liars"].as_array();
        liars.is_some_and(|of| of.contains(&json!(key.to_string())))
    };
    standing(&rig, &node, "both to be named", |of| {
        newest(of) == ("settled", "pass") && liars.iter().all(|by| named(of, by.public().id()))
    })
    .await;
}
