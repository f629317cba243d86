//! What a viewer needs to attach: a ticket, and relays for networks that let nothing else through.

use crate::unit::UnixMillis;
use serde::{Deserialize, Serialize};

/// `POST /v1/sessions/{id}/tickets`: the owner asks for the right to attach once.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema,
)]
#[serde(deny_unknown_fields, default)]
pub struct CreateTicket {
    /// Whether to end another attachment that holds the session. Without it such a session answers
    /// `attached-elsewhere`.
    pub take_over: bool,
}

/// The right to attach once: the Bearer token of the WHEP request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct Ticket {
    /// EdDSA JWT, audience one session.
    pub ticket: String,
    /// It is void from then on.
    #[ts(type = "number")]
    pub expires_at: UnixMillis,
    /// Where to POST the offer, as `application/sdp` (draft-ietf-wish-whep).
    pub whep_path: String,
    /// Relays for a browser that cannot reach the node by itself; empty where the operator has none.
    #[serde(default)]
    pub ice_servers: Vec<IceServer>,
}

/// A TURN server, spelled as `RTCPeerConnection` takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct IceServer {
    /// `turn:` and `turns:` URIs (RFC 7065) that take the same credential.
    pub urls: Vec<String>,
    /// When the credential ends, Unix seconds, a colon, and what it was given for.
    pub username: String,
    /// Base64 of the HMAC-SHA1 of `username` by the secret that the broker and the server share.
    pub credential: String,
}
