//! Probes of streams, with signs and without; verdicts of their own; and revocations of whom they concern and whom not.

use super::{Case, NOW, TWO, played, proof_of, secret, signed};
use nearlight_proof::key::KeyId;
use nearlight_proof::log::tree::leaf;
use nearlight_proof::receipt::predicate::{Finding, Porw, Predicate, Revoke, Verdict};
use nearlight_proof::receipt::session::commitment;
use nearlight_proof::receipt::statement::Countersign;

const NODE: u8 = 10;
const CHECKER: u8 = 11;
const BROKER: u8 = 12;
const REFEREE: u8 = 13;
const RIVAL: u8 = 14;

fn stream(signs: Option<[u32; 3]>) -> Vec<u8> {
    let porw = Porw {
        app: "calibrate".to_owned(),
        finding: Finding::Pass,
        input: KeyId([8; 32]),
        markers: [18, 20],
        quality: played::quality(20, 1200),
        reason: String::new(),
        session: commitment(&[7; 32], "ses_00000000000000000000000000"),
        signs,
    };
    let node = secret(NODE).public().id();
    let (predicate, none) = (Predicate::Porw(porw), Countersign::None);
    signed(CHECKER, node, none, predicate, &[CHECKER])
}

fn verdict(issuer: u8) -> Vec<u8> {
    let verdict = Verdict {
        dispute: None,
        finding: Finding::Pass,
        liars: vec![secret(RIVAL).public().id()],
        reason: "what was shown was executed again".to_owned(),
        receipts: vec![KeyId([3; 32]), KeyId([4; 32])],
        score_permille: 900,
        step: "row 3 of C".to_owned(),
    };
    let node = secret(NODE).public().id();
    let (predicate, none) = (Predicate::Verdict(verdict), Countersign::None);
    signed(issuer, node, none, predicate, &[issuer])
}

fn void(issuer: u8, subject: KeyId, from_s: u64) -> Vec<u8> {
    let predicate = Predicate::Revoke(Revoke {
        from_s,
        reason: "the key was stolen".to_owned(),
    });
    signed(issuer, subject, Countersign::None, predicate, &[issuer])
}

pub(super) fn cases() -> Vec<Case> {
    let played = stream(None);
    let (receipt, key) = (KeyId(leaf(&played)), secret(CHECKER).public().id());
    let case = |name, entry: Vec<u8>, later| {
        let proof = proof_of(&entry, &TWO);
        (name, entry, proof, later)
    };
    let revoked = |name, by: Vec<u8>| case(name, played.clone(), vec![by]);
    vec![
        case("a stream without signs", played.clone(), vec![]),
        case("a stream with signs", stream(Some([40, 0, 41])), vec![]),
        case("a referee's verdict", verdict(REFEREE), vec![]),
        case("a broker's verdict", verdict(BROKER), vec![]),
        case("a checker's verdict", verdict(CHECKER), vec![]),
        revoked("taken back by its issuer", void(CHECKER, receipt, 0)),
        revoked("revoked by a referee", void(REFEREE, receipt, 0)),
        revoked("revoked by another checker", void(RIVAL, receipt, 0)),
        revoked("revoked by a node", void(NODE, receipt, 0)),
        revoked("its key is void since then", void(BROKER, key, NOW)),
        revoked("its key is void from later on", void(BROKER, key, NOW + 1)),
        revoked("another checker says so of its key", void(RIVAL, key, 0)),
    ]
}
