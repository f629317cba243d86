//! The one form of a JSON document: RFC 8785 (JCS).
//!
//! Members are sorted by their names as UTF-16, strings are escaped as little as JSON allows, and
//! numbers are written as ECMAScript writes them. [`parse`] takes a document that is in this form
//! already and refuses every other, duplicate names and white space with it: what is signed has one
//! spelling. [`strict`] is narrower still, for documents of ours: integers and strings, no floats. [`ordered`] writes
//! types of ours without a tree of values.
//!
//! **What it does not know:** what a document means.

use crate::INTEGER_MAX;
use serde_json::Value;

mod number;
pub mod ordered;

/// The deepest nesting that [`parse`] takes.
pub const DEPTH_MAX: usize = 32;

/// Why bytes are no canonical document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonError {
    /// No JSON, or nested too deeply.
    #[error("this is not a JSON document, or it is nested deeper than 32 levels")]
    Json,
    /// JSON, but spelled in another way than RFC 8785 has it.
    #[error("the document is not in RFC 8785 form; write it anew with a canonical writer")]
    Form,
    /// A number with a fraction, an exponent, or more than 53 bits.
    #[error("the document has a number that is no integer below 2^53; write it as a string")]
    Number,
}

/// A value as RFC 8785 bytes.
#[must_use]
pub fn to_bytes(value: &Value) -> Vec<u8> {
    let mut out = String::new();
    write(value, &mut out);
    out.into_bytes()
}

/// The value of a document in RFC 8785 form.
///
/// # Errors
/// [`CanonError::Json`] or [`CanonError::Form`].
pub fn parse(bytes: &[u8]) -> Result<Value, CanonError> {
    let value = read(bytes)?;
    if to_bytes(&value) == bytes {
        Ok(value)
    } else {
        Err(CanonError::Form)
    }
}

/// The value of a document of ours: RFC 8785 form, and every number an integer below 2^53.
///
/// # Errors
/// Every [`CanonError`].
pub fn strict(bytes: &[u8]) -> Result<Value, CanonError> {
    let value = parse(bytes)?;
    integers_only(&value)
        .then_some(value)
        .ok_or(CanonError::Number)
}

/// The value of any JSON document; of a name that stands twice, the last one.
///
/// # Errors
/// [`CanonError::Json`].
pub fn read(bytes: &[u8]) -> Result<Value, CanonError> {
    let value = serde_json::from_slice(bytes).map_err(|_| CanonError::Json)?;
    if depth_within(&value, DEPTH_MAX) {
        Ok(value)
    } else {
        Err(CanonError::Json)
    }
}

/// Whether every number in the value is an integer whose size is below 2^53.
#[must_use]
pub fn integers_only(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            number.as_u64().is_some_and(|n| n <= INTEGER_MAX)
                || number
                    .as_i64()
                    .is_some_and(|n| n.unsigned_abs() <= INTEGER_MAX)
        }
        Value::Array(items) => items.iter().all(integers_only),
        Value::Object(members) => members.values().all(integers_only),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

fn depth_within(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|v| depth_within(v, levels - 1)),
        Value::Object(members) => {
            levels > 0 && members.values().all(|v| depth_within(v, levels - 1))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => number::write(number, out),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => write_object(members, out),
    }
}

fn write_object(members: &serde_json::Map<String, Value>, out: &mut String) {
    // Sorted here, whatever order the map keeps: by UTF-16, which differs from UTF-8 above U+FFFF.
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    out.push('{');
    for (position, (name, value)) in sorted.into_iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        write_string(name, out);
        out.push(':');
        write(value, out);
    }
    out.push('}');
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            control if control < ' ' => {
                out.push_str("\\u00");
                out.push_str(&crate::encoding::hex(&[control as u8]));
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
}

#[cfg(test)]
#[path = "canon/test.rs"]
mod test;
