//! Both machines against each other, and every cheat against the checker's.

#[path = "test/contest.rs"]
mod contest;
#[path = "test/evidence.rs"]
mod evidence;
#[path = "test/memory.rs"]
mod memory;
#[path = "test/node.rs"]
mod node;
#[path = "test/shared.rs"]
mod shared;

use super::Step;
use super::begin::{Begin, BeginError, Bounds};
use super::exam::{Exam, Miss};
use super::opening::{Plan, ROWS, TILES, Wrong};
use super::sitting::{Refusal, Sitting};
use crate::key::{KeyId, SecretKey};
use crate::porc::mixer::hash;
use crate::porc::rerun::{Leg, Rerun};
use crate::porc::score::Class;
use crate::porc::seed::Secrets;
use crate::receipt::envelope::Envelope;
use crate::receipt::predicate::{Elapsed, Finding, Porc, Sizes};
use crate::receipt::statement::Countersign;
use node::{Cheat, Node, costs};

const SIZES: Sizes = Sizes {
    rows: 40,
    blocks: 16,
    lanes: 3,
    reads: 2_400,
    frames: 2,
    tiles: 10,
    steps: 96,
};

fn class() -> Class {
    Class {
        class: "test".to_owned(),
        sizes: SIZES,
        reference: costs(&SIZES),
        pass_permille: 800,
    }
}

fn checker() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn secrets(probe: u8) -> Secrets {
    Secrets {
        nonce: [probe; 32],
        read: [probe ^ 0x40; 32],
        open: [probe ^ 0x80; 32],
    }
}

fn begin(probe: u8) -> Begin {
    Begin {
        checker: String::new(),
        node: KeyId([0; 32]),
        round: 7,
        beacon: KeyId([7; 32]),
        probe: format!("probe-{probe}"),
        gpu: "cpu".to_owned(),
        class: String::new(),
        table: KeyId([8; 32]),
        checkers: KeyId([9; 32]),
        sizes: SIZES,
        secrets: [KeyId([0; 32]); 3],
    }
}

/// A probe from its beginning to its receipt.
fn probe(number: u8, node: &mut Node) -> (Porc, Option<Envelope>) {
    let (key, class) = (checker(), class());
    let both = (&key, node.key.public());
    let mut exam = Exam::new(begin(number), secrets(number), both, &class).unwrap();
    examine(&mut exam, node);
    let porc = exam.result().unwrap();
    let of_node = Countersign::Node(node.key.public().id());
    let receipt = exam.receipt(("nod_1", 5), of_node, Vec::new()).unwrap();
    let signed = node.sign(&receipt.to_bytes());
    let both = signed
        .ok()
        .and_then(|answer| exam.countersigned(&receipt, &answer));
    (porc, both)
}

fn examine(exam: &mut Exam<'_>, node: &mut Node) {
    let mut now_us = 1_000;
    while let Some(ask) = exam.ask(now_us) {
        let most = exam.answer_bytes_max(ask.step);
        match node.answer(&mut now_us, ask.step, &ask.message) {
            Ok(answer) => {
                assert!(answer.len() <= most, "{:?}", ask.step);
                exam.answer(now_us, &answer);
            }
            Err(why) => exam.miss(Miss::Refused(why)),
        }
    }
}

/// What a receipt says, the node's key, and the evidence beside it.
fn kept(cheat: Cheat) -> (Porc, KeyId, Vec<u8>) {
    let (key, class) = (checker(), class());
    let mut node = Node::new(cheat);
    let both = (&key, node.key.public());
    let mut exam = Exam::new(begin(1), secrets(1), both, &class).unwrap();
    examine(&mut exam, &mut node);
    let pieces = exam.evidence(9);
    for (named, bytes) in &pieces {
        assert_eq!(named.sha256.0, crate::encoding::sha256(&[bytes]));
        assert_eq!((named.bytes, named.kept_until_s), (bytes.len() as u64, 9));
    }
    let evidence = pieces.iter().flat_map(|(_, bytes)| bytes.to_vec());
    (
        exam.result().unwrap(),
        node.key.public().id(),
        evidence.collect(),
    )
}

