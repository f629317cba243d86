//! One request: from a tunnel, or from a caller at this node, to the container, and the answer back.

use super::endpoints::{Missing, Opened, Place, PortAt};
use super::flow::{Flow, Moved};
use super::{Endpoints, Inside, inside, upgrade};
use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::ext::Protocol;
use nearlight_kit::hop::{strip_client, strip_connection, strip_ours};
use nearlight_kit::problem::ProblemResponse;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::problem::ProblemType;
use nearlight_protocol::tunnel::{EPOCH, GREETING, INSIDE, OWN, PORT, SESSION, UPGRADE};
use std::convert::Infallible;
use std::error::Error as _;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// To the head of the answer, once nothing of the request moves any more. Models think for minutes.
const HEAD_WITHIN: Duration = Duration::from_secs(600);
/// Seconds after which a container that does not listen may do so.
const RETRY_S: u32 = 2;

/// Answers one request of a tunnel.
pub(super) async fn answer(
    request: Request<Incoming>,
    session: SessionId,
    endpoints: Arc<Endpoints>,
    tasks: Shutdown,
) -> Result<Response<Body>, Infallible> {
    if is_greeting(&request) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if request.headers().contains_key(INSIDE) {
        let answered = inside::ask(request, &session, &endpoints, tasks).await;
        return Ok(answered.unwrap_or_else(own));
    }
    let Some(opened) = endpoints.get(&session) else {
        return Ok(own(not_open(&endpoints, &session)));
    };
    let closed = opened.closed.clone();
    let answered = tokio::select! {
        answered = ask(request, session, opened, tasks) => answered,
        () = closed.cancelled() => Err(missing(Missing::Session)),
    };
    Ok(answered.unwrap_or_else(own))
}

/// Answers one request of a tunnel to a session that is over.
pub(super) async fn answer_ended(
    request: Request<Incoming>,
    (session, inside): (&SessionId, Arc<dyn Inside>),
    tasks: Shutdown,
) -> Result<Response<Body>, Infallible> {
    if is_greeting(&request) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let answered = inside::ask_ended(request, session, inside, tasks).await;
    Ok(answered.unwrap_or_else(own))
}

fn is_greeting(request: &Request<Incoming>) -> bool {
    request.uri().path() == GREETING && request.headers().get(SESSION).is_none()
}

/// Why there is no port: the container is there and does not listen yet, or there is none.
pub(super) fn not_open(endpoints: &Endpoints, session: &SessionId) -> ProblemResponse {
    match endpoints.here(session) {
        Some(_) => ProblemResponse::new(
            ProblemType::JobNotReady,
            "The job is not ready. Its session's events say when it is.",
        )
        .retry_after_s(RETRY_S),
        None => missing(Missing::Session),
    }
}

/// An answer of the node's own: it says so, or a container could not be told from its node.
fn own(refusal: ProblemResponse) -> Response<Body> {
    let mut response = refusal.into_response();
    let yes = HeaderValue::from_static("1");
    response.headers_mut().insert(OWN, yes);
    response
}

async fn ask(
    mut request: Request<Incoming>,
    session: SessionId,
    opened: Arc<Opened>,
    tasks: Shutdown,
) -> Result<Response<Body>, ProblemResponse> {
    let port = port_of(request.headers(), &session, &opened).map_err(missing)?;
    let place = port.place(None)?;
    opened.seen.fetch_add(1, Ordering::Relaxed);
    if request.method() == Method::CONNECT {
        let protocol = request.extensions_mut().remove::<Protocol>();
        if protocol.is_none_or(|protocol| protocol.as_str() != UPGRADE) {
            let detail = "CONNECT is not passed on. Ask the job itself.";
            return Err(ProblemResponse::new(ProblemType::MethodNotAllowed, detail));
        }
        return upgrade::ask(request, (&opened, port), place, tasks).await;
    }
    hand_on(request, (&opened, port), place).await
}

