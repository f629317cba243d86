//! Datagrams in, and the path that follows from them.
//!
//! **The path is ours, not `rtc`'s.** `rtc` checks candidate pairs and gets connected, but keeps the
//! pair that it selected first for good. Here packets follow the viewer: to where its authentic RTCP
//! comes from, and before there is any, to the address that it nominated. Nothing that has not
//! proved to be the viewer's (STUN integrity, SRTCP) moves the path or counts as a sign of life, and
//! the path moves to no address that has not answered a question of ours ([`super::consent`]): a
//! viewer could send its stream to whomever it names as its source. The first address needs none, for
//! over it DTLS has to be finished before anything else is sent.

use super::{Address, Attachment};
use crate::limits::{ADDRESSES_MAX, PATH_SILENT_AFTER};
use crate::net::socket::{Path, Received};
use crate::net::stun::{Binding, Class};
use bytes::BytesMut;
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// What became of a STUN message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// The viewer's own, from an address that may be new and may have taken the place of another.
    Authentic { instead_of: Option<SocketAddr> },
    /// Passed on; proves nothing.
    Unproven,
    /// Not the viewer's.
    Forged,
}

impl Attachment {
    /// Takes a STUN message that names this attachment or comes from one of its addresses.
    pub(crate) fn stun(
        &mut self,
        now: Instant,
        binding: &Binding<'_>,
        datagram: &[u8],
        received: &Received,
    ) -> Judged {
        match binding.class {
            Class::Indication => Judged::Unproven,
            Class::Success | Class::Error => {
                if self.consents(now, binding, received.from) {
                    return Judged::Unproven;
                }
                self.feed(now, datagram, received.from);
                self.retry_nomination(now);
                Judged::Unproven
            }
            Class::Request => {
                if !binding.is_authentic(&self.ours.password, &*self.crypto) {
                    return Judged::Forged;
                }
                let instead_of = self.learn(now, received);
                self.heard = now;
                self.follow_checks(now, binding, received);
                if binding.use_candidate() && !self.is_connected() {
                    self.nomination = Some((datagram.to_vec(), *received));
                }
                self.feed(now, datagram, received.from);
                Judged::Authentic { instead_of }
            }
        }
    }

    /// Notes an address that proved to be the viewer's. Of too many the one that was silent longest
    /// is forgotten, but never that of the path: returns it.
    fn learn(&mut self, now: Instant, received: &Received) -> Option<SocketAddr> {
        let mut known = self.addresses.iter_mut();
        if let Some(known) = known.find(|known| known.remote == received.from) {
            known.heard = now;
            return None;
        }
        let current = self.path.map(|path| path.remote);
        let others = self.addresses.iter().enumerate();
        let oldest = others
            .filter(|(_, address)| Some(address.remote) != current)
            .min_by_key(|(_, address)| address.heard)
            .map(|(index, _)| index)
            .filter(|_| self.addresses.len() >= ADDRESSES_MAX);
        let gone = oldest.map(|index| self.addresses.swap_remove(index).remote);
        self.addresses.push(Address {
            remote: received.from,
            local: received.to,
            heard: now,
        });
        gone
    }

    /// Whether this is the answer to a question of ours; the path moves there.
    fn consents(&mut self, now: Instant, binding: &Binding<'_>, from: SocketAddr) -> bool {
        if binding.class != Class::Success
            || !binding.is_authentic(&self.theirs.password, &*self.crypto)
        {
            return false;
        }
        let path = self.consent.answered(now, binding.transaction, from);
        if let Some(path) = path {
            self.take_path(now, path);
        }
        path.is_some()
    }

    /// The viewer is heard there now: the path follows, if it may.
    fn want_path(&mut self, now: Instant, here: Path) {
        if self.consent.holds(here.remote, now) {
            self.take_path(now, here);
        } else {
            self.consent.ask(now, here, rand::random());
        }
    }

    fn take_path(&mut self, now: Instant, here: Path) {
        self.path = Some(here);
        self.path_heard = now;
    }

    /// Takes a datagram from one of the viewer's addresses that is not STUN.
    pub(crate) fn payload(&mut self, now: Instant, datagram: &[u8], received: &Received) {
        let before = self.signals.reports.load(Relaxed);
        self.feed(now, datagram, received.from);
        if self.signals.reports.load(Relaxed) != before {
            // SRTCP that decrypts is the viewer's, and comes from the path that it uses.
            self.heard = now;
            let here = Path {
                remote: received.from,
                local: received.to,
            };
            match self.path {
                Some(path) if path.remote == here.remote => self.take_path(now, here),
                Some(_) | None => self.want_path(now, here),
            }
        }
    }

    fn follow_checks(&mut self, now: Instant, binding: &Binding<'_>, received: &Received) {
        let here = Path {
            remote: received.from,
            local: received.to,
        };
        let current = self.path.is_some_and(|path| path.remote == here.remote);
        let silent = now.saturating_duration_since(self.path_heard) > PATH_SILENT_AFTER;
        if current || self.path.is_none() {
            self.take_path(now, here);
        } else if silent && binding.use_candidate() {
            self.want_path(now, here);
        }
    }

    /// `rtc` answers the first nomination of a pair with a check of its own and takes the next one.
    /// Giving it the same one again after that check saves the viewer's retransmission interval.
    fn retry_nomination(&mut self, now: Instant) {
        if let Some((datagram, received)) = self.nomination.take() {
            self.feed(now, &datagram, received.from);
        }
    }

    fn feed(&mut self, now: Instant, datagram: &[u8], from: SocketAddr) {
        let nominal = self.nominal.iter().find(|a| a.is_ipv4() == from.is_ipv4());
        let Some(local) = nominal.copied() else {
            return;
        };
        let message = TaggedBytesMut {
            now,
            transport: TransportContext {
                local_addr: local,
                peer_addr: from,
                transport_protocol: TransportProtocol::UDP,
                ecn: None,
            },
            message: BytesMut::from(datagram),
        };
        if let Err(error) = self.connection.handle_read(message) {
            tracing::trace!(%error, "a datagram was not taken");
        }
    }
}
