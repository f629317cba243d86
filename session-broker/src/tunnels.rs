//! Tunnels: HTTP/2 connections to the nodes of jobs, which nodes dial when they are asked to.
//!
//! ```text
//!   a request --no tunnel, or busy ones--> OpenTunnel on the control stream, an id waits
//!   node dials, shows certificate and id --same node, once--> taken --handshake, greeting--> in the pool
//!   in the pool --idle, broker drains--> out of it: what is under way finishes
//!        `--node revoked, session gone or elsewhere--> cut      `--GoAway, silence, reset--> out of it
//! ```
//!
//! Each session that is used has a pool of its own, of a few tunnels ([`pool`]). Whoever does not read
//! holds the windows of its own session, and no other tenant's; what a session can hold here is bounded by
//! its tunnels' windows.
//!
//! **Invariants.** An id is used once, by the node that it was made for, within seconds, at this broker.
//! A tunnel belongs to one session, node and epoch; when the session is elsewhere it is cut. A request that was
//! handed to a tunnel is not sent again.
//!
//! **What it does not know:** who may ask, what is asked.

mod cut;
mod life;
mod pool;
mod waiting;

use crate::enrol::Standings;
use crate::http::Peer;
use crate::ledger::Standing;
use crate::probes::Probes;
use crate::sessions::Directory;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::control::{OpenTunnel, ToEdge};
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_session::Epoch;
pub(crate) use pool::Busy;
use pool::{Next, Pool};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
pub(crate) use waiting::Socket;
use waiting::Waiting;

/// How long a request waits for a tunnel: the edge's dial, and our handshake.
const TUNNEL_WITHIN: Duration = Duration::from_secs(12);

/// Where a session runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) session: SessionId,
    pub(crate) node: NodeId,
    pub(crate) epoch: Epoch,
    /// Whether it is over: the node is asked for what it keeps of it, under whatever epoch it ran.
    pub(crate) ended: bool,
}

impl Place {
    /// The node that had a session last which is over.
    pub(crate) const fn of_ended(session: SessionId, node: NodeId) -> Self {
        Self {
            session,
            node,
            epoch: Epoch(0),
            ended: true,
        }
    }
}

/// Why a request did not get an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelError {
    /// The session has as many requests under way as it may.
    #[error("the session has too many requests under way")]
    Crowded,
    /// A stranger's address has as many under way as one may.
    #[error("the address has too many requests under way")]
    Share,
    /// The node's control stream is down, or it does not dial.
    #[error("there is no tunnel to the node")]
    Unreachable,
    /// The tunnel broke off after the request was on it.
    #[error("the tunnel broke off")]
    BrokeOff(#[source] hyper::Error),
}

/// The tunnels of this broker.
#[derive(Debug)]
pub(crate) struct Tunnels {
    waiting: Waiting,
    /// Held for a look-up, never across an await.
    pools: Mutex<HashMap<SessionId, Arc<Pool>>>,
    directory: Arc<Directory>,
    /// Probes are on tunnels, too.
    probes: Probes,
    standings: Arc<Standings>,
    /// Where nodes reach this very broker, if the address that they dial is shared.
    address: Option<String>,
    shutdown: Shutdown,
}

