//! Tunnels: a broker's requests to the containers of this node, on connections that the node dials.
//!
//! ```text
//!   OpenTunnel --session is here, a place is free--> dialling --taken--> serving --GoAway, idle--> over
//!        `--no--> nothing                               |  ^                |-- session closed, node stops:
//!                                        not that broker:  `-- 8 times -----'   streams finish, or are cut
//! ```
//!
//! - [`Endpoints`]: which session has which ports, and where. The job driver writes it.
//! - [`dial`]: from the order to a connection that the broker has taken.
//! - [`serve`]: HTTP/2 on it, with the roles turned round: the broker asks, the node answers.
//! - [`containers`]: the connections to them.
//! - [`inside`]: what is asked of the node itself about a container, such as its log; or of its prover.
//! - [`direct`]: callers at this node itself, where it has an address and a certificate.
//! - [`proxy`]: one request, on to the container and back; [`flow`]: a body on its
//!   way; [`upgrade`]: a request that changes the protocol.
//!
//! **Invariants.** A tunnel carries requests of the one session that it was asked for, under the epoch
//! that the node runs. Nothing is gathered: each piece of a body goes on as it comes, and whoever does not
//! read stops whoever writes, by HTTP/2's windows one way and TCP's the other. A caller who leaves is
//! noticed by the container: its connection closes. Containers do not learn who asks.
//!
//! **What it does not know:** who may ask on a tunnel (the broker does), what a job is, what the bytes mean.

mod containers;
mod dial;
mod direct;
mod endpoints;
mod flow;
mod inside;
mod proxy;
mod serve;
mod upgrade;

pub use dial::Way;
pub use direct::{Direct, TicketKeys};
pub use endpoints::Endpoints;
pub(crate) use inside::{Asked, Entered, Entrance, Inside, Service};
pub(crate) use serve::FINISH_WITHIN;
pub use serve::Tunnels;
