//! One machine behind two nodes, or two GPUs of a node, that are due in one round. Both are told their nonces in one moment,
//! when both have begun, by one checker or by two whose clocks are a little apart: the machine does the work of both on one clock.

use super::node::{Cheat, Node};
use super::{begin, checker, class, examine, secrets};
use crate::key::SecretKey;
use crate::porc::exchange::exam::Exam;
use crate::porc::rerun::Rerun;
use crate::receipt::predicate::{Finding, Porc};

/// When both have begun.
const BEGUN_US: u64 = 1_000;

/// In which order the machine works.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    /// All of one node, then all of the other.
    First(usize),
    /// Each step of both, and both are answered when both are done.
    InStep,
}

fn nodes(cheat: &Cheat) -> [Node; 2] {
    [2, 3].map(|seed| {
        let mut node = Node::new(cheat.clone());
        node.key = SecretKey::from_seed(&[seed; 32]);
        node
    })
}

/// What two nodes of one machine come to, which takes so many thousandths of what the class's reference takes.
fn of_one_machine(permille: u64, order: Order) -> [Porc; 2] {
    of_checkers_apart(permille, order, 0)
}

/// The same, each probed by a checker of its own, of which the second's clock is behind by so much.
fn of_checkers_apart(permille: u64, order: Order, apart_us: u64) -> [Porc; 2] {
    let (keys, class) = (
        [1, 9].map(|seed| SecretKey::from_seed(&[seed; 32])),
        class(),
    );
    let mut nodes = nodes(&Cheat::Slower(permille));
    let exam = |n: usize| {
        let (number, of) = (n as u8 + 1, nodes[n].key.public());
        Exam::new(begin(number), secrets(number), (&keys[n], of), &class).unwrap()
    };
    let mut exams = [exam(0), exam(1)];
    let mut at_us = BEGUN_US;
    for (exam, node) in exams.iter_mut().zip(&mut nodes) {
        let ask = exam.ask(at_us).unwrap();
        let answer = node.answer(&mut at_us, ask.step, &ask.message).unwrap();
        exam.answer(BEGUN_US, &answer);
    }
    // Asked in the same moment of their checkers' clocks.
    let moments_us = [BEGUN_US, BEGUN_US + apart_us];
    let mut asked = [0, 1].map(|n| exams[n].ask(moments_us[n]));
    let mut done_us = BEGUN_US;
    match order {
        Order::First(first) => {
            for n in [first, 1 - first] {
                done_us = done_us.max(moments_us[n]);
                while let Some(ask) = asked[n].take() {
                    let answer = nodes[n].answer(&mut done_us, ask.step, &ask.message);
                    exams[n].answer(done_us, &answer.unwrap());
                    asked[n] = exams[n].ask(done_us);
                }
            }
        }
        Order::InStep => {
            done_us = BEGUN_US + apart_us;
            while asked.iter().any(Option::is_some) {
                let mut answers = [None, None];
                for n in [0, 1] {
                    answers[n] = asked[n].take().map(|ask| {
                        let answer = nodes[n].answer(&mut done_us, ask.step, &ask.message);
                        answer.unwrap()
                    });
                }
                for (n, answer) in answers.into_iter().enumerate() {
                    let Some(answer) = answer else { continue };
                    exams[n].answer(done_us, &answer);
                    asked[n] = exams[n].ask(done_us);
                }
            }
        }
    }
    exams.map(|exam| exam.result().unwrap())
}

/// The class lets a leg take 1.25 times what its reference takes, and two nodes are twice the work.
#[test]
fn one_prover_behind_two_nodes_is_late_for_one_of_them() {
    for (order, late) in [
        (Order::First(0), vec![1]),
        (Order::First(1), vec![0]),
        (Order::InStep, vec![0, 1]),
    ] {
        for permille in [1_000, 626] {
            let found = of_one_machine(permille, order);
            for (n, porc) in found.iter().enumerate() {
                let why = &porc.reason;
                if late.contains(&n) {
                    assert_eq!(porc.finding, Finding::Fail, "{order:?} {permille} {n}");
                    assert!(
                        why.contains("later than the class allows"),
                        "{order:?}: {why}"
                    );
                } else {
                    assert_eq!(
                        porc.finding,
                        Finding::Pass,
                        "{order:?} {permille} {n}: {why}"
                    );
                }
            }
        }
    }
}

