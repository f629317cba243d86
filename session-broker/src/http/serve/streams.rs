//! Connections to the endpoint of jobs: HTTP/1.1 with changes of protocol, or HTTP/2, and bodies that go
//! on for as long as something moves.

use super::{H2, HEAD_WITHIN, HEADERS_MAX, Peer};
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nearlight_kit::patient::Patient;
use nearlight_kit::read_ahead::ReadAhead;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::limits::ENDPOINT_HEAD_BYTES_MAX;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// A caller who takes nothing for so long is gone: what it holds is given back.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);
/// For requests under way, once the broker stops.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// Between two pings of HTTP/2, and for the answer.
const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(20);
/// What is read of a connection at once, bytes: a record of TLS, and the next one's beginning.
const READ_AHEAD_BYTES: usize = 18 * 1024;
/// What one connection holds of a body, bytes.
const READ_BYTES_MAX: usize = 128 * 1024;
/// Windows of HTTP/2: of one request, and of a connection.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const STREAMS_MAX: u32 = 128;
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// Serves one connection to its end.
pub(super) async fn serve(
    tcp: TcpStream,
    tls: Option<TlsAcceptor>,
    peer: SocketAddr,
    service: Router,
    (tasks, stop): (Shutdown, CancellationToken),
) {
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let socket = ReadAhead::new(Patient::new(tcp, TAKEN_WITHIN));
    let Some(tls) = tls else {
        return http1(socket, peer, service, stop).await;
    };
    match tokio::time::timeout(HEAD_WITHIN, tls.accept(socket)).await {
        Ok(Ok(mut stream)) => {
            stream.get_mut().0.by(READ_AHEAD_BYTES);
            if stream.get_ref().1.alpn_protocol() == Some(H2) {
                http2(stream, peer, service, (tasks, stop)).await;
            } else {
                http1(stream, peer, service, stop).await;
            }
        }
        Ok(Err(error)) => tracing::debug!(%error, "TLS failed"),
        Err(_elapsed) => tracing::debug!("TLS took too long"),
    }
}

async fn http1<S>(socket: S, peer: SocketAddr, service: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_headers(HEADERS_MAX)
        .max_buf_size(READ_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), from(peer, service))
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let rest = tokio::time::timeout(FINISH_WITHIN, connection);
            rest.await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

async fn http2<S>(
    socket: S,
    peer: SocketAddr,
    service: Router,
    (tasks, stop): (Shutdown, CancellationToken),
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http2::Builder::new(tasks)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(ENDPOINT_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), from(peer, service));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let rest = tokio::time::timeout(FINISH_WITHIN, connection);
            rest.await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// The service, told where requests come from.
fn from(
    peer: SocketAddr,
    service: Router,
) -> impl Service<
    hyper::Request<Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future: Send,
> {
    let service = TowerToHyperService::new(service);
    service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        service.call(request)
    })
}
