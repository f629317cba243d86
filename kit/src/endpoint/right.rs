//! What a request shows, and whether that opens a port.
//!
//! Programs send the ticket, or an API key, as `Authorization: Bearer`, for that is what they do with
//! the key of any API. Browsers get a cookie, in exchange for an address that works once. An `Authorization`
//! that is not ours is the job's own affair.
//!
//! **Invariant.** A cookie counts only for a navigation, or for what a page of the same origin asks: pages
//! of other jobs are of the same *site*, which SameSite does not tell apart.

use super::site::Target;
use crate::problem::ProblemResponse;
use axum::body::Body;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, COOKIE, LOCATION, ORIGIN, REFERRER_POLICY, SET_COOKIE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, request};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nearlight_protocol::endpoint::EndpointClaims;
use nearlight_protocol::grant::{ENDPOINT_SCOPED_TYP, ENDPOINT_TYP};
use nearlight_protocol::id::NodeId;
use nearlight_protocol::identity::KEY_PREFIX;
use nearlight_protocol::job::{Port, PortAccess};
use nearlight_protocol::problem::ProblemType;
use nearlight_protocol::unit::UnixMillis;
use serde::Deserialize;

/// Which cookie stands for a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jar {
    /// Browsers come over TLS: no other host can set it (RFC 6265bis section 4.1.3.2).
    Secure,
    /// A broker's on loopback.
    Broker,
    /// A node's on loopback. Its host is the broker's there, and a browser keeps one cookie of a name for all ports of
    /// a host.
    Node,
}

impl Jar {
    const ALL: [Self; 3] = [Self::Secure, Self::Broker, Self::Node];

    /// A broker's.
    pub const fn of_broker(is_secure: bool) -> Self {
        if is_secure {
            Self::Secure
        } else {
            Self::Broker
        }
    }

    /// A node's.
    pub const fn of_node(is_secure: bool) -> Self {
        if is_secure { Self::Secure } else { Self::Node }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Secure => "__Host-nearlight-endpoint",
            Self::Broker => "nearlight-endpoint",
            Self::Node => "nearlight-endpoint-node",
        }
    }
}

/// The parameter of an address that works once.
const PARAMETER: &str = "ticket";

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What a request shows of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// An API key.
    Key(String),
    /// An endpoint ticket.
    Ticket(String),
    /// An address that works once: its ticket, and the path without it.
    Address(String, String),
    /// Cookies of ours; several where somebody planted one.
    Cookies(Vec<String>),
    /// Nothing.
    Nothing,
}

/// What a request shows.
pub fn shown(headers: &HeaderMap, uri: &Uri, jar: Jar) -> Shown {
    if let Some(token) = bearer(headers) {
        if token.starts_with(KEY_PREFIX) {
            return Shown::Key(token.to_owned());
        }
        if is_ticket(token) {
            return Shown::Ticket(token.to_owned());
        }
    }
    if let Some((ticket, rest)) = parameter(uri) {
        return Shown::Address(ticket, rest);
    }
    let cookies = pairs(headers).filter(|(name, _)| *name == jar.name());
    let cookies: Vec<String> = cookies.map(|(_, value)| value.to_owned()).collect();
    if cookies.is_empty() {
        Shown::Nothing
    } else {
        Shown::Cookies(cookies)
    }
}

/// Takes out what [`shown`] found: none of it is the container's.
pub fn strip(headers: &mut HeaderMap, shown: &Shown) {
    if matches!(shown, Shown::Key(_) | Shown::Ticket(_)) {
        headers.remove(AUTHORIZATION);
    }
    if !headers.contains_key(COOKIE) {
        return;
    }
    let is_ours = |name: &str| Jar::ALL.iter().any(|jar| jar.name() == name);
    let kept = raw_pairs(headers).filter(|pair| !is_ours(name_of(pair)));
    let kept: Vec<&[u8]> = kept
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
        .collect();
    let kept = kept.join(&b"; "[..]);
    match HeaderValue::from_bytes(&kept) {
        Ok(value) if !kept.is_empty() => {
            headers.insert(COOKIE, value);
        }
        Ok(_) | Err(_) => {
            headers.remove(COOKIE);
        }
    }
}

