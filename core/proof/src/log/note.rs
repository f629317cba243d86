//! Signed notes (c2sp.org/signed-note): a text and the lines of those who signed it.
//!
//! [`Note::parse`] takes the text apart and trusts nobody. A reader then asks for the signatures of
//! a key that it knows, [`Note::by`]; lines of other keys are ignored, as C2SP says, and are the
//! only bytes of a note that may change without a verifier noticing.
//!
//! **What it does not know:** what the text means.

use crate::encoding::{array_from_hex, base64, from_base64, hex, sha256};
use crate::key::{PublicKey, SecretKey};
use std::fmt;

/// The longest note that is read, in bytes.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;
/// The most signature lines that are read.
pub const SIGNATURES_MAX: usize = 64;

/// Why bytes are no signed note, or not one of the key that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// No text, blank line and signature lines; or control characters, or too long.
    #[error("this is not a signed note: text, a blank line, then signature lines")]
    Form,
    /// A signature line that is not "— name base64".
    #[error("a signature line of the note is malformed")]
    Line,
    /// There is no line of this key.
    #[error("the note has no signature of the key that is asked for")]
    Missing,
    /// A line has the key's name and id, and is not the key's.
    #[error("a signature of the note is forged or damaged; do not use the note")]
    Forged,
}

/// What a key signs, and how: the first byte of its material.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// A note's text, by Ed25519.
    Ed25519,
    /// A checkpoint with a time, by Ed25519: a witness.
    CosignatureV1,
}

impl Algorithm {
    const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::CosignatureV1 => 4,
        }
    }
}

/// A key that verifies note signatures, as a vkey has it: name, algorithm and public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    algorithm: Algorithm,
    key: PublicKey,
}

impl VerifierKey {
    /// A key under a name, or `None` if the name is empty or has a space, a plus or a control
    /// character.
    #[must_use]
    pub fn new(name: &str, algorithm: Algorithm, key: PublicKey) -> Option<Self> {
        is_name(name).then(|| Self {
            name: name.to_owned(),
            algorithm,
            key,
        })
    }

    /// Reads `name+id+material`. `None` for another algorithm, an id that is not the key's, or a
    /// key that strict verification does not take.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('+')?;
        let (id, material) = rest.split_once('+')?;
        let material: [u8; 33] = crate::encoding::array_from_base64(material)?;
        let (algorithm, key) = material.split_first()?;
        let algorithm = match algorithm {
            1 => Algorithm::Ed25519,
            4 => Algorithm::CosignatureV1,
            _ => return None,
        };
        let key = Self::new(
            name,
            algorithm,
            PublicKey::from_bytes(key.try_into().ok()?)?,
        )?;
        (array_from_hex(id)? == key.id()).then_some(key)
    }

    /// The name that its signature lines carry.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key itself.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// C2SP's short id: enough to find a line, no proof of anything.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let material = [&[self.algorithm.byte()][..], self.key.as_bytes()].concat();
        let [a, b, c, d, ..] = sha256(&[self.name.as_bytes(), b"\n", &material]);
        [a, b, c, d]
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let material = [&[self.algorithm.byte()][..], self.key.as_bytes()].concat();
        write!(f, "{}+{}+{}", self.name, hex(&self.id()), base64(&material))
    }
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// The signer's name.
    pub name: String,
    /// The signer's short id.
    pub id: [u8; 4],
    /// The bytes after the id; what they are depends on the algorithm.
    pub bytes: Vec<u8>,
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\u{2014} {} {}",
            self.name,
            base64(&[&self.id[..], &self.bytes].concat())
        )
    }
}

/// A note that was taken apart. Nothing of it is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// Takes a note apart.
    ///
    /// # Errors
    /// [`NoteError::Form`] or [`NoteError::Line`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Form);
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| NoteError::Form)?;
        if whole.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(NoteError::Form);
        }
        let blank = whole.rfind("\n\n").ok_or(NoteError::Form)?;
        let (text, lines) = (&whole[..=blank], &whole[blank + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Form)?;
        let signatures: Vec<_> = lines
            .split('\n')
            .map(parse_line)
            .collect::<Option<_>>()
            .ok_or(NoteError::Line)?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(NoteError::Form);
        }
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// A note of this text, signed by a log's key. The text ends with a newline and has no other
    /// control characters, or there is no note.
    #[must_use]
    pub fn sign(text: &str, name: &str, secret: &SecretKey) -> Option<Self> {
        let key = VerifierKey::new(name, Algorithm::Ed25519, secret.public())?;
        let plain = text.ends_with('\n') && text.bytes().all(|b| b >= b' ' || b == b'\n');
        plain.then(|| Self {
            text: text.to_owned(),
            signatures: vec![NoteSignature {
                name: name.to_owned(),
                id: key.id(),
                bytes: secret.sign(text.as_bytes()).to_vec(),
            }],
        })
    }

    /// The text that was signed, with its final newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Every signature line, known or not.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a line, a witness's say.
    pub fn add(&mut self, signature: NoteSignature) {
        self.signatures.push(signature);
    }

    /// The lines that claim to be of this key: its name and its id.
    pub fn by<'a>(
        &'a self,
        key: &VerifierKey,
    ) -> impl Iterator<Item = &'a NoteSignature> + use<'a> {
        let (name, id) = (key.name.clone(), key.id());
        self.signatures
            .iter()
            .filter(move |line| line.name == name && line.id == id)
    }

    /// Whether a log's key signed the text: every line that claims to be its, is.
    ///
    /// # Errors
    /// [`NoteError::Missing`] or [`NoteError::Forged`].
    pub fn verify(&self, key: &VerifierKey) -> Result<(), NoteError> {
        let mut found = false;
        for line in self.by(key) {
            found = true;
            let signature = line
                .bytes
                .as_slice()
                .try_into()
                .map_err(|_| NoteError::Forged)?;
            let signed = key.algorithm == Algorithm::Ed25519
                && key.key.verifies(self.text.as_bytes(), signature);
            if !signed {
                return Err(NoteError::Forged);
            }
        }
        if found {
            Ok(())
        } else {
            Err(NoteError::Missing)
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| line.fmt(f))
    }
}

fn parse_line(line: &str) -> Option<NoteSignature> {
    let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let bytes = from_base64(encoded)?;
    let (id, rest) = bytes.split_first_chunk::<4>()?;
    let valid = is_name(name) && !rest.is_empty();
    valid.then(|| NoteSignature {
        name: name.to_owned(),
        id: *id,
        bytes: rest.to_vec(),
    })
}

fn is_name(name: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    !name.is_empty() && !name.contains(odd)
}

#[cfg(test)]
#[path = "note/test.rs"]
mod test;
