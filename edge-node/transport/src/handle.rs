//! How other threads talk to the transport: commands through a bounded channel and a waker.

use crate::config::{Config, StartError};
use crate::event::Event;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{WhepRefusal, WhepResult};
use nearlight_protocol::id::{AttachmentId, SessionId};
use nearlight_protocol::notice::Notice;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Commands that wait for the thread. Past it callers wait; the thread takes them on every wake.
const COMMANDS_MAX: usize = 1024;

/// Answers one WHEP request.
pub(crate) type Reply = Box<dyn FnOnce(WhepResult) + Send>;

/// What another thread asks.
pub(crate) enum Command {
    AddSession {
        session: SessionId,
        worker: UnixStream,
    },
    Offer {
        session: SessionId,
        attachment: AttachmentId,
        sdp: String,
        take_over: bool,
        reply: Reply,
    },
    Patch {
        session: SessionId,
        attachment: AttachmentId,
        fragment: String,
        reply: Reply,
    },
    Delete {
        session: SessionId,
        attachment: AttachmentId,
        reply: Reply,
    },
    Notify {
        session: SessionId,
        notice: Notice,
    },
    EndSession {
        session: SessionId,
        reason: EndReason,
    },
    Shutdown,
}

/// A clonable way to the transport's thread.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    port: u16,
    commands: SyncSender<Command>,
    waker: mio::Waker,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Binds the sockets and starts the thread. `events` runs on it and must not block.
///
/// # Errors
/// [`StartError`], with what to do.
pub fn start(
    config: Config,
    events: impl FnMut(Event) + Send + 'static,
) -> Result<Handle, StartError> {
    let first = config.bind.first().ok_or(StartError::NoAddress)?;
    let poll = mio::Poll::new()?;
    let waker = mio::Waker::new(poll.registry(), mio::Token(0))?;
    let (commands, inbox) = sync_channel(COMMANDS_MAX);
    let port = first.port();
    let thread = std::thread::Builder::new()
        .name("transport".to_owned())
        .spawn(move || run(poll, &inbox, events))?;
    Ok(Handle {
        shared: Arc::new(Shared {
            port,
            commands,
            waker,
            thread: Mutex::new(Some(thread)),
        }),
    })
}

fn run(mut poll: mio::Poll, inbox: &Receiver<Command>, mut events: impl FnMut(Event)) {
    let mut ready = mio::Events::with_capacity(64);
    while poll.poll(&mut ready, None).is_ok() {
        while let Ok(command) = inbox.try_recv() {
            match command {
                Command::AddSession { session, worker } => {
                    drop(worker);
                    events(Event::WorkerGone { session });
                }
                Command::Shutdown => return,
                other => refuse(other),
            }
        }
    }
}

impl Handle {
    /// The UDP port in use.
    pub fn port(&self) -> u16 {
        self.shared.port
    }

    /// Takes over the socket of a worker that listens as `agent.sock`, connected.
    pub fn add_session(&self, session: SessionId, worker: UnixStream) {
        self.send(Command::AddSession { session, worker });
    }

    /// Answers a WHEP offer. `reply` runs on the transport's thread, exactly once.
    pub fn offer(
        &self,
        session: SessionId,
        attachment: AttachmentId,
        sdp: String,
        take_over: bool,
        reply: impl FnOnce(WhepResult) + Send + 'static,
    ) {
        self.send(Command::Offer {
            session,
            attachment,
            sdp,
            take_over,
            reply: Box::new(reply),
        });
    }

    /// Adds trickled candidates (RFC 8840). `reply` runs exactly once.
    pub fn patch(
        &self,
        session: SessionId,
        attachment: AttachmentId,
        fragment: String,
        reply: impl FnOnce(WhepResult) + Send + 'static,
    ) {
        self.send(Command::Patch {
            session,
            attachment,
            fragment,
            reply: Box::new(reply),
        });
    }

    /// Ends an attachment at its viewer's wish. `reply` runs exactly once.
    pub fn delete(
        &self,
        session: SessionId,
        attachment: AttachmentId,
        reply: impl FnOnce(WhepResult) + Send + 'static,
    ) {
        self.send(Command::Delete {
            session,
            attachment,
            reply: Box::new(reply),
        });
    }

    /// Tells the attached browser something; nobody attached, nobody told.
    pub fn notify(&self, session: SessionId, notice: Notice) {
        self.send(Command::Notify { session, notice });
    }

    /// Says `Ended` to the browser and `Shutdown` to the worker, and forgets the session.
    pub fn end_session(&self, session: SessionId, reason: EndReason) {
        self.send(Command::EndSession { session, reason });
    }

    /// Tells every browser that the node restarts, closes everything and waits for the thread.
    /// Workers are left as they are. Does nothing the second time.
    pub fn shutdown(&self) {
        let thread = self
            .shared
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            self.send(Command::Shutdown);
            if thread.join().is_err() {
                tracing::error!("the transport thread panicked; this is a bug, please report it");
            }
        }
    }

    fn send(&self, command: Command) {
        match self.shared.commands.send(command) {
            Ok(()) => {
                if let Err(error) = self.shared.waker.wake() {
                    tracing::error!(%error, "cannot wake the transport thread");
                }
            }
            Err(gone) => refuse(gone.0),
        }
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("port", &self.shared.port)
            .finish_non_exhaustive()
    }
}

/// Answers a command that nobody will carry out.
pub(crate) fn refuse(command: Command) {
    match command {
        Command::Offer { reply, .. }
        | Command::Patch { reply, .. }
        | Command::Delete { reply, .. } => reply(WhepResult::Refused {
            reason: WhepRefusal::NotFound,
            detail: "the node's transport has shut down; try again".to_owned(),
        }),
        Command::AddSession { .. }
        | Command::Notify { .. }
        | Command::EndSession { .. }
        | Command::Shutdown => {}
    }
}
