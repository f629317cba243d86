//! `checker doctor` in a network without a way out: the only one that there is to ask is the broker.

use crate::scripted::{Member, PROGRAM, Scripted, network};
use nearlight_proof::beacon::used::Used;
use nearlight_proof::receipt::fixture::key;
use std::process::Command;

/// Whether the machine is fit by what it says, its memory aside, and what it says of the beacon, of the clock and of UDP.
fn look(member: &Member, flags: &[&str]) -> (bool, [String; 3]) {
    let mut doctor = Command::new(PROGRAM);
    doctor
        .arg("doctor")
        .args(flags)
        .arg("--data")
        .arg(member.dir.path());
    // Whoever asks for something outside is told at once that there is no way.
    for proxy in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"] {
        doctor
            .env(proxy, "http://127.0.0.1:9")
            .env(proxy.to_lowercase(), "http://127.0.0.1:9");
    }
    let output = doctor.env("NO_PROXY", "127.0.0.1").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let of = |what: &str| {
        let line = said.lines().find(|line| line[8..].starts_with(what));
        line.unwrap_or_else(|| panic!("nothing of {what}: {said}"))
            .to_owned()
    };
    let missing = |line: &&str| line.starts_with("missing");
    let unfit = said.lines().filter(missing).count();
    assert_eq!(output.status.code(), Some(i32::from(unfit > 0)), "{said}");
    // How much memory is free at the moment is another's to say.
    let is_fit = unfit == usize::from(missing(&of("memory").as_str()));
    (is_fit, ["beacon", "clock", "udp"].map(of))
}

fn an_hour_ago() -> Option<u64> {
    Some(nearlight_kit::clock::unix_ms() - 3_600_000)
}

/// It called every checker of a closed network unfit, and looked at a beacon that nobody uses there.
#[test]
fn a_checker_of_a_closed_network_is_fit_without_a_way_out() {
    let broker = Scripted::start();
    let began = an_hour_ago();
    broker.change(|script| script.genesis_ms = began);
    let member = Member::new(&broker);
    let (is_fit, [beacon, clock, udp]) = look(&member, &[]);
    assert!(beacon.starts_with("ok      beacon   round 6"), "{beacon}");
    assert!(
        beacon.ends_with("of the network's chain, verified"),
        "{beacon}"
    );
    assert!(clock.starts_with("ok      clock    within"), "{clock}");
    assert!(
        udp.starts_with("ok      udp      leaves from 127.0.0.1"),
        "{udp}"
    );
    assert!(is_fit);

    // Quicknet is looked at if that is wanted.
    let (is_fit, [beacon, ..]) = look(&member, &["--drand", "http://127.0.0.1:9"]);
    assert!(
        beacon.starts_with("missing beacon   the beacon: http://127.0.0.1:9/"),
        "{beacon}"
    );
    assert!(!is_fit);
}

#[test]
fn a_chain_that_is_another_one_than_the_checker_came_in_with_is_named() {
    let broker = Scripted::start();
    let began = an_hour_ago();
    broker.change(|script| script.genesis_ms = began);
    let member = Member::new(&broker);
    // Every value is told an hour too early.
    broker.change(|script| script.ahead = 60);
    let (is_fit, [beacon, ..]) = look(&member, &[]);
    assert!(
        beacon.starts_with("missing beacon   the broker's value of round 6"),
        "{beacon}"
    );
    assert!(!is_fit);
    // Rounds that are over.
    let over = Scripted::start();
    let (is_fit, [beacon, ..]) = look(&Member::new(&over), &[]);
    assert!(beacon.contains("has no more rounds"), "{beacon}");
    assert!(!is_fit);
}

/// It looked at whatever beacon the broker named.
#[test]
fn a_beacon_that_is_another_one_than_the_log_said_is_named() {
    let broker = Scripted::start();
    let began = an_hour_ago();
    broker.change(|script| script.genesis_ms = began);
    let member = Member::new(&broker);
    let (is_fit, [beacon, ..]) = look(&member, &["--beacon", "quicknet"]);
    assert!(
        beacon.contains("from chain, and --beacon quicknet"),
        "{beacon}"
    );
    assert!(!is_fit);
    // What `run` keeps of it.
    let used = Used {
        anchor: network().anchor.anchor,
        beacon: "quicknet".parse().unwrap(),
        from_round: 5,
    };
    let entry = used.sign(&key(99)).unwrap();
    std::fs::write(member.dir.path().join("beacons.jsonl"), entry).unwrap();
    let (is_fit, [beacon, ..]) = look(&member, &[]);
    assert!(
        beacon.contains("from chain, and the log said quicknet"),
        "{beacon}"
    );
    assert!(!is_fit);
    // With what is none `run` does not start.
    std::fs::write(member.dir.path().join("beacons.jsonl"), "{}\n").unwrap();
    let (is_fit, [beacon, ..]) = look(&member, &[]);
    assert!(
        beacon.contains("is not signed by the directory's key"),
        "{beacon}"
    );
    assert!(!is_fit);
}
