//! Streams: what a checker says of itself, and what it gives the program that plays. That program is a script here; what
//! it is given and what becomes of its word are the checker's.

use crate::scripted::{Asked, Member, PROGRAM, Scripted, duty, network, reports};
use nearlight_proof::key::PublicKey;
use nearlight_proof::porw::pass::Pass;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub(crate) fn stream(round: u64) -> Value {
    let mut duty = duty(round);
    duty["duty"] = json!("stream");
    duty["app"] = json!("calibrate");
    // Time enough to play, and hardly more, so that it begins at once.
    duty["until_unix_ms"] = json!(nearlight_kit::clock::unix_ms() + 36_000);
    duty
}

/// A copy of the checker in a directory of its own, with such a program beside it.
pub(crate) fn beside(dir: &Path, script: &str) -> PathBuf {
    let checker = dir.join("checker");
    std::fs::copy(PROGRAM, &checker).unwrap();
    let player = dir.join("checker-play");
    std::fs::write(&player, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&player, PermissionsExt::from_mode(0o755)).unwrap();
    checker
}

fn is_asked(asked: &[Asked]) -> bool {
    asked.iter().any(Asked::is_for_assignments)
}

fn missed(asked: &[Asked]) -> &str {
    let [said] = reports(asked)[..] else {
        panic!("{asked:?}");
    };
    assert_eq!(said["outcome"]["is"], "missed");
    said["outcome"]["why"].as_str().unwrap()
}

#[test]
fn without_a_decoder_it_does_not_say_that_it_plays_and_plays_nothing() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    let dir = tempfile::tempdir().unwrap();
    let checker = beside(dir.path(), "touch \"$0.played\"");
    let running = member.run_as(&checker, &["--no-decoder"]);
    let asked = broker.until("the first question", is_asked);
    assert!(asked.iter().all(|of| !of.plays));
    // A broker that assigns one all the same is told why not.
    broker.change(|script| script.due = vec![stream(7)]);
    let asked = broker.until("a report", |asked| !reports(asked).is_empty());
    assert_eq!(missed(&asked), "this checker plays no streams");
    assert!(!dir.path().join("checker-play.played").exists());
    running.signal("-TERM");
    assert!(running.ended().status.success());

    // The same without the program.
    std::fs::remove_file(dir.path().join("checker-play")).unwrap();
    let before = asked.len();
    let again = member.run_as(&checker, &[]);
    let asked = broker.until("a question of the other copy", |asked| {
        asked[before..]
            .iter()
            .filter(|of| of.is_for_assignments())
            .count()
            > 1
    });
    assert!(asked.iter().all(|of| !of.plays));
    again.signal("-TERM");
    assert!(again.ended().status.success());
}

#[test]
fn the_program_that_plays_has_the_pass_and_no_key_and_is_given_up_with_its_reason() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    let dir = tempfile::tempdir().unwrap();
    let checker = beside(
        dir.path(),
        "echo \"$@\" > \"$0.args\"; env > \"$0.env\"; exit 1",
    );
    let of_duty = stream(7);
    broker.change(|script| script.due = vec![of_duty.clone()]);
    let running = member.run_as(&checker, &["--bind", "127.0.0.1"]);
    let asked = broker.until("a report", |asked| !reports(asked).is_empty());
    assert!(
        asked
            .iter()
            .filter(|of| of.is_for_assignments())
            .all(|of| of.plays)
    );
    assert!(missed(&asked).contains("nothing was played"), "{asked:?}");
    running.signal("-TERM");
    assert!(running.ended().status.success());

    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let (args, env) = (read("checker-play.args"), read("checker-play.env"));
    let says = format!(
        "--url {} --app calibrate --seconds 15 --bind 127.0.0.1",
        broker.url
    );
    assert_eq!(args.trim(), says);
    assert!(
        !env.contains("nlk_secret") && !env.contains("CHECKER_DATA"),
        "{env}"
    );
    let pass = env
        .lines()
        .find_map(|line| line.strip_prefix("NEARLIGHT_STREAM_PASS="));
    let pass = Pass::parse(pass.unwrap()).unwrap();
    let key = PublicKey::from_hex(&member.table_key).unwrap();
    assert!(pass.holds(&key, &network().value(7).unwrap()));
    assert_eq!(
        (pass.round, json!(pass.node)),
        (7, of_duty["node_key_id"].clone())
    );
}

/// Whoever is stopped in the middle says so; the program is ended with it, and its session is the broker's to end.
#[test]
fn stopped_while_it_plays_it_gives_the_stream_back() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    let dir = tempfile::tempdir().unwrap();
    let checker = beside(dir.path(), "echo $$ > \"$0.pid\"; exec sleep 600");
    broker.change(|script| script.due = vec![stream(7)]);
    let running = member.run_as(&checker, &[]);
    let pid = dir.path().join("checker-play.pid");
    let played = || std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'));
    broker.until("it to play", |_| played());
    running.signal("-TERM");
    assert!(running.ended().status.success());
    let asked = broker.until("the report", |asked| !reports(asked).is_empty());
    assert_eq!(missed(&asked), "the checker was stopped");
    let of_player = PathBuf::from("/proc").join(std::fs::read_to_string(&pid).unwrap().trim());
    broker.until("the player to be ended", |_| {
        !of_player.join("exe").exists()
    });
}
