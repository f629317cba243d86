//! Checkpoints (c2sp.org/tlog-checkpoint): origin, size and root of a log, as the text of a note.
//!
//! Extension lines are refused: no log of ours writes any, and no monitor could audit them.

use super::note::{Note, NoteError, VerifierKey};
use super::tree::Hash;
use crate::encoding::{array_from_base64, base64, from_decimal};
use crate::key::SecretKey;
use std::fmt;

/// Why a note is no checkpoint of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note cannot be read, or the log's signature is missing or forged.
    #[error("the checkpoint's note: {0}")]
    Note(#[from] NoteError),
    /// The text is not origin, size and root.
    #[error("the text of the checkpoint is not origin, size and root hash, a line each")]
    Form,
    /// The origin is another log's.
    #[error("the checkpoint is of another log than the key's name says")]
    Origin,
}

/// The head of a log: `size` entries under `root`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log; the name of its key.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The Merkle root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// Reads a checkpoint's text.
    ///
    /// # Errors
    /// [`CheckpointError::Form`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let body = text.strip_suffix('\n').ok_or(CheckpointError::Form)?;
        let lines: Vec<_> = body.split('\n').collect();
        let &[origin, size, root] = lines.as_slice() else {
            return Err(CheckpointError::Form);
        };
        let (Some(size), Some(root)) = (from_decimal(size), array_from_base64(root)) else {
            return Err(CheckpointError::Form);
        };
        if origin.is_empty() {
            return Err(CheckpointError::Form);
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
        })
    }

    /// The checkpoint of a note that the log's key signed.
    ///
    /// # Errors
    /// Every [`CheckpointError`].
    pub fn open(note: &Note, log: &VerifierKey) -> Result<Self, CheckpointError> {
        note.verify(log)?;
        let checkpoint = Self::parse(note.text())?;
        if checkpoint.origin == log.name() {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::Origin)
        }
    }

    /// This checkpoint as a note signed by the log, or `None` if the origin is no name for a key.
    #[must_use]
    pub fn sign(&self, secret: &SecretKey) -> Option<Note> {
        Note::sign(&self.to_string(), &self.origin, secret)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, base64(&self.root))
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn checkpoints_of_tessera() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../vectors/public.json")).unwrap();
        let key = VerifierKey::parse(vectors["tessera"]["vkey"].as_str().unwrap()).unwrap();
        for size in 0..=15_u64 {
            let file = &vectors["tessera"]["files"][format!("checkpoint.{size}")];
            let bytes = crate::encoding::from_base64(file.as_str().unwrap()).unwrap();
            let checkpoint = Checkpoint::open(&Note::parse(&bytes).unwrap(), &key).unwrap();
            assert_eq!(checkpoint.size, size);
        }
    }

    #[test]
    fn another_shape_is_refused() {
        let root = base64(&[0; 32]);
        let good = format!("log.example\n7\n{root}\n");
        assert_eq!(Checkpoint::parse(&good).unwrap().to_string(), good);
        for text in [
            format!("log.example\n07\n{root}\n"),
            format!("log.example\n7\n{root}"),
            format!("log.example\n7\n{root}\nextension\n"),
            format!("\n7\n{root}\n"),
            "log.example\n7\nAAAA\n".to_owned(),
        ] {
            assert_eq!(
                Checkpoint::parse(&text),
                Err(CheckpointError::Form),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_log_speaks_for_its_origin_alone() {
        let secret = SecretKey::from_seed(&[2; 32]);
        let of = |origin: &str| Checkpoint {
            origin: origin.to_owned(),
            size: 1,
            root: [9; 32],
        };
        let note = Note::sign(&of("b.example").to_string(), "a.example", &secret).unwrap();
        let key = VerifierKey::new(
            "a.example",
            super::super::note::Algorithm::Ed25519,
            secret.public(),
        );
        assert_eq!(
            Checkpoint::open(&note, &key.unwrap()),
            Err(CheckpointError::Origin)
        );
    }
}
