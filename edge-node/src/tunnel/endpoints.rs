//! Which session has which ports, and where; and who answers about the inside of its container.
//!
//! Ports are open while the job is ready, the inside for as long as there is a container: a job that does not get
//! healthy has a log all the same. A session's tunnels stay while it has either.
//!
//! **Invariants.** What was closed answers nothing more, and what is under way to it is cut. Connections to
//! a container belong to its port here, and go with it.

use super::containers::{Containers, containers};
use super::inside::{Entered, Inside};
use super::serve::FINISH_WITHIN;
use nearlight_kit::problem::ProblemResponse;
use nearlight_kit::room::{Addresses, Counted};
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::job::PortAccess;
use nearlight_protocol::problem::ProblemType;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Requests to one port at a time, of all brokers: a container that hangs must not hold memory of
/// ours without a bound.
const REQUESTS_MAX: usize = 512;
/// Of them those of one address that nobody knows and that reached this node itself; a broker has a share of its own.
const STRANGER_MAX: usize = 128;
/// And those of all of them together: what is left is for who has a ticket.
const STRANGERS_MAX: usize = REQUESTS_MAX / 4 * 3;

/// The table of endpoints.
#[derive(Debug)]
pub struct Endpoints {
    shutdown: Shutdown,
    /// Held for a look-up, never across an await.
    open: RwLock<HashMap<SessionId, Entry>>,
}

/// What there is of a session. Without either it is not in the table.
#[derive(Debug, Default)]
struct Entry {
    ports: Option<Arc<Opened>>,
    inside: Option<Arc<Entered>>,
    /// Cancelled once there is neither.
    here: CancellationToken,
}

/// The endpoint of a session.
#[derive(Debug)]
pub(super) struct Opened {
    /// The epoch that it runs under; `None` where any will do.
    pub(super) epoch: Option<u64>,
    pub(super) ports: Vec<PortAt>,
    /// Counts up with what moves.
    pub(super) seen: AtomicU64,
    pub(super) closed: CancellationToken,
    /// For what is under way, once it is closed; set by then.
    finish: OnceLock<Duration>,
}

/// A port.
#[derive(Debug)]
pub(super) struct PortAt {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) access: PortAccess,
    pub(super) containers: Containers,
    places: Arc<Semaphore>,
    /// Of them those of callers whom nobody knows, and of each of their addresses.
    strangers: Arc<Semaphore>,
    addresses: Addresses,
}

/// A request's place at a port, and among those of its address.
#[derive(Debug)]
pub(super) struct Place {
    _port: OwnedSemaphorePermit,
    _stranger: Option<(OwnedSemaphorePermit, Counted)>,
}

/// Why a request has no way to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Missing {
    /// The session is not here.
    #[error("the session is not on this node")]
    Session,
    /// It runs under another epoch.
    #[error("the session was started again")]
    Epoch,
    /// It has no such port, or none for callers.
    #[error("the session has no such port")]
    Port,
}

impl Endpoints {
    /// Nothing is open. Connections to containers are tasks of `shutdown`.
    pub fn new(shutdown: Shutdown) -> Self {
        Self {
            shutdown,
            open: RwLock::default(),
        }
    }

    /// Opens a session's endpoint, whatever epoch a request names: its ports, the first one first.
    /// Closes a former one.
    pub fn open(&self, session: SessionId, ports: Vec<(String, SocketAddr, PortAccess)>) {
        self.put(session, None, ports);
    }

    /// As [`Endpoints::open`], for requests that name `epoch`.
    pub fn open_at(
        &self,
        (session, epoch): (SessionId, u64),
        ports: Vec<(String, SocketAddr, PortAccess)>,
    ) {
        self.put(session, Some(epoch), ports);
    }

    fn put(
        &self,
        session: SessionId,
        epoch: Option<u64>,
        ports: Vec<(String, SocketAddr, PortAccess)>,
    ) {
        let ports = ports.into_iter().map(|(name, address, access)| PortAt {
            name,
            address,
            access,
            containers: containers(&self.shutdown),
            places: Arc::new(Semaphore::new(REQUESTS_MAX)),
            strangers: Arc::new(Semaphore::new(STRANGERS_MAX)),
            addresses: Addresses::new(STRANGER_MAX),
        });
        let opened = Opened {
            epoch,
            ports: ports.collect(),
            seen: AtomicU64::new(0),
            closed: CancellationToken::new(),
            finish: OnceLock::new(),
        };
        let mut open = self.write();
        let entry = open.entry(session).or_default();
        if let Some(former) = entry.ports.replace(Arc::new(opened)) {
            former.closed.cancel();
        }
    }

