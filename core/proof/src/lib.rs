//! Receipts that anyone can verify, and the arithmetic behind them: pure and bit-exact.
//!
//! In reading order:
//!
//! 1. [`encoding`] and [`canon`]: base64, hex and the one form of a JSON document (RFC 8785).
//! 2. [`key`]: Ed25519 keys, strictly verified, and their ids.
//! 3. [`log`]: notes, checkpoints, cosignatures, Merkle proofs, tiles and policies after C2SP.
//! 4. [`receipt`]: statement, envelope, directory of keys, and what a verifier says about them.
//! 5. [`membership`]: what checkers sign to become members.
//! 6. [`beacon`]: public randomness, from drand or from a logged chain.
//! 7. [`porc`]: the proof of render capacity; [`porw`]: of rendering work, in a real stream.
//!
//! **Invariants.** Same inputs, same outputs, on every machine: no clock, file, socket, randomness
//! or float. What was read is never trusted by its shape alone: every parser takes one spelling of
//! a value and refuses the others, so that no byte of a receipt is free to change.
//!
//! **What it does not know:** where receipts are kept, how a log is written, who dials whom.
//! docs/receipts.md and docs/proof.md specify what is here.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod beacon;
pub mod canon;
pub mod encoding;
pub mod key;
pub mod log;
pub mod membership;
pub mod porc;
pub mod porw;
pub mod receipt;
/// The greatest integer that a JSON document of ours holds, 2^53 - 1: every reader has it exactly.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;
