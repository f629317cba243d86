//! Control streams: edges dial in over mTLS and stay.
//!
//! ```text
//!   accept --TLS, WebSocket--> Hello --checked--> Welcome --> read loop --> closed
//!                                |                             ^  |
//!                                +--> Refused, close           |  +--> session task: events
//!                                                              +------ ToEdge, bounded queue
//! ```
//!
//! A connection is one task that owns its socket. Others hold a [`Stream`]: a bounded queue towards
//! the edge and the WHEP requests that wait for its answer. A full queue closes the stream; orders
//! are in the ledger and go out again after the re-attach.
//!
//! Whoever says in ALPN that it is a tunnel is left to [`crate::tunnels`].
//! Whoever shows no certificate is left at the [`crate::http::Door`], a checker to [`crate::http::ForCheckers`].
//!
//! **Invariants.** Nothing of the control stream is read from a peer without a certificate of our CA
//! that holds, and a peer speaks for the node in its certificate only. A node that is revoked is
//! refused at once, however good its certificate. Every wait on a peer has a deadline. Grants that a node
//! shows are verified here before anyone hears of them.
//!
//! **What it does not know:** what an order means, which sessions there are.

/// Told to a node that is shut out.
const REVOKED_DETAIL: &str =
    "the operator has revoked this node; it can come in again only as a new one, with a join token";
/// What it waits before it asks again: there is nothing to wait for.
const REVOKED_RETRY_S: u32 = 3600;

mod connection;
mod heard;
mod hello;
mod listener;
mod shown;
mod stream;

pub(crate) use connection::{EdgeEvent, EdgeMessage};
pub(crate) use listener::{NodeListener, Terms};
pub(crate) use shown::ShownSession;
pub(crate) use stream::{RelayError, Stream};
