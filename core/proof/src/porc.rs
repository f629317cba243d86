//! Proof of render capacity: three timed legs over integers, the same on every GPU and CPU.
//!
//! In reading order: [`mixer`] (the arithmetic that all share), [`committee`] (who checks whom, and
//! when), [`schedule`] (what is due), [`meeting`] (in which moment), [`streams`] (who plays), [`alive`] (whether a node is there), [`seed`] (what a challenge follows from), [`compute`], [`memory`] and [`render`] (the
//! legs; each is its own oracle), [`commit`] (roots first, then what is opened), [`check`] (what a
//! checker does with an opening), [`exchange`] (who says what, and when), [`score`], [`panel`] (who may speak), [`verdict`],
//! [`round`] and [`rank`] (what becomes of a node's reports), [`referee`], [`contest`] and [`rerun`]
//! (who is right).
//!
//! **Invariants.** 32-bit integers alone in whatever a prover computes: no floats, no 64-bit
//! integers, no order of threads. What a checker rebuilds it rebuilds from the seed.
//!
//! **What it does not know:** time. Elapsed microseconds are handed in. docs/proof.md says what a
//! proof is worth.

pub mod alive;
pub mod check;
pub mod commit;
pub mod committee;
pub mod compute;
pub mod contest;
pub mod exchange;
pub mod meeting;
pub mod memory;
pub mod mixer;
pub mod panel;
pub mod rank;
pub mod referee;
pub mod render;
pub mod rerun;
pub mod round;
pub mod schedule;
pub mod score;
pub mod seed;
pub mod streams;
pub mod verdict;
