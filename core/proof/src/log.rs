//! Transparency logs after C2SP: what a log, its witnesses and their readers exchange.
//!
//! In reading order: [`note`] (signed text), [`checkpoint`] (the signed head of a log),
//! [`cosignature`] (a witness saw it), [`tree`] (Merkle hashes and proofs, RFC 6962), [`tile`] (how
//! a log is stored and served), [`proof`] (an entry's proof as a file), [`policy`] (whom to believe),
//! [`witness`] (which head is cosigned next).
//!
//! **What it does not know:** what the entries mean, where a log is kept.

pub mod checkpoint;
pub mod cosignature;
pub mod note;
pub mod policy;
pub mod proof;
pub mod tile;
pub mod tree;
pub mod witness;

pub use checkpoint::Checkpoint;
pub use note::{Note, NoteSignature, VerifierKey};
pub use policy::Policy;
pub use proof::LogProof;
pub use tree::Hash;
