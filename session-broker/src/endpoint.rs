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
//! - [`site`]: which host is which session's, and the other way round.
//! - [`right`]: what a request shows, and whether that opens the port.
//! - [`serve`]: one request, step by step; [`onward`]: what of its head goes on, and of the answer's back;
//!   [`upgrade`]: one that changes the protocol; [`forward`]: one for another broker's session.
//!
//! **Invariants.** Each session is an origin of its own: its cookie is of no use to another, its pages cannot
//! call the API (which refuses foreign origins, [`crate::http`]), and what a page of another origin sends with
//! a visitor's cookie is refused. Tickets, keys and cookies of ours never reach a container, and no container
//! learns a caller's address. Nothing of a body is gathered. What is forwarded is not forwarded again (I6).
//! A request that may not know of a session is answered as if there were none.
//!
//! **What it does not know:** what a job is, what it says, how a node reaches it.

mod forward;
mod onward;
mod right;
mod serve;
mod site;
mod upgrade;

pub(crate) use forward::of_peer;
pub(crate) use serve::router;
pub(crate) use site::Site;

use crate::http::Api;
use crate::tunnels::Tunnels;
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
