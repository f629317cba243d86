//! `/v1/sessions/{id}/files`: files out of a job and into it, as tar archives.

use super::super::Api;
use super::super::body::{SessionPath, check_type, too_large};
use super::super::caller::Caller;
use super::super::problem::{Refusal, bad_request};
use super::{Cut, Of, noted, to_node, while_it_holds};
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use nearlight_kit::problem::ProblemResponse;
use nearlight_kit::uploading::Uploading;
use nearlight_protocol::identity::AuditAction;
use nearlight_protocol::inside::{ARCHIVE_BYTES_MAX, ARCHIVE_TYPE, Copied, PATH_BYTES_MAX};
use nearlight_protocol::problem::Problem;
use nearlight_protocol::tunnel::INSIDE_FILES;
use serde::Deserialize;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Of an upload nothing comes for so long: its sender is gone.
const UPLOAD_IDLE_MAX: Duration = Duration::from_secs(60);
/// Of a node's word about an upload.
const WORD_BYTES_MAX: usize = 4096;

/// A tar archive.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "only the API's document speaks of it")]
pub(in super::super) struct Archive(Vec<u8>);

/// Which files.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Which {
    path: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Which {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = Query::<Self>::from_request_parts(parts, state).await;
        query
            .map(|Query(which)| which)
            .map_err(|error| bad_request(format!("{error}.")))
    }
}

impl Which {
    fn check(&self) -> Result<(), Refusal> {
        let path = &self.path;
        if path.starts_with('/') && path.len() <= PATH_BYTES_MAX && !path.contains('\0') {
            return Ok(());
        }
        Err(bad_request(
            "`path` is an absolute path in the container, 4096 bytes at most.",
        ))
    }

    /// The query, escaped whatever is in it.
    fn query(&self) -> String {
        let mut query = "/?path=".to_owned();
        for byte in self.path.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => {
                    query.push(char::from(byte));
                }
                _ => {
                    let _ = write!(query, "%{byte:02X}");
                }
            }
        }
        query
    }
}

/// A file or a directory of a job, under its own name. Links are copied as links; devices, pipes and sockets are left
/// out; secrets only if they are named. Copied as the job's own user.
#[utoipa::path(
    get, path = "/v1/sessions/{id}/files", tag = "jobs",
    security(("api_key" = [])),
    params(("id" = String, Path, description = "The session."),
           ("path" = String, Query, description = "Absolute path in the container."),
           ("replica" = Option<u32>, Query, description = "Of a cluster: in which replica, from 0; 0 otherwise.")),
    responses(
        (status = 200, content_type = "application/x-tar", body = Archive,
         description = "A tar archive, as long as `Content-Length` says. What is in it is the job's word: unpack it with care."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found` where there is no such file, `bad-request` with the reason, `job-not-ready`, `session-ended`, \
                        `too-many-requests` with four copies under way, …"),
    )
)]
pub(in super::super) async fn get_files(
    State(api): State<Arc<Api>>,
    caller: Caller,
    SessionPath(id): SessionPath,
    which: Which,
    of: Of,
) -> Result<Response, Refusal> {
    let entered = api.job_to_enter(&caller, AuditAction::SessionFilesGet, &id);
    let session = entered.await?;
    which.check()?;
    let place = api.place_inside(&of.session_in(&session)?)?;
    let request = to_node(Method::GET, &which.query(), Body::empty())?;
    let (answer, busy) = api.ask_inside(&place, INSIDE_FILES, request).await?;
    let length = answer.headers().get(header::CONTENT_LENGTH).cloned();
    let length = length.ok_or_else(|| ProblemResponse::internal("an archive without a length"))?;
    let bytes = length.to_str().unwrap_or_default();
    let detail = noted(&format!("{bytes} bytes of {}", which.path));
    api.note(caller.audit(&api, AuditAction::SessionFilesGet, &id, detail))
        .await?;
    let pieces = while_it_holds(api, caller, answer.into_body(), busy, Cut::Ends);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(ARCHIVE_TYPE)),
        (header::CONTENT_LENGTH, length),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// Unpacks a tar archive in a job: below `path` if that is a directory, or else as `path`, which then has to be of one
/// file or directory. Existing files are replaced; hard links, devices, sparse files and names that lead out are refused. Written as the
/// job's own user.
#[utoipa::path(
    put, path = "/v1/sessions/{id}/files", tag = "jobs",
    security(("api_key" = [])),
    params(("id" = String, Path, description = "The session."),
           ("path" = String, Query, description = "Absolute path in the container."),
           ("replica" = Option<u32>, Query, description = "Of a cluster: in which replica, from 0; 0 otherwise.")),
    request_body(content = Archive, content_type = "application/x-tar"),
    responses(
        (status = 200, body = Copied, description = "It is all there."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request` with the reason, such as a read-only directory or a full disk; what was unpacked before \
                        stays. `not-found` without the directory above, `job-not-ready`, `session-ended`, …"),
    )
)]
pub(in super::super) async fn put_files(
    State(api): State<Arc<Api>>,
    caller: Caller,
    SessionPath(id): SessionPath,
    which: Which,
    of: Of,
    request: Request,
) -> Result<Json<Copied>, Refusal> {
    const ACTION: AuditAction = AuditAction::SessionFilesPut;
    let session = api.job_to_enter(&caller, ACTION, &id).await?;
    which.check()?;
    check_type(request.headers(), ARCHIVE_TYPE)?;
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > ARCHIVE_BYTES_MAX) {
        return Err(too_large());
    }
    let place = api.place_inside(&of.session_in(&session)?)?;
    let detail = noted(&format!("into {}", which.path));
    api.note(caller.audit(&api, ACTION, &id, detail)).await?;
    let body = Uploading::new(request.into_body(), UPLOAD_IDLE_MAX).at_most(ARCHIVE_BYTES_MAX);
    let counted = body.counted();
    let request = to_node(Method::PUT, &which.query(), Body::new(body))?;
    let copied = async {
        let (answer, _busy) = api.ask_inside(&place, INSIDE_FILES, request).await?;
        let body = to_bytes(Body::new(answer.into_body()), WORD_BYTES_MAX).await;
        let body = body.map_err(ProblemResponse::internal)?;
        serde_json::from_slice::<Copied>(&body).map_err(ProblemResponse::internal)
    };
    let copied = copied.await;
    let came = counted.load(Ordering::Relaxed);
    let words = match &copied {
        Ok(copied) => format!("{} bytes in {} entries into", copied.bytes, copied.entries),
        Err(_) => format!("broke off after {came} bytes into"),
    };
    let detail = noted(&format!("{words} {}", which.path));
    api.note(caller.audit(&api, ACTION, &id, detail)).await?;
    copied.map(Json)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_path_is_escaped_whatever_is_in_it() {
        let which = |path: &str| Which {
            path: path.to_owned(),
        };
        assert_eq!(which("/tmp/a b&c?d").query(), "/?path=/tmp/a%20b%26c%3Fd");
        assert!(which("/tmp").check().is_ok());
        for wrong in [
            "",
            "tmp",
            "/a\0b",
            &format!("/{}", "a".repeat(PATH_BYTES_MAX)),
        ] {
            assert!(which(wrong).check().is_err(), "{wrong}");
        }
    }
}
