//! What verifying costs, as JSON: `cargo run --release -p nearlight-verifier-wasm --example cost`. It prints the question that it
//! measures, too, so that a page's module can be asked the same; and apart what a beacon's round costs once.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]
#![allow(clippy::unwrap_used, reason = "the vectors are checked by tests")]

use nearlight_proof::beacon::drand;
use nearlight_proof::encoding::array_from_hex;
use nearlight_verifier::page::page;
use serde_json::{Value, json};
use std::time::Instant;

const ROUNDS: usize = 2_000;
const BEACON_ROUNDS: usize = 50;

/// The middle of so many times, microseconds.
fn median(rounds: usize, mut work: impl FnMut()) -> f64 {
    let mut times: Vec<_> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[rounds / 2]
}

/// One round of quicknet: two pairings. Whoever has verified it once remembers it.
fn beacon_us() -> f64 {
    let signature = "b75c69d0b72a5d906e854e808ba7e2accb1542ac355ae486d591aa9d43765482e26cd02df835d3546d23c4b13e0dfc92";
    let signature: [u8; 48] = array_from_hex(signature).unwrap();
    median(BEACON_ROUNDS, || {
        drand::verify(123, &signature).unwrap();
    })
}

fn main() {
    let golden: Value =
        serde_json::from_str(include_str!("../../../core/proof/vectors/golden.json")).unwrap();
    let receipts = &golden["receipts"];
    // Signed by checker and node, in the log, cosigned by two witnesses.
    let case = &receipts["cases"][0];
    let question = json!({
        "receipt": case["envelope"], "proof": case["proof"], "policy": receipts["policy"],
        "directory": receipts["directory"], "authority": receipts["authority"], "later": [],
    });
    let asked = question.to_string();
    let answer: Value = serde_json::from_slice(&page(asked.as_bytes())).unwrap();
    assert_eq!(answer["report"]["outcome"], "VALID");
    let verify_us = median(ROUNDS, || {
        std::hint::black_box(page(asked.as_bytes()));
    });
    println!(
        "{}",
        json!({ "verify_us": verify_us, "beacon_us": beacon_us(), "question": asked })
    );
}
