//! What a caller needs to talk to a job: its address, and a ticket.

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
}

/// Where a job is reached, and the right to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct Endpoint {
    /// The address, with a slash at the end: an origin of its own.
    pub url: String,
    /// EdDSA JWT for one port of one session: `Authorization: Bearer`, as often as needed. It is
    /// what programs take for an API key. The job never sees it.
    pub ticket: String,
    /// It is void from then on.
    #[ts(type = "number")]
    pub expires_at: UnixMillis,
    /// The address for a browser. It works once, within a minute: the browser keeps a cookie in place
    /// of the ticket, for as long as the ticket works.
    pub open_url: String,
}
