//! What a receipt rests on, of a checker that is killed, at a broker that is away.

use crate::scripted::{Asked, Member, Scripted};
use checker::evidence::Evidence;
use nearlight_proof::encoding::{hex, sha256};
use nearlight_proof::log::tree;
use serde_json::json;

/// Pieces that came, by their hash, in order.
fn put(asked: &[Asked]) -> Vec<String> {
    let paths = asked.iter().map(|of| of.path.as_str());
    let named = paths.filter_map(|path| path.strip_prefix("/v1/evidence/"));
    named.map(str::to_owned).collect()
}

#[test]
fn evidence_outlives_the_checker_and_is_put_until_it_is_taken_and_again_at_a_dispute() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    let pieces: Vec<Vec<u8>> = (0..5).map(|n| vec![n; 50]).collect();
    let kept = Evidence::open(member.dir.path()).unwrap();
    kept.keep(b"a receipt", &pieces, true).unwrap();
    let leaf = hex(&tree::leaf(b"a receipt"));
    let named = |piece: &Vec<u8>| format!("{}?receipt={leaf}", hex(&sha256(&[piece])));
    let named: Vec<String> = pieces.iter().map(named).collect();

    broker.change(|script| script.room = 2);
    let running = member.run();
    let asked = broker.until("a third piece, which is not taken", |asked| {
        put(asked).len() >= 3
    });
    assert_eq!(put(&asked)[..3], named[..3]);
    running.signal("-KILL");
    assert!(!running.ended().status.success());

    broker.change(|script| {
        (script.holder, script.room) = (None, 100);
        script.asked.clear();
    });
    let running = member.run();
    broker.until("all of it", |asked| put(asked) == named);
    let taken = member
        .dir
        .path()
        .join(format!("evidence/{leaf}.fail.taken"));
    broker.until("it to be known as taken", |_| taken.exists());
    running.signal("-TERM");
    assert!(running.ended().status.success());
    assert!(taken.exists(), "for as long as one can dispute");

    // Somebody says that the receipt is wrong: whoever decides finds it there, whatever the broker did with it.
    let dispute = json!({
        "index": 9, "leaf": "ab".repeat(32), "kind": "dispute/v1", "issuer": "", "about": leaf, "issued_at_s": 1,
    });
    broker.change(|script| {
        (script.holder, script.about) = (None, vec![dispute]);
        script.asked.clear();
    });
    let running = member.run();
    broker.until("all of it again", |asked| put(asked) == named);
    running.signal("-TERM");
    assert!(running.ended().status.success());
}
