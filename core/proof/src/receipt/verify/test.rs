use super::*;
use crate::key::SecretKey;
use crate::log::checkpoint::Checkpoint;
use crate::log::cosignature;
use crate::log::note::{Algorithm, VerifierKey};
use crate::log::tree;
use crate::receipt::fixture::porc;
use crate::receipt::predicate::{Dispute, Finding, Revoke, Verdict};
use crate::receipt::statement::{Assurance, Head, Subject};

const NOW: u64 = 1_800_000_000;
const NODE: u8 = 10;
const CHECKER: u8 = 11;
const BROKER: u8 = 12;
const REFEREE: u8 = 13;
const LOG: u8 = 20;
const WITNESSES: [u8; 3] = [21, 22, 23];

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn entry(seed: u8, role: Role, operator: &str) -> Entry {
    Entry {
        key: crate::encoding::hex(secret(seed).public().as_bytes()),
        role,
        operator: operator.to_owned(),
        licence: None,
        from_s: NOW - 1000,
        until_s: NOW + 1000,
        revoked_at_s: None,
    }
}

fn directory_with(change: impl FnOnce(&mut Vec<Entry>)) -> Directory {
    let mut keys = vec![
        entry(NODE, Role::Node, "north"),
        entry(CHECKER, Role::Checker, "east"),
        entry(BROKER, Role::Broker, "near"),
        entry(REFEREE, Role::Referee, "west"),
        entry(LOG, Role::Log, "near"),
    ];
    for (seed, operator) in WITNESSES.iter().zip(["w1", "w2", "w3"]) {
        keys.push(entry(*seed, Role::Witness, operator));
    }
    change(&mut keys);
    let bytes = Directory::sign(7, NOW, keys, &secret(99)).unwrap();
    Directory::open(&bytes, &secret(99).public()).unwrap()
}

fn policy(quorum: &str) -> Policy {
    let log = VerifierKey::new("log.example", Algorithm::Ed25519, secret(LOG).public()).unwrap();
    let mut text = format!("log {log}\n");
    for seed in WITNESSES {
        let key = secret(seed).public();
        let key = VerifierKey::new(&format!("w{seed}"), Algorithm::CosignatureV1, key).unwrap();
        text.push_str(&format!("witness w{seed} {key}\n"));
    }
    Policy::parse(&format!("{text}group two 2 w21 w22 w23\nquorum {quorum}\n")).unwrap()
}

fn statement(
    issuer: u8,
    subject: KeyId,
    countersign: Countersign,
    predicate: Predicate,
) -> Statement {
    Statement {
        subject: Subject {
            name: "receipt".to_owned(),
            sha256: subject,
        },
        head: Head {
            issuer: secret(issuer).public().id(),
            issued_at_s: NOW,
            countersign,
            assurance: Assurance::Timing,
            does_not_prove: vec!["that the card is the one it is said to be".to_owned()],
            evidence: Vec::new(),
        },
        predicate,
    }
}

fn signed(statement: &Statement, by: &[u8]) -> Vec<u8> {
    let mut envelope = statement.envelope().unwrap();
    by.iter().for_each(|seed| envelope.sign(&secret(*seed)));
    envelope.to_bytes()
}

/// A dispute by the checker, which the node signs, too: the smallest receipt with two signatures.
fn receipt() -> Vec<u8> {
    let node = secret(NODE).public().id();
    let claim = Dispute {
        claim: "the reads were late".to_owned(),
        deadline_s: NOW + 60,
    };
    let predicate = Predicate::Dispute(claim);
    signed(
        &statement(CHECKER, node, Countersign::Node(node), predicate),
        &[CHECKER, NODE],
    )
}

fn proof_of(receipt: &[u8], witnesses: &[u8]) -> Vec<u8> {
    let mut leaves: Vec<_> = (0..5_u8).map(|i| leaf(&[i])).collect();
    leaves.insert(3, leaf(receipt));
    let root = tree::root::<LogHasher>(&leaves);
    let checkpoint = Checkpoint {
        origin: "log.example".to_owned(),
        size: 6,
        root,
    };
    let mut note = checkpoint.sign(&secret(LOG)).unwrap();
    for seed in witnesses {
        let name = format!("w{seed}");
        note.add(cosignature::sign(note.text(), &name, &secret(*seed), NOW + 5).unwrap());
    }
    let path = tree::path::<LogHasher>(&leaves, 3).unwrap();
    LogProof {
        index: 3,
        path,
        checkpoint: note,
    }
    .to_string()
    .into_bytes()
}

