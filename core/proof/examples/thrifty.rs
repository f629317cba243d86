//! What it costs to keep a part of the memory and to make the rest anew, on one core of this machine:
//! `cargo run --release -p nearlight-proof --example thrifty`.
//!
//! The cheapest prover known (`memory/thrifty.rs`) that keeps so much of a block: steps a read, those in a row, and how
//! much longer a read takes than one from memory that is held.

#![allow(
    clippy::disallowed_methods,
    reason = "it measures how long something takes"
)]
#![allow(clippy::print_stdout, reason = "printing is what it is for")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a figure that cannot be had should say where"
)]
#![allow(clippy::cast_precision_loss, reason = "counts of far fewer than 2^52")]

use nearlight_proof::porc::memory::{BLOCK_STEPS, BLOCK_WORDS, Fill, Reads};
use nearlight_proof::porc::mixer::mix;
use std::hint::black_box;
use std::time::Instant;

#[path = "../src/porc/memory/thrifty.rs"]
mod thrifty;

use thrifty::Seen;

/// Words of the blocks that it is counted on: on larger ones nobody finds the words that save the most in minutes. What a
/// read takes grows with them, as the steps of a block do.
const SIZE: usize = 2_048;
/// Blocks that are held: 128 MiB, more than any cache of a core.
const BLOCKS: u32 = 2_048;

/// Nanoseconds of each of so many.
fn each_ns(many: f64, work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_nanos() as f64 / many
}

fn main() {
    let seed = [7; 32];
    let fill = Fill::new(&seed);
    let mut blocks = Vec::new();
    let indices: Vec<_> = (0..BLOCKS).collect();
    fill.each(&indices, |_, block| blocks.push(block.to_vec()));
    let reads = Reads::new(&seed, &[8; 32], BLOCKS);
    let read_ns = each_ns(2e6, || {
        black_box(reads.run(0, 2_000_000, |place| {
            blocks[place.block as usize][place.word]
        }));
    });
    let step_ns = each_ns(100.0 * BLOCK_STEPS as f64, || {
        for index in 0..100 {
            black_box(fill.block(index));
        }
    });
    println!("a read of what is held {read_ns:.0} ns, a step of a block {step_ns:.1} ns");
    println!(
        "| kept, of 1000 | missing, of 1000 reads | steps a read | in a row | times a plain read |"
    );
    println!("|---|---|---|---|---|");
    let key = fill.key();
    assert_eq!(Seen::make(key, 0, BLOCK_WORDS).block(), fill.block(0));
    let seen = Seen::make(key, 0, SIZE);
    let times_larger = (BLOCK_WORDS / SIZE) as f64;
    for kept in [500, 750, 900, 950, 980] {
        let (_, cost) = seen.cheapest(kept);
        let steps = cost.steps_a_read * times_larger;
        let deep = cost.deep_a_read * times_larger;
        let times = (read_ns + steps * step_ns) / read_ns;
        println!(
            "| {kept} | {} | {steps:.1} | {deep:.1} | {times:.1} |",
            cost.missing_permille
        );
    }
    let seen = Seen::make(key, 0, BLOCK_WORDS);
    let cost = seen.cost(&seen.every_other(), 100);
    println!("every second word and every sixteenth of the chain: {cost:?}");
}
