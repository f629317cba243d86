//! Whose disputes contest a receipt: those of whom it concerns, over checks, and none of which a referee has decided.

use super::{Case, TWO, dispute, proof_of, secret, signed};
use nearlight_proof::key::KeyId;
use nearlight_proof::log::tree::leaf;
use nearlight_proof::receipt::predicate::{
    Elapsed, Finding, Porc, Predicate, Ratios, Sizes, Verdict,
};
use nearlight_proof::receipt::statement::Countersign;

const NODE: u8 = 10;
const CHECKER: u8 = 11;
const BROKER: u8 = 12;
const REFEREE: u8 = 13;
const RIVAL: u8 = 14;

fn check() -> Vec<u8> {
    let none = KeyId([0; 32]);
    let porc = Porc {
        round: 7,
        beacon: none,
        gpu: "cpu".to_owned(),
        class: "golden".to_owned(),
        table: none,
        probe: "p".to_owned(),
        checkers: none,
        nonce: none,
        read_secret: none,
        open_secret: none,
        sizes: Sizes {
            rows: 1,
            blocks: 1,
            lanes: 1,
            reads: 1,
            frames: 1,
            tiles: 1,
            steps: 96,
        },
        matrix_root: none,
        fill_root: none,
        read_root: none,
        frame_root: none,
        elapsed: Elapsed {
            compute_us: 1,
            fill_us: 1,
            read_us: 1,
            render_us: 1,
        },
        ratios: Ratios {
            compute_permille: 900,
            memory_permille: 900,
            render_permille: 900,
        },
        score_permille: 900,
        finding: Finding::Pass,
        reason: String::new(),
    };
    let node = secret(NODE).public().id();
    let porc = Predicate::Porc(Box::new(porc));
    let both = [CHECKER, NODE];
    signed(CHECKER, node, Countersign::Node(node), porc, &both)
}

/// An envelope, as far as its form goes, of nothing but lists in lists.
fn nested(levels: usize) -> Vec<u8> {
    [vec![b'['; levels], vec![b']'; levels]].concat()
}

pub(super) fn cases() -> Vec<Case> {
    let check = check();
    let target = KeyId(leaf(&check));
    let by = |issuer| signed(issuer, target, Countersign::None, dispute("no"), &[issuer]);
    let decided = |finding, liars: &[u8]| {
        let ids = liars.iter().map(|key| secret(*key).public().id());
        let verdict = Predicate::Verdict(Verdict {
            receipts: vec![target],
            dispute: Some(KeyId(leaf(&by(NODE)))),
            finding,
            score_permille: 0,
            liars: ids.collect(),
            step: String::new(),
            reason: "golden".to_owned(),
        });
        let node = secret(NODE).public().id();
        signed(REFEREE, node, Countersign::None, verdict, &[REFEREE])
    };
    let proof = proof_of(&check, &TWO);
    let case = |name, later| (name, check.clone(), proof.clone(), later);
    vec![
        case("a check that nobody contests", vec![]),
        case("a check that its node contests", vec![by(NODE)]),
        case("a check that its checker contests", vec![by(CHECKER)]),
        case("a check that a broker contests", vec![by(BROKER)]),
        case("a check that a rival contests", vec![by(RIVAL)]),
        // A stranger's entry, of JSON as deep as there is room.
        case(
            "a check, and something else that is nested deeply",
            vec![nested(30_000)],
        ),
        case(
            "a dispute that came to nothing",
            vec![by(NODE), decided(Finding::Inconclusive, &[])],
        ),
        case(
            "a dispute that was upheld",
            vec![decided(Finding::Fail, &[CHECKER]), by(NODE)],
        ),
    ]
}