fn given<'a>(
    policy: &'a Policy,
    directory: &'a Directory,
    later: &'a [(&'a [u8], &'a [u8])],
) -> Given<'a> {
    Given {
        policy,
        policy_source: PolicySource::Own,
        directory,
        later,
    }
}

fn outcome_of(receipt: &[u8], proof: &[u8]) -> Outcome {
    let (policy, directory) = (policy("two"), directory_with(|_| ()));
    verify(receipt, proof, &given(&policy, &directory, &[])).outcome
}

#[test]
fn a_receipt_that_is_right_in_everything() {
    let (receipt, policy, directory) = (receipt(), policy("two"), directory_with(|_| ()));
    let report = verify(
        &receipt,
        &proof_of(&receipt, &[21, 22]),
        &given(&policy, &directory, &[]),
    );
    assert_eq!(report.outcome, Outcome::Valid);
    assert_eq!(report.outcome.exit_code(), 0);
    assert_eq!(report.checks.len(), 9);
    assert!(report.checks.iter().all(|check| check.passed));
    assert_eq!(
        (report.as_of_size, report.as_of_s),
        (Some(6), Some(NOW + 5))
    );
    assert_eq!(report.warnings, []);
}

/// Every bit of every byte, of the receipt and of its proof.
#[test]
fn no_byte_is_free() {
    let receipt = receipt();
    let proof = proof_of(&receipt, &[21, 22]);
    assert_eq!(outcome_of(&receipt, &proof), Outcome::Valid);
    for position in 0..receipt.len() {
        let mut flipped = receipt.clone();
        flipped[position] ^= 1 << (position % 8);
        assert_ne!(
            outcome_of(&flipped, &proof),
            Outcome::Valid,
            "byte {position} of the receipt"
        );
    }
    for position in 0..proof.len() {
        for bit in [0, 5] {
            let mut flipped = proof.clone();
            flipped[position] ^= 1 << bit;
            assert_ne!(
                outcome_of(&receipt, &flipped),
                Outcome::Valid,
                "byte {position} of the proof"
            );
        }
    }
    for length in 0..receipt.len() {
        assert_ne!(outcome_of(&receipt[..length], &proof), Outcome::Valid);
    }
    for length in 0..proof.len() {
        assert_ne!(outcome_of(&receipt, &proof[..length]), Outcome::Valid);
    }
}

/// A third witness is one more than the quorum asks for: its name and key id may change, and then
/// it is a stranger's line, which C2SP says to ignore. Its signature may not.
#[test]
fn a_spare_witness_has_the_only_spare_bytes() {
    let receipt = receipt();
    let proof = proof_of(&receipt, &[21, 22, 23]);
    let mut free = 0;
    for position in 0..proof.len() {
        let mut flipped = proof.clone();
        flipped[position] ^= 1;
        if outcome_of(&receipt, &flipped) == Outcome::Valid {
            let line = proof[..position]
                .iter()
                .rposition(|byte| *byte == b'\n')
                .unwrap()
                + 1;
            let line = String::from_utf8_lossy(&proof[line..]).into_owned();
            assert!(line.starts_with("\u{2014} w2"), "byte {position}: {line}");
            free += 1;
        }
    }
    assert!(free > 0 && free < 3 * 12, "{free} bytes are free");
}

#[test]
fn each_failure_has_its_outcome() {
    let receipt = receipt();
    let good = proof_of(&receipt, &[21, 22]);
    assert_eq!(outcome_of(b"{}", &good), Outcome::Malformed);
    assert_eq!(
        outcome_of(&receipt, &proof_of(&receipt, &[21])),
        Outcome::NotWitnessed
    );
    assert_eq!(
        outcome_of(&receipt, &proof_of(b"another", &[21, 22])),
        Outcome::NotLogged
    );
    let node = secret(NODE).public().id();
    let predicate = Predicate::Revoke(Revoke {
        reason: String::new(),
        from_s: 0,
    });
    let by_node = signed(
        &statement(NODE, node, Countersign::None, predicate.clone()),
        &[NODE],
    );
    assert_eq!(
        outcome_of(&by_node, &proof_of(&by_node, &[21, 22])),
        Outcome::UnknownKey
    );
    let unsigned = statement(CHECKER, node, Countersign::Node(node), predicate.clone());
    let alone = signed(&unsigned, &[CHECKER]);
    assert_eq!(
        outcome_of(&alone, &proof_of(&alone, &[21, 22])),
        Outcome::Forged
    );
    let other = signed(
        &statement(CHECKER, node, Countersign::None, predicate),
        &[BROKER],
    );
    assert_eq!(
        outcome_of(&other, &proof_of(&other, &[21, 22])),
        Outcome::Forged
    );
}

