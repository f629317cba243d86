//! What a caller needs to talk to a job: its address, and a ticket.
//!
//! [`scope`] is what a ticket is for, beside one port of one session: some methods, a part of the paths.

pub mod scope;

use crate::grant::{ENDPOINT_SCOPED_TYP, ENDPOINT_TYP};
use crate::id::{NodeId, SessionId, UserId};
use crate::unit::UnixMillis;
use serde::{Deserialize, Serialize};

/// `POST /v1/sessions/{id}/endpoint`: asks for the right to talk to one port of a job.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema,
)]
#[serde(deny_unknown_fields, default)]
pub struct CreateEndpoint {
    /// The port's name; the job's first one where it is left out.
    pub port: Option<String>,
    /// Seconds for which the ticket works; an hour where it is left out.
    pub expires_s: Option<u32>,
    /// The methods that the ticket is for, such as `GET`, `HEAD` and `OPTIONS`; all where it is left out. A change
    /// of the protocol, such as to WebSocket, goes by the name of `CONNECT`, for what comes after it may be
    /// anything.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// The path that the ticket is for, with all below it, such as `/v1`; all where it is left out. Segments of
    /// letters, digits and `-._~`, none of them `.` or `..`. Requests with paths that programs read in more than one
    /// way (`//`, `..`, `%2e`, `%2f`, ...) are refused.
    #[ts(optional)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// Where a job is reached, and the right to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct Endpoint {
    /// The address, with a slash at the end: an origin of its own. It stays what it is wherever the job goes.
    pub url: String,
    /// EdDSA JWT for one port of one session: `Authorization: Bearer`, as often as needed. It is
    /// what programs take for an API key. The job never sees it. It ends before its time with the key or the login
    /// that asked for it.
    pub ticket: String,
    /// It is void from then on.
    #[ts(type = "number")]
    pub expires_at: UnixMillis,
    /// The address for a browser. It works once, within a minute: the browser keeps a cookie in place
    /// of the ticket, for as long as the ticket works.
    pub open_url: String,
    /// The same job at its node, if that has an address of its own: nothing is in between, and it goes on while
    /// no broker answers. It takes tickets and no API keys. When the job moves it answers no more: ask again.
    #[ts(optional)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_url: Option<String>,
    /// The ticket for that address, and for no other: until `direct_expires_at`, whatever becomes of what asked for it.
    /// Whoever runs the node sees it.
    #[ts(optional)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_ticket: Option<String>,
    /// The address for a browser there. It works once, within a minute, too.
    #[ts(optional)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_open_url: Option<String>,
    /// There tickets are void from then on, an hour after it was made at the latest: a node does not
    /// hear that a key was revoked.
    #[ts(type = "number", optional)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_expires_at: Option<UnixMillis>,
}

/// The claims of an endpoint ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointClaims {
    /// [`crate::grant::ISSUER`].
    pub iss: String,
    /// The one session that it opens.
    pub aud: SessionId,
    /// Its port, as callers name it; empty for the first.
    pub port: String,
    /// Who asked for it.
    pub sub: UserId,
    /// Its id.
    pub jti: String,
    /// When it was signed.
    pub iat_ms: UnixMillis,
    /// When it is void.
    pub exp_ms: UnixMillis,
    /// It is for an address: spent once, for a cookie that works until then. It opens nothing itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie_until_ms: Option<UnixMillis>,
    /// SHA-256 of the secret that asked for it, in base64url: it ends with that. Brokers before did not write it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// It is for this node's own address, and for no broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// What it is for.
    #[serde(flatten)]
    pub scope: scope::TicketScope,
}

impl EndpointClaims {
    /// The `typ` header of its token.
    pub const fn typ(&self) -> &'static str {
        if self.scope.is_whole() && self.node.is_none() {
            ENDPOINT_TYP
        } else {
            ENDPOINT_SCOPED_TYP
        }
    }

    /// When it is void at a node, which hears of no key that is revoked.
    pub fn direct_until_ms(&self) -> UnixMillis {
        let latest = self.iat_ms.saturating_add(DIRECT_TICKET_MS_MAX);
        self.exp_ms.min(latest)
    }
}

/// Longest time for which a node takes a ticket. Longer: whoever had a key that is revoked goes on for as long.
/// Shorter: callers stop sooner where no broker answers.
pub const DIRECT_TICKET_MS_MAX: u64 = 3600 * 1000;

/// Where callers reach the jobs of a node without a broker in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectSite {
    /// Sessions have their hosts below it.
    pub domain: String,
    /// The port that callers use.
    pub port: u16,
    /// Whether they come over TLS; if not, they are on the node's own machine.
    pub secure: bool,
}