/// Two checkers are never quite at once. Of what a leg may take, and the tenth of it by which their clocks differ, a machine of
/// less than 2 / (1.25 + 0.1) times the reference's speed does not do two: 675 thousandths of its time.
#[test]
fn two_checkers_in_one_moment_catch_one_machine_though_their_clocks_differ() {
    let apart_us = class().reference.render_us / 10;
    for order in [Order::First(0), Order::First(1), Order::InStep] {
        for permille in [1_000, 676] {
            let found = of_checkers_apart(permille, order, apart_us);
            let late = found.iter().filter(|porc| {
                let is_late = porc.reason.contains("later than the class allows");
                porc.finding == Finding::Fail && is_late
            });
            assert!(late.count() > 0, "{order:?} {permille}: {found:?}");
        }
    }
}

/// One after the other, as nodes of one operator were probed before: both in time.
#[test]
fn one_prover_stands_for_two_nodes_that_are_probed_in_turn() {
    let far_apart_us = 10 * class().reference.render_us;
    for porc in of_checkers_apart(1_000, Order::First(0), far_apart_us) {
        assert_eq!(porc.finding, Finding::Pass, "{}", porc.reason);
    }
}

/// Two honest nodes of one operator, each a machine of its own, are none the worse for meeting.
#[test]
fn two_machines_pass_in_one_moment() {
    let (keys, class) = (
        [1, 9].map(|seed| SecretKey::from_seed(&[seed; 32])),
        class(),
    );
    for (n, node) in (1..).zip(&mut nodes(&Cheat::None)) {
        let both = (&keys[usize::from(n) - 1], node.key.public());
        let mut exam = Exam::new(begin(n), secrets(n), both, &class).unwrap();
        examine(&mut exam, node);
        assert_eq!(exam.result().unwrap().finding, Finding::Pass);
    }
}

/// What remains: a machine that is worth two of its class, by the class's own table.
#[test]
fn one_prover_stands_for_two_nodes_only_where_it_is_worth_two() {
    for porc in of_one_machine(625, Order::InStep) {
        assert_eq!((porc.finding, porc.score_permille), (Finding::Pass, 800));
    }
    for first in [0, 1] {
        let found = of_one_machine(625, Order::First(first));
        assert_eq!(found[first].finding, Finding::Pass);
        assert_eq!(found[1 - first].finding, Finding::Fail);
    }
}

/// Answers in time that were worked out once: another node's key is another seed, and all that is opened is wrong.
#[test]
fn what_was_worked_out_for_one_node_is_wrong_for_the_other() {
    let (key, class) = (checker(), class());
    let [mut one, mut other] = nodes(&Cheat::None);
    let probe = |number: u8, node: &mut Node| {
        let both = (&key, node.key.public());
        let mut exam = Exam::new(begin(number), secrets(number), both, &class).unwrap();
        examine(&mut exam, node);
        exam.result().unwrap()
    };
    let passed = probe(1, &mut one);
    assert_eq!(passed.finding, Finding::Pass);
    // The same beacon, probe and secrets: the key alone differs.
    let seed = *Rerun::of(&passed, &one.key.public().id()).unwrap().seed();
    other.cheats(Cheat::Ahead(seed));
    let caught = probe(1, &mut other);
    assert_eq!(caught.finding, Finding::Fail);
    assert!(caught.reason.starts_with("row 0 of C"), "{}", caught.reason);
    assert!(caught.reason.contains("not what the seed asks for"));
}
