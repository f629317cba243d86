//! Provers that keep a part of a block, and make a word that a read asks for anew if they did not keep it.
//!
//! Whoever made a block knows every word of every pass, and which words each step took in. So a thrifty prover may keep
//! any words of any pass, and chooses them by what they save. A block is a graph: making a word anew goes from it to what
//! its step took in, down to words that were kept. How many steps that is, and how many of them in a row, is counted here
//! by doing it.
//!
//! Tests and `cargo run --release -p nearlight-proof --example thrifty` use it; a proof does not.

use super::{BLOCK_WORDS, mix};

/// No word: a chain's first step takes in none.
const NONE: u32 = u32::MAX;
/// After the chain.
const PASSES: usize = 3;

/// A block with all that whoever made it has seen: word `j` of pass `p` stands at `p * size + j`.
pub(crate) struct Seen {
    size: usize,
    key: [u32; 8],
    own: u32,
    words: Vec<u32>,
    /// What each step took in.
    took: Vec<[u32; 4]>,
    /// In which order they were made.
    order: Vec<u32>,
}

/// What making words anew comes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Of a read, on average: none if the word was kept.
    pub(crate) steps_a_read: f64,
    /// Of these so many one after the other.
    pub(crate) deep_a_read: f64,
    /// Of thousand reads so many find nothing.
    pub(crate) missing_permille: usize,
}

impl Seen {
    /// Block `index` of a fill with this key, of so many words; the real one has [`BLOCK_WORDS`].
    pub(crate) fn make(key: [u32; 8], index: u32, size: usize) -> Self {
        assert!(size.is_power_of_two() && size <= BLOCK_WORDS);
        let own = mix(mix(index ^ key[0]).wrapping_add(key[1]));
        let all = size * (PASSES + 1);
        let mut seen = Self {
            size,
            key,
            own,
            words: vec![0; all],
            took: vec![[NONE; 4]; all],
            order: Vec::with_capacity(all),
        };
        for pass in 0..=PASSES {
            for turn in 0..size {
                let j = if pass % 2 == 1 { size - 1 - turn } else { turn };
                let at = pass * size + j;
                let before = seen.before(at);
                let word = before.map_or(own, |at| seen.words[at]);
                let [old, a, b] = seen.elsewhere(at, word);
                let of = |at: Option<usize>| at.map_or(NONE, |at| u32::try_from(at).unwrap());
                seen.took[at] = [of(before), of(old), of(a), of(b)];
                let read = |at: Option<usize>| at.map_or(0, |at| seen.words[at]);
                seen.words[at] = seen.step(at, word, [read(old), read(a), read(b)]);
                seen.order.push(of(Some(at)));
            }
        }
        seen
    }

    /// The block itself.
    pub(crate) fn block(&self) -> &[u32] {
        &self.words[PASSES * self.size..]
    }

    /// What was made right before.
    fn before(&self, at: usize) -> Option<usize> {
        let (pass, j) = (at / self.size, at % self.size);
        match (pass % 2 == 1, j) {
            (true, j) if j == self.size - 1 => Some(at - self.size),
            (true, _) => Some(at + 1),
            (false, 0) => at.checked_sub(self.size),
            (false, _) => Some(at - 1),
        }
    }

    /// What a step takes in besides: what stood there, and what the word before it chooses.
    fn elsewhere(&self, at: usize, before: u32) -> [Option<usize>; 3] {
        let (pass, j) = (at / self.size, at % self.size);
        if pass == 0 {
            return [None; 3];
        }
        let as_it_stands = |i: usize| {
            let is_new = if pass % 2 == 1 { i > j } else { i < j };
            (if is_new { pass } else { pass - 1 }) * self.size + i
        };
        let a = as_it_stands(before as usize % self.size);
        let upper = before >> (32 - self.size.ilog2());
        [
            Some(at - self.size),
            Some(a),
            Some(as_it_stands(upper as usize)),
        ]
    }

    fn step(&self, at: usize, word: u32, [old, a, b]: [u32; 3]) -> u32 {
        match at / self.size {
            0 => mix(word ^ self.key[at & 7]).wrapping_add(self.own),
            _ => mix(word ^ old ^ a.rotate_left(7) ^ b.rotate_left(13))
                .wrapping_add(old)
                .wrapping_add(a)
                .wrapping_add(b),
        }
    }

    /// Every second word, and every sixteenth of the chain.
    pub(crate) fn every_other(&self) -> Vec<bool> {
        let is_kept = |at: usize| {
            let (pass, j) = (at / self.size, at % self.size);
            (pass == PASSES && j % 2 == 1) || (pass == 0 && j.is_multiple_of(16))
        };
        (0..self.words.len()).map(is_kept).collect()
    }

    /// So many thousandths of a block's words, of any pass: those that save the most, as far as is known how to find them.
    /// Each is worth the steps that it takes times how often it is asked for; the least are put back and others taken,
    /// fewer each time. Begun with none, and with a part of the block. On blocks of more than some thousand words it does
    /// not get as far.
    pub(crate) fn cheapest(&self, permille: usize) -> (Vec<bool>, Cost) {
        let most = self.size * permille / 1_000;
        let begun = [0, most / 2, most].map(|count| self.begun_and_bettered(count, most));
        let found = begun.into_iter().flatten();
        let cheaper = |x: &(Vec<bool>, Cost), y: &(Vec<bool>, Cost)| {
            x.1.steps_a_read.total_cmp(&y.1.steps_a_read)
        };
        found.min_by(cheaper).expect("three were begun")
    }

