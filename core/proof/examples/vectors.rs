//! Prints the golden vectors: `cargo run -p nearlight-proof --example vectors > core/proof/vectors/golden.json`.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

#[path = "../tests/golden/document.rs"]
mod document;

fn main() {
    let text = document::document();
    assert!(document::is_plain(&text), "integers and strings alone");
    print!("{text}");
}
