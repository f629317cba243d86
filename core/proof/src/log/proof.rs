//! An entry's proof as a file (c2sp.org/tlog-proof): index, path and cosigned checkpoint.
//!
//! The optional `extra` line is refused: it is not authenticated, and nothing of ours needs it.

use super::note::Note;
use super::tree::Hash;
use crate::encoding::{array_from_base64, base64, from_decimal};
use std::fmt;

/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// The longest path: as many levels as an index has bits.
const PATH_MAX: usize = 64;

/// Why bytes are no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not header, index, hashes, a blank line and a checkpoint.
    #[error("this is not a tlog-proof: header, index, hashes, a blank line, then a checkpoint")]
    Form,
    /// Its checkpoint is no signed note.
    #[error("the proof's checkpoint: {0}")]
    Note(#[from] super::note::NoteError),
}

/// A proof that was taken apart; nothing of it is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogProof {
    /// The entry's place in the log, from zero.
    pub index: u64,
    /// From the entry's sibling up.
    pub path: Vec<Hash>,
    /// The head that the path leads to, with its signatures.
    pub checkpoint: Note,
}

impl LogProof {
    /// Reads a `.tlog-proof` file.
    ///
    /// # Errors
    /// Every [`ProofError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        let text = std::str::from_utf8(bytes).map_err(|_| ProofError::Form)?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ProofError::Form)?;
        let mut lines = head.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(ProofError::Form);
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index.and_then(from_decimal).ok_or(ProofError::Form)?;
        let path: Vec<Hash> = lines
            .map(array_from_base64)
            .collect::<Option<_>>()
            .ok_or(ProofError::Form)?;
        if path.len() > PATH_MAX {
            return Err(ProofError::Form);
        }
        Ok(Self {
            index,
            path,
            checkpoint: Note::parse(checkpoint.as_bytes())?,
        })
    }
}

impl fmt::Display for LogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\nindex {}", self.index)?;
        self.path
            .iter()
            .try_for_each(|hash| writeln!(f, "{}", base64(hash)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::log::checkpoint::Checkpoint;
    use crate::log::cosignature;
    use crate::log::note::VerifierKey;
    use crate::log::tree::{LogHasher, includes, leaf};

    #[test]
    fn the_proof_of_oak() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../vectors/public.json")).unwrap();
        let text = |name: &str| vectors["oak"][name].as_str().unwrap();
        let proof = LogProof::parse(text("proof").as_bytes()).unwrap();
        assert_eq!(proof.to_string(), text("proof"));
        let log = VerifierKey::parse(text("log")).unwrap();
        let checkpoint = Checkpoint::open(&proof.checkpoint, &log).unwrap();
        let entry = leaf(text("entry").as_bytes());
        let (root, size) = (checkpoint.root, checkpoint.size);
        assert!(includes::<LogHasher>(
            &root,
            size,
            proof.index,
            &entry,
            &proof.path
        ));
        let witness = VerifierKey::parse(text("witness")).unwrap();
        assert_eq!(
            cosignature::verify(&proof.checkpoint, &witness),
            Ok(0x6998_8f3e)
        );
    }

    #[test]
    fn other_shapes_are_refused() {
        let hash = base64(&[1; 32]);
        let note = "log\n1\nx\n\n\u{2014} log AAAAAAA=\n";
        let good = format!("{HEADER}\nindex 3\n{hash}\n\n{note}");
        assert!(LogProof::parse(good.as_bytes()).is_ok());
        for text in [
            format!("{HEADER}\nindex 03\n{hash}\n\n{note}"),
            format!("{HEADER}\nextra AAAA\nindex 3\n{hash}\n\n{note}"),
            format!("{HEADER}\nindex 3\nAAAA\n\n{note}"),
            format!("{HEADER}\nindex 3\n{hash}\n{note}"),
            format!(
                "{HEADER}\nindex 3\n{}\n{note}",
                format!("{hash}\n").repeat(65)
            ),
            format!("c2sp.org/tlog-proof@v2\nindex 3\n\n{note}"),
        ] {
            assert!(LogProof::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
