//! What a request shows, and whether that opens a port.
//!
//! Programs send the ticket, or an API key, as `Authorization: Bearer`, for that is what they do with
//! the key of any API. Browsers get a cookie, in exchange for an address that works once. An `Authorization`
//! that is not ours is the job's own affair.
//!
//! **Invariant.** A cookie counts only for a navigation, or for what a page of the same origin asks: pages
//! of other jobs are of the same *site*, which SameSite does not tell apart.

use super::site::Target;
use crate::secret::KEY_PREFIX;
use crate::tokens::{EndpointClaims, Signer, is_endpoint_ticket};
use axum::http::header::{AUTHORIZATION, COOKIE, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use nearlight_protocol::job::{Port, PortAccess};
use nearlight_protocol::unit::UnixMillis;

/// The cookie, where browsers come over TLS: no other host can set it (RFC 6265bis section 4.1.3.2).
const COOKIE_SECURE: &str = "__Host-nearlight-endpoint";
/// The cookie on loopback.
const COOKIE_PLAIN: &str = "nearlight-endpoint";
/// The parameter of an address that works once.
const PARAMETER: &str = "ticket";

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What a request shows of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
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
pub(super) fn shown(headers: &HeaderMap, uri: &Uri, is_secure: bool) -> Shown {
    if let Some(token) = bearer(headers) {
        if token.starts_with(KEY_PREFIX) {
            return Shown::Key(token.to_owned());
        }
        if is_endpoint_ticket(token) {
            return Shown::Ticket(token.to_owned());
        }
    }
    if let Some((ticket, rest)) = parameter(uri) {
        return Shown::Address(ticket, rest);
    }
    let cookies = pairs(headers).filter(|(name, _)| *name == cookie_name(is_secure));
    let cookies: Vec<String> = cookies.map(|(_, value)| value.to_owned()).collect();
    if cookies.is_empty() {
        Shown::Nothing
    } else {
        Shown::Cookies(cookies)
    }
}

/// Takes out what [`shown`] found: none of it is the container's.
pub(super) fn strip(headers: &mut HeaderMap, shown: &Shown) {
    if matches!(shown, Shown::Key(_) | Shown::Ticket(_)) {
        headers.remove(AUTHORIZATION);
    }
    if !headers.contains_key(COOKIE) {
        return;
    }
    let is_ours = |name: &str| name == COOKIE_SECURE || name == COOKIE_PLAIN;
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
pub(super) fn access(ports: &[Port], name: &str) -> Option<PortAccess> {
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

/// Whether two names are of one port: the first has none, or its own.
fn is_same_port(ports: &[Port], one: &str, other: &str) -> bool {
    let first = ports.first().map_or("", |port| &port.name);
    let name = |name: &'_ str| {
        if name.is_empty() {
            first.to_owned()
        } else {
            name.to_owned()
        }
    };
    name(one) == name(other)
}

/// The ticket in a token, if it opens this port now.
pub(super) fn opens(
    signer: &Signer,
    token: &str,
    (target, ports): (&Target, &[Port]),
    now_ms: UnixMillis,
) -> Option<EndpointClaims> {
    let claims = signer.verify_endpoint_ticket(token).ok()?;
    let is_here = claims.aud == target.session && is_same_port(ports, &claims.port, &target.port);
    (is_here && now_ms < claims.exp_ms).then_some(claims)
}

/// Whether what comes with a cookie is the visitor's own doing.
pub(super) fn is_own_doing(headers: &HeaderMap, origin: &str, changes_protocol: bool) -> bool {
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

/// The cookie that stands for a ticket.
pub(super) fn cookie(ticket: &str, for_s: u64, is_secure: bool) -> String {
    let name = cookie_name(is_secure);
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{name}={ticket}; Path=/; HttpOnly; SameSite=Lax; Max-Age={for_s}{secure}")
}

/// An address that works once.
pub(super) fn with_ticket(url: &str, ticket: &str) -> String {
    format!("{url}?{PARAMETER}={ticket}")
}

const fn cookie_name(is_secure: bool) -> &'static str {
    if is_secure {
        COOKIE_SECURE
    } else {
        COOKIE_PLAIN
    }
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
        value.is_some_and(is_endpoint_ticket)
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