/// Hands a request on to the container, and its answer back; `place` is held until that is through.
pub(super) async fn hand_on<B>(
    request: Request<B>,
    (opened, port): (&Arc<Opened>, &PortAt),
    place: Place,
) -> Result<Response<Body>, ProblemResponse>
where
    B: hyper::body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let moved = Arc::new(Moved::now());
    let (head, body) = request.into_parts();
    let body = Flow::new(body, opened.clone(), moved.clone(), None);
    let mut onward = Request::new(Body::new(body));
    *onward.method_mut() = head.method;
    *onward.uri_mut() = uri_of(&head.uri, port)?;
    *onward.headers_mut() = headers_of(head.headers, &head.uri);
    let answer = within(&moved, port.containers.request(onward)).await?;
    let (mut head, body) = answer.into_parts();
    strip_connection(&mut head.headers);
    strip_ours(&mut head.headers);
    let body = Flow::new(body, opened.clone(), moved, Some(place));
    Ok(Response::from_parts(head, Body::new(body)))
}

/// The port that a request is for.
fn port_of<'a>(
    headers: &HeaderMap,
    session: &SessionId,
    opened: &'a Opened,
) -> Result<&'a PortAt, Missing> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    if text(SESSION) != Some(session.as_str()) {
        return Err(Missing::Session);
    }
    let epoch = text(EPOCH).and_then(|epoch| epoch.parse().ok());
    opened.port(epoch, text(PORT).unwrap_or_default())
}

/// The same path and query, at the container.
pub(super) fn uri_of(asked: &Uri, port: &PortAt) -> Result<Uri, ProblemResponse> {
    let path = asked.path_and_query().map_or("/", |path| path.as_str());
    let uri = Uri::builder()
        .scheme("http")
        .authority(port.address.to_string())
        .path_and_query(path)
        .build();
    uri.map_err(|error| {
        ProblemResponse::new(ProblemType::BadRequest, "The path is none.").caused_by(error)
    })
}

/// What a container sees of a request's head: the Host that the caller named, and nothing of ours.
pub(super) fn headers_of(mut headers: HeaderMap, asked: &Uri) -> HeaderMap {
    let proto = headers.remove("x-forwarded-proto");
    strip_connection(&mut headers);
    strip_client(&mut headers);
    strip_ours(&mut headers);
    // It was answered by whoever took the body.
    headers.remove(header::EXPECT);
    if let Some(proto) = proto {
        headers.insert("x-forwarded-proto", proto);
    }
    let host = asked.authority().map(|authority| authority.as_str());
    if let Some(host) = host.and_then(|host| HeaderValue::from_str(host).ok()) {
        headers.insert(header::HOST, host);
    }
    // HTTP/2 may have them in pieces, HTTP/1.1 may not (RFC 9113 section 8.2.3).
    let cookies: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
    headers
}

/// The head of a container's answer, or what keeps it.
pub(super) async fn within<F>(
    moved: &Moved,
    asked: F,
) -> Result<Response<Incoming>, ProblemResponse>
where
    F: Future<Output = Result<Response<Incoming>, hyper_util::client::legacy::Error>>,
{
    let mut asked = std::pin::pin!(asked);
    loop {
        let late = moved.last() + HEAD_WITHIN;
        tokio::select! {
            answered = asked.as_mut() => return answered.map_err(|error| broken(&error)),
            () = tokio::time::sleep_until(late) => {
                // An upload that still moves keeps its answer waiting.
                if moved.last() + HEAD_WITHIN <= Instant::now() {
                    return Err(silent());
                }
            }
        }
    }
}

pub(super) fn missing(why: Missing) -> ProblemResponse {
    match why {
        Missing::Session => ProblemResponse::new(
            ProblemType::SessionEnded,
            "The session is not on this node any more. Look at its state.",
        ),
        Missing::Epoch => ProblemResponse::new(
            ProblemType::JobNotReady,
            "The session was started again. Try again.",
        )
        .retry_after_s(1),
        Missing::Port => ProblemResponse::new(
            ProblemType::NotFound,
            "The job has no such port for callers.",
        ),
    }
}

fn broken(error: &hyper_util::client::legacy::Error) -> ProblemResponse {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    let detail = if error.is_connect() {
        "The job's container takes no connections on this port. It may be starting, or listen on \
         another address than 0.0.0.0: look at its logs."
    } else {
        "The job's container broke off before it answered. Look at its logs; try again if the request \
         may be done twice."
    };
    ProblemResponse::new(ProblemType::JobUnreachable, detail)
        .retry_after_s(RETRY_S)
        .caused_by(format!("{error}: {cause}"))
}

fn silent() -> ProblemResponse {
    ProblemResponse::new(
        ProblemType::JobUnreachable,
        format!(
            "The job's container did not answer within {} s. Look at its logs.",
            HEAD_WITHIN.as_secs()
        ),
    )
}
