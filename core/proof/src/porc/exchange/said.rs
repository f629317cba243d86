//! What is said after the beginning: 32 bytes and a signature over everything that was said before.

use super::super::mixer::hash;
use super::Step;
use crate::key::{PublicKey, SecretKey};
use crate::log::tree::Hash;

/// Bytes of a message: a value and a signature.
pub const SAID_BYTES: usize = 96;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The checker.
    Checker,
    /// The node.
    Node,
}

impl Side {
    /// Its name in what is signed, and in records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Checker => "checker",
            Self::Node => "node",
        }
    }
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaidError {
    /// Another length than a value and a signature have.
    #[error("the message is not 96 bytes")]
    Length,
    /// The signature is not the other side's over this step of this exchange.
    #[error("the message is not signed for this step of this probe")]
    Signature,
}

/// All that was said, as one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transcript(Hash);

impl Transcript {
    /// After the beginning.
    #[must_use]
    pub fn new(begin: &[u8]) -> Self {
        Self(hash("porc/v1 begin", &[begin]))
    }

    /// Its hash.
    #[must_use]
    pub const fn hash(&self) -> &Hash {
        &self.0
    }

    fn after(&self, side: Side, step: Step, value: &Hash) -> Self {
        let parts: [&[u8]; 4] = [
            &self.0,
            side.word().as_bytes(),
            step.name().as_bytes(),
            value,
        ];
        Self(hash("porc/v1 said", &parts))
    }

    /// Says a value: the signature over it and all before.
    pub fn say(&mut self, side: Side, step: Step, value: &Hash, key: &SecretKey) -> [u8; 64] {
        *self = self.after(side, step, value);
        key.sign(&self.0)
    }

    /// A value with its signature, as one message.
    pub fn message(&mut self, side: Side, step: Step, value: &Hash, key: &SecretKey) -> Vec<u8> {
        let signature = self.say(side, step, value, key);
        [value.as_slice(), &signature].concat()
    }

    /// Takes a value that the other side signed; the transcript stays as it was if it did not.
    ///
    /// # Errors
    /// [`SaidError::Signature`].
    pub fn hear(
        &mut self,
        (side, step): (Side, Step),
        value: &Hash,
        signature: &[u8; 64],
        key: &PublicKey,
    ) -> Result<(), SaidError> {
        let after = self.after(side, step, value);
        if !key.verifies(&after.0, signature) {
            return Err(SaidError::Signature);
        }
        *self = after;
        Ok(())
    }

    /// The value of a message of the other side.
    ///
    /// # Errors
    /// Every [`SaidError`].
    pub fn take(
        &mut self,
        (side, step): (Side, Step),
        message: &[u8],
        key: &PublicKey,
    ) -> Result<Hash, SaidError> {
        let message: &[u8; SAID_BYTES] = message.try_into().map_err(|_| SaidError::Length)?;
        let (value, signature) = message.split_at(32);
        let value: Hash = value.try_into().map_err(|_| SaidError::Length)?;
        let signature: [u8; 64] = signature.try_into().map_err(|_| SaidError::Length)?;
        self.hear((side, step), &value, &signature, key)?;
        Ok(value)
    }
}
