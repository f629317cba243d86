//! Datagrams in: told apart cheaply, and handed to the viewer they belong to.

use super::{Reactor, viewers::guard};
use crate::attachment::path::Judged;
use crate::limits::{DATAGRAM_BYTES_MAX, DATAGRAMS_PER_WAKE};
use crate::meters::Datagram;
use crate::net::ports::PORTS_MAX;
use crate::net::socket::{Path, Received};
use crate::net::stun::{Binding, binding_request, is_stun};
use std::time::Instant;

impl Reactor {
    pub(super) fn read_datagrams(&mut self, now: Instant) {
        for index in 0..PORTS_MAX {
            for _ in 0..DATAGRAMS_PER_WAKE {
                let buffer = &mut self.datagram[..];
                let Some(received) = self.ports.receive(index, buffer) else {
                    break;
                };
                // One that fills the buffer was cut off.
                let whole = (1..DATAGRAM_BYTES_MAX).contains(&received.len);
                let outcome = if whole {
                    self.take_datagram(now, &received)
                } else {
                    Datagram::Unknown
                };
                self.meters.datagram(outcome);
            }
        }
    }

    fn take_datagram(&mut self, now: Instant, received: &Received) -> Datagram {
        let datagram = &self.datagram[..received.len];
        if is_stun(datagram) {
            return self.take_stun(now, received);
        }
        let Some(key) = self.routes.of_address(received.from) else {
            return Datagram::Unknown;
        };
        let Some(viewer) = self.viewers.get_mut(&key) else {
            return Datagram::Unknown;
        };
        let attachment = &mut viewer.attachment;
        if guard(|| attachment.payload(now, datagram, received)).is_none() {
            self.give_up_viewer(key);
        }
        self.touched.insert(key);
        Datagram::Taken
    }

    fn take_stun(&mut self, now: Instant, received: &Received) -> Datagram {
        let datagram = &self.datagram[..received.len];
        let Some(binding) = Binding::parse(datagram) else {
            return Datagram::Unknown;
        };
        if self.gatherer.answer(now, received.from, &binding) {
            return Datagram::Taken;
        }
        let named = binding
            .ufrag()
            .and_then(|ufrag| self.routes.of_ufrag(ufrag));
        let Some(key) = named.or_else(|| self.routes.of_address(received.from)) else {
            return Datagram::Unknown;
        };
        let Some(viewer) = self.viewers.get_mut(&key) else {
            return Datagram::Unknown;
        };
        let attachment = &mut viewer.attachment;
        let Some(judged) = guard(|| attachment.stun(now, &binding, datagram, received)) else {
            self.give_up_viewer(key);
            return Datagram::Taken;
        };
        match judged {
            Judged::Forged => return Datagram::Forged,
            Judged::Authentic { instead_of } => {
                if let Some(gone) = instead_of {
                    self.routes.forget_address(key, gone);
                }
                self.routes.learn(received.from, key);
            }
            Judged::Unproven => {}
        }
        self.touched.insert(key);
        Datagram::Taken
    }

    /// Asks the STUN servers, if it is time.
    pub(super) fn ask_stun(&mut self, now: Instant) {
        let transaction = rand::random();
        let question = binding_request(transaction);
        for server in self.gatherer.questions(now, transaction) {
            let path = Path {
                remote: *server,
                local: None,
            };
            self.ports.send_one(&question, path);
        }
    }
}
