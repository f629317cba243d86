//! Connections to containers: plain HTTP/1.1 on this host, kept for a while.

use axum::body::Body;
use axum::http::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioIo, TokioTimer};
use nearlight_kit::patient::Patient;
use nearlight_kit::shutdown::Shutdown;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tower_service::Service;

/// To a container on this host.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A container that takes nothing of what is sent to it for so long is given up.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);
/// Connections to one port that are kept, and for how long.
const IDLE_MAX: usize = 32;
const IDLE_FOR: Duration = Duration::from_secs(30);
/// Largest head of an answer, bytes, and its lines.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 128;

/// Connections to one port of a container.
pub(super) type Containers = Client<Connector, Body>;

pub(super) fn containers(shutdown: &Shutdown) -> Containers {
    Client::builder(shutdown.clone())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_FOR)
        .pool_max_idle_per_host(IDLE_MAX)
        .http1_max_buf_size(HEAD_BYTES_MAX)
        .http1_max_headers(HEADERS_MAX)
        .build(Connector)
}

/// Connects to containers.
#[derive(Clone, Debug)]
pub(super) struct Connector;

impl Service<Uri> for Connector {
    type Response = ContainerSocket;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<ContainerSocket>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(async move {
            let address = uri.authority().map(ToString::to_string).unwrap_or_default();
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            let connected = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address));
            let tcp = connected.await.map_err(late)??;
            tcp.set_nodelay(true)?;
            Ok(ContainerSocket(TokioIo::new(Patient::new(
                tcp,
                TAKEN_WITHIN,
            ))))
        })
    }
}

/// A connection to a container.
#[derive(Debug)]
pub(super) struct ContainerSocket(TokioIo<Patient<TcpStream>>);

impl Connection for ContainerSocket {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for ContainerSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for ContainerSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bytes)
    }
}
