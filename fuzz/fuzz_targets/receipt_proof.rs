//! Proofs, notes, policies, what witnesses are asked, and tile paths: what is taken is written as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearlight_proof::log::tile::{Tile, bundle, entries};
use nearlight_proof::log::witness::Candidate;
use nearlight_proof::log::{LogProof, Note, Policy};

fuzz_target!(|bytes: &[u8]| {
    if let Some(read) = entries(bytes) {
        assert_eq!(bundle(read).as_deref(), Some(bytes));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(note) = Note::parse(bytes) {
        assert_eq!(note.to_string(), text);
        if let Ok(policy) = Policy::parse(text) {
            let _ = policy.check(&note);
        }
    }
    if let Ok(proof) = LogProof::parse(bytes) {
        assert_eq!(proof.to_string(), text);
    }
    if let Ok(candidate) = Candidate::parse(text) {
        assert_eq!(candidate.to_string(), text);
    }
    if let Some(tile) = Tile::parse(text) {
        assert_eq!(tile.to_string(), text);
    }
});