    fn begun_and_bettered(&self, count: usize, most: usize) -> Vec<(Vec<bool>, Cost)> {
        let mut kept = vec![false; self.words.len()];
        let end = kept.len();
        kept[end - count..].fill(true);
        let mut has = count;
        while has < most {
            let some = (most / 60).clamp(1, most - has);
            self.turn(&mut kept, false, some);
            has += some;
        }
        let mut found = vec![(kept.clone(), self.cost(&kept, 200))];
        let mut some = most / 20;
        for round in 1..=60 {
            self.turn(&mut kept, true, some);
            self.turn(&mut kept, false, some);
            if round % 10 == 0 {
                some = (some * 2 / 3).max(1);
            }
            if round % 20 == 0 {
                found.push((kept.clone(), self.cost(&kept, 200)));
            }
        }
        found
    }

    /// Puts back those `some` that are worth least, or takes those that are worth most.
    fn turn(&self, kept: &mut [bool], back: bool, some: usize) {
        let worth = self.worth(kept);
        let of = |at: &usize| if back { worth[*at] } else { -worth[*at] };
        let mut all: Vec<usize> = (0..kept.len()).filter(|at| kept[*at] == back).collect();
        if some > 0 && some < all.len() {
            all.select_nth_unstable_by(some - 1, |x, y| of(x).total_cmp(&of(y)));
        }
        for at in all.into_iter().take(some) {
            kept[at] = !back;
        }
    }

    fn worth(&self, kept: &[bool]) -> Vec<f64> {
        let all = kept.len();
        let taken = |at: usize| self.took[at].into_iter().filter(|of| *of != NONE);
        let mut steps = vec![0.0_f64; all];
        for at in self.order.iter().map(|at| *at as usize) {
            let missing = taken(at).filter(|of| !kept[*of as usize]);
            let sum: f64 = missing.map(|of| steps[of as usize]).sum();
            // No word takes more than all of the block.
            steps[at] = (1.0 + sum).min(all as f64);
        }
        let mut asked = vec![0.0_f64; all];
        asked[all - self.size..].fill(1.0);
        for at in self.order.iter().rev().map(|at| *at as usize) {
            if !kept[at] {
                for of in taken(at) {
                    asked[of as usize] += asked[at];
                }
            }
        }
        steps.iter().zip(asked).map(|(x, y)| x * y).collect()
    }

    /// What reads cost whoever kept these words: so many reads are tried, and each word that is made is the right one.
    pub(crate) fn cost(&self, kept: &[bool], reads: usize) -> Cost {
        let last = self.words.len() - self.size;
        let missing = kept[last..].iter().filter(|kept| !**kept).count();
        let (mut steps, mut deep) = (0, 0);
        let mut prover = Prover::new(self, kept);
        for read in 0..reads {
            let place = mix(u32::try_from(read).unwrap()) as usize % self.size;
            let (word, rebuilt, in_a_row) = prover.read(place);
            assert_eq!(word, self.words[last + place]);
            steps += rebuilt;
            deep += in_a_row;
        }
        Cost {
            steps_a_read: f64::from(steps) / reads as f64,
            deep_a_read: f64::from(deep) / reads as f64,
            missing_permille: missing * 1_000 / self.size,
        }
    }
}

/// One that has the words that it kept and no others, and knows which it has.
pub(crate) struct Prover<'a> {
    seen: &'a Seen,
    /// What it has of each word: in which turn, the word, and how deep it was.
    has: Vec<(u32, u32, u32)>,
    turn: u32,
}

/// In every turn.
const ALWAYS: u32 = u32::MAX;

impl<'a> Prover<'a> {
    pub(crate) fn new(seen: &'a Seen, kept: &[bool]) -> Self {
        let word = |(kept, word): (&bool, &u32)| match kept {
            true => (ALWAYS, *word, 0),
            false => (0, 0, 0),
        };
        Self {
            seen,
            has: kept.iter().zip(&seen.words).map(word).collect(),
            turn: 0,
        }
    }

    fn has(&self, at: usize) -> bool {
        [self.turn, ALWAYS].contains(&self.has[at].0)
    }

    /// A word of the block, the steps that it took, and how many of them in a row. Places are known once the word
    /// before them is, as for everybody.
    pub(crate) fn read(&mut self, place: usize) -> (u32, u32, u32) {
        self.turn += 1;
        let asked = PASSES * self.seen.size + place;
        let (mut open, mut steps) = (vec![asked], 0);
        while let Some(at) = open.last().copied() {
            if self.has(at) {
                open.pop();
                continue;
            }
            let before = self.seen.before(at);
            if let Some(before) = before.filter(|at| !self.has(*at)) {
                open.push(before);
                continue;
            }
            let (_, word, mut deep) = before.map_or((0, self.seen.own, 0), |at| self.has[at]);
            let taken = self.seen.elsewhere(at, word);
            let missing = taken.into_iter().flatten().filter(|at| !self.has(*at));
            let already = open.len();
            open.extend(missing);
            if open.len() > already {
                continue;
            }
            let words = taken.map(|at| {
                let (_, word, of) = at.map_or((0, 0, 0), |at| self.has[at]);
                deep = deep.max(of);
                word
            });
            self.has[at] = (self.turn, self.seen.step(at, word, words), deep + 1);
            steps += 1;
            open.pop();
        }
        let (_, word, deep) = self.has[asked];
        (word, steps, deep)
    }
}
