//! The session broker: it places each session on an edge node, signs the grant, and remembers.
//!
//! In reading order:
//!
//! 1. [`broker`]: how the parts are put together, served and drained. [`config`], [`cli`].
//! 2. `sessions`: the task that owns every session, the queue and the fleet.
//! 3. [`ledger`]: what survives the broker; [`backup`]: what survives its machine.
//! 4. `watch`: the watch links that hold.
//! 5. `enrol`: who becomes a node, and stays one.
//! 6. `control`: the edges' streams. `peers`: the brokers that share the ledger; `region` joins them.
//! 7. `http`: the API, the browser client's files, and who may do what; [`access`]: the table of that;
//!    `oidc`: who a player is.
//! 8. `tunnels`: the way to containers of jobs; `endpoint`: the listener for whoever talks to them.
//! 9. `receipts`: the log of what checkers, nodes and this broker sign; `verdicts`: what that comes to.
//! 10. `node_keys`: the keys that nodes sign receipts with; `checks`: who checks whom.
//! 11. [`catalogue`], [`recipes`], [`tokens`], `fleet`, `rate`, [`time`], `metrics`: what they share.
//!
//! **Invariants.** One writer of every session; nothing is seen outside before it is durable; every
//! queue is bounded and every wait on a peer has a deadline.
//!
//! **What it does not know:** media, containers, encoders. A browser's offer passes through unread.

#![forbid(unsafe_code)]

pub mod access;
mod ahead;
mod apps;
pub mod backup;
pub mod broker;
pub mod catalogue;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod ledger;
pub mod moving;
pub mod rates;
pub mod recipes;
pub mod rotation;
pub mod time;
pub mod tokens;

mod budgets;
mod checks;
mod control;
mod endpoint;
mod enrol;
mod fleet;
mod http;
mod metrics;
mod nearness;
mod node_keys;
mod oidc;
mod outward;
mod peers;
mod probes;
mod proxied;
mod quality;
mod rate;
mod receipts;
mod region;
mod registry;
mod relays;
mod seal;
mod secret;
mod sessions;
mod stakes;
mod tunnels;
mod upkeep;
mod usage;
mod verdicts;
mod watch;
mod webhooks;
