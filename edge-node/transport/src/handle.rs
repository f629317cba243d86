//! How other threads talk to the transport: commands through a bounded channel and a waker.
//!
//! **Invariant.** Every `reply` runs exactly once, also when the thread is gone.

use crate::config::{Config, StartError};
use crate::event::Event;
use crate::limits::COMMANDS_MAX;
use crate::reactor::Reactor;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{ViewerRole, WhepRefusal, WhepResult};
use nearlight_protocol::id::{AttachmentId, SessionId, WatchLinkId};
use nearlight_protocol::notice::Notice;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

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
        role: ViewerRole,
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
    Probe {
        sdp: String,
        reply: Reply,
    },
    EndWatch {
        session: SessionId,
        link: WatchLinkId,
    },
    Notify {
        session: SessionId,
        notice: Notice,
    },
    EndSession {
        session: SessionId,
        reason: EndReason,
    },
    Census(Box<dyn FnOnce(Census) + Send>),
    Shutdown,
}

/// How much the loop keeps.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Sessions.
    pub sessions: usize,
    /// Attachments, those that are leaving included.
    pub viewers: usize,
    /// Attachments that sessions refer to.
    pub referred: usize,
    /// ICE user names and addresses that route to attachments.
    pub routes: usize,
    /// Offers, workers and attachments that wait for something.
    pub waiting: usize,
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

/// Binds the sockets and starts the thread. `events` runs on it: it must not block, and must not
/// panic. Install the metrics recorder first.
///
/// # Errors
/// [`StartError`], with what to do.
pub fn start(
    config: Config,
    events: impl FnMut(Event) + Send + 'static,
) -> Result<Handle, StartError> {
    start_with(config, true, events)
}

/// [`start`] without UDP segmentation offload, to measure what it brings.
///
/// # Errors
/// As [`start`].
#[doc(hidden)]
pub fn start_unsegmented(
    config: Config,
    events: impl FnMut(Event) + Send + 'static,
) -> Result<Handle, StartError> {
    start_with(config, false, events)
}

fn start_with(
    config: Config,
    segmentation: bool,
    events: impl FnMut(Event) + Send + 'static,
) -> Result<Handle, StartError> {
    let (commands, inbox) = sync_channel(COMMANDS_MAX);
    let (report, started) = sync_channel(1);
    // The loop is made where it runs: what it keeps for system calls cannot change threads.
    let thread = std::thread::Builder::new()
        .name("transport".to_owned())
        .spawn(move || {
            match Reactor::bind(config, segmentation, inbox, Box::new(events)) {
                Ok((reactor, waker)) => {
                    // The starter waits for this, so it is there to take it.
                    let _ = report.send(Ok((reactor.port(), waker)));
                    reactor.run();
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                }
            }
        })?;
    let gone = || std::io::Error::other("the transport thread ended while it started");
    let (port, waker) = started.recv().map_err(|_| gone())??;
    Ok(Handle {
        shared: Arc::new(Shared {
            port,
            commands,
            waker,
            thread: Mutex::new(Some(thread)),
        }),
    })
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
        role: ViewerRole,
        reply: impl FnOnce(WhepResult) + Send + 'static,
    ) {
        self.send(Command::Offer {
            session,
            attachment,
            sdp,
            role,
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

    /// Answers the offer of a line check. `reply` runs on the transport's thread, exactly once.
    pub fn probe(&self, sdp: String, reply: impl FnOnce(WhepResult) + Send + 'static) {
        let reply = Box::new(reply);
        self.send(Command::Probe { sdp, reply });
    }

    /// Ends everybody who watches on a link, because it was revoked or has expired.
    pub fn end_watch(&self, session: SessionId, link: WatchLinkId) {
        self.send(Command::EndWatch { session, link });
    }

    /// Tells the player's browser something; nobody attached, nobody told.
    pub fn notify(&self, session: SessionId, notice: Notice) {
        self.send(Command::Notify { session, notice });
    }

    /// Says how much the loop keeps, for tests that nothing is left behind. `reply` runs on the
    /// transport's thread, unless it has ended.
    #[doc(hidden)]
    pub fn census(&self, reply: impl FnOnce(Census) + Send + 'static) {
        self.send(Command::Census(Box::new(reply)));
    }

    /// Says `Ended` to the browsers and `Shutdown` to the worker, and forgets the session.
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
        | Command::Delete { reply, .. }
        | Command::Probe { reply, .. } => reply(WhepResult::Refused {
            reason: WhepRefusal::NotFound,
            detail: "the node's transport has shut down; try again".to_owned(),
        }),
        Command::AddSession { .. }
        | Command::Census(_)
        | Command::EndWatch { .. }
        | Command::Notify { .. }
        | Command::EndSession { .. }
        | Command::Shutdown => {}
    }
}
