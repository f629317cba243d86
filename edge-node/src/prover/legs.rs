//! The three legs on this host's CPU, by the oracle of core/proof: on several threads, of the lowest priority.
//!
//! [`prove`] is a thread of its own: once it is told, fill, C and frames one after the other, then what it is told. Between two units (a
//! row, a block, a tile, a lane's segment) each thread looks whether it is to stop.

use nearlight_proof::log::tree::Hash;
use nearlight_proof::porc::compute::{Factor, product_row};
use nearlight_proof::porc::exchange::opening::{Held, Plan, Trees};
use nearlight_proof::porc::exchange::program::Rooted;
use nearlight_proof::porc::exchange::trees::Tree;
use nearlight_proof::porc::memory::{Fill, Place, Reads};
use nearlight_proof::porc::mixer::digest;
use nearlight_proof::porc::render::{Scene, frame_key};
use nearlight_proof::receipt::predicate::Sizes;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

/// The lowest priority: what is left over by everything else.
const NICE: i32 = 19;
/// A thread makes so many blocks before it looks whether it is to stop.
const BLOCKS_AT_A_TIME: u32 = 4;
/// Between two looks at whether to stop, with nothing to do.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The roots of the legs that are done.
#[derive(Clone, Debug, Default)]
pub(super) struct Roots {
    /// Whether the legs can be started.
    pub(super) ready: bool,
    /// Why there will be no more.
    pub(super) failed: Option<String>,
    pub(super) fill: Option<Hash>,
    pub(super) matrix: Option<Hash>,
    pub(super) frames: Option<Hash>,
}

impl Roots {
    /// One more is there. That of the reads is no leg's.
    pub(super) const fn take(&mut self, of: Rooted, root: Hash) {
        match of {
            Rooted::Fill => self.fill = Some(root),
            Rooted::Matrix => self.matrix = Some(root),
            Rooted::Frames => self.frames = Some(root),
            Rooted::Reads => {}
        }
    }
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Order {
    /// Run all legs of this seed.
    Start(Hash),
    /// Run the lanes, and say their root.
    Read(Reads, oneshot::Sender<Hash>),
    /// Open what was drawn. Nothing comes after.
    Open(Plan, Reads, oneshot::Sender<Vec<u8>>),
}

/// How hard to work, and until when.
#[derive(Clone, Debug)]
pub(super) struct Effort {
    pub(super) threads: u32,
    pub(super) cancel: CancellationToken,
}

impl Effort {
    /// Makes each of `count` things, on all threads; `None` once it is to stop.
    fn each<T: Send>(&self, count: u32, make: impl Fn(u32) -> T + Sync) -> Option<Vec<T>> {
        let (next, make) = (AtomicU32::new(0), &make);
        let work = || {
            // Where the kernel does not allow it there is nothing to be done about it.
            let _ = rustix::process::setpriority_process(None, NICE);
            let mut made = Vec::new();
            while !self.cancel.is_cancelled() {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return Some(made);
                }
                made.push((index, make(index)));
            }
            None
        };
        let parts: Option<Vec<_>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads.clamp(1, count.max(1)))
                .map(|_| scope.spawn(work))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().ok().flatten())
                .collect()
        });
        let mut made: Vec<_> = parts?.into_iter().flatten().collect();
        made.sort_unstable_by_key(|(index, _)| *index);
        Some(made.into_iter().map(|(_, made)| made).collect())
    }
}

/// What is held of a probe.
struct Legs {
    blocks: Vec<Vec<u32>>,
    rows: Vec<Vec<u32>>,
    kept: Vec<Vec<u32>>,
    trees: Trees,
}

impl Held for Legs {
    fn row(&self, index: u32) -> Vec<u32> {
        self.rows.get(index as usize).cloned().unwrap_or_default()
    }

    fn kept(&self, lane: u32) -> Vec<u32> {
        self.kept.get(lane as usize).cloned().unwrap_or_default()
    }

    fn word(&self, place: Place) -> u32 {
        self.blocks[place.block as usize][place.word]
    }
}

/// Does what `orders` say, until the last of them or until it is to stop.
pub(super) fn prove(
    sizes: &Sizes,
    effort: &Effort,
    roots: &watch::Sender<Roots>,
    orders: &Receiver<Order>,
) -> Option<()> {
    roots.send_modify(|of| of.ready = true);
    let Order::Start(seed) = next(orders, effort)? else {
        return None;
    };
    let legs = Legs::run((&seed, sizes), effort, roots)?;
    legs.follow(sizes, effort, orders)
}

