//! Webhooks: what a tenant's endpoint is told of its jobs, and how that is going; `/v1/webhook`.
//!
//! A notice is a POST in the form of Standard Webhooks (<https://www.standardwebhooks.com>): the headers
//! `webhook-id`, `webhook-timestamp` (Unix seconds) and `webhook-signature`, a list of `v1,` and the
//! base64 of an HMAC-SHA256 over `id.timestamp.body`, one for each secret that holds. The same id comes
//! again until the endpoint answers 2xx: whoever has seen it has seen the notice.

use crate::api::EndReason;
use crate::id::SessionId;
use crate::unit::UnixMillis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest address of an endpoint, bytes.
pub const WEBHOOK_URL_BYTES_MAX: usize = 2048;

/// `PUT /v1/webhook`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetWebhook {
    /// Where notices are posted, https.
    pub url: String,
}

/// A tenant's endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Webhook {
    /// Where notices are posted.
    pub url: String,
    /// Since when there is one.
    pub created_unix_ms: UnixMillis,
    /// Notices that wait to be delivered.
    pub waiting: u32,
    /// Notices that were not even kept, for too many waited.
    pub lost: u32,
}

/// Answer to what makes a secret. It is not shown again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WebhookSet {
    /// The endpoint.
    pub webhook: Webhook,
    /// What notices are signed with: `whsec_` and base64. Of an endpoint that has one already, nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub enum NoticeType {
    /// A job is ready.
    #[serde(rename = "session.ready")]
    Ready,
    /// A job is over.
    #[serde(rename = "session.ended")]
    Ended,
    /// A job lost its node, and waits for another one.
    #[serde(rename = "session.moving")]
    Moving,
    /// A job's node is taken back at the moment that is told.
    #[serde(rename = "session.preempted")]
    Preempted,
    /// Somebody asked for a test.
    #[serde(rename = "webhook.test")]
    Test,
}

impl NoticeType {
    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "session.ready",
            Self::Ended => "session.ended",
            Self::Moving => "session.moving",
            Self::Preempted => "session.preempted",
            Self::Test => "webhook.test",
        }
    }
}

/// The body of a notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WebhookNotice {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: NoticeType,
    /// When that happened, RFC 3339.
    pub timestamp: String,
    /// The rest.
    pub data: NoticeData,
}

/// What a notice says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NoticeData {
    /// The session; nothing in a test.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Why it ended, or will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndReason>,
    /// When it will end, if it does not go on elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_unix_ms: Option<UnixMillis>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// When it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_unix_ms: Option<UnixMillis>,
}

/// Where a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryState {
    /// It is tried, or tried again.
    Waiting,
    /// The endpoint answered 2xx.
    Delivered,
    /// It was given up.
    Dropped,
}

impl DeliveryState {
    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Dropped => "dropped",
        }
    }
}

/// A notice and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Delivery {
    /// `webhook-id`.
    pub id: String,
    /// What it is about: `session.ready`, ….
    #[serde(rename = "type")]
    pub kind: String,
    /// The session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Where it is.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// When that happened.
    pub created_unix_ms: UnixMillis,
    /// When it is tried next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_unix_ms: Option<UnixMillis>,
    /// What came of the last try.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
}

/// `GET /v1/webhook/deliveries`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeliveryList {
    /// Newest first; those that are over stay for a week.
    pub deliveries: Vec<Delivery>,
}
