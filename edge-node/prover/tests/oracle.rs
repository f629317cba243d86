//! Every leg on every GPU that is here, bit for bit what the oracle says. Where there is no card, Mesa's lavapipe plays
//! one (package mesa-vulkan-drivers).
#![allow(clippy::unwrap_used, reason = "a test that fails should say where")]

use edge_prover::fill::{self, Pieces};
use edge_prover::gpu::{Gpu, adapters};
use edge_prover::render::Renderer;
use edge_prover::{matrix, reads};
use nearlight_proof::log::tree::Hash;
use nearlight_proof::porc::compute::{Factor, product_row};
use nearlight_proof::porc::memory::{BLOCK_STEPS, BLOCK_WORDS, Fill, Reads};
use nearlight_proof::porc::render::{Scene, frame_key};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Seeds of each GPU, if nothing else is said.
const SEEDS: u64 = 50;

fn seeds() -> u64 {
    let said = std::env::var("NEARLIGHT_PROOF_SEEDS").ok();
    said.map_or(SEEDS, |said| said.parse().unwrap())
}

/// Sizes that fit no tile, group or buffer evenly.
struct Sizes {
    rows: u32,
    blocks: u32,
    per_buffer: u32,
    steps: u32,
    lanes: u32,
    turns: u32,
    tiles: u32,
}

impl Sizes {
    fn draw(random: &mut ChaCha8Rng) -> Self {
        let mut below = |limit: u32| random.next_u32() % limit;
        Self {
            rows: 1 + below(50),
            blocks: 1 + below(9),
            per_buffer: 2 + below(3),
            steps: 2_000 + below(60_000),
            lanes: 1 + below(70),
            turns: 1 + below(2_300),
            tiles: 1 + below(3),
        }
    }
}

fn check(gpu: &Gpu, random: &mut ChaCha8Rng) {
    let (mut seed, mut secret): (Hash, Hash) = ([0; 32], [0; 32]);
    random.fill_bytes(&mut seed);
    random.fill_bytes(&mut secret);
    let sizes = Sizes::draw(random);

    let (a, b) = (Factor::a(&seed, sizes.rows), Factor::b(&seed, sizes.rows));
    let mut made = Vec::new();
    let all: Vec<u32> = (0..sizes.rows).collect();
    matrix::rows(gpu, &seed, sizes.rows, &all, |row| made.push(row)).unwrap();
    let oracle: Vec<_> = (0..sizes.rows as usize)
        .map(|i| product_row(&a, &b, i))
        .collect();
    assert_eq!(made, oracle, "C of {}", sizes.rows);

    let bytes = u64::from(sizes.per_buffer) * BLOCK_WORDS as u64 * 4;
    let pieces = Pieces {
        buffer_bytes: bytes,
        steps: sizes.steps.into(),
    };
    let before = gpu.dispatches();
    let (filled, leaves) = fill::fill(gpu, &seed, sizes.blocks, pieces).unwrap();
    let dispatches = gpu.dispatches() - before;
    let steps = u64::from(sizes.blocks) * BLOCK_STEPS;
    assert!(dispatches >= steps.div_ceil(pieces.steps), "{dispatches}");
    let oracle = Fill::new(&seed);
    let digests: Vec<_> = (0..sizes.blocks)
        .map(|block| oracle.digest(block))
        .collect();
    assert_eq!(leaves, digests, "{} blocks", sizes.blocks);

    let chains = Reads::new(&seed, &secret, sizes.blocks);
    let kept = reads::lanes(gpu, &filled, &chains, (sizes.lanes, sizes.turns)).unwrap();
    let blocks: Vec<_> = (0..sizes.blocks).map(|block| oracle.block(block)).collect();
    let lane = |lane| chains.run(lane, sizes.turns, |at| blocks[at.block as usize][at.word]);
    let oracle: Vec<_> = (0..sizes.lanes).map(lane).collect();
    assert_eq!(kept, oracle, "{} lanes of {}", sizes.lanes, sizes.turns);

    let scene = Scene::new(&frame_key(&seed, 1, &secret));
    let drawn = Renderer::new(gpu).tiles(&scene, sizes.tiles, 96).unwrap();
    let oracle: Vec<_> = (0..sizes.tiles)
        .map(|tile| scene.digest(tile, 96))
        .collect();
    assert_eq!(drawn, oracle, "{} tiles", sizes.tiles);
}

#[test]
fn every_leg_is_what_the_oracle_says() {
    let adapters = adapters();
    assert!(
        !adapters.is_empty(),
        "no Vulkan and no GL here; install mesa-vulkan-drivers and libvulkan1"
    );
    for adapter in &adapters {
        let gpu = Gpu::open(adapter).unwrap();
        for seed in 0..seeds() {
            check(&gpu, &mut ChaCha8Rng::seed_from_u64(seed));
        }
    }
}
