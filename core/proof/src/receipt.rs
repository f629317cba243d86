//! Receipts: signed statements that stand in a log.
//!
//! In reading order: [`statement`] (what is said, an in-toto Statement), [`predicate`] (each kind of
//! it; [`quality`] and [`session`] what was measured of a stream), [`envelope`] (the signatures, DSSE; an envelope is a log's entry), [`directory`] (whose keys
//! they are), [`mod@verify`] (what a stranger can conclude) and [`report`] (how that is told).
//!
//! **What it does not know:** where the files come from, what time it is, who is right in a dispute.

pub mod directory;
pub mod envelope;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixture;
pub mod predicate;
pub mod quality;
pub mod report;
pub mod session;
pub mod statement;
pub mod verify;

pub use directory::Directory;
pub use envelope::Envelope;
pub use report::{Outcome, Report};
pub use statement::Statement;
pub use verify::{Given, verify};
