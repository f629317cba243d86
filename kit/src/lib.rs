//! The only IO that roles share: how a program starts, is configured, is seen, is trusted and stops.
//!
//! - [`config`]: a role's commented default TOML with the operator's file over it.
//! - [`telemetry`]: logs on stderr, metrics for Prometheus.
//! - [`clock`], [`ids`]: the two impure things that the pure crates ask to be given.
//! - [`pki`]: the built-in CA, and mTLS identities on the node listener.
//! - [`join`], [`enrol`]: how a node comes by a certificate, and by the next one when it was away.
//! - [`manifest`]: an app's description, read and checked.
//! - [`problem`]: RFC 9457 answers and the request id that names them in the log.
//! - [`hop`], [`patient`], [`read_ahead`], [`splice`]: what proxies have in common.
//! - [`shutdown`]: every task of a role has an owner, and a drain has a deadline.
//! - [`tar`], [`tree`]: trees of files as archives, out of one place and into another.
//! - [`files`]: files that are either old or new, never half. [`digest`]: what bytes are named by.
//!
//! **What it does not know:** sessions, containers, media. It depends on `core/protocol` alone.

#![forbid(unsafe_code)]

pub mod beacon;
pub mod clock;
pub mod config;
pub mod digest;
pub mod enrol;
pub mod files;
pub mod hop;
pub mod ids;
pub mod join;
pub mod manifest;
pub mod network;
pub mod patient;
pub mod pki;
pub mod problem;
pub mod read_ahead;
pub mod shutdown;
pub mod splice;
pub mod tar;
pub mod telemetry;
pub mod tree;
