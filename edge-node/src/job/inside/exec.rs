//! A command in a job's container, from the order to its exit status.
//!
//! ```text
//! stream changed --Start--> made and started by the engine --Started--> runs --output ends--> Exit
//!      `--no order in time, cut off             |                        |--caller gone, job over--> killed
//!                                               `--Failed                `--a frame that is none
//! ```
//!
//! It runs as the job's user in the job's control group, without a capability: the engine gives a command what its
//! container has, and more only if it is asked to. What is left when it ends is killed in any case.
//!
//! **Invariants.** Nothing is gathered: output is read when the caller has room for it, input when the command has.
//! Neither a command's words nor what it says are in the log of this node.

use super::leftovers::{MARK, Marked};
use super::{JobInside, one_of};
use crate::limits::{
    ENGINE_DEADLINE, EXEC_BEAT_EVERY, EXEC_LOOK_EVERY, EXEC_ORDER_DEADLINE, EXEC_STATUS_DEADLINE,
    EXECS_MAX,
};
use crate::runtime::docker::bounded;
use crate::tunnel::{Asked, Entered};
use axum::body::Body;
use axum::http::Response;
use bollard::container::LogOutput;
use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{ExecConfig, ExecInspectResponse};
use futures_util::{Stream, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::inside::{CreateExec, ExecSignal, Frame, Joined, TerminalSize};
use rustix::process::Signal;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

/// What is read of input at once, and sent of output.
const PIECE_BYTES: usize = 16 * 1024;
const TERM: &str = "xterm-256color";

/// Takes a command's stream, and runs the command on it.
pub(super) async fn answer(
    inside: Arc<JobInside>,
    mut asked: Asked,
) -> Result<Response<Body>, ProblemResponse> {
    let place = one_of(&inside.execs, "commands", EXECS_MAX)?;
    let container_pid = inside.pid().await?;
    let stream = hyper::upgrade::on(&mut asked.request);
    let (closed, entered) = (asked.closed.clone(), asked.entered.clone());
    let tasks = asked.tasks.clone();
    asked.tasks.spawn(async move {
        let _place = place;
        let Ok(Ok(upgraded)) = timeout(EXEC_ORDER_DEADLINE, stream).await else {
            return;
        };
        let mut command = Command {
            inside,
            entered,
            marked: None,
            id: nearlight_kit::ids::request().to_string(),
            exec: String::new(),
            turn: None,
        };
        let stop = tasks.token();
        let ended = tokio::select! {
            ended = command.run(upgraded, container_pid) => ended,
            () = closed.cancelled() => Ok(()),
            () = stop.cancelled() => Ok(()),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a command in a job was cut off");
        }
        command.clear().await;
    });
    Ok(Response::new(Body::empty()))
}

type Input = Pin<Box<dyn AsyncWrite + Send>>;
type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;
type Socket = TokioIo<Upgraded>;

/// A command.
struct Command {
    inside: Arc<JobInside>,
    entered: Arc<Entered>,
    /// What is to be killed, once there may be something.
    marked: Option<Marked>,
    /// What it is marked with.
    id: String,
    /// The engine's name of it.
    exec: String,
    /// While it is being started, no other one of its job is.
    turn: Option<OwnedMutexGuard<()>>,
}

impl Command {
    async fn run(&mut self, socket: Upgraded, container_pid: i32) -> io::Result<()> {
        let (reads, mut writes) = split(TokioIo::new(socket));
        let mut frames = Frames {
            reads,
            joined: Joined::default(),
            piece: vec![0; PIECE_BYTES],
        };
        let order = timeout(EXEC_ORDER_DEADLINE, frames.order()).await??;
        let started = match self.start(&order, container_pid).await {
            Ok(started) => started,
            Err(words) => {
                writes.write_all(&Frame::Failed(&words).to_tunnel()).await?;
                return writes.shutdown().await;
            }
        };
        let (output, input) = started;
        writes.write_all(&Frame::Started.to_tunnel()).await?;
        writes.flush().await?;
        let words = Words {
            entered: self.entered.clone(),
            // It may have ended before it was looked at; then nothing is left that could be signalled.
            marked: self.marked.clone(),
            inside: self.inside.clone(),
            exec: self.exec.clone(),
        };
        // Whoever is told nothing is asked nothing either.
        let input = order.stdin.then_some(input);
        tokio::select! {
            said = said(output, &mut writes, &self.entered) => said?,
            told = words.tell(frames, input) => return told,
        }
        let last = match timeout(EXEC_STATUS_DEADLINE, self.status()).await {
            Ok(Some(status)) => Frame::Exit(status).to_tunnel(),
            Ok(None) | Err(_) => {
                Frame::Failed("The command is over; its exit status is not known.").to_tunnel()
            }
        };
        writes.write_all(&last).await?;
        writes.shutdown().await
    }

    /// Makes and starts it; `Err` says to its caller why not.
    async fn start(
        &mut self,
        order: &CreateExec,
        container_pid: i32,
    ) -> Result<(Output, Input), String> {
        self.turn = Some(self.inside.starts.clone().lock_owned().await);
        let client = self.inside.engine.client();
        let mut env = vec![format!("{MARK}={}", self.id)];
        if order.tty {
            let term = order.term.as_deref().unwrap_or(TERM);
            env.push(format!("TERM={term}"));
        }
        let size = order
            .size
            .map(|size| vec![size.rows.into(), size.cols.into()]);
        let options = ExecConfig {
            console_size: size,
            attach_stdin: Some(order.stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(order.tty),
            env: Some(env),
            cmd: Some(order.command.clone()),
            privileged: Some(false),
            ..ExecConfig::default()
        };
        let made = client.create_exec(&self.inside.container, options);
        let made = bounded("make the command", made).await;
        self.exec = made.map_err(|error| error.to_string())?.id;
        // From here on something may run.
        let Some(mut marked) = Marked::of(container_pid, &self.id) else {
            return Err("The container is gone, or cannot be told from its node.".to_owned());
        };
        marked.make_way().await;
        self.marked = Some(marked);
        let options = StartExecOptions {
            detach: false,
            tty: order.tty,
            output_capacity: Some(PIECE_BYTES),
        };
        let started = client.start_exec(&self.exec, Some(options));
        let started = bounded("start the command", started).await;
        let StartExecResults::Attached { output, input } =
            started.map_err(|error| error.to_string())?
        else {
            return Err("The engine did not attach to the command.".to_owned());
        };
        self.has_begun(EXEC_STATUS_DEADLINE).await;
        // Engines before 23 have no size for a terminal that is made, and this takes a moment.
        if let Some(size) = order.size {
            resize(&self.inside, &self.exec, size).await;
        }
        Ok((output, input))
    }

    /// Waits until it has begun, and takes what there is of it. It is the next one's turn then, and not before: what the
    /// engine starts late would pass for the job's own.
    async fn has_begun(&mut self, within: Duration) {
        let begun = timeout(within, self.begun()).await.ok();
        if let Some(marked) = &mut self.marked {
            marked.leader = begun.flatten();
            marked.take(&self.id).await;
        }
        match begun {
            Some(_) => self.turn = None,
            None => {
                tracing::warn!("a command in a job takes long to begin; the next ones wait for it")
            }
        }
    }

    /// The command's first process; `None` if it is over.
    async fn begun(&self) -> Option<i32> {
        loop {
            let Some(found) = self.look().await? else {
                tokio::time::sleep(EXEC_LOOK_EVERY).await;
                continue;
            };
            let pid = found.pid.and_then(|pid| i32::try_from(pid).ok());
            match (found.running, pid) {
                (Some(true), Some(pid @ 1..)) => return Some(pid),
                // It has not begun, or is over.
                (_, _) if found.exit_code.is_some() => return None,
                (_, _) => tokio::time::sleep(EXEC_LOOK_EVERY).await,
            }
        }
    }

    /// Its exit status, once the engine has it.
    async fn status(&self) -> Option<i32> {
        loop {
            match self.look().await? {
                Some(ExecInspectResponse {
                    running: Some(false),
                    exit_code: Some(code),
                    ..
                }) => return i32::try_from(code).ok(),
                _ => tokio::time::sleep(EXEC_LOOK_EVERY).await,
            }
        }
    }

    /// What the engine says of it: `None` if it knows none such, `Some(None)` if it says nothing just now.
    async fn look(&self) -> Option<Option<ExecInspectResponse>> {
        let client = self.inside.engine.client();
        match client.inspect_exec(&self.exec).await {
            Ok(found) => Some(Some(found)),
            Err(bollard::errors::Error::DockerResponseServerError {
                status_code: 404, ..
            }) => None,
            Err(error) => {
                tracing::debug!(%error, "the engine says nothing of a command");
                Some(None)
            }
        }
    }

    /// Kills what is left.
    async fn clear(&mut self) {
        // It may be about to begin.
        if self.marked.as_ref().is_some_and(|one| one.leader.is_none()) {
            if self.turn.is_none() {
                self.turn = Some(self.inside.starts.clone().lock_owned().await);
            }
            self.has_begun(ENGINE_DEADLINE).await;
        }
        if let Some(marked) = self.marked.take() {
            marked.kill().await;
        }
    }
}

async fn resize(inside: &JobInside, exec: &str, size: TerminalSize) {
    let size = ResizeExecOptions {
        height: size.rows,
        width: size.cols,
    };
    let resized = inside.engine.client().resize_exec(exec, size);
    if let Err(error) = bounded("resize the terminal", resized).await {
        tracing::debug!(%error, "a terminal keeps its size");
    }
}

/// What the command says, to its caller, until it says nothing more.
async fn said(
    mut output: Output,
    writes: &mut WriteHalf<Socket>,
    entered: &Entered,
) -> io::Result<()> {
    loop {
        let next = timeout(EXEC_BEAT_EVERY, output.next()).await;
        let frame = match &next {
            // Written in vain to a caller who is gone.
            Err(_elapsed) => Frame::Stdout(b""),
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => return Err(io::Error::other(error.to_string())),
            Ok(Some(Ok(LogOutput::StdErr { message }))) => Frame::Stderr(message),
            Ok(Some(Ok(
                LogOutput::StdOut { message }
                | LogOutput::StdIn { message }
                | LogOutput::Console { message },
            ))) => Frame::Stdout(message),
        };
        // A word of ours is no use of the job.
        let is_said = next.is_ok();
        entered
            .seen
            .fetch_add(u64::from(is_said), Ordering::Relaxed);
        for piece in pieces(&frame) {
            writes.write_all(&piece).await?;
        }
        writes.flush().await?;
    }
}

/// A frame of output as it travels, in pieces that are frames.
fn pieces(frame: &Frame<'_>) -> Vec<Vec<u8>> {
    match frame {
        Frame::Stdout(bytes) if !bytes.is_empty() => {
            let all = bytes.chunks(PIECE_BYTES);
            all.map(|piece| Frame::Stdout(piece).to_tunnel()).collect()
        }
        Frame::Stderr(bytes) if !bytes.is_empty() => {
            let all = bytes.chunks(PIECE_BYTES);
            all.map(|piece| Frame::Stderr(piece).to_tunnel()).collect()
        }
        other => vec![other.to_tunnel()],
    }
}

/// The frames of a caller.
struct Frames {
    reads: ReadHalf<Socket>,
    joined: Joined,
    piece: Vec<u8>,
}

impl Frames {
    /// The next message; `None` once the caller is gone.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let next = self.joined.next_message().map_err(io::Error::other)?;
            if let Some(message) = next {
                return Ok(Some(message.to_vec()));
            }
            match self.reads.read(&mut self.piece).await? {
                0 => return Ok(None),
                read => self.joined.push(&self.piece[..read]),
            }
        }
    }

    async fn order(&mut self) -> io::Result<CreateExec> {
        let wrong = || io::Error::other("the stream does not begin with an order");
        let message = self.next().await?.ok_or_else(wrong)?;
        let Ok(Frame::Start(order)) = Frame::parse(&message) else {
            return Err(wrong());
        };
        let order: CreateExec = serde_json::from_slice(order).map_err(|_| wrong())?;
        match order.fault() {
            None => Ok(order),
            Some(fault) => Err(io::Error::other(fault)),
        }
    }
}

