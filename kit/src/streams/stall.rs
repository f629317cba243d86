//! Streams of HTTP/2 whose caller takes nothing: told by the next frame that cannot be handed on.
//!
//! ```text
//!   asked for --frame--> given --asked for the next one--> asked for
//!                          `--nothing for a while--> cut: the stream is reset, its body dropped
//! ```
//!
//! A stream's windows are the caller's: with one at zero a body stands still for as long as the caller answers
//! pings, and with it all that the body holds. hyper asks a body for its next frame once the last one has left for
//! the connection, so that it is the time between the two that is the caller's. A body that has nothing to say for
//! hours is no caller's fault: that is the time from being asked to giving.
//!
//! A connection without a stream is told, too ([`Streams::unused`]): pings keep it, and nobody uses it.
//!
//! **What it does not know:** what is in a frame, how much of one was taken. Frames are 64 KiB at most.

use crate::shutdown::Shutdown;
use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use hyper::rt::Executor;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often of its time a stream is looked at: it is cut a quarter late at the most.
const LOOKS: u32 = 4;

tokio::task_local! {
    /// Of the stream whose task this is.
    static FRAMES: Arc<Frames>;
}

/// Runs the streams of a connection, each until it ends or stalls.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    tasks: Shutdown,
    taken: Duration,
    /// How many there are.
    live: Arc<watch::Sender<usize>>,
}

/// A stream that is there.
struct Live(Arc<watch::Sender<usize>>);

impl Live {
    fn new(of: &Arc<watch::Sender<usize>>) -> Self {
        of.send_modify(|live| *live += 1);
        Self(of.clone())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.send_modify(|live| *live -= 1);
    }
}

impl Streams {
    /// As tasks of `tasks`; one of which nothing is taken for `taken` is cut.
    pub(super) fn new(tasks: Shutdown, taken: Duration) -> Self {
        Self {
            tasks,
            taken,
            live: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Returns once there was no stream for that long.
    pub(super) fn unused(&self, within: Duration) -> impl Future<Output = ()> + use<> {
        let mut live = self.live.subscribe();
        async move {
            loop {
                let is_used = *live.borrow_and_update() > 0;
                let change = live.changed();
                let changed = match is_used {
                    true => Ok(change.await),
                    false => tokio::time::timeout(within, change).await,
                };
                match changed {
                    Ok(Ok(())) => {}
                    // The connection is gone, and has nobody to be told.
                    Ok(Err(_)) => std::future::pending().await,
                    Err(_elapsed) => return,
                }
            }
        }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let frames = Arc::new(Frames::new());
        let (taken, live) = (self.taken, Live::new(&self.live));
        self.tasks.spawn(FRAMES.scope(frames.clone(), async move {
            let _live = live;
            tokio::select! {
                () = stream => {}
                // Dropped, it resets itself.
                () = frames.stall(taken) => tracing::debug!("a caller takes nothing of an answer"),
            }
        }));
    }
}

/// A body that tells its stream when a frame is asked for, and given.
pub(super) fn watched(body: Body) -> Body {
    match FRAMES.try_with(Arc::clone) {
        Ok(frames) => Body::new(Watched { body, frames }),
        Err(_) => body,
    }
}

/// How the frames of one stream go.
#[derive(Debug)]
struct Frames {
    start: Instant,
    /// Milliseconds from `start` to when one was given, and one more; 0 while one is asked for.
    given: AtomicU64,
}

impl Frames {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            given: AtomicU64::new(0),
        }
    }

    fn asked(&self) {
        self.given.store(0, Ordering::Relaxed);
    }

    fn given(&self) {
        let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.given.store(ms + 1, Ordering::Relaxed);
    }

    /// For how long a frame has been waiting to leave.
    fn waits(&self) -> Duration {
        match self.given.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            given => {
                let given = Duration::from_millis(given - 1);
                self.start.elapsed().saturating_sub(given)
            }
        }
    }

    /// Returns once a frame has been waiting for that long.
    async fn stall(&self, within: Duration) {
        while self.waits() < within {
            tokio::time::sleep(within / LOOKS).await;
        }
    }
}

struct Watched {
    body: Body,
    frames: Arc<Frames>,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.frames.asked();
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_ready() {
            self.frames.given();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