#[test]
fn a_key_counts_in_its_window_alone() {
    let (receipt, policy) = (receipt(), policy("two"));
    let proof = proof_of(&receipt, &[21, 22]);
    for (revoked, outcome) in [(NOW, Outcome::UnknownKey), (NOW + 1, Outcome::Valid)] {
        let directory = directory_with(|keys| keys[1].revoked_at_s = Some(revoked));
        let report = verify(&receipt, &proof, &given(&policy, &directory, &[]));
        assert_eq!(report.outcome, outcome);
    }
    let directory = directory_with(|keys| keys[0].until_s = NOW);
    let report = verify(&receipt, &proof, &given(&policy, &directory, &[]));
    assert_eq!(report.outcome, Outcome::UnknownKey);
}

#[test]
fn what_the_log_operator_pinned_is_said() {
    let receipt = receipt();
    let proof = proof_of(&receipt, &[21, 22]);
    let directory = directory_with(|keys| {
        keys.iter_mut()
            .filter(|k| k.role == Role::Witness)
            .for_each(|k| k.operator = "near".into());
    });
    let policy = policy("none");
    let mut given = given(&policy, &directory, &[]);
    given.policy_source = PolicySource::LogOperator;
    let report = verify(&receipt, &proof, &given);
    assert_eq!(report.outcome, Outcome::Valid);
    let expected = [
        Warning::PolicyFromLog,
        Warning::WitnessesOfLog,
        Warning::NoQuorum,
    ];
    assert_eq!(report.warnings, expected);
}

/// A check by the checker, which the node signs, too.
fn check() -> Vec<u8> {
    let node = secret(NODE).public().id();
    let porc = Predicate::Porc(Box::new(porc(Finding::Pass)));
    signed(
        &statement(CHECKER, node, Countersign::Node(node), porc),
        &[CHECKER, NODE],
    )
}

#[test]
fn later_entries_change_the_standing() {
    let (receipt, policy, directory) = (check(), policy("two"), directory_with(|_| ()));
    let proof = proof_of(&receipt, &[21, 22]);
    let target = KeyId(leaf(&receipt));
    let revoke = Predicate::Revoke(Revoke {
        reason: "lost key".to_owned(),
        from_s: 0,
    });
    let dispute = Predicate::Dispute(Dispute {
        claim: "no".to_owned(),
        deadline_s: NOW + 9,
    });
    let dispute = signed(
        &statement(NODE, target, Countersign::None, dispute),
        &[NODE],
    );
    let verdict = |finding, liars| {
        let verdict = Predicate::Verdict(Verdict {
            receipts: vec![target],
            dispute: Some(KeyId(leaf(&dispute))),
            finding,
            score_permille: 1000,
            liars,
            step: "tile 3 of frame 2".to_owned(),
            reason: "re-executed".to_owned(),
        });
        signed(
            &statement(REFEREE, target, Countersign::None, verdict),
            &[REFEREE],
        )
    };
    let liar = vec![secret(CHECKER).public().id()];
    let by = |issuer: u8| {
        signed(
            &statement(issuer, target, Countersign::None, revoke.clone()),
            &[issuer],
        )
    };
    for (later, outcome) in [
        (vec![by(BROKER)], Outcome::Revoked),
        (vec![by(CHECKER)], Outcome::Revoked),
        (vec![dispute.clone()], Outcome::Disputed),
        (
            vec![dispute.clone(), verdict(Finding::Pass, Vec::new())],
            Outcome::Valid,
        ),
        (
            vec![dispute.clone(), verdict(Finding::Inconclusive, Vec::new())],
            Outcome::Valid,
        ),
        (
            vec![verdict(Finding::Fail, liar.clone()), dispute.clone()],
            Outcome::Revoked,
        ),
    ] {
        let proofs: Vec<_> = later
            .iter()
            .map(|entry| proof_of(entry, &[21, 23]))
            .collect();
        let pairs: Vec<_> = later
            .iter()
            .zip(&proofs)
            .map(|(a, b)| (&a[..], &b[..]))
            .collect();
        let report = verify(&receipt, &proof, &given(&policy, &directory, &pairs));
        assert_eq!((report.outcome, report.warnings), (outcome, Vec::new()));
    }
    let stray = [(&dispute[..], &proof[..])];
    let report = verify(&receipt, &proof, &given(&policy, &directory, &stray));
    assert_eq!(
        (report.outcome, report.warnings),
        (Outcome::Valid, vec![Warning::LaterIgnored])
    );
}

