//! A log in memory, with everything that can be odd about a node in it.

#[path = "test/drawn.rs"]
mod drawn;
#[path = "test/duties.rs"]
mod duties;
#[path = "test/seats.rs"]
mod seats;

use super::*;
use crate::given::Believed;
use nearlight_proof::encoding::sha256;
use nearlight_proof::key::PublicKey;
use nearlight_proof::log::checkpoint::Checkpoint;
use nearlight_proof::log::note::{Algorithm, VerifierKey};
use nearlight_proof::log::tile::{self, Tile};
use nearlight_proof::log::tree::{LogHasher, leaf, root};
use nearlight_proof::receipt::directory::{Directory, Role};
use nearlight_proof::receipt::fixture::{self, entry, key, listed, statement};
use nearlight_proof::receipt::predicate::{Dispute, Finding as Found, Porc, Predicate, Revoke};
use nearlight_proof::receipt::statement::Evidence;
use std::collections::BTreeMap;

const ORIGIN: &str = "log.example";
const DAY_S: u64 = 24 * 3600;
const START_S: u64 = 1_800_000_000;

fn node() -> KeyId {
    key(9).public().id()
}

/// A log that is served from memory.
#[derive(Clone, Default)]
struct Served {
    entries: Vec<Vec<u8>>,
    note: Vec<u8>,
    evidence: Vec<Vec<u8>>,
    /// What is told of rounds.
    told: BTreeMap<u64, Vec<u8>>,
    /// Signatures of rounds of drand.
    signatures: BTreeMap<u64, String>,
    /// What a relay says of drand's own rounds.
    relayed: BTreeMap<u64, String>,
}

#[derive(Debug, thiserror::Error)]
#[error("nothing at {0}")]
struct Nothing(String);

impl Source for Served {
    type Error = Nothing;

    fn read(&mut self, path: &str) -> Result<Vec<u8>, Nothing> {
        let nothing = || Nothing(path.to_owned());
        if path == "/log/checkpoint" {
            return Ok(self.note.clone());
        }
        let place = path
            .strip_prefix("/log/tile/entries/")
            .ok_or_else(nothing)?;
        let part = Tile::parse(&format!("tile/0/{place}")).ok_or_else(nothing)?;
        let from = (part.index * tile::TILE_WIDTH) as usize;
        let entries = self.entries.get(from..from + part.width as usize);
        tile::bundle(entries.ok_or_else(nothing)?.iter().map(Vec::as_slice)).ok_or_else(nothing)
    }

    fn assignments(&mut self, round: u64) -> Result<Option<Vec<u8>>, Nothing> {
        Ok(self.told.get(&round).cloned())
    }

    fn round(&mut self, round: u64, before: u64) -> Result<Option<Vec<u8>>, Nothing> {
        let of = |round: u64| self.signatures.get(&round).cloned().unwrap_or_default();
        let least = round.saturating_sub(before).max(1);
        let before: Vec<String> = (least..round).rev().map(of).collect();
        let told = serde_json::json!({ "round": round, "signature": of(round), "before": before });
        Ok(Some(told.to_string().into_bytes()))
    }

    fn drand(&mut self, round: u64) -> Option<String> {
        self.relayed.get(&round).cloned()
    }

    fn evidence(&mut self, wanted: &str) -> Result<Option<Vec<u8>>, Nothing> {
        let is = |bytes: &&Vec<u8>| hex(&sha256(&[bytes])) == wanted;
        Ok(self.evidence.iter().find(is).cloned())
    }
}

impl Served {
    fn of(entries: Vec<Vec<u8>>) -> Self {
        let leaves: Vec<_> = entries.iter().map(|entry| leaf(entry)).collect();
        let checkpoint = Checkpoint {
            origin: ORIGIN.to_owned(),
            size: entries.len() as u64,
            root: root::<LogHasher>(&leaves),
        };
        let note = checkpoint.sign(&key(1)).unwrap().to_string().into_bytes();
        Self {
            entries,
            note,
            evidence: Vec::new(),
            told: BTreeMap::new(),
            signatures: BTreeMap::new(),
            relayed: BTreeMap::new(),
        }
    }

    fn audited(&mut self, remembered: Option<&[u8]>, now_s: u64) -> Audited {
        let newest = Newest::ask(self).unwrap();
        assert_eq!(newest.origin(), ORIGIN);
        let wanted = Wanted {
            node: &node().to_string(),
            remembered,
            now_s,
            evidence: true,
            rounds: Rounds::UntilNow,
        };
        run(self, &trust(), newest, wanted).unwrap()
    }
}

