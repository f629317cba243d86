//! Callers over HTTP/2 who take what they asked for, and who do not.

use super::*;
use axum::body::Bytes;
use futures_util::stream;
use http_body_util::BodyExt;
use hyper::client::conn::http2 as client;
use hyper::client::conn::http2::SendRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
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
        gone: NEVER,
        finish: NEVER,
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
        gone: A_WHILE,
        finish: NEVER,
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

/// A caller of [`http2`] that speaks in frames: it hears when it is to go away.
struct Frames(DuplexStream);

impl Frames {
    const HEADERS: u8 = 1;
    const GOAWAY: u8 = 7;
    const PING: u8 = 6;
    const DATA: u8 = 0;
    const END_STREAM: u8 = 1;
    const ACK: u8 = 1;

    async fn connect(mut far: DuplexStream) -> Self {
        far.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        let mut this = Self(far);
        this.say(4, 0, 0, &[]).await;
        this
    }

    async fn say(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    /// A request without a body: GET, http, `/`, `a` as indexed fields and a literal (RFC 7541).
    async fn ask(&mut self, stream: u32) {
        let head = [0x82, 0x86, 0x84, 0x41, 1, b'a'];
        self.say(Self::HEADERS, 4 | Self::END_STREAM, stream, &head)
            .await;
    }

    /// The next frame: what it is, its flags, how it goes on. `None` at the end of the connection.
    async fn hear(&mut self) -> Option<(u8, u8, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((head[3], head[4], payload))
    }

    /// The payload of the next frame of this kind.
    async fn until(&mut self, kind: u8) -> (u8, Vec<u8>) {
        loop {
            let (is, flags, payload) = self.hear().await.expect("the connection goes on");
            if is == kind {
                return (flags, payload);
            }
        }
    }
}

#[tokio::test]
async fn a_request_on_its_way_when_its_connection_is_to_go_is_answered_whatever_it_takes() {
    let (near, far) = duplex(1 << 20);
    let tasks = Shutdown::new();
    let asked = CancellationToken::new();
    let (hears, heard) = (CancellationToken::new(), asked.clone());
    let waits = hears.clone();
    let late = service_fn(move |_: Request<Incoming>| {
        let (heard, waits) = (heard.clone(), waits.clone());
        async move {
            heard.cancel();
            waits.cancelled().await;
            Ok::<_, Infallible>(Response::new(Body::from("late")))
        }
    });
    // A connection that had a time to finish would have none.
    let still = Stillness {
        taken: NEVER,
        unused: SOON,
        gone: NEVER,
        finish: Duration::ZERO,
    };
    tasks.spawn(http2(near, late, (tasks.clone(), still)));
    let mut caller = Frames::connect(far).await;
    caller.until(Frames::GOAWAY).await;
    // It was sent before that was heard: the ping that asks whether it was is answered after it.
    caller.ask(1).await;
    asked.cancelled().await;
    let (mut said, mut ended) = (Vec::new(), false);
    while let Some((kind, flags, payload)) = caller.hear().await {
        match kind {
            Frames::PING if flags & Frames::ACK == 0 => {
                caller.say(Frames::PING, Frames::ACK, 0, &payload).await;
            }
            // For good: nothing that is asked from now on is heard.
            Frames::GOAWAY => hears.cancel(),
            Frames::DATA => {
                said.extend(payload);
                ended |= flags & Frames::END_STREAM != 0;
            }
            _ => {}
        }
    }
    assert_eq!((said.as_slice(), ended), (&b"late"[..], true));
}

#[tokio::test]
async fn who_is_told_to_go_and_asks_for_nothing_does_not_stay_by_not_answering() {
    let (near, far) = duplex(1 << 20);
    let tasks = Shutdown::new();
    let none = service_fn(|_: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    let still = Stillness {
        taken: NEVER,
        unused: SOON,
        gone: SOON,
        finish: NEVER,
    };
    tasks.spawn(http2(near, none, (tasks.clone(), still)));
    let mut caller = Frames::connect(far).await;
    caller.until(Frames::GOAWAY).await;
    // It answers the pings that keep a connection, and not the one that asks whether it has heard.
    const WHETHER_HEARD: &[u8] = &[0x0b, 0x7b, 0xa2, 0xf0, 0x8b, 0x9b, 0xfe, 0x54];
    while let Some((kind, flags, payload)) = caller.hear().await {
        let is_kept = kind == Frames::PING && flags & Frames::ACK == 0;
        if is_kept && payload != WHETHER_HEARD {
            caller.say(Frames::PING, Frames::ACK, 0, &payload).await;
        }
    }
}
