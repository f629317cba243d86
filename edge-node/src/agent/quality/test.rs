use super::*;
use nearlight_proof::encoding::array_from_hex;
use nearlight_proof::receipt::session::{Session, commitment};
use nearlight_proof::receipt::statement::{Assurance, Head, Subject};

fn key() -> ReceiptKey {
    ReceiptKey::of_seed(&[3; 32])
}

fn played(seconds: u32) -> Played {
    Played {
        seconds,
        frames: u64::from(seconds) * 60,
        size: [1280, 720],
        encoder: "x264enc".to_owned(),
        ..Played::default()
    }
}

fn statement(side: EdgeSide, countersign: Countersign) -> String {
    let statement = Statement {
        subject: Subject {
            name: SUBJECT.to_owned(),
            sha256: commitment(&[1; 32], "a session"),
        },
        head: Head {
            issuer: KeyId([9; 32]),
            issued_at_s: 1_800_000_000,
            countersign,
            assurance: Assurance::Timing,
            does_not_prove: Vec::new(),
            evidence: Vec::new(),
        },
        predicate: Predicate::Session(Box::new(Session::new(side, Vec::new()))),
    };
    String::from_utf8(statement.envelope().unwrap().payload).unwrap()
}

/// A session of a minute and a half, as it is told.
fn told_twice(samples: &mut Samples, session: &SessionId, now: Instant) -> (Measured, Measured) {
    samples.attached(session, 1000);
    let key = key();
    let first = samples.measured(session, (&played(60), &key), (false, 1060, now));
    let second = samples.measured(session, (&played(90), &key), (true, 1090, now));
    (first.unwrap(), second.unwrap())
}

#[test]
fn what_was_measured_is_told_and_signed_and_nothing_else() {
    let (mut samples, session) = (Samples::default(), nearlight_kit::ids::session());
    let now = Instant::now();
    let (first, second) = told_twice(&mut samples, &session, now);
    assert!(!first.last && second.last);
    assert_ne!(first.segments, second.segments);
    let side = EdgeSide {
        node: key().public().id(),
        started_at_s: 1000,
        stopped_at_s: 1090,
        segments: segments(&[first.sample, second.sample]),
        quality: quality_of(&played(90)),
    };
    assert_eq!(second.segments, side.segments.to_string());
    let by_node = Countersign::Node(side.node);
    let text = statement(side.clone(), by_node.clone());
    let Countersigned::Signed { signature } = samples.countersign(&session, text.clone(), &key())
    else {
        panic!("not signed");
    };
    let signature = array_from_hex(&signature).unwrap();
    let message = pae(IN_TOTO, text.as_bytes());
    assert!(key().public().verifies(&message, &signature));
    let refuses = |statement: String| {
        let answer = samples.countersign(&session, statement, &key());
        matches!(answer, Countersigned::Refused { .. })
    };
    let mut better = side.clone();
    better.quality.frames += 1;
    assert!(refuses(statement(better, by_node)), "another number");
    assert!(refuses(statement(side, Countersign::None)), "unsigned");
    assert!(refuses("{}".to_owned()));
    let other = nearlight_kit::ids::session();
    let answer = samples.countersign(&other, text, &key());
    assert!(matches!(answer, Countersigned::Refused { .. }));
}

#[test]
fn nothing_is_told_of_what_nobody_played_or_what_is_over() {
    let (mut samples, session) = (Samples::default(), nearlight_kit::ids::session());
    let (key, now) = (key(), Instant::now());
    let over = (true, 5, now);
    assert_eq!(
        samples.measured(&session, (&played(9), &key), over),
        None,
        "nobody attached"
    );
    samples.attached(&session, 1);
    assert_eq!(samples.measured(&session, (&played(0), &key), over), None);
    assert!(samples.0.is_empty());
    let _ = told_twice(&mut samples, &session, now);
    assert_eq!(samples.measured(&session, (&played(9), &key), over), None);
    assert_eq!(samples.ended(&key).len(), 1);
}

#[test]
fn what_ended_is_kept_for_ten_minutes_and_bounded() {
    let (mut samples, now) = (Samples::default(), Instant::now());
    for _ in 0..=ENDED_MAX {
        let _ = told_twice(&mut samples, &nearlight_kit::ids::session(), now);
    }
    assert_eq!(samples.0.len(), ENDED_MAX);
    let last = nearlight_kit::ids::session();
    let _ = told_twice(&mut samples, &last, now + KEPT);
    assert_eq!(samples.0.len(), 1);
    assert!(samples.0.contains_key(&last));
}
