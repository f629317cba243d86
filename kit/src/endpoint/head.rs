//! What of a head goes on: of a request to the container, of an answer to the caller.

use super::right::{Shown, strip};
use crate::hop::{strip_client, strip_connection, strip_ours, upgrade_of};
use axum::http::header::{CONTENT_LENGTH, EXPECT, HOST, SET_COOKIE, TRANSFER_ENCODING};
use axum::http::uri::{Authority, PathAndQuery};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version, request};
use hyper::upgrade::OnUpgrade;
use nearlight_protocol::tunnel::OWN;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The one host that a request names; `None` if it names none, or two.
pub fn host_of(head: &request::Parts) -> Option<Authority> {
    let mut lines = head.headers.get_all(HOST).iter();
    let line = lines.next();
    if lines.next().is_some() {
        return None;
    }
    let line = match line {
        Some(line) => Some(line.to_str().ok()?.parse::<Authority>().ok()?),
        None => None,
    };
    match (head.uri.authority().cloned(), line) {
        (Some(of_uri), Some(of_line)) => (of_uri == of_line).then_some(of_uri),
        (Some(one), None) | (None, Some(one)) => Some(one),
        (None, None) => None,
    }
}

/// Whether somebody between us and the caller may have seen another end of this message.
pub fn is_ambiguous(head: &request::Parts) -> bool {
    let has = |name| head.headers.contains_key(name);
    let is_framed_twice = has(&TRANSFER_ENCODING) && has(&CONTENT_LENGTH);
    let is_old = head.version < Version::HTTP_11;
    is_framed_twice || (is_old && has(&TRANSFER_ENCODING))
}

/// The protocol that a request asks for, if it may, and the connection that would change.
pub fn change_of<B>(request: &mut Request<B>) -> Option<(HeaderValue, OnUpgrade)> {
    if request.version() != Version::HTTP_11 {
        return None;
    }
    let to = upgrade_of(request.headers()).filter(|to| may_change(to, request.headers()))?;
    Some((to, hyper::upgrade::on(request)))
}

/// Whether a protocol is passed on; a request for another one is answered without the change, as
/// RFC 9110 section 7.8 allows.
fn may_change(to: &HeaderValue, headers: &HeaderMap) -> bool {
    let is_http = to.as_bytes().to_ascii_lowercase().starts_with(b"h2")
        || to.as_bytes().to_ascii_lowercase().starts_with(b"http");
    let length = headers.get(CONTENT_LENGTH);
    let has_body =
        length.is_some_and(|length| length != "0") || headers.contains_key(TRANSFER_ENCODING);
    !is_http && !has_body
}

/// Takes out of a request's headers what is ours, what is between neighbours, and what says who asks.
pub fn onward(headers: &mut HeaderMap, shown: &Shown, scheme: &'static str) {
    strip(headers, shown);
    strip_connection(headers);
    strip_client(headers);
    strip_ours(headers);
    headers.remove(HOST);
    headers.remove(EXPECT);
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
}

/// The address of a request as it goes on: the caller's host is the container's.
pub fn uri_onward(uri: &Uri, host: &Authority, scheme: &str) -> Option<Uri> {
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let built = Uri::builder().scheme(scheme).authority(host.clone());
    built.path_and_query(path).build().ok()
}

/// The headers of an answer as the caller gets them. Whether it is the node's own.
pub fn to_caller(headers: &mut HeaderMap) -> bool {
    let is_own = headers.contains_key(OWN);
    strip_connection(headers);
    strip_ours(headers);
    if headers.contains_key(SET_COOKIE) {
        let cookies: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().map(of_host).collect();
        headers.remove(SET_COOKIE);
        for cookie in cookies {
            headers.append(SET_COOKIE, cookie);
        }
    }
    is_own
}

/// A cookie of one host alone: a job must not set one for its neighbours, or for the API.
fn of_host(cookie: &HeaderValue) -> HeaderValue {
    let is_domain = |attribute: &&[u8]| {
        let name = attribute
            .split(|byte| *byte == b'=')
            .next()
            .unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"domain")
    };
    let mut parts = cookie.as_bytes().split(|byte| *byte == b';');
    let first = parts.next().into_iter();
    let kept: Vec<&[u8]> = first.chain(parts.filter(|part| !is_domain(part))).collect();
    HeaderValue::from_bytes(&kept.join(&b";"[..])).unwrap_or_else(|_| cookie.clone())
}

#[cfg(test)]
mod test {
    use super::*;

    fn head(uri: &str, lines: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_request_names_one_host() {
        let check = |uri: &str, lines: &[(&str, &str)], expected: Option<&str>| {
            let found = host_of(&head(uri, lines));
            assert_eq!(
                found.as_ref().map(Authority::as_str),
                expected,
                "{uri} {lines:?}"
            );
        };
        check("/", &[("host", "a.example")], Some("a.example"));
        check("http://a.example/", &[], Some("a.example"));
        check(
            "http://a.example/",
            &[("host", "a.example")],
            Some("a.example"),
        );
        check("http://a.example/", &[("host", "b.example")], None);
        check("/", &[("host", "a.example"), ("host", "b.example")], None);
        check("/", &[("host", "a b")], None);
        check("/", &[("host", "")], None);
        check("/", &[], None);
    }

    #[test]
    fn what_has_two_ends_is_ambiguous() {
        let check = |lines: &[(&str, &str)], expected| {
            assert_eq!(is_ambiguous(&head("/", lines)), expected, "{lines:?}");
        };
        check(&[("content-length", "3")], false);
        check(&[("transfer-encoding", "chunked")], false);
        check(
            &[("transfer-encoding", "chunked"), ("content-length", "3")],
            true,
        );
    }

    #[test]
    fn no_http_is_carried_inside_and_no_body_comes_with_a_change() {
        let check = |to: &str, lines: &[(&'static str, &str)], expected: bool| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().unwrap());
            }
            assert_eq!(
                may_change(&to.parse().unwrap(), &headers),
                expected,
                "{to} {lines:?}"
            );
        };
        check("websocket", &[], true);
        check("tcp", &[("content-length", "0")], true);
        check("h2c", &[], false);
        check("H2C", &[], false);
        check("HTTP/2.0", &[], false);
        check("websocket", &[("content-length", "5")], false);
        check("websocket", &[("transfer-encoding", "chunked")], false);
    }

    #[test]
    fn a_job_sets_cookies_for_its_own_host_alone() {
        let mut headers = HeaderMap::new();
        for cookie in [
            "a=b; Domain=example.org; Path=/",
            "c=d;domain = .example.org",
            "domain=kept; HttpOnly",
        ] {
            headers.append(SET_COOKIE, cookie.parse().unwrap());
        }
        headers.insert(OWN, "1".parse().unwrap());
        assert!(to_caller(&mut headers));
        let left: Vec<&str> = headers
            .get_all(SET_COOKIE)
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect();
        assert_eq!(left, ["a=b; Path=/", "c=d", "domain=kept; HttpOnly"]);
        assert_eq!(headers.len(), 3);
        assert!(!to_caller(&mut headers));
    }
}
