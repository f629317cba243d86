//! Evidence whose time is over, as whoever looks for it sees it.

use crate::rig::Rig;
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
