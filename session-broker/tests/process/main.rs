//! The broker over its real wires: HTTP as a stranger's program speaks it, and a scripted edge on
//! the mTLS WebSocket. Nothing here knows the broker's insides.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod app_versions;
mod assigned;
mod attach;
mod backups;
mod beacon;
mod brokers;
mod certified;
mod checkers;
mod edge;
mod edges;
mod ends;
mod enrolment;
mod evidence;
mod explain;
mod faults;
mod flooding;
mod held_up;
mod http;
mod isolation;
mod jobs;
mod keys;
mod lifecycle;
mod line;
mod login;
mod meeting;
mod moving;
mod nearness;
mod node_keys;
mod pages;
mod probing;
mod program;
mod proving;
mod quality;
mod queue;
mod receipts;
mod reclaim;
mod refusals;
mod refusing;
mod region;
mod registries;
mod relays;
mod restart;
mod revocation;
mod revoked;
mod rig;
mod rotation;
mod saves;
mod scores;
mod seats;
mod shared;
mod splits;
mod streams;
mod tls;
mod told;
mod unchecked;
mod usage;
mod verdicts;
mod watching;
mod webhooks;
mod witnesses;
