//! Which watch links somebody may be watching on, so that what the broker could not say while no
//! stream was up is made good on the next one.
//!
//! **Invariant.** Bounded: the broker hands out so many links a session, and every end of one is
//! heard here, in person or by its absence from the links that hold.

use nearlight_protocol::control::SessionWatchLinks;
use nearlight_protocol::id::{SessionId, WatchLinkId};
use std::collections::{BTreeMap, BTreeSet};

/// The links on which offers came, of each session.
#[derive(Debug, Default)]
pub(super) struct Watched(BTreeMap<SessionId, BTreeSet<WatchLinkId>>);

impl Watched {
    /// Somebody asks to watch.
    pub(super) fn asked(&mut self, session: &SessionId, link: WatchLinkId) {
        self.0.entry(session.clone()).or_default().insert(link);
    }

    /// A link ended.
    pub(super) fn ended(&mut self, session: &SessionId, link: &WatchLinkId) {
        if let Some(links) = self.0.get_mut(session) {
            links.remove(link);
        }
    }

    /// A session is over.
    pub(super) fn forget(&mut self, session: &SessionId) {
        self.0.remove(session);
    }

    /// Keeps the links that hold, and returns those that ended meanwhile.
    pub(super) fn keep(&mut self, holding: &[SessionWatchLinks]) -> Vec<(SessionId, WatchLinkId)> {
        let holds = |session: &SessionId, link: &WatchLinkId| {
            let of_session = holding.iter().filter(|held| held.session == *session);
            of_session
                .flat_map(|held| &held.links)
                .any(|held| held == link)
        };
        let mut ended = Vec::new();
        for (session, links) in &mut self.0 {
            links.retain(|link| {
                let kept = holds(session, link);
                if !kept {
                    ended.push((session.clone(), link.clone()));
                }
                kept
            });
        }
        ended
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_is_not_among_those_that_hold_has_ended() {
        let session = |n| SessionId::from_parts(n, [0; 10]);
        let (one, two) = (session(1), session(2));
        let link = |n| WatchLinkId::from_parts(n, [0; 10]);
        let mut watched = Watched::default();
        for (session, n) in [(&one, 1), (&one, 2), (&one, 3), (&two, 4)] {
            watched.asked(session, link(n));
        }
        watched.ended(&one, &link(3));
        let shown = |session: &SessionId, links: &[u64]| SessionWatchLinks {
            session: session.clone(),
            links: links.iter().map(|n| link(*n)).collect(),
        };
        // The link of one session does not hold for another.
        let holding = [shown(&one, &[2, 4])];
        let ended = watched.keep(&holding);
        assert_eq!(ended, [(one.clone(), link(1)), (two.clone(), link(4))]);
        assert_eq!(watched.keep(&holding), [], "once is enough");
        watched.forget(&one);
        assert_eq!(watched.keep(&[]), []);
    }
}
