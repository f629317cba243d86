//! `upstream [PORT]`: what a benchmark of proxies asks. It does as little as can be done: bytes that lie
//! ready, and a count of bytes that came.
//!
//! `GET /bytes/N` answers N bytes, `POST /sink` how many came, all else `ok`. It needs none of this
//! package's libraries, so that it runs in an image with nothing but a C library.

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context as Wake, Poll};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const PORT: u16 = 8000;
static ZEROES: [u8; 256 * 1024] = [0; 256 * 1024];

/// So many bytes that are left.
struct Ready(u64);

impl Body for Ready {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Wake<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = usize::try_from(self.0).map_or(ZEROES.len(), |left| left.min(ZEROES.len()));
        if part == 0 {
            return Poll::Ready(None);
        }
        self.0 -= part as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&ZEROES[..part])))))
    }

    fn is_end_stream(&self) -> bool {
        self.0 == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

type Answer = http_body_util::Either<Ready, http_body_util::Full<Bytes>>;

fn said(status: StatusCode, text: String) -> Response<Answer> {
    let mut response = Response::new(Answer::Right(text.into()));
    *response.status_mut() = status;
    response
}

async fn answer(request: Request<Incoming>) -> Result<Response<Answer>, hyper::Error> {
    if let Some(count) = request.uri().path().strip_prefix("/bytes/") {
        return Ok(match count.parse() {
            Ok(count) => Response::new(Answer::Left(Ready(count))),
            Err(_) => said(StatusCode::BAD_REQUEST, "no number\n".to_owned()),
        });
    }
    if request.method() != Method::POST {
        return Ok(said(StatusCode::OK, "ok\n".to_owned()));
    }
    let (mut body, mut count) = (request.into_body(), 0);
    while let Some(frame) = body.frame().await {
        count += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(said(StatusCode::OK, format!("{count}\n")))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let port = std::env::args().nth(1).map(|port| port.parse());
    let port = port.transpose().context("PORT is no number")?;
    let listener = TcpListener::bind(("0.0.0.0", port.unwrap_or(PORT))).await?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (tcp, _) = accepted?;
                tcp.set_nodelay(true)?;
                connections.spawn(async move {
                    let served = http1::Builder::new().serve_connection(TokioIo::new(tcp), service_fn(answer));
                    // A client that goes is none of our business.
                    let _ = served.await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
