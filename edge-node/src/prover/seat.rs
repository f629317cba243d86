//! One probe of this node, step by step. The decisions are [`Sitting`]'s; here is the waiting.

use super::devices::By;
use super::evidence::Kept;
use super::legs::{self, Effort, Order, Roots};
use super::{ReceiptKey, given_up, out_of_order, program, refused, unable};
use nearlight_kit::problem::ProblemResponse;
use nearlight_proof::log::tree::Hash;
use nearlight_proof::porc::exchange::Step;
use nearlight_proof::porc::exchange::sitting::{Sitting, Todo};
use nearlight_protocol::id::SessionId;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// For a driver to open its device: a checker waits fifteen seconds for the answer to a beginning.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// A probe that this node has taken on.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) probe: SessionId,
    /// Ends it, at once.
    pub(super) cancel: CancellationToken,
    by: By,
    kept: Option<Kept>,
    since: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    sitting: Sitting,
    legs: Option<Running>,
}

/// The thread that computes.
#[derive(Debug)]
struct Running {
    roots: watch::Receiver<Roots>,
    orders: SyncSender<Order>,
}

impl Seat {
    pub(super) fn new(
        probe: SessionId,
        sitting: Sitting,
        (by, kept): (By, Option<Kept>),
        cancel: CancellationToken,
    ) -> Self {
        let legs = None;
        Self {
            probe,
            cancel,
            by,
            kept,
            since: Instant::now(),
            state: Mutex::new(State { sitting, legs }),
        }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Has whoever computes come, so that no leg's time has it in it.
    pub(super) async fn take(&self) -> Result<(), ProblemResponse> {
        let mut state = self.state.try_lock().map_err(|_| out_of_order())?;
        let running = self.start(&state.sitting)?;
        let ready = state.legs.insert(running).ready();
        tokio::select! {
            ready = ready => ready,
            () = self.cancel.cancelled() => Err(given_up()),
            () = tokio::time::sleep(READY_WITHIN) => Err(unable("its driver did not open it in time")),
        }
    }

    /// The answer to a step after the first.
    pub(super) async fn step(
        &self,
        step: Step,
        message: &[u8],
        key: &ReceiptKey,
    ) -> Result<Vec<u8>, ProblemResponse> {
        // A second request beside the first is out of order, whatever it asks.
        let mut state = self.state.try_lock().map_err(|_| out_of_order())?;
        let answered = self.answer(&mut state, step, message, key);
        tokio::select! {
            answer = answered => answer,
            () = self.cancel.cancelled() => Err(given_up()),
        }
    }

    async fn answer(
        &self,
        state: &mut State,
        step: Step,
        message: &[u8],
        key: &ReceiptKey,
    ) -> Result<Vec<u8>, ProblemResponse> {
        if step == Step::Sign {
            let signed = state.sitting.countersign(message, key.secret());
            if signed.is_ok() {
                self.keeps(Kept::forget).await;
            }
            return signed.map(Vec::from).map_err(|error| refused(&error));
        }
        let todo = state.sitting.hear(self.now_us(), step, message);
        let root = match todo.map_err(|error| refused(&error))? {
            Todo::Start(seed) => {
                let legs = running(state)?;
                legs.orders
                    .try_send(Order::Start(seed))
                    .map_err(|_| legs.end())?;
                legs.root(step).await?
            }
            Todo::Say(step) => running(state)?.root(step).await?,
            Todo::Read(reads) => {
                let ordered = running(state)?.order(|answer| Order::Read(reads, answer));
                ordered.await?
            }
            Todo::Open(plan, reads) => {
                let ordered = running(state)?.order(|answer| Order::Open(plan, reads, answer));
                let opening = ordered.await?;
                // Its thread is done, and what it held is free.
                state.legs = None;
                let answer = state.sitting.say_opening(opening, key.secret());
                let answer = answer.ok_or_else(out_of_order)?;
                let (record, opened) = (state.sitting.record().to_bytes(), answer.clone());
                // Behind its signature is what was opened.
                self.keeps(move |kept, probe| kept.keep(probe, &record, &opened[64..]))
                    .await;
                return Ok(answer);
            }
        };
        let said = state.sitting.say(self.now_us(), step, &root, key.secret());
        said.ok_or_else(out_of_order)
    }

    /// Keeps or forgets this probe, where it may block. A disk that fails ends no probe.
    async fn keeps(
        &self,
        what: impl FnOnce(&Kept, &SessionId) -> std::io::Result<()> + Send + 'static,
    ) {
        let Some(kept) = self.kept.clone() else {
            return;
        };
        let probe = self.probe.clone();
        let kept = tokio::task::spawn_blocking(move || what(&kept, &probe)).await;
        if let Ok(Err(error)) = kept {
            tracing::warn!(%error, "what a dispute over this probe would need is not kept");
        }
    }

    fn start(&self, sitting: &Sitting) -> Result<Running, ProblemResponse> {
        let (told, roots) = watch::channel(Roots::default());
        // One order at a time.
        let (orders, ordered): (_, Receiver<Order>) = sync_channel(1);
        let sizes = sitting.asked().sizes;
        let (by, cancel) = (self.by.clone(), self.cancel.clone());
        let runtime = Handle::current();
        let probe = self.probe.clone();
        let work = move || {
            let done = match by {
                By::Cpu { threads } => {
                    let effort = Effort { threads, cancel };
                    legs::prove(&sizes, &effort, &told, &ordered)
                }
                By::Program(of) => {
                    program::prove((&of, &runtime), (&sizes, &cancel), &told, &ordered)
                }
            };
            tracing::info!(%probe, done = done.is_some(), "a probe's work is over");
        };
        let thread = std::thread::Builder::new().name("prover".to_owned());
        thread.spawn(work).map_err(ProblemResponse::internal)?;
        Ok(Running { roots, orders })
    }
}

fn running(state: &mut State) -> Result<&mut Running, ProblemResponse> {
    state.legs.as_mut().ok_or_else(out_of_order)
}

impl Running {
    async fn ready(&mut self) -> Result<(), ProblemResponse> {
        let there = self.roots.wait_for(|of| of.ready || of.failed.is_some());
        match there.await.is_ok_and(|of| of.failed.is_none()) {
            true => Ok(()),
            false => Err(self.end()),
        }
    }

    /// The root of a leg, once it is there.
    async fn root(&mut self, step: Step) -> Result<Hash, ProblemResponse> {
        let of = |roots: &Roots| match step {
            Step::Fill => roots.fill,
            Step::Matrix => roots.matrix,
            _ => roots.frames,
        };
        let there = self
            .roots
            .wait_for(|roots| of(roots).is_some() || roots.failed.is_some());
        let root = there.await.ok().and_then(|roots| of(&roots));
        root.ok_or_else(|| self.end())
    }

    async fn order<T>(
        &mut self,
        order: impl FnOnce(oneshot::Sender<T>) -> Order,
    ) -> Result<T, ProblemResponse> {
        let (answer, answered) = oneshot::channel();
        let sent = self.orders.try_send(order(answer));
        sent.map_err(|_| self.end())?;
        answered.await.map_err(|_| self.end())
    }

    /// Why nothing more comes.
    fn end(&self) -> ProblemResponse {
        let failed = self.roots.borrow().failed.clone();
        failed.map_or_else(given_up, |why| unable(&why))
    }
}
