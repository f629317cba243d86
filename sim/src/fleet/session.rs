//! One session, as its broker and its player know it.

use super::clock::SessionNo;
use super::demand::{Leaves, Visit};
use super::node::Takes;
use nearlight_protocol::id::{AttachmentId, SessionId, UserId};
use nearlight_protocol::unit::MonoTime;
use nearlight_session::queue::Eta;
use nearlight_session::{Lifecycle, Limits, Use};

/// Times of the built-in settings and of the catalogue's apps.
pub(crate) const LIMITS: Limits = Limits {
    used: Use::Played,
    queue_until: None,
    start_ms: 90_000,
    start_total_ms: 1_200_000,
    idle_ms: Some(900_000),
    max_ms: 14_400_000,
    grace_ms: 120_000,
    stop_ms: 60_000,
    node_grace_ms: 615_000,
    warn_ms: 60_000,
    runs_again: false,
    moves_left: 0,
    reclaim_at: None,
};

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) user: UserId,
    pub(crate) visit: Visit,
    pub(crate) life: Lifecycle,
    pub(crate) came_at: MonoTime,
    /// When it got its last slot.
    pub(crate) placed_at: Option<MonoTime>,
    /// Whether it was placed before: then it waits no longer for the first time.
    pub(crate) placed_before: bool,
    /// Where it runs, by number.
    pub(crate) node: Option<(usize, Takes)>,
    /// What it was told first in the queue, and when.
    pub(crate) told: Option<(MonoTime, Eta)>,
    /// When its deadline is looked at next.
    pub(crate) deadline: Option<MonoTime>,
    /// The player has gone for good.
    pub(crate) left: bool,
}

impl Session {
    pub(crate) fn new(number: SessionNo, visit: Visit, came_at: MonoTime) -> Self {
        Self {
            id: SessionId::from_parts(u64::from(number), [0; 10]),
            // One session a player; a tenant's members wait as players do.
            user: UserId::from_parts(u64::from(number), [1; 10]),
            visit,
            life: Lifecycle::new(LIMITS),
            came_at,
            placed_at: None,
            placed_before: false,
            node: None,
            told: None,
            deadline: None,
            left: false,
        }
    }

    /// Its only attachment.
    pub(crate) fn attachment(&self) -> AttachmentId {
        let body: u64 = self.came_at.0;
        AttachmentId::from_parts(body, [2; 10])
    }

    /// Whether its player sits at the keyboard.
    pub(crate) fn is_awake(&self) -> bool {
        !self.left && self.visit.leaves != Leaves::Idles
    }
}