#[test]
fn a_probe_is_computed_anew_from_receipt_and_evidence() {
    let (porc, node, evidence) = kept(Cheat::None);
    let rerun = Rerun::of(&porc, &node).unwrap();
    assert_eq!(evidence.len(), rerun.evidence_bytes());
    let again = rerun.openings(&evidence, 5).unwrap();
    let compared = [&again.rows, &again.blocks, &again.lanes, &again.tiles];
    assert_eq!(compared.map(|part| part.wrong), [None; 4]);
    assert_eq!(compared.map(|part| part.compared), [5, 16, 3, 20]);
    assert_eq!(again.rows.drawn, 40);
    assert!(rerun.is_small());
    for leg in [Leg::Matrix, Leg::Fill, Leg::Reads, Leg::Frames] {
        let root = rerun.whole(leg);
        assert_eq!(root.said, root.computed, "{leg:?}");
    }
    // Evidence of other bytes does not lead to the roots; of another length it is none.
    let longer = [evidence.as_slice(), &[0]].concat();
    assert_eq!(rerun.openings(&longer, 5), Err(Wrong::Length));
    for (at, part) in [(0, "row"), (evidence.len() - 1, "tile")] {
        let mut other = evidence.clone();
        other[at] ^= 1;
        let again = rerun.openings(&other, 40).unwrap();
        let wrong = if part == "row" {
            again.rows
        } else {
            again.tiles
        };
        assert!(
            wrong.wrong.unwrap().to_string().starts_with(part),
            "{wrong:?}"
        );
    }
}

#[test]
fn a_rerun_says_where_a_node_cheated() {
    let (porc, node, evidence) = kept(Cheat::SkipTiles(10));
    let rerun = Rerun::of(&porc, &node).unwrap();
    let again = rerun.openings(&evidence, 40).unwrap();
    assert_eq!(
        again.tiles.wrong.unwrap().to_string(),
        "tile 0 of frame 0: what was committed to is not what the seed asks for"
    );
    assert_eq!((again.rows.wrong, again.blocks.wrong), (None, None));
    let frames = rerun.whole(Leg::Frames);
    assert_ne!(frames.said, frames.computed);
    // Another node's key is another seed.
    let other = Rerun::of(&porc, &KeyId([3; 32])).unwrap();
    assert_ne!(other.seed(), rerun.seed());
    let mut none = porc;
    none.sizes.rows = 0;
    assert!(Rerun::of(&none, &node).is_none());
}

fn failed(cheat: Cheat) -> String {
    let (porc, receipt) = probe(1, &mut Node::new(cheat));
    assert_eq!(porc.finding, Finding::Fail, "{}", porc.reason);
    assert_eq!(receipt, None, "a node does not sign that it failed");
    porc.reason
}

#[test]
fn an_honest_node_passes_and_signs() {
    let (porc, receipt) = probe(1, &mut Node::new(Cheat::None));
    assert_eq!((porc.finding, porc.reason.as_str()), (Finding::Pass, ""));
    assert_eq!(porc.score_permille, 1_000);
    let receipt = receipt.unwrap();
    assert_eq!(receipt.signatures.len(), 2);
    assert_eq!(Envelope::parse(&receipt.to_bytes()), Ok(receipt));
}

#[test]
fn answers_that_were_computed_ahead_are_wrong() {
    let why = failed(Cheat::Ahead(hash("guess", &[])));
    assert!(why.contains("not what the seed asks for"), "{why}");
}

#[test]
fn a_proof_that_is_replayed_is_of_another_probe() {
    let mut node = Node::new(Cheat::None);
    probe(2, &mut node);
    let why = failed(Cheat::Replay(node.said));
    assert!(
        why.contains("not signed for this step of this probe"),
        "{why}"
    );
}

#[test]
fn wrong_rows_made_up_products_and_skipped_tiles_are_wrong() {
    for (cheat, part) in [
        (Cheat::Row(11), "row 11 of C"),
        (Cheat::OnlyProduct, "row 0 of C"),
        (Cheat::SkipTiles(10), "tile 0 of frame 0"),
    ] {
        let why = failed(cheat);
        assert!(
            why.contains(part) && why.contains("not what the seed asks for"),
            "{why}"
        );
    }
}

