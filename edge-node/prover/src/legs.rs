//! A probe on a GPU: all legs of a seed, then what the agent orders.
//!
//! ```text
//!   start: fill -> C -> frames, a root each -> read: the lanes -> open: the drawn rows again, words rebuilt
//! ```
//!
//! **Invariants.** Blocks stay on the device until the end. C does not: its rows are hashed as they come, and those that
//! are drawn are made once more, so that a host needs no gigabyte for it. One thread works, at the lowest priority.
//!
//! **What it does not know:** who asks, time.

use crate::fill::{Filled, Pieces, fill};
use crate::gpu::{Gpu, GpuError};
use crate::render::Renderer;
use crate::{matrix, reads};
use nearlight_proof::log::tree::Hash;
use nearlight_proof::porc::exchange::opening::{Held, Plan, Trees};
use nearlight_proof::porc::exchange::program::Rooted;
use nearlight_proof::porc::exchange::trees::Tree;
use nearlight_proof::porc::memory::{Fill, Place, Reads};
use nearlight_proof::porc::mixer::digest;
use nearlight_proof::porc::render::{Scene, frame_key};
use nearlight_proof::receipt::predicate::Sizes;
use std::collections::HashMap;

/// What is held of a probe.
#[derive(Debug)]
pub struct Legs<'a> {
    gpu: &'a Gpu,
    seed: Hash,
    sizes: Sizes,
    filled: Filled,
    trees: Trees,
    kept: Vec<Vec<u32>>,
}

impl<'a> Legs<'a> {
    /// Runs all legs of a seed, and tells each root as soon as it is there.
    ///
    /// # Errors
    /// [`GpuError::Buffers`], [`GpuError::Lost`].
    pub fn run(
        gpu: &'a Gpu,
        (seed, sizes): (&Hash, &Sizes),
        mut tell: impl FnMut(Rooted, Hash),
    ) -> Result<Self, GpuError> {
        let (filled, leaves) = fill(gpu, seed, sizes.blocks, Pieces::default())?;
        let filling = Tree::new(leaves);
        tell(Rooted::Fill, filling.root());

        let mut leaves = Vec::with_capacity(sizes.rows as usize);
        let all: Vec<u32> = (0..sizes.rows).collect();
        matrix::rows(gpu, seed, sizes.rows, &all, |row| leaves.push(digest(&row)))?;
        let product = Tree::new(leaves);
        tell(Rooted::Matrix, product.root());

        let tiles = frames(gpu, seed, sizes)?;
        tell(
            Rooted::Frames,
            Tree::new(tiles.iter().map(Tree::root).collect()).root(),
        );
        Ok(Self {
            gpu,
            seed: *seed,
            sizes: *sizes,
            filled,
            trees: Trees {
                matrix: product,
                fill: filling,
                reads: Tree::new(Vec::new()),
                tiles,
            },
            kept: Vec::new(),
        })
    }

    /// Runs the lanes; their root.
    ///
    /// # Errors
    /// [`GpuError::Lost`].
    pub fn read(&mut self, reads: &Reads) -> Result<Hash, GpuError> {
        let both = (self.sizes.lanes, self.sizes.reads);
        self.kept = reads::lanes(self.gpu, &self.filled, reads, both)?;
        let leaves = self.kept.iter().map(|kept| digest(kept));
        self.trees.reads = Tree::new(leaves.collect());
        Ok(self.trees.reads.root())
    }

    /// What was drawn, opened. The device is free of the blocks then.
    ///
    /// # Errors
    /// [`GpuError::Lost`].
    pub fn open(self, plan: &Plan, reads: &Reads) -> Result<Vec<u8>, GpuError> {
        drop(self.filled);
        let mut made = Vec::new();
        let wanted = &plan.rows;
        matrix::rows(self.gpu, &self.seed, self.sizes.rows, wanted, |row| {
            made.push(row)
        })?;
        let again = Again {
            rows: wanted.iter().copied().zip(made).collect(),
            kept: self.kept,
            fill: Fill::new(&self.seed),
        };
        Ok(plan.open(reads, &self.trees, &again))
    }
}

fn frames(gpu: &Gpu, seed: &Hash, sizes: &Sizes) -> Result<Vec<Tree>, GpuError> {
    let (renderer, mut frames, mut previous) = (Renderer::new(gpu), Vec::new(), [0; 32]);
    for frame in 0..sizes.frames {
        let scene = Scene::new(&frame_key(seed, frame, &previous));
        let tree = Tree::new(renderer.tiles(&scene, sizes.tiles, sizes.steps)?);
        previous = tree.root();
        frames.push(tree);
    }
    Ok(frames)
}

/// What an opening takes: the lanes' values as they were kept, the rest made once more.
struct Again {
    rows: HashMap<u32, Vec<u32>>,
    kept: Vec<Vec<u32>>,
    fill: Fill,
}

impl Held for Again {
    fn row(&self, index: u32) -> Vec<u32> {
        self.rows.get(&index).cloned().unwrap_or_default()
    }

    fn kept(&self, lane: u32) -> Vec<u32> {
        self.kept.get(lane as usize).cloned().unwrap_or_default()
    }

    /// Some thousand words are opened: a block each takes a core a tenth of a millisecond.
    fn word(&self, place: Place) -> u32 {
        self.fill.block(place.block)[place.word]
    }
}
