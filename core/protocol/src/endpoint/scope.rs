//! What a ticket is for, beside one port of one session: some methods, a part of the paths.
//!
//! Whoever checks a path and whoever serves it are two programs, and they read some paths in two ways: `/v1/../admin`,
//! `/v1/%2e%2e/admin`, `/v1//admin`, `/v1/..;/admin`. A ticket for a part of the paths opens none that can be read
//! in two ways, so that what was checked is what is served, whatever serves it. A ticket for all of them opens
//! them as they are.
//!
//! **Invariants.** An empty scope takes nothing away. A ticket with methods opens no change of protocol unless it
//! names [`CHANGE`]: what comes after is no request that could be looked at.

use serde::{Deserialize, Serialize};

/// The method that stands for a change of the protocol, as in HTTP/2 (RFC 8441).
pub const CHANGE: &str = "CONNECT";
/// Methods that one ticket names.
pub const METHODS_MAX: usize = 16;
/// Bytes of one, and of a path.
const METHOD_BYTES_MAX: usize = 24;
const PATH_BYTES_MAX: usize = 256;

/// What a ticket is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketScope {
    /// These methods; without any, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// This path and what is below it; empty for all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
}

/// Why a scope is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// It names no method, too many, or none that there could be.
    #[error(
        "`methods` lists 1 to 16 methods in capitals, such as [\"GET\", \"HEAD\", \"OPTIONS\"]; leave it out for all"
    )]
    Methods,
    /// The path is not as it has to be.
    #[error(
        "`path` begins with `/` and has segments of letters, digits and `-._~`, such as `/v1/models`, none of them \
         `.` or `..`, at most 256 bytes; leave it out for all"
    )]
    Path,
}

impl TicketScope {
    /// What a caller asks for.
    ///
    /// # Errors
    /// [`ScopeError`], with what to do.
    pub fn asked(methods: Option<Vec<String>>, path: Option<String>) -> Result<Self, ScopeError> {
        let methods = match methods {
            Some(methods) => checked_methods(methods).ok_or(ScopeError::Methods)?,
            None => Vec::new(),
        };
        let path = path.unwrap_or_default();
        let is_path = path.is_empty() || is_prefix(&path);
        is_path
            .then_some(Self { methods, path })
            .ok_or(ScopeError::Path)
    }

    /// Whether it takes nothing away.
    pub const fn is_whole(&self) -> bool {
        self.methods.is_empty() && self.path.is_empty()
    }

    /// Whether a request is within it; `changes` if it asks for a change of the protocol. A server that does not
    /// change answers the request as it is, so its method has to be permitted, too; `GET` is how a change is asked for.
    pub fn permits(&self, method: &str, path: &str, changes: bool) -> bool {
        let has =
            |method: &str| self.methods.is_empty() || self.methods.iter().any(|m| m == method);
        let has_method = match changes {
            true => has(CHANGE) && (method == "GET" || has(method)),
            false => has(method),
        };
        has_method && self.has_path(path)
    }

    fn has_path(&self, path: &str) -> bool {
        if self.path.is_empty() {
            return true;
        }
        let Some(below) = path.strip_prefix(&self.path) else {
            return false;
        };
        let is_below = below.is_empty() || self.path.ends_with('/') || below.starts_with('/');
        is_below && is_read_one_way(path)
    }
}

fn checked_methods(mut methods: Vec<String>) -> Option<Vec<String>> {
    let is_method = |method: &String| {
        let is_letter = |b: u8| b.is_ascii_uppercase() || b == b'-';
        (1..=METHOD_BYTES_MAX).contains(&method.len()) && method.bytes().all(is_letter)
    };
    methods.sort_unstable();
    methods.dedup();
    let is_list = (1..=METHODS_MAX).contains(&methods.len()) && methods.iter().all(is_method);
    is_list.then_some(methods)
}

/// Whether a ticket can be for a path.
fn is_prefix(path: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
    path.len() <= PATH_BYTES_MAX && path.bytes().all(is_plain) && is_read_one_way(path)
}

/// Whether all programs read a path in the same way.
fn is_read_one_way(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if !is_segment(segment) || (segment.is_empty() && !is_last) {
            return false;
        }
    }
    true
}

/// Whether a segment is what it looks like: no dots that lead elsewhere, also not with parameters after them, and
/// nothing escaped that would mean something without its escape.
fn is_segment(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default();
    if matches!(name, "." | "..") || (name.is_empty() && !segment.is_empty()) {
        return false;
    }
    let mut bytes = segment.bytes();
    let mut read = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => match escaped(bytes.next(), bytes.next()) {
                Some(byte) if !b"./\\%;?#".contains(&byte) => byte,
                Some(_) | None => return false,
            },
            byte => byte,
        };
        if byte == b'\\' || byte.is_ascii_control() {
            return false;
        }
        read.push(byte);
    }
    // What is no UTF-8 some read as dots and slashes all the same (overlong forms).
    std::str::from_utf8(&read).is_ok()
}