impl Tunnels {
    pub(crate) fn new(
        directory: Arc<Directory>,
        standings: Arc<Standings>,
        address: Option<String>,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            waiting: Waiting::default(),
            pools: Mutex::default(),
            directory,
            probes: Probes::default(),
            standings,
            address,
            shutdown,
        }
    }

    /// The probes that are under way.
    pub(crate) const fn probes(&self) -> &Probes {
        &self.probes
    }

    /// Takes a connection that came for a tunnel, from the node of `certified`.
    pub(crate) async fn take(&self, stream: Socket, certified: Option<NodeId>) {
        let certified = certified.filter(|node| !self.is_revoked(node));
        match self.waiting.take(stream, certified.as_ref()).await {
            Ok(()) => crate::metrics::control_stream("tunnel"),
            Err(error) => {
                crate::metrics::control_stream("no-tunnel");
                tracing::info!(node_id = ?certified, %error, "no tunnel");
            }
        }
    }

    /// Sends a request to the node, and returns the head of its answer; what is returned beside it is held
    /// until the body is through. `stranger` is who asks, where anybody may: an address has a share of the session's.
    pub(crate) async fn send(
        self: &Arc<Self>,
        place: &Place,
        stranger: Option<Peer>,
        request: Request<Body>,
    ) -> Result<(Response<Incoming>, Busy), TunnelError> {
        let pool = self.pool_of(place);
        let sent = self.send_by(&pool, stranger, request).await;
        if sent.is_err() {
            self.forget_unused(&pool);
        }
        sent
    }

    /// Whether a stranger's address has as many requests of the session under way as one may.
    pub(crate) fn is_share_used_up(&self, place: &Place, stranger: Peer) -> bool {
        let pool = self.pools().get(&place.session).cloned();
        pool.is_some_and(|pool| pool.is_share_used_up(stranger))
    }

    async fn send_by(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        stranger: Option<Peer>,
        mut request: Request<Body>,
    ) -> Result<(Response<Incoming>, Busy), TunnelError> {
        let admitted = pool.admit(stranger)?;
        let until = Instant::now() + TUNNEL_WITHIN;
        loop {
            let (mut tunnel, busy) = self.tunnel(pool, until).await?;
            match tunnel.sender.try_send_request(request).await {
                Ok(answer) => return Ok((answer, busy.with(admitted))),
                Err(mut error) => {
                    pool.remove(tunnel.number);
                    match error.take_message() {
                        // It never left.
                        Some(unsent) => request = unsent,
                        None => return Err(TunnelError::BrokeOff(error.into_error())),
                    }
                }
            }
        }
    }

    /// A tunnel with room, dialled if there is none.
    async fn tunnel(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        until: Instant,
    ) -> Result<(pool::Tunnel, Busy), TunnelError> {
        if self.is_revoked(&pool.place.node) {
            return Err(TunnelError::Unreachable);
        }
        loop {
            let mut changed = pool.changed();
            match pool.next() {
                Next::Use(tunnel, busy) => return Ok((tunnel, busy)),
                Next::UseAndDial(tunnel, busy) => {
                    // There is one; that a second one cannot be asked for is no failure of this request.
                    let _ = self.dial(pool);
                    return Ok((tunnel, busy));
                }
                Next::Dial => self.dial(pool)?,
                Next::Wait => {}
            }
            let waited = tokio::time::timeout_at(until, changed.changed()).await;
            if !matches!(waited, Ok(Ok(()))) {
                return Err(TunnelError::Unreachable);
            }
        }
    }

    /// Asks the node for a tunnel, for which the pool has counted one that is dialled.
    fn dial(self: &Arc<Self>, pool: &Arc<Pool>) -> Result<(), TunnelError> {
        let stream = self.directory.stream(&pool.place.node);
        let asked =
            stream.and_then(|stream| Some((stream, self.waiting.expect(&pool.place.node)?)));
        let Some((stream, expected)) = asked else {
            pool.not_dialled();
            return Err(TunnelError::Unreachable);
        };
        stream.send(ToEdge::OpenTunnel(OpenTunnel {
            tunnel: expected.id.clone(),
            session: pool.place.session.clone(),
            probe: self.probes.has(&pool.place, Instant::now()),
            ended: pool.place.ended,
            address: self.address.clone(),
        }));
        let (tunnels, pool) = (self.clone(), pool.clone());
        self.shutdown.spawn(async move {
            life::live(&tunnels, &pool, expected).await;
            tunnels.forget_unused(&pool);
        });
        Ok(())
    }

    fn is_revoked(&self, node: &NodeId) -> bool {
        self.standings.of(node).standing == Standing::Revoked
    }

    /// Whether a place is still where its session runs, or its probe goes on; of a session that is over, whether it
    /// still is.
    fn holds(&self, place: &Place) -> bool {
        if place.ended {
            return self.directory.place_of(&place.session).is_none();
        }
        self.directory.place_of(&place.session).as_ref() == Some(place)
            || self.probes.has(place, Instant::now())
    }

    fn pool_of(&self, place: &Place) -> Arc<Pool> {
        let mut pools = self.pools();
        let pool = pools
            .get(&place.session)
            .filter(|pool| pool.place == *place);
        if let Some(pool) = pool {
            return pool.clone();
        }
        let pool = Arc::new(Pool::new(place.clone()));
        // The former one's tunnels see by themselves that their session is elsewhere.
        pools.insert(place.session.clone(), pool.clone());
        pool
    }

    /// Whoever holds a pool beside the table and the caller still uses it.
    fn forget_unused(&self, pool: &Arc<Pool>) {
        let mut pools = self.pools();
        let is_same = pools
            .get(&pool.place.session)
            .is_some_and(|known| Arc::ptr_eq(known, pool));
        if is_same && pool.is_empty() && Arc::strong_count(pool) <= 2 {
            pools.remove(&pool.place.session);
        }
    }

    fn pools(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Arc<Pool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
