//! A place in a compose file, what can be read there, and what is said about it.

use super::yaml::{Entry, Node, Value};
use std::fmt;

/// Something that is said about a place: why it is refused, or what is otherwise than compose has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its line, from 1.
    pub line: usize,
    /// The key, as a path in the file, such as `services.web.build`.
    pub key: String,
    /// What to know, and what to write instead.
    pub why: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.key, self.why)
    }
}

/// A place in the file.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) value: &'a Value,
}

impl<'a> Place<'a> {
    pub(super) fn root(node: &'a Node) -> Self {
        Self {
            key: String::new(),
            line: node.line,
            value: &node.value,
        }
    }

    /// What is said about it.
    pub(super) fn says(&self, why: impl Into<String>) -> Finding {
        Finding {
            line: self.line,
            key: self.key.clone(),
            why: why.into(),
        }
    }

    fn entry(&self, entry: &'a Entry) -> Self {
        let name = &entry.name;
        Self {
            key: match self.key.is_empty() {
                true => name.clone(),
                false => format!("{}.{name}", self.key),
            },
            line: entry.line,
            value: &entry.node.value,
        }
    }

    /// Its keys; nothing has none.
    pub(super) fn entries(&self) -> Result<Vec<(&'a str, Self)>, Finding> {
        match self.value {
            Value::Null => Ok(Vec::new()),
            Value::Map(entries) => {
                let places = entries.iter();
                let places = places.map(|entry| (entry.name.as_str(), self.entry(entry)));
                Ok(places.collect())
            }
            Value::Text { .. } | Value::List(_) => Err(self.says("a mapping of keys belongs here")),
        }
    }

    /// Its items; nothing has none.
    pub(super) fn items(&self) -> Result<Vec<Self>, Finding> {
        match self.value {
            Value::Null => Ok(Vec::new()),
            Value::List(nodes) => {
                let item = |(i, node): (usize, &'a Node)| Self {
                    key: format!("{}[{i}]", self.key),
                    line: node.line,
                    value: &node.value,
                };
                Ok(nodes.iter().enumerate().map(item).collect())
            }
            Value::Text { .. } | Value::Map(_) => Err(self.says("a list belongs here")),
        }
    }

    /// Its text, with `$$` for a dollar sign.
    pub(super) fn text(&self) -> Result<String, Finding> {
        match self.value {
            Value::Text { text, .. } => self.without_variables(text),
            Value::Null => Err(self.says("nothing stands here: write a value")),
            Value::List(_) | Value::Map(_) => Err(self.says("one value belongs here")),
        }
    }

    fn without_variables(&self, text: &str) -> Result<String, Finding> {
        let mut parts = text.split("$$");
        let mut whole = String::with_capacity(text.len());
        let mut next = parts.next();
        while let Some(part) = next {
            if part.contains('$') {
                return Err(self.says(
                    "variables of your shell are not put in: write the value, and $$ for a dollar sign",
                ));
            }
            whole.push_str(part);
            next = parts.next();
            if next.is_some() {
                whole.push('$');
            }
        }
        Ok(whole)
    }

