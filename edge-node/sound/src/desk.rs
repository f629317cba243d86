//! The mixing desk: every client, every stream, one sink. Pure: bytes in, bytes and sound out.
//!
//! [`Desk::receive`] takes what a client sent, [`Desk::mix`] advances the clock by one packet, and
//! both leave answers in the clients' outboxes. Sockets and time belong to the reactor.
//!
//! Invariants: a client can reach only its own streams by channel, anybody's by index, as the
//! protocol has it; nothing that a client sends makes the desk hold more than limits.rs says; a
//! client that breaks the protocol ends with a [`Refusal`], anything else with an answer.

mod client;
mod command;
mod format;
mod introspect;
mod playback;
mod props;

use crate::frame::{self, Frame, FrameError};
use crate::limits::{BYTES_PER_TICK, GREETING_US_MAX, MESSAGES_PER_TICK, OUTBOX_BYTES_MAX};
use crate::sample::Pair;
use crate::stream::{Scratch, Signal};
use client::Client;
pub(crate) use client::ClientId;
use pulseaudio::protocol::{
    ChannelVolume, SubscriptionEvent, SubscriptionEventFacility, SubscriptionEventType,
};
use std::collections::BTreeMap;

/// Why a client is cut off.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("a command that cannot be read: {0}")]
    Command(String),
    #[error("samples at an impossible place")]
    Seek,
    #[error("it did not say who it is in time")]
    Greeting,
    #[error("it does not read what it is sent")]
    NotReading,
}

/// How far a client's bytes were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// All whole frames.
    All,
    /// As many as a tick allows.
    Some,
}

/// The one sink's controls.
#[derive(Clone, Copy, Debug)]
struct Sink {
    volume: ChannelVolume,
    muted: bool,
}

/// The desk.
#[derive(Debug)]
pub(crate) struct Desk {
    clients: BTreeMap<ClientId, Client>,
    sink: Sink,
    scratch: Scratch,
    signals: Vec<Signal>,
    next_stream: u32,
}

impl Desk {
    /// A desk with nobody at it.
    pub(crate) fn new() -> Self {
        Self {
            clients: BTreeMap::new(),
            sink: Sink {
                volume: ChannelVolume::norm(2),
                muted: false,
            },
            scratch: Scratch::default(),
            signals: Vec::new(),
            next_stream: 0,
        }
    }

    /// A client has connected.
    pub(crate) fn join(&mut self, id: ClientId, now_us: u64) {
        self.clients.insert(id, Client::new(now_us));
    }

    /// A client is gone, and its streams with it.
    pub(crate) fn leave(&mut self, id: ClientId) {
        let Some(client) = self.clients.remove(&id) else {
            return;
        };
        for stream in client.streams.values() {
            let index = stream.setup().index;
            self.announce(
                SubscriptionEventFacility::SinkInput,
                SubscriptionEventType::Removed,
                index,
            );
        }
        self.announce(
            SubscriptionEventFacility::Client,
            SubscriptionEventType::Removed,
            id.0,
        );
    }

