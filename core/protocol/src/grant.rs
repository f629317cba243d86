//! The broker's signed order to an edge. On the wire an EdDSA JWT whose claims are [`Grant`].

use crate::id::{NodeId, SessionId, SlotId, UserId};
use crate::unit::{U64, UnixMillis};
use serde::{Deserialize, Serialize};

/// The `iss` of every token that a broker signs.
pub const ISSUER: &str = "nearlight-broker";
/// The `typ` header of a grant, so that no other token passes for one (RFC 8725 section 3.11).
pub const GRANT_TYP: &str = "nearlight-grant+jwt";
/// The `typ` header of an attach ticket.
pub const TICKET_TYP: &str = "nearlight-ticket+jwt";

/// The right of one session to one slot of one node, under one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// [`ISSUER`].
    pub iss: String,
    /// The session that may run.
    pub session: SessionId,
    /// The node that may run it.
    pub node: NodeId,
    /// The slot it runs in.
    pub slot: SlotId,
    /// The fencing epoch of the slot. An edge never goes back to a smaller one.
    pub epoch: U64,
    /// Whose session it is: saves are kept by user and app.
    pub user: UserId,
    /// When it was signed.
    pub iat_ms: UnixMillis,
}
