//! Extractors that refuse with problems: bodies by type and size, ids in paths.

use super::problem::{Refusal, bad_request, not_found};
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::id::{
    AppId, AttachmentId, KeyId, NodeId, SessionId, TenantId, VolumeId, WatchLinkId,
};
use nearlight_protocol::limits::{API_BODY_BYTES_MAX, NAME_CHARS_MAX, PAGE_ENTRIES_MAX};
use nearlight_protocol::plain::is_plain;
use nearlight_protocol::problem::ProblemType;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// For all of a request's body: the largest comes over 30 kbit/s in that time.
const BODY_WITHIN: Duration = Duration::from_secs(20);

/// A JSON body.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        check_type(request.headers(), "application/json")?;
        let bytes = bytes(request, state).await?;
        // Serde would take a list for a struct, its fields in order.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(bad_request(
                "The body is not what this path takes: a JSON object.",
            ));
        }
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| bad_request(format!("The body is not what this path takes: {error}.")))
    }
}

/// A JSON body, or none.
#[derive(Debug)]
pub(super) struct MaybeJson<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for MaybeJson<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        if request.body().is_end_stream() {
            return Ok(Self(T::default()));
        }
        let JsonBody(body) = JsonBody::from_request(request, state).await?;
        Ok(Self(body))
    }
}

/// The body as it is, up to the limit of the router and of time.
pub(super) async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Refusal> {
    in_time(BODY_WITHIN, Bytes::from_request(request, state))
        .await?
        .map_err(|rejected| {
            if rejected.status() == StatusCode::PAYLOAD_TOO_LARGE {
                too_large()
            } else {
                bad_request("The body broke off.").caused_by(rejected)
            }
        })
}

/// The same of a request that goes on to another broker.
pub(super) async fn whole(body: Body) -> Result<Bytes, Refusal> {
    let read = in_time(BODY_WITHIN, to_bytes(body, API_BODY_BYTES_MAX)).await?;
    read.map_err(|_| too_large())
}

/// What `reading` a body gives, if it does so within that time: a body that trickles holds its
/// connection as well as one that never comes.
async fn in_time<T>(within: Duration, reading: impl Future<Output = T>) -> Result<T, Refusal> {
    let read = tokio::time::timeout(within, reading).await;
    read.map_err(|_elapsed| {
        let seconds = within.as_secs();
        bad_request(format!("The body did not come within {seconds} s."))
    })
}

pub(super) fn too_large() -> Refusal {
    ProblemResponse::new(
        ProblemType::BodyTooLarge,
        "The body is larger than this path takes.",
    )
}

/// Whether the body says that it is of type `expected`; parameters do not matter.
pub(super) fn check_type(headers: &HeaderMap, expected: &str) -> Result<(), Refusal> {
    let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let essence = kind.and_then(|k| k.split(';').next()).map(str::trim);
    if essence.is_some_and(|e| e.eq_ignore_ascii_case(expected)) {
        return Ok(());
    }
    Err(ProblemResponse::new(
        ProblemType::UnsupportedMediaType,
        format!("Send `Content-Type: {expected}`."),
    ))
}

/// A path's parameters, or that there is no such thing.
async fn parts_of<T, S>(parts: &mut Parts, state: &S, what: &str) -> Result<T, Refusal>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    let path = Path::<T>::from_request_parts(parts, state).await;
    path.map(|Path(found)| found).map_err(|_| not_found(what))
}

/// What a query says.
pub(super) fn asked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refusal> {
    let asked = query.map(|Query(asked)| asked);
    asked.map_err(|error| bad_request(format!("{error}.")))
}

/// The session in `/v1/sessions/{id}`.
#[derive(Debug)]
pub(super) struct SessionPath(pub(super) SessionId);

impl<S: Send + Sync> FromRequestParts<S> for SessionPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        parts_of(parts, state, "session").await.map(Self)
    }
}

/// The volume in `/v1/volumes/{id}`.
#[derive(Debug)]
pub(super) struct VolumePath(pub(super) VolumeId);

impl<S: Send + Sync> FromRequestParts<S> for VolumePath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        parts_of(parts, state, "volume").await.map(Self)
    }
}

/// Session and attachment in `/v1/sessions/{id}/whep/{attachment}`.
#[derive(Debug)]
pub(super) struct AttachmentPath(pub(super) SessionId, pub(super) AttachmentId);

impl<S: Send + Sync> FromRequestParts<S> for AttachmentPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let (session, attachment) = parts_of(parts, state, "attachment").await?;
        Ok(Self(session, attachment))
    }
}

