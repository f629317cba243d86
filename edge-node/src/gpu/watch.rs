//! Looks at the GPUs now and then, on a thread of its own: the driver's library blocks, and hangs with a GPU
//! that hangs. The agent never waits for it.
//!
//! ```text
//!   thread: NVML --look--> channel of one --> task: board --> agent (what has changed, which jobs end)
//! ```

use super::board::{Board, Look, News};
use super::nvml::Eyes;
use crate::agent::Message;
use crate::limits::{GPU_LOOK_DEADLINE, GPU_LOOK_EVERY, GPU_LOOK_SOON};
use nvml_wrapper::Nvml;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Instant;
use tokio::sync::mpsc;

/// Starts the thread, and returns what it sees; `None` where there is nothing to look at.
pub(crate) fn start(board: &Arc<Board>) -> Option<Watch> {
    if board.is_empty() {
        return None;
    }
    let (looks, seen) = mpsc::channel(1);
    let (stop, stopped) = sync_channel(1);
    let own = board.clone();
    let thread = std::thread::Builder::new().name("gpus".to_owned());
    let spawned = thread.spawn(move || look_on(&own, &looks, &stopped));
    match spawned {
        // Not joined: one that hangs in the driver must not keep the agent from ending.
        Ok(_detached) => Some(Watch {
            seen,
            _stop: stop,
            board: board.clone(),
        }),
        Err(error) => {
            tracing::error!(%error, "nobody watches the GPUs");
            None
        }
    }
}

fn look_on(board: &Board, looks: &mpsc::Sender<Look>, stopped: &Receiver<()>) {
    let nvml = match Nvml::init() {
        Ok(nvml) => nvml,
        Err(error) => {
            tracing::error!(%error, "nobody watches the GPUs");
            return;
        }
    };
    let eyes = Eyes::new(&nvml);
    loop {
        if looks.blocking_send(eyes.look()).is_err() {
            return;
        }
        if is_stopped_before_the_next(board, stopped) {
            return;
        }
    }
}

/// Waits until the next look is due: soon, if somebody waits for what it shows.
fn is_stopped_before_the_next(board: &Board, stopped: &Receiver<()>) -> bool {
    let due = Instant::now() + GPU_LOOK_EVERY;
    loop {
        match stopped.recv_timeout(GPU_LOOK_SOON) {
            Err(RecvTimeoutError::Timeout) if board.is_waited_for() || Instant::now() >= due => {
                return false;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return true,
        }
    }
}

/// What the thread sees.
#[derive(Debug)]
pub(crate) struct Watch {
    seen: mpsc::Receiver<Look>,
    /// Dropped, it ends the thread.
    _stop: SyncSender<()>,
    board: Arc<Board>,
}

impl Watch {
    /// Tells the agent what has changed, as long as it is there: jobs that end in a drain wait for looks, too.
    pub(crate) async fn run(mut self, agent: mpsc::Sender<Message>) {
        loop {
            let look = tokio::select! {
                look = tokio::time::timeout(GPU_LOOK_DEADLINE, self.seen.recv()) => match look {
                    Ok(look) => look,
                    // The thread hangs in the driver, as with a GPU that hangs.
                    Err(_elapsed) => Some(Look::new()),
                },
                () = agent.closed() => None,
            };
            let Some(look) = look else { return };
            let News { offer, lost } = self.board.look(&look);
            if let Some(offer) = offer {
                for gpu in offer.iter().filter(|gpu| !gpu.sick.is_empty()) {
                    tracing::warn!(gpu = gpu.uuid, why = gpu.sick, "a GPU takes no job");
                }
                if agent.send(Message::Gpus(offer)).await.is_err() {
                    return;
                }
            }
            if !lost.is_empty() && agent.send(Message::GpusLost(lost)).await.is_err() {
                return;
            }
        }
    }
}
