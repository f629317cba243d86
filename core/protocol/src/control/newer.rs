//! What the other side says that this build does not know: it may be newer.
//!
//! Kinds of messages wait for a feature in the welcome; values within a kind do not. So a value that is not known
//! costs its message at the most, never the stream, and where there is a word that holds anyway, not even that.

use super::FromEdge;
use crate::api::EndReason;
use serde::de::value::{Error as Unknown, StrDeserializer};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, IntoDeserializer};
use std::borrow::Cow;

/// Why a message of an edge is not read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// It has a value that a later build knows.
    #[error("a message of kind {kind} has a value that is not known")]
    Newer {
        /// Its kind.
        kind: &'static str,
        /// Which value.
        #[source]
        error: serde_json::Error,
    },
    /// It is none of ours.
    #[error(transparent)]
    Broken(#[from] serde_json::Error),
}

#[derive(serde::Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

impl FromEdge {
    /// The kinds of messages, as they are written.
    pub const KINDS: [&'static str; 12] = [
        "hello",
        "inventory",
        "running-part",
        "running",
        "heartbeat",
        "ack",
        "report",
        "whep-answer",
        "draining",
        "renew",
        "measured",
        "countersigned",
    ];

    /// The message in a text.
    pub fn read(text: &str) -> Result<Self, Unread> {
        let error = match serde_json::from_str(text) {
            Ok(message) => return Ok(message),
            Err(error) => error,
        };
        let kind = serde_json::from_str::<Kind<'_>>(text).ok();
        let kind = kind.and_then(|of| Self::KINDS.into_iter().find(|kind| *kind == of.kind));
        match kind {
            Some(kind) if is_newer(&error) => Err(Unread::Newer { kind, error }),
            Some(_) | None => Err(Unread::Broken(error)),
        }
    }
}

/// Whether all that is wrong is a name that an enum does not have: what serde says of one in every format.
fn is_newer(error: &serde_json::Error) -> bool {
    error.is_data() && error.to_string().starts_with("unknown variant")
}

/// That name's value, if this build knows it.
fn known<T: DeserializeOwned>(name: &str) -> Option<T> {
    let name: StrDeserializer<'_, Unknown> = name.into_deserializer();
    T::deserialize(name).ok()
}

/// A reason, or that it is none of those that are known.
pub(super) fn reason<'de, D: Deserializer<'de>>(from: D) -> Result<EndReason, D::Error> {
    let name = Cow::<'de, str>::deserialize(from)?;
    Ok(known(&name).unwrap_or(EndReason::Internal))
}

/// A value, or the least of its kind.
pub(super) fn or_least<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let name = Cow::<'de, str>::deserialize(from)?;
    Ok(known(&name).unwrap_or_default())
}

/// Those of several that are known.
pub(super) fn those_known<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let names = Vec::<String>::deserialize(from)?;
    Ok(names.iter().filter_map(|name| known(name)).collect())
}

#[cfg(test)]
mod test {
    use super::super::{AckOutcome, DenyReason, Order, SessionReport, ToEdge};
    use super::*;
    use serde_json::json;

    const SESSION: &str = "ses_00000000000000000000000000";

    fn read(message: &serde_json::Value) -> Result<FromEdge, Unread> {
        FromEdge::read(&message.to_string())
    }

    #[test]
    fn a_reason_that_is_not_known_is_one_that_holds_anyway() {
        let ended = json!({ "type": "report", "session": SESSION, "epoch": "1",
            "event": { "event": "ended", "reason": "sun-burnt-out", "detail": "d" } });
        let Ok(FromEdge::Report { event, .. }) = read(&ended) else {
            panic!("it is not read");
        };
        let detail = "d".to_owned();
        let reason = EndReason::Internal;
        assert_eq!(event, SessionReport::Ended { reason, detail });
        let denied = json!({ "type": "ack", "command": "7",
            "outcome": { "outcome": "denied", "reason": "sun-burnt-out", "detail": "" } });
        let Ok(FromEdge::Ack { outcome, .. }) = read(&denied) else {
            panic!("it is not read");
        };
        let reason = DenyReason::Unknown;
        assert!(matches!(outcome, AckOutcome::Denied { reason: of, .. } if of == reason));
        // And the other way: a node that could not read why would not stop at all.
        let stop = json!({ "type": "command", "command": "7", "order": "stop",
            "session": SESSION, "reason": "sun-burnt-out" });
        let Ok(ToEdge::Command { order, .. }) = serde_json::from_value(stop) else {
            panic!("it is not read");
        };
        assert!(matches!(order, Order::Stop { reason, .. } if reason == EndReason::Internal));
    }

    #[test]
    fn a_value_that_is_not_known_costs_its_message_and_one_of_the_wrong_kind_the_stream() {
        let report = |event: serde_json::Value| {
            read(&json!({ "type": "report", "session": SESSION, "epoch": "1", "event": event }))
        };
        for newer in [
            report(json!({ "event": "dreamt", "of": [1, 2] })),
            report(json!({ "event": "progress", "progress": { "step": "dreaming" } })),
        ] {
            assert!(
                matches!(newer, Err(Unread::Newer { kind: "report", .. })),
                "{newer:?}"
            );
        }
        for broken in [
            report(json!({ "event": "watchers", "count": "many" })),
            report(json!({ "event": "watchers" })),
            read(&json!({ "type": "dream" })),
            read(&json!({ "type": "ack", "command": 7 })),
            read(&json!([])),
            FromEdge::read("{"),
        ] {
            assert!(matches!(broken, Err(Unread::Broken(_))), "{broken:?}");
        }
    }
}
