//! A player without a screen: starts an app at the broker, attaches, plays, decodes and measures.
//!
//! In reading order:
//!
//! 1. [`broker`]: the API as a player's client uses it; [`started`]: what was started is ended.
//! 2. [`viewer`]: one WebRTC peer; [`frames`]: access units from its packets.
//! 3. [`decode`]: pictures from access units; [`barcode`]: what a picture of `calibrate` says.
//! 4. [`collect`]: what frames, marks and pongs add up to, on one [`clock`].
//! 5. [`replay`]: recorded input; [`answers`]: what pictures say of it; [`play`]: a probe of a stream, for `checker play`.
//!
//! **What it does not know:** what is tested with it, and keys of checkers: whatever decodes what a stranger sends holds
//! no secret that outlives the session.

#![forbid(unsafe_code)]

pub mod answers;
pub mod barcode;
pub mod broker;
pub mod clock;
pub mod collect;
pub mod decode;
pub mod frames;
pub mod play;
pub mod replay;
pub mod started;
pub mod viewer;