    pub(super) fn truth(&self) -> Result<bool, Finding> {
        match self.text()?.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(self.says(format!("`{other}` is neither true nor false"))),
        }
    }

    pub(super) fn number(&self) -> Result<u32, Finding> {
        let text = self.text()?;
        let number = text.parse().ok();
        number.ok_or_else(|| self.says(format!("`{text}` is no whole number")))
    }

    /// A program and its arguments: a list, or a line as a shell splits it.
    pub(super) fn words(&self) -> Result<Vec<String>, Finding> {
        match self.value {
            Value::Null => Ok(Vec::new()),
            Value::Text { .. } => {
                let words = shlex::split(&self.text()?);
                words.ok_or_else(|| self.says("a quote is not closed"))
            }
            Value::List(_) | Value::Map(_) => {
                self.items()?.iter().map(|item| item.text()).collect()
            }
        }
    }

    /// Pairs, as a mapping or as a list of `NAME=VALUE`.
    pub(super) fn pairs(&self) -> Result<Vec<(String, Self, String)>, Finding> {
        if let Value::List(_) = self.value {
            let pair = |item: Self| {
                let text = item.text()?;
                let (name, value) = text.split_once('=').ok_or_else(|| {
                    item.says(format!(
                        "`{text}` would take its value from your shell: write {text}=VALUE"
                    ))
                })?;
                Ok((name.to_owned(), item.clone(), value.to_owned()))
            };
            return self.items()?.into_iter().map(pair).collect();
        }
        let pair = |(name, place): (&str, Self)| {
            let value = match place.value {
                Value::Null => {
                    let why = "it would take its value from your shell: write the value, or \"\"";
                    return Err(place.says(why));
                }
                Value::Text { .. } | Value::List(_) | Value::Map(_) => place.text()?,
            };
            Ok((name.to_owned(), place, value))
        };
        self.entries()?.into_iter().map(pair).collect()
    }

    /// A duration such as `1m30s`, whole seconds.
    pub(super) fn seconds(&self) -> Result<u32, Finding> {
        let text = self.text()?;
        seconds(&text).ok_or_else(|| {
            self.says(format!(
                "`{text}` is no time of whole seconds, such as 90s or 1m30s"
            ))
        })
    }

    /// A size such as `512m`, MiB, rounded up.
    pub(super) fn mib(&self) -> Result<u32, Finding> {
        let text = self.text()?;
        mib(&text).ok_or_else(|| self.says(format!("`{text}` is no size, such as 512m or 4g")))
    }

    /// Cores such as `0.5`, thousandths.
    pub(super) fn milli(&self) -> Result<u32, Finding> {
        let text = self.text()?;
        let milli = thousandths(&text).and_then(|milli| u32::try_from(milli).ok());
        milli.ok_or_else(|| {
            self.says(format!(
                "`{text}` is no number of cores, such as 2 or 0.5; thousandths count"
            ))
        })
    }

    /// What stands here, with the keys of `job.toml`.
    pub(super) fn json(&self) -> serde_json::Value {
        json(self.value)
    }
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Text { text, is_plain } => {
            let typed = match (is_plain, text.as_str()) {
                (true, "true") => Some(true.into()),
                (true, "false") => Some(false.into()),
                (true, number) => number.parse::<u64>().ok().map(Into::into),
                (false, _) => None,
            };
            typed.unwrap_or_else(|| text.as_str().into())
        }
        Value::List(nodes) => nodes.iter().map(|node| json(&node.value)).collect(),
        Value::Map(entries) => {
            let pairs = entries.iter();
            let pairs = pairs.map(|entry| (entry.name.clone(), json(&entry.node.value)));
            serde_json::Value::Object(pairs.collect())
        }
    }
}

/// A decimal number with at most three places, thousandths.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let is_number = !(whole.is_empty() && places.is_empty());
    let fits = whole.len() <= 12 && places.len() <= 3;
    if !is_number || !fits || !is_digits(whole) || !is_digits(places) {
        return None;
    }
    let digits = format!("{:0>1}{places:0<3}", whole);
    digits.parse().ok()
}

fn mib(text: &str) -> Option<u32> {
    let digits = text.len()
        - text
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
            .len();
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1_u64,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    let bytes = u128::from(thousandths(number)?) * u128::from(unit);
    u32::try_from(bytes.div_ceil(1000).div_ceil(1 << 20)).ok()
}

fn seconds(text: &str) -> Option<u32> {
    let mut rest = text;
    let mut all_ms: u64 = 0;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(unit_at);
        let unit_len = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_len);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        let ms = number.parse::<u64>().ok()?.checked_mul(unit_ms)?;
        all_ms = all_ms.checked_add(ms)?;
        rest = next;
    }
    let is_whole = !text.is_empty() && all_ms.is_multiple_of(1000);
    is_whole.then(|| u32::try_from(all_ms / 1000).ok())?
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn sizes_times_and_cores_are_as_compose_writes_them() {
        for (text, expected) in [
            ("512m", Some(512)),
            ("4g", Some(4096)),
            ("1.5GB", Some(1536)),
            ("1048577", Some(2)),
            ("64 MiB", Some(64)),
            ("", None),
            ("m", None),
            ("1x", None),
            ("99999999t", None),
            ("1.0001g", None),
        ] {
            assert_eq!(mib(text), expected, "{text}");
        }
        for (text, expected) in [
            ("90s", Some(90)),
            ("1m30s", Some(90)),
            ("1h", Some(3600)),
            ("2000ms", Some(2)),
            ("1500ms", None),
            ("90", None),
            ("", None),
            ("s", None),
            ("1d", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        for (text, expected) in [
            ("2", Some(2000)),
            ("0.5", Some(500)),
            (".25", Some(250)),
            ("1.", Some(1000)),
            (".", None),
            ("", None),
            ("-1", None),
            ("0.0001", None),
        ] {
            assert_eq!(thousandths(text), expected, "{text}");
        }
    }
}