fn trust() -> Trust {
    let listed =
        |n: u8, role, until_s| listed(&key(n).public(), role, &format!("op{n}"), (0, until_s));
    let for_ever = START_S * 2;
    let keys = vec![
        listed(2, Role::Checker, for_ever),
        // Its time is over after five days.
        listed(3, Role::Checker, START_S + 5 * DAY_S),
        listed(4, Role::Referee, for_ever),
        listed(9, Role::Node, for_ever),
    ];
    let log = VerifierKey::new(ORIGIN, Algorithm::Ed25519, key(1).public()).unwrap();
    let believed = Believed {
        directory: Directory::sign(1, START_S, keys, &key(8)).unwrap(),
        authority: Some(hex(PublicKey::as_bytes(&key(8).public()))),
        policy: Some(format!("log {log}\nquorum none\n").into_bytes()),
        beacon: None,
    };
    believed.trust().unwrap()
}

fn signed(
    issuer: u8,
    subject: KeyId,
    issued_at_s: u64,
    predicate: Predicate,
    evidence: &[&[u8]],
) -> Vec<u8> {
    let piece = |bytes: &&[u8]| Evidence {
        sha256: KeyId(sha256(&[bytes])),
        bytes: bytes.len() as u64,
        kept_until_s: 0,
    };
    let issuer = key(issuer);
    let mut said = statement(&issuer, subject, issued_at_s, predicate);
    said.head.evidence = evidence.iter().map(piece).collect();
    entry(&said, &[&issuer])
}

fn porc(round: u64, finding: Found) -> Predicate {
    Predicate::Porc(Box::new(Porc {
        round,
        ..fixture::porc(finding)
    }))
}

/// A check each day for so many days, and something about nobody in between.
fn days(count: u64) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    for day in 0..count {
        let at_s = START_S + day * DAY_S;
        entries.push(signed(2, node(), at_s, porc(day, Found::Pass), &[]));
        entries.push(signed(2, KeyId([7; 32]), at_s, porc(day, Found::Fail), &[]));
    }
    entries
}

fn oddities(audit: &Audit) -> Vec<Oddity> {
    audit
        .findings
        .iter()
        .map(|finding| finding.oddity)
        .collect()
}

#[test]
fn a_history_without_anything_odd_is_clean() {
    let mut log = Served::of(days(4));
    let audited = log.audited(None, START_S + 4 * DAY_S);
    let audit = &audited.audit;
    assert_eq!(audit.verdict, Verdict::Clean, "{audit:?}");
    let places: Vec<_> = audit.receipts.iter().map(|held| held.index).collect();
    assert_eq!(places, [0, 2, 4, 6]);
    assert_eq!(audited.checkpoint.as_deref(), Some(log.note.as_slice()));
    let said = words::text(audit);
    assert!(said.starts_with("CLEAN: every entry was read"), "{said}");
    assert!(said.contains("8 entries read"), "{said}");
}

/// More entries than a bundle has.
#[test]
fn a_log_of_several_bundles_is_read_whole() {
    let mut log = Served::of(days(300));
    let audited = log.audited(None, START_S + 300 * DAY_S);
    assert_eq!(audited.audit.receipts.len(), 300);
    assert_eq!(audited.audit.verdict, Verdict::Clean);
    let before = audited.checkpoint.unwrap();
    let mut grown = Served::of(days(600));
    let again = grown.audited(Some(&before), START_S + 600 * DAY_S).audit;
    assert_eq!(again.verdict, Verdict::Clean, "{:?}", again.findings);
    assert_eq!(again.log.unwrap().remembered, Some(600));
}

#[test]
fn an_entry_that_is_changed_left_out_or_moved_contradicts_the_checkpoint() {
    let mut one = Served::of(days(4));
    one.entries[3] = signed(2, node(), START_S, porc(99, Found::Pass), &[]);
    let mut two = Served::of(days(4));
    two.entries.swap(1, 3);
    for (name, mut log) in [("changed", one), ("moved", two)] {
        let audited = log.audited(None, START_S + 4 * DAY_S);
        assert_eq!(audited.audit.verdict, Verdict::Contradicted, "{name}");
        assert_eq!(audited.audit.findings[0].oddity, Oddity::Contradiction);
        assert!(audited.checkpoint.is_none(), "{name}");
    }
}

