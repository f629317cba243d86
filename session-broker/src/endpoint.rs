//! The endpoint of jobs: a listener of its own, whose hosts are sessions.
//!
//! ```text
//!   Host --> session, port --held by another broker--> forwarded to it, once, as it is
//!     `--none of ours--> 404     |
//!                                v
//!   right: public port, ticket, API key, cookie --> state: ready --> tunnel --> edge --> container
//!     `--401, 404                                     `--503, 410
//! ```
//!
//! - [`nearlight_kit::endpoint`]: which host is which session's, what a request shows, and whether that opens the
//!   port: nodes with an address of their own do the same.
//! - [`serve`]: one request, step by step; [`permit`]: whether it is for this caller; [`onward`]: its head on the
//!   tunnel; [`upgrade`]: one that changes the protocol; [`forward`]: one for another broker's session.
//!
//! **Invariants.** Besides those of [`nearlight_kit::endpoint`]: a job's pages cannot call the API, which refuses
//! foreign origins ([`crate::http`]). Nothing of a body is gathered. What is forwarded is not forwarded again (I6).
//! A request that may not know of a session is answered as if there were none. A ticket ends with the key or the login
//! that asked for it.
//!
//! **What it does not know:** what a job is, what it says, how a node reaches it.

mod forward;
mod onward;
mod permit;
mod serve;
mod upgrade;

pub(crate) use forward::of_peer;
pub(crate) use serve::router;

use crate::http::Api;
use crate::tunnels::Tunnels;
use nearlight_kit::endpoint::site::Site;
use nearlight_kit::shutdown::Shutdown;
use std::sync::Arc;

/// What every request to a job has.
#[derive(Debug)]
pub(crate) struct Jobs {
    pub(crate) api: Arc<Api>,
    pub(crate) tunnels: Arc<Tunnels>,
    pub(crate) site: Site,
    pub(crate) shutdown: Shutdown,
}
