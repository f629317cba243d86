//! Verifying a receipt offline, from files: what `nearlight-verify` and `nearlight receipt` do.
//!
//! A receipt comes as the broker's API shows it (`GET /v1/receipts/INDEX`: envelope and proof in one JSON
//! file), or as the envelope alone with its `.tlog-proof` beside. Who is believed comes from the reader: a
//! policy, a directory of keys and the key that signed that. What the broker shows as its directory
//! (`GET /v1/directory`) has all three, and the report says that they are the operator's own.
//!
//! **Invariants.** No network, no clock, no files but those that are named. The exit status is the outcome's.
//!
//! **What it does not know:** whether a later entry that was not given exists; an audit does.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod ask;
mod words;

pub use ask::{Ask, AskError};
pub use words::{statement, text};

use nearlight_proof::receipt::report::Report;
use nearlight_proof::receipt::verify::{Given, verify};

/// The exit status of wrong usage and of files that cannot be read; outcomes have all below 12.
pub const EXIT_USAGE: u8 = 64;

/// What the files come to.
///
/// # Errors
/// [`AskError`]: a file that cannot be read, or is no policy or directory. A receipt that is none is an
/// outcome, and no error.
pub fn report(ask: &Ask) -> Result<Report, AskError> {
    let trust = ask.trust()?;
    let receipt = ask.receipt()?;
    let later = ask.later()?;
    let later: Vec<(&[u8], &[u8])> = later
        .iter()
        .map(|of| (of.envelope.as_slice(), of.proof.as_slice()))
        .collect();
    let given = Given {
        policy: &trust.policy,
        policy_source: trust.source,
        directory: &trust.directory,
        later: &later,
    };
    Ok(verify(&receipt.envelope, &receipt.proof, &given))
}

#[cfg(test)]
mod test;
