//! The transport, as the agent sees it: starts it, and turns its callbacks into messages.
//!
//! **Invariant.** The callback never blocks: the transport's thread also carries every session's
//! frames. Totals go to a board that keeps the newest; lifecycle events go to the agent's inbox,
//! which the agent empties without waiting for any peer.

use crate::agent::Message;
use crate::config::Config;
use nearlight_protocol::control::SessionRtt;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::limits::HEARTBEAT_RTTS_MAX;
use nearlight_protocol::worker;
use nearlight_transport::{Event, FlowGauges, Handle, StartError};
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

    /// The round trips of the sessions that are being played, as far as their streams have shown any.
    pub(crate) fn round_trips(&self) -> Vec<SessionRtt> {
        let board = self.lock();
        let sessions = board.iter().filter_map(|(session, totals)| {
            let ms = way_ms(&totals.transport.flow)?;
            let session = session.clone();
            Some(SessionRtt { session, ms })
        });
        sessions.take(HEARTBEAT_RTTS_MAX).collect()
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

/// The round trip of the way itself, milliseconds: without the queue that the stream stands in.
fn way_ms(flow: &FlowGauges) -> Option<u32> {
    let us = Some(flow.rtt_us).filter(|us| *us > 0)?;
    Some((us.saturating_sub(flow.queue_us) / 1000).max(1))
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
        | Event::InputSeen { .. } => pass_on(&inbox, event),
    })
}

/// The transport waits for nobody. While the agent waits for its disk, that somebody plays is said again soon; what
/// happens once, as that nobody plays any more, has the rest of the inbox for itself.
fn pass_on(inbox: &mpsc::Sender<Message>, event: Event) {
    let is_said_again = matches!(event, Event::InputSeen { .. });
    if is_said_again && inbox.capacity() < inbox.max_capacity() / 2 {
        return;
    }
    if let Err(error) = inbox.try_send(Message::Transport(event)) {
        tracing::error!(%error, "the agent does not keep up with its transport");
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_is_said_again_takes_the_place_of_nothing_that_is_said_once() {
        let (inbox, mut agent) = mpsc::channel(8);
        let session = nearlight_kit::ids::session();
        for _ in 0..100 {
            let session = session.clone();
            pass_on(&inbox, Event::InputSeen { session });
        }
        let attachment = nearlight_kit::ids::attachment();
        pass_on(
            &inbox,
            Event::Detached {
                session,
                attachment,
            },
        );
        let mut heard = Vec::new();
        while let Ok(Message::Transport(event)) = agent.try_recv() {
            heard.push(event);
        }
        assert!(
            matches!(heard.last(), Some(Event::Detached { .. })),
            "{heard:?}"
        );
        assert!(heard.len() > 1);
    }

    #[test]
    fn a_round_trip_is_told_while_somebody_plays_and_without_the_queue() {
        let board = CounterBoard::default();
        let put = |rtt_us, queue_us| {
            let session = nearlight_kit::ids::session();
            let mut totals = Totals::default();
            (totals.transport.flow.rtt_us, totals.transport.flow.queue_us) = (rtt_us, queue_us);
            board.put(session.clone(), totals);
            session
        };
        let far = put(63_400, 20_000);
        let near = put(300, 0);
        put(0, 0);
        let of = |session, ms| SessionRtt { session, ms };
        let mut expected = vec![of(far, 43), of(near, 1)];
        expected.sort_by(|a, b| a.session.cmp(&b.session));
        assert_eq!(board.round_trips(), expected);
    }
}
