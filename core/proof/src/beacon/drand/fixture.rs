//! A network of drand with one member, for tests: whoever has its number can sign any round ahead.

use super::{Network, hashed};
use bls12_381::{G1Affine, G2Affine, Scalar};

/// The member.
#[derive(Clone, Copy)]
pub struct Signer(Scalar);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    /// The member of that number, from 1.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(Scalar::from(number.max(1)))
    }

    /// Its network.
    ///
    /// # Panics
    /// For a period that no network has.
    #[must_use]
    pub fn network(&self, genesis_s: u64, period_s: u64) -> Network {
        let key = G2Affine::from(G2Affine::generator() * self.0).to_compressed();
        Network::new(key, genesis_s, period_s).expect("the period is of a network")
    }

    /// A round's signature.
    #[must_use]
    pub fn sign(&self, round: u64) -> [u8; 48] {
        G1Affine::from(hashed(round) * self.0).to_compressed()
    }
}
