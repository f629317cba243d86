//! What brokers tell each other of their nodes, as lines of JSON on a response that does not end.
//!
//! The [`Hub`] keeps what the owner published last of each node, under a version that only rises. A
//! peer that connects gets all of it, then whatever has a newer version: nothing is queued for a peer,
//! and one that reads slowly skips what is old.

use super::{AT_HAND, PeerClient, PeerError, PeerEvent};
use crate::fleet::{Changed, ChangedView};
use crate::ledger::BrokerId;
use crate::nearness::Shown;
use crate::sessions::Occupancy;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use nearlight_placement::NodeView;
use nearlight_protocol::api::Node;
use nearlight_protocol::id::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Where a peer's feed is.
pub(crate) const FLEET_PATH: &str = "/peer/v1/fleet";
/// Nodes of one line.
const LINE_NODES: usize = 200;
/// What nodes of one line take together; the one that goes beyond it is its last. A node lists the images that it has:
/// of most that is little, and of one as much as a message on its control channel holds.
const LINE_BYTES: usize = 1024 * 1024;
/// Longest line that is taken: [`LINE_BYTES`], a node, what runs here, and room to spare.
const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A line comes at least so often.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// Silence after which a feed is given up.
const SILENT_AFTER: Duration = Duration::from_secs(5);
/// Between two attempts to follow a peer.
const RETRY: Duration = Duration::from_secs(1);

/// A node of a peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shared {
    /// As everyone may see it.
    pub(crate) node: Node,
    /// As placement sees it.
    pub(crate) view: NodeView,
}

/// What has changed of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Item {
    /// It is so.
    Is(Box<Shared>),
    /// It is another broker's.
    Left(NodeId),
}

/// An item that is told, and is the hub's, too.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Told<'a> {
    /// As [`Item::Is`].
    Is(&'a Shared),
    /// As [`Item::Left`].
    Left(&'a NodeId),
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
struct Line<N> {
    /// Nodes that have changed.
    nodes: Vec<N>,
    /// Sessions that wait here.
    waiting: u32,
    /// What runs here, if that has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    busy: Option<Occupancy>,
    /// Round trips that its nodes' streams showed, if there are newer ones. A batch that a slow peer misses
    /// is made up by the streams' next ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rtts: Vec<Shown>,
}

/// What this broker tells its peers.
#[derive(Debug)]
pub(crate) struct Hub {
    /// Held for look-ups and for taking in what has changed.
    state: Mutex<State>,
    news: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    waiting: u32,
    /// What runs here, and the version that brought it.
    busy: (u64, Occupancy),
    /// The last round trips that streams showed, and the version that brought them.
    rtts: (u64, Vec<Shown>),
    nodes: HashMap<NodeId, (u64, Option<Arc<Shared>>)>,
    by_version: BTreeMap<u64, NodeId>,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            news: watch::Sender::new(0),
        }
    }
}

impl Hub {
    /// Takes in nodes that have changed, and how many sessions wait.
    pub(crate) fn publish(&self, changed: &[Changed], waiting: usize) {
        let mut state = self.lock();
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        if changed.is_empty() && state.waiting == waiting {
            return;
        }
        state.waiting = waiting;
        state.version += 1;
        for Changed { node, view } in changed {
            let view = match view {
                ChangedView::Whole(view) => Some((**view).clone()),
                ChangedView::State(new) => state.view(&node.id).map(|view| NodeView {
                    state: new.clone(),
                    ..view.clone()
                }),
            };
            if let Some(view) = view {
                let node = (**node).clone();
                state.put(node.id.clone(), Some(Arc::new(Shared { node, view })));
            }
        }
        self.news.send_replace(state.version);
    }

    /// Takes in what runs here.
    pub(crate) fn publish_busy(&self, busy: Occupancy) {
        let mut state = self.lock();
        if state.busy.1 == busy {
            return;
        }
        state.version += 1;
        state.busy = (state.version, busy);
        self.news.send_replace(state.version);
    }

    /// Takes in round trips that streams showed.
    pub(crate) fn publish_rtts(&self, rtts: Vec<Shown>) {
        if rtts.is_empty() {
            return;
        }
        let mut state = self.lock();
        state.version += 1;
        state.rtts = (state.version, rtts);
        self.news.send_replace(state.version);
    }

    /// A node is another broker's now.
    pub(crate) fn left(&self, node: &NodeId) {
        let mut state = self.lock();
        if state.nodes.contains_key(node) {
            state.put(node.clone(), None);
            self.news.send_replace(state.version);
        }
    }

