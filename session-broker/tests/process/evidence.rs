//! Evidence whose time is over, as whoever looks for it sees it.

use crate::rig::{Rig, eventually};
use crate::verdicts::{hand_in, let_in};
use nearlight_proof::encoding::{hex, sha256};
use nearlight_proof::key::KeyId;
use nearlight_proof::receipt::fixture::{entry, key, porc, statement};
use nearlight_proof::receipt::predicate::{Finding, Predicate};
use nearlight_proof::receipt::statement::Evidence;

const BYTES: (&str, &str) = ("content-type", "application/octet-stream");
const DAY_S: u64 = 24 * 3600;

/// A receipt of so many days ago, with a piece of evidence that it asks nobody to keep longer than they must.
fn receipt(days: u64, piece: &[u8]) -> String {
    let now_s = nearlight_kit::clock::unix_ms() / 1000;
    let predicate = Predicate::Porc(Box::new(porc(Finding::Inconclusive)));
    let about = key(9).public().id();
    let mut said = statement(&key(1), about, now_s - days * DAY_S, predicate);
    said.head.evidence = vec![Evidence {
        sha256: KeyId(sha256(&[piece])),
        bytes: piece.len() as u64,
        kept_until_s: 0,
    }];
    String::from_utf8(entry(&said, &[&key(1)])).unwrap()
}

#[tokio::test]
async fn evidence_whose_time_is_over_is_gone_and_says_why() {
    let rig = Rig::start().await;
    let client = rig.nobody();
    let_in(&rig.admin(), &[key(1)]).await;
    let (old, new): (&[u8], &[u8]) = (b"seen long ago", b"seen lately");
    let place = hand_in(&client, &receipt(91, old)).await;
    hand_in(&client, &receipt(89, new)).await;
    let path = |piece: &[u8]| format!("/v1/evidence/{}", hex(&sha256(&[piece])));
    // The receipt stands as it did; what it rests on is not taken, and not told, any more.
    let shown = client.get(&format!("/v1/receipts/{place}")).await;
    assert_eq!(shown.status, 200, "{shown:?}");
    let gone = client.get(&path(old)).await;
    gone.refused(410, "evidence-expired");
    assert!(
        gone.at("/detail").contains("as long as its receipt said"),
        "{gone:?}"
    );
    let put = client.put_bytes(&path(old), BYTES, old).await;
    put.refused(410, "evidence-expired");
    // Of the other one nobody has put it there yet, which is something else; and what no receipt names is unknown.
    client.get(&path(new)).await.refused(404, "not-found");
    assert_eq!(client.put_bytes(&path(new), BYTES, new).await.status, 204);
    assert_eq!(client.get(&path(new)).await.status, 200);
    client
        .get(&path(b"never named"))
        .await
        .refused(404, "not-found");
}

/// Which receipt names a piece is in the tiles: a broker that was started since knows it of the newest, and of any other whose
/// leaf it is told.
#[tokio::test]
async fn evidence_is_taken_after_a_restart_and_by_the_leaf_of_its_receipt() {
    let rig = Rig::start().await;
    let client = rig.nobody();
    let_in(&rig.admin(), &[key(1)]).await;
    let pieces: [&[u8]; 3] = [b"one", b"another", b"a third"];
    let mut places = Vec::new();
    for piece in pieces {
        places.push(hand_in(&client, &receipt(1, piece)).await);
    }
    let rig = rig.restart().await;
    let client = rig.nobody();
    let newest = format!("/v1/receipts/{}", places[2]);
    eventually("the log to be shown", async || {
        client.get(&newest).await.status == 200
    })
    .await;
    let path = |piece: &[u8]| format!("/v1/evidence/{}", hex(&sha256(&[piece])));
    let put = async |piece: &[u8], receipt: Option<String>| {
        let by = receipt.map_or_else(String::new, |leaf| format!("?receipt={leaf}"));
        let path = format!("{}{by}", path(piece));
        client.put_bytes(&path, BYTES, piece).await
    };
    let leaf_of = async |place: u64| {
        let listed = client.get("/v1/receipts").await.json();
        let all = listed["receipts"].as_array().unwrap();
        let found = all.iter().find(|of| of["index"] == place);
        found.unwrap()["leaf"].as_str().unwrap().to_owned()
    };
    let other = put(b"another", Some(leaf_of(places[2]).await)).await;
    other.refused(404, "not-found");
    let none = put(b"another", Some("0".repeat(64))).await;
    none.refused(404, "not-found");
    let by_leaf = put(b"another", Some(leaf_of(places[1]).await)).await;
    assert_eq!(by_leaf.status, 204, "{by_leaf:?}");
    let by_tiles = put(b"one", None).await;
    assert_eq!(by_tiles.status, 204, "{by_tiles:?}");
    put(b"never named", None).await.refused(404, "not-found");
    for (piece, status) in [(pieces[0], 200), (pieces[1], 200), (pieces[2], 404)] {
        assert_eq!(client.get(&path(piece)).await.status, status);
    }
}
