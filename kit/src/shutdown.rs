//! Stopping is a feature: every task of a role has an owner, and the drain has a deadline.
//!
//! ```text
//!   Running --cancel (signal, or a role's own decision)--> Draining --all tasks end--> Clean
//!                                                             `--grace is over-------> Overrun
//! ```
//!
//! A role spawns through [`Shutdown::spawn`] alone. Its tasks watch [`Shutdown::token`] and end by
//! themselves; `main` waits in [`Shutdown::drain`]. The order within a role (stop taking work, tell
//! clients, end sessions, flush, exit) is the role's own and is written in its `main.rs`.

use std::future::Future;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The exit status of a second signal, as shells give it to a program ended by SIGINT.
const FORCED_EXIT_STATUS: i32 = 130;

/// The owner of a role's tasks. Clones are handles to the same one.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
}

/// Tasks of HTTP's own have the same owner.
impl<F> hyper::rt::Executor<F> for Shutdown
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.tasks.spawn(task);
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every task ended.
    Clean,
    /// The grace time was over first.
    Overrun {
        /// Tasks that still ran, and are now lost with the process.
        left: usize,
    },
}

impl Shutdown {
    /// A fresh owner: nothing spawned, nothing cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled once the role is to stop.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Runs `task` as one that [`Shutdown::drain`] waits for.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Cancels the token on the first SIGTERM or SIGINT; a second one exits the process at once
    /// with status 130. Call it once, inside the runtime, before the role announces itself.
    ///
    /// # Panics
    /// If the kernel refuses a signal handler, which it does for no ordinary signal.
    #[allow(
        clippy::disallowed_methods,
        reason = "this task ends with the process and must not hold the drain open"
    )]
    pub fn on_signals(&self) {
        let mut signals = Signals::install();
        let token = self.token.clone();
        drop(tokio::spawn(async move {
            let name = signals.next().await;
            token.cancel();
            tracing::info!(signal = name, "stopping; a second signal stops at once");
            let name = signals.next().await;
            tracing::warn!(signal = name, "stopped at once");
            std::process::exit(FORCED_EXIT_STATUS);
        }));
    }

    /// Cancels the token, and waits until every task has ended or `grace` is over.
    pub async fn drain(&self, grace: Duration) -> Drained {
        self.token.cancel();
        self.tasks.close();
        match tokio::time::timeout(grace, self.tasks.wait()).await {
            Ok(()) => Drained::Clean,
            Err(_elapsed) => {
                let left = self.tasks.len();
                tracing::warn!(
                    left,
                    grace_s = grace.as_secs(),
                    "drain overran its grace time"
                );
                Drained::Overrun { left }
            }
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> Self {
        let install = |kind| signal(kind).expect("SIGTERM and SIGINT can be handled");
        Self {
            terminate: install(SignalKind::terminate()),
            interrupt: install(SignalKind::interrupt()),
        }
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[tokio::test]
    async fn a_drain_ends_tasks_that_watch_the_token() {
        let shutdown = Shutdown::new();
        let token = shutdown.token();
        let task = shutdown.spawn(async move {
            token.cancelled().await;
            7
        });
        let drained = shutdown.drain(Duration::from_secs(60)).await;
        assert_eq!(drained, Drained::Clean);
        assert_eq!(task.await.unwrap(), 7);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_drain_gives_up_at_its_deadline_and_counts_what_is_left() {
        let shutdown = Shutdown::new();
        let stuck = shutdown.spawn(std::future::pending::<()>());
        let drained = shutdown.drain(Duration::from_millis(1)).await;
        assert_eq!(drained, Drained::Overrun { left: 1 });
        stuck.abort();
    }

    #[tokio::test]
    async fn clones_are_one_owner() {
        let shutdown = Shutdown::new();
        shutdown.clone().drain(Duration::from_secs(60)).await;
        assert!(shutdown.token().is_cancelled());
    }

    #[tokio::test]
    async fn a_signal_cancels_the_token() {
        let shutdown = Shutdown::new();
        shutdown.on_signals();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
        shutdown.token().cancelled().await;
    }
}
