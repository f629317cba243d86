//! What a tenant does inside its own job's container: read its log, run commands, copy files.
//!
//! - [`lines`]: the log, line by line, from where a reader left off; [`cursor`] finds that place.
//! - [`ended`]: the same of a job that is over, from what is kept of it.
//! - [`exec`]: a command, from the order to its exit status; [`leftovers`]: whatever is left of it then is killed, and
//!   [`groups`] tells what that is.
//! - [`copy`]: files, by a process that has the container's own view of them ([`crate::copier`]).
//!
//! **Invariants.** A command has no right that the job's program has not. Nothing of it outlives its caller, this
//! agent's death included (the next one looks, [`leftovers::sweep`]). All of it has a bound a job: readers, commands, copies.
//! Whoever does not read holds the window of his own stream, and the engine waits.
//!
//! **What it does not know:** who may ask (the broker does).

mod copy;
mod cursor;
mod ended;
mod exec;
pub(super) mod groups;
pub(crate) mod leftovers;
mod lines;

use super::engine::Engine;
use crate::limits::{COPIES_MAX, EXECS_MAX, LOG_READERS_MAX};
use crate::tunnel::{Asked, Inside, Service};
use axum::body::Body;
use axum::http::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::job::ContainerRuntime;
use nearlight_protocol::problem::ProblemType;
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

/// The inside of one job's container.
#[derive(Debug)]
pub(crate) struct JobInside {
    engine: Engine,
    container: String,
    runtime: ContainerRuntime,
    readers: Arc<Semaphore>,
    execs: Arc<Semaphore>,
    /// Commands are started one after the other, so that it is known whose a new process is.
    starts: Arc<Mutex<()>>,
    copies: Arc<Semaphore>,
}

impl JobInside {
    /// Of this container, which runs in this runtime.
    pub(crate) fn new(engine: Engine, container: String, runtime: ContainerRuntime) -> Self {
        Self {
            engine,
            container,
            runtime,
            readers: Arc::new(Semaphore::new(LOG_READERS_MAX)),
            execs: Arc::new(Semaphore::new(EXECS_MAX)),
            starts: Arc::default(),
            copies: Arc::new(Semaphore::new(COPIES_MAX)),
        }
    }

    /// Processes of other runtimes are not to be seen from here, so that nobody could end one.
    fn check_runtime(&self) -> Result<(), ProblemResponse> {
        match self.runtime {
            ContainerRuntime::Runc => Ok(()),
            ContainerRuntime::Runsc | ContainerRuntime::Kata => Err(ProblemResponse::new(
                ProblemType::BadRequest,
                "Commands and copies are for jobs in the runtime `runc` alone; read its log instead.",
            )),
        }
    }

    /// The pid of the container's first process on this host.
    async fn pid(&self) -> Result<i32, ProblemResponse> {
        match self.engine.running_pid(&self.container).await {
            Ok(Some(pid)) => Ok(pid),
            Ok(None) => Err(ProblemResponse::new(
                ProblemType::JobNotReady,
                "The job's container does not run at the moment. Its session's events say more.",
            )
            .retry_after_s(2)),
            Err(error) => Err(engine_failed(&error)),
        }
    }
}

impl Inside for JobInside {
    fn answer(
        self: Arc<Self>,
        asked: Asked,
    ) -> BoxFuture<'static, Result<Response<Body>, ProblemResponse>> {
        async move {
            match asked.service {
                Service::Logs => lines::answer(&self, asked),
                Service::Exec => {
                    self.check_runtime()?;
                    exec::answer(self, asked).await
                }
                Service::GetFiles => {
                    self.check_runtime()?;
                    copy::get(&self, asked).await
                }
                Service::PutFiles => {
                    self.check_runtime()?;
                    copy::put(&self, asked).await
                }
                Service::Prove => Err(ProblemResponse::new(
                    ProblemType::BadRequest,
                    "A job proves nothing. Ask the node, by a probe.",
                )),
            }
        }
        .boxed()
    }
}

/// One of so many of the job's.
fn one_of(
    places: &Arc<Semaphore>,
    what: &str,
    max: usize,
) -> Result<OwnedSemaphorePermit, ProblemResponse> {
    places.clone().try_acquire_owned().map_err(|_| {
        let detail =
            format!("The job has {max} {what} under way, as many as it may. End one first.");
        ProblemResponse::new(ProblemType::TooManyRequests, detail).retry_after_s(1)
    })
}

fn engine_failed(error: &dyn std::error::Error) -> ProblemResponse {
    tracing::warn!(%error, "the engine does not do what is asked about a job");
    ProblemResponse::new(
        ProblemType::JobUnreachable,
        "The node's container engine did not do it. Try again.",
    )
    .retry_after_s(2)
}
