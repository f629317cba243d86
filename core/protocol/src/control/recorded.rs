//! Messages as builds of before wrote them: whatever comes later has to read them, and to write all that is in them.
//!
//! `vectors/control.json` is added to and never changed: a message that had to be changed there is one that a broker or a
//! node of before does not understand any more (a rolling upgrade has both).

use super::{FromEdge, ToEdge};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const VECTORS: &str = include_str!("../../vectors/control.json");

fn recorded(of: &str) -> Vec<Value> {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    vectors[of].as_array().unwrap().clone()
}

/// What of a recorded value is missing, or is another, in one that was read and written again. More may be there.
fn lost(recorded: &Value, written: &Value, at: &str) -> Option<String> {
    match (recorded, written) {
        (Value::Object(was), Value::Object(is)) => was.iter().find_map(|(key, value)| {
            let at = format!("{at}.{key}");
            match is.get(key) {
                Some(now) => lost(value, now, &at),
                None => Some(at),
            }
        }),
        (Value::Array(was), Value::Array(is)) if was.len() == is.len() => {
            let mut pairs = was.iter().zip(is).enumerate();
            pairs.find_map(|(n, (was, is))| lost(was, is, &format!("{at}[{n}]")))
        }
        _ => (recorded != written).then(|| at.to_owned()),
    }
}

/// Reads and writes each again.
fn are_understood<T: Serialize + DeserializeOwned>(of: &str) -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    for message in recorded(of) {
        let read: T = serde_json::from_value(message.clone())
            .unwrap_or_else(|error| panic!("not read any more: {message}: {error}"));
        let written = serde_json::to_value(&read).unwrap();
        assert_eq!(lost(&message, &written, ""), None, "{message}\n{written}");
        kinds.insert(message["type"].as_str().unwrap().to_owned());
    }
    kinds
}

#[test]
fn what_nodes_of_before_say_is_read_and_what_is_said_to_brokers_of_before_has_all_that_they_read() {
    let kinds = are_understood::<FromEdge>("from_edge");
    let all = FromEdge::KINDS.map(str::to_owned);
    assert_eq!(kinds, BTreeSet::from(all), "each kind is recorded");
    for message in recorded("from_edge") {
        assert!(FromEdge::read(&message.to_string()).is_ok(), "{message}");
    }
}

#[test]
fn what_brokers_of_before_say_is_read_and_what_is_said_to_nodes_of_before_has_all_that_they_read() {
    let kinds = are_understood::<ToEdge>("to_edge");
    // Serde has the names of all kinds, and tells them to whoever asks for one that is not there.
    let unknown = serde_json::from_str::<ToEdge>(r#"{"type":"?"}"#).unwrap_err();
    let unknown = unknown.to_string();
    let (_, expected) = unknown.split_once("expected").unwrap();
    let all = expected.split('`').skip(1).step_by(2).map(str::to_owned);
    assert_eq!(kinds, all.collect(), "each kind is recorded");
}

#[test]
fn a_field_that_is_not_written_any_more_is_noticed() {
    let found = |was: Value, is: Value| lost(&was, &is, "");
    assert_eq!(found(json!({ "a": 1 }), json!({ "a": 1, "b": 2 })), None);
    let gone = found(json!({ "a": { "b": [1] } }), json!({ "a": { "b": [2] } }));
    assert_eq!(gone.as_deref(), Some(".a.b[0]"));
    assert_eq!(found(json!({ "a": 1 }), json!({})).as_deref(), Some(".a"));
    assert!(found(json!([1]), json!([])).is_some());
}
