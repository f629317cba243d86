//! What a receipt rests on, of a checker that is killed, at a broker that is away.

use crate::scripted::{Asked, Member, Scripted};
use checker::evidence::Evidence;
use nearlight_proof::encoding::{hex, sha256};
use nearlight_proof::log::tree;
use serde_json::json;
use std::fs::File;
use std::time::{Duration, SystemTime};

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

/// A receipt that was never placed keeps nothing back of what is behind it, nor does a file that cannot be read. What was
/// taken before stays, whatever is said of it.
#[test]
fn what_the_log_does_not_have_or_cannot_be_read_keeps_nothing_back_and_what_was_taken_is_never_removed()
 {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    let kept = Evidence::open(member.dir.path()).unwrap();
    let receipts = ["never placed", "taken before", "cut off", "new"].map(str::as_bytes);
    let leaves = receipts.map(|receipt| hex(&tree::leaf(receipt)));
    for (n, receipt) in (1..).zip(receipts) {
        kept.keep(receipt, &[vec![n; 50]], true).unwrap();
    }
    let dir = member.dir.path().join("evidence");
    let file = |n: usize, state: &str| dir.join(format!("{}.fail.{state}", leaves[n]));
    std::fs::rename(file(1, "due"), file(1, "again")).unwrap();
    std::fs::write(file(2, "due"), [0, 0, 0, 9, 1]).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
    for path in [file(0, "due"), file(1, "again"), file(2, "due")] {
        let opened = File::options().write(true).open(path).unwrap();
        opened.set_modified(long_ago).unwrap();
    }

    broker.change(|script| (script.room, script.unplaced) = (100, leaves[..2].to_vec()));
    let running = member.run();
    broker.until("what is behind them to be taken", |_| {
        file(3, "taken").exists()
    });
    running.signal("-TERM");
    assert!(running.ended().status.success());
    assert!(!file(0, "due").exists(), "no log has it after a day");
    assert!(file(1, "again").exists(), "the log had it");
    assert!(file(2, "due").exists(), "nothing is known of it");
}
