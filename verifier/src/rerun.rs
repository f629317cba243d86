//! A capacity check computed anew on this machine: the seed from the receipt, then what was opened, and whole legs where
//! they take minutes at most.
//!
//! **What it does not know:** whether the receipt is signed and logged; `verify` does. Whether the node was fast: times
//! are the checker's word, and the node's where it signed.

use crate::audit::Source;
use crate::words::name;
use nearlight_proof::encoding::{hex, sha256};
use nearlight_proof::porc::exchange::opening::{Again, Part};
use nearlight_proof::porc::rerun::{Leg, Rerun};
use nearlight_proof::receipt::envelope::Envelope;
use nearlight_proof::receipt::predicate::Predicate;
use nearlight_proof::receipt::statement::{Evidence, Statement};
use serde::Serialize;
use std::fmt::Write;

/// Why nothing is computed.
#[derive(Debug, thiserror::Error)]
pub enum RerunError<E: std::error::Error + 'static> {
    /// Where evidence is.
    #[error(transparent)]
    Source(E),
    /// No envelope with a statement.
    #[error("this is no receipt; `receipt verify` says what is wrong with it")]
    NoReceipt,
    /// A receipt of another kind.
    #[error("a {0} receipt has nothing to compute; capacity checks (porc/v1) have")]
    Kind(&'static str),
    /// Sizes that no probe has.
    #[error("the receipt has sizes that no probe has")]
    Sizes,
}

/// What is said if no block is right.
const OTHER: &str = "so is none of them, as in a receipt of the first edition, whose blocks prove nothing about memory (docs/adr/0068)";

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub enum Verdict {
    /// Everything that was computed is what the receipt says.
    Agrees,
    /// Something is not.
    Differs,
    /// Nothing could be computed: no evidence, and too large without.
    NotRerun,
}

impl Verdict {
    /// The exit code of a program that says this.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Agrees => 0,
            Self::Differs => 14,
            Self::NotRerun => 15,
        }
    }
}

/// A part that was computed anew, or could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Which.
    pub part: &'static str,
    /// Computed and compared.
    pub compared: usize,
    /// Of so many.
    pub of: usize,
    /// What differs, or why nothing was computed; empty if all of it agrees.
    pub why: String,
    /// Whether something differs.
    pub differs: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// How it ended.
    pub verdict: Verdict,
    /// The seed, hex: it follows from beacon, node, GPU, probe and nonce.
    pub seed: String,
    /// What the receipt says came of the check.
    pub finding: nearlight_proof::receipt::predicate::Finding,
    /// Part by part.
    pub parts: Vec<Done>,
}

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Rows of C to compute: each takes as many multiplications as C has elements.
    pub rows_max: usize,
    /// Whole legs, however long they take.
    pub whole: bool,
}

/// Computes a check anew from its envelope and the evidence that a source has.
///
/// # Errors
/// [`RerunError`].
pub fn rerun<S: Source>(
    envelope: &[u8],
    source: &mut S,
    wanted: Wanted,
) -> Result<Found, RerunError<S::Error>> {
    let statement = Envelope::parse(envelope).ok();
    let statement = statement.and_then(|envelope| Statement::parse(&envelope).ok());
    let statement = statement.ok_or(RerunError::NoReceipt)?;
    let Predicate::Porc(porc) = &statement.predicate else {
        return Err(RerunError::Kind(statement.predicate.kind()));
    };
    let rerun = Rerun::of(porc, &statement.subject.sha256).ok_or(RerunError::Sizes)?;
    let evidence = collected(source, &statement.head.evidence).map_err(RerunError::Source)?;
    let mut parts = opened(&rerun, evidence, wanted.rows_max);
    parts.extend(whole(&rerun, wanted.whole));
    let verdict = if parts.iter().any(|part| part.differs) {
        Verdict::Differs
    } else if parts.iter().any(|part| part.compared > 0) {
        Verdict::Agrees
    } else {
        Verdict::NotRerun
    };
    Ok(Found {
        verdict,
        seed: hex(rerun.seed()),
        finding: porc.finding,
        parts,
    })
}

