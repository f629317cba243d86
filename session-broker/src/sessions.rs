//! Sessions: one task owns every session's life, the queue, and the fleet.
//!
//! ```text
//!   HTTP ---- Create, End ----+                         +--> ledger: one transaction a turn
//!                             v                         |
//!   edges --- EdgeEvent --> owner task: decide in memory, commit, then act
//!                             ^                         |
//!   deadlines ----------------+                         +--> orders, answers, published views
//! ```
//!
//! The owner works in turns. It takes what waits, lets the pure machines decide, and collects the
//! changes; they are committed as one transaction; only then anything of them is seen outside.
//! While the disk syncs, the next turn's events gather, so load makes turns larger, not slower.
//!
//! **Invariants.**
//! - Nothing leaves the owner before it is durable: no order, no answer, no published view.
//! - If a commit fails or its outcome is unknown, the owner forgets what it believed, loads again,
//!   and lets every edge attach again. It never guesses.
//! - I1: a slot is claimed in memory before its transaction and by the ledger's unique index in it.
//!
//! Readers never ask the owner: it publishes each session's view, and the fleet, on watch channels
//! that [`Directory`] hands out.
//!
//! **What it does not know:** HTTP, cookies, SDP.

use crate::control::{EdgeEvent, Stream};
use crate::ledger::Idempotency;
use nearlight_placement::{NodeView, SessionRequest};
use nearlight_protocol::api::{EndReason, Node, Session};
use nearlight_protocol::app::{AppSpec, DisplayMode};
use nearlight_protocol::id::{NodeId, SessionId, UserId};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

mod acting;
mod driving;
mod edges;
mod entry;
mod owner;
mod placing;
mod reload;
mod turn;

pub(crate) use owner::{Owner, OwnerParts};

/// Requests of the API that wait for the owner. Past it callers wait, up to their deadline.
const REQUESTS_MAX: usize = 1024;
/// How long a caller waits for the owner. A turn takes milliseconds; a ledger that hangs, for ever.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A session to be created.
#[derive(Debug)]
pub(crate) struct Create {
    pub(crate) user: UserId,
    pub(crate) app: Arc<AppSpec>,
    pub(crate) display: DisplayMode,
    pub(crate) keyboard_layout: String,
    pub(crate) idempotency: Idempotency,
    /// Sessions that the user may hold; `None` for no limit.
    pub(crate) quota: Option<u32>,
}

/// Why a session was not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CreateError {
    /// The user's quota is used up.
    #[error("the quota is used up")]
    Quota,
    /// The Idempotency-Key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The key's session is over for so long that it is no longer listed.
    #[error("the session of this idempotency key is forgotten")]
    Forgotten,
    /// The owner did not answer, or the ledger failed: it may have been created. The caller's
    /// Idempotency-Key makes asking again safe.
    #[error("the outcome is not known")]
    Unknown,
}

/// Why a session was not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndError {
    /// There is none, or no longer.
    #[error("no such session")]
    NotFound,
    /// The owner did not answer, or the ledger failed. Asking again is safe.
    #[error("the outcome is not known")]
    Unknown,
}

/// What the API asks of the owner.
#[derive(Debug)]
pub(crate) enum Request {
    /// A new session.
    Create(Box<Create>, oneshot::Sender<Result<Session, CreateError>>),
    /// The end of one.
    End(SessionId, EndReason, oneshot::Sender<Result<(), EndError>>),
}

/// The handle to the owner.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    requests: mpsc::Sender<Request>,
    directory: Arc<Directory>,
}

impl Sessions {
    /// A handle, and what the owner takes its requests from.
    pub(crate) fn new(directory: Arc<Directory>) -> (Self, mpsc::Receiver<Request>) {
        let (requests, queue) = mpsc::channel(REQUESTS_MAX);
        let sessions = Self {
            requests,
            directory,
        };
        (sessions, queue)
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Creates a session, durably.
    pub(crate) async fn create(&self, create: Create) -> Result<Session, CreateError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Create(Box::new(create), reply), answer)
            .await
            .unwrap_or(Err(CreateError::Unknown))
    }

    /// Ends a session, durably. One that is ending or over stays so.
    pub(crate) async fn end(&self, session: SessionId, reason: EndReason) -> Result<(), EndError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::End(session, reason, reply), answer)
            .await
            .unwrap_or(Err(EndError::Unknown))
    }

    async fn ask<T>(&self, request: Request, answer: oneshot::Receiver<T>) -> Option<T> {
        let asked = async {
            self.requests.send(request).await.ok()?;
            answer.await.ok()
        };
        tokio::time::timeout(ANSWER_WITHIN, asked).await.ok()?
    }
}

