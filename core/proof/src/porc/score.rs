//! The result is a number: each leg's speed as thousandths of a signed reference for its class.

use super::memory::BLOCK_WORDS;
use crate::canon;
use crate::key::{KeyId, PublicKey, SecretKey};
use crate::receipt::envelope::Envelope;
use crate::receipt::predicate::{Elapsed, Ratios, Sizes};
use serde::{Deserialize, Serialize};

/// The type of a table's payload.
pub const TABLE: &str = "application/vnd.nearlight.gpu-table.v1+json";
/// The greatest ratio that is written: a hundred times the reference.
pub const PERMILLE_MAX: u32 = 100_000;

/// Of a card's memory that is filled so many thousandths stand for all of it: driver and screen have the rest.
pub const WHOLE_PERMILLE: u64 = 850;

/// What a class of GPU takes for each leg at these sizes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Its name, as nodes claim it.
    pub class: String,
    /// The sizes that the times are for.
    pub sizes: Sizes,
    /// What the reference took.
    pub reference: Elapsed,
    /// The least score that passes, thousandths.
    pub pass_permille: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    serial: u64,
    classes: Vec<Class>,
}

/// A table whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Which edition.
    pub serial: u64,
    /// SHA-256 of its envelope, what receipts name it by.
    pub id: KeyId,
    classes: Vec<Class>,
}

/// Why bytes are no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// No envelope with a list of classes in RFC 8785 form.
    #[error("this is no table of GPU classes in RFC 8785 form")]
    Shape,
    /// Not signed by the key that the verifier was given.
    #[error("the table is not signed by the key that it should be; do not use it")]
    Signature,
}

/// What a probe comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    /// Each leg's.
    pub ratios: Ratios,
    /// The least of them: the result.
    pub permille: u32,
    /// Whether that is enough for the class.
    pub passes: bool,
}

impl Table {
    /// Reads a table that `authority` signed.
    ///
    /// # Errors
    /// Every [`TableError`].
    pub fn open(bytes: &[u8], authority: &PublicKey) -> Result<Self, TableError> {
        let envelope = Envelope::parse(bytes).map_err(|_| TableError::Shape)?;
        let one = envelope.signatures.len() == 1 && envelope.payload_type == TABLE;
        if !one || !envelope.signed_by(authority) {
            return Err(TableError::Signature);
        }
        let value = canon::strict(&envelope.payload).map_err(|_| TableError::Shape)?;
        let Listed { serial, classes } =
            serde_json::from_value(value).map_err(|_| TableError::Shape)?;
        Ok(Self {
            serial,
            id: KeyId(crate::encoding::sha256(&[bytes])),
            classes,
        })
    }

    /// A table as signed bytes.
    ///
    /// # Errors
    /// [`TableError::Shape`] for numbers or a length that no envelope may have.
    pub fn sign(
        serial: u64,
        classes: Vec<Class>,
        authority: &SecretKey,
    ) -> Result<Vec<u8>, TableError> {
        let value =
            serde_json::to_value(Listed { serial, classes }).map_err(|_| TableError::Shape)?;
        let mut envelope = Envelope::new(TABLE, canon::to_bytes(&value));
        envelope.sign(authority);
        let bytes = envelope.to_bytes();
        Self::open(&bytes, &authority.public())?;
        Ok(bytes)
    }

    /// A class by its name.
    #[must_use]
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.classes.iter().find(|class| class.class == name)
    }
}

/// How much memory a GPU is taken to have that filled so many blocks, MiB: what is filled is 85 % of it.
#[must_use]
pub const fn stands_for_mib(blocks: u32) -> u64 {
    bytes(blocks) * 1000 / (WHOLE_PERMILLE << 20)
}

const fn filled_mib(blocks: u32) -> u64 {
    bytes(blocks) >> 20
}

const fn bytes(blocks: u32) -> u64 {
    blocks as u64 * BLOCK_WORDS as u64 * 4
}

impl Class {
    /// How much memory a probe of this class fills, MiB, if a card of so much has more than that stands for.
    #[must_use]
    pub fn fills_less_than(&self, card_mib: u64) -> Option<u64> {
        let is_less = stands_for_mib(self.sizes.blocks) < card_mib;
        is_less.then_some(filled_mib(self.sizes.blocks))
    }

    /// The score of a probe of this class's sizes that took so long.
    #[must_use]
    pub fn score(&self, took: &Elapsed) -> Score {
        let compute = permille(self.reference.compute_us, took.compute_us);
        let fill = permille(self.reference.fill_us, took.fill_us);
        let read = permille(self.reference.read_us, took.read_us);
        let render = permille(self.reference.render_us, took.render_us);
        let ratios = Ratios {
            compute_permille: compute,
            memory_permille: fill.min(read),
            render_permille: render,
        };
        let least = compute.min(fill).min(read).min(render);
        Score {
            ratios,
            permille: least,
            passes: least >= self.pass_permille,
        }
    }
}

/// `reference / took` in thousandths, rounded down; no time at all counts as a microsecond.
fn permille(reference_us: u64, took_us: u64) -> u32 {
    let ratio = u128::from(reference_us) * 1000 / u128::from(took_us.max(1));
    u32::try_from(ratio).map_or(PERMILLE_MAX, |ratio| ratio.min(PERMILLE_MAX))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_slowest_leg_is_the_score() {
        let sizes = Sizes {
            rows: 16_384,
            blocks: 1,
            lanes: 1,
            reads: 1,
            frames: 1,
            tiles: 1,
            steps: 96,
        };
        let reference = Elapsed {
            compute_us: 1_000,
            fill_us: 1_000,
            read_us: 1_000,
            render_us: 1_000,
        };
        let class = Class {
            class: "x".to_owned(),
            sizes,
            reference,
            pass_permille: 800,
        };
        let authority = SecretKey::from_seed(&[1; 32]);
        let bytes = Table::sign(3, vec![class], &authority).unwrap();
        let table = Table::open(&bytes, &authority.public()).unwrap();
        let class = table.class("x").unwrap();
        let took = |read_us| Elapsed {
            compute_us: 500,
            read_us,
            fill_us: 900,
            render_us: 0,
        };
        let score = class.score(&took(1_250));
        assert_eq!((score.permille, score.passes), (800, true));
        assert_eq!(score.ratios.render_permille, PERMILLE_MAX);
        assert!(!class.score(&took(1_251)).passes);
        assert!(class.score(&took(u64::MAX)).permille == 0);
        let other = SecretKey::from_seed(&[2; 32]).public();
        assert_eq!(Table::open(&bytes, &other), Err(TableError::Signature));
        let of_blocks = |blocks| Class {
            sizes: Sizes { blocks, ..sizes },
            ..class.clone()
        };
        assert_eq!(of_blocks(131_072).fills_less_than(9_637), None);
        assert_eq!(of_blocks(131_072).fills_less_than(9_638), Some(8_192));
        assert_eq!(of_blocks(1).fills_less_than(0), None);
        // 85 % of a card in blocks, rounded up, are all of it; in whole MiB they were less.
        assert_eq!(of_blocks(313_263).fills_less_than(23_034), None);
        assert_eq!(of_blocks(313_262).fills_less_than(23_034), Some(19_578));
    }
}
