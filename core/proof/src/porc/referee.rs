//! A dispute narrowed to one step, which anyone can execute.
//!
//! Two parties claim different results of one computation. [`Bisection`] finds the first step after
//! which they differ: they agree before it, so executing that one step says who lied.
//!
//! ```text
//!  Asking { agreed, differing }, differing - agreed > 1:  ask both for their value at `middle`
//!      equal -> agreed = middle        other -> differing = middle
//!  differing - agreed == 1: Step, execute `agreed -> differing` from the value they agree on
//! ```
//!
//! The trees of a commitment are narrowed in the same way: the values are then the leaves, and the
//! step is one row, block or tile ([`first_difference`]).

use crate::log::tree::Hash;

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask both parties for their value after so many steps.
    Ask(u64),
    /// Execute the step with this number, from the value that both agree on.
    Step {
        /// Which step, from 0: it leads from value `step` to value `step + 1`.
        step: u64,
        /// What both say stood before it.
        before: Hash,
        /// What the first party says came of it.
        first: Hash,
        /// What the second party says came of it.
        second: Hash,
    },
}

/// Who lied, after the step was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liar {
    /// The first party.
    First,
    /// The second party.
    Second,
    /// Both.
    Both,
}

/// A dispute over a computation of so many steps. At most 64 questions.
#[derive(Clone, Debug)]
pub struct Bisection {
    agreed: (u64, Hash),
    differing: (u64, Hash, Hash),
}

impl Bisection {
    /// Two parties that agree on the value before the first step, and differ after the last. `None`
    /// if they do not differ, or there is no step.
    #[must_use]
    pub fn new(steps: u64, start: Hash, first: Hash, second: Hash) -> Option<Self> {
        let open = steps > 0 && first != second;
        open.then_some(Self {
            agreed: (0, start),
            differing: (steps, first, second),
        })
    }

    /// What is to be done next.
    #[must_use]
    pub const fn next(&self) -> Next {
        let (agreed, before) = self.agreed;
        let (differing, first, second) = self.differing;
        if differing - agreed > 1 {
            Next::Ask(agreed + (differing - agreed) / 2)
        } else {
            Next::Step {
                step: agreed,
                before,
                first,
                second,
            }
        }
    }

    /// Both parties' values for the question of [`Bisection::next`]. Whoever does not answer in time
    /// has lost; that is the caller's to decide. Does nothing when no question is open.
    pub fn answer(&mut self, first: Hash, second: Hash) {
        if let Next::Ask(middle) = self.next() {
            if first == second {
                self.agreed = (middle, first);
            } else {
                self.differing = (middle, first, second);
            }
        }
    }

    /// Who lied, given what executing the step came to; `None` while questions are open.
    #[must_use]
    pub fn judge(&self, executed: &Hash) -> Option<Liar> {
        let Next::Step { first, second, .. } = self.next() else {
            return None;
        };
        // They differ, so both cannot be right.
        Some(match (first == *executed, second == *executed) {
            (true, _) => Liar::Second,
            (false, true) => Liar::First,
            (false, false) => Liar::Both,
        })
    }
}

/// The first leaf in which two lists differ; `None` if they are the same or of different lengths.
#[must_use]
pub fn first_difference(first: &[Hash], second: &[Hash]) -> Option<usize> {
    let same_length = first.len() == second.len();
    same_length
        .then(|| first.iter().zip(second).position(|(a, b)| a != b))
        .flatten()
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::porc::memory::{Fill, Reads};

    fn value(word: u32) -> Hash {
        crate::porc::mixer::digest(&[word])
    }

    /// A lane of reads, of which one party made up everything from some turn on.
    #[test]
    fn a_dispute_ends_at_the_step_that_was_made_up() {
        let fill = Fill::new(&[1; 32]);
        let blocks: Vec<_> = (0..3).map(|i| fill.block(i)).collect();
        let reads = Reads::new(&[1; 32], &[2; 32], 3);
        let step = |at: u32, turn| {
            let place = reads.place(at);
            reads.next(at, turn, blocks[place.block as usize][place.word])
        };
        let mut honest = vec![reads.start(0)];
        (0..5_000).for_each(|turn| honest.push(step(honest[turn as usize], turn)));
        for wrong_from in [1, 2, 777, 4_999, 5_000] {
            let mut made_up = honest.clone();
            made_up[wrong_from..].iter_mut().for_each(|word| *word ^= 1);
            let (right, wrong) = (
                |n: u64| value(honest[n as usize]),
                |n: u64| value(made_up[n as usize]),
            );
            let mut dispute = Bisection::new(5_000, right(0), right(5_000), wrong(5_000)).unwrap();
            let mut asked = 0;
            while let Next::Ask(middle) = dispute.next() {
                assert_eq!(dispute.judge(&right(5_000)), None);
                dispute.answer(right(middle), wrong(middle));
                asked += 1;
            }
            assert!(asked <= 13, "{asked} questions");
            let Next::Step {
                step: at, before, ..
            } = dispute.next()
            else {
                panic!("a step")
            };
            assert_eq!(at as usize + 1, wrong_from);
            assert_eq!(before, right(at));
            let executed = value(step(honest[at as usize], at as u32));
            assert_eq!(dispute.judge(&executed), Some(Liar::Second));
            assert_eq!(dispute.judge(&[0; 32]), Some(Liar::Both));
        }
    }

    #[test]
    fn no_difference_is_no_dispute() {
        assert!(Bisection::new(9, [0; 32], [1; 32], [1; 32]).is_none());
        assert!(Bisection::new(0, [0; 32], [1; 32], [2; 32]).is_none());
        assert_eq!(
            first_difference(&[[1; 32], [2; 32]], &[[1; 32], [3; 32]]),
            Some(1)
        );
        assert_eq!(first_difference(&[[1; 32]], &[[1; 32]]), None);
        assert_eq!(first_difference(&[[1; 32]], &[]), None);
    }
}
