//! What a probe of full size costs its checker, CPU time, as JSON: `cargo run --release -p nearlight-proof --example probe_cost`.
//!
//! The node's side is made of what is opened alone: all that was drawn is right, and the other leaves of the trees are
//! made up, for a whole matrix would take a core an hour. A checker looks at nothing else, so its work is the real one:
//! the opening's hash and signature, rows against their roots and vectors, blocks, lanes and tiles rebuilt, and the
//! evidence put together. The one thing that differs from a probe is that the draw does not follow from the roots.

#![allow(
    clippy::disallowed_methods,
    reason = "the kernel says in a file how much CPU time a thread had"
)]
#![allow(clippy::print_stdout, reason = "printing is what it is for")]
#![allow(
    clippy::unwrap_used,
    reason = "a figure that cannot be had should say where"
)]

use nearlight_proof::key::SecretKey;
use nearlight_proof::log::tree::Hash;
use nearlight_proof::porc::commit::Commitment;
use nearlight_proof::porc::compute::{Factor, ROWS_FULL, RowTest, product_row};
use nearlight_proof::porc::exchange::opening::{Held, Lane, Plan, Trees};
use nearlight_proof::porc::exchange::trees::Tree;
use nearlight_proof::porc::memory::{Fill, Place, Reads, SEGMENT_READS};
use nearlight_proof::porc::mixer::{digest, hash};
use nearlight_proof::porc::render::{Scene, frame_key};
use nearlight_proof::receipt::predicate::Sizes;
use serde_json::json;
use std::collections::HashMap;
use std::hint::black_box;

/// A card of 80 GB.
const SIZES: Sizes = Sizes {
    rows: ROWS_FULL,
    blocks: 1 << 20,
    lanes: 1 << 16,
    reads: 200_000,
    frames: 64,
    tiles: 4_096,
    steps: 96,
};
const SEED: Hash = [7; 32];
/// Of so many runs the middle one.
const RUNS: usize = 9;

/// What this thread has had of a core, seconds.
fn cpu_s() -> f64 {
    let said = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let ns: f64 = said.split_whitespace().next().unwrap().parse().unwrap();
    ns / 1e9
}

fn median(mut work: impl FnMut()) -> f64 {
    let run = |_| {
        let before = cpu_s();
        work();
        cpu_s() - before
    };
    let mut runs: Vec<f64> = (0..RUNS).map(run).collect();
    runs.sort_by(f64::total_cmp);
    runs[RUNS / 2]
}

/// A leaf that nobody opens.
fn other(tree: &str, index: u32) -> Hash {
    hash(tree, &[&index.to_le_bytes()])
}

/// What is opened, computed.
struct Opened {
    rows: HashMap<u32, Vec<u32>>,
    kept: HashMap<u32, Vec<u32>>,
    fill: Fill,
}

impl Held for Opened {
    fn row(&self, index: u32) -> Vec<u32> {
        self.rows[&index].clone()
    }

    fn kept(&self, lane: u32) -> Vec<u32> {
        self.kept[&lane].clone()
    }

    fn word(&self, place: Place) -> u32 {
        self.fill.block(place.block)[place.word]
    }
}

fn rows(wanted: &[u32]) -> HashMap<u32, Vec<u32>> {
    let (a, b) = (Factor::a(&SEED, SIZES.rows), Factor::b(&SEED, SIZES.rows));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let some = |some: &[u32]| -> Vec<(u32, Vec<u32>)> {
        let row = |index: &u32| (*index, product_row(&a, &b, *index as usize));
        some.iter().map(row).collect()
    };
    std::thread::scope(|scope| {
        let parts = wanted.chunks(wanted.len().div_ceil(threads));
        let parts: Vec<_> = parts.map(|part| scope.spawn(|| some(part))).collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap())
            .collect()
    })
}

