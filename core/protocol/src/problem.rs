//! Errors of the HTTP API: RFC 9457 problem details with a closed set of types.

use serde::{Deserialize, Serialize};

/// What went wrong, as a program can tell. On the wire a URI:
/// `https://nearlight.dev/problems/<name>`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema,
)]
#[ts(rename = "ProblemName")]
#[serde(rename_all = "kebab-case")]
pub enum ProblemType {
    /// Another attachment holds the session; ask for it with `take_over`.
    AttachedElsewhere,
    /// The request is not one that this API takes: syntax, a missing field, a wrong value.
    BadRequest,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// What may be spent in this month is spent.
    BudgetReached,
    /// The evidence was kept for as long as its receipt said, and is gone.
    EvidenceExpired,
    /// The caller is known, and this is not theirs to do.
    Forbidden,
    /// The same Idempotency-Key came with another body.
    IdempotencyConflict,
    /// Our fault; the log has it under the request id in `instance`.
    Internal,
    /// The SDP offer cannot be answered.
    InvalidOffer,
    /// The job's container cannot be reached or broke off.
    JobUnreachable,
    /// The job does not take requests yet; `Retry-After` says when to come back.
    JobNotReady,
    /// The join token was used, its time is over, or there never was one.
    JoinTokenInvalid,
    /// The watch link was revoked, or its time is over.
    LinkEnded,
    /// The log of receipts cannot be written or read at this moment.
    LogUnavailable,
    /// The method is not one that this resource takes.
    MethodNotAllowed,
    /// The node is shut out for good.
    NodeRevoked,
    /// Another one has that name.
    NameTaken,
    /// The node that runs the session cannot be reached at this moment.
    NodeUnreachable,
    /// No such resource, or not one that the caller may see.
    NotFound,
    /// The Origin or Host of the request is not ours.
    OriginRefused,
    /// The OpenID provider does not answer at this moment.
    ProviderUnreachable,
    /// A quota is used up.
    QuotaExceeded,
    /// The receipt is not one that the log takes: its form, its keys or its signatures.
    ReceiptRefused,
    /// The player's saves are on a node that cannot run the session now: `saves` says what to do.
    SaveElsewhere,
    /// The session has ended.
    SessionEnded,
    /// The session was there, and the ledger has lost it: the database failed over to a copy that was
    /// behind, or was restored.
    SessionLost,
    /// The session cannot be attached yet.
    SessionNotReady,
    /// Too many requests; `Retry-After` says when to come back.
    TooManyRequests,
    /// The ticket is spent, expired, or for another session.
    TicketInvalid,
    /// Who is asking is not known: no key, cookie or ticket, or a wrong one.
    Unauthenticated,
    /// The media type of the body is not one that this resource takes.
    UnsupportedMediaType,
}

impl ProblemType {
    /// Every type, for documentation and tests.
    pub const ALL: [Self; 31] = [
        Self::AttachedElsewhere,
        Self::BadRequest,
        Self::BodyTooLarge,
        Self::BudgetReached,
        Self::EvidenceExpired,
        Self::Forbidden,
        Self::IdempotencyConflict,
        Self::Internal,
        Self::InvalidOffer,
        Self::JobUnreachable,
        Self::JobNotReady,
        Self::JoinTokenInvalid,
        Self::LinkEnded,
        Self::LogUnavailable,
        Self::MethodNotAllowed,
        Self::NodeRevoked,
        Self::NodeUnreachable,
        Self::NameTaken,
        Self::NotFound,
        Self::OriginRefused,
        Self::ProviderUnreachable,
        Self::QuotaExceeded,
        Self::ReceiptRefused,
        Self::SaveElsewhere,
        Self::SessionEnded,
        Self::SessionLost,
        Self::SessionNotReady,
        Self::TooManyRequests,
        Self::TicketInvalid,
        Self::Unauthenticated,
        Self::UnsupportedMediaType,
    ];

    /// The HTTP status that goes with it (RFC 9110).
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest | Self::InvalidOffer => 400,
            Self::JoinTokenInvalid | Self::Unauthenticated | Self::TicketInvalid => 401,
            Self::BudgetReached => 402,
            Self::Forbidden | Self::NodeRevoked | Self::OriginRefused => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::AttachedElsewhere
            | Self::SaveElsewhere
            | Self::SessionNotReady
            | Self::IdempotencyConflict
            | Self::NameTaken => 409,
            Self::EvidenceExpired | Self::LinkEnded | Self::SessionEnded | Self::SessionLost => 410,
            Self::ReceiptRefused => 422,
            Self::BodyTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::QuotaExceeded | Self::TooManyRequests => 429,
            Self::Internal => 500,
            Self::JobUnreachable => 502,
            Self::JobNotReady
            | Self::LogUnavailable
            | Self::NodeUnreachable
            | Self::ProviderUnreachable => 503,
        }
    }

    /// A short sentence for people, the same for every occurrence.
    pub const fn title(self) -> &'static str {
        match self {
            Self::AttachedElsewhere => "The session is being played elsewhere",
            Self::BadRequest => "The request is not understood",
            Self::BodyTooLarge => "The body is too large",
            Self::BudgetReached => "The budget is spent",
            Self::EvidenceExpired => "The evidence was kept for its time, and is gone",
            Self::Forbidden => "This is not yours to do",
            Self::IdempotencyConflict => "The Idempotency-Key was used for another request",
            Self::Internal => "Something broke on our side",
            Self::InvalidOffer => "The SDP offer cannot be answered",
            Self::JobUnreachable => "The job does not answer",
            Self::JobNotReady => "The job is not ready yet",
            Self::JoinTokenInvalid => "The join token is not valid",
            Self::LinkEnded => "The watch link is over",
            Self::LogUnavailable => "The log of receipts stands still at the moment",
            Self::MethodNotAllowed => "The method is not allowed here",
            Self::NodeRevoked => "The node is shut out",
            Self::NodeUnreachable => "The node cannot be reached at the moment",
            Self::NameTaken => "Another one has that name",
            Self::NotFound => "There is no such thing here",
            Self::OriginRefused => "The request comes from a foreign origin",
            Self::ProviderUnreachable => "Nobody can log in at the moment",
            Self::QuotaExceeded => "A quota is used up",
            Self::ReceiptRefused => "The log does not take this receipt",
            Self::SaveElsewhere => "The saves are on a node that cannot run this now",
            Self::SessionEnded => "The session has ended",
            Self::SessionLost => "The session was lost",
            Self::SessionNotReady => "The session is not ready yet",
            Self::TooManyRequests => "Too many requests",
            Self::TicketInvalid => "The ticket is not valid",
            Self::Unauthenticated => "Who are you?",
            Self::UnsupportedMediaType => "The media type is not supported",
        }
    }
}

/// The body of an error answer, `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct Problem {
    /// `https://nearlight.dev/problems/<name>`.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// The type's name alone, for programs.
    pub name: ProblemType,
    /// The same sentence for each problem of this type.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time and what to do, for the caller.
    pub detail: String,
    /// The request id, to find it in the log.
    pub instance: String,
}

impl Problem {
    /// A problem of type `name`; `instance` is the request id.
    pub fn new(name: ProblemType, detail: impl Into<String>, instance: impl Into<String>) -> Self {
        let kebab = serde_json::to_value(name)
            .ok()
            .and_then(|v| v.as_str().map(str::to_owned))
            .unwrap_or_default();
        Self {
            type_uri: format!("https://nearlight.dev/problems/{kebab}"),
            name,
            title: name.title().to_owned(),
            status: name.status(),
            detail: detail.into(),
            instance: instance.into(),
        }
    }
}