/// A tenth is caught by nearly every probe, a fiftieth by 99.43 of a hundred.
#[test]
fn shares_that_are_skipped_are_caught_as_often_as_stated() {
    let sizes = Sizes {
        rows: 16_384,
        frames: 100,
        tiles: 160,
        ..SIZES
    };
    let probes = 3_000_u32;
    for (share, least) in [(2, 1.0 - 0.98_f64.powi(256)), (10, 1.0 - 0.9_f64.powi(256))] {
        let (mut rows, mut tiles) = (0_u32, 0_u32);
        for probe in 0..probes {
            let plan = Plan::draw(&sizes, &hash("probe", &[&probe.to_le_bytes()]));
            assert_eq!((plan.rows.len(), plan.tiles.len()), (ROWS, TILES));
            rows += u32::from(plan.rows.iter().any(|row| row % 100 < share));
            tiles += u32::from(plan.tiles.iter().any(|(f, t)| (f * 160 + t) % 100 < share));
        }
        // Three standard deviations of so many probes.
        let slack = 3.0 * (least * (1.0 - least) / f64::from(probes)).sqrt();
        for caught in [rows, tiles] {
            let rate = f64::from(caught) / f64::from(probes);
            assert!(rate >= least - slack, "{share}%: {rate}");
        }
    }
}

#[test]
fn who_is_throttled_is_slow_or_late() {
    let (porc, receipt) = probe(1, &mut Node::new(Cheat::Slower(1_200)));
    assert_eq!((porc.finding, porc.score_permille), (Finding::Pass, 833));
    assert!(receipt.is_some());
    let why = failed(Cheat::Slower(1_300));
    assert!(
        why.contains("`fill` was later than the class allows"),
        "{why}"
    );
}

/// The reads leave the least room: a quarter of what their reference takes. What remains is a friend that is nearer.
#[test]
fn a_friend_that_answers_for_a_slow_node_is_late_unless_it_is_near() {
    let alone = failed(Cheat::Slower(3_000));
    assert!(alone.contains("`fill` was later"), "{alone}");
    let room_us = class().reference.read_us / 4;
    let why = failed(Cheat::Friend(1_000, room_us + 1));
    assert!(
        why.contains("`reads` was later than the class allows"),
        "{why}"
    );
    let why = failed(Cheat::Friend(900, class().reference.read_us));
    assert!(
        why.contains("`reads` was later than the class allows"),
        "{why}"
    );
    let (porc, receipt) = probe(1, &mut Node::new(Cheat::Friend(1_000, room_us)));
    assert_eq!((porc.finding, receipt.is_some()), (Finding::Pass, true));
}

#[test]
fn any_message_that_is_changed_ends_it() {
    for step in [
        Step::Begin,
        Step::Fill,
        Step::Matrix,
        Step::Frames,
        Step::Reads,
        Step::Open,
    ] {
        for at in [0, 40, 95] {
            let why = failed(Cheat::Flip(step, at));
            assert!(!why.is_empty(), "{step:?} {at}");
        }
    }
    let why = failed(Cheat::Short);
    assert!(why.contains("another length"), "{why}");
}

#[test]
fn a_node_that_refuses_leaves_it_open() {
    let (porc, receipt) = probe(1, &mut Node::new(Cheat::Refuse(Step::Matrix)));
    assert_eq!(
        (porc.finding, porc.score_permille),
        (Finding::Inconclusive, 0)
    );
    assert!(
        porc.reason
            .contains("refused `matrix`: a session\u{fffd}starts"),
        "{}",
        porc.reason
    );
    assert_eq!(receipt, None);
}

