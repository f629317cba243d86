//! The transport, as the agent sees it: starts it, and turns its callbacks into messages.
//!
//! **Invariant.** The callback never blocks: the transport's thread also carries every session's
//! frames. Totals go to a board that keeps the newest; lifecycle events go to the agent's inbox,
//! which the agent empties without waiting for any peer.

use crate::agent::Message;
use crate::config::Config;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::worker;
use nearlight_transport::{Event, Handle, StartError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// The newest totals of each session.
#[derive(Clone, Debug, Default)]
pub(crate) struct CounterBoard(Arc<Mutex<BTreeMap<SessionId, Totals>>>);

/// What a session has counted.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(crate) struct Totals {
    /// In the worker.
    pub(crate) worker: worker::Counters,
    /// In the transport.
    pub(crate) transport: nearlight_transport::Counters,
}

impl CounterBoard {
    /// The newest totals of a session, or zeros.
    pub(crate) fn of(&self, session: &SessionId) -> Totals {
        self.lock().get(session).cloned().unwrap_or_default()
    }

    /// Forgets a session.
    pub(crate) fn remove(&self, session: &SessionId) {
        self.lock().remove(session);
    }

    fn put(&self, session: SessionId, totals: Totals) {
        self.lock().insert(session, totals);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<SessionId, Totals>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the transport; its events come to `inbox`.
pub(crate) fn start(
    config: &Config,
    inbox: mpsc::Sender<Message>,
    board: CounterBoard,
) -> Result<Handle, StartError> {
    let transport = nearlight_transport::Config {
        bind: config.rtc_bind.clone(),
        advertise: config.rtc_advertise.clone(),
        advertise_port: config.rtc_advertise_port,
        stun: config.rtc_stun.clone(),
        max_sessions: config.slots,
        kbps_start: config.kbps_start,
        kbps_max: config.kbps_max,
        uplink_kbps: config.uplink_kbps,
    };
    nearlight_transport::start(transport, move |event| match event {
        Event::Counters {
            session,
            worker,
            transport,
        } => {
            let (worker, transport) = (*worker, *transport);
            board.put(session, Totals { worker, transport });
        }
        Event::WorkerReady { .. }
        | Event::FirstFrame { .. }
        | Event::WorkerFailed { .. }
        | Event::WorkerGone { .. }
        | Event::Attached { .. }
        | Event::Detached { .. }
        | Event::Watchers { .. }
        | Event::Uplink { .. }
        | Event::InputSeen { .. } => {
            if let Err(error) = inbox.try_send(Message::Transport(event)) {
                tracing::error!(%error, "the agent does not keep up with its transport");
            }
        }
    })
}