/// What a caller tells the command.
struct Words {
    entered: Arc<Entered>,
    marked: Option<Marked>,
    inside: Arc<JobInside>,
    exec: String,
}

impl Words {
    /// Until the caller is gone. Without `input` there is none to be told.
    async fn tell(self, mut frames: Frames, mut input: Option<Input>) -> io::Result<()> {
        while let Some(message) = frames.next().await? {
            self.entered.seen.fetch_add(1, Ordering::Relaxed);
            match Frame::parse(&message).map_err(io::Error::other)? {
                Frame::Stdin(bytes) => {
                    if let Some(to) = &mut input
                        && let Err(error) = write(to, bytes).await
                    {
                        // It reads nothing more; what it says still counts.
                        tracing::debug!(%error, "a command takes no more input");
                        input = None;
                    }
                }
                Frame::StdinEnd => {
                    if let Some(mut to) = input.take() {
                        let _ = to.shutdown().await;
                    }
                }
                Frame::Resize(size) => resize(&self.inside, &self.exec, size).await,
                Frame::Signal(signal) => {
                    if let Some(marked) = &self.marked {
                        marked.signal(signal_of(signal));
                    }
                }
                Frame::Stdout(_)
                | Frame::Stderr(_)
                | Frame::Exit(_)
                | Frame::Failed(_)
                | Frame::Started
                | Frame::Start(_) => {
                    return Err(io::Error::other("a caller sends no such frame"));
                }
            }
        }
        Ok(())
    }
}

async fn write(to: &mut Input, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

const fn signal_of(signal: ExecSignal) -> Signal {
    match signal {
        ExecSignal::Hup => Signal::HUP,
        ExecSignal::Int => Signal::INT,
        ExecSignal::Quit => Signal::QUIT,
        ExecSignal::Kill => Signal::KILL,
        ExecSignal::Usr1 => Signal::USR1,
        ExecSignal::Usr2 => Signal::USR2,
        ExecSignal::Term => Signal::TERM,
    }
}
