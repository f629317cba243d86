//! The one task that starts spare desktops, one at a time, and ends them.

use super::plan::{Room, plan};
use super::{Kind, Place, Spare};
use crate::agent::Message;
use crate::limits::{WARM_AGAIN, WORKER_CONNECT_DEADLINE};
use crate::meters;
use crate::process::{Process, ProcessId};
use crate::session::host::Host;
use crate::session::launch::{self, Desk};
use crate::session::teardown::discard_desk;
use nearlight_protocol::control::{ImagesWanted, WarmReady};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::limits::SPARE_KEYBOARD_LAYOUT;
use nearlight_protocol::worker;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// See the module.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) host: Arc<Host>,
    pub(crate) wanted: watch::Receiver<ImagesWanted>,
    pub(crate) room: watch::Receiver<Room>,
    pub(crate) agent: mpsc::Sender<Message>,
}

/// What comes back from a job.
enum Job {
    /// One is ready, and this is its worker's socket; or not.
    Started(io::Result<(Spare, Socket)>),
    /// The worker's socket closed: it ended, or a session has it.
    Closed(SessionId),
    /// Nothing of it is left.
    Ended,
}

/// The socket of a spare's worker, to be read while it is one.
struct Socket {
    stream: UnixStream,
    until: CancellationToken,
}

impl Keeper {
    /// Runs until the node stops, and ends all spares.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut jobs: JoinSet<Job> = JoinSet::new();
        let mut starting: Option<(SessionId, Kind)> = None;
        let mut not_before = Instant::now();
        let mut told = Vec::new();
        while !stop.is_cancelled() {
            self.settle(&mut jobs, &mut starting, not_before);
            if !self.tell(&mut told).await {
                break;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                Ok(()) = self.wanted.changed() => {}
                Ok(()) = self.room.changed() => {}
                () = tokio::time::sleep_until(not_before), if not_before > Instant::now() => {}
                Some(done) = jobs.join_next() => match done {
                    Ok(Job::Started(result)) => {
                        starting = None;
                        not_before = self.started(result, &mut jobs);
                    }
                    Ok(Job::Closed(name)) => self.end(&name, &mut jobs),
                    Ok(Job::Ended) => {}
                    Err(error) => {
                        tracing::error!(%error, "a job of the spare desktops panicked");
                        starting = None;
                        not_before = Instant::now() + WARM_AGAIN;
                    }
                },
            }
        }
        self.end_all(jobs).await;
        self.host.warm.is_over.send_replace(true);
    }

    fn settle(
        &mut self,
        jobs: &mut JoinSet<Job>,
        starting: &mut Option<(SessionId, Kind)>,
        not_before: Instant,
    ) {
        let mut there = self.host.warm.kinds();
        there.extend(starting.clone());
        let max = self.host.config.warm_max;
        let room = *self.room.borrow_and_update();
        let plan = plan(&self.wanted.borrow_and_update().warm, room, max, &there);
        for name in plan.end {
            self.end(&name, jobs);
        }
        let Some(kind) = plan.begin else { return };
        if starting.is_some() || not_before > Instant::now() {
            return;
        }
        let name = nearlight_kit::ids::session();
        *starting = Some((name.clone(), kind.clone()));
        let (host, place) = (self.host.clone(), self.host.warm.free_place());
        jobs.spawn(async move { Job::Started(start(&host, name, place, kind).await) });
    }

    /// Returns when the next may be started.
    fn started(&self, result: io::Result<(Spare, Socket)>, jobs: &mut JoinSet<Job>) -> Instant {
        match result {
            Ok((spare, socket)) => {
                tracing::info!(desk = %spare.name, app = %spare.kind.app, "a desktop is ready");
                let name = spare.name.clone();
                self.host.warm.put(spare);
                jobs.spawn(async move {
                    drain(socket).await;
                    Job::Closed(name)
                });
                Instant::now()
            }
            Err(error) => {
                tracing::warn!(%error, "no desktop can be kept ready; trying again later");
                Instant::now() + WARM_AGAIN
            }
        }
    }

    /// Ends a spare, if it still is one.
    fn end(&self, name: &SessionId, jobs: &mut JoinSet<Job>) {
        let Some(spare) = self.host.warm.remove(name) else {
            return;
        };
        let host = self.host.clone();
        jobs.spawn(async move {
            end(&host, spare).await;
            Job::Ended
        });
    }

    /// Every start and every end has a deadline; a spare's socket closes when the spare is ended.
    async fn end_all(&self, mut jobs: JoinSet<Job>) {
        for (name, _) in self.host.warm.kinds() {
            self.end(&name, &mut jobs);
        }
        while let Some(done) = jobs.join_next().await {
            if let Ok(Job::Started(Ok((spare, _socket)))) = done {
                end(&self.host, spare).await;
            }
        }
    }

    /// Returns `false` if nobody listens any more.
    async fn tell(&self, told: &mut Vec<WarmReady>) -> bool {
        let ready = self.host.warm.ready();
        if ready == *told {
            return true;
        }
        told.clone_from(&ready);
        meters::desktops_ready(ready.iter().map(|warm| warm.count).sum());
        self.agent.send(Message::Warm(ready)).await.is_ok()
    }
}

