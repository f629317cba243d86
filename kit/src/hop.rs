//! What a proxy takes out of a head before it hands it on (RFC 9110 section 7.6): what a connection
//! means for itself, what says who asks, and what is ours.
//!
//! **Invariant.** No header line that frames a message is handed on: each connection writes its own, so that two programs
//! never see two different ends of one message (request smuggling).
//!
//! **What it does not know:** where a message goes.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use nearlight_protocol::tunnel::HEADER_PREFIX;

/// What is between two neighbours alone.
const BETWEEN_NEIGHBOURS: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// What programs in between write of whoever asks and how, also with underscores in place of hyphens: programs that
/// take headers by CGI's names read both alike. Proxies, content networks and clouds have names of their own, and a
/// program in a container that believes one of them would believe the caller.
const OF_THE_CLIENT: [&str; 40] = [
    "ali-cdn-real-ip",
    "cdn-src-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-pseudo-ipv4",
    "client-ip",
    "cloudfront-viewer-address",
    "do-connecting-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "forwarded-for",
    "forwarded-for-ip",
    "front-end-https",
    "proxy-client-ip",
    "remote-addr",
    "true-client-ip",
    "via",
    "wl-proxy-client-ip",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-forwarded",
    "x-forwarded-by",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-nf-client-connection-ip",
    "x-original-forwarded-for",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-vercel-forwarded-for",
];

const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// Takes out what is between neighbours alone, and what their `Connection` names. `TE: trailers`
/// stays: it is said again to the next.
pub fn strip_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        // They end a message: whoever names them wants two programs to see two ends of it.
        .filter(|name| *name != header::CONTENT_LENGTH && *name != header::HOST)
        .collect();
    let takes_trailers = lists(headers, &header::TE, "trailers");
    for name in named.iter().chain(&BETWEEN_NEIGHBOURS) {
        headers.remove(name);
    }
    if takes_trailers {
        headers.insert(header::TE, TRAILERS);
    }
}

/// Takes out what says who asks.
pub fn strip_client(headers: &mut HeaderMap) {
    remove_where(headers, |name| match name.contains('_') {
        true => is_of_the_client(&name.replace('_', "-")),
        false => is_of_the_client(name),
    });
}

fn is_of_the_client(name: &str) -> bool {
    OF_THE_CLIENT.binary_search(&name).is_ok()
}

/// Takes out headers of ours.
pub fn strip_ours(headers: &mut HeaderMap) {
    remove_where(headers, |name| name.starts_with(HEADER_PREFIX));
}

fn remove_where(headers: &mut HeaderMap, is_so: impl Fn(&str) -> bool) {
    let names = headers.keys().filter(|name| is_so(name.as_str()));
    let names: Vec<HeaderName> = names.cloned().collect();
    for name in &names {
        headers.remove(name);
    }
}

/// Whether a header that is a list has `word`, in any case.
pub fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(word))
}

/// The protocol that a request over HTTP/1.1 asks for, if it asks for exactly one.
pub fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    if !lists(headers, &header::CONNECTION, "upgrade") {
        return None;
    }
    let mut values = headers.get_all(header::UPGRADE).iter();
    let value = values.next()?;
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(b);
    let is_one = !value.is_empty() && value.as_bytes().iter().all(is_token);
    (is_one && values.next().is_none()).then(|| value.clone())
}

#[cfg(test)]
mod test {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let parsed = lines.iter().map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        });
        let mut all = HeaderMap::new();
        parsed.for_each(|(name, value)| {
            all.append(name, value);
        });
        all
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_is_between_neighbours_goes_no_further() {
        let mut all = headers(&[
            ("connection", "close, X-Secret"),
            ("connection", "x-other"),
            ("keep-alive", "5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("te", "gzip, trailers"),
            ("proxy-authorization", "Basic x"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("accept", "*/*"),
        ]);
        strip_connection(&mut all);
        assert_eq!(names(&all), ["accept", "te"]);
        assert_eq!(all["te"], "trailers");
    }

    #[test]
    fn connection_cannot_name_what_ends_a_message() {
        let mut all = headers(&[
            ("connection", "content-length, host"),
            ("content-length", "3"),
        ]);
        strip_connection(&mut all);
        assert_eq!(names(&all), ["content-length"]);
    }

    #[test]
    fn whatever_says_who_asks_goes_no_further() {
        assert!(OF_THE_CLIENT.is_sorted(), "it is searched by halves");
        for name in OF_THE_CLIENT {
            let other = name.replace('-', "_");
            let mut all = headers(&[(name, "192.0.2.1"), (&other, "192.0.2.1"), ("accept", "a")]);
            strip_client(&mut all);
            assert_eq!(names(&all), ["accept"], "{name}");
        }
        // What only looks like it is the program's own.
        let own = ["x-forwarded-custom", "x-client", "viable", "x_real"];
        let mut all = headers(&own.map(|name| (name, "1")));
        strip_client(&mut all);
        assert_eq!(all.len(), own.len());
    }

    #[test]
    fn who_asks_and_what_is_ours_stays_here() {
        let mut all = headers(&[
            ("x-forwarded-for", "192.0.2.1"),
            ("forwarded", "for=192.0.2.1"),
            ("x-real-ip", "192.0.2.1"),
            ("x-nearlight-session", "ses_x"),
            ("x-nearlight-anything", "x"),
            ("x-near", "stays"),
        ]);
        strip_client(&mut all);
        strip_ours(&mut all);
        assert_eq!(names(&all), ["x-near"]);
    }

    #[test]
    fn one_protocol_is_asked_for_or_none() {
        let check = |lines: &[(&str, &str)], expected: Option<&str>| {
            let found = upgrade_of(&headers(lines));
            assert_eq!(
                found.as_ref().map(HeaderValue::as_bytes),
                expected.map(str::as_bytes)
            );
        };
        let connection = ("connection", "keep-alive, Upgrade");
        check(&[connection, ("upgrade", "websocket")], Some("websocket"));
        check(&[("upgrade", "websocket")], None);
        check(&[connection], None);
        check(&[connection, ("upgrade", "a, b")], None);
        check(&[connection, ("upgrade", "a"), ("upgrade", "b")], None);
        check(&[connection, ("upgrade", "")], None);
    }
}
