//! A proof of capacity computed anew from its receipt: the seed, what was drawn, and the roots.
//!
//! A receipt reveals the checker's secrets, so that everything follows from it that both sides had: the seed, the keys
//! of the reads and of the openings, and with enough time each root. With the evidence beside it
//! ([`super::exchange::opening::Plan::brief`]) what was opened is compared one by one ([`Plan::again`]).
//!
//! **What it does not know:** times. Whether a node was fast nobody can compute.

use super::commit::{CommitHasher, Commitment};
use super::compute::{Factor, product_row};
use super::exchange::opening::{Again, Plan, Wrong};
use super::memory::{BLOCK_STEPS, Fill, Reads};
use super::mixer::digest;
use super::render::{Scene, frame_key};
use super::seed::{Probe, seed};
use crate::key::KeyId;
use crate::log::tree::{Hash, root};
use crate::receipt::predicate::{Porc, Sizes};

/// The most memory that whole legs take, bytes.
pub const WHOLE_BYTES_MAX: u64 = 1 << 30;
/// Whole legs of less than this many steps take some minutes of one core.
pub const WHOLE_WORK: u64 = 40_000_000_000;

/// A proof that is to be computed anew.
#[derive(Clone, Debug)]
pub struct Rerun {
    sizes: Sizes,
    seed: Hash,
    reads: Reads,
    said: Commitment,
    plan: Plan,
}

/// A root that was computed anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// What the receipt says.
    pub said: Hash,
    /// What it comes to.
    pub computed: Hash,
}

/// The legs of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// The rows of C.
    Matrix,
    /// The blocks.
    Fill,
    /// The reads.
    Reads,
    /// The frames.
    Frames,
}

impl Rerun {
    /// The proof of a receipt about the node with this key; `None` if its sizes are none that a probe has.
    #[must_use]
    pub fn of(porc: &Porc, node: &KeyId) -> Option<Self> {
        if !super::exchange::begin::are_of_a_probe(&porc.sizes) {
            return None;
        }
        let probe = Probe {
            beacon: porc.beacon.0,
            node: *node,
            gpu: porc.gpu.clone(),
            id: porc.probe.clone(),
        };
        let seed = seed(&probe, &porc.nonce.0);
        let said = Commitment {
            matrix: porc.matrix_root.0,
            fill: porc.fill_root.0,
            reads: porc.read_root.0,
            frames: porc.frame_root.0,
        };
        Some(Self {
            sizes: porc.sizes,
            seed,
            reads: Reads::new(&seed, &porc.read_secret.0, porc.sizes.blocks),
            plan: Plan::draw(&porc.sizes, &said.open_key(&porc.open_secret.0)),
            said,
        })
    }

    /// The seed that every leg follows from.
    #[must_use]
    pub const fn seed(&self) -> &Hash {
        &self.seed
    }

    /// How many bytes of evidence what was opened has.
    #[must_use]
    pub fn evidence_bytes(&self) -> usize {
        self.plan.brief_bytes()
    }

    /// What was opened, computed anew and compared; of the rows the first so many.
    ///
    /// # Errors
    /// [`Wrong::Length`] for evidence of another probe.
    pub fn openings(&self, evidence: &[u8], rows_max: usize) -> Result<Again, Wrong> {
        let fill = Fill::new(&self.seed);
        let follows = (&self.seed, &self.reads, &fill);
        self.plan.again(evidence, follows, &self.said, rows_max)
    }

    /// Whether whole legs take minutes at most, and no more memory than there should be.
    #[must_use]
    pub fn is_small(&self) -> bool {
        let sizes = &self.sizes;
        let [n, blocks, lanes, reads, frames, tiles, steps] = [
            sizes.rows,
            sizes.blocks,
            sizes.lanes,
            sizes.reads,
            sizes.frames,
            sizes.tiles,
            sizes.steps,
        ]
        .map(u64::from);
        let work = [
            n.saturating_pow(3),
            blocks.saturating_mul(BLOCK_STEPS),
            lanes.saturating_mul(reads).saturating_mul(100),
            frames.saturating_mul(tiles).saturating_mul(4096 * steps),
        ];
        let work = work.into_iter().fold(0_u64, u64::saturating_add);
        work <= WHOLE_WORK && blocks.saturating_mul(65_536) <= WHOLE_BYTES_MAX
    }

    /// A whole leg, computed anew.
    #[must_use]
    pub fn whole(&self, leg: Leg) -> Root {
        let sizes = &self.sizes;
        let (said, leaves) = match leg {
            Leg::Matrix => {
                let (a, b) = (
                    Factor::a(&self.seed, sizes.rows),
                    Factor::b(&self.seed, sizes.rows),
                );
                let row = |i| digest(&product_row(&a, &b, i as usize));
                (self.said.matrix, (0..sizes.rows).map(row).collect())
            }
            Leg::Fill => (self.said.fill, self.blocks()),
            Leg::Reads => (self.said.reads, self.lanes()),
            Leg::Frames => (self.said.frames, self.frames()),
        };
        Root {
            said,
            computed: root::<CommitHasher>(&leaves),
        }
    }

    fn blocks(&self) -> Vec<Hash> {
        let blocks: Vec<_> = (0..self.sizes.blocks).collect();
        Fill::new(&self.seed).digests(&blocks)
    }

    fn lanes(&self) -> Vec<Hash> {
        let fill = Fill::new(&self.seed);
        let indices: Vec<_> = (0..self.sizes.blocks).collect();
        let mut blocks = Vec::with_capacity(indices.len());
        fill.each(&indices, |_, block| blocks.push(block.to_vec()));
        let lane = |lane| {
            let kept = self.reads.run(lane, self.sizes.reads, |place| {
                let block = blocks.get(place.block as usize);
                block
                    .and_then(|words| words.get(place.word))
                    .copied()
                    .unwrap_or(0)
            });
            digest(&kept)
        };
        (0..self.sizes.lanes).map(lane).collect()
    }

    fn frames(&self) -> Vec<Hash> {
        let mut roots = Vec::new();
        let mut before = [0; 32];
        for frame in 0..self.sizes.frames {
            let scene = Scene::new(&frame_key(&self.seed, frame, &before));
            let tiles: Vec<_> = (0..self.sizes.tiles)
                .map(|tile| scene.digest(tile, self.sizes.steps))
                .collect();
            before = root::<CommitHasher>(&tiles);
            roots.push(before);
        }
        roots
    }
}
