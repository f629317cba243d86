//! Watch links that hold: who may watch which session, and when that is over.
//!
//! ```text
//!   owner of a session --add, revoke--> ledger, then WatchLinks --EndWatch--> edge
//!   viewer --secret--> find --> relay --> still there? --> answer
//!                                  a timer --expired--> EndWatch
//! ```
//!
//! **Owns** the links that hold, in memory; the ledger has every link, also those that are over.
//!
//! **Invariants.**
//! - A link is here only after it is in the ledger, and it is gone from here before anyone is told
//!   that it is over.
//! - Whoever came in while a link ended is let go: an offer is answered only if the link still holds
//!   then, and an edge that attaches is shown, in one step, every link that does.
//! - If the ledger cannot say whether a link was revoked, it is over here: nobody watches by doubt.
//! - Bounded: as many links a session as the ledger lets in, as many viewers a link as
//!   [`VIEWERS_REMEMBERED_MAX`].
//!
//! **What it does not know:** HTTP, SDP, how edges let viewers go.

use crate::control::Stream;
use crate::ledger::{CredentialHash, Ledger, StoreError, WatchLinkRow};
use crate::sessions::Directory;
use crate::time::Clock;
use nearlight_protocol::api::WatchLink;
use nearlight_protocol::control::{SessionWatchLinks, ToEdge};
use nearlight_protocol::id::{AttachmentId, SessionId, WatchLinkId};
use nearlight_protocol::unit::UnixMillis;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Viewers of one link that can still trickle candidates and leave by request. The others' edge
/// finds out that they left when nothing comes from them any more.
const VIEWERS_REMEMBERED_MAX: usize = 64;

/// The links that hold.
#[derive(Debug, Default)]
pub(crate) struct WatchLinks {
    /// Held for look-ups and for queueing a message, never across an await.
    state: Mutex<State>,
    /// A link came that may be the next to expire.
    added: Notify,
}

#[derive(Debug, Default)]
struct State {
    by_hash: HashMap<CredentialHash, Held>,
    by_session: HashMap<SessionId, BTreeSet<CredentialHash>>,
    expiries: BTreeSet<(UnixMillis, CredentialHash)>,
}

#[derive(Debug)]
struct Held {
    row: WatchLinkRow,
    /// Newest last.
    viewers: VecDeque<AttachmentId>,
}

impl WatchLinks {
    /// The links that hold, as the ledger has them.
    pub(crate) async fn open(ledger: &Arc<dyn Ledger>, clock: Clock) -> Result<Self, StoreError> {
        Ok(Self::holding(ledger.watch_links(clock.unix_ms()).await?))
    }

    fn holding(rows: Vec<WatchLinkRow>) -> Self {
        let links = Self::default();
        for row in rows {
            links.add(row);
        }
        links
    }

    /// Takes a link that the ledger has.
    pub(crate) fn add(&self, row: WatchLinkRow) {
        self.lock().add(row);
        self.added.notify_one();
    }

    /// The link of a secret, if it holds.
    pub(crate) fn find(&self, hash: &CredentialHash, now_ms: UnixMillis) -> Option<WatchLinkRow> {
        let state = self.lock();
        let held = state.by_hash.get(hash)?;
        (held.row.expires_ms > now_ms).then(|| held.row.clone())
    }

    /// The links of a session that hold, oldest first.
    pub(crate) fn list(&self, session: &SessionId, now_ms: UnixMillis) -> Vec<WatchLink> {
        let state = self.lock();
        let mut links: Vec<WatchLink> = state
            .of(session)
            .filter(|held| held.row.expires_ms > now_ms)
            .map(|held| WatchLink {
                id: held.row.id.clone(),
                created_unix_ms: held.row.created_ms,
                expires_unix_ms: held.row.expires_ms,
            })
            .collect();
        links.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        links
    }

    /// Remembers that the edge let a viewer in; `false` if the link ended meanwhile.
    pub(crate) fn let_in(&self, hash: &CredentialHash, viewer: AttachmentId) -> bool {
        let mut state = self.lock();
        let Some(held) = state.by_hash.get_mut(hash) else {
            return false;
        };
        if held.viewers.len() == VIEWERS_REMEMBERED_MAX {
            held.viewers.pop_front();
        }
        held.viewers.push_back(viewer);
        true
    }

    /// Whether this viewer came on this link.
    pub(crate) fn came_on(&self, hash: &CredentialHash, viewer: &AttachmentId) -> bool {
        let state = self.lock();
        let held = state.by_hash.get(hash);
        held.is_some_and(|held| held.viewers.contains(viewer))
    }

    /// Ends a link. Its session's edge is told through `stream`, if there is one.
    pub(crate) fn end(&self, session: &SessionId, link: &WatchLinkId, stream: Option<&Stream>) {
        let mut state = self.lock();
        let hash = state.of(session).find(|held| held.row.id == *link);
        if let Some(hash) = hash.map(|held| held.row.hash) {
            state.remove(&hash);
        }
        if let Some(stream) = stream {
            stream.send(end_watch(session, link));
        }
    }

    /// Ends every link of a session that is over. Its edge lets everyone go by itself.
    pub(crate) fn session_over(&self, session: &SessionId) {
        let mut state = self.lock();
        for hash in state.by_session.remove(session).unwrap_or_default() {
            state.remove(&hash);
        }
    }

