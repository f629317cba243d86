//! What concerns all streams at once: the node's uplink, and how each stream goes.
//!
//! Four times a second the uplink is divided among everybody who is sent a picture, and the agent
//! hears what it was measured to carry; once a second each player is told how the stream goes.

use super::Reactor;
use crate::event::Event;
use crate::limits::{SHARE_INTERVAL, UPLINK_NEWS_INTERVAL};
use crate::routes::AttachmentKey;
use crate::session::Session;
use nearlight_protocol::notice::{LimitedBy, Notice, StreamState};
use nearlight_protocol::worker::{Counters, DropReason};
use nearlight_stream::uplink::{Demand, Uplink};
use std::time::Instant;

/// Of the pictures that an app draws, the share that the encoder may not keep up with before the
/// node is said to be too slow: one in so many.
const BEHIND_ONE_IN: u64 = 20;

/// The division of the uplink, and room to work it out in.
pub(super) struct Sharing {
    uplink: Uplink,
    news: News,
    next: Instant,
    keys: Vec<AttachmentKey>,
    demands: Vec<Demand>,
    shares: Vec<Option<u32>>,
}

impl Sharing {
    pub(super) fn new(kbps: Option<u32>, now: Instant) -> Self {
        Self {
            uplink: Uplink::new(kbps),
            news: News { kbps, after: now },
            next: now,
            keys: Vec::new(),
            demands: Vec::new(),
            shares: Vec::new(),
        }
    }

    /// When the next division is due, if there is anybody.
    pub(super) fn deadline(&self, anybody: bool) -> Option<Instant> {
        anybody.then_some(self.next)
    }
}

/// What the agent was told that the uplink carries.
struct News {
    kbps: Option<u32>,
    /// When it may be told again.
    after: Instant,
}

impl News {
    /// Whether the agent has to hear of this: it came, it went, or it moved by more than a tenth.
    fn is_news(&mut self, kbps: Option<u32>, now: Instant) -> bool {
        let moved = match (self.kbps, kbps) {
            (Some(told), Some(kbps)) => told.abs_diff(kbps) > told / 10,
            (told, kbps) => told != kbps,
        };
        let news = moved && now >= self.after;
        if news {
            self.kbps = kbps;
            self.after = now + UPLINK_NEWS_INTERVAL;
        }
        news
    }
}

impl Reactor {
    pub(super) fn share_uplink(&mut self, now: Instant) {
        let sharing = &mut self.sharing;
        if now < sharing.next {
            return;
        }
        sharing.next = now + SHARE_INTERVAL;
        sharing.keys.clear();
        sharing.demands.clear();
        for (key, viewer) in &mut self.viewers {
            if let Some(demand) = viewer.attachment.demand(now) {
                sharing.keys.push(*key);
                sharing.demands.push(demand);
            }
        }
        let now_us = self.context.clock.micros(now);
        let (uplink, shares) = (&mut sharing.uplink, &mut sharing.shares);
        uplink.share(&sharing.demands, now_us, shares);
        let kbps = uplink.kbps();
        if sharing.news.is_news(kbps, now) {
            (self.events)(Event::Uplink { kbps });
        }
        for (key, share) in sharing.keys.iter().zip(shares) {
            if let Some(viewer) = self.viewers.get_mut(key) {
                viewer.attachment.set_uplink(*share);
            }
        }
    }

    /// Tells every player how the stream goes, and the totals and metrics.
    pub(super) fn tell_streams(&mut self) {
        let mut notices = Vec::new();
        let now_us = self.context.clock.now_us();
        for (key, session) in &mut self.sessions {
            let player = session.current.and_then(|key| self.viewers.get(&key));
            let player = player.filter(|viewer| viewer.attachment.is_connected());
            session.counters.flow = player.map_or_else(Default::default, |player| {
                let gauges = player.attachment.gauges();
                self.meters.flow(&gauges);
                gauges
            });
            if player.is_some() {
                let now = &session.worker_counters;
                let size = [now.encoded_width, now.encoded_height];
                let rtt_us = session.counters.flow.rtt_us;
                session.measure.second(now_us, rtt_us, (size, &now.encoder));
            }
            if let Some(player) = player {
                let stream = complete(player.attachment.stream_state(), session);
                let notice = Notice::Stream { stream };
                notices.extend(serde_json::to_string(&notice).ok().map(|json| (*key, json)));
            }
            session.told = session.worker_counters.clone();
        }
        for (key, json) in notices {
            self.say(key, json);
        }
    }
}

/// Adds what the worker knows of the picture.
fn complete(mut stream: StreamState, session: &Session) -> StreamState {
    let now = &session.worker_counters;
    if now.encoded_width > 0 {
        (stream.width, stream.height) = (now.encoded_width, now.encoded_height);
        stream.fps_max = now.fps_max;
    }
    stream.encoder.clone_from(&now.encoder);
    stream.marked = Some(now.marked);
    let unbound = matches!(stream.limited_by, LimitedBy::Nothing | LimitedBy::Operator);
    if unbound && is_behind(&session.told, now) {
        stream.limited_by = LimitedBy::Node;
    }
    stream
}

/// Whether the node did not keep up with the app over the last second.
fn is_behind(before: &Counters, now: &Counters) -> bool {
    let superseded = |counters: &Counters| {
        let count = counters.dropped.get(&DropReason::Superseded);
        count.copied().unwrap_or(0)
    };
    let drawn = now.committed.saturating_sub(before.committed);
    let missed = superseded(now).saturating_sub(superseded(before));
    drawn > 0 && missed * BEHIND_ONE_IN > drawn
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_agent_hears_of_what_changes_by_much_and_seldom() {
        let start = Instant::now();
        let at = |s| start + std::time::Duration::from_secs(s);
        let mut news = News {
            kbps: None,
            after: start,
        };
        assert!(!news.is_news(None, at(0)));
        assert!(news.is_news(Some(20_000), at(1)));
        assert!(!news.is_news(Some(10_000), at(10)), "too soon");
        assert!(!news.is_news(Some(21_900), at(20)), "too little");
        assert!(news.is_news(Some(22_100), at(20)));
        assert!(news.is_news(None, at(40)));
        let mut configured = News {
            kbps: Some(8_000),
            after: start,
        };
        assert!(!configured.is_news(Some(8_000), at(99)));
    }

    fn counters(committed: u64, superseded: u64) -> Counters {
        Counters {
            committed,
            dropped: [(DropReason::Superseded, superseded)].into(),
            ..Counters::default()
        }
    }

    #[test]
    fn a_node_is_behind_when_pictures_wait_in_vain() {
        let check = |committed: u64, superseded: u64, expected| {
            let after = counters(100 + committed, 7 + superseded);
            assert_eq!(is_behind(&counters(100, 7), &after), expected);
        };
        check(60, 0, false);
        check(60, 3, false);
        check(60, 4, true);
        check(0, 0, false);
    }
}