/// Who may use a port; `None` if there is none. What a broker does not know of ports, the node does.
pub fn access(ports: &[Port], name: &str) -> Option<PortAccess> {
    if ports.is_empty() {
        return Some(PortAccess::Ticket);
    }
    let found = match name {
        "" => ports.first(),
        name => ports.iter().find(|port| port.name == name),
    };
    let access = found.map(|port| port.access);
    access.filter(|access| *access != PortAccess::Cluster)
}

/// Whether two names are of one port: the first has none, or its own; `first` is its own.
fn is_same_port(first: &str, one: &str, other: &str) -> bool {
    let name = |name: &'_ str| if name.is_empty() { first } else { name }.to_owned();
    name(one) == name(other)
}

/// Why a ticket does not open a port for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// It is for another session or port.
    #[error("it is for another session or port")]
    Elsewhere,
    /// Its time is over.
    #[error("it is expired")]
    Expired,
    /// It is an address's: it opens nothing itself.
    #[error("it is for an address that works once")]
    Once,
    /// It is for other methods, or other paths.
    #[error("it is for other methods or paths")]
    Scope,
}

/// Whether a ticket whose signature holds is for this port of this session, where the job's `first` port is called
/// so; whatever is asked there, and whenever.
pub fn is_for(claims: &EndpointClaims, target: &Target, first: &str) -> bool {
    claims.aud == target.session && is_same_port(first, &claims.port, &target.port)
}

/// Whether a ticket is for here: `node` is the node that is asked, `None` a broker. One that names no node is taken by
/// all: brokers and programs of before know no other.
pub fn is_here(claims: &EndpointClaims, node: Option<&NodeId>) -> bool {
    claims.node.is_none() || claims.node.as_ref() == node
}

/// Headers that some programs take for the method or the path, or for another path (WebDAV), also with underscores in
/// place of hyphens. A ticket with a scope opens nothing to whoever sends them: it is the request's own that were
/// looked at.
const OVERRIDES: [&str; 12] = [
    "destination",
    "x-forwarded-method",
    "x-forwarded-path",
    "x-forwarded-prefix",
    "x-forwarded-uri",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-uri",
    "x-rewrite-url",
];

/// Whether it opens the port for a request now; `changes` if that asks for a change of the protocol.
///
/// # Errors
/// [`Closed`] if it does not.
pub fn opens(
    claims: &EndpointClaims,
    (target, first): (&Target, &str),
    (head, changes): (&request::Parts, bool),
    now_ms: UnixMillis,
) -> Result<(), Closed> {
    if !is_for(claims, target, first) {
        return Err(Closed::Elsewhere);
    }
    if now_ms >= claims.exp_ms {
        return Err(Closed::Expired);
    }
    if claims.cookie_until_ms.is_some() {
        return Err(Closed::Once);
    }
    let scope = &claims.scope;
    let is_override = |name: &HeaderName| OVERRIDES.contains(&&*name.as_str().replace('_', "-"));
    let overrides = || head.headers.keys().any(is_override);
    let permits = scope.permits(head.method.as_str(), head.uri.path(), changes)
        && (scope.is_whole() || !overrides());
    permits.then_some(()).ok_or(Closed::Scope)
}

/// What the first of several cookies opens; or else what keeps the last one from it.
///
/// # Errors
/// [`Closed`] if none opens anything.
pub fn any_opens<T>(
    cookies: &[String],
    mut opens: impl FnMut(&str) -> Result<T, Closed>,
) -> Result<T, Closed> {
    let mut kept = Closed::Elsewhere;
    for cookie in cookies {
        match opens(cookie) {
            Ok(opened) => return Ok(opened),
            Err(closed) => kept = closed,
        }
    }
    Err(kept)
}

