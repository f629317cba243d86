//! A body on its way to a job, counted. One that stands still has ended, and one that is too long.

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// The body, and what it is held to.
#[derive(Debug)]
pub struct Uploading {
    body: Body,
    idle_max: Duration,
    idle: Pin<Box<Sleep>>,
    bytes_max: u64,
    counted: Arc<AtomicU64>,
}

impl Uploading {
    /// One of which nothing may be missing for so long.
    pub fn new(body: Body, idle_max: Duration) -> Self {
        Self {
            body,
            idle_max,
            idle: Box::pin(tokio::time::sleep(idle_max)),
            bytes_max: u64::MAX,
            counted: Arc::default(),
        }
    }

    /// It may have no more bytes than that.
    pub fn at_most(self, bytes_max: u64) -> Self {
        Self { bytes_max, ..self }
    }

    /// The bytes that have come, also once it has been given away.
    pub fn counted(&self) -> Arc<AtomicU64> {
        self.counted.clone()
    }
}

impl hyper::body::Body for Uploading {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let failed = |kind| Poll::Ready(Some(Err(axum::Error::new(std::io::Error::from(kind)))));
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            let until = Instant::now() + self.idle_max;
            self.idle.as_mut().reset(until);
            let piece = frame
                .as_ref()
                .and_then(|frame| frame.as_ref().ok()?.data_ref());
            let length = piece.map_or(0, |piece| piece.len() as u64);
            let all = self.counted.fetch_add(length, Ordering::Relaxed) + length;
            if all > self.bytes_max {
                return failed(std::io::ErrorKind::FileTooLarge);
            }
            return Poll::Ready(frame);
        }
        ready!(self.idle.as_mut().poll(cx));
        failed(std::io::ErrorKind::TimedOut)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use axum::body::to_bytes;
    use futures_util::stream;

    #[tokio::test]
    async fn it_ends_where_it_is_too_long_or_stands_still() {
        let body = || Body::from("12345");
        let hour = Duration::from_secs(3600);
        let read = async |uploading| to_bytes(Body::new(uploading), 100).await;
        let whole = Uploading::new(body(), hour).at_most(5);
        let counted = whole.counted();
        assert_eq!(read(whole).await.unwrap(), "12345");
        assert_eq!(counted.load(Ordering::Relaxed), 5);
        read(Uploading::new(body(), hour).at_most(4))
            .await
            .unwrap_err();
        let pending = stream::pending::<Result<Bytes, std::io::Error>>();
        let still = Uploading::new(Body::from_stream(pending), Duration::ZERO);
        read(still).await.unwrap_err();
    }
}
