//! What a witness decides (c2sp.org/tlog-witness): whether the head that a log asks it to cosign goes on
//! from the one that it cosigned last.
//!
//! ```text
//!   nothing seen --head--> seen --larger, with the proof that it goes on--> seen (the larger)
//!                           |-- the same again ---------------------------> seen, cosigned again
//!                           |-- smaller ----------------------------------> Behind: nothing is signed
//!                           |-- larger, and the proof does not show it ---> NotProven: nothing is signed
//!                           `-- another root of the same size ------------> Fork: nothing is signed
//! ```
//!
//! **Invariants.** Of what is taken, each head has the one before as its beginning: a witness that keeps the last before
//! it signs has signed one history. A refusal changes nothing.
//!
//! **What it does not know:** where the last head is kept, whether the disk has it yet, what the entries are.

use super::checkpoint::{Checkpoint, CheckpointError};
use super::note::{NOTE_BYTES_MAX, Note, VerifierKey};
use super::tree::{Hash, LogHasher, extends};
use crate::encoding::{array_from_base64, base64, from_decimal};
use std::fmt;

/// Hashes of a proof: a tree of 2^63 entries has no longer one.
pub const PROOF_MAX: usize = 63;
/// The longest request that is read, in bytes.
pub const CANDIDATE_BYTES_MAX: usize = NOTE_BYTES_MAX + 64 * PROOF_MAX;

/// Why bytes are no request to cosign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no add-checkpoint request: `old SIZE`, a proof, a blank line and a signed note")]
pub struct NotACandidate;

/// A head that is to be cosigned: the body of an add-checkpoint request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The size that the proof begins at.
    pub old: u64,
    /// That the log goes on from there.
    pub proof: Vec<Hash>,
    /// The head, with the log's line at least.
    pub note: Note,
}

impl Candidate {
    /// Takes a request apart. Nothing of it is verified yet.
    ///
    /// # Errors
    /// [`NotACandidate`].
    pub fn parse(text: &str) -> Result<Self, NotACandidate> {
        if text.len() > CANDIDATE_BYTES_MAX {
            return Err(NotACandidate);
        }
        let (head, note) = text.split_once("\n\n").ok_or(NotACandidate)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old "));
        let old = old.and_then(from_decimal).ok_or(NotACandidate)?;
        let proof: Option<Vec<Hash>> = lines.map(array_from_base64).collect();
        let proof = proof.filter(|proof| proof.len() <= PROOF_MAX);
        Ok(Self {
            old,
            proof: proof.ok_or(NotACandidate)?,
            note: Note::parse(note.as_bytes()).map_err(|_| NotACandidate)?,
        })
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(f, "{}", base64(hash))?;
        }
        write!(f, "\n{}", self.note)
    }
}

/// Why a head is not cosigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCosigned {
    /// It is not the log's.
    #[error(transparent)]
    Head(#[from] CheckpointError),
    /// It is smaller than what was cosigned: an old one, or a log that was rolled back.
    #[error("the head has {size} entries, and {seen} were cosigned")]
    Behind {
        /// Entries of the head.
        size: u64,
        /// Entries of what was cosigned.
        seen: u64,
    },
    /// Two heads of one size: the log has two histories, and both heads together prove it.
    #[error(
        "the log signed another tree of {size} entries than the one that was cosigned: it is forked"
    )]
    Fork {
        /// Entries of both.
        size: u64,
    },
    /// The proof does not begin at what was cosigned; one that does is to be asked for.
    #[error("the proof begins at {old} entries, and {seen} were cosigned")]
    OtherStart {
        /// Where it begins.
        old: u64,
        /// Entries of what was cosigned.
        seen: u64,
    },
    /// The proof does not lead from what was cosigned to the head.
    #[error(
        "nothing shows that the tree of {size} entries goes on from the {seen} that were cosigned"
    )]
    NotProven {
        /// Entries of the head.
        size: u64,
        /// Entries of what was cosigned.
        seen: u64,
    },
}

impl NotCosigned {
    /// Whether the log signed what does not go on from what it signed before: what a witness is there to find.
    #[must_use]
    pub const fn contradicts(&self) -> bool {
        matches!(self, Self::Fork { .. } | Self::NotProven { .. })
    }
}

