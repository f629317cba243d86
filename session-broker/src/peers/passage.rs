//! What goes to a peer in a caller's name: a request, and the answer for as long as that comes.
//!
//! ```text
//!   Way::enter --room--> PeerClient::hand_on --head of the answer--> body, or a changed connection --> over
//! ```
//!
//! **Invariants.** Callers hold no more than [`Passages`] of a peer at a time, one address a part of that: the
//! brokers' own words ([`PeerClient::ask`]) have connections beside them. A passage ends with its peer: nobody waits
//! for what a broker that is gone, or hangs, was going to say.
//!
//! **What it does not know:** who is there ([`super::Watch`]), what is asked.

use super::client::{Late, PeerClient, PeerError};
use crate::config::CallerLimits;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use nearlight_kit::room::{Addresses, Counted};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// What callers may have under way to one peer at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passages {
    /// All of them: as many as one listener takes connections.
    pub(crate) most: usize,
    /// One address. 0: as many as there are.
    pub(crate) per_address: usize,
}

impl Passages {
    /// What the configuration says of connections that anyone makes, it says of what they lead to.
    pub(crate) const fn of(limits: &CallerLimits) -> Self {
        Self {
            most: limits.connections_max,
            per_address: limits.address_connections_max,
        }
    }
}

/// The way to a peer that is there.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// `HOST:PORT`.
    pub(crate) address: String,
    /// Cancelled once it is not there any more, or elsewhere.
    pub(super) gone: CancellationToken,
    all: Arc<Semaphore>,
    each: Addresses,
}

/// One that is under way, until this is dropped.
#[derive(Debug)]
pub(crate) struct Passage {
    gone: CancellationToken,
    _of_all: OwnedSemaphorePermit,
    _of_address: Counted,
}

impl Way {
    pub(super) fn new(address: String, room: Passages) -> Self {
        Self {
            address,
            gone: CancellationToken::new(),
            all: Arc::new(Semaphore::new(room.most)),
            each: Addresses::new(room.per_address),
        }
    }

    fn enter(&self, from: IpAddr) -> Result<Passage, PeerError> {
        let of_address = self.each.count(from).ok_or(PeerError::Full)?;
        let of_all = self.all.clone().try_acquire_owned();
        Ok(Passage {
            gone: self.gone.clone(),
            _of_all: of_all.map_err(|_| PeerError::Full)?,
            _of_address: of_address,
        })
    }

    /// Hands on what somebody at `from` asks. The head of the answer comes `within` that time.
    pub(crate) async fn hand_on(
        &self,
        client: &PeerClient,
        (path, request): (&str, Request<Body>),
        from: IpAddr,
        within: Duration,
    ) -> Result<(Response<Incoming>, Passage), PeerError> {
        let passage = self.enter(from)?;
        let asked = client.ask_for_caller(&self.address, path, request, within);
        tokio::select! {
            answer = asked => Ok((answer?, passage)),
            () = self.gone.cancelled() => Err(PeerError::Gone),
        }
    }
}

impl Passage {
    /// When the peer is not there any more.
    pub(crate) fn gone(&self) -> WaitForCancellationFutureOwned {
        self.gone.clone().cancelled_owned()
    }

    /// The body of its answer. `silence_max` is how long nothing may come of one in which something always does.
    pub(crate) fn body(self, body: Incoming, silence_max: Option<Duration>) -> Body {
        Body::new(Carried {
            body,
            gone: Box::pin(self.gone()),
            silence: silence_max.map(|most| (most, Box::pin(tokio::time::sleep(most)))),
            _passage: self,
        })
    }
}

/// The body of an answer on its way to its caller.
struct Carried {
    body: Incoming,
    gone: Pin<Box<WaitForCancellationFutureOwned>>,
    silence: Option<(Duration, Pin<Box<Sleep>>)>,
    _passage: Passage,
}

impl hyper::body::Body for Carried {
    type Data = Bytes;
    type Error = PeerError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PeerError>>> {
        if self.gone.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(PeerError::Gone)));
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            if let Some((most, sleep)) = &mut self.silence {
                sleep.as_mut().reset(Instant::now() + *most);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(PeerError::Broken)));
        }
        match &mut self.silence {
            Some((_, sleep)) => {
                ready!(sleep.as_mut().poll(cx));
                Poll::Ready(Some(Err(PeerError::from(Late))))
            }
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod test;
