//! Receipts of sessions: one that agrees, and two that say something else than their columns.

use super::{Case, NOW, TWO, proof_of, secret, signed};
use nearlight_proof::key::KeyId;
use nearlight_proof::receipt::predicate::Predicate;
use nearlight_proof::receipt::quality::{PlayerSample, Quality};
use nearlight_proof::receipt::session::{
    Agreement, Difference, EdgeSide, Session, commitment, segments,
};
use nearlight_proof::receipt::statement::Countersign;

pub(super) fn quality(seconds: u32, frames: u64) -> Quality {
    Quality {
        seconds,
        frames,
        fps_milli: Quality::rate_milli(frames, seconds),
        pace_us: [16_700, 33_400],
        freezes: 0,
        size: [1280, 720],
        encode_us: [0, 0],
        input_us: [48_000, 81_000],
        rtt_us: [2000, 5000],
        encoder: "x264enc".to_owned(),
    }
}

fn session(player: Vec<PlayerSample>) -> Session {
    session_of(quality(63, 3790), player)
}

fn session_of(edge: Quality, player: Vec<PlayerSample>) -> Session {
    let side = EdgeSide {
        node: secret(10).public().id(),
        started_at_s: NOW - 70,
        stopped_at_s: NOW - 5,
        segments: segments(&[edge.text()]),
        quality: edge,
    };
    Session::new(side, player)
}

/// Signed by the broker and by the node.
fn receipt(session: Session) -> Vec<u8> {
    let node: KeyId = secret(10).public().id();
    let subject = commitment(&[7; 32], "ses_00000000000000000000000000");
    let predicate = Predicate::Session(Box::new(session));
    signed(12, subject, Countersign::Node(node), predicate, &[12, 10])
}

pub(super) fn cases() -> Vec<Case> {
    let page = |quality| PlayerSample::signed(quality, &secret(30));
    let unsigned = PlayerSample {
        quality: quality(10, 600),
        key: String::new(),
        signature: String::new(),
    };
    let agrees = session(vec![unsigned, page(quality(50, 2990))]);
    assert_eq!(agrees.agreement, Agreement::Agree);
    let differs = session(vec![page(quality(60, 1200))]);
    assert_eq!(differs.differs, [Difference::FrameRate]);
    // 100 frames in 1.67 seconds: by whole seconds, as before rates were exact, they differ.
    let exact = Quality {
        fps_milli: 59_880,
        ..quality(1, 100)
    };
    let short = session_of(quality(2, 120), vec![page(exact)]);
    assert_eq!(short.agreement, Agreement::Agree);
    let mut of_before = short.clone();
    of_before.agreement = Agreement::Disagree;
    of_before.differs = vec![Difference::FrameRate];
    let mut of_neither = of_before.clone();
    of_neither.differs = vec![Difference::FrameRate, Difference::Seconds];
    let mut coloured = differs.clone();
    (coloured.agreement, coloured.differs) = (Agreement::Agree, Vec::new());
    let mut forged = agrees.clone();
    forged.player[1].quality.frames = 2991;
    let case = |name, session| {
        let entry = receipt(session);
        let proof = proof_of(&entry, &TWO);
        (name, entry, proof, Vec::new())
    };
    vec![
        case("a session that both agree on", agrees),
        case("a session that they differ on", differs),
        case("a session that says agree where they differ", coloured),
        case("a player's number that it did not sign", forged),
        case("a session of part of a second more than it says", short),
        case("the same by whole seconds", of_before),
        case("the same by no rule", of_neither),
    ]
}
