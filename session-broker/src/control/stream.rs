//! The handle to an edge's control stream.

use nearlight_protocol::control::{ToEdge, WhepResult};
use nearlight_protocol::id::{NodeId, RequestId};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Messages that wait to be written to one edge. An edge that reads nothing for so long is gone.
const QUEUE_MAX: usize = 256;
/// Offers and the like that wait for one edge: more than any number of slots attaches at once.
const PENDING_MAX: usize = 256;
/// How long a browser waits for its answer. Gathering candidates and starting DTLS takes
/// milliseconds; past this the edge hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// An attached edge.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) node: NodeId,
    out: mpsc::Sender<ToEdge>,
    /// Held for a look-up, never across an await.
    pending: Mutex<HashMap<RequestId, oneshot::Sender<WhepResult>>>,
    closed: CancellationToken,
}

/// Why an edge did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RelayError {
    /// Its stream closed.
    #[error("the node's control stream closed")]
    Closed,
    /// Too much waits for it.
    #[error("too many requests wait for the node")]
    Busy,
    /// It took too long.
    #[error("the node did not answer in time")]
    Timeout,
}

impl Stream {
    /// A handle, and the queue that its connection empties.
    pub(crate) fn new(node: NodeId, closed: CancellationToken) -> (Self, mpsc::Receiver<ToEdge>) {
        let (out, queue) = mpsc::channel(QUEUE_MAX);
        let stream = Self {
            node,
            out,
            pending: Mutex::default(),
            closed,
        };
        (stream, queue)
    }

    /// Sends a message, or closes the stream if the edge does not read.
    pub(crate) fn send(&self, message: ToEdge) {
        if let Err(error) = self.out.try_send(message) {
            match error {
                mpsc::error::TrySendError::Full(_) => {
                    tracing::warn!(node_id = %self.node, "the edge does not read; closing");
                    self.close();
                }
                mpsc::error::TrySendError::Closed(_) => {}
            }
        }
    }

    /// Tells the edge to attach elsewhere, or here again, and closes once it is told.
    pub(crate) fn go_away(&self, retry_after_s: u32) {
        self.send(ToEdge::GoAway { retry_after_s });
    }

    /// Tells the edge that it is shut out for good, and closes once it is told.
    pub(crate) fn dismiss(&self) {
        self.send(ToEdge::Refused {
            detail: super::REVOKED_DETAIL.to_owned(),
            retry_after_s: super::REVOKED_RETRY_S,
            revoked: true,
        });
    }

    /// Closes at once.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    /// Asks the edge and waits for its answer.
    ///
    /// `message` names `request`.
    pub(crate) async fn ask(
        &self,
        request: RequestId,
        message: ToEdge,
    ) -> Result<WhepResult, RelayError> {
        let (reply, answer) = oneshot::channel();
        {
            let mut pending = self.pending();
            if pending.len() >= PENDING_MAX {
                return Err(RelayError::Busy);
            }
            pending.insert(request.clone(), reply);
        }
        // Dropped with the caller, too: a browser that hung up leaves nothing behind.
        let _forget = Forget {
            stream: self,
            request: &request,
        };
        self.out.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => RelayError::Busy,
            mpsc::error::TrySendError::Closed(_) => RelayError::Closed,
        })?;
        tokio::select! {
            answered = tokio::time::timeout(ANSWER_WITHIN, answer) => match answered {
                Ok(Ok(result)) => Ok(result),
                Ok(Err(_gone)) => Err(RelayError::Closed),
                Err(_elapsed) => Err(RelayError::Timeout),
            },
            () = self.closed.cancelled() => Err(RelayError::Closed),
        }
    }

    /// Hands an edge's answer to whoever waits for it. A late one is dropped.
    pub(super) fn answer(&self, request: &RequestId, result: WhepResult) {
        if let Some(reply) = self.pending().remove(request) {
            let _ = reply.send(result);
        }
    }

    pub(super) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    fn pending(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<RequestId, oneshot::Sender<WhepResult>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Forget<'a> {
    stream: &'a Stream,
    request: &'a RequestId,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.stream.pending().remove(self.request);
    }
}