    /// No node is known any more: the ledger is read again.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        let ids: Vec<NodeId> = state.nodes.keys().cloned().collect();
        for id in ids {
            state.put(id, None);
        }
        self.news.send_replace(state.version);
    }

    /// The lines for a peer, until `stop`.
    pub(crate) fn lines(
        self: Arc<Self>,
        stop: CancellationToken,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> {
        let news = self.news.subscribe();
        stream::unfold(
            (self, news, None, stop),
            async |(hub, mut news, seen, stop)| {
                let from = match seen {
                    None => 0,
                    Some(seen) => {
                        if *news.borrow_and_update() <= seen {
                            tokio::select! {
                                _ = tokio::time::timeout(LINE_EVERY, news.changed()) => {}
                                () = stop.cancelled() => return None,
                            }
                        }
                        seen
                    }
                };
                let (line, seen) = hub.since(from).line();
                Some((Ok(Bytes::from(line)), (hub, news, Some(seen), stop)))
            },
        )
    }

    /// What is newer than `version`, as many nodes as a line takes.
    fn since(&self, version: u64) -> News {
        let state = self.lock();
        let newer = state.by_version.range(version + 1..).take(LINE_NODES);
        let shared = |id| state.nodes.get(id).and_then(|(_, shared)| shared.clone());
        News {
            after: version,
            nodes: newer
                .map(|(version, id)| (*version, id.clone(), shared(id)))
                .collect(),
            newest: state.version,
            waiting: state.waiting,
            busy: state.busy.clone(),
            rtts: state.rtts.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a peer is told next: taken out under the hub's lock, and written without it.
struct News {
    /// What the peer has seen.
    after: u64,
    nodes: Vec<(u64, NodeId, Option<Arc<Shared>>)>,
    newest: u64,
    waiting: u32,
    busy: (u64, Occupancy),
    rtts: (u64, Vec<Shown>),
}

impl News {
    /// As much of it as a line takes, and the version that it brings.
    fn line(&self) -> (Vec<u8>, u64) {
        let (mut nodes, mut bytes) = (Vec::new(), 0);
        for (_, id, shared) in &self.nodes {
            let told = match shared {
                Some(shared) => Told::Is(shared),
                None => Told::Left(id),
            };
            bytes += text_of(&told).len();
            nodes.push(told);
            if bytes > LINE_BYTES {
                break;
            }
        }
        let is_whole = nodes.len() == self.nodes.len() && nodes.len() < LINE_NODES;
        let last = nodes.len().checked_sub(1).map(|last| self.nodes[last].0);
        let seen = last.filter(|_| !is_whole).unwrap_or(self.newest);
        // With the last line of a batch: what a peer has seen then has it, too.
        let is_new = |since: u64| since > self.after && since <= seen;
        let line = Line {
            nodes,
            waiting: self.waiting,
            busy: is_new(self.busy.0).then(|| self.busy.1.clone()),
            rtts: match is_new(self.rtts.0) {
                true => self.rtts.1.clone(),
                false => Vec::new(),
            },
        };
        let mut text = text_of(&line);
        text.push(b'\n');
        (text, seen)
    }
}

fn text_of(what: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(what).expect("nodes are strings and numbers")
}

impl State {
    fn view(&self, node: &NodeId) -> Option<&NodeView> {
        let (_, shared) = self.nodes.get(node)?;
        shared.as_ref().map(|shared| &shared.view)
    }

    /// Each node has a version of its own, so that a line can stop between any two.
    fn put(&mut self, id: NodeId, shared: Option<Arc<Shared>>) {
        self.version += 1;
        if let Some((old, _)) = self.nodes.insert(id.clone(), (self.version, shared)) {
            self.by_version.remove(&old);
        }
        self.by_version.insert(self.version, id);
    }
}

/// Tells the owner what a peer says of its nodes, until `stop`.
pub(super) async fn follow(
    client: PeerClient,
    (peer, address): (BrokerId, String),
    events: mpsc::Sender<PeerEvent>,
    stop: CancellationToken,
) {
    loop {
        let followed = tokio::select! {
            followed = follow_once(&client, &peer, &address, &events) => followed,
            () = stop.cancelled() => Ok(()),
        };
        if let Err(error) = followed {
            tracing::info!(%peer, address, error = &error as &dyn std::error::Error,
                "a peer's nodes are not known");
        }
        if events.send(PeerEvent::Silent(peer.clone())).await.is_err() || stop.is_cancelled() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Why a peer is not followed any more.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("the peer refuses: {0}")]
    Refused(StatusCode),
    #[error("the connection broke off")]
    Broken(#[from] axum::Error),
    #[error("the peer is silent")]
    Silent,
    #[error("a line is too long")]
    TooLong,
    #[error("a line cannot be read")]
    Line(#[from] serde_json::Error),
}

async fn follow_once(
    client: &PeerClient,
    peer: &BrokerId,
    address: &str,
    events: &mpsc::Sender<PeerEvent>,
) -> Result<(), FeedError> {
    let answer = client
        .ask(address, FLEET_PATH, Request::new(Body::empty()), AT_HAND)
        .await?;
    if answer.status() != StatusCode::OK {
        return Err(FeedError::Refused(answer.status()));
    }
    let mut body = Body::new(answer.into_body()).into_data_stream();
    let mut buffer: Vec<u8> = Vec::new();
    let mut fresh = true;
    loop {
        let next = tokio::time::timeout(SILENT_AFTER, body.next()).await;
        let Some(chunk) = next.map_err(|_| FeedError::Silent)? else {
            return Ok(());
        };
        buffer.extend_from_slice(&chunk?);
        while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
            let line: Line<Item> = serde_json::from_slice(&buffer[..end])?;
            buffer.drain(..=end);
            let event = PeerEvent::Nodes {
                peer: peer.clone(),
                fresh: std::mem::take(&mut fresh),
                items: line.nodes,
                waiting: line.waiting,
                busy: line.busy,
                rtts: line.rtts,
            };
            if events.send(event).await.is_err() {
                return Ok(());
            }
        }
        if buffer.len() > LINE_BYTES_MAX {
            return Err(FeedError::TooLong);
        }
    }
}

#[cfg(test)]
mod test;
