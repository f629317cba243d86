//! The only IO that roles share: how a program starts, is configured, is seen, is trusted and stops.
//!
//! - [`config`]: a role's commented default TOML with the operator's file over it.
//! - [`telemetry`]: logs on stderr, metrics for Prometheus.
//! - [`clock`], [`ids`]: the two impure things that the pure crates ask to be given.
//! - [`pki`]: the built-in CA, and mTLS identities on the node listener.
//! - [`public_tls`]: certificates that the public trusts, which somebody else renews.
//! - [`join`], [`enrol`]: how a node comes by a certificate, and by the next one when it was away.
//! - [`manifest`]: an app's description, read and checked.
//! - [`problem`]: RFC 9457 answers and the request id that names them in the log.
//! - [`hop`], [`patient`], [`read_ahead`], [`splice`], [`uploading`]: what proxies have in common.
//! - [`endpoint`], [`streams`], [`room`]: callers of jobs, their rights, their connections, and each address's share.
//! - [`shutdown`]: every task of a role has an owner, and a drain has a deadline.
//! - [`tar`], [`tree`]: trees of files as archives, out of one place and into another.
//! - [`files`]: files that are either old or new, never half; [`disk`]: how much room there is.
//! - [`digest`]: what bytes are named by.
//!
//! **What it does not know:** sessions, containers, media. It depends on `core/protocol` alone.

#![forbid(unsafe_code)]

pub mod beacon;
pub mod clock;
pub mod config;
pub mod digest;
pub mod disk;
pub mod endpoint;
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
pub mod public_tls;
pub mod read_ahead;
pub mod room;
pub mod shutdown;
pub mod splice;
pub mod streams;
pub mod tar;
pub mod telemetry;
pub mod tree;
pub mod uploading;
