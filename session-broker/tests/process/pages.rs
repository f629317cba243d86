//! A directory of more keys than an entry of the log has room for, over the real routes.

use crate::receipts::Trust;
use crate::rig::{Rig, eventually};
use crate::verdicts::let_in;
use nearlight_proof::encoding::sha256;
use nearlight_proof::key::SecretKey;
use nearlight_proof::receipt::directory::{PAGE_KEYS, Role};

fn key(number: usize) -> SecretKey {
    SecretKey::from_seed(&sha256(&[&number.to_le_bytes()]))
}

#[tokio::test]
async fn a_network_has_more_keys_than_an_entry_has_room_for() {
    let rig = Rig::start().await;
    let checkers: Vec<SecretKey> = (0..PAGE_KEYS + 20).map(key).collect();
    let_in(&rig.admin(), &checkers).await;
    let client = rig.nobody();
    let trust = Trust::ask(&client).await;
    let directory = trust.directory();
    assert_eq!(directory.of(Role::Checker).count(), checkers.len());
    let last = checkers.last().unwrap().public();
    assert!(directory.find(&last.id(), Role::Checker).is_some());
    // Its pages stand in the log, and so does the edition that names them.
    eventually("pages and edition to be in the log", || async {
        let list = client.get("/v1/receipts?limit=200").await.json();
        let kinds = list["receipts"].as_array().unwrap().iter();
        let kinds: Vec<&str> = kinds.filter_map(|of| of["kind"].as_str()).collect();
        kinds.contains(&"directory-page/v1") && kinds.contains(&"directory/v2")
    })
    .await;
}
