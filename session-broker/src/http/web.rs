//! The browser client's files. Pages that are no file are the one page of the client: it routes.

use super::Api;
use super::problem::{Refusal, not_found};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::problem::ProblemType;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use tower_http::services::ServeDir;

/// Files under it are named after their content.
const ASSETS: &str = "/assets/";
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");
/// Whatever starts so is the API's, and never a page.
const NO_PAGES: [&str; 4] = ["/v1/", "/assets/", "/apps/", "/.well-known/"];

/// Whatever no route takes.
pub(super) async fn files(
    State(api): State<Arc<Api>>,
    request: Request,
) -> Result<Response, Refusal> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(not_found("path; /openapi.json lists the API"));
    }
    let Some(root) = &api.client_web else {
        return Err(ProblemResponse::new(
            ProblemType::NotFound,
            "The browser client is not built. `make play` builds it; /openapi.json lists the API.",
        ));
    };
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    if let Some(found) = read(root, request).await? {
        let cache = if path.starts_with(ASSETS) {
            FOREVER
        } else {
            ASK_AGAIN
        };
        return Ok(cached(found, cache));
    }
    if !is_page(&path) {
        return Err(not_found("path; /openapi.json lists the API"));
    }
    let index = Request::builder()
        .method(method)
        .uri(Uri::from_static("/index.html"));
    let index = index
        .body(Body::empty())
        .map_err(ProblemResponse::internal)?;
    let page = read(root, index).await?;
    let page = page.ok_or_else(|| not_found("page; the browser client is not built whole"))?;
    Ok(cached(page, ASK_AGAIN))
}

/// The file that a request names, if there is one.
async fn read(root: &Path, request: Request) -> Result<Option<Response>, Refusal> {
    let served = ServeDir::new(root)
        .precompressed_gzip()
        .try_call(request)
        .await;
    match served {
        Ok(found) if found.status() == StatusCode::NOT_FOUND => Ok(None),
        Ok(found) => Ok(Some(found.into_response())),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename => Ok(None),
            _ => Err(ProblemResponse::internal(error)),
        },
    }
}

fn cached(mut response: Response, cache: HeaderValue) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, cache);
    response
}

/// Whether a path that is no file is one of the client's pages.
fn is_page(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    !last.contains('.') && !NO_PAGES.iter().any(|prefix| path.starts_with(prefix))
}
