//! Servers in place of containers.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use futures_util::{SinkExt, StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use nearlight_kit::shutdown::Shutdown;
use serde_json::json;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpListener;
use tokio::sync::{Barrier, Semaphore};

/// One piece of a body.
const PIECE: &[u8] = &[7; 64 * 1024];

/// What a server knows of what became of its requests.
#[derive(Debug)]
pub(crate) struct Known {
    /// Events that were seen by whoever reads them.
    pub(crate) seen: Semaphore,
    /// Requests of `/hang` that came, and those that were given up.
    pub(crate) hung: AtomicU64,
    pub(crate) given_up: AtomicU64,
    /// Bytes of `/down` that were handed over.
    pub(crate) produced: AtomicU64,
    /// All of `/together` are here.
    together: Barrier,
}

/// How many requests `/together` waits for.
pub(crate) const TOGETHER: usize = 200;

/// A server on loopback.
pub(crate) struct Upstream {
    pub(crate) at: SocketAddr,
    pub(crate) known: Arc<Known>,
    tasks: Shutdown,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

impl Upstream {
    /// HTTP/1.1.
    pub(crate) async fn http() -> Self {
        let known = Arc::new(Known {
            seen: Semaphore::new(0),
            hung: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            produced: AtomicU64::new(0),
            together: Barrier::new(TOGETHER),
        });
        let router = Router::new()
            .route("/events", get(events))
            .route("/seen", post(seen))
            .route("/hang", any(hang))
            .route("/down", get(down))
            .route("/up", post(up))
            .route("/together", get(together))
            .route("/trailers", get(trailers))
            .route("/cookies", get(cookies))
            .route("/broken", get(broken))
            .fallback(mirror)
            .with_state(known.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, tasks) = (listener.local_addr().unwrap(), Shutdown::new());
        let stop = tasks.token();
        tasks.spawn(async move {
            tokio::select! {
                served = async { axum::serve(listener, router).await } => served.unwrap(),
                () = stop.cancelled() => {}
            }
        });
        Self { at, known, tasks }
    }

    /// WebSocket: what comes goes back.
    pub(crate) async fn echo() -> (SocketAddr, Shutdown) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, tasks) = (listener.local_addr().unwrap(), Shutdown::new());
        let own = tasks.clone();
        tasks.spawn(async move {
            let stop = own.token();
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stop.cancelled() => return,
                };
                let (tcp, _) = accepted.unwrap();
                own.spawn(async move {
                    let Ok(socket) = tokio_tungstenite::accept_async(tcp).await else {
                        return;
                    };
                    let (mut sink, mut source) = socket.split();
                    while let Some(Ok(message)) = source.next().await {
                        if message.is_close() || sink.send(message).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        (at, tasks)
    }
}

/// An event; the next one only once this one was seen.
async fn events(State(known): State<Arc<Known>>) -> Response {
    let events = stream::unfold((0_u32, known), |(n, known)| async move {
        if n > 0 {
            known.seen.acquire().await.unwrap().forget();
        }
        (n < 5).then(|| {
            let event = Bytes::from(format!("data: {n}\n\n"));
            (Ok::<_, Infallible>(event), (n + 1, known))
        })
    });
    let headers = [("content-type", "text/event-stream")];
    (headers, Body::from_stream(events)).into_response()
}

async fn seen(State(known): State<Arc<Known>>) {
    known.seen.add_permits(1);
}

struct GivenUp(Arc<Known>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.given_up.fetch_add(1, Ordering::SeqCst);
    }
}

/// Answers never; with `begin` it begins to.
async fn hang(
    State(known): State<Arc<Known>>,
    Query(how): Query<HashMap<String, String>>,
    _all_of_it: Bytes,
) -> Response {
    known.hung.fetch_add(1, Ordering::SeqCst);
    let given_up = GivenUp(known);
    if !how.contains_key("begin") {
        std::future::pending::<()>().await;
    }
    let body = stream::unfold((true, given_up), |(first, given_up)| async move {
        if !first {
            std::future::pending::<()>().await;
        }
        Some((
            Ok::<_, Infallible>(Bytes::from_static(b"x")),
            (false, given_up),
        ))
    });
    Body::from_stream(body).into_response()
}

async fn down(
    State(known): State<Arc<Known>>,
    Query(how): Query<HashMap<String, usize>>,
) -> Response {
    let body = stream::unfold((how["bytes"], known), |(left, known)| async move {
        let piece = left.min(PIECE.len());
        known.produced.fetch_add(piece as u64, Ordering::SeqCst);
        let bytes = Bytes::from_static(&PIECE[..piece]);
        (piece > 0).then_some((Ok::<_, Infallible>(bytes), (left - piece, known)))
    });
    Body::from_stream(body).into_response()
}

async fn up(request: Request) -> String {
    let mut body = request.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.unwrap().data_ref().map_or(0, Bytes::len);
    }
    bytes.to_string()
}

/// Answers once all are here: whoever serves them one after the other answers none.
async fn together(State(known): State<Arc<Known>>) -> &'static str {
    known.together.wait().await;
    "together"
}

async fn trailers() -> Response {
    let mut sum = HeaderMap::new();
    sum.insert("x-sum", HeaderValue::from_static("42"));
    let frames = [
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"body"))),
        Ok(Frame::trailers(sum)),
    ];
    let body = Body::new(StreamBody::new(stream::iter(frames)));
    ([("trailer", "x-sum")], body).into_response()
}

async fn cookies() -> Response {
    let headers = [("set-cookie", "a=b; Domain=localhost; Path=/")];
    (headers, "ok").into_response()
}

/// Breaks off in the middle of its body, once somebody has seen the first half.
async fn broken(State(known): State<Arc<Known>>) -> Response {
    let halves = stream::unfold((true, known), |(is_first, known)| async move {
        if is_first {
            return Some((Ok(Bytes::from_static(b"half")), (false, known)));
        }
        known.seen.acquire().await.unwrap().forget();
        Some((Err(std::io::Error::other("broken")), (false, known)))
    });
    Body::from_stream(halves).into_response()
}

/// What arrived: method, target, headers and body.
async fn mirror(request: Request) -> Response {
    let (head, body) = request.into_parts();
    let headers: Vec<(String, String)> = head
        .headers
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    let body = body.collect().await.unwrap().to_bytes();
    let seen = json!({
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    });
    seen.to_string().into_response()
}
