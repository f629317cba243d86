//! Callers over HTTP/2 who take what they asked for, and who do not.

use super::*;
use axum::body::Bytes;
use futures_util::stream;
use http_body_util::BodyExt;
use hyper::client::conn::http2 as client;
use hyper::client::conn::http2::SendRequest;
use tokio::io::duplex;
use tokio_util::sync::{CancellationToken, DropGuard};

const SOON: Duration = Duration::from_millis(40);
/// Longer than a busy machine holds up who reads all the time.
const A_WHILE: Duration = Duration::from_secs(1);
const NEVER: Duration = Duration::from_secs(3600);
const PIECE: Bytes = Bytes::from_static(&[7; 16 * 1024]);

/// A body that goes on for ever, and says when it is dropped.
fn endless(held: DropGuard) -> Body {
    Body::from_stream(stream::unfold(held, |held| async move {
        Some((Ok::<_, Infallible>(PIECE), held))
    }))
}

/// A caller with windows of `window` bytes, of `answer`.
async fn caller<F>(window: u32, taken: Duration, answer: F) -> SendRequest<Body>
where
    F: Fn() -> Body + Send + Sync + 'static,
{
    let still = Stillness {
        taken,
        unused: NEVER,
    };
    connect(window, still, answer).await.0
}

/// The same, with what is cancelled at the end of the connection.
async fn connect<F>(
    window: u32,
    still: Stillness,
    answer: F,
) -> (SendRequest<Body>, CancellationToken)
where
    F: Fn() -> Body + Send + Sync + 'static,
{
    let (near, far) = duplex(1 << 20);
    let tasks = Shutdown::new();
    let service = service_fn(move |_: Request<Incoming>| {
        let answer = Response::new(answer());
        async move { Ok::<_, Infallible>(answer) }
    });
    tasks.spawn(http2(near, service, (tasks.clone(), still)));
    let handshake = client::Builder::new(tasks.clone())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(far));
    let (sender, connection) = handshake.await.unwrap();
    let over = CancellationToken::new();
    let told = over.clone().drop_guard();
    // It answers pings, whatever its streams do.
    tasks.spawn(async move {
        let _told = told;
        connection.await
    });
    (sender, over)
}

async fn ask(sender: &mut SendRequest<Body>) -> Incoming {
    let request = Request::get("http://job.example/").body(Body::empty());
    let answer = sender.send_request(request.unwrap()).await.unwrap();
    answer.into_body()
}

/// Whether the body ends as one that was cut.
async fn is_cut(mut body: Incoming) -> bool {
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn a_stream_of_which_nothing_is_taken_is_cut_and_gives_back_what_it_held() {
    // No window at all, and one that is filled and never read.
    for window in [0, 64 * 1024] {
        let dropped = CancellationToken::new();
        let held = dropped.clone();
        let body = move || endless(held.clone().drop_guard());
        let mut sender = caller(window, SOON, body).await;
        let body = ask(&mut sender).await;
        dropped.cancelled().await;
        assert!(!sender.is_closed(), "the connection goes on");
        assert!(is_cut(body).await, "with a window of {window}");
    }
}

#[tokio::test]
async fn a_stream_that_stands_still_takes_no_other_with_it() {
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let held = std::sync::Mutex::new(vec![second.clone(), first.clone()]);
    let body = move || endless(held.lock().unwrap().pop().unwrap().drop_guard());
    let mut sender = caller(64 * 1024, A_WHILE, body).await;
    let still = ask(&mut sender).await;
    let mut read = ask(&mut sender).await;
    while !first.is_cancelled() {
        assert!(read.frame().await.unwrap().is_ok());
    }
    assert!(!second.is_cancelled());
    drop(still);
    assert!(read.frame().await.unwrap().is_ok(), "it goes on");
}

#[tokio::test]
async fn a_body_that_is_silent_is_no_fault_of_its_caller() {
    let late = || {
        let pieces = stream::unfold(0, |n| async move {
            tokio::time::sleep(4 * SOON).await;
            (n < 2).then_some((Ok::<_, Infallible>(PIECE), n + 1))
        });
        Body::from_stream(pieces)
    };
    let mut sender = caller(64 * 1024, SOON, late).await;
    let read = ask(&mut sender).await.collect().await.unwrap().to_bytes();
    assert_eq!(read.len(), 2 * PIECE.len());
}

#[tokio::test]
async fn who_has_time_is_not_cut() {
    let dropped = CancellationToken::new();
    let held = dropped.clone();
    let body = move || endless(held.clone().drop_guard());
    let mut sender = caller(0, NEVER, body).await;
    let body = ask(&mut sender).await;
    assert!(!dropped.is_cancelled());
    // Who leaves is not waited for.
    drop(body);
    dropped.cancelled().await;
}

#[tokio::test]
async fn a_connection_without_a_request_ends_and_one_with_a_silent_one_goes_on() {
    let still = Stillness {
        taken: NEVER,
        unused: A_WHILE,
    };
    let said = CancellationToken::new();
    let waits = said.clone();
    let silent = move || {
        let waits = waits.clone();
        Body::from_stream(stream::once(async move {
            waits.cancelled().await;
            Ok::<_, Infallible>(PIECE)
        }))
    };
    let (mut used, over) = connect(64 * 1024, still, silent).await;
    let body = ask(&mut used).await;
    // One that never asked, and one that has asked before.
    let (idle, idle_over) = connect(64 * 1024, still, Body::empty).await;
    idle_over.cancelled().await;
    let (mut asked, asked_over) = connect(64 * 1024, still, || Body::from("a")).await;
    let read = ask(&mut asked).await.collect().await.unwrap();
    assert_eq!(read.to_bytes(), "a");
    asked_over.cancelled().await;
    assert!(idle.is_closed() && asked.is_closed());
    assert!(!over.is_cancelled(), "it has a stream");
    said.cancel();
    let read = body.collect().await.unwrap().to_bytes();
    assert_eq!(read.len(), PIECE.len());
    over.cancelled().await;
}