#[test]
fn a_node_takes_no_step_twice_out_of_order_or_with_another_secret() {
    let (key, class, node) = (checker(), class(), SecretKey::from_seed(&[2; 32]));
    let mut exam = Exam::new(begin(1), secrets(1), (&key, node.public()), &class).unwrap();
    let asks = ["cpu".to_owned()];
    let of = (&node.public().id(), asks.as_slice());
    let room = Bounds {
        mem_mib: 64,
        work: u64::MAX,
    };
    let first = exam.ask(0).unwrap().message;
    let mut sitting = Sitting::begin(&first, of, &room).unwrap();
    let fill = [0; 96];
    assert_eq!(
        sitting.hear(0, Step::Fill, &fill),
        Err(Refusal::Order),
        "not accepted yet"
    );
    exam.answer(1, &sitting.accept(&node).unwrap());
    let fill = exam.ask(2).unwrap().message;
    assert_eq!(sitting.hear(0, Step::Reads, &fill), Err(Refusal::Order));
    assert!(matches!(
        sitting.hear(0, Step::Fill, &fill[1..]),
        Err(Refusal::Said(_))
    ));
    let mut transcript = super::said::Transcript::new(&first);
    let mut other = transcript;
    let by = super::said::Side::Node;
    transcript.say(by, Step::Begin, &node.public().id().0, &node);
    other.say(by, Step::Begin, &node.public().id().0, &node);
    let by = super::said::Side::Checker;
    let lied = other.message(by, Step::Fill, &[0xee; 32], &key);
    assert_eq!(sitting.hear(0, Step::Fill, &lied), Err(Refusal::Secret));
    assert!(sitting.hear(0, Step::Fill, &fill).is_ok());
    assert_eq!(
        sitting.hear(0, Step::Fill, &fill),
        Err(Refusal::Order),
        "twice"
    );
    assert_eq!(sitting.countersign(&first, &node), Err(Refusal::Order));

    let small = Bounds { mem_mib: 1, ..room };
    let large = Sitting::begin(&first, of, &small).err();
    assert_eq!(large, Some(BeginError::Large));
    let busy = Bounds {
        work: 1_000,
        ..room
    };
    assert_eq!(
        Sitting::begin(&first, of, &busy).err(),
        Some(BeginError::Large)
    );
    let other = (&KeyId([3; 32]), asks.as_slice());
    assert_eq!(
        Sitting::begin(&first, other, &room).err(),
        Some(BeginError::Elsewhere)
    );
    let mut sizes = begin(1);
    sizes.sizes.steps = 95;
    sizes.checker = crate::encoding::hex(key.public().as_bytes());
    sizes.class = "test".to_owned();
    assert_eq!(sizes.sign(&key), Err(BeginError::Sizes));
}

#[test]
fn a_node_signs_what_it_saw_and_nothing_else() {
    let mut node = Node::new(Cheat::None);
    let (porc, _) = probe(1, &mut node);
    let key = checker();
    let id = node.key.public().id();
    let statement = |change: &dyn Fn(&mut Porc)| {
        let mut porc = porc.clone();
        change(&mut porc);
        node::restated(&key, id, porc)
    };
    let refused = |change: &dyn Fn(&mut Porc)| node.refusal(&statement(change).to_bytes());
    assert_eq!(refused(&|_| ()), None);
    assert_eq!(
        refused(&|porc| porc.fill_root = KeyId([0xaa; 32])),
        Some(Refusal::Differs)
    );
    assert_eq!(
        refused(&|porc| porc.nonce = KeyId([0xaa; 32])),
        Some(Refusal::Differs)
    );
    assert_eq!(
        refused(&|porc| porc.class = "better".to_owned()),
        Some(Refusal::Differs)
    );
    assert_eq!(
        refused(&|porc| porc.elapsed.fill_us -= 1),
        Some(Refusal::Times)
    );
    let late = |porc: &mut Porc| porc.elapsed.read_us += 5_000_001;
    assert_eq!(refused(&late), Some(Refusal::Times));
    assert_eq!(
        refused(&|porc| porc.finding = Finding::Fail),
        Some(Refusal::Contested)
    );
    let other = SecretKey::from_seed(&[9; 32]);
    let mut forged = statement(&|_| ());
    forged.signatures.clear();
    forged.sign(&other);
    assert_eq!(node.refusal(&forged.to_bytes()), Some(Refusal::Receipt));
}

#[test]
fn an_elapsed_time_is_one_that_took_some() {
    let took: Elapsed = probe(3, &mut Node::new(Cheat::None)).0.elapsed;
    assert_eq!(took, class().reference);
}
