//! Verdicts in a network with rounds: who was not to check outvotes nobody, over the real routes.

use crate::checkers::{Member, due, member, node, rows};
use crate::http::Client;
use crate::proving::{OfRound, probe_in};
use crate::rig::{Rig, eventually};
use crate::verdicts::{account, deposit, dispute, ended, hand_in, newest, standing};
use nearlight_proof::key::{KeyId, SecretKey};
use nearlight_proof::porc::committee::{Candidate, Checker, assign};
use serde_json::{Value, json};

async fn rig() -> Rig {
    Rig::start_with(|config| {
        config.checks.round_s = 5;
        config.checks.capacity_s = 600;
        config.checks.reward_micro = 10;
        config.limits.requests_burst = 5000;
        config.limits.key_requests_burst = 5000;
    })
    .await
}

/// What receipts of a round have to name, and its order for a node of the operator `operator`.
fn round_of(shown: &Value, node: &SecretKey) -> (OfRound, Vec<String>) {
    let id = |of: &Value| KeyId::from_hex(of.as_str().unwrap()).unwrap();
    let of = OfRound {
        round: shown["round"].as_u64().unwrap(),
        beacon: id(&shown["value"]),
        checkers: id(&shown["checkers_root"]),
    };
    let set: Vec<Checker> = shown["checkers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| Checker {
            key: id(&of["key_id"]),
            operator: of["operator"].as_str().unwrap().to_owned(),
        })
        .collect();
    let candidate = Candidate {
        key: node.public().id(),
        operator: "operator".to_owned(),
    };
    let order = assign(&of.beacon.0, &candidate, &set, set.len());
    (of, order.iter().map(|of| of.key.to_string()).collect())
}

/// Whoever has a node's own id finds the receipts that are about its key.
async fn is_found_by_its_id(client: &Client, id: &str, key: &SecretKey) {
    let list = |of: &str| format!("/v1/receipts?node={of}&limit=200");
    let by_id = client.get(&list(id)).await.json();
    let by_key = client.get(&list(&key.public().id().to_string())).await;
    assert_eq!(by_id["receipts"], by_key.json()["receipts"]);
    assert_eq!(by_id["receipts"].as_array().unwrap().len(), 7);
    let unknown = nearlight_kit::ids::node();
    let none = client.get(&list(unknown.as_str())).await;
    none.refused(404, "not-found");
    let neither = client.get(&list("nod_1")).await;
    neither.refused(400, "bad-request");
}

/// Each sees how its word compares with what the round came to, and what came of that: the one who goes first, one whom
/// nobody asked to stand in, and a stranger that was refuted.
async fn are_told<'a>(at: &impl Fn(usize) -> &'a Member, (stranger, receipt): (&Member, u64)) {
    let account = async |of: &Member| of.client.get("/v1/checkers/me/account").await.json();
    let agreement = |of: &Value| {
        let of = &of["agreement"];
        ["decided", "agreed", "refuted"].map(|name| of[name].as_u64().unwrap())
    };
    let honest = account(at(0)).await;
    assert_eq!(agreement(&honest), [1, 1, 0]);
    assert_eq!(
        (&honest["reward_micro"], &honest["earned_micro"]),
        (&json!("10"), &json!("0"))
    );
    let rewards = honest["rewards"].as_array().unwrap();
    assert_eq!(rewards.len(), 1, "{honest}");
    assert_eq!(
        (&rewards[0]["state"], &rewards[0]["amount_micro"]),
        (&json!("held"), &json!("10"))
    );
    assert_eq!(rewards[0]["receipts"], json!([receipt]));
    let behind = account(at(3)).await;
    assert_eq!(
        (agreement(&behind), &behind["rewards"]),
        ([1, 0, 0], &json!([]))
    );
    let refuted = account(stranger).await;
    assert_eq!(agreement(&refuted), [0, 0, 0], "it has no seat");
    assert_eq!(
        (
            &refuted["stake_micro"],
            &refuted["penalties"][0]["amount_micro"]
        ),
        (&json!("900"), &json!("100"))
    );
}