fn escaped(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    let value = digit(high)? * 16 + digit(low)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod test {
    use super::*;

    fn scope(methods: &[&str], path: &str) -> TicketScope {
        let methods: Vec<String> = methods.iter().map(|one| (*one).to_owned()).collect();
        let methods = (!methods.is_empty()).then_some(methods);
        TicketScope::asked(methods, Some(path.to_owned())).unwrap()
    }

    #[test]
    fn without_a_scope_everything_is_open() {
        let whole = TicketScope::asked(None, None).unwrap();
        assert!(whole.is_whole());
        assert!(whole.permits("DELETE", "/a/../b//%2e", false));
        assert!(whole.permits("GET", "*", true));
    }

    #[test]
    fn methods_are_those_that_are_named() {
        let reads = scope(&["GET", "HEAD", "OPTIONS"], "");
        assert!(reads.permits("GET", "/any//path", false));
        assert!(!reads.permits("POST", "/", false));
        assert!(!reads.permits("get", "/", false));
        assert!(!reads.permits("GET", "/", true), "WebSocket can write");
        assert!(scope(&["CONNECT"], "").permits("GET", "/", true));
        // A server that does not change answers what was asked.
        assert!(!scope(&["CONNECT", "GET"], "").permits("DELETE", "/", true));
        assert!(scope(&["CONNECT", "DELETE"], "").permits("DELETE", "/", true));
        assert!(!scope(&[], "/v1").permits("GET", "/v1/%c0%ae%c0%ae/admin", false));
        assert!(scope(&[], "/v1").permits("GET", "/v1/%c3%a4", false));
    }

    #[test]
    fn no_spelling_of_a_path_widens_it() {
        let of_v1 = scope(&[], "/v1");
        for inside in [
            "/v1",
            "/v1/",
            "/v1/models",
            "/v1/a.b/..c/...",
            "/v1/caf%C3%A9%20x",
            "/v1/a;b=c",
            "/v1/a:b@c,d",
        ] {
            assert!(of_v1.permits("GET", inside, false), "{inside}");
        }
        for outside in [
            "",
            "*",
            "/",
            "/v",
            "/v1x",
            "/V1",
            "v1",
            "//v1",
            "/%76%31",
            "/v1/..",
            "/v1/../admin",
            "/v1/./x",
            "/v1/x/../../admin",
            "/v1/%2e%2e/admin",
            "/v1/.%2E/admin",
            "/v1/%2e/x",
            "/v1/..%2fadmin",
            "/v1%2f..%2fadmin",
            "/v1/%252e%252e/admin",
            "/v1//admin",
            "/v1//",
            "/v1/..;/admin",
            "/v1/..;a=b/admin",
            "/v1/;/admin",
            "/v1/%2e%2e;/admin",
            "/v1/..%3b/admin",
            "/v1/\\..\\admin",
            "/v1/..%5cadmin",
            "/v1/%00",
            "/v1/%0a",
            "/v1/%",
            "/v1/%2",
            "/v1/%zz",
            "/v1/%3f",
        ] {
            assert!(!of_v1.permits("GET", outside, false), "{outside}");
        }
        let below = scope(&[], "/v1/");
        assert!(below.permits("GET", "/v1/x", false));
        assert!(!below.permits("GET", "/v1", false));
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        let methods = |list: &[&str]| {
            let list = list.iter().map(|one| (*one).to_owned()).collect();
            TicketScope::asked(Some(list), None)
        };
        let many: Vec<String> = (b'A'..=b'Z').map(|b| char::from(b).to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for list in [&[][..], &["get"], &["GET "], &[""], &many] {
            assert_eq!(methods(list), Err(ScopeError::Methods), "{list:?}");
        }
        let long = format!("/{}", "a".repeat(PATH_BYTES_MAX));
        for path in [
            "v1", "/a//b", "/a/../b", "/%61", "/a?b", "/a b", "/a;b", &long,
        ] {
            let asked = TicketScope::asked(None, Some(path.to_owned()));
            assert_eq!(asked, Err(ScopeError::Path), "{path}");
        }
        let once = TicketScope::asked(Some(vec!["GET".into(), "GET".into()]), None).unwrap();
        assert_eq!(once.methods, ["GET"]);
    }
}
