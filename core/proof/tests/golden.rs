//! The golden vectors are what this crate makes, and the second verifier agrees on each.

#![allow(
    clippy::unwrap_used,
    reason = "a test says what it could not do by failing"
)]

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
