//! A role's configuration: the commented default file that the program carries, and the operator's
//! file over it.
//!
//! Tables merge key by key; every other value, arrays included, is replaced whole. A key that the
//! role does not know is refused with its full name and its file: a misspelt key that is silently
//! ignored is the worst kind of default.
//!
//! **What it does not know:** the keys. Each role has its own type, and its own cross-field checks.

use serde::de::DeserializeOwned;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The operator's file cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not TOML.
    #[error("{file} is not valid TOML")]
    Syntax {
        /// Which.
        file: Origin,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A key that this program does not have.
    #[error("unknown key `{key}` in {file}; the default file in configs/ lists every key")]
    UnknownKey {
        /// Its full name, such as `listen.public`.
        key: String,
        /// Where it stands.
        file: Origin,
    },
    /// A value of the wrong kind, or one that is missing.
    #[error("wrong value in {file}")]
    Value {
        /// The last file that was read.
        file: Origin,
        /// Which key, and what it should be.
        #[source]
        source: Box<toml::de::Error>,
    },
}

/// Where a key came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The defaults inside the program.
    Embedded,
    /// The operator's file.
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("the built-in defaults"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Reads `embedded`, lays `file` over it, and checks the whole against `T`.
pub fn load<T: DeserializeOwned>(embedded: &str, file: Option<&Path>) -> Result<T, ConfigError> {
    let mut merged = parse(embedded, &Origin::Embedded)?;
    let mut last = Origin::Embedded;
    let mut over = Table::new();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            file: path.to_owned(),
            source,
        })?;
        last = Origin::File(path.to_owned());
        over = parse(&text, &last)?;
        merge(&mut merged, over.clone());
    }

    let mut unknown = Vec::new();
    let value: Result<T, toml::de::Error> =
        serde_ignored::deserialize(Value::Table(merged), |path| {
            unknown.push(key_name(&path));
        });
    // A key that only the type refuses (`deny_unknown_fields`) arrives as a value error, which
    // names the key too.
    if let Some(key) = unknown.into_iter().next() {
        let file = if contains(&over, &key) {
            last
        } else {
            Origin::Embedded
        };
        return Err(ConfigError::UnknownKey { key, file });
    }
    value.map_err(|source| ConfigError::Value {
        file: last,
        source: Box::new(source),
    })
}

fn parse(text: &str, origin: &Origin) -> Result<Table, ConfigError> {
    text.parse().map_err(|source| ConfigError::Syntax {
        file: origin.clone(),
        source: Box::new(source),
    })
}

fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(over)) => merge(inner, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// The path's own text, less the `?` with which it marks each `Option` on the way.
fn key_name(path: &serde_ignored::Path<'_>) -> String {
    path.to_string()
        .split('.')
        .filter(|part| *part != "?")
        .collect::<Vec<_>>()
        .join(".")
}

fn contains(table: &Table, key: &str) -> bool {
    let mut parts = key.split('.');
    let Some(first) = parts.next() else {
        return false;
    };
    let mut value = table.get(first);
    for part in parts {
        value = value.and_then(|v| v.get(part));
    }
    value.is_some()
}

#[cfg(test)]
mod test {
    use super::*;
    use serde::Deserialize;

    const DEFAULTS: &str = r#"
        name = "node"
        [listen]
        public = "127.0.0.1:8080"
        hosts = ["localhost"]
    "#;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Sample {
        name: String,
        listen: Listen,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Listen {
        public: String,
        hosts: Vec<String>,
        #[serde(default)]
        tls: Option<Tls>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Tls {
        cert: String,
    }

    fn load_over(text: &str) -> Result<Sample, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mine.toml");
        std::fs::write(&file, text).unwrap();
        load(DEFAULTS, Some(&file))
    }

    fn check_refused(text: &str, words: &[&str]) {
        let error = load_over(text).unwrap_err();
        let mut shown = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            shown = format!("{shown}: {source}");
        }
        for word in words {
            assert!(shown.contains(word), "{word:?} is not in {shown:?}");
        }
    }

    #[test]
    fn defaults_stand_alone() {
        let sample: Sample = load(DEFAULTS, None).unwrap();
        assert_eq!(sample.listen.public, "127.0.0.1:8080");
    }

    #[test]
    fn tables_merge_and_arrays_are_replaced() {
        let sample = load_over("[listen]\nhosts = [\"a\", \"b\"]\n").unwrap();
        assert_eq!(sample.name, "node");
        assert_eq!(sample.listen.public, "127.0.0.1:8080");
        assert_eq!(sample.listen.hosts, ["a", "b"]);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_file() {
        check_refused("[listen]\npublik = 1\n", &["`listen.publik`", "mine.toml"]);
        check_refused("[lisen]\npublic = 1\n", &["`lisen`", "mine.toml"]);
        check_refused(
            "[listen.tls]\ncert = \"a\"\nkee = \"b\"\n",
            &["`listen.tls.kee`", "mine.toml"],
        );
    }

    #[test]
    fn an_unknown_key_of_ours_is_our_fault() {
        let error = load::<Listen>("public = \"\"\nhosts = []\nodd = 1", None).unwrap_err();
        assert!(error.to_string().contains("built-in defaults"), "{error}");
    }

    #[test]
    fn a_wrong_value_names_its_key_and_file() {
        check_refused("[listen]\npublic = 7\n", &["mine.toml", "public"]);
    }

    #[test]
    fn what_is_not_toml_names_its_line() {
        check_refused("[listen\n", &["mine.toml", "line 1"]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load::<Sample>(DEFAULTS, Some(Path::new("/nonexistent.toml"))).unwrap_err();
        assert!(error.to_string().contains("/nonexistent.toml"), "{error}");
    }
}