/// What readers see. Written by the owner alone; locks are held for look-ups.
#[derive(Debug)]
pub(crate) struct Directory {
    shown: RwLock<Shown>,
    fleet: watch::Sender<PublicFleet>,
}

#[derive(Debug, Default)]
struct Shown {
    sessions: HashMap<SessionId, ShownSession>,
    by_user: HashMap<UserId, BTreeSet<SessionId>>,
    streams: HashMap<NodeId, Arc<Stream>>,
}

/// A session as readers see it.
#[derive(Clone, Debug)]
pub(crate) struct ShownSession {
    /// Whose it is.
    pub(crate) user: UserId,
    /// Its view, as its owner sees it, and every later one.
    pub(crate) view: watch::Receiver<Session>,
}

/// The fleet as readers see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct PublicFleet {
    /// All nodes.
    pub(crate) nodes: Vec<Node>,
    /// The nodes as placement sees them.
    pub(crate) views: Vec<NodeView>,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            shown: RwLock::default(),
            fleet: watch::Sender::new(PublicFleet::default()),
        }
    }
}

impl Directory {
    /// One session.
    pub(crate) fn session(&self, id: &SessionId) -> Option<ShownSession> {
        self.read().sessions.get(id).cloned()
    }

    /// A user's sessions, or everyone's; newest first.
    pub(crate) fn list(&self, of: Option<&UserId>) -> Vec<ShownSession> {
        let shown = self.read();
        let mut ids: Vec<&SessionId> = match of {
            Some(user) => shown.by_user.get(user).into_iter().flatten().collect(),
            None => shown.sessions.keys().collect(),
        };
        ids.sort_unstable_by(|a, b| b.cmp(a));
        let sessions = ids.into_iter().filter_map(|id| shown.sessions.get(id));
        sessions.cloned().collect()
    }

    /// The stream to a node.
    pub(crate) fn stream(&self, node: &NodeId) -> Option<Arc<Stream>> {
        self.read().streams.get(node).cloned()
    }

    /// The stream to the node that runs a session.
    pub(crate) fn way_to(&self, session: &SessionId) -> Option<Arc<Stream>> {
        let shown = self.read();
        let node = shown.sessions.get(session)?.view.borrow().node.clone()?;
        shown.streams.get(&node).cloned()
    }

    /// The fleet now.
    pub(crate) fn fleet(&self) -> PublicFleet {
        self.fleet.borrow().clone()
    }

    /// Whether some attached node could run this, now or once a slot is free.
    pub(crate) fn can_run(&self, request: &SessionRequest) -> bool {
        let fleet = self.fleet.borrow();
        let attached = fleet.views.iter().filter(|view| view.attached);
        nearlight_placement::could_ever(attached, request)
    }

    fn show(&self, id: SessionId, session: ShownSession) {
        let mut shown = self.write();
        let user = session.user.clone();
        shown.by_user.entry(user).or_default().insert(id.clone());
        shown.sessions.insert(id, session);
    }

    fn forget(&self, id: &SessionId) {
        let mut shown = self.write();
        if let Some(session) = shown.sessions.remove(id)
            && let Some(of_user) = shown.by_user.get_mut(&session.user)
        {
            of_user.remove(id);
            if of_user.is_empty() {
                shown.by_user.remove(&session.user);
            }
        }
    }

    fn set_stream(&self, node: &NodeId, stream: Option<Arc<Stream>>) {
        let mut shown = self.write();
        match stream {
            Some(stream) => shown.streams.insert(node.clone(), stream),
            None => shown.streams.remove(node),
        };
    }

    fn set_fleet(&self, fleet: PublicFleet) {
        self.fleet.send_replace(fleet);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Shown> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Shown> {
        self.shown.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Edge events that wait for the owner. Past it edges wait, which is their back-pressure.
pub(crate) const EDGE_EVENTS_MAX: usize = 4096;

/// What edges talk into.
pub(crate) fn edge_events() -> (mpsc::Sender<EdgeEvent>, mpsc::Receiver<EdgeEvent>) {
    mpsc::channel(EDGE_EVENTS_MAX)
}

/// What an app needs of a node.
pub(crate) fn request_of(app: &AppSpec) -> SessionRequest {
    SessionRequest {
        cpu_milli: app.needs.cpu_milli,
        mem_mib: app.needs.mem_mib,
        kbps: app.needs.kbps_min,
        gpu: app.needs.gpu,
        image: app.launch.image.clone(),
    }
}
