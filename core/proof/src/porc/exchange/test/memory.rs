//! Whoever keeps a part of the memory, and whoever makes its blocks as they once were made.

use super::super::begin::{BEGIN, BEGIN_FIRST};
use super::super::record::Record;
use super::*;
use crate::porc::memory::thrifty::Seen;
use crate::porc::memory::{BLOCK_WORDS, Edition, Fill};

/// What the cheapest prover known does for a read that keeps so many thousandths of a block of this size, thousandths of a
/// step; with so many passes after the chain.
fn steps_milli(kept: usize, passes: usize) -> u64 {
    let key = Fill::new(&[1; 32]).key();
    let (_, cost) = Seen::make(key, 0, 2_048, passes).cheapest(kept);
    (cost.steps_a_read * 1_000.0) as u64
}

/// On blocks an eighth as large as they are, by a device that does a hundred steps in the time of a read.
#[test]
fn memory_that_is_kept_in_part_misses_the_deadline() {
    for kept in [500, 750, 900] {
        let (porc, _) = probe(1, &mut Node::new(Cheat::Keeps(steps_milli(kept, 3))));
        assert!(
            porc.reason.contains("`reads` was later"),
            "{kept}: {}",
            porc.reason
        );
        assert_eq!(porc.finding, Finding::Fail);
    }
    // It would have been in time with half of the blocks of the first edition.
    let (porc, _) = probe(1, &mut Node::new(Cheat::Keeps(steps_milli(500, 1))));
    assert_eq!(porc.finding, Finding::Pass);
}

/// What a core does whose steps take a nanosecond, for the mark of the class that ships for CPUs: with two of them, too.
/// A read takes a share of all the steps of a block, which is the same for smaller ones.
#[test]
fn a_cpu_that_keeps_nine_tenths_of_the_memory_is_late_for_its_class() {
    let classes = include_str!("../../../../../../configs/gpu-classes.json");
    let classes: Vec<Class> = serde_json::from_str(classes).unwrap();
    let class = classes.iter().find(|class| class.class == "software");
    let class = class.unwrap();
    let late_us = class.reference.read_us * 1_000 / u64::from(class.pass_permille);
    let key = Fill::new(&[1; 32]).key();
    let of = |size| Seen::make(key, 0, size, 3).cheapest(900).1.steps_a_read;
    let (smaller, small) = (of(1_024), of(2_048));
    assert!(small > 1.6 * smaller, "{small} and {smaller}");
    let steps_a_read = small * (BLOCK_WORDS / 2_048) as f64;
    let reads = f64::from(class.sizes.lanes) * f64::from(class.sizes.reads);
    let core_us = reads * steps_a_read / 1_000.0;
    assert!(core_us > 2.0 * late_us as f64, "{core_us} of {late_us}");
}

/// A receipt of then computes anew, and says what it is of; a probe of now takes no such blocks.
#[test]
fn blocks_of_the_first_edition_are_computed_anew_and_pass_no_more() {
    let (porc, node, evidence) = kept(Cheat::OldBlocks);
    assert!(porc.reason.contains("block 0"), "{}", porc.reason);
    let rerun = Rerun::of(&porc, &node).unwrap();
    let again = rerun.openings(&evidence, 5).unwrap();
    assert_eq!(again.edition, Edition::First);
    for part in [&again.rows, &again.blocks, &again.lanes, &again.tiles] {
        assert_eq!(part.wrong, None);
    }
    assert_eq!(again.rows.compared, 5);
    assert_eq!(rerun.edition(), Edition::First);
    for leg in [Leg::Matrix, Leg::Fill, Leg::Reads, Leg::Frames] {
        let root = rerun.whole(leg);
        assert_eq!(root.said, root.computed, "{leg:?}");
    }
    let (porc, node, evidence) = kept(Cheat::None);
    let rerun = Rerun::of(&porc, &node).unwrap();
    assert_eq!(rerun.edition(), Edition::Second);
    assert_eq!(
        rerun.openings(&evidence, 5).unwrap().edition,
        Edition::Second
    );
}

/// A node and a checker that are not of one edition refuse each other: nobody fails for it.
#[test]
fn a_beginning_of_the_first_edition_is_read_in_records_and_not_answered() {
    let (checker, node) = (checker(), SecretKey::from_seed(&[2; 32]));
    let mut begin = begin(1);
    begin.node = node.public().id();
    begin.checker = crate::encoding::hex(checker.public().as_bytes());
    begin.class = "test".to_owned();
    let now = begin.sign(&checker).unwrap();
    let payload = Envelope::parse(&now).unwrap().payload;
    let of_type = |name: &str| {
        let mut envelope = Envelope::new(name, payload.clone());
        envelope.sign(&checker);
        envelope.to_bytes()
    };
    assert_eq!(of_type(BEGIN), now);
    let then = of_type(BEGIN_FIRST);
    assert_eq!(Begin::open(&then).unwrap_err(), BeginError::Edition);
    let edition = |begin: &[u8]| Record::new(begin).replay(&node.public()).unwrap().edition;
    assert_eq!(
        (edition(&then), edition(&now)),
        (Edition::First, Edition::Second)
    );
    let other = of_type("application/vnd.nearlight.porc-begin.v3+json");
    assert_eq!(Begin::open(&other).unwrap_err(), BeginError::Shape);
}