    /// Has `inside` answer about the container of a session, under `epoch`. In place of a former one.
    pub(crate) fn enter(&self, at: (SessionId, u64), inside: Arc<dyn Inside>) {
        self.enter_as(at, inside);
    }

    /// The same; what is returned is for [`Endpoints::leave_as`].
    pub(super) fn enter_as(
        &self,
        (session, epoch): (SessionId, u64),
        inside: Arc<dyn Inside>,
    ) -> Arc<Entered> {
        let mut open = self.write();
        let entry = open.entry(session).or_default();
        let entered = Arc::new(Entered::new(epoch, inside));
        if let Some(former) = entry.inside.replace(entered.clone()) {
            former.closed.cancel();
        }
        entered
    }

    /// [`Endpoints::leave`], unless somebody else has entered since.
    pub(super) fn leave_as(&self, session: &SessionId, entered: &Arc<Entered>) {
        let is_same = self
            .inside(session)
            .is_some_and(|of| Arc::ptr_eq(&of, entered));
        if is_same {
            self.leave(session);
        }
    }

    /// Nobody answers about a session's container any more: what is under way there is cut.
    pub(crate) fn leave(&self, session: &SessionId) {
        self.take(session, |entry| {
            entry.inside.take().map(|of| of.closed.clone())
        });
    }

    /// Takes something out of a session's entry, and the entry with the last of it.
    fn take(
        &self,
        session: &SessionId,
        take: impl FnOnce(&mut Entry) -> Option<CancellationToken>,
    ) {
        let mut open = self.write();
        let Some(entry) = open.get_mut(session) else {
            return;
        };
        if let Some(closed) = take(entry) {
            closed.cancel();
        }
        if entry.ports.is_none() && entry.inside.is_none() {
            entry.here.cancel();
            open.remove(session);
        }
    }

    /// Closes a session's endpoint, if it has one: what is under way is cut after [`FINISH_WITHIN`].
    pub fn close(&self, session: &SessionId) {
        self.close_within(session, FINISH_WITHIN);
    }

    /// The same, with `finish` for what is under way.
    pub(crate) fn close_within(&self, session: &SessionId, finish: Duration) {
        self.take(session, |entry| {
            let opened = entry.ports.take()?;
            opened.finish.get_or_init(|| finish);
            Some(opened.closed.clone())
        });
    }

    /// Whether a session's endpoint is open.
    pub fn is_open(&self, session: &SessionId) -> bool {
        self.get(session).is_some()
    }

