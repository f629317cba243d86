//! What a node's agent says to the program that computes a probe on a GPU, and what that answers: lines of JSON.
//!
//! ```text
//! agent                                  program, one for each probe
//!  | <------------------ ready, or failed |  the device is open; of which edition the program is
//!  | -- start: seed and sizes ----------> |
//!  | <------ root of the fill, C, frames -|  each as soon as it is there
//!  | -- read ---------------------------> |
//!  | <----------------- root of the reads |
//!  | -- open ---------------------------> |
//!  | <--------- opening, then its bytes --|
//! ```
//!
//! `failed` may come in the place of any answer, and is the last one. Whoever loses the other ends. Before all that the
//! program lists its devices ([`Listed`]), and says there, too, of which edition of the legs it is: an agent of another one
//! has it prove nothing.
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
    Ready {
        /// As in [`Listed`].
        #[serde(default)]
        edition: u32,
    },
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

/// What `edge-prover --list` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Of which edition of the legs it is ([`EDITION`](super::begin::EDITION)). None is that of a program that does not say.
    pub edition: u32,
    /// The devices that it found.
    pub devices: Vec<Device>,
}

impl Listed {
    /// Reads it. A program of before printed the devices alone.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let of_before = || {
            let devices = serde_json::from_slice(bytes).ok()?;
            let edition = 0;
            Some(Self { edition, devices })
        };
        serde_json::from_slice(bytes).ok().or_else(of_before)
    }
}

/// A device that a program found.
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
    use super::super::begin::{BEGIN, EDITION};
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

    #[test]
    fn a_program_that_does_not_say_of_which_edition_it_is_is_of_none() {
        let device = r#"{"id":"a","name":"b","pci":"","is_software":false,"fill_mib":7}"#;
        let listed = Listed::read(format!("[{device}]").as_bytes()).unwrap();
        assert_eq!((listed.edition, listed.devices.len()), (0, 1));
        let now = Listed {
            edition: EDITION,
            ..listed
        };
        let text = serde_json::to_vec(&now).unwrap();
        assert_eq!(Listed::read(&text), Some(now));
        assert_eq!(Listed::read(b"llvmpipe"), None);
        let ready: Said = serde_json::from_str(r#"{"said":"ready"}"#).unwrap();
        assert_eq!(ready, Said::Ready { edition: 0 });
        assert!(BEGIN.contains(&format!(".v{EDITION}+")));
    }
}