/// The head that a witness may cosign, having cosigned `seen` last: it keeps it first.
///
/// # Errors
/// Every [`NotCosigned`].
pub fn next(
    seen: Option<&Checkpoint>,
    candidate: &Candidate,
    log: &VerifierKey,
) -> Result<Checkpoint, NotCosigned> {
    let head = Checkpoint::open(&candidate.note, log)?;
    let Some(seen) = seen else {
        return Ok(head);
    };
    let (size, seen_size) = (head.size, seen.size);
    if size < seen_size {
        return Err(NotCosigned::Behind {
            size,
            seen: seen_size,
        });
    }
    if size == seen_size {
        return match head.root == seen.root {
            true => Ok(head),
            false => Err(NotCosigned::Fork { size }),
        };
    }
    if candidate.old != seen_size {
        return Err(NotCosigned::OtherStart {
            old: candidate.old,
            seen: seen_size,
        });
    }
    let goes_on = extends::<LogHasher>(
        (seen_size, &seen.root),
        (size, &head.root),
        &candidate.proof,
    );
    match goes_on {
        true => Ok(head),
        false => Err(NotCosigned::NotProven {
            size,
            seen: seen_size,
        }),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::key::SecretKey;
    use crate::log::note::{Algorithm, NoteError};
    use crate::log::tree::{consistency, leaf, root};

    fn log() -> (SecretKey, VerifierKey) {
        let secret = SecretKey::from_seed(&[4; 32]);
        let key = VerifierKey::new("log.example", Algorithm::Ed25519, secret.public());
        (secret, key.unwrap())
    }

    fn leaves(of: &str, count: usize) -> Vec<Hash> {
        let one = |n: usize| match n {
            0..=3 => leaf(&[n as u8]),
            _ => leaf(format!("{of} {n}").as_bytes()),
        };
        (0..count).map(one).collect()
    }

    fn head(leaves: &[Hash]) -> Checkpoint {
        Checkpoint {
            origin: "log.example".to_owned(),
            size: leaves.len() as u64,
            root: root::<LogHasher>(leaves),
        }
    }

    fn asked(leaves: &[Hash], old: usize) -> Candidate {
        Candidate {
            old: old as u64,
            proof: consistency::<LogHasher>(leaves, old).unwrap(),
            note: head(leaves).sign(&log().0).unwrap(),
        }
    }

    #[test]
    fn one_history_is_followed_and_nothing_else_is_signed() {
        let (_, key) = log();
        let (one, other) = (leaves("one", 20), leaves("other", 20));
        let first = next(None, &asked(&one[..7], 0), &key).unwrap();
        assert_eq!(first, head(&one[..7]));
        let check = |candidate: &Candidate| next(Some(&first), candidate, &key);
        assert_eq!(check(&asked(&one, 7)), Ok(head(&one)));
        assert_eq!(check(&asked(&one[..7], 7)), Ok(first.clone()), "once more");
        let behind = NotCosigned::Behind { size: 6, seen: 7 };
        assert_eq!(check(&asked(&one[..6], 0)), Err(behind));
        let start = NotCosigned::OtherStart { old: 4, seen: 7 };
        assert_eq!(check(&asked(&one, 4)), Err(start));
        let fork = check(&asked(&other[..7], 7)).unwrap_err();
        assert_eq!(fork, NotCosigned::Fork { size: 7 });
        let longer = check(&asked(&other, 7)).unwrap_err();
        assert_eq!(longer, NotCosigned::NotProven { size: 20, seen: 7 });
        assert!(fork.contradicts() && longer.contradicts() && !behind.contradicts());
    }

    #[test]
    fn a_head_of_somebody_else_is_none() {
        let (_, key) = log();
        let mut candidate = asked(&leaves("one", 5), 0);
        candidate.note = head(&leaves("one", 5))
            .sign(&SecretKey::from_seed(&[5; 32]))
            .unwrap();
        let refused = NotCosigned::Head(CheckpointError::Note(NoteError::Missing));
        assert_eq!(next(None, &candidate, &key), Err(refused));
    }

    #[test]
    fn a_request_is_read_as_it_is_written_and_nothing_else_is() {
        let one = leaves("one", 20);
        for old in [0, 7, 20] {
            let candidate = asked(&one, old);
            let text = candidate.to_string();
            assert_eq!(Candidate::parse(&text), Ok(candidate), "{text}");
        }
        let text = asked(&one, 7).to_string();
        let long = format!(
            "old 7\n{}",
            format!("{}\n", base64(&[0; 32])).repeat(PROOF_MAX + 1)
        );
        for wrong in [
            text.replacen("old 7", "old 07", 1),
            text.replacen("old ", "new ", 1),
            text.replacen("\n\n", "\n", 1),
            text.replacen('\n', "\nAAAA\n", 1),
            text.replacen("old 7\n", &long, 1),
            format!("old 7\n{}", "x".repeat(CANDIDATE_BYTES_MAX)),
            String::new(),
        ] {
            assert_eq!(Candidate::parse(&wrong), Err(NotACandidate), "{wrong}");
        }
    }
}