    /// Grows while something moves through a session's endpoint: requests, pieces of bodies either way, and what
    /// commands in its container say and are told. 0 without either.
    pub fn seen(&self, session: &SessionId) -> u64 {
        let open = self.read();
        let Some(entry) = open.get(session) else {
            return 0;
        };
        let ports = entry.ports.as_ref().map(|of| &of.seen);
        let inside = entry.inside.as_ref().map(|of| &of.seen);
        let all = ports.into_iter().chain(inside);
        all.map(|seen| seen.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn get(&self, session: &SessionId) -> Option<Arc<Opened>> {
        self.read().get(session)?.ports.clone()
    }

    pub(super) fn inside(&self, session: &SessionId) -> Option<Arc<Entered>> {
        self.read().get(session)?.inside.clone()
    }

    /// Cancelled once the session is not here any more; `None` if it is not.
    pub(super) fn here(&self, session: &SessionId) -> Option<CancellationToken> {
        self.read().get(session).map(|entry| entry.here.clone())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<SessionId, Entry>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<SessionId, Entry>> {
        self.open.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    /// What is under way has so long once it is closed.
    pub(super) fn finish(&self) -> Duration {
        self.finish.get().copied().unwrap_or(FINISH_WITHIN)
    }

    /// The port of a request that names `epoch`; without a name the first one.
    pub(super) fn port(&self, epoch: Option<u64>, name: &str) -> Result<&PortAt, Missing> {
        if self.epoch.is_some() && self.epoch != epoch {
            return Err(Missing::Epoch);
        }
        self.named(name)
    }

    /// The port of this name, under whatever epoch runs; without a name the first one.
    pub(super) fn named(&self, name: &str) -> Result<&PortAt, Missing> {
        let found = match name {
            "" => self.ports.first(),
            name => self.ports.iter().find(|port| port.name == name),
        };
        // Replicas reach each other on a network of their own, callers never.
        let found = found.filter(|port| port.access != PortAccess::Cluster);
        found.ok_or(Missing::Port)
    }
}

impl PortAt {
    /// Room for one more request, and for the stranger who asks.
    pub(super) fn place(&self, stranger: Option<IpAddr>) -> Result<Place, ProblemResponse> {
        let port = self.places.clone().try_acquire_owned();
        let full = "The job has as many requests under way as its node allows. Come back in 1 s.";
        let port = port.map_err(|_| crowded(full))?;
        let stranger = stranger.map(|address| {
            let address = self.addresses.count(address).ok_or_else(|| {
                crowded(
                    "Your address has as many requests under way at this job as one may have without a ticket. \
                     Come back in 1 s.",
                )
            })?;
            let any = self.strangers.clone().try_acquire_owned();
            Ok::<_, ProblemResponse>((any.map_err(|_| crowded(full))?, address))
        });
        Ok(Place {
            _port: port,
            _stranger: stranger.transpose()?,
        })
    }
}

fn crowded(detail: &str) -> ProblemResponse {
    ProblemResponse::new(ProblemType::TooManyRequests, detail).retry_after_s(1)
}

#[cfg(test)]
mod test {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn session() -> SessionId {
        SessionId::from_parts(1, [0; 10])
    }

    fn table() -> Endpoints {
        let table = Endpoints::new(Shutdown::new());
        let ports = vec![
            ("api".to_owned(), at(1), PortAccess::Ticket),
            ("page".to_owned(), at(2), PortAccess::Public),
            ("rendezvous".to_owned(), at(3), PortAccess::Cluster),
        ];
        table.open_at((session(), 7), ports);
        table
    }

    #[test]
    fn a_request_gets_the_port_that_it_names_under_the_epoch_that_runs() {
        let opened = table().get(&session()).unwrap();
        let check = |epoch, name, expected: Result<u16, Missing>| {
            let found = opened.port(epoch, name).map(|port| port.address.port());
            assert_eq!(found, expected, "{epoch:?} {name}");
        };
        check(Some(7), "", Ok(1));
        check(Some(7), "api", Ok(1));
        check(Some(7), "page", Ok(2));
        check(Some(7), "other", Err(Missing::Port));
        check(Some(7), "rendezvous", Err(Missing::Port));
        check(Some(6), "", Err(Missing::Epoch));
        check(None, "", Err(Missing::Epoch));
    }

    #[test]
    fn a_stranger_has_a_share_of_a_ports_requests() {
        let opened = table().get(&session()).unwrap();
        let port = opened.named("page").unwrap();
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let held: Vec<Place> = (0..STRANGER_MAX)
            .map(|_| port.place(Some(one)).unwrap())
            .collect();
        assert!(port.place(Some(one)).is_err());
        assert!(port.place(Some(other)).is_ok());
        assert!(port.place(None).is_ok(), "who has a ticket is no stranger");
        drop(held);
        assert!(port.place(Some(one)).is_ok());
    }

    #[test]
    fn strangers_together_leave_room_for_who_has_a_ticket() {
        let opened = table().get(&session()).unwrap();
        let port = opened.named("page").unwrap();
        let hosts = (0..u16::MAX).map(|n| {
            let [high, low] = n.to_be_bytes();
            IpAddr::from([198, 18, high, low])
        });
        let held: Vec<Place> = hosts
            .map_while(|host| port.place(Some(host)).ok())
            .collect();
        assert_eq!(held.len(), STRANGERS_MAX);
        assert!(port.place(None).is_ok());
    }

    #[test]
    fn what_is_closed_or_replaced_is_cut() {
        let table = table();
        let first = table.get(&session()).unwrap();
        table.open(
            session(),
            vec![("api".to_owned(), at(9), PortAccess::Ticket)],
        );
        assert!(first.closed.is_cancelled());
        let second = table.get(&session()).unwrap();
        assert_eq!(second.port(None, "").unwrap().address, at(9));
        assert!(!second.closed.is_cancelled());
        table.close(&session());
        assert!(second.closed.is_cancelled());
        assert!(!table.is_open(&session()));
        assert_eq!(table.seen(&session()), 0);
    }
}
