//! The checker: has nodes prove what they can do, and signs what it found (docs/proof.md).
//!
//! In reading order:
//!
//! 1. [`cli`]: what people type; [`failure`]: how it ends otherwise.
//! 2. [`keys`]: the checker's key and its words; [`table`]: what classes of machines take; [`beacon`]: randomness that
//!    nobody could choose.
//! 3. [`probe`]: one probe by way of a [`broker`], from the secrets to the receipt.
//!    [`play`]: one probe of a stream.
//! 4. [`doctor`]: whether this machine can check.
//! 5. [`member`]: coming into a network, and the [`certificate`] that it shows there; [`run`]: doing what its broker assigns, within [`traffic`], with what it
//!    found on disk ([`evidence`]); [`status`]; [`mod@revoke`]: taking back what it said.
//! 6. [`witness`]: cosigning the network's log, so that it cannot show two histories.
//!
//! **Invariants.** A secret is drawn for one probe and revealed in its order (core/proof, `porc::exchange`). The key
//! leaves its file as words alone, and only on paper; the witness's, which is another one, not at all. What a node or a broker says is bounded before it is read.
//!
//! **What it does not know:** which nodes it is to check: the command line or the broker says so.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod beacon;
pub mod broker;
pub mod certificate;
pub mod cli;
pub mod doctor;
pub mod evidence;
pub mod failure;
pub mod keys;
pub mod member;
pub mod play;
pub mod probe;
pub mod revoke;
pub mod run;
pub mod status;
pub mod table;
pub mod traffic;
pub mod witness;
