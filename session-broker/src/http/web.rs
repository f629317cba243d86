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
    let found = read(root, request).await?;
    if found.status() == StatusCode::NOT_FOUND {
        if !is_page(&path) {
            return Err(not_found("path; /openapi.json lists the API"));
        }
        let index = Request::builder().method(method).uri(Uri::from_static("/"));
        let index = index
            .body(Body::empty())
            .map_err(ProblemResponse::internal)?;
        return Ok(cached(read(root, index).await?, ASK_AGAIN));
    }
    let cache = if path.starts_with(ASSETS) {
        FOREVER
    } else {
        ASK_AGAIN
    };
    Ok(cached(found, cache))
}

async fn read(root: &Path, request: Request) -> Result<Response, Refusal> {
    let served = ServeDir::new(root)
        .precompressed_gzip()
        .try_call(request)
        .await;
    match served {
        Ok(response) => Ok(response.into_response()),
        // `try_call` reports a missing file as an error, `call` would have answered 404.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(StatusCode::NOT_FOUND.into_response())
        }
        Err(error) => Err(ProblemResponse::internal(error)),
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
