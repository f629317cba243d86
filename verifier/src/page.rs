//! The verifier for a page: JSON in, JSON out. `verifier/wasm` hands it to a browser.
//!
//! ```text
//!   in:  {"receipt": "…", "proof": "…" or null, "policy": "…" or null, "directory": "…",
//!         "authority": "…" or null, "later": ["…", …]}
//!   out: {"report": {…}, "exit_code": 0, "cautions": ["…"], "statement": {…} or null, "leaf": "…" or null}
//!        or {"error": "…"}
//! ```
//!
//! Texts are those that files have (the crate's documentation). The statement is what the envelope says; it is
//! worth what the report says of it. Without a receipt the answer is the directory's keys:
//! `{"serial": 3, "issued_at_s": …, "keys": [{"id": "…", "role": "node", "operator": "…", …}, …]}`.

use crate::given::{Believed, GivenError, Proved, judge};
use crate::words::caution;
use nearlight_proof::encoding::hex;
use nearlight_proof::log::tree::leaf;
use nearlight_proof::receipt::directory::{Entry, Role};
use nearlight_proof::receipt::envelope::Envelope;
use nearlight_proof::receipt::{Directory, Report};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    receipt: Option<String>,
    proof: Option<String>,
    policy: Option<String>,
    directory: String,
    authority: Option<String>,
    #[serde(default)]
    later: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Answer {
    report: Report,
    exit_code: u8,
    cautions: Vec<&'static str>,
    statement: Option<Value>,
    leaf: Option<String>,
}

#[derive(Debug, Serialize)]
struct Listed {
    serial: u64,
    issued_at_s: u64,
    keys: Vec<Key>,
}

#[derive(Debug, Serialize)]
struct Key {
    id: String,
    #[serde(flatten)]
    entry: Entry,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Shown {
    Answer(Box<Answer>),
    Listed(Listed),
}

/// Answers a page. Never panics, whatever it asks.
#[must_use]
pub fn page(asked: &[u8]) -> Vec<u8> {
    let answer = match serde_json::from_slice(asked) {
        Ok(asked) => answered(asked).map_err(|error| error.to_string()),
        Err(error) => Err(format!("the page asks in a way that is not known: {error}")),
    };
    let shown = match answer {
        Ok(answer) => serde_json::to_vec(&answer),
        Err(error) => serde_json::to_vec(&serde_json::json!({ "error": error })),
    };
    shown.unwrap_or_else(|_| br#"{"error":"the report cannot be written down"}"#.to_vec())
}

fn listed(directory: &Directory) -> Listed {
    let roles = [
        Role::Log,
        Role::Witness,
        Role::Broker,
        Role::Checker,
        Role::Node,
        Role::Referee,
    ];
    let keys = roles.into_iter().flat_map(|role| directory.of(role));
    Listed {
        serial: directory.serial,
        issued_at_s: directory.issued_at_s,
        keys: keys
            .map(|(key, entry)| Key {
                id: key.id().to_string(),
                entry: entry.clone(),
            })
            .collect(),
    }
}

fn answered(asked: Asked) -> Result<Shown, GivenError> {
    let bytes = |text: Option<String>| text.map(String::into_bytes);
    let believed = Believed {
        directory: asked.directory.into_bytes(),
        authority: asked.authority,
        policy: bytes(asked.policy),
        beacon: None,
    };
    let trust = believed.trust()?;
    let Some(receipt) = asked.receipt else {
        return Ok(Shown::Listed(listed(&trust.directory)));
    };
    let receipt = Proved::of(receipt.into_bytes(), bytes(asked.proof))?;
    let later = asked.later.into_iter();
    let later: Result<Vec<_>, _> = later
        .map(|one| Proved::of(one.into_bytes(), None))
        .collect();
    let report = judge(&receipt, &trust, &later?);
    let envelope = Envelope::parse(&receipt.envelope).ok();
    Ok(Shown::Answer(Box::new(Answer {
        exit_code: report.outcome.exit_code(),
        cautions: report.warnings.iter().map(|of| caution(*of)).collect(),
        statement: envelope
            .as_ref()
            .and_then(|envelope| serde_json::from_slice(&envelope.payload).ok()),
        leaf: envelope.map(|_| hex(&leaf(&receipt.envelope))),
        report,
    })))
}