    /// Shows an edge that attached which links of its sessions hold.
    pub(crate) fn show(&self, sessions: Vec<SessionId>, stream: &Stream) {
        let state = self.lock();
        let sessions = sessions.into_iter().filter_map(|session| {
            let links: Vec<WatchLinkId> = state.of(&session).map(|h| h.row.id.clone()).collect();
            (!links.is_empty()).then_some(SessionWatchLinks { session, links })
        });
        // Within the lock: a link that is made later has its viewers after this message.
        stream.send(ToEdge::WatchLinks {
            sessions: sessions.collect(),
        });
    }

    /// Ends links whose time is over, until `stop`.
    pub(crate) async fn run(
        self: Arc<Self>,
        directory: Arc<Directory>,
        clock: Clock,
        stop: CancellationToken,
    ) {
        loop {
            let now_ms = clock.unix_ms();
            for row in self.lock().expired(now_ms) {
                tracing::debug!(session_id = %row.session, link = %row.id, "watch link expired");
                if let Some(stream) = directory.way_to(&row.session) {
                    stream.send(end_watch(&row.session, &row.id));
                }
            }
            let next = self.lock().expiries.first().map(|(at, _)| *at);
            let expiry = async {
                match next {
                    Some(at) => {
                        let wait = Duration::from_millis(at.saturating_sub(clock.unix_ms()));
                        tokio::time::sleep(wait).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = expiry => {}
                () = self.added.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The message that ends watching on a link.
pub(crate) fn end_watch(session: &SessionId, link: &WatchLinkId) -> ToEdge {
    ToEdge::EndWatch {
        session: session.clone(),
        link: link.clone(),
    }
}

impl State {
    fn add(&mut self, row: WatchLinkRow) {
        let of_session = self.by_session.entry(row.session.clone()).or_default();
        of_session.insert(row.hash);
        self.expiries.insert((row.expires_ms, row.hash));
        let viewers = VecDeque::new();
        self.by_hash.insert(row.hash, Held { row, viewers });
    }

    fn of(&self, session: &SessionId) -> impl Iterator<Item = &Held> {
        let hashes = self.by_session.get(session).into_iter().flatten();
        hashes.filter_map(|hash| self.by_hash.get(hash))
    }

    fn remove(&mut self, hash: &CredentialHash) -> Option<WatchLinkRow> {
        let row = self.by_hash.remove(hash)?.row;
        self.expiries.remove(&(row.expires_ms, *hash));
        if let Some(of_session) = self.by_session.get_mut(&row.session) {
            of_session.remove(hash);
            if of_session.is_empty() {
                self.by_session.remove(&row.session);
            }
        }
        Some(row)
    }

    /// Takes out those whose time is over.
    fn expired(&mut self, now_ms: UnixMillis) -> Vec<WatchLinkRow> {
        let due: Vec<CredentialHash> = self
            .expiries
            .iter()
            .take_while(|(at, _)| *at <= now_ms)
            .map(|(_, hash)| *hash)
            .collect();
        due.iter().filter_map(|hash| self.remove(hash)).collect()
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn session(n: u64) -> SessionId {
        SessionId::from_parts(n, [0; 10])
    }

    fn row(of: u64, n: u8, expires_ms: UnixMillis) -> WatchLinkRow {
        WatchLinkRow {
            id: WatchLinkId::from_parts(n.into(), [0; 10]),
            hash: [n; 32],
            session: session(of),
            created_ms: 0,
            expires_ms,
        }
    }

    #[test]
    fn a_link_holds_until_its_time_and_no_longer() {
        let links = WatchLinks::holding(vec![row(1, 1, 100), row(1, 2, 200)]);
        assert!(links.find(&[1; 32], 99).is_some());
        assert!(links.find(&[1; 32], 100).is_none(), "before the timer runs");
        assert_eq!(links.list(&session(1), 100).len(), 1);
        assert_eq!(links.lock().expired(100), [row(1, 1, 100)]);
        assert_eq!(links.lock().expired(100), []);
        assert!(!links.let_in(&[1; 32], AttachmentId::from_parts(1, [0; 10])));
    }

    #[test]
    fn a_viewer_belongs_to_the_link_that_it_came_on() {
        let links = WatchLinks::holding(vec![row(1, 1, 100), row(1, 2, 100)]);
        let viewer = |n| AttachmentId::from_parts(n, [0; 10]);
        assert!(links.let_in(&[1; 32], viewer(0)));
        assert!(links.came_on(&[1; 32], &viewer(0)));
        assert!(!links.came_on(&[2; 32], &viewer(0)));
        for n in 1..=VIEWERS_REMEMBERED_MAX as u64 {
            assert!(links.let_in(&[1; 32], viewer(n)));
        }
        assert!(
            !links.came_on(&[1; 32], &viewer(0)),
            "the oldest is forgotten"
        );
    }

    #[test]
    fn nothing_is_left_of_links_that_ended() {
        let links = WatchLinks::holding(vec![row(1, 1, 100), row(2, 2, 100), row(2, 3, 100)]);
        links.end(&session(2), &row(1, 1, 0).id, None);
        assert!(links.find(&[1; 32], 0).is_some(), "not that session's link");
        links.end(&session(1), &row(1, 1, 0).id, None);
        links.session_over(&session(2));
        let state = links.lock();
        assert!(state.by_hash.is_empty() && state.by_session.is_empty());
        assert!(state.expiries.is_empty());
    }
}
