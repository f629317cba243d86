//! `checker run --max-gb-month` past its limit.

use crate::probes::capacity;
use crate::scripted::{Asked, Member, Scripted, duty, reports};
use crate::streams::{beside, stream};
use crate::witness::{Log, key_of, leaves};
use nearlight_protocol::unit::rfc3339;
use serde_json::{Value, json};

const GB: u64 = 1_000_000_000;

impl Member {
    /// It has sent and received so much in this month.
    fn has_used(&self, bytes: u64) {
        let month = rfc3339(nearlight_kit::clock::unix_ms())[..7].to_owned();
        let counted = json!({ "month": month, "bytes": bytes }).to_string();
        std::fs::write(self.dir.path().join("traffic.json"), counted).unwrap();
    }

    fn counted(&self) -> u64 {
        let text = std::fs::read(self.dir.path().join("traffic.json")).unwrap();
        let counted: Value = serde_json::from_slice(&text).unwrap();
        counted["bytes"].as_u64().unwrap()
    }
}

fn began_something(asked: &[Asked]) -> bool {
    asked.iter().any(|of| {
        of.path.ends_with("/alive")
            || of.path.starts_with("/v1/probes")
            || of.path == "/v1/receipts"
    })
}

/// Nothing had ever started the program with a limit.
#[test]
fn past_its_gigabytes_of_the_month_it_says_so_of_each_assignment_and_begins_none() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    let log = Log::new(key_of(member.dir.path()), leaves("one", 5));
    broker.change(|script| script.log = Some(log));
    member.has_used(2 * GB);
    let dir = tempfile::tempdir().unwrap();
    let checker = beside(dir.path(), "touch \"$0.played\"");
    broker.change(|script| {
        script.alive = Some((200, json!({ "signature": "ab".repeat(64) })));
        script.due = vec![duty(7), capacity(8), stream(9)];
    });
    let running = member.run_as(&checker, &["--max-gb-month", "2"]);
    let asked = broker.until("all three to be reported", |asked| {
        reports(asked).len() == 3
    });
    for said in reports(&asked) {
        assert_eq!(said["outcome"]["is"], "missed", "{said}");
        let why = said["outcome"]["why"].as_str().unwrap();
        assert!(
            why.starts_with("the 2 GB of this checker's month "),
            "{why}"
        );
    }
    assert!(!began_something(&asked), "{asked:?}");
    assert!(!dir.path().join("checker-play.played").exists());
    // The log does not wait for its line in vain, and what that takes is counted.
    broker.until_log("its line", |log| log.largest() == 5);
    broker.log(|_| {});
    broker.until_log("it to go on", |log| log.looks >= 2);
    running.signal("-TERM");
    assert!(running.ended().status.success());
    assert!(member.counted() > 2 * GB, "{}", member.counted());

    // The same with a gigabyte more: it begins.
    let broker = Scripted::start();
    let member = Member::new(&broker);
    member.has_used(2 * GB);
    broker.change(|script| script.due = vec![duty(10)]);
    let running = member.run_as(&checker, &["--max-gb-month", "3"]);
    broker.until("the node to be asked", began_something);
    running.signal("-TERM");
    assert!(running.ended().status.success());
}
