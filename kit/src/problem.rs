//! RFC 9457 answers, and the request id that ties an answer to the log.
//!
//! [`request_id`] is an axum middleware: it gives each request an id, opens the span
//! `request{request_id, method, path}` around it, and puts the id on the answer as `x-request-id`.
//! A handler answers with [`ProblemResponse::new`], which reads that id by itself. What caused it
//! goes to the log through [`ProblemResponse::caused_by`] and never to the caller.
//!
//! **Invariant.** Every answer of 400 and above carries a problem; [`request_id`] turns the
//! framework's own plain refusals (404 of the router, 405, 413, 415, 422) into one.

use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use nearlight_protocol::id::RequestId;
use nearlight_protocol::problem::{Problem, ProblemType};
use std::fmt::Display;
use tracing::Instrument;

/// Carries the request id back to the caller, for bug reports.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

tokio::task_local! {
    static CURRENT: RequestId;
}

/// A problem on its way out.
#[derive(Clone, Debug)]
pub struct ProblemResponse {
    problem: Problem,
    retry_after_s: Option<u32>,
}

impl ProblemResponse {
    /// A problem of this request. `detail` is for the caller: what happened and what to do.
    pub fn new(name: ProblemType, detail: impl Into<String>) -> Self {
        Self::from(Problem::new(name, detail, current_request().as_str()))
    }

    /// Our fault: the caller reads a request id, the log reads the cause.
    pub fn internal(cause: impl Display) -> Self {
        let detail = "Try again; if it happens again, tell the operator the id in `instance`.";
        let response = Self::new(ProblemType::Internal, detail);
        tracing::error!(request_id = response.problem.instance, %cause, "request failed");
        response
    }

    /// Tells the caller this in place of the detail.
    #[must_use]
    pub fn saying(mut self, detail: &str) -> Self {
        detail.clone_into(&mut self.problem.detail);
        self
    }

    /// Writes the cause to the log, under the request id, and not to the caller.
    #[must_use]
    pub fn caused_by(self, cause: impl Display) -> Self {
        tracing::debug!(
            request_id = self.problem.instance,
            problem = self.problem.type_uri,
            %cause,
            "request refused"
        );
        self
    }

    /// Adds `Retry-After`, seconds.
    #[must_use]
    pub fn retry_after_s(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// What goes on the wire.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl From<Problem> for ProblemResponse {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            retry_after_s: None,
        }
    }
}

impl IntoResponse for ProblemResponse {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.problem).expect("a problem is strings and numbers");
        let mut response = (status, [(CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        if let Some(seconds) = self.retry_after_s {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The id of the request that this task is answering; a fresh one outside of any.
pub fn current_request() -> RequestId {
    CURRENT
        .try_with(Clone::clone)
        .unwrap_or_else(|_| crate::ids::request())
}

/// Middleware: `router.layer(axum::middleware::from_fn(problem::request_id))`, outermost.
///
/// The id also stands in the request's extensions as [`RequestId`]; one that stands there is kept.
pub async fn request_id(mut request: Request, next: Next) -> Response {
    // No request from outside brings an extension: it is the id under which another role was asked.
    let id = request.extensions().get::<RequestId>().cloned();
    let id = id.unwrap_or_else(crate::ids::request);
    let header =
        HeaderValue::from_str(id.as_str()).expect("an id is lower-case letters, digits and `_`");
    let span = tracing::info_span!(
        "request",
        request_id = %id,
        method = %request.method(),
        path = %without_secrets(request.uri().path()),
    );
    request.extensions_mut().insert(id.clone());
    let answer = async { refine(next.run(request).await) };
    let mut response = CURRENT.scope(id, answer.instrument(span)).await;
    response.headers_mut().insert(REQUEST_ID_HEADER, header);
    response
}

/// Middleware for what is handed on to somebody else's program: problems of ours have the request's id,
/// and the program's answers pass as they are. Its paths are not written to the log.
pub async fn handed_on(mut request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().cloned();
    let id = id.unwrap_or_else(crate::ids::request);
    let span = tracing::info_span!("request", request_id = %id, method = %request.method());
    request.extensions_mut().insert(id.clone());
    CURRENT.scope(id, next.run(request).instrument(span)).await
}

/// Longest part of a path that is written to the log. Ids have 30 bytes; a secret that stands in a
/// path has more.
const LOGGED_PART_BYTES_MAX: usize = 40;

/// A path as it may be logged: a log is no place for the token of a watch link.
fn without_secrets(path: &str) -> std::borrow::Cow<'_, str> {
    let is_long = |part: &str| part.len() > LOGGED_PART_BYTES_MAX;
    if !path.split('/').any(is_long) {
        return path.into();
    }
    let parts = path.split('/');
    let parts: Vec<&str> = parts.map(|p| if is_long(p) { "…" } else { p }).collect();
    parts.join("/").into()
}

/// Replaces a plain-text refusal of the framework by the problem that it stands for. JSON bodies,
/// problems among them, and answers without a content type from `HEAD` pass as they are.
fn refine(response: Response) -> Response {
    let is_plain = response
        .headers()
        .get(CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let Some((name, detail)) = framework_refusal(response.status()).filter(|_| is_plain) else {
        return response;
    };
    let mut refined = ProblemResponse::new(name, detail).into_response();
    for (key, value) in response.headers() {
        if !refined.headers().contains_key(key) && *key != axum::http::header::CONTENT_LENGTH {
            refined.headers_mut().append(key, value.clone());
        }
    }
    refined
}

fn framework_refusal(status: StatusCode) -> Option<(ProblemType, &'static str)> {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Some((
            ProblemType::BadRequest,
            "The request cannot be read; /openapi.json describes what this path takes.",
        )),
        StatusCode::NOT_FOUND => Some((
            ProblemType::NotFound,
            "No such path; /openapi.json lists the API.",
        )),
        StatusCode::METHOD_NOT_ALLOWED => Some((
            ProblemType::MethodNotAllowed,
            "The header `Allow` lists the methods that this path takes.",
        )),
        StatusCode::PAYLOAD_TOO_LARGE => Some((
            ProblemType::BodyTooLarge,
            "The body is larger than this path takes.",
        )),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Some((
            ProblemType::UnsupportedMediaType,
            "Say what the body is with the header `Content-Type`; JSON is `application/json`.",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod test;