/// All pieces in order, or why not.
fn collected<S: Source>(
    source: &mut S,
    pieces: &[Evidence],
) -> Result<Result<Vec<u8>, String>, S::Error> {
    if pieces.is_empty() {
        return Ok(Err("the receipt names no evidence".to_owned()));
    }
    let mut all = Vec::new();
    for (turn, piece) in pieces.iter().enumerate() {
        let Some(bytes) = source.evidence(&piece.sha256.to_string())? else {
            let why = format!(
                "the evidence is gone or was never handed in: piece {} of {}",
                turn + 1,
                pieces.len()
            );
            return Ok(Err(why));
        };
        if sha256(&[&bytes]) != piece.sha256.0 {
            return Ok(Err(
                "the evidence is other bytes than the receipt names".to_owned()
            ));
        }
        all.extend(bytes);
    }
    Ok(Ok(all))
}

fn opened(rerun: &Rerun, evidence: Result<Vec<u8>, String>, rows_max: usize) -> Vec<Done> {
    const NAMES: [&str; 4] = ["rows of C", "blocks", "lanes of reads", "tiles"];
    let again = evidence.and_then(|bytes| {
        rerun
            .openings(&bytes, rows_max)
            .map_err(|wrong| wrong.to_string())
    });
    match again {
        Ok(again) => {
            let is_other = is_of_another_edition(&again);
            let parts = [again.rows, again.blocks, again.lanes, again.tiles];
            let parts = NAMES.into_iter().zip(parts);
            let mut parts: Vec<_> = parts.map(|(name, part)| done(name, part)).collect();
            if is_other {
                let blocks = &mut parts[1].why;
                *blocks = format!("{blocks}; {OTHER}");
            }
            parts
        }
        Err(why) => {
            let none = |part| Done {
                part,
                compared: 0,
                of: 0,
                why: why.clone(),
                differs: false,
            };
            NAMES.map(none).to_vec()
        }
    }
}

/// Whether the memory leg alone is wrong, and all of it.
fn is_of_another_edition(again: &Again) -> bool {
    let blocks = &again.blocks;
    let others = again.rows.differ + again.tiles.differ;
    blocks.compared > 0 && blocks.differ == blocks.compared && others == 0
}

fn done(name: &'static str, part: Part) -> Done {
    Done {
        part: name,
        compared: part.compared,
        of: part.drawn,
        why: part
            .wrong
            .map(|wrong| wrong.to_string())
            .unwrap_or_default(),
        differs: part.wrong.is_some(),
    }
}

/// The roots over everything, where that takes minutes at most, or was asked for.
fn whole(rerun: &Rerun, asked: bool) -> Vec<Done> {
    let legs = [
        ("root of C", Leg::Matrix),
        ("root of the blocks", Leg::Fill),
        ("root of the reads", Leg::Reads),
        ("root of the frames", Leg::Frames),
    ];
    let is_due = asked || rerun.is_small();
    let one = |(part, leg)| {
        let root = is_due.then(|| rerun.whole(leg));
        let differs = root.is_some_and(|root| root.said != root.computed);
        let why = match root {
            None => "too large to do by the way; --whole does it".to_owned(),
            // A check that ended early says nothing of what it did not get to.
            Some(root) if differs && root.said == [0; 32] => {
                "the check did not get there".to_owned()
            }
            Some(root) if differs => format!("it comes to {}", hex(&root.computed)),
            Some(_) => String::new(),
        };
        Done {
            part,
            compared: usize::from(root.is_some_and(|root| root.said != [0; 32])),
            of: 1,
            why,
            differs: differs && root.is_some_and(|root| root.said != [0; 32]),
        }
    };
    legs.map(one).to_vec()
}

/// What came of it, for people.
#[must_use]
pub fn text(found: &Found) -> String {
    let words = match found.verdict {
        Verdict::Agrees => "everything that was computed anew is what the receipt says",
        Verdict::Differs => "something that was computed anew is not what the receipt says",
        Verdict::NotRerun => "nothing could be computed anew",
    };
    let mut text = format!("{}: {words}\n  seed {}\n", name(&found.verdict), found.seed);
    for part in &found.parts {
        let mark = match (part.differs, part.compared) {
            (true, _) => "DIFF",
            (false, 0) => "--  ",
            (false, _) => "ok  ",
        };
        let _ = write!(
            text,
            "  {mark}  {:<18} {} of {}",
            part.part, part.compared, part.of
        );
        if !part.why.is_empty() {
            let _ = write!(text, ": {}", part.why);
        }
        text.push('\n');
    }
    let _ = writeln!(text, "  the check says: {}", name(&found.finding));
    text.push_str("  note: times cannot be computed anew; they are the checker's word, and the node's where it signed\n");
    text
}

#[cfg(test)]
#[path = "rerun/test.rs"]
mod test;
