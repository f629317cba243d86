//! The golden vectors are what this crate makes, and the second verifier agrees on each.

#![allow(
    clippy::unwrap_used,
    reason = "a test says what it could not do by failing"
)]

use nearlight_proof::encoding::{array_from_hex, hex};
use nearlight_proof::key::SecretKey;
use nearlight_proof::log::tree;
use nearlight_proof::porc::commit::CommitHasher;
use nearlight_proof::porc::exchange::begin::{Begin, BeginError};
use nearlight_proof::porc::exchange::record::{Record, RecordError};
use nearlight_proof::porc::memory::Fill;
use serde_json::{Value, json};
use std::process::Command;

#[path = "golden/document.rs"]
mod document;

#[test]
fn the_vectors_are_up_to_date() {
    let text = document::document();
    assert!(document::is_plain(&text));
    let file = include_str!("../vectors/golden.json");
    assert!(
        file == text,
        "run: cargo run -p nearlight-proof --example vectors > core/proof/vectors/golden.json"
    );
}

/// What the first edition of the memory leg made of the same seed, and a probe of it.
#[test]
fn what_is_of_the_first_edition_is_refused() {
    let file: Value = serde_json::from_str(include_str!("../vectors/golden.json")).unwrap();
    let (porc, refused) = (&file["porc"], &file["porc"]["refused"]);
    let begin = refused["begin"].as_str().unwrap().as_bytes();
    assert_eq!(Begin::open(begin).unwrap_err(), BeginError::Edition);
    let node = SecretKey::from_seed(&[2; 32]).public();
    let record = Record::new(begin).replay(&node).map(|_| ());
    assert_eq!(record, Err(RecordError::Begin(BeginError::Edition)));

    let seed = array_from_hex(porc["seed"].as_str().unwrap()).unwrap();
    let fill = Fill::new(&seed);
    assert_eq!(json!(fill.block(0)[..8]), porc["block_0_begins"]);
    assert_ne!(json!(fill.block(0)[..8]), refused["block_0_begins"]);
    let root = hex(&tree::root::<CommitHasher>(&fill.digests(&[0, 1, 2])));
    assert_eq!(json!(root), porc["commitment"][1]);
    assert_ne!(json!(root), refused["fill_root"]);
}

/// What is no hex ended in a traceback.
#[test]
fn the_second_verifier_says_in_a_line_what_is_no_round() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/verify/verify.py");
    for (round, signature) in [
        ("1", "zz"),
        ("x", "00"),
        ("-1", "00"),
        ("18446744073709551616", "00"),
    ] {
        let mut python = Command::new("python3");
        let output = python.args([script, "beacon", round, signature]);
        let output = output.output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{err}");
        assert_eq!(
            err.trim(),
            "a round is a number from 0 on, and its signature 96 hex digits"
        );
    }
}

/// docs/verify/verify.py shares no line with this crate. Needs python3 with the package cryptography; `make doctor` says so.
#[test]
fn the_second_verifier_agrees_on_every_vector() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let output = Command::new("python3")
        .current_dir(root)
        .args(["docs/verify/verify.py", "vectors"])
        .args([
            "core/proof/vectors/golden.json",
            "core/proof/vectors/public.json",
        ])
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains(" agree, 0 differ"), "{out}");
}
