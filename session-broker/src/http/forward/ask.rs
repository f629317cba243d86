//! One question to one peer in a caller's name: the request as it goes there, and the answer as it comes back.
//!
//! **What it does not know:** who holds what, whether anybody is asked again.

use super::super::caller::Certified;
use super::super::duties::ALIVE_WITHIN;
use super::super::serve::Peer;
use super::{CHECKER, CLIENT, Region};
use crate::ledger::BrokerId;
use crate::peers::{AT_HAND, AWAITED, PeerError};
use crate::probes::STEP_WITHIN;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header, request};
use axum::response::Response;
use nearlight_kit::hop::{strip_connection, strip_ours};
use nearlight_kit::problem::{REQUEST_ID_HEADER, current_request};
use std::time::Duration;

/// The events of a session. Its holder pings every 15 s: past three pings it hangs, or its machine is gone.
const EVENTS: &str = "/events";
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// What a connection means for itself alone (RFC 9110 section 7.6.1), and what is written anew.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

impl Region {
    /// What a peer answers to a request of somebody else.
    pub(in super::super) async fn ask(
        &self,
        holder: &BrokerId,
        head: &request::Parts,
        body: Bytes,
        from: Peer,
    ) -> Result<Response, Unreachable> {
        let way = self.peers.way(holder).ok_or(Unreachable::Gone)?;
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = head.method.clone();
        *request.headers_mut() = as_handed_on(head.headers.clone(), from, head.extensions.get());
        let within = awaited(head.uri.path());
        let path = head.uri.path_and_query();
        let path = path.map_or("/", axum::http::uri::PathAndQuery::as_str);
        let client = &self.peers.client;
        let asked = way.hand_on(client, (path, request), from.0.ip(), within);
        let (answer, passage) = asked.await?;
        let (mut head, body) = answer.into_parts();
        let is_pinged = is_events(&head.headers) && path.ends_with(EVENTS);
        HOP_BY_HOP.iter().for_each(|name| {
            head.headers.remove(name);
        });
        let body = passage.body(body, is_pinged.then_some(SILENCE_MAX));
        Ok(Response::from_parts(head, body))
    }
}

fn is_events(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// How long a peer may take for the head of its answer.
fn awaited(path: &str) -> Duration {
    if path.starts_with("/v1/probes") {
        // A node computes a leg meanwhile, and the peer waits for it.
        return STEP_WITHIN + AWAITED;
    }
    if path.ends_with("/alive") {
        return ALIVE_WITHIN + AT_HAND;
    }
    let is_at_hand =
        !path.contains("/whep") && !path.ends_with("/probe") && !path.contains("/logs");
    if is_at_hand { AT_HAND } else { AWAITED }
}

/// Whether doing it twice is doing it once. A PATCH adds candidates to a set; tickets and nonces are signed and kept
/// nowhere; a sample of quality takes the place of the one before.
pub(super) fn is_repeatable(method: &Method, path: &str) -> bool {
    let twice_is_once = ["/tickets", "/endpoint", "/alive", "/quality"];
    let is_post = *method == Method::POST && twice_is_once.iter().any(|end| path.ends_with(end));
    method.is_idempotent() || *method == Method::PATCH || is_post
}

/// A caller's headers as a peer gets them: a word of ours in them is ours, for the peer believes it.
fn as_handed_on(mut headers: HeaderMap, from: Peer, checker: Option<&Certified>) -> HeaderMap {
    strip_connection(&mut headers);
    strip_ours(&mut headers);
    HOP_BY_HOP.iter().for_each(|name| {
        headers.remove(name);
    });
    if let Ok(client) = HeaderValue::from_str(&from.0.to_string()) {
        headers.insert(CLIENT, client);
    }
    if let Some(Certified(name)) = checker
        && let Ok(name) = HeaderValue::from_str(&name.to_string())
    {
        headers.insert(CHECKER, name);
    }
    if let Ok(id) = HeaderValue::from_str(current_request().as_str()) {
        headers.insert(REQUEST_ID_HEADER, id);
    }
    headers
}

/// Why a peer was not asked.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum Unreachable {
    /// It is not there any more.
    #[error("the broker is not there")]
    Gone,
    /// It did not answer.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

impl Unreachable {
    /// Whether it may have done what it was asked for.
    pub(super) fn leaves_open(&self) -> bool {
        match self {
            Self::Gone | Self::Peer(PeerError::Request(_) | PeerError::Full) => false,
            Self::Peer(PeerError::Http(error)) => !error.is_connect(),
            Self::Peer(PeerError::Late(_) | PeerError::Broken(_) | PeerError::Gone) => true,
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_kit::pki::CheckerName;
    use nearlight_protocol::id::KeyId;

    #[test]
    fn a_caller_says_nothing_in_our_name_to_a_peer() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-nearlight-endpoint", "ses_01 web"),
            ("x-nearlight-client", "192.0.2.9:1"),
            ("x-nearlight-session", "ses_01"),
            ("x-nearlight-checker", "another"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("content-length", "3"),
            ("authorization", "Bearer k"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let from = Peer("192.0.2.1:7".parse().unwrap());
        let forged = headers.clone();
        let headers = as_handed_on(headers, from, None);
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let id = REQUEST_ID_HEADER;
        let mut expected = ["authorization", "x-nearlight-client", id.as_str()];
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(headers[CLIENT], "192.0.2.1:7");
        let account = KeyId::from_parts(1, [0; 10]);
        let name = CheckerName::new(&"ab".repeat(32), account).unwrap();
        let certified = Certified(name.clone());
        let headers = as_handed_on(forged, from, Some(&certified));
        assert_eq!(headers[CHECKER], name.to_string());
    }

    #[test]
    fn what_makes_something_is_not_asked_for_again_where_it_may_have_been_made() {
        for (method, tail, expected) in [
            (Method::GET, "", true),
            (Method::DELETE, "", true),
            (Method::PUT, "/saves", true),
            (Method::PATCH, "/whep/att_x", true),
            (Method::POST, "/tickets", true),
            (Method::POST, "/endpoint", true),
            (Method::POST, "/quality", true),
            (Method::POST, "/watch-links", false),
            (Method::POST, "/whep", false),
            (Method::POST, "/exec", false),
        ] {
            let path = format!("/v1/sessions/ses_x{tail}");
            assert_eq!(is_repeatable(&method, &path), expected, "{method} {path}");
        }
        assert!(!Unreachable::Gone.leaves_open());
        assert!(!Unreachable::Peer(PeerError::Full).leaves_open());
        assert!(Unreachable::Peer(PeerError::Gone).leaves_open());
    }

    #[test]
    fn a_probe_is_awaited_for_as_long_as_its_node_may_compute() {
        let long = awaited("/v1/probes/x/fill");
        assert!(long > STEP_WITHIN && awaited("/v1/nodes/x/alive") > ALIVE_WITHIN);
    }
}