#[test]
fn a_fork_and_a_rollback_show_against_what_was_remembered() {
    let before = Served::of(days(4)).note;
    let now_s = START_S + 9 * DAY_S;
    let mut forked = days(8);
    forked[2] = signed(2, node(), START_S + DAY_S, porc(77, Found::Pass), &[]);
    let fork = Served::of(forked).audited(Some(&before), now_s).audit;
    assert_eq!(fork.verdict, Verdict::Contradicted);
    assert!(
        fork.findings[0].words.contains("forked"),
        "{:?}",
        fork.findings
    );
    let rolled = Served::of(days(3)).audited(Some(&before), now_s).audit;
    assert_eq!(rolled.verdict, Verdict::Contradicted);
    assert!(rolled.findings[0].words.contains("rolled back"));
    let mut other = Served::of(days(4));
    let newest = Newest::ask(&mut other).unwrap();
    let wanted = Wanted {
        node: &node().to_string(),
        remembered: Some(b"no note"),
        now_s,
        evidence: false,
        rounds: Rounds::Skipped,
    };
    let refused = run(&mut other, &trust(), newest, wanted).unwrap_err();
    assert!(matches!(refused, AuditError::Remembered));
}

#[test]
fn another_logs_checkpoint_is_not_believed() {
    let mut log = Served::of(days(1));
    let foreign = Checkpoint {
        origin: ORIGIN.to_owned(),
        size: 0,
        root: root::<LogHasher>(&[]),
    };
    log.note = foreign.sign(&key(5)).unwrap().to_string().into_bytes();
    let audited = log.audited(None, START_S);
    assert_eq!(audited.audit.verdict, Verdict::NotLogged);
    assert!(audited.audit.log.is_none() && audited.checkpoint.is_none());
}

#[test]
fn what_is_odd_about_a_node_is_listed() {
    let mut entries = days(2);
    let second_leaf = KeyId(leaf(&entries[2]));
    let claim = |text: &str| {
        Predicate::Dispute(Dispute {
            claim: text.to_owned(),
            deadline_s: START_S,
        })
    };
    // Two checkers of round 1 do not agree; the node contests one of them.
    let failed = signed(
        3,
        node(),
        START_S + DAY_S,
        porc(1, Found::Fail),
        &[b"kept", b"lost"],
    );
    entries.push(signed(
        9,
        KeyId(leaf(&failed)),
        START_S + DAY_S,
        claim("I was in time"),
        &[],
    ));
    entries.insert(4, failed);
    // A key whose time is over; and a revocation.
    entries.push(signed(
        3,
        node(),
        START_S + 6 * DAY_S,
        porc(6, Found::Pass),
        &[],
    ));
    let void = Predicate::Revoke(Revoke {
        reason: "a wrong table".to_owned(),
        from_s: 0,
    });
    entries.push(signed(4, second_leaf, START_S + 6 * DAY_S, void, &[]));
    let mut log = Served::of(entries);
    log.evidence = vec![b"kept".to_vec()];
    let audit = log.audited(None, START_S + 7 * DAY_S).audit;
    assert_eq!(audit.verdict, Verdict::Findings);
    let found = oddities(&audit);
    for oddity in [
        Oddity::NotValid,
        Oddity::Revoked,
        Oddity::Disputed,
        Oddity::Disagreement,
        Oddity::Gap,
        Oddity::EvidenceMissing,
    ] {
        assert!(
            found.contains(&oddity),
            "{oddity:?} in {:?}",
            audit.findings
        );
    }
    assert!(
        !found.contains(&Oddity::Contradiction),
        "{:?}",
        audit.findings
    );
    let missing = audit
        .findings
        .iter()
        .filter(|of| of.oddity == Oddity::EvidenceMissing);
    assert_eq!(missing.count(), 1);
    let kinds: Vec<_> = audit.receipts.iter().map(|held| held.kind).collect();
    assert!(
        kinds.contains(&"dispute/v1") && kinds.contains(&"revoke/v1"),
        "{kinds:?}"
    );
    // Half a year later nobody has to have the evidence any more.
    let late = log.audited(None, START_S + 200 * DAY_S).audit;
    assert!(oddities(&late).contains(&Oddity::EvidenceExpired));
    assert!(!oddities(&late).contains(&Oddity::EvidenceMissing));
}

#[test]
fn a_node_that_nobody_checked_has_a_gap() {
    let audit = Served::of(vec![days(1)[1].clone()])
        .audited(None, START_S)
        .audit;
    assert_eq!(oddities(&audit), [Oddity::Gap]);
    let mut log = Served::of(days(1));
    let newest = Newest::ask(&mut log).unwrap();
    let wanted = Wanted {
        node: "nod_1",
        remembered: None,
        now_s: 0,
        evidence: false,
        rounds: Rounds::Skipped,
    };
    let refused = run(&mut log, &trust(), newest, wanted).unwrap_err();
    assert!(matches!(refused, AuditError::Node));
}
