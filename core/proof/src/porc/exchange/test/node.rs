//! A node that does everything word for word, on a clock of its own, with a chance to cheat in each leg.

use super::super::opening::{Held, Trees};
use super::super::sitting::{Refusal, Sitting, Todo};
use super::super::trees::Tree;
use super::super::{Step, begin::Bounds};
use crate::key::{KeyId, SecretKey};
use crate::log::tree::Hash;
use crate::porc::compute::{Factor, P, product_row};
use crate::porc::memory::{BLOCK_STEPS, Fill, Place, Reads};
use crate::porc::mixer::{digest, mix};
use crate::porc::render::{Scene, frame_key};
use crate::receipt::envelope::Envelope;
use crate::receipt::predicate::{Elapsed, Porc, Predicate, Sizes};
use crate::receipt::statement::{Countersign, Statement};

/// What a node tries.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cheat {
    None,
    /// Everything was computed before, for a seed that was guessed.
    Ahead(Hash),
    /// What was said in another probe, once more.
    Replay(Vec<(Step, Vec<u8>)>),
    /// One element of one row.
    Row(usize),
    /// A * (B * r) alone, for an r of its own, and rows that are made up.
    OnlyProduct,
    /// Of each hundred tiles so many.
    SkipTiles(u32),
    /// A part of the memory is kept, and the rest made anew when it is read: so many thousandths of a step a read.
    Keeps(u64),
    /// Everything takes so many thousandths of the time.
    Slower(u64),
    /// A friend answers in its place: work takes it so many thousandths of the time, and each answer so many microseconds
    /// more on its way.
    Friend(u64, u64),
    /// One byte of one answer.
    Flip(Step, usize),
    /// An opening with a hash too few.
    Short,
    Refuse(Step),
}

/// In the time of one read so many steps are done: taken to be more than a GPU does.
pub(super) const STEPS_A_READ: u64 = 100;

/// What honest work takes: a thousand steps a microsecond, and as many reads.
pub(super) fn costs(sizes: &Sizes) -> Elapsed {
    let of = |x: u32, y: u32| u64::from(x) * u64::from(y);
    let fill_us = u64::from(sizes.blocks) * BLOCK_STEPS / 1_000;
    let compute_us = fill_us + of(sizes.rows, sizes.rows) * u64::from(sizes.rows) / 1_000;
    Elapsed {
        fill_us,
        compute_us,
        render_us: compute_us
            + of(sizes.frames, sizes.tiles) * 4_096 * u64::from(sizes.steps) / 1_000,
        read_us: of(sizes.lanes, sizes.reads) / 1_000,
    }
}

pub(super) struct Node {
    pub(super) key: SecretKey,
    cheat: Cheat,
    sitting: Option<Sitting>,
    done: Option<Done>,
    /// What was answered.
    pub(super) said: Vec<(Step, Vec<u8>)>,
}

/// What it has done.
struct Done {
    rows: Vec<Vec<u32>>,
    blocks: Vec<Vec<u32>>,
    kept: Vec<Vec<u32>>,
    trees: Trees,
}

impl Held for Done {
    fn row(&self, index: u32) -> Vec<u32> {
        self.rows[index as usize].clone()
    }

    fn kept(&self, lane: u32) -> Vec<u32> {
        self.kept[lane as usize].clone()
    }

    fn word(&self, place: Place) -> u32 {
        self.blocks[place.block as usize][place.word]
    }
}

impl Done {
    fn new(seed: &Hash, sizes: &Sizes, cheat: &Cheat) -> Self {
        let (a, b) = (Factor::a(seed, sizes.rows), Factor::b(seed, sizes.rows));
        let made_up = |i: u32| (0..sizes.rows).map(|j| mix(mix(i) ^ j) % P).collect();
        let row = |i: u32| match cheat {
            Cheat::OnlyProduct => made_up(i),
            _ => product_row(&a, &b, i as usize),
        };
        let mut rows: Vec<Vec<u32>> = (0..sizes.rows).map(row).collect();
        if let Cheat::Row(wrong) = cheat {
            rows[*wrong][3] ^= 1;
        }
        let fill = Fill::new(seed);
        let blocks: Vec<_> = (0..sizes.blocks).map(|i| fill.block(i)).collect();
        let (mut tiles, mut previous) = (Vec::new(), [0; 32]);
        for frame in 0..sizes.frames {
            let scene = Scene::new(&frame_key(seed, frame, &previous));
            let drawn = |tile: u32| match cheat {
                Cheat::SkipTiles(share) if (frame * sizes.tiles + tile) % 100 < *share => [7; 32],
                _ => scene.digest(tile, sizes.steps),
            };
            let tree = Tree::new((0..sizes.tiles).map(drawn).collect());
            previous = tree.root();
            tiles.push(tree);
        }
        let over = |lists: &[Vec<u32>]| Tree::new(lists.iter().map(|list| digest(list)).collect());
        let trees = Trees {
            matrix: over(&rows),
            fill: over(&blocks),
            reads: Tree::new(Vec::new()),
            tiles,
        };
        Self {
            rows,
            blocks,
            kept: Vec::new(),
            trees,
        }
    }

    fn read(&mut self, reads: &Reads, sizes: &Sizes) -> Hash {
        let lane = |lane| reads.run(lane, sizes.reads, |place| self.word(place));
        self.kept = (0..sizes.lanes).map(lane).collect();
        self.trees.reads = Tree::new(self.kept.iter().map(|kept| digest(kept)).collect());
        self.trees.reads.root()
    }

