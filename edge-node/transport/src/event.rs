//! What the transport tells the agent.

use crate::counters::Counters;
use nearlight_protocol::id::{AttachmentId, SessionId};
use nearlight_protocol::worker;

/// Something that happened to a session. Delivered on the transport's thread: the receiver must
/// not block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The worker's sockets are bound: the app may start.
    WorkerReady {
        /// The session.
        session: SessionId,
        /// What the worker said.
        ready: worker::Ready,
    },
    /// The app showed its first picture.
    FirstFrame {
        /// The session.
        session: SessionId,
    },
    /// The worker cannot go on.
    WorkerFailed {
        /// The session.
        session: SessionId,
        /// What the worker said.
        failed: worker::Failed,
    },
    /// The worker's socket is closed, by the worker or because it broke the protocol. The session
    /// stays known, so that [`crate::Handle::end_session`] can tell its viewer why; or give it
    /// another connection with [`crate::Handle::add_session`].
    WorkerGone {
        /// The session.
        session: SessionId,
    },
    /// A player is connected: media flows.
    Attached {
        /// The session.
        session: SessionId,
        /// The viewer.
        attachment: AttachmentId,
    },
    /// A player that was connected is gone.
    Detached {
        /// The session.
        session: SessionId,
        /// The viewer.
        attachment: AttachmentId,
    },
    /// So many watch now.
    Watchers {
        /// The session.
        session: SessionId,
        /// Viewers on watch links that are connected.
        count: u32,
    },
    /// The player did something. At most once in ten seconds.
    InputSeen {
        /// The session.
        session: SessionId,
    },
    /// What the uplink was measured to carry, whenever it changes by much and at most once in ten
    /// seconds; never where it is configured.
    Uplink {
        /// kbit/s; `None` once it is no limit any more.
        kbps: Option<u32>,
    },
    /// Totals, each second.
    Counters {
        /// The session.
        session: SessionId,
        /// The worker's, as it last said.
        worker: Box<worker::Counters>,
        /// The transport's.
        transport: Box<Counters>,
    },
}
