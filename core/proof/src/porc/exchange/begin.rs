//! The first message: who asks, of which GPU, for which sizes, with which secrets committed to.

use super::super::compute::ROWS_MAX;
use super::super::memory::{BLOCK_STEPS, BLOCK_WORDS};
use super::super::mixer::hash;
use super::super::render::STEPS_MIN;
use super::super::seed::{Probe, Secrets};
use crate::canon;
use crate::key::{KeyId, PublicKey, SecretKey};
use crate::log::tree::Hash;
use crate::receipt::envelope::Envelope;
use crate::receipt::predicate::Sizes;
use serde::{Deserialize, Serialize};

/// How the legs are made. What is of another edition is neither proved nor judged here.
pub const EDITION: u32 = 2;
/// The type of its payload, of this edition.
pub const BEGIN: &str = "application/vnd.nearlight.porc-begin.v2+json";
/// How the type of any edition begins.
const BEGINS: &str = "application/vnd.nearlight.porc-begin.v";
/// The longest name of a probe, a GPU or a class, bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// The most of what there is of each leg, whatever a node has.
const MOST: Sizes = Sizes {
    rows: ROWS_MAX,
    blocks: 1 << 22,
    lanes: 1 << 17,
    reads: 1_000_000,
    frames: 4_096,
    tiles: 1 << 16,
    steps: 4_096,
};

/// What a checker asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// The checker's public key, hex: it signs this.
    pub checker: String,
    /// The node's key.
    pub node: KeyId,
    /// Round of the beacon.
    pub round: u64,
    /// The beacon's value for the round.
    pub beacon: KeyId,
    /// Which probe.
    pub probe: String,
    /// Which GPU, by its own id.
    pub gpu: String,
    /// The class of the table that it is held to.
    pub class: String,
    /// SHA-256 of the signed table.
    pub table: KeyId,
    /// The root over the checkers that could have been assigned.
    pub checkers: KeyId,
    /// Sizes of the legs.
    pub sizes: Sizes,
    /// What was published of nonce, read secret and open secret.
    pub secrets: [KeyId; 3],
}

/// What a node can take on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Memory for the blocks and C, MiB.
    pub mem_mib: u64,
    /// Multiplications, reads times a hundred and steps of rays, all together.
    pub work: u64,
}

/// Why a node takes no probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// Not an envelope with a beginning in RFC 8785 form.
    #[error("this is no beginning of a probe in RFC 8785 form")]
    Shape,
    /// One of another edition, such as the first, whose blocks prove little about memory (docs/adr/0068).
    #[error(
        "the probe is of another edition than porc-begin.v2, the only one that is proved and judged here; update whoever began it, or this program"
    )]
    Edition,
    /// Not signed by the checker that it names.
    #[error("the beginning is not signed by the checker that it names")]
    Signature,
    /// Sizes that no probe has.
    #[error("the sizes are none that a probe has")]
    Sizes,
    /// It is another node's.
    #[error("the probe is of another node, or of a GPU that this one does not have")]
    Elsewhere,
    /// More than this node can hold or do.
    #[error("the probe is larger than what this node takes on; ask for another class")]
    Large,
}

impl Begin {
    /// As the checker sends it.
    ///
    /// # Errors
    /// Every [`BeginError`] of a reader that has this node and no bounds.
    pub fn sign(&self, checker: &SecretKey) -> Result<Vec<u8>, BeginError> {
        let value = serde_json::to_value(self).map_err(|_| BeginError::Shape)?;
        let mut envelope = Envelope::new(BEGIN, canon::to_bytes(&value));
        envelope.sign(checker);
        let bytes = envelope.to_bytes();
        Self::open(&bytes)?;
        Ok(bytes)
    }

