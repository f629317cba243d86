//! Verifying receipts offline: what `nearlight-verify`, `nearlight receipt` and the pages of client-web do.
//!
//! A receipt comes as the broker's API shows it (`GET /v1/receipts/INDEX`: envelope and proof in one JSON
//! file), or as the envelope alone with its `.tlog-proof` beside. Who is believed comes from the reader: a
//! policy, a directory of keys and the key that signed that. What the broker shows as its directory
//! (`GET /v1/directory`) has all three, and the report says that they are the operator's own.
//!
//! In reading order: [`given`] (what is verified, as bytes), [`mod@page`] (the same as JSON in and out, for
//! a page), [`audit`] (a whole log, and a node's history in it),
//! [`mod@rerun`] (a capacity check computed anew); with the feature `files` the arguments of a command line.
//!
//! **Invariants.** No network, no clock, no files but those that are named. The exit status is the outcome's.
//!
//! **What it does not know:** whether a later entry that was not given exists; an audit does.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(feature = "files")]
mod ask;
pub mod audit;
pub mod given;
pub mod page;
pub mod rerun;
mod words;

#[cfg(feature = "files")]
pub use ask::{Ask, AskError, RerunFiles, TrustFiles};
pub use words::{caution, statement, text};

/// The exit status of wrong usage and of files that cannot be read; no outcome has it.
pub const EXIT_USAGE: u8 = 64;

/// What the files come to.
///
/// # Errors
/// [`AskError`]: a file that cannot be read, or is no policy or directory. A receipt that is none is an
/// outcome, and no error.
#[cfg(feature = "files")]
pub fn report(ask: &Ask) -> Result<nearlight_proof::receipt::Report, AskError> {
    let trust = ask.trust.trust()?;
    let (receipt, later) = (ask.receipt()?, ask.later()?);
    Ok(given::judge(&receipt, &trust, &later))
}

#[cfg(test)]
#[cfg(feature = "files")]
mod test;
