//! What of a head goes on: of a request to the node, of an answer to the caller.

use super::right::{Shown, strip};
use super::site::Target;
use crate::tunnels::Place;
use axum::http::header::{CONTENT_LENGTH, EXPECT, HOST, SET_COOKIE, TRANSFER_ENCODING};
use axum::http::uri::{Authority, PathAndQuery};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, request};
use nearlight_kit::hop::{strip_client, strip_connection, strip_ours};
use nearlight_protocol::tunnel::{EPOCH, OWN, PORT, SESSION};

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The one host that a request names; `None` if it names none, or two.
pub(super) fn host_of(head: &request::Parts) -> Option<Authority> {
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
pub(super) fn is_ambiguous(head: &request::Parts) -> bool {
    let has = |name| head.headers.contains_key(name);
    let is_framed_twice = has(&TRANSFER_ENCODING) && has(&CONTENT_LENGTH);
    let is_old = head.version < Version::HTTP_11;
    is_framed_twice || (is_old && has(&TRANSFER_ENCODING))
}

/// The headers of a request as they travel on the tunnel.
pub(super) fn to_node(
    mut headers: HeaderMap,
    shown: &Shown,
    (target, place): (&Target, &Place),
    scheme: &'static str,
) -> HeaderMap {
    strip(&mut headers, shown);
    strip_connection(&mut headers);
    strip_client(&mut headers);
    strip_ours(&mut headers);
    headers.remove(HOST);
    headers.remove(EXPECT);
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    let ours = [
        (SESSION, target.session.to_string()),
        (PORT, target.port.clone()),
        (EPOCH, place.epoch.0.to_string()),
    ];
    for (name, value) in ours {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers
}

/// The address of a request as it travels on the tunnel: the caller's host is the container's.
pub(super) fn uri_to_node(uri: &Uri, host: &Authority, scheme: &str) -> Option<Uri> {
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let built = Uri::builder().scheme(scheme).authority(host.clone());
    built.path_and_query(path).build().ok()
}

/// The headers of an answer as the caller gets them. Whether it is the node's own.
pub(super) fn to_caller(headers: &mut HeaderMap) -> bool {
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
    use axum::http::Request;
    use nearlight_protocol::id::{NodeId, SessionId};
    use nearlight_session::Epoch;

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
    fn the_node_is_told_where_and_no_container_who() {
        let session = SessionId::from_parts(1, [0; 10]);
        let target = Target {
            session: session.clone(),
            port: "api".to_owned(),
        };
        let place = Place {
            session: session.clone(),
            node: NodeId::from_parts(1, [0; 10]),
            epoch: Epoch(7),
        };
        let head = head(
            "/",
            &[
                ("host", "a.example"),
                ("authorization", "Bearer ours"),
                ("x-forwarded-for", "192.0.2.1"),
                ("x-nearlight-session", "ses_forged"),
                ("x-nearlight-epoch", "1"),
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("accept", "text/event-stream"),
            ],
        );
        let shown = Shown::Ticket(String::new());
        let headers = to_node(head.headers, &shown, (&target, &place), "https");
        let mut lines: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        lines.sort_unstable();
        let expected = [
            ("accept", "text/event-stream"),
            ("x-forwarded-proto", "https"),
            ("x-nearlight-epoch", "7"),
            ("x-nearlight-port", "api"),
            ("x-nearlight-session", session.as_str()),
        ];
        assert_eq!(lines, expected);
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
