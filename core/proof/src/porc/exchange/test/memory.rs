//! Whoever keeps a part of the memory, and whoever is of another edition.

use super::super::begin::BEGIN;
use super::super::record::{Record, RecordError};
use super::*;
use crate::porc::memory::thrifty::Seen;
use crate::porc::memory::{BLOCK_WORDS, Fill};
use crate::receipt::statement::Statement;

/// What the cheapest prover known does for a read that keeps so many thousandths of a block of this size, thousandths of a
/// step.
fn steps_milli(kept: usize) -> u64 {
    let key = Fill::new(&[1; 32]).key();
    let (_, cost) = Seen::make(key, 0, 2_048).cheapest(kept);
    (cost.steps_a_read * 1_000.0) as u64
}

/// On blocks an eighth as large as they are, by a device that does a hundred steps in the time of a read.
#[test]
fn memory_that_is_kept_in_part_misses_the_deadline() {
    for kept in [500, 750, 900] {
        let (porc, _) = probe(1, &mut Node::new(Cheat::Keeps(steps_milli(kept))));
        assert!(
            porc.reason.contains("`reads` was later"),
            "{kept}: {}",
            porc.reason
        );
        assert_eq!(porc.finding, Finding::Fail);
    }
    // With half of the blocks of the first edition it was 5.8 steps a read, and in time.
    let (porc, _) = probe(1, &mut Node::new(Cheat::Keeps(5_800)));
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
    let of = |size| Seen::make(key, 0, size).cheapest(900).1.steps_a_read;
    let (smaller, small) = (of(1_024), of(2_048));
    assert!(small > 1.6 * smaller, "{small} and {smaller}");
    let steps_a_read = small * (BLOCK_WORDS / 2_048) as f64;
    let reads = f64::from(class.sizes.lanes) * f64::from(class.sizes.reads);
    let core_us = reads * steps_a_read / 1_000.0;
    assert!(core_us > 2.0 * late_us as f64, "{core_us} of {late_us}");
}

/// A node and a checker that are not of one edition refuse each other, and nobody fails for it; a record of another
/// edition decides nothing.
#[test]
fn a_beginning_of_another_edition_is_refused_by_name() {
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
    assert!(Record::new(&now).replay(&node.public()).is_ok());
    for edition in [1, 3] {
        let name = format!("application/vnd.nearlight.porc-begin.v{edition}+json");
        let other = of_type(&name);
        let refused = Begin::open(&other).unwrap_err();
        assert_eq!(refused, BeginError::Edition);
        assert!(
            refused
                .to_string()
                .contains("another edition than porc-begin.v2")
        );
        let heard = Record::new(&other).replay(&node.public()).map(|_| ());
        assert_eq!(heard, Err(RecordError::Begin(BeginError::Edition)));
    }
    let odd = of_type("application/vnd.nearlight.porc-end.v2+json");
    assert_eq!(Begin::open(&odd).unwrap_err(), BeginError::Shape);
}

/// A class that fills less than its card has proves no more of it.
#[test]
fn memory_that_a_class_does_not_fill_is_said_not_to_be_proved() {
    let (key, class) = (checker(), class());
    for (card_mib, says) in [(None, 2), (Some(1), 2), (Some(24_000), 3)] {
        let mut node = Node::new(Cheat::None);
        let both = (&key, node.key.public());
        let exam = Exam::new(begin(1), secrets(1), both, &class).unwrap();
        let mut exam = exam.of_card(card_mib);
        examine(&mut exam, &mut node);
        let unsigned = Countersign::Refused("it is asked of nobody".to_owned());
        let receipt = exam.receipt(("nod_1", 5), unsigned, Vec::new()).unwrap();
        let said = Statement::parse(&receipt).unwrap().head.does_not_prove;
        assert_eq!(said.len(), says, "{said:?}");
        let of_memory = said.last().unwrap().contains("1 MiB of the 24000 MiB");
        assert_eq!(of_memory, says == 3, "{said:?}");
    }
}