/// Session and link in `/v1/sessions/{id}/watch-links/{link}`.
#[derive(Debug)]
pub(super) struct WatchLinkPath(pub(super) SessionId, pub(super) WatchLinkId);

impl<S: Send + Sync> FromRequestParts<S> for WatchLinkPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let (session, link) = parts_of(parts, state, "watch link").await?;
        Ok(Self(session, link))
    }
}

/// The secret in `/v1/watch/{token}`.
#[derive(Debug)]
pub(super) struct WatchPath(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for WatchPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        parts_of(parts, state, "watch link").await.map(Self)
    }
}

/// Secret and attachment in `/v1/watch/{token}/whep/{attachment}`.
#[derive(Debug)]
pub(super) struct WatcherPath(pub(super) String, pub(super) AttachmentId);

impl<S: Send + Sync> FromRequestParts<S> for WatcherPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let (token, attachment) = parts_of(parts, state, "attachment").await?;
        Ok(Self(token, attachment))
    }
}

/// The node in `/v1/nodes/{node}/probe`.
#[derive(Debug)]
pub(super) struct NodePath(pub(super) NodeId);

impl<S: Send + Sync> FromRequestParts<S> for NodePath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        parts_of(parts, state, "node").await.map(Self)
    }
}

/// The probe in `/v1/probes/{probe}`.
#[derive(Debug)]
pub(super) struct ProbePath(pub(super) SessionId);

impl<S: Send + Sync> FromRequestParts<S> for ProbePath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        parts_of(parts, state, "probe").await.map(Self)
    }
}

/// Probe and step in `/v1/probes/{probe}/{step}`.
#[derive(Debug)]
pub(super) struct StepPath(pub(super) SessionId, pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for StepPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let (probe, step) = parts_of(parts, state, "probe").await?;
        Ok(Self(probe, step))
    }
}

/// The app in `/v1/apps/{app}/versions`.
#[derive(Debug)]
pub(super) struct AppPath(pub(super) AppId);

impl<S: Send + Sync> FromRequestParts<S> for AppPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        parts_of(parts, state, "app").await.map(Self)
    }
}

/// The tenant in `/v1/tenants/{id}`.
#[derive(Debug)]
pub(super) struct TenantPath(pub(super) TenantId);

impl<S: Send + Sync> FromRequestParts<S> for TenantPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        parts_of(parts, state, "tenant").await.map(Self)
    }
}

/// The key in `/v1/keys/{id}`.
#[derive(Debug)]
pub(super) struct KeyPath(pub(super) KeyId);

impl<S: Send + Sync> FromRequestParts<S> for KeyPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        parts_of(parts, state, "key").await.map(Self)
    }
}

/// Which part of a list.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) after: Option<String>,
    pub(super) before: Option<String>,
    pub(super) limit: u32,
}

#[derive(Deserialize)]
struct PageQuery {
    after: Option<String>,
    before: Option<String>,
    limit: Option<u32>,
}

/// Entries of a page for who does not say how many.
const PAGE_ENTRIES: u32 = 100;

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = Query::<PageQuery>::from_request_parts(parts, state).await;
        let Query(query) = query.map_err(|error| bad_request(format!("{error}.")))?;
        let limit = query.limit.unwrap_or(PAGE_ENTRIES);
        if !(1..=PAGE_ENTRIES_MAX).contains(&limit) {
            return Err(bad_request(format!("`limit` is 1 to {PAGE_ENTRIES_MAX}.")));
        }
        Ok(Self {
            after: query.after,
            before: query.before,
            limit,
        })
    }
}

/// A name that people give, without the spaces around it.
pub(super) fn checked_name(name: &str) -> Result<String, Refusal> {
    let name = name.trim();
    let fits = (1..=NAME_CHARS_MAX).contains(&name.chars().count());
    if !fits || !name.chars().all(is_plain) {
        return Err(bad_request(format!(
            "`name` is 1 to {NAME_CHARS_MAX} characters without control or invisible ones."
        )));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_name_is_what_it_looks_like() {
        assert_eq!(checked_name(" Fürth ").unwrap(), "Fürth");
        for name in [
            "",
            " ",
            "a\nb",
            "\u{1b}[31mred",
            "abc\u{202e}cba",
            "a\u{2066}b",
        ] {
            assert!(checked_name(name).is_err(), "{name:?}");
        }
    }

    #[tokio::test]
    async fn a_body_that_never_comes_is_given_up() {
        let silent = std::future::pending::<Bytes>();
        let refused = in_time(Duration::from_millis(5), silent).await;
        assert!(refused.is_err());
        let there = in_time(Duration::from_secs(60), async { Bytes::new() }).await;
        assert!(there.is_ok());
    }
}
