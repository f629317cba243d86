//! Server-reflexive addresses: asks the STUN servers where they see our port, again and again, for
//! the answer also keeps the NAT's mapping alive.
//!
//! ```text
//! Unknown --answer--> Known --no answer for three intervals--> Unknown
//! ```
//!
//! Pure: time and chance come in, questions come out. An answer counts only if it comes from a
//! server that was asked and carries the question's transaction.

use crate::limits::{GATHER_INTERVAL, GATHER_RETRY};
use crate::net::stun::{Binding, Class};
use std::net::SocketAddr;
use std::time::Instant;

/// Knows, or finds out, our address outside the NAT.
#[derive(Debug)]
pub(crate) struct Gatherer {
    servers: Vec<SocketAddr>,
    asked: Option<[u8; 12]>,
    next: Instant,
    mapped: Option<(SocketAddr, Instant)>,
}

impl Gatherer {
    pub(crate) fn new(servers: Vec<SocketAddr>, now: Instant) -> Self {
        Self {
            servers,
            asked: None,
            next: now,
            mapped: None,
        }
    }

    /// Whether there is anybody to ask: the node is behind NAT.
    pub(crate) fn is_used(&self) -> bool {
        !self.servers.is_empty()
    }

    /// Our address outside, as far as it is known.
    pub(crate) fn mapped(&self, now: Instant) -> Option<SocketAddr> {
        let (address, at) = self.mapped?;
        (now.saturating_duration_since(at) < GATHER_INTERVAL * 3).then_some(address)
    }

    /// When to call [`Self::questions`] next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.is_used().then_some(self.next)
    }

    /// Whom to ask now, all with the one `transaction` that is kept.
    pub(crate) fn questions(&mut self, now: Instant, transaction: [u8; 12]) -> &[SocketAddr] {
        if !self.is_used() || now < self.next {
            return &[];
        }
        let known = self.mapped(now).is_some();
        self.next = now + if known { GATHER_INTERVAL } else { GATHER_RETRY };
        self.asked = Some(transaction);
        &self.servers
    }

    /// Takes a datagram that may be an answer; says whether it was one.
    pub(crate) fn answer(&mut self, now: Instant, from: SocketAddr, binding: &Binding<'_>) -> bool {
        let ours = binding.class == Class::Success
            && self.asked == Some(binding.transaction)
            && self.servers.contains(&from);
        if !ours {
            return false;
        }
        if let Some(address) = binding.mapped_address() {
            if self.mapped(now) != Some(address) {
                tracing::info!(port = address.port(), "learned the address outside the NAT");
            }
            self.mapped = Some((address, now));
            self.next = now + GATHER_INTERVAL;
        }
        true
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use rtc::stun::message::{BINDING_SUCCESS, Message, TransactionId};
    use rtc::stun::xoraddr::XorMappedAddress;

    fn answer(transaction: [u8; 12], mapped: SocketAddr) -> Vec<u8> {
        let mut message = Message::new();
        message
            .build(&[
                Box::new(BINDING_SUCCESS),
                Box::new(TransactionId(transaction)),
                Box::new(XorMappedAddress {
                    ip: mapped.ip(),
                    port: mapped.port(),
                }),
            ])
            .unwrap();
        message.raw
    }

    #[test]
    fn an_answer_counts_only_from_whom_we_asked_and_for_what_we_asked() {
        let now = Instant::now();
        let server: SocketAddr = "192.0.2.1:3478".parse().unwrap();
        let outside: SocketAddr = "203.0.113.9:4100".parse().unwrap();
        let mut gatherer = Gatherer::new(vec![server], now);
        assert_eq!(gatherer.questions(now, [1; 12]), [server]);
        assert!(gatherer.questions(now, [2; 12]).is_empty());

        let forged = answer([9; 12], outside);
        assert!(!gatherer.answer(now, server, &Binding::parse(&forged).unwrap()));
        let right = answer([1; 12], outside);
        let right = Binding::parse(&right).unwrap();
        assert!(!gatherer.answer(now, "192.0.2.2:3478".parse().unwrap(), &right));
        assert_eq!(gatherer.mapped(now), None);

        assert!(gatherer.answer(now, server, &right));
        assert_eq!(gatherer.mapped(now), Some(outside));
        assert_eq!(gatherer.deadline(), Some(now + GATHER_INTERVAL));
        assert_eq!(gatherer.mapped(now + GATHER_INTERVAL * 4), None);
    }
}
