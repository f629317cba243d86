//! Who is right about a probe: a receipt is held against the record of what was said, and what was opened is
//! executed again, on any CPU.
//!
//! | receipt | record and opening | ruling |
//! |---|---|---|
//! | fail | the node signed an opening in which something is wrong | upheld |
//! | fail | the checker went on to `open`, and everything that was drawn is right | refuted |
//! | fail, for an opening that was late or that the node did not sign | the same | undecided: nobody executes again what was never signed |
//! | fail | the checker did not go on to `open` | undecided |
//! | pass | the node signed an opening in which something is wrong | refuted |
//! | pass | everything that was drawn is right | upheld |
//!
//! What is wrong is narrowed to one step ([`super::referee`]): an element of C, or one read.
//!
//! **What it does not know:** who sent the evidence, and until when it may come.

use super::check::Flaw;
use super::commit::Commitment;
use super::compute::{Factor, product_row};
use super::exchange::opening::{Opened, Plan, Wrong};
use super::exchange::record::{Heard, Record};
use super::memory::{Fill, Reads, SEGMENT_READS};
use super::mixer::digest;
use super::referee::{Bisection, Next};
use super::seed::seed;
use crate::key::{KeyId, PublicKey};
use crate::log::tree::Hash;
use crate::receipt::predicate::{Finding, Porc};

/// How an [`super::exchange::exam::Exam`] says that an opening was late. Whoever says so is held to it.
pub const LATE_OPENING: &str = "the answer to `open` was later than the class allows";
/// How it says that an answer to `open` has no room for a signature.
pub const SHORT_OPENING: &str = "the opening is shorter than its signature";
/// How it begins to say that an answer to `open` is not signed.
pub const UNSIGNED_OPENING: &str = "the opening: ";

/// Whether a reason is one of what came instead of an opening: what a node sent without its signature enters no record,
/// so that a right one of a later day proves nothing against who says so.
fn was_not_opened(reason: &str) -> bool {
    [LATE_OPENING, SHORT_OPENING].contains(&reason) || reason.starts_with(UNSIGNED_OPENING)
}

/// What execution says of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It bears the receipt out.
    Upheld {
        /// What was executed.
        step: String,
    },
    /// It refutes the receipt: whoever issued it said what is not so.
    Refuted {
        /// What the node did.
        finding: Finding,
        /// What was executed.
        step: String,
    },
    /// What was given does not decide it.
    Undecided {
        /// Why.
        why: String,
    },
}

/// A receipt, and what is shown for or against it.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What the receipt says.
    pub porc: &'a Porc,
    /// Who issued it.
    pub issuer: &'a PublicKey,
    /// The node's key.
    pub node: &'a PublicKey,
    /// What was said.
    pub record: &'a Record,
    /// What was opened.
    pub opening: &'a [u8],
}

impl Case<'_> {
    /// What execution says.
    #[must_use]
    pub fn rule(&self) -> Ruling {
        let heard = match self.record.replay(self.node) {
            Ok(heard) => heard,
            Err(why) => return undecided(why.to_string()),
        };
        if heard.checker != *self.issuer || !is_of(&heard, self.porc) {
            return undecided("the record is of another probe than the receipt");
        }
        let [Some(nonce), Some(read), Some(open)] = heard.secrets else {
            return undecided("the checker did not ask for the opening in this record");
        };
        let probe = Executed::new(&heard, (nonce, read, open));
        let wrong = probe.check(self.opening, &heard.roots).err();
        let is_nodes = heard.opening == Some(*blake3::hash(self.opening).as_bytes());
        match (wrong, self.porc.finding) {
            (_, Finding::Inconclusive) => undecided("the receipt says nothing certain"),
            (Some(_), _) if !is_nodes => {
                undecided("the opening is wrong, and not the one that the node signed")
            }
            (Some(wrong), Finding::Fail) => Ruling::Upheld {
                step: probe.narrow(wrong, self.opening),
            },
            (Some(wrong), Finding::Pass) => Ruling::Refuted {
                finding: Finding::Fail,
                step: probe.narrow(wrong, self.opening),
            },
            (None, Finding::Pass) => Ruling::Upheld {
                step: probe.whole(),
            },
            (None, Finding::Fail) => self.fail_with_a_right_opening(&heard, &probe),
        }
    }

    /// The checker went on to `open`, and what was drawn is right.
    fn fail_with_a_right_opening(&self, heard: &Heard, probe: &Executed) -> Ruling {
        let same_roots = roots_of(self.porc) == heard.roots;
        if same_roots && was_not_opened(&self.porc.reason) {
            return undecided("whether an opening was late or unsigned nobody can execute again");
        }
        let step = match same_roots {
            true => probe.whole(),
            false => format!(
                "the checker signed that it had all four roots, which the receipt denies; {}",
                probe.whole()
            ),
        };
        Ruling::Refuted {
            finding: Finding::Pass,
            step,
        }
    }
}

fn undecided(why: impl Into<String>) -> Ruling {
    Ruling::Undecided { why: why.into() }
}

