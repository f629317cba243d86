use super::*;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::get;
use std::task::{Context, Poll, Waker};

async fn gone() -> ProblemResponse {
    ProblemResponse::new(ProblemType::SessionEnded, "It ended at noon.").retry_after_s(3)
}

async fn echo(axum::Extension(id): axum::Extension<RequestId>) -> String {
    format!("{id} {}", current_request())
}

/// Drives one request through the router by hand: nothing in it waits on IO.
fn call(method: &str, path: &str) -> (StatusCode, axum::http::HeaderMap, Vec<u8>) {
    use std::future::Future;
    use std::pin::pin;

    let router = Router::new()
        .route("/gone", get(gone))
        .route("/echo", get(echo))
        .layer(axum::middleware::from_fn(request_id));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    let answer = async move {
        let mut router = router.into_service::<Body>();
        let response = axum_call(&mut router, request).await;
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 65536).await.unwrap();
        (parts.status, parts.headers, bytes.to_vec())
    };
    let mut answer = pin!(answer);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = answer.as_mut().poll(&mut context) {
            return done;
        }
    }
}

async fn axum_call(
    router: &mut axum::routing::RouterIntoService<Body>,
    request: Request,
) -> Response {
    use tower_service::Service;
    router.call(request).await.unwrap()
}

#[test]
fn a_problem_carries_its_type_status_and_request() {
    let (status, headers, body) = call("GET", "/gone");
    assert_eq!(status, StatusCode::GONE);
    assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
    assert_eq!(headers[RETRY_AFTER], "3");
    let problem: Problem = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem.name, ProblemType::SessionEnded);
    assert_eq!(
        problem.instance.as_bytes(),
        headers[REQUEST_ID_HEADER].as_bytes()
    );
}

#[test]
fn the_handler_and_the_header_agree_on_the_request() {
    let (_, headers, body) = call("GET", "/echo");
    let id = headers[REQUEST_ID_HEADER].to_str().unwrap();
    assert_eq!(String::from_utf8(body).unwrap(), format!("{id} {id}"));
}

#[test]
fn refusals_of_the_framework_become_problems() {
    let (status, headers, body) = call("GET", "/nowhere");
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
    let problem: Problem = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem.name, ProblemType::NotFound);

    let (status, headers, _) = call("POST", "/gone");
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(headers["allow"], "GET,HEAD");
}

#[test]
fn secrets_in_paths_are_not_logged_and_ids_are() {
    let session = format!("/v1/sessions/{}/whep", crate::ids::session());
    assert_eq!(without_secrets(&session), session);
    let token = "a".repeat(43);
    let watch = format!("/v1/watch/{token}/whep");
    assert_eq!(without_secrets(&watch), "/v1/watch/…/whep");
}