    fn root(&self, step: Step) -> Hash {
        match step {
            Step::Fill => self.trees.fill.root(),
            Step::Matrix => self.trees.matrix.root(),
            _ => Tree::new(self.trees.tiles.iter().map(Tree::root).collect()).root(),
        }
    }
}

impl Node {
    pub(super) fn new(cheat: Cheat) -> Self {
        Self {
            key: SecretKey::from_seed(&[2; 32]),
            cheat,
            sitting: None,
            done: None,
            said: Vec::new(),
        }
    }

    pub(super) fn cheats(&mut self, cheat: Cheat) {
        self.cheat = cheat;
    }

    /// The answer, and the clock afterwards.
    pub(super) fn answer(
        &mut self,
        now_us: &mut u64,
        step: Step,
        message: &[u8],
    ) -> Result<Vec<u8>, String> {
        if self.cheat == Cheat::Refuse(step) {
            return Err("a session\u{fffd}\u{1}starts\n".to_owned());
        }
        let mut answer = self.honest(now_us, step, message);
        match &self.cheat {
            Cheat::Replay(said) => {
                let same = said.iter().find(|(of, _)| *of == step);
                answer = same.map(|(_, answer)| answer.clone()).unwrap_or_default();
            }
            Cheat::Flip(of, at) if *of == step => answer[*at] ^= 1,
            _ => {}
        }
        self.said.push((step, answer.clone()));
        Ok(answer)
    }

    fn honest(&mut self, now_us: &mut u64, step: Step, message: &[u8]) -> Vec<u8> {
        if step == Step::Begin {
            let gpus = ["cpu".to_owned()];
            let room = Bounds {
                mem_mib: 64,
                work: u64::MAX,
            };
            let of = (&self.key.public().id(), gpus.as_slice());
            let sitting = Sitting::begin(message, of, &room).unwrap();
            return self.sitting.insert(sitting).accept(&self.key).unwrap();
        }
        let sitting = self.sitting.as_mut().unwrap();
        let sizes = sitting.asked().sizes;
        let costs = costs(&sizes);
        let before_us = *now_us;
        let todo = sitting.hear(before_us, step, message).unwrap();
        let (root, cost_us) = match todo {
            Todo::Start(seed) => {
                let seed = if let Cheat::Ahead(guess) = self.cheat {
                    guess
                } else {
                    seed
                };
                let done = self.done.insert(Done::new(&seed, &sizes, &self.cheat));
                (done.root(step), costs.fill_us)
            }
            Todo::Say(Step::Matrix) => {
                let cost_us = costs.compute_us - costs.fill_us;
                (self.done.as_ref().unwrap().root(step), cost_us)
            }
            Todo::Say(_) => {
                let cost_us = costs.render_us - costs.compute_us;
                (self.done.as_ref().unwrap().root(step), cost_us)
            }
            Todo::Read(reads) => {
                let done = self.done.as_mut().unwrap();
                let root = done.read(&reads, &sizes);
                let reads = u64::from(sizes.lanes) * u64::from(sizes.reads);
                let more = match self.cheat {
                    Cheat::Keeps(steps_milli) => reads * steps_milli / 1_000 / STEPS_A_READ,
                    _ => 0,
                };
                (root, costs.read_us + more / 1_000)
            }
            Todo::Open(plan, reads) => {
                let done = self.done.as_ref().unwrap();
                let mut opening = plan.open(&reads, &done.trees, done);
                assert_eq!(opening.len(), plan.bytes());
                if self.cheat == Cheat::Short {
                    opening.truncate(plan.bytes() - 32);
                }
                return sitting.say_opening(opening, &self.key).unwrap();
            }
        };
        let (permille, way_us) = match self.cheat {
            Cheat::Slower(permille) => (permille, 0),
            Cheat::Friend(permille, way_us) => (permille, way_us),
            _ => (1_000, 0),
        };
        *now_us = before_us + cost_us * permille / 1_000 + way_us;
        sitting.say(*now_us, step, &root, &self.key).unwrap()
    }

    pub(super) fn record(&self) -> super::super::record::Record {
        self.sitting.as_ref().unwrap().record().clone()
    }

    pub(super) fn sign(&self, receipt: &[u8]) -> Result<Vec<u8>, Refusal> {
        let sitting = self.sitting.as_ref().unwrap();
        sitting
            .countersign(receipt, &self.key)
            .map(|of| of.to_vec())
    }

    pub(super) fn refusal(&self, receipt: &[u8]) -> Option<Refusal> {
        self.sign(receipt).err()
    }
}

/// A receipt of the checker that says something else.
pub(super) fn restated(key: &SecretKey, node: KeyId, porc: Porc) -> Envelope {
    let statement = Statement {
        subject: crate::receipt::statement::Subject {
            name: "node:nod_1".to_owned(),
            sha256: node,
        },
        head: crate::receipt::statement::Head {
            issuer: key.public().id(),
            issued_at_s: 5,
            countersign: Countersign::Node(node),
            assurance: crate::receipt::statement::Assurance::Timing,
            does_not_prove: Vec::new(),
            evidence: Vec::new(),
        },
        predicate: Predicate::Porc(Box::new(porc)),
    };
    let mut envelope = statement.envelope().unwrap();
    envelope.sign(key);
    envelope
}
