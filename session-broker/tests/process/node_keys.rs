//! Nodes' receipt keys: told on the control stream, and in the directory without anybody's doing.

use crate::edge::{Edge, Node};
use crate::receipts::Trust;
use crate::rig::{Rig, eventually};
use nearlight_proof::encoding::hex;
use nearlight_proof::key::SecretKey;
use nearlight_proof::receipt::directory::{Directory, Role};
use nearlight_protocol::control::{ReceiptKeyClaim, receipt_key_proof};
use nearlight_protocol::id::NodeId;
use serde_json::json;

pub(crate) fn claim(node: &NodeId, key: &SecretKey) -> ReceiptKeyClaim {
    ReceiptKeyClaim {
        key: hex(key.public().as_bytes()),
        signature: hex(&key.sign(&receipt_key_proof(node))),
    }
}

async fn attach(rig: &Rig, node: &mut Node, claim: ReceiptKeyClaim) -> Edge {
    node.receipt_key = Some(Box::new(claim));
    rig.attach(node, Vec::new()).await
}

/// What `/v1/nodes` says of the node's key.
async fn key_of(rig: &Rig, node: &NodeId) -> String {
    let nodes = rig.admin().get("/v1/nodes").await.json();
    let nodes = nodes["nodes"].as_array().unwrap().clone();
    let found = nodes.iter().find(|of| of["id"] == node.as_str());
    let key = found.map(|of| of["receipt_key"].as_str().unwrap_or_default().to_owned());
    key.unwrap_or_default()
}

/// The directory once it has this key; an edition is at most two seconds old.
async fn directory(rig: &Rig, key: &SecretKey) -> Directory {
    let read = async || Trust::ask(&rig.nobody()).await.directory();
    let id = key.public().id();
    eventually("the key to be in the directory", || async {
        read().await.find(&id, Role::Node).is_some()
    })
    .await;
    read().await
}

#[tokio::test]
async fn a_node_that_attaches_has_its_key_in_the_directory_and_a_new_one_ends_the_former() {
    let rig = Rig::start().await;
    let mut node = rig.node(1);
    let id = node.id.clone();
    let (first, second) = (
        SecretKey::from_seed(&[1; 32]),
        SecretKey::from_seed(&[2; 32]),
    );
    let told = claim(&id, &first);
    let edge = attach(&rig, &mut node, told.clone()).await;
    eventually("the key to be shown", || async {
        key_of(&rig, &id).await == told.key
    })
    .await;
    let listed = directory(&rig, &first).await;
    let (_, entry) = listed.find(&first.public().id(), Role::Node).unwrap();
    assert_eq!(entry.operator, "operator", "who runs the network");
    let now_s = nearlight_kit::clock::unix_ms() / 1000;
    assert!(entry.covers(now_s));
    drop(edge);

    // The same key again is no new edition.
    let _edge = attach(&rig, &mut node, told).await;
    rig.online(&node).await;
    assert_eq!(directory(&rig, &first).await.serial, listed.serial);

    let told = claim(&id, &second);
    let _edge = attach(&rig, &mut node, told.clone()).await;
    eventually("the new key to be shown", || async {
        key_of(&rig, &id).await == told.key
    })
    .await;
    let listed = directory(&rig, &second).await;
    let (_, former) = listed.find(&first.public().id(), Role::Node).unwrap();
    assert_eq!(
        former.from_s, entry.from_s,
        "what it signed stays verifiable"
    );
    assert!(former.until_s <= nearlight_kit::clock::unix_ms() / 1000);
    let (_, now) = listed.find(&second.public().id(), Role::Node).unwrap();
    assert!(now.covers(nearlight_kit::clock::unix_ms() / 1000));
}

#[tokio::test]
async fn a_key_that_is_not_proved_or_another_nodes_is_not_taken_and_the_node_is() {
    let rig = Rig::start().await;
    let (mut one, mut two, mut three) = (rig.node(1), rig.node(1), rig.node(1));
    let key = SecretKey::from_seed(&[1; 32]);
    let told = claim(&one.id, &key);
    let id = one.id.clone();
    let _one = attach(&rig, &mut one, told.clone()).await;
    eventually("the key to be shown", || async {
        key_of(&rig, &id).await == told.key
    })
    .await;
    // What another node has said, and a copy of its data directory.
    let _two = attach(&rig, &mut two, told).await;
    let copied = claim(&three.id, &key);
    let _three = attach(&rig, &mut three, copied).await;
    rig.online(&two).await;
    rig.online(&three).await;
    // One that is told after them is written after them.
    let last = SecretKey::from_seed(&[9; 32]);
    let mut four = rig.node(1);
    let told = claim(&four.id, &last);
    let id = four.id.clone();
    let _four = attach(&rig, &mut four, told.clone()).await;
    eventually("the last key to be shown", || async {
        key_of(&rig, &id).await == told.key
    })
    .await;
    for node in [&two.id, &three.id] {
        assert_eq!(key_of(&rig, node).await, "");
    }
}

#[tokio::test]
async fn what_an_administrator_put_in_stays() {
    let rig = Rig::start().await;
    let mut node = rig.node(1);
    let key = SecretKey::from_seed(&[5; 32]);
    let told = claim(&node.id, &key);
    let window = json!({
        "role": "node", "operator": "west", "licence": null, "from_s": 1, "until_s": 4_000_000_000_u64,
    });
    let path = format!("/v1/directory/keys/{}", told.key);
    let json = [("content-type", "application/json")];
    let (admin, window) = (rig.admin(), window.to_string());
    let put = admin.request("PUT", &path, &json, &window).await;
    assert_eq!(put.status, 204, "{put:?}");
    let id = node.id.clone();
    let _edge = attach(&rig, &mut node, told.clone()).await;
    eventually("the key to be shown", || async {
        key_of(&rig, &id).await == told.key
    })
    .await;
    let listed = directory(&rig, &key).await;
    let (_, entry) = listed.find(&key.public().id(), Role::Node).unwrap();
    assert_eq!((entry.operator.as_str(), entry.from_s), ("west", 1));
}
