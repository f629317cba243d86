//! What a challenge follows from: a beacon that nobody knew, and secrets that the checker had
//! committed to before the beacon was out. Neither side can choose it, nor work ahead.

use super::mixer::hash;
use crate::key::KeyId;
use crate::log::tree::Hash;

/// The three secrets of a checker for one probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secrets {
    /// Goes into the seed; revealed when the probe starts.
    pub nonce: Hash,
    /// The key of the reads follows from it; revealed after the fill is committed.
    pub read: Hash,
    /// What is opened follows from it; revealed after everything is committed.
    pub open: Hash,
}

impl Secrets {
    /// What the checker publishes before the round.
    #[must_use]
    pub fn commitments(&self) -> [Hash; 3] {
        [self.nonce, self.read, self.open].map(|secret| hash("porc/v1 secret", &[&secret]))
    }
}

/// What a probe is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The beacon's value for the round.
    pub beacon: Hash,
    /// The node's key.
    pub node: KeyId,
    /// Which GPU, by its own id.
    pub gpu: String,
    /// Which probe.
    pub id: String,
}

/// The seed of a probe: every leg follows from it.
#[must_use]
pub fn seed(probe: &Probe, nonce: &Hash) -> Hash {
    let parts: [&[u8]; 5] = [
        &probe.beacon,
        &probe.node.0,
        probe.gpu.as_bytes(),
        probe.id.as_bytes(),
        nonce,
    ];
    hash("porc/v1", &parts)
}