    /// Takes bytes from a client, to be handled by [`Desk::handle`].
    pub(crate) fn receive(&mut self, id: ClientId, bytes: &[u8]) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.inbox.extend_from_slice(bytes);
        }
    }

    /// Handles whole frames of a client, at most a tick's worth since the last tick.
    ///
    /// # Errors
    /// [`Refusal`] if the client is to be cut off.
    pub(crate) fn handle(&mut self, id: ClientId) -> Result<Taken, Refusal> {
        let Some(client) = self.clients.get_mut(&id) else {
            return Ok(Taken::All);
        };
        let inbox = std::mem::take(&mut client.inbox);
        let mut rest = inbox.as_slice();
        let taken = loop {
            let Some((frame, length)) = frame::split(rest)? else {
                break Taken::All;
            };
            if !self.spend(id, length) {
                break Taken::Some;
            }
            self.handle_frame(id, frame)?;
            rest = &rest[length..];
        };
        let left = rest.len();
        if let Some(client) = self.clients.get_mut(&id) {
            client.inbox = inbox;
            let used = client.inbox.len() - left;
            client.inbox.drain(..used);
            if client.outbox.len() > OUTBOX_BYTES_MAX {
                return Err(Refusal::NotReading);
            }
        }
        Ok(taken)
    }

    /// Whether a client may be read from: what it sent before is handled.
    pub(crate) fn may_read(&self, id: ClientId) -> bool {
        self.clients
            .get(&id)
            .is_some_and(|client| client.messages_left > 0 && client.bytes_left > 0)
    }

    /// Adds the next frames of all streams to `out`, silence before. Says how many milliseconds of
    /// underruns have ended.
    pub(crate) fn mix(&mut self, out: &mut [Pair]) -> u64 {
        let mut glitches_ms = 0;
        for client in self.clients.values_mut() {
            client.messages_left = MESSAGES_PER_TICK;
            client.bytes_left = BYTES_PER_TICK;
            for (channel, stream) in &mut client.streams {
                glitches_ms += stream.mix(out, &mut self.scratch, &mut self.signals);
                client
                    .outbox
                    .signal(client.version, *channel, &mut self.signals);
            }
        }
        let volumes = self.sink.volume;
        let mut gains = volumes.channels().iter().map(|level| {
            if self.sink.muted {
                0.0
            } else {
                level.to_linear().min(16.0)
            }
        });
        let gains = [gains.next().unwrap_or(1.0), gains.next().unwrap_or(1.0)];
        for frame in out {
            *frame = [frame[0] * gains[0], frame[1] * gains[1]];
        }
        glitches_ms
    }

    /// What is to be sent to a client.
    pub(crate) fn outbox(&mut self, id: ClientId) -> Option<&mut Vec<u8>> {
        self.clients.get_mut(&id).map(|client| &mut client.outbox.0)
    }

    /// Whether a client has broken a bound that only time or its reading can break.
    pub(crate) fn overdue(&self, id: ClientId, now_us: u64) -> Option<Refusal> {
        let client = self.clients.get(&id)?;
        if client.outbox.len() > OUTBOX_BYTES_MAX {
            return Some(Refusal::NotReading);
        }
        let waited = now_us.saturating_sub(client.joined_us);
        (!client.greeted && waited > GREETING_US_MAX).then_some(Refusal::Greeting)
    }

    fn spend(&mut self, id: ClientId, bytes: usize) -> bool {
        let Some(client) = self.clients.get_mut(&id) else {
            return false;
        };
        if client.messages_left == 0 || client.bytes_left == 0 {
            return false;
        }
        client.messages_left -= 1;
        client.bytes_left = client.bytes_left.saturating_sub(bytes);
        true
    }

    fn handle_frame(&mut self, id: ClientId, frame: Frame<'_>) -> Result<(), Refusal> {
        match frame {
            Frame::Command { tag, seq, payload } => self.command(id, tag, seq, payload),
            Frame::Block {
                channel,
                seek,
                offset,
                samples,
            } => {
                let Some(client) = self.clients.get_mut(&id) else {
                    return Ok(());
                };
                // The stream may have been deleted while the block was on its way.
                let Some(stream) = client.streams.get_mut(&channel) else {
                    return Ok(());
                };
                stream
                    .write(seek, offset, samples, &mut self.signals)
                    .ok_or(Refusal::Seek)?;
                client
                    .outbox
                    .signal(client.version, channel, &mut self.signals);
                Ok(())
            }
        }
    }

    /// Tells every subscriber.
    fn announce(
        &mut self,
        event_facility: SubscriptionEventFacility,
        event_type: SubscriptionEventType,
        index: u32,
    ) {
        let event = SubscriptionEvent {
            event_facility,
            event_type,
            index: Some(index),
        };
        for client in self.clients.values_mut() {
            client.notify(event);
        }
    }
}

#[cfg(test)]
#[path = "desk/test.rs"]
mod test;