fn is_of(heard: &Heard, porc: &Porc) -> bool {
    let begin = &heard.begin;
    let names = (
        &begin.probe,
        &begin.gpu,
        &begin.class,
        begin.round,
        begin.sizes,
    ) == (&porc.probe, &porc.gpu, &porc.class, porc.round, porc.sizes);
    names && [begin.beacon, begin.table, begin.checkers] == [porc.beacon, porc.table, porc.checkers]
}

const fn roots_of(porc: &Porc) -> Commitment {
    let (KeyId(matrix), KeyId(fill)) = (porc.matrix_root, porc.fill_root);
    let (KeyId(reads), KeyId(frames)) = (porc.read_root, porc.frame_root);
    Commitment {
        matrix,
        fill,
        reads,
        frames,
    }
}

/// A probe that is executed again.
struct Executed {
    seed: Hash,
    open_key: Hash,
    plan: Plan,
    reads: Reads,
    fill: Fill,
    rows: u32,
}

impl Executed {
    fn new(heard: &Heard, (nonce, read, open): (Hash, Hash, Hash)) -> Self {
        let sizes = &heard.begin.sizes;
        let seed = seed(&heard.begin.of(), &nonce);
        let open_key = heard.roots.open_key(&open);
        Self {
            seed,
            open_key,
            plan: Plan::draw(sizes, &open_key),
            reads: Reads::new(&seed, &read, sizes.blocks),
            fill: Fill::new(&seed),
            rows: sizes.rows,
        }
    }

    fn check(&self, opening: &[u8], roots: &Commitment) -> Result<(), Wrong> {
        let both = (&self.seed, &self.open_key);
        let follows = (&self.reads, &self.fill);
        self.plan.check(opening, both, follows, roots)
    }

    fn whole(&self) -> String {
        format!(
            "{} rows, {} blocks, {} lanes and {} tiles were executed again: all are what was committed to and what the seed asks for",
            self.plan.rows.len(),
            self.plan.blocks.len(),
            self.plan.lanes.len(),
            self.plan.tiles.len()
        )
    }

    /// The one step in which it is wrong, as far as what was opened shows it.
    fn narrow(&self, wrong: Wrong, opening: &[u8]) -> String {
        let opened = self.plan.opened(opening);
        let step = match wrong {
            Wrong::Row(row, Flaw::Wrong) => opened.and_then(|of| self.element(row, &of)),
            Wrong::Lane(lane, Flaw::Wrong) => opened.and_then(|of| self.read(lane, &of)),
            Wrong::Length
            | Wrong::Row(..)
            | Wrong::Block(..)
            | Wrong::Lane(..)
            | Wrong::Tile(..) => None,
        };
        step.unwrap_or_else(|| wrong.to_string())
    }

    /// The first element of a row that is not what the seed asks for.
    fn element(&self, row: u32, opened: &Opened) -> Option<String> {
        let (a, b) = (
            Factor::a(&self.seed, self.rows),
            Factor::b(&self.seed, self.rows),
        );
        let executed = product_row(&a, &b, row as usize);
        let said = opened.row(row)?;
        let at = bisect(said, &executed)?;
        let (said, is) = (said.get(at)?, executed.get(at)?);
        Some(format!(
            "element {at} of row {row} of C was opened as {said}, and executed it is {is}"
        ))
    }

    /// The first read of a lane that did not find what the fill holds.
    fn read(&self, lane: u32, opened: &Opened) -> Option<String> {
        let (kept, segment, said) = opened.lane(lane)?;
        let before = segment.checked_sub(1).and_then(|at| kept.get(at as usize));
        let start = before.copied().unwrap_or_else(|| self.reads.start(lane));
        let first = segment.checked_mul(SEGMENT_READS)?;
        let mut value = start;
        let turns = first..first.checked_add(u32::try_from(said.len()).ok()?)?;
        let executed: Vec<u32> = turns
            .map(|turn| {
                let place = self.reads.place(value);
                let word = self.fill.block(place.block)[place.word];
                value = self.reads.next(value, turn, word);
                word
            })
            .collect();
        let at = bisect(said, &executed)?;
        let (said, is) = (said.get(at)?, executed.get(at)?);
        Some(format!(
            "read {at} of segment {segment} of lane {lane} found {said}, and executed it finds {is}"
        ))
    }
}

/// The first place in which two runs differ, found by halving: what stands so far is agreed or not.
fn bisect(first: &[u32], second: &[u32]) -> Option<usize> {
    if first.len() != second.len() {
        return None;
    }
    let so_far = |run: &[u32], steps: u64| digest(&run[..usize::try_from(steps).unwrap_or(0)]);
    let steps = u64::try_from(first.len()).ok()?;
    let (start, ends) = (digest(&[]), (so_far(first, steps), so_far(second, steps)));
    let mut open = Bisection::new(steps, start, ends.0, ends.1)?;
    while let Next::Ask(middle) = open.next() {
        open.answer(so_far(first, middle), so_far(second, middle));
    }
    match open.next() {
        Next::Step { step, .. } => usize::try_from(step).ok(),
        Next::Ask(_) => None,
    }
}