/// The name of a job's first port; empty where it is not known.
pub fn first_of(ports: &[Port]) -> &str {
    ports.first().map_or("", |port| &port.name)
}

/// Whether what comes with a cookie is the visitor's own doing.
pub fn is_own_doing(headers: &HeaderMap, origin: &str, changes_protocol: bool) -> bool {
    let text = |name: &HeaderName| headers.get(name).map(HeaderValue::as_bytes);
    if let Some(of) = text(&ORIGIN) {
        return of.eq_ignore_ascii_case(origin.as_bytes());
    }
    // Browsers say where a WebSocket comes from.
    if changes_protocol {
        return false;
    }
    match (text(&FETCH_SITE), text(&FETCH_MODE)) {
        (None | Some(b"same-origin" | b"none"), _) | (_, Some(b"navigate")) => true,
        (Some(_), _) => false,
    }
}

/// The answer to a request that a ticket's scope does not have.
pub fn beyond_scope() -> ProblemResponse {
    ProblemResponse::new(
        ProblemType::Forbidden,
        "The ticket is for other methods or paths of this job, and for no path with `//`, `..`, escaped slashes or \
         dots, or `X-HTTP-Method-Override`. Ask for one with these `methods` and this `path`, or without them.",
    )
}

/// The answer to an address that works once: back to where it leads, with a cookie that stands for `ticket`.
pub fn exchanged(ticket: &str, for_s: u64, jar: Jar, to: &str) -> Response<Body> {
    let headers = [
        (LOCATION, to.to_owned()),
        (SET_COOKIE, cookie(ticket, for_s, jar)),
        (CACHE_CONTROL, "no-store".to_owned()),
        (REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// The cookie that stands for a ticket.
fn cookie(ticket: &str, for_s: u64, jar: Jar) -> String {
    let name = jar.name();
    let secure = if jar == Jar::Secure { "; Secure" } else { "" };
    format!("{name}={ticket}; Path=/; HttpOnly; SameSite=Lax; Max-Age={for_s}{secure}")
}

/// An address that works once.
pub fn with_ticket(url: &str, ticket: &str) -> String {
    format!("{url}?{PARAMETER}={ticket}")
}

/// Whether a token says that it is an endpoint ticket, whoever signed it.
fn is_ticket(token: &str) -> bool {
    #[derive(Deserialize)]
    struct Header {
        typ: Option<String>,
    }
    let head = token.split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode(head).ok();
    let header = header.and_then(|json| serde_json::from_slice::<Header>(&json).ok());
    let typ = header.and_then(|header| header.typ);
    matches!(typ.as_deref(), Some(ENDPOINT_TYP | ENDPOINT_SCOPED_TYP))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A ticket of ours in the query, and path and query without it. A parameter of that name that is none
/// of ours is the container's.
fn parameter(uri: &Uri) -> Option<(String, String)> {
    let query = uri.query()?;
    let is_ticket = |pair: &&str| {
        let value = pair
            .strip_prefix(PARAMETER)
            .and_then(|rest| rest.strip_prefix('='));
        value.is_some_and(is_ticket)
    };
    let ticket = query.split('&').find(is_ticket)?;
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_ticket(pair)).collect();
    let path = uri.path();
    let rest = if rest.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", rest.join("&"))
    };
    // `//host/` would lead elsewhere.
    let rest = format!("/{}", rest.trim_start_matches('/'));
    let value = ticket.split_once('=').map_or("", |(_, value)| value);
    Some((value.to_owned(), rest))
}

fn raw_pairs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(COOKIE).iter();
    values.flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
}

fn name_of(pair: &[u8]) -> &str {
    let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
    std::str::from_utf8(name.trim_ascii()).unwrap_or_default()
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let texts = raw_pairs(headers).filter_map(|pair| std::str::from_utf8(pair).ok());
    texts.filter_map(|pair| pair.trim().split_once('='))
}

#[cfg(test)]
mod test;
