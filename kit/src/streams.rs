//! Connections of callers to jobs: HTTP/1.1 with changes of protocol, or HTTP/2, and bodies that go
//! on for as long as something moves.
//!
//! **Invariant.** Whoever takes nothing of an answer for a while is cut: a connection by its socket ([`Patient`]), a
//! stream of HTTP/2 by itself ([`stall`]), for its caller may answer pings and take nothing all the same. And whoever
//! asks for nothing is told to go away: a place among the connections is held by requests, and not by pings. A request
//! that was on its way then is answered, whatever it takes; only a stop of the program has a time for it.
//!
//! **What it does not know:** who asks, for what.

pub mod ending;
mod stall;

use crate::patient::Patient;
use crate::read_ahead::ReadAhead;
use crate::shutdown::Shutdown;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use nearlight_protocol::limits::ENDPOINT_HEAD_BYTES_MAX;
use std::convert::Infallible;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// What is agreed on in TLS (RFC 7301), the better one first.
pub const PROTOCOLS: [&[u8]; 2] = [H2, b"http/1.1"];
const H2: &[u8] = b"h2";
/// For the TLS handshake, and for the head of a request: who is slower only holds a connection.
const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// Header lines of one request. Browsers send about 20.
const HEADERS_MAX: usize = 100;
/// A caller who takes nothing for so long is gone: what it holds is given back.
pub const TAKEN_WITHIN: Duration = Duration::from_secs(60);
/// A connection of HTTP/2 that has no request for so long is over: its pings say that somebody is there, and not
/// what for. One of HTTP/1.1 has [`HEAD_WITHIN`] for the next one.
const UNUSED_WITHIN: Duration = Duration::from_secs(120);
/// For requests under way, once the program stops, and for no other end.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// Between two pings of HTTP/2, and for the answer.
const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(20);
/// For a connection that was told to go away, once it has no request: who has heard it is gone by then, with what is
/// left of the last answer.
const GONE_WITHIN: Duration = TAKEN_WITHIN;
/// What is read of a connection at once, bytes: a record of TLS, and the next one's beginning.
const READ_AHEAD_BYTES: usize = 18 * 1024;
/// What one connection holds of a body, bytes.
const READ_BYTES_MAX: usize = 128 * 1024;
/// Windows of HTTP/2: of one request, and of a connection.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const STREAMS_MAX: u32 = 128;
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// What answers requests.
pub trait Answers:
    Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Send
    + Sync
    + 'static
{
}

impl<S> Answers for S where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Send
        + Sync
        + 'static
{
}

/// For how long a connection of HTTP/2 may stand still, and finish.
#[derive(Clone, Copy, Debug)]
struct Stillness {
    /// A stream of which nothing is taken.
    taken: Duration,
    /// All of it, without a stream.
    unused: Duration,
    /// The same once it was told to go away.
    gone: Duration,
    /// What is under way, once the program stops.
    finish: Duration,
}

/// Serves one connection to its end, or until `tasks` stop. A caller who takes nothing for `taken` is cut.
pub async fn serve(
    tcp: TcpStream,
    tls: Option<TlsAcceptor>,
    service: impl Answers,
    (tasks, taken): (Shutdown, Duration),
) {
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let socket = ReadAhead::new(Patient::new(tcp, taken));
    let Some(tls) = tls else {
        return http1(socket, service, tasks).await;
    };
    match tokio::time::timeout(HEAD_WITHIN, tls.accept(socket)).await {
        Ok(Ok(mut stream)) => {
            stream.get_mut().0.by(READ_AHEAD_BYTES);
            if stream.get_ref().1.alpn_protocol() == Some(H2) {
                let still = Stillness {
                    taken,
                    unused: UNUSED_WITHIN,
                    gone: GONE_WITHIN,
                    finish: FINISH_WITHIN,
                };
                http2(stream, service, (tasks, still)).await;
            } else {
                http1(stream, service, tasks).await;
            }
        }
        Ok(Err(error)) => tracing::debug!(%error, "TLS failed"),
        Err(_elapsed) => tracing::debug!("TLS took too long"),
    }
}

async fn http1<S>(socket: S, service: impl Answers, tasks: Shutdown)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stop = tasks.token();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_headers(HEADERS_MAX)
        .max_buf_size(READ_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    let ended = ending::to_its_end(
        connection,
        |connection| connection.graceful_shutdown(),
        stop.cancelled(),
        stopped(&stop, FINISH_WITHIN),
    )
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

async fn http2<S>(socket: S, service: impl Answers, (tasks, still): (Shutdown, Stillness))
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stop = tasks.token();
    let service = service_fn(move |request| {
        let answering = service.call(request);
        async move { Ok::<_, Infallible>(answering.await?.map(stall::watched)) }
    });
    let streams = stall::Streams::new(tasks, still.taken);
    let unused = streams.unused(still.unused);
    let gone = streams.unused(still.gone);
    let connection = http2::Builder::new(streams)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(ENDPOINT_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service);
    let due = async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = unused => tracing::debug!("a connection has no request"),
        }
    };
    // Its caller may have asked before hearing that it is to go: that request is answered like any other.
    let over = async {
        tokio::select! {
            () = stopped(&stop, still.finish) => {}
            () = gone => {}
        }
    };
    let ended = ending::to_its_end(
        connection,
        |connection| connection.graceful_shutdown(),
        due,
        over,
    )
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// The program stops, and what was under way had its time.
async fn stopped(stop: &CancellationToken, within: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(within).await;
}

#[cfg(test)]
mod test;
