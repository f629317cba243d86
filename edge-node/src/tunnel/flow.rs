//! A body on its way between a caller and a container: piece by piece, none is kept.
//!
//! ```text
//!   flows --ends--> over
//!     `--its endpoint is closed--> closing --Opened::finish--> cut: an error, so that nobody takes it for whole
//! ```
//!
//! **Invariant.** No body outlives its endpoint by more than whoever closed it has said, whatever its container does: a
//! container has `time.stop_s` to end, and a session that is over on this node is served no longer. What holds a place
//! gives it back with the body.
//!
//! **What it does not know:** which way the body goes, what carries it.

use super::endpoints::{Opened, Place};
use axum::BoxError;
use hyper::body::{Frame, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// When something of a request moved last.
#[derive(Debug)]
pub(super) struct Moved {
    start: Instant,
    after_ms: AtomicU64,
}

impl Moved {
    pub(super) fn now() -> Self {
        Self {
            start: Instant::now(),
            after_ms: AtomicU64::new(0),
        }
    }

    fn touch(&self) {
        let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.after_ms.store(ms, Ordering::Relaxed);
    }

    pub(super) fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.after_ms.load(Ordering::Relaxed))
    }
}

/// Why a body is not whole.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the session is not on this node any more")]
struct Cut;

/// A body, and the end of its endpoint.
pub(super) struct Flow<B> {
    body: B,
    opened: Arc<Opened>,
    moved: Arc<Moved>,
    /// Done once the body is to be cut.
    due: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_cut: bool,
    _place: Option<Place>,
}

impl<B> Flow<B> {
    /// A body of what is `opened`; `place` is held until it is through.
    pub(super) fn new(
        body: B,
        opened: Arc<Opened>,
        moved: Arc<Moved>,
        place: Option<Place>,
    ) -> Self {
        let of = opened.clone();
        let due = async move {
            of.closed.cancelled().await;
            tokio::time::sleep(of.finish()).await;
        };
        Self {
            body,
            opened,
            moved,
            due: Box::pin(due),
            is_cut: false,
            _place: place,
        }
    }
}

impl<B> hyper::body::Body for Flow<B>
where
    B: hyper::body::Body<Error: Into<BoxError>> + Unpin,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        // First: of a body that always has more, nothing else is ever waited for.
        if self.is_cut || self.due.as_mut().poll(cx).is_ready() {
            self.is_cut = true;
            return Poll::Ready(Some(Err(Cut.into())));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.opened.seen.fetch_add(1, Ordering::Relaxed);
        self.moved.touch();
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
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
    use super::super::Endpoints;
    use super::*;
    use axum::body::{Body, Bytes};
    use futures_util::stream;
    use http_body_util::BodyExt;
    use nearlight_kit::shutdown::Shutdown;
    use nearlight_protocol::id::SessionId;
    use std::convert::Infallible;

    fn opened() -> (Endpoints, SessionId, Arc<Opened>) {
        let (table, session) = (
            Endpoints::new(Shutdown::new()),
            nearlight_kit::ids::session(),
        );
        table.open(session.clone(), Vec::new());
        let opened = table.get(&session).unwrap();
        (table, session, opened)
    }

    const NEVER: Duration = Duration::from_secs(3600);

    fn flow(body: Body, opened: &Arc<Opened>) -> Flow<Body> {
        Flow::new(body, opened.clone(), Arc::new(Moved::now()), None)
    }

    /// One that never ends, and one that says nothing after its first piece.
    fn bodies() -> [Body; 2] {
        const PIECE: Result<Bytes, Infallible> = Ok(Bytes::from_static(b"a"));
        let silent = stream::unfold(true, |first| async move {
            match first {
                true => Some((PIECE, false)),
                false => std::future::pending().await,
            }
        });
        [
            Body::from_stream(stream::repeat(PIECE)),
            Body::from_stream(silent),
        ]
    }

    #[tokio::test]
    async fn a_body_ends_a_while_after_its_endpoint_whatever_its_container_does() {
        for body in bodies() {
            let (table, session, opened) = opened();
            let mut flow = flow(body, &opened);
            assert!(flow.frame().await.unwrap().is_ok());
            table.close_within(&session, Duration::from_millis(20));
            let cut = loop {
                let frame = flow.frame().await;
                match frame.expect("it is cut, and does not end as if it were whole") {
                    Ok(_) => tokio::task::yield_now().await,
                    Err(error) => break error,
                }
            };
            assert!(cut.is::<Cut>(), "{cut}");
            let again = flow.frame().await.unwrap();
            assert!(again.is_err(), "nothing comes after it");
        }
    }

    #[tokio::test]
    async fn what_a_container_that_ends_has_said_arrives() {
        let (table, session, opened) = opened();
        let flow = flow(Body::from("all of it"), &opened);
        table.close_within(&session, NEVER);
        let read = flow.collect().await.unwrap().to_bytes();
        assert_eq!(read, "all of it");
    }
}
