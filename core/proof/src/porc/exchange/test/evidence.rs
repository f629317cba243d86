//! What a dispute over a probe of full size takes.

use super::super::opening::Plan;
use crate::encoding::sha256;
use crate::key::KeyId;
use crate::log::tile::ENTRY_BYTES_MAX;
use crate::receipt::fixture::{entry, key, porc, statement};
use crate::receipt::predicate::{Finding, Predicate, Sizes};
use crate::receipt::statement::{Countersign, EVIDENCE_MAX, Evidence};

/// Bytes of a piece, as checkers and the command cut it.
const PIECE_BYTES: usize = 60_000;

/// The sizes of the protocol for a card of 80 GB.
const FULL: Sizes = Sizes {
    rows: 16_384,
    blocks: 1_220_000,
    lanes: 8_192,
    reads: 200_000,
    frames: 64,
    tiles: 510,
    steps: 96,
};

/// Its opening is 17 MB, most of it the words of 256 rows.
#[test]
fn an_opening_of_full_size_finds_room_beside_one_receipt() {
    let plan = Plan::draw(&FULL, &[7; 32]);
    let opening = plan.bytes();
    assert!((16_900_000..17_900_000).contains(&opening), "{opening}");
    // The record, the opening, and what is computed anew without the rows' words.
    let rows = FULL.rows as usize * 4 * 256;
    let pieces = 1 + opening.div_ceil(PIECE_BYTES) + (opening - rows).div_ceil(PIECE_BYTES);
    assert!(pieces <= EVIDENCE_MAX, "{pieces} of {EVIDENCE_MAX}");
}

#[test]
fn a_receipt_that_names_as_much_as_it_may_is_an_entry() {
    let predicate = Predicate::Porc(Box::new(porc(Finding::Fail)));
    let mut said = statement(&key(1), key(2).public().id(), 1_800_000_000, predicate);
    said.head.countersign = Countersign::Node(key(2).public().id());
    let piece = |n: usize| Evidence {
        sha256: KeyId(sha256(&[&n.to_le_bytes()])),
        bytes: 65_536,
        kept_until_s: 1_807_776_000,
    };
    said.head.evidence = (0..EVIDENCE_MAX).map(piece).collect();
    let bytes = entry(&said, &[&key(1), &key(2)]);
    assert!(bytes.len() <= ENTRY_BYTES_MAX, "{}", bytes.len());
}