impl Legs {
    fn run(
        (seed, sizes): (&Hash, &Sizes),
        effort: &Effort,
        roots: &watch::Sender<Roots>,
    ) -> Option<Self> {
        let tell = |of, root| roots.send_modify(|roots| roots.take(of, root));
        let (blocks, fill) = fill(seed, sizes, effort)?;
        tell(Rooted::Fill, fill.root());
        let (rows, matrix) = matrix(seed, sizes, effort)?;
        tell(Rooted::Matrix, matrix.root());
        let tiles = frames(seed, sizes, effort)?;
        let of_frames = Tree::new(tiles.iter().map(Tree::root).collect());
        tell(Rooted::Frames, of_frames.root());
        let trees = Trees {
            matrix,
            fill,
            reads: Tree::new(Vec::new()),
            tiles,
        };
        Some(Self {
            blocks,
            rows,
            kept: Vec::new(),
            trees,
        })
    }

    fn follow(mut self, sizes: &Sizes, effort: &Effort, orders: &Receiver<Order>) -> Option<()> {
        loop {
            match next(orders, effort)? {
                Order::Start(_) => return None,
                Order::Read(reads, answer) => {
                    let lane = |lane| reads.run(lane, sizes.reads, |place| self.word(place));
                    self.kept = effort.each(sizes.lanes, lane)?;
                    let leaves = self.kept.iter().map(|kept| digest(kept));
                    self.trees.reads = Tree::new(leaves.collect());
                    // Whoever asked may have gone.
                    let _ = answer.send(self.trees.reads.root());
                }
                Order::Open(plan, reads, answer) => {
                    let _ = answer.send(plan.open(&reads, &self.trees, &self));
                    return Some(());
                }
            }
        }
    }
}
fn next(orders: &Receiver<Order>, effort: &Effort) -> Option<Order> {
    loop {
        match orders.recv_timeout(LOOK_EVERY) {
            Ok(order) => return Some(order),
            Err(RecvTimeoutError::Timeout) if !effort.cancel.is_cancelled() => {}
            Err(_) => return None,
        }
    }
}

fn fill(seed: &Hash, sizes: &Sizes, effort: &Effort) -> Option<(Vec<Vec<u32>>, Tree)> {
    let fill = Fill::new(seed);
    let some = |part: u32| {
        let first = part * BLOCKS_AT_A_TIME;
        let indices: Vec<_> = (first..sizes.blocks.min(first + BLOCKS_AT_A_TIME)).collect();
        let mut made = Vec::with_capacity(indices.len());
        fill.each(&indices, |_, block| made.push(hashed(block.to_vec())));
        made
    };
    let made = effort.each(sizes.blocks.div_ceil(BLOCKS_AT_A_TIME), some)?;
    Some(with_tree(made.into_iter().flatten().collect()))
}

fn matrix(seed: &Hash, sizes: &Sizes, effort: &Effort) -> Option<(Vec<Vec<u32>>, Tree)> {
    let (a, b) = (Factor::a(seed, sizes.rows), Factor::b(seed, sizes.rows));
    let row = |index| hashed(product_row(&a, &b, index as usize));
    Some(with_tree(effort.each(sizes.rows, row)?))
}

fn frames(seed: &Hash, sizes: &Sizes, effort: &Effort) -> Option<Vec<Tree>> {
    let (mut frames, mut previous) = (Vec::new(), [0; 32]);
    for frame in 0..sizes.frames {
        let scene = Scene::new(&frame_key(seed, frame, &previous));
        let tiles = effort.each(sizes.tiles, |tile| scene.digest(tile, sizes.steps))?;
        let tree = Tree::new(tiles);
        previous = tree.root();
        frames.push(tree);
    }
    Some(frames)
}

fn hashed(words: Vec<u32>) -> (Vec<u32>, Hash) {
    let hash = digest(&words);
    (words, hash)
}

fn with_tree(made: Vec<(Vec<u32>, Hash)>) -> (Vec<Vec<u32>>, Tree) {
    let (words, leaves) = made.into_iter().unzip();
    (words, Tree::new(leaves))
}

#[cfg(test)]
#[path = "legs/test.rs"]
mod test;
