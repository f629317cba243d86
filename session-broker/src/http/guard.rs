//! What every request passes: Host, Origin, security headers, metrics.
//!
//! The Host list keeps a hostile page from reaching a broker on the visitor's own machine under a
//! name of its own (DNS rebinding); the Origin check keeps it from sending requests with the
//! visitor's cookie. Both are needed: plain http on loopback is reachable by every page.

use super::Api;
use super::caller::Certified;
use crate::config::RegionSettings;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, InvalidHeaderValue, ORIGIN,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::problem::ProblemType;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use url::Url;

/// Only our own files run, WebAssembly among them (the verifier of receipts); pictures and cursors may be
/// data or blobs; nobody frames us.
/// What of it comes before and after the origins that pages may connect to.
const CONTENT_POLICY: [&str; 2] = [
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' data: blob:; media-src 'self' blob: mediastream:; \
     connect-src 'self'",
    "; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
];
/// What the player needs, and nothing else.
const PERMISSIONS: &str = "autoplay=(self), clipboard-read=(self), clipboard-write=(self), \
    fullscreen=(self), gamepad=(self), keyboard-map=(self), screen-wake-lock=(self), \
    camera=(), geolocation=(), microphone=(), payment=(), usb=()";

const SECURITY_HEADERS: [(&str, &str); 7] = [
    ("cross-origin-embedder-policy", "require-corp"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", PERMISSIONS),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The names under which we are reached, without ports, in lower case.
#[derive(Clone, Debug)]
pub(crate) struct Hosts(BTreeSet<String>);

impl Hosts {
    pub(crate) fn new(configured: &[String], listen: SocketAddr) -> Self {
        let mut names: BTreeSet<String> = configured.iter().cloned().collect();
        names.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
        if !listen.ip().is_unspecified() {
            names.insert(match listen.ip() {
                std::net::IpAddr::V4(v4) => v4.to_string(),
                std::net::IpAddr::V6(v6) => format!("[{v6}]"),
            });
        }
        Self(names)
    }

    fn takes(&self, authority: &Authority) -> bool {
        self.0.contains(&authority.host().to_ascii_lowercase())
    }
}

/// Refuses foreign Hosts, and foreign Origins of whatever changes something.
pub(super) async fn check_origin(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Response {
    // No page has a checker's certificate; the broker that was shown it hands the request on under its own name.
    if request.extensions().get::<Certified>().is_some() {
        return next.run(request).await;
    }
    // Probes of an orchestrator come by address, and learn nothing but that we live.
    let probe = matches!(request.uri().path(), "/healthz" | "/readyz");
    let Some(host) = authority(request.headers()).filter(|host| probe || api.hosts.takes(host))
    else {
        let detail = "The Host is not one of this broker's names. An operator adds names with \
                      `hosts` in session-broker.toml.";
        return ProblemResponse::new(ProblemType::OriginRefused, detail).into_response();
    };
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !reads && !own_origin(request.headers(), &host) {
        let detail = "The request comes from a page of another origin.";
        return ProblemResponse::new(ProblemType::OriginRefused, detail).into_response();
    }
    next.run(request).await
}

/// The policy of our pages: they may also time these regions' beacons.
///
/// # Errors
/// Never for a configuration that was checked.
pub(crate) fn content_policy(
    regions: &[RegionSettings],
) -> Result<HeaderValue, InvalidHeaderValue> {
    let beacons = regions.iter().filter_map(|region| region.beacon.as_deref());
    let origins = beacons.filter_map(|beacon| Url::parse(beacon).ok());
    let origins: BTreeSet<String> = origins
        .map(|url| url.origin().ascii_serialization())
        .collect();
    let [before, after] = CONTENT_POLICY;
    let mut policy = before.to_owned();
    for origin in origins {
        policy.push(' ');
        policy.push_str(&origin);
    }
    policy.push_str(after);
    HeaderValue::from_str(&policy)
}

/// Puts the security headers on every answer, and measures it.
pub(super) async fn finish(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers.insert(CONTENT_SECURITY_POLICY, api.content_policy.clone());
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    crate::metrics::http_request(
        route.as_ref().map_or("files", MatchedPath::as_str),
        method_label(&method),
        response.status().as_u16(),
        started.elapsed(),
    );
    response
}

/// Methods are free text on the wire; labels must not be.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// The one Host of a request.
fn authority(headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    if hosts.next().is_some() || host.contains('@') {
        return None;
    }
    host.parse().ok()
}

/// Whether a WebSocket is not a foreign page's: browsers say where one comes from, and ask nobody before.
pub(super) fn is_own_origin(headers: &HeaderMap) -> bool {
    authority(headers).is_some_and(|host| own_origin(headers, &host))
}

/// Whether a browser says that the page is our own. Programs send neither header.
fn own_origin(headers: &HeaderMap, host: &Authority) -> bool {
    if let Some(site) = headers.get(FETCH_SITE)
        && site != "same-origin"
        && site != "none"
    {
        return false;
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let origin = origin.to_str().unwrap_or_default();
    let of = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"));
    of.is_some_and(|of| of.eq_ignore_ascii_case(host.as_str()))
}

#[cfg(test)]
mod test {
    use super::*;

    fn hosts() -> Hosts {
        Hosts::new(
            &["play.example.org".to_owned()],
            "127.0.0.1:8080".parse().unwrap(),
        )
    }

    #[test]
    fn only_our_names_are_hosts() {
        let check = |host: &str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            let taken = authority(&headers).is_some_and(|a| hosts().takes(&a));
            assert_eq!(taken, expected, "{host}");
        };
        for ours in [
            "localhost",
            "LOCALHOST:9",
            "127.0.0.1:8080",
            "[::1]:1",
            "play.example.org",
        ] {
            check(ours, true);
        }
        for foreign in [
            "",
            "evil.example",
            "localhost.evil.example",
            "a@localhost",
            "127.0.0.2",
        ] {
            check(foreign, false);
        }
    }

    #[test]
    fn an_origin_is_ours_only_if_it_is_the_hosts_own() {
        let host: Authority = "localhost:8080".parse().unwrap();
        let check = |origin: Option<&str>, site: Option<&str>, expected: bool| {
            let mut headers = HeaderMap::new();
            for (name, value) in [(ORIGIN, origin), (FETCH_SITE, site)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            assert_eq!(own_origin(&headers, &host), expected, "{origin:?} {site:?}");
        };
        check(None, None, true);
        check(Some("http://localhost:8080"), None, true);
        check(Some("http://localhost:8080"), Some("same-origin"), true);
        check(Some("http://localhost:9090"), None, false);
        check(Some("http://127.0.0.1:8080"), None, false);
        check(Some("null"), None, false);
        check(Some("localhost:8080"), None, false);
        check(Some("http://localhost:8080"), Some("cross-site"), false);
        check(None, Some("same-site"), false);
    }

    #[test]
    fn pages_may_connect_to_us_and_to_beacons() {
        let region = |beacon: Option<&str>| RegionSettings {
            name: "a".to_owned(),
            title: String::new(),
            beacon: beacon.map(str::to_owned),
            place: None,
        };
        let beacons = [
            Some("https://b.example:8443/v1/beacon"),
            None,
            Some("https://a.example/"),
        ];
        let policy = content_policy(&beacons.map(region)).unwrap();
        let policy = policy.to_str().unwrap();
        let connect = "; connect-src 'self' https://a.example https://b.example:8443; worker";
        assert!(policy.contains(connect), "{policy}");
        let none = content_policy(&[]).unwrap();
        assert!(none.to_str().unwrap().contains("connect-src 'self'; "));
    }

    #[test]
    fn two_hosts_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(HOST, "localhost".parse().unwrap());
        headers.append(HOST, "evil.example".parse().unwrap());
        assert!(authority(&headers).is_none());
    }
}
