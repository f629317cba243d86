use super::*;
use nearlight_proof::encoding::hex;
use nearlight_proof::key::SecretKey;
use nearlight_proof::receipt::session::{Agreement, segments};
use nearlight_protocol::unit::U64;

const fn at(ms: u64) -> MonoTime {
    MonoTime(ms * 1000)
}

fn quality(frames: u64) -> Quality {
    Quality {
        seconds: 10,
        frames,
        fps_milli: Quality::rate_milli(frames, 10),
        ..Quality::default()
    }
}

fn measured(last: bool) -> Measured {
    let sample = quality(600).text();
    Measured {
        session: nearlight_kit::ids::session(),
        key: hex(SecretKey::from_seed(&[1; 32]).public().as_bytes()),
        started_at_s: U64(1000),
        stopped_at_s: U64(1010),
        segments: segments(std::slice::from_ref(&sample)).to_string(),
        sample,
        last,
    }
}

fn said(seed: u8, frames: u64, last: bool) -> PlayerSaid {
    let signed = PlayerSample::signed(quality(frames), &SecretKey::from_seed(&[seed; 32]));
    PlayerSaid {
        sample: signed.quality.text(),
        key: signed.key,
        signature: signed.signature,
        last,
    }
}

fn case() -> Case {
    Case::new(nearlight_kit::ids::node())
}

fn asked() -> Asked {
    Asked {
        salt: [4; 32],
        issued_at_s: 1010,
        statement: "{}".to_owned(),
    }
}

fn signed() -> Countersigned {
    Countersigned::Signed {
        signature: hex(&[2; 64]),
    }
}

#[test]
fn both_sides_and_the_nodes_signature_go_to_the_log() {
    let mut case = case();
    assert!(case.edge_said(&measured(false), at(0)));
    assert_eq!(case.player_said(said(2, 590, false)), Ok(()));
    assert_eq!(case.due(at(1)), Act::Wait, "it is played");
    assert!(case.edge_said(&measured(true), at(2)));
    assert_eq!(case.due(at(3)), Act::Wait, "the player's last word is due");
    assert_eq!(case.player_said(said(2, 600, true)), Ok(()));
    assert_eq!(case.due(at(4)), Act::Write);
    let (_, session) = case.columns().unwrap();
    assert_eq!(session.agreement, Agreement::Agree);
    assert_eq!(session.player.len(), 1, "the last of a key counts");
    case.asks(asked(), at(4));
    assert_eq!(case.due(at(4)), Act::Ask("{}".to_owned()));
    assert_eq!(case.due(at(5)), Act::Wait);
    assert_eq!(case.due(at(5004)), Act::Ask("{}".to_owned()));
    case.answered(signed(), at(5005));
    let log = Act::Log(asked(), Decision::Signed([2; 64]));
    assert_eq!(case.due(at(5006)), log);
    assert_eq!(case.due(at(600_004)), log, "tried again");
    assert!(matches!(case.due(at(605_005)), Act::Drop(_)));
}

#[test]
fn each_side_may_be_silent() {
    let mut alone = case();
    assert!(alone.edge_said(&measured(true), at(0)));
    assert_eq!(alone.due(at(9_999)), Act::Wait);
    assert_eq!(alone.due(at(10_000)), Act::Write, "without the player");
    let agreement = alone.columns().unwrap().1.agreement;
    assert_eq!(agreement, Agreement::EdgeOnly);
    alone.asks(asked(), at(10_000));
    let silent = Decision::Refused("the node did not answer".to_owned());
    assert_eq!(alone.due(at(40_000)), Act::Log(asked(), silent));

    let mut no_node = case();
    assert_eq!(no_node.player_said(said(2, 1, true)), Ok(()));
    no_node.is_over(at(0));
    assert_eq!(no_node.due(at(9_999)), Act::Wait);
    assert!(matches!(no_node.due(at(10_000)), Act::Drop(_)));
}

#[test]
fn what_a_player_sends_changes_its_own_column_alone_and_is_bounded() {
    let mut case = case();
    let mut other = said(2, 600, false);
    other.sample = quality(601).text();
    assert_eq!(case.player_said(other), Err(NotTaken::Signature));
    let mut odd = said(2, 600, false);
    odd.sample.push(' ');
    assert_eq!(case.player_said(odd), Err(NotTaken::Form));
    case.key_came(&said(2, 1, false).key);
    case.key_came("no key");
    assert_eq!(
        case.player_said(said(3, 600, false)),
        Err(NotTaken::UnknownKey)
    );
    for seed in 2..40 {
        case.key_came(&said(seed, 1, false).key);
        let _ = case.player_said(said(seed, 600, false));
    }
    let unsigned = PlayerSaid {
        sample: quality(600).text(),
        key: String::new(),
        signature: String::new(),
        last: true,
    };
    assert_eq!(case.player_said(unsigned), Err(NotTaken::Full));
    assert!(case.edge_said(&measured(true), at(0)));
    let (_, session) = case.columns().unwrap();
    assert_eq!(session.player.len(), SAMPLES_MAX);
    assert!(session.holds());
}

#[test]
fn once_the_node_was_asked_nothing_changes() {
    let mut case = case();
    assert!(case.edge_said(&measured(true), at(0)));
    assert_eq!(case.player_said(said(2, 600, true)), Ok(()));
    case.asks(asked(), at(1));
    let before = case.columns();
    assert_eq!(case.player_said(said(2, 1, true)), Err(NotTaken::Late));
    let mut other = measured(true);
    other.sample = quality(1).text();
    assert!(case.edge_said(&other, at(2)));
    assert_eq!(
        case.columns().map(|(_, session)| session),
        before.map(|(_, session)| session)
    );
    case.answered(signed(), at(3));
    let refused = Countersigned::Refused {
        reason: "no".to_owned(),
    };
    case.answered(refused, at(4));
    let signed = Act::Log(asked(), Decision::Signed([2; 64]));
    assert_eq!(case.due(at(5)), signed, "the first answer counts");
}

#[test]
fn what_no_node_says_is_not_taken() {
    let wrong = |change: fn(&mut Measured)| {
        let mut said = measured(true);
        change(&mut said);
        case().edge_said(&said, at(0))
    };
    assert!(wrong(|_| {}));
    assert!(!wrong(|said| said.key.clear()));
    assert!(!wrong(|said| said.segments.clear()));
    assert!(!wrong(|said| said.sample = "{}".to_owned()));
    assert!(!wrong(|said| said.started_at_s = U64(1011)));
    let mut case = case();
    assert!(case.edge_said(&measured(true), at(0)));
    case.asks(asked(), at(0));
    let garbled = Countersigned::Signed {
        signature: "00".to_owned(),
    };
    case.answered(garbled, at(1));
    assert!(matches!(case.due(at(2)), Act::Log(_, Decision::Refused(_))));
}