    /// Reads what a checker sent, and whose it is.
    ///
    /// # Errors
    /// [`BeginError::Shape`], [`BeginError::Edition`], [`BeginError::Signature`], [`BeginError::Sizes`].
    pub fn open(bytes: &[u8]) -> Result<(Self, PublicKey), BeginError> {
        let envelope = Envelope::parse(bytes).map_err(|_| BeginError::Shape)?;
        match envelope.payload_type.as_str() {
            BEGIN => {}
            other if other.starts_with(BEGINS) => return Err(BeginError::Edition),
            _ => return Err(BeginError::Shape),
        }
        let value = canon::strict(&envelope.payload).map_err(|_| BeginError::Shape)?;
        let begin: Self = serde_json::from_value(value).map_err(|_| BeginError::Shape)?;
        let names = [&begin.probe, &begin.gpu, &begin.class];
        let named = |name: &&String| (1..=NAME_BYTES_MAX).contains(&name.len());
        if !names.iter().all(named) {
            return Err(BeginError::Shape);
        }
        let key = PublicKey::from_hex(&begin.checker).ok_or(BeginError::Signature)?;
        let one = envelope.signatures.len() == 1;
        if !one || !envelope.signed_by(&key) {
            return Err(BeginError::Signature);
        }
        if !are_of_a_probe(&begin.sizes) {
            return Err(BeginError::Sizes);
        }
        Ok((begin, key))
    }

    /// Whether a node with this key, these GPUs and these bounds takes it on.
    ///
    /// # Errors
    /// [`BeginError::Elsewhere`], [`BeginError::Large`].
    pub fn check(&self, node: &KeyId, gpus: &[String], bounds: &Bounds) -> Result<(), BeginError> {
        if self.node != *node || !gpus.contains(&self.gpu) {
            return Err(BeginError::Elsewhere);
        }
        if mem_bytes(&self.sizes) > bounds.mem_mib << 20 || work(&self.sizes) > bounds.work {
            return Err(BeginError::Large);
        }
        Ok(())
    }

    /// What its seed follows from.
    #[must_use]
    pub fn of(&self) -> Probe {
        Probe {
            beacon: self.beacon.0,
            node: self.node,
            gpu: self.gpu.clone(),
            id: self.probe.clone(),
        }
    }

    /// Whether a revealed secret is the one that was committed to, by its place.
    #[must_use]
    pub fn committed(&self, place: usize, secret: &Hash) -> bool {
        let commitment = hash("porc/v1 secret", &[secret]);
        self.secrets.get(place).is_some_and(|of| of.0 == commitment)
    }
}

/// The commitments of secrets as a beginning has them.
#[must_use]
pub fn commitments(secrets: &Secrets) -> [KeyId; 3] {
    secrets.commitments().map(KeyId)
}

pub(crate) fn are_of_a_probe(sizes: &Sizes) -> bool {
    let all = [
        (sizes.rows, 1, MOST.rows),
        (sizes.blocks, 1, MOST.blocks),
        (sizes.lanes, 1, MOST.lanes),
        (sizes.reads, 1, MOST.reads),
        (sizes.frames, 1, MOST.frames),
        (sizes.tiles, 1, MOST.tiles),
        (sizes.steps, STEPS_MIN, MOST.steps),
    ];
    all.iter()
        .all(|(size, least, most)| (least..=most).contains(&size))
        && u64::from(sizes.frames) * u64::from(sizes.tiles) <= 1 << 24
}

/// What a node holds at the same time, bytes: blocks, C, and a leaf for each.
#[must_use]
pub fn mem_bytes(sizes: &Sizes) -> u64 {
    let (rows, blocks) = (u64::from(sizes.rows), u64::from(sizes.blocks));
    let tiles = u64::from(sizes.frames) * u64::from(sizes.tiles);
    let kept = u64::from(sizes.lanes) * u64::from(sizes.reads.div_ceil(1_000));
    blocks * (BLOCK_WORDS as u64 * 4 + 64) + rows * (rows * 4 + 64) + tiles * 64 + kept * 4
}

/// Roughly what a node does: multiplications, steps of blocks and of rays, reads times a hundred.
#[must_use]
pub fn work(sizes: &Sizes) -> u64 {
    let of = |x: u32, y: u32| u64::from(x) * u64::from(y);
    let rays = of(sizes.frames, sizes.tiles).saturating_mul(4_096 * u64::from(sizes.steps));
    of(sizes.rows, sizes.rows)
        .saturating_mul(u64::from(sizes.rows))
        .saturating_add(u64::from(sizes.blocks) * BLOCK_STEPS)
        .saturating_add(of(sizes.lanes, sizes.reads).saturating_mul(100))
        .saturating_add(rays)
}
