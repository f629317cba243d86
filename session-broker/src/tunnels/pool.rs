//! The tunnels of one session, and which of them takes the next request.
//!
//! **Invariant.** What is chosen is counted under the same lock, so that no tunnel is taken for idle that
//! was just chosen.

use super::{Place, TunnelError};
use crate::http::Peer;
use axum::body::Body;
use hyper::client::conn::http2::SendRequest;
use nearlight_kit::room::{Addresses, Counted};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Requests of one session under way at a time.
pub(super) const REQUESTS_MAX: usize = 256;
/// Of them those of one address that nobody knows: half, so that no one caller of a public port keeps out the rest.
const STRANGER_MAX: usize = REQUESTS_MAX / 2;
/// And those of all of them together: what is left is for who has a ticket, and for the owner's look inside.
const STRANGERS_MAX: usize = REQUESTS_MAX / 4 * 3;
/// Tunnels of one session.
const TUNNELS_MAX: usize = 6;
/// Requests on each tunnel before another one is asked for: they share its window, and a packet that
/// gets lost holds them all up.
const BUSY_WANTED: usize = 24;
/// Requests on one tunnel. Fewer than streams: one that was just reset may still count at the edge.
const BUSY_MAX: usize = 96;

// What a session may have under way fits on its tunnels, and on each one's streams.
const _: () = assert!(REQUESTS_MAX <= TUNNELS_MAX * BUSY_MAX);
const _: () = assert!(BUSY_MAX < nearlight_protocol::tunnel::STREAMS_MAX as usize);

/// The tunnels of one session at one place.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) place: Place,
    requests: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    addresses: Addresses,
    /// Held for a look-up, never across an await.
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    tunnels: Vec<Used>,
    dialling: usize,
    numbers: u64,
}

#[derive(Debug)]
struct Used {
    tunnel: Tunnel,
    busy: Arc<AtomicUsize>,
}

/// A tunnel.
#[derive(Clone, Debug)]
pub(super) struct Tunnel {
    pub(super) number: u64,
    pub(super) sender: SendRequest<Body>,
}

/// A request's place among those of its session, and of whoever asks.
#[derive(Debug)]
pub(super) struct Admitted {
    _session: OwnedSemaphorePermit,
    _stranger: Option<(OwnedSemaphorePermit, Counted)>,
}

/// A request that is under way on a tunnel, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Busy {
    on: Arc<AtomicUsize>,
    _admitted: Option<Admitted>,
}

impl Busy {
    fn on(on: &Arc<AtomicUsize>) -> Self {
        on.fetch_add(1, Ordering::AcqRel);
        Self {
            on: on.clone(),
            _admitted: None,
        }
    }

    pub(super) fn with(mut self, admitted: Admitted) -> Self {
        self._admitted = Some(admitted);
        self
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.on.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What becomes of the next request.
#[derive(Debug)]
pub(super) enum Next {
    /// This tunnel takes it.
    Use(Tunnel, Busy),
    /// This tunnel takes it, and another one is to be dialled; it is counted already.
    UseAndDial(Tunnel, Busy),
    /// A tunnel is to be dialled, and waited for; it is counted already.
    Dial,
    /// A tunnel is dialled.
    Wait,
}

/// What is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Use { at: usize, dials: bool },
    Dial,
    Wait,
}

/// By how many requests each tunnel has, and how many tunnels are dialled.
fn choose(busy: &[usize], dialling: usize) -> Choice {
    let may_dial = busy.len() + dialling < TUNNELS_MAX;
    let idlest = busy.iter().enumerate().min_by_key(|(_, busy)| **busy);
    match idlest {
        Some((at, busy)) if *busy < BUSY_MAX => Choice::Use {
            at,
            // One at a time: the next request sees whether it was enough.
            dials: *busy >= BUSY_WANTED && dialling == 0 && may_dial,
        },
        Some(_) | None if dialling == 0 && may_dial => Choice::Dial,
        Some(_) | None => Choice::Wait,
    }
}

impl Pool {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            strangers: Arc::new(Semaphore::new(STRANGERS_MAX)),
            addresses: Addresses::new(STRANGER_MAX),
            state: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// Room for one more request of the session, and of the stranger who asks.
    pub(super) fn admit(&self, stranger: Option<Peer>) -> Result<Admitted, TunnelError> {
        let requests = self.requests.clone().try_acquire_owned();
        let session = requests.map_err(|_| TunnelError::Crowded)?;
        let stranger = stranger.map(|peer| {
            let address = self.addresses.count(peer.0.ip());
            let address = address.ok_or(TunnelError::Share)?;
            let any = self.strangers.clone().try_acquire_owned();
            Ok::<_, TunnelError>((any.map_err(|_| TunnelError::Crowded)?, address))
        });
        Ok(Admitted {
            _session: session,
            _stranger: stranger.transpose()?,
        })
    }

    /// Whether there is no room for one more of this stranger's.
    pub(super) fn is_share_used_up(&self, stranger: Peer) -> bool {
        self.addresses.count(stranger.0.ip()).is_none()
    }