async fn end(host: &Host, spare: Spare) {
    let dir = host.config.run.join(spare.name.as_str());
    discard_desk(host, &spare.name, &dir, Some(spare.worker)).await;
    // Only now somebody else may be this user.
    drop(spare.place);
}

async fn start(
    host: &Host,
    name: SessionId,
    place: Place,
    kind: Kind,
) -> io::Result<(Spare, Socket)> {
    let dir = host.config.run.join(name.as_str());
    let desk = Desk {
        name: &name,
        dir: &dir,
        slot_index: place.index(),
        display: kind.display,
        keyboard_layout: SPARE_KEYBOARD_LAYOUT,
    };
    let worker = match launch::spawn(host, desk) {
        Ok(worker) => worker,
        Err(error) => return give_up(host, &name, None, error).await,
    };
    let greeted = greeted(&dir, worker.id());
    match tokio::time::timeout(WORKER_CONNECT_DEADLINE, greeted).await {
        Ok(Ok(stream)) => {
            let until = CancellationToken::new();
            let spare = Spare {
                name,
                place,
                worker,
                kind,
                _reading: until.clone().drop_guard(),
            };
            Ok((spare, Socket { stream, until }))
        }
        Ok(Err(error)) => give_up(host, &name, Some(worker), error).await,
        Err(_elapsed) => {
            let late = io::Error::new(io::ErrorKind::TimedOut, "the worker said nothing in time");
            give_up(host, &name, Some(worker), late).await
        }
    }
}

async fn give_up<T>(
    host: &Host,
    name: &SessionId,
    worker: Option<Process>,
    error: io::Error,
) -> io::Result<T> {
    let dir = host.config.run.join(name.as_str());
    discard_desk(host, name, &dir, worker).await;
    Err(error)
}

/// The worker's first word is that its sockets are bound.
async fn greeted(dir: &std::path::Path, worker: ProcessId) -> io::Result<UnixStream> {
    let stream = launch::connect(dir, worker, WORKER_CONNECT_DEADLINE).await?;
    stream.set_nonblocking(true)?;
    let mut stream = UnixStream::from_std(stream)?;
    let mut header = [0; 4];
    stream.read_exact(&mut header).await?;
    let len = worker::frame_len(&header).map_err(io::Error::other)?;
    let mut frame = header.to_vec();
    frame.resize(len.unwrap_or(header.len()), 0);
    stream.read_exact(&mut frame[header.len()..]).await?;
    match worker::FromWorker::decode(&frame).map_err(io::Error::other)? {
        worker::FromWorker::Ready(_) => Ok(stream),
        other => Err(io::Error::other(format!(
            "the worker's first word is {other:?}"
        ))),
    }
}

/// Reads what nobody wants to know, so that the worker is never held up; until the worker closes it, or the
/// desktop is no spare any more.
async fn drain(socket: Socket) {
    let Socket { mut stream, until } = socket;
    let mut bytes = vec![0; 4096];
    loop {
        tokio::select! {
            () = until.cancelled() => return,
            read = stream.read(&mut bytes) => if !matches!(read, Ok(1..)) { return },
        }
    }
}