/// Free disputes of whoever has a key would contest everything for ever.
#[test]
fn only_whom_it_concerns_contests_a_check_and_in_time() {
    let read = |bytes: &[u8]| Statement::parse(&Envelope::parse(bytes).unwrap()).unwrap();
    let (of_check, other) = (check(), receipt());
    let day = 24 * 3600;
    let outcome = |contested: &[u8], (issuer, role): (u8, Role), after_s| {
        let target = KeyId(leaf(contested));
        let claim = Predicate::Dispute(Dispute {
            claim: "no".to_owned(),
            deadline_s: 1,
        });
        let mut dispute = statement(issuer, target, Countersign::None, claim);
        dispute.head.issued_at_s += after_s;
        let later = Later {
            leaf: KeyId([1; 32]),
            statement: dispute,
            role,
        };
        judge(&target, &read(contested), &[later]).0
    };
    use Outcome::{Disputed, Valid};
    let cases = [
        ((NODE, Role::Node), 30 * day, Disputed),
        ((NODE, Role::Node), 30 * day + 1, Valid),
        ((CHECKER, Role::Checker), 0, Disputed),
        ((BROKER, Role::Broker), 0, Disputed),
        ((77, Role::Checker), 0, Valid),
        ((78, Role::Node), 0, Valid),
    ];
    for (by, after_s, expected) in cases {
        assert_eq!(
            outcome(&of_check, by, after_s),
            expected,
            "{by:?} {after_s}"
        );
        assert_eq!(outcome(&other, by, after_s), Valid, "no check: {by:?}");
    }
}

/// Who dates a fail back to when nobody could dispute it any more is a liar all the same.
#[test]
fn what_a_referee_decided_counts_whenever_the_receipt_says_that_it_was() {
    let read = |bytes: &[u8]| Statement::parse(&Envelope::parse(bytes).unwrap()).unwrap();
    let contested = check();
    let target = KeyId(leaf(&contested));
    let later = |at: u8, issuer: u8, role, predicate| {
        let mut said = statement(issuer, target, Countersign::None, predicate);
        said.head.issued_at_s += 31 * 24 * 3600;
        Later {
            leaf: KeyId([at; 32]),
            statement: said,
            role,
        }
    };
    let claim = Predicate::Dispute(Dispute {
        claim: "no".to_owned(),
        deadline_s: 1,
    });
    let ends = Predicate::Verdict(Verdict {
        receipts: vec![target],
        dispute: Some(KeyId([1; 32])),
        finding: Finding::Fail,
        score_permille: 0,
        liars: vec![secret(CHECKER).public().id()],
        step: "tile 3 of frame 2".to_owned(),
        reason: "re-executed".to_owned(),
    });
    let dispute = later(1, NODE, Role::Node, claim);
    let verdict = later(2, REFEREE, Role::Referee, ends);
    let outcome = |later: &[&Later]| judge(&target, &read(&contested), later).0;
    assert_eq!(outcome(&[&dispute]), Outcome::Valid, "too late, and open");
    assert_eq!(outcome(&[&dispute, &verdict]), Outcome::Revoked);
}

/// What is known to have been admitted is asked everything but for its signatures.
#[test]
fn an_entry_that_was_admitted_is_read_again_without_its_signatures() {
    let directory = directory_with(|_| {});
    let receipt = receipt();
    let admitted = admit(&receipt, &directory).unwrap();
    assert_eq!(readmit(&receipt, &directory).unwrap(), admitted);
    let mut envelope = Envelope::parse(&receipt).unwrap();
    envelope.signatures[0].1[0] ^= 1;
    let flipped = envelope.to_bytes();
    let refused = admit(&flipped, &directory).unwrap_err();
    assert_eq!(refused.outcome, Outcome::Forged);
    assert_eq!(readmit(&flipped, &directory).unwrap(), admitted);
    // Who signed is still asked: so many, these, and known.
    envelope.signatures.swap(0, 1);
    let refused = readmit(&envelope.to_bytes(), &directory).unwrap_err();
    assert_eq!(refused.outcome, Outcome::Forged);
    envelope.signatures.remove(0);
    let refused = readmit(&envelope.to_bytes(), &directory).unwrap_err();
    assert_eq!(refused.outcome, Outcome::Forged);
    let none = directory_with(|keys| keys.retain(|entry| entry.role != Role::Checker));
    let refused = readmit(&receipt, &none).unwrap_err();
    assert_eq!(refused.outcome, Outcome::UnknownKey);
}
