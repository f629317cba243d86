//! What is said to the broker, and what happens without one.

use super::Agent;
use crate::meters;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{FromEdge, ImagesWanted, SessionReport};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::limits::{ASSETS_WANTED_MAX, IMAGES_WANTED_MAX, WARM_WANTED_MAX};
use nearlight_protocol::unit::U64;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The way to the broker.
pub(super) enum Link {
    /// The queue of the stream that is up.
    Up(mpsc::Sender<FromEdge>),
    /// There is none, and since when.
    Down { since: Instant },
}

impl Agent {
    /// On a fresh stream: everything that the broker should know.
    pub(super) fn introduce(&mut self) {
        self.say_inventory();
        self.tell_ended_samples();
        // The ends first: a session that is not among the running ones would be taken for lost.
        for message in self.board.ended() {
            self.say(message);
        }
        self.show_running();
        for message in self.board.live() {
            self.say(message);
        }
        if self.draining {
            self.say(FromEdge::Draining);
        }
        if let Some(ready) = self.ready.take() {
            // Whoever started us may have stopped listening.
            let _ = ready.send(());
        }
    }

    pub(super) fn say_inventory(&mut self) {
        let inventory = self.inventory.describe(&self.identity, &self.journal);
        self.say(FromEdge::Inventory(inventory));
    }

    pub(super) fn post(&mut self, session: &SessionId, epoch: U64, event: SessionReport) {
        let message = self.board.post(session, epoch, event);
        self.say(message);
    }

    /// Says something if a stream is up. One that does not keep up is dropped: the next one begins
    /// with the newest state of everything.
    pub(super) fn say(&mut self, message: FromEdge) {
        let Link::Up(out) = &self.link else { return };
        let is_used = matches!(
            &message,
            FromEdge::Report {
                event: SessionReport::Used { .. },
                ..
            }
        );
        let is_sample = matches!(
            &message,
            FromEdge::Measured(_) | FromEdge::Countersigned { .. }
        );
        // A broker of before would close the stream.
        if is_used && !self.broker_knows_used || is_sample && !self.broker_knows_quality {
            return;
        }
        match out.try_send(message) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                tracing::warn!("the control stream is behind; closing it");
                self.link_down();
            }
            Err(mpsc::error::TrySendError::Closed(_)) => self.link_down(),
        }
    }

    pub(super) fn link_down(&mut self) {
        if matches!(self.link, Link::Up(_)) {
            self.link = Link::Down {
                since: Instant::now(),
            };
            meters::control_attached(false);
        }
    }

    pub(super) fn give_up_on_broker(&mut self) {
        tracing::warn!(
            grace_s = self.grace.as_secs(),
            sessions = self.sessions.len(),
            "no broker for the grace time; ending all sessions"
        );
        self.stop_all(EndReason::NodeLost);
        // Begins anew: sessions that are adopted or started later have a grace time of their own.
        self.link = Link::Down {
            since: Instant::now(),
        };
    }
}

/// What a broker may want; more is a mistake of its.
pub(super) fn bounded(mut wanted: ImagesWanted) -> ImagesWanted {
    wanted.pull.truncate(IMAGES_WANTED_MAX);
    wanted.keep.truncate(IMAGES_WANTED_MAX);
    wanted.warm.truncate(WARM_WANTED_MAX);
    wanted.assets.truncate(ASSETS_WANTED_MAX);
    wanted
}