    /// Wakes up when a tunnel came, or none did.
    pub(super) fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What becomes of the next request.
    pub(super) fn next(&self) -> Next {
        let mut state = self.state();
        state.tunnels.retain(|one| !one.tunnel.sender.is_closed());
        let loads = state
            .tunnels
            .iter()
            .map(|one| one.busy.load(Ordering::Acquire));
        let loads: Vec<usize> = loads.collect();
        match choose(&loads, state.dialling) {
            Choice::Use { at, dials } => {
                state.dialling += usize::from(dials);
                let chosen = &state.tunnels[at];
                let (tunnel, busy) = (chosen.tunnel.clone(), Busy::on(&chosen.busy));
                if dials {
                    Next::UseAndDial(tunnel, busy)
                } else {
                    Next::Use(tunnel, busy)
                }
            }
            Choice::Dial => {
                state.dialling += 1;
                Next::Dial
            }
            Choice::Wait => Next::Wait,
        }
    }

    /// A tunnel that was dialled did not come.
    pub(super) fn not_dialled(&self) {
        self.state().dialling -= 1;
        self.changed.send_replace(());
    }

    /// A tunnel that was dialled is there. Its number.
    pub(super) fn add(&self, sender: SendRequest<Body>) -> u64 {
        let mut state = self.state();
        state.dialling -= 1;
        state.numbers += 1;
        let number = state.numbers;
        state.tunnels.push(Used {
            tunnel: Tunnel { number, sender },
            busy: Arc::default(),
        });
        drop(state);
        self.changed.send_replace(());
        number
    }

    /// Takes no more requests on a tunnel.
    pub(super) fn remove(&self, number: u64) {
        self.state()
            .tunnels
            .retain(|one| one.tunnel.number != number);
    }

    /// Whether a tunnel has requests under way, if it still takes some.
    pub(super) fn is_busy(&self, number: u64) -> Option<bool> {
        let state = self.state();
        let one = state.tunnels.iter().find(|one| one.tunnel.number == number);
        one.map(|one| one.busy.load(Ordering::Acquire) != 0)
    }

    /// Takes no more requests on a tunnel that has none under way; `false` if it has some.
    pub(super) fn retire(&self, number: u64) -> bool {
        let mut state = self.state();
        let before = state.tunnels.len();
        state
            .tunnels
            .retain(|one| one.tunnel.number != number || one.busy.load(Ordering::Acquire) != 0);
        state.tunnels.len() < before
    }

    pub(super) fn is_empty(&self) -> bool {
        let state = self.state();
        state.tunnels.is_empty() && state.dialling == 0
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::id::{NodeId, SessionId};
    use nearlight_session::Epoch;

    #[test]
    fn strangers_together_leave_room_for_who_is_known() {
        let pool = pool();
        let hosts = (1..=u8::MAX).map(|n| Peer(([192, 0, 2, n], 1).into()));
        let held: Vec<Admitted> = hosts
            .map_while(|peer| pool.admit(Some(peer)).ok())
            .collect();
        assert_eq!(held.len(), STRANGERS_MAX);
        let known = REQUESTS_MAX - STRANGERS_MAX;
        let known: Vec<Admitted> = (0..known).map(|_| pool.admit(None).unwrap()).collect();
        assert!(matches!(pool.admit(None), Err(TunnelError::Crowded)));
        drop((held, known));
        assert!(pool.admit(None).is_ok());
    }

    fn pool() -> Pool {
        Pool::new(Place {
            session: SessionId::from_parts(1, [0; 10]),
            node: NodeId::from_parts(1, [0; 10]),
            epoch: Epoch(1),
            ended: false,
        })
    }

    #[test]
    fn a_stranger_has_half_of_the_sessions_requests_and_leaves_the_rest() {
        let pool = pool();
        let peer = |text: &str| Some(Peer(text.parse().unwrap()));
        let (one, same, other) = (
            peer("192.0.2.1:1"),
            peer("192.0.2.1:2"),
            peer("192.0.2.2:1"),
        );
        let mut held: Vec<Admitted> = (0..STRANGER_MAX)
            .map(|_| pool.admit(one).unwrap())
            .collect();
        assert!(matches!(pool.admit(same), Err(TunnelError::Share)));
        let used_up = [one, other].map(|peer| pool.is_share_used_up(peer.unwrap()));
        assert_eq!(used_up, [true, false]);
        held.push(pool.admit(other).unwrap());
        // Who shows a ticket is no stranger, however many they are.
        let known = REQUESTS_MAX - held.len();
        held.extend((0..known).map(|_| pool.admit(None).unwrap()));
        assert!(matches!(pool.admit(None), Err(TunnelError::Crowded)));
        held.clear();
        assert!(pool.admit(one).is_ok(), "what is over is given back");
    }

    #[test]
    fn the_idlest_tunnel_takes_it_and_more_are_dialled_while_all_are_busy() {
        let uses = |at, dials| Choice::Use { at, dials };
        let full = [BUSY_MAX; TUNNELS_MAX];
        let wanted = [BUSY_WANTED; TUNNELS_MAX];
        for (busy, dialling, expected) in [
            (&[][..], 0, Choice::Dial),
            (&[], 1, Choice::Wait),
            (&[3, 1, 2], 0, uses(1, false)),
            (&[BUSY_WANTED - 1], 0, uses(0, false)),
            (&[BUSY_WANTED], 0, uses(0, true)),
            (&[BUSY_WANTED], 1, uses(0, false)),
            (&wanted, 0, uses(0, false)),
            (&[BUSY_MAX], 0, Choice::Dial),
            (&[BUSY_MAX], 1, Choice::Wait),
            (&full, 0, Choice::Wait),
        ] {
            assert_eq!(choose(busy, dialling), expected, "{busy:?} {dialling}");
        }
    }
}
