//! What a node's agent says to the program that computes a probe on a GPU, and what that answers: lines of JSON.
//!
//! ```text
//! agent                                  program, one for each probe
//!  | <------------------ ready, or failed |  the device is open
//!  | -- start: seed and sizes ----------> |
//!  | <------ root of the fill, C, frames -|  each as soon as it is there
//!  | -- read ---------------------------> |
//!  | <----------------- root of the reads |
//!  | -- open ---------------------------> |
//!  | <--------- opening, then its bytes --|
//! ```
//!
//! `failed` may come in the place of any answer, and is the last one. Whoever loses the other ends.
//!
//! **What it does not know:** pipes, processes, who asks the node.

use super::super::memory::Reads;
use super::opening::Plan;
use crate::key::KeyId;
use crate::receipt::predicate::Sizes;
use serde::{Deserialize, Serialize};

/// The longest line, bytes: a plan of what is opened has some thousand numbers.
pub const LINE_BYTES_MAX: usize = 256 * 1024;

/// What the agent says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Order {
    /// Run all legs.
    Start {
        /// The seed.
        seed: KeyId,
        /// Sizes of the legs.
        sizes: Sizes,
    },
    /// Run the lanes over what is held.
    Read {
        /// By these.
        reads: Reads,
    },
    /// Open what was drawn. Nothing comes after.
    Open {
        /// What was drawn.
        plan: Box<Plan>,
        /// The reads that were run.
        reads: Reads,
    },
}

/// A root that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rooted {
    /// Over the blocks.
    Fill,
    /// Over the rows of C.
    Matrix,
    /// Over the frames.
    Frames,
    /// Over what the lanes kept.
    Reads,
}

/// What the program says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Said {
    /// The device is open.
    Ready,
    /// A root.
    Root {
        /// Of what.
        of: Rooted,
        /// It.
        root: KeyId,
    },
    /// What was opened: so many bytes follow the line.
    Opening {
        /// How many.
        bytes: u64,
    },
    /// It cannot be done.
    Failed {
        /// Why, as a sentence without its full stop.
        why: String,
    },
}

/// A device that a program found, as `edge-prover --list` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// What the program is told to open: `pci-ADDRESS`, or `adapter-NUMBER` of one that sits on no bus.
    pub id: String,
    /// Its name, as its driver says.
    pub name: String,
    /// Where it sits, such as `0000:01:00.0`; empty of one that sits on no bus.
    pub pci: String,
    /// Whether it is a CPU that plays a GPU.
    pub is_software: bool,
    /// The most that a fill can hold on it, MiB: what its shaders can reach.
    pub fill_mib: u64,
}

#[cfg(test)]
mod test {
    use super::*;

    const SIZES: Sizes = Sizes {
        rows: 16_384,
        blocks: 1 << 20,
        lanes: 65_536,
        reads: 200_000,
        frames: 64,
        tiles: 4_096,
        steps: 96,
    };

    #[test]
    fn a_line_is_what_it_was_and_never_too_long() {
        let reads = Reads::new(&[1; 32], &[2; 32], SIZES.blocks);
        let orders = [
            Order::Start {
                seed: KeyId([7; 32]),
                sizes: SIZES,
            },
            Order::Read { reads },
            Order::Open {
                plan: Box::new(Plan::draw(&SIZES, &[3; 32])),
                reads,
            },
        ];
        for order in orders {
            let line = serde_json::to_string(&order).unwrap();
            assert!(line.len() < LINE_BYTES_MAX && !line.contains('\n'));
            assert_eq!(serde_json::from_str::<Order>(&line).unwrap(), order);
        }
        let said = Said::Root {
            of: Rooted::Reads,
            root: KeyId([9; 32]),
        };
        let line = serde_json::to_string(&said).unwrap();
        assert_eq!(serde_json::from_str::<Said>(&line).unwrap(), said);
        let odd = r#"{"said":"failed","why":"","more":1}"#;
        assert!(serde_json::from_str::<Said>(odd).is_err());
    }
}
