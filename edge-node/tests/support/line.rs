//! A control stream to a node that is always listened to.
//!
//! A node leaves a broker of which it has heard nothing for three heartbeats, its pings included. Tests look at
//! containers, start agents and wait for other nodes meanwhile, on the thread that would have to answer. So each
//! line is kept by a thread of the kit's own, which does nothing else.
//!
//! **Invariants.** A line that is dropped is closed. What the node says is kept in order, and nothing of it is lost;
//! heartbeats are not kept.

use futures_util::{SinkExt, StreamExt};
use nearlight_protocol::control::{FromEdge, ToEdge};
use std::future::Future;
use std::sync::LazyLock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Messages that a test has not asked for yet. A node that says more waits.
const HEARD_MAX: usize = 4096;

/// Whose thread keeps the lines of all tests of a process.
pub static KEEPER: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
});

/// What is said, and whom to tell once it is on its way.
type Saying = (ToEdge, oneshot::Sender<()>);

/// One end of a control stream; closed when it is dropped.
pub struct Line {
    heard: mpsc::Receiver<FromEdge>,
    said: mpsc::Sender<Saying>,
    task: AbortHandle,
}

impl Line {
    /// Keeps a stream.
    pub fn keep<S>(socket: WebSocketStream<S>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (hear, heard) = mpsc::channel(HEARD_MAX);
        let (said, say) = mpsc::channel(1);
        let task = KEEPER.spawn(carry(socket, hear, say)).abort_handle();
        Self { heard, said, task }
    }

    /// Says something to the node. One that is gone does not hear it.
    pub async fn say(&self, message: ToEdge) {
        let (sent, is_sent) = oneshot::channel();
        if self.said.send((message, sent)).await.is_ok() {
            let _ = is_sent.await;
        }
    }

    /// What the node says next.
    pub async fn next(&mut self) -> FromEdge {
        self.heard.recv().await.expect("the node is gone")
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Runs something on the keeper's thread.
pub async fn aside<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    KEEPER.spawn(work).await.unwrap()
}

async fn carry<S>(
    mut socket: WebSocketStream<S>,
    hear: mpsc::Sender<FromEdge>,
    mut say: mpsc::Receiver<Saying>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        tokio::select! {
            message = socket.next() => match message {
                // Reading answers its pings.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Text(text))) => {
                    match serde_json::from_str(text.as_str()).unwrap() {
                        FromEdge::Heartbeat(_) => {}
                        message => drop(hear.send(message).await),
                    }
                }
                _ => return,
            },
            Some((message, sent)) = say.recv() => {
                let text = serde_json::to_string(&message).unwrap();
                if socket.send(Message::text(text)).await.is_err() {
                    return;
                }
                // A test that was given up does not mind.
                let _ = sent.send(());
            }
        }
    }
}