#[tokio::test]
async fn who_was_not_to_check_outvotes_nobody() {
    let rig = rig().await;
    let (admin, client) = (rig.admin(), rig.nobody());
    let mut members = Vec::new();
    for (n, operator) in (1..=8).zip(["a", "b", "c", "d", "e", "f", "g", "h"]) {
        members.push(member(&rig, n, operator).await);
    }
    let (edge, node_key) = node(&rig, 50).await;
    let name = edge.node.id.clone();
    deposit(&admin, "pool", 1_000).await;
    let (_, duty) = due(&members, "capacity").await;
    let shown = rows(&rig, duty["round"].as_u64().unwrap()).await;
    let (of, order) = round_of(&shown, &node_key);
    let at =
        |place: usize| -> &Member { members.iter().find(|of| of.id() == order[place]).unwrap() };
    let strangers = [at(5), at(6), at(7)];
    let pool = format!("checker/{}", strangers[0].id());
    deposit(&admin, &pool, 1_000).await;

    // Three strangers say fail, and so does one whom nobody asked to stand in; then the committee passes it.
    let mut lies = Vec::new();
    for of_lie in strangers.iter().copied().chain([at(3)]) {
        let probed = probe_in(&of_lie.key, &node_key, name.as_str(), of);
        let lie = probed.lie(&of_lie.key, "row 3 of C: made up");
        lies.push((hand_in(&client, &lie).await, probed));
    }
    let mut places = vec![lies[3].0];
    for place in 0..3 {
        let checker = &at(place).key;
        let probed = probe_in(checker, &node_key, name.as_str(), of);
        places.push(hand_in(&client, &probed.receipt()).await);
    }
    let passed = standing(&rig, &name, "the committee to have passed it", |of| {
        newest(of) == ("passed", "pass")
    })
    .await;
    assert_eq!(passed["gate"], "proven");
    assert_eq!(
        passed["verdicts"][0]["receipts"],
        json!(places),
        "no stranger's"
    );
    is_found_by_its_id(&client, name.as_str(), &node_key).await;
    let (free, held, _) = account(&admin, "pool").await;
    assert_eq!(
        (free, held),
        (970, 30),
        "the three who weigh are paid, once disputes are over"
    );

    // A stranger's lie is refuted: it loses stake, and the round is as it was.
    let (lie, probed) = &lies[0];
    let filed = dispute(&admin, *lie, &[probed]).await;
    let verdict = ended(&client, &filed).await;
    assert_eq!(verdict["liars"], json!([strangers[0].id()]));
    eventually("its stake to be less", || async {
        account(&admin, &pool).await.0 == 900
    })
    .await;
    let after = standing(&rig, &name, "the standing", |_| true).await;
    assert_eq!(after["verdicts"], passed["verdicts"]);
    assert_eq!(after["rank_permille"], passed["rank_permille"]);

    are_told(&at, (strangers[0], places[1])).await;
    let refused = admin.get("/v1/checkers/me/account").await;
    refused.refused(403, "forbidden");
}

/// A round that the network never had, of a value that somebody made up: three keys together make no verdict.
#[tokio::test]
async fn a_round_that_was_made_up_makes_no_verdict() {
    let rig = rig().await;
    let client = rig.nobody();
    let mut members = Vec::new();
    for (n, operator) in (1..=3).zip(["a", "b", "c"]) {
        members.push(member(&rig, n, operator).await);
    }
    let (edge, node_key) = node(&rig, 50).await;
    let name = edge.node.id.clone();
    let (_, duty) = due(&members, "capacity").await;
    let shown = rows(&rig, duty["round"].as_u64().unwrap()).await;
    let (of, _) = round_of(&shown, &node_key);
    let made_up = OfRound {
        beacon: KeyId([7; 32]),
        ..of
    };
    for round in [made_up, of] {
        for member in &members {
            let probed = probe_in(&member.key, &node_key, name.as_str(), round);
            hand_in(&client, &probed.lie(&member.key, "late")).await;
        }
    }
    // Those of the real round are folded after the others: what the others are has been seen by then.
    let failed = standing(&rig, &name, "the real round", |of| {
        newest(of) == ("failed", "fail")
    })
    .await;
    assert_eq!(failed["verdicts"].as_array().unwrap().len(), 1);
    assert_eq!(
        failed["verdicts"][0]["receipts"].as_array().unwrap().len(),
        3
    );
}