/// A lane's values: made up but for the end of the segment that is opened.
fn kept(lane: &Lane, reads: &Reads, fill: &Fill) -> Vec<u32> {
    let segments = SIZES.reads.div_ceil(SEGMENT_READS);
    let mut kept: Vec<u32> = (0..segments).map(|n| lane.lane ^ n).collect();
    let before = lane.segment.checked_sub(1);
    let mut value = before.map_or_else(|| reads.start(lane.lane), |at| kept[at as usize]);
    let first = lane.segment * SEGMENT_READS;
    for turn in first..(first + SEGMENT_READS).min(SIZES.reads) {
        let place = reads.place(value);
        value = reads.next(value, turn, fill.block(place.block)[place.word]);
    }
    kept[lane.segment as usize] = value;
    kept
}

fn tree(name: &str, leaves: u32, real: &HashMap<u32, Hash>) -> Tree {
    let leaf = |index| {
        real.get(&index)
            .copied()
            .unwrap_or_else(|| other(name, index))
    };
    Tree::new((0..leaves).map(leaf).collect())
}

fn frames(plan: &Plan) -> Vec<Tree> {
    let (mut frames, mut previous) = (Vec::new(), [0; 32]);
    for frame in 0..SIZES.frames {
        let scene = Scene::new(&frame_key(&SEED, frame, &previous));
        let drawn = plan.tiles.iter().filter(|(of, _)| *of == frame);
        let real = drawn.map(|(_, tile)| (*tile, scene.digest(*tile, SIZES.steps)));
        let tree = tree(&format!("frame {frame}"), SIZES.tiles, &real.collect());
        previous = tree.root();
        frames.push(tree);
    }
    frames
}

fn main() {
    let key = [9; 32];
    let plan = Plan::draw(&SIZES, &key);
    let (reads, fill) = (Reads::new(&SEED, &[8; 32], SIZES.blocks), Fill::new(&SEED));
    let lanes = plan
        .lanes
        .iter()
        .map(|lane| (lane.lane, kept(lane, &reads, &fill)));
    let opened = Opened {
        rows: rows(&plan.rows),
        kept: lanes.collect(),
        fill,
    };
    let digests =
        |of: &HashMap<u32, Vec<u32>>| of.iter().map(|(n, words)| (*n, digest(words))).collect();
    let blocks = plan
        .blocks
        .iter()
        .map(|block| (*block, fill.digest(*block)));
    let trees = Trees {
        matrix: tree("row", SIZES.rows, &digests(&opened.rows)),
        fill: tree("block", SIZES.blocks, &blocks.collect()),
        reads: tree("lane", SIZES.lanes, &digests(&opened.kept)),
        tiles: frames(&plan),
    };
    let roots = Commitment {
        matrix: trees.matrix.root(),
        fill: trees.fill.root(),
        reads: trees.reads.root(),
        frames: Tree::new(trees.tiles.iter().map(Tree::root).collect()).root(),
    };
    let opening = plan.open(&reads, &trees, &opened);
    drop((trees, opened));

    let node = SecretKey::from_seed(&[1; 32]);
    let signature = node.sign(blake3::hash(&opening).as_bytes());
    let check = || {
        let value = *blake3::hash(&opening).as_bytes();
        assert!(node.public().verifies(&value, &signature));
        black_box(plan.brief(&opening).unwrap());
        let checked = plan.check(&opening, (&SEED, &key), (&reads, &fill), &roots);
        assert_eq!(checked, Ok(()));
    };
    let all = median(check);
    let vectors = median(|| {
        black_box(RowTest::new(&SEED, SIZES.rows, &key));
    });
    let scene = Scene::new(&frame_key(&SEED, 0, &[0; 32]));
    let tiles = median(|| {
        for tile in 0..plan.tiles.len() as u32 {
            black_box(scene.digest(tile, SIZES.steps));
        }
    });
    let blocks = median(|| {
        black_box(fill.digests(&plan.blocks));
    });
    let parts = json!({ "vectors_s": vectors, "tiles_s": tiles, "blocks_s": blocks });
    let said = json!({ "checker_cpu_s": all, "opening_bytes": opening.len(), "parts": parts });
    println!("{said}");
}
