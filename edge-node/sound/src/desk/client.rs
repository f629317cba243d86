//! A client: what it sent, what it is to be sent, and its streams.

use crate::limits::{BYTES_PER_TICK, MESSAGES_PER_TICK};
use crate::stream::{Signal, Stream};
use pulseaudio::protocol::{
    self, Command, CommandReply, Props, ProtocolError, PulseError, Request, SubscriptionEvent,
    SubscriptionEventFacility, SubscriptionMask, Underflow,
};
use std::collections::BTreeMap;

/// The number of a client, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClientId(pub(crate) u32);

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) joined_us: u64,
    /// It has sent its greeting; until then it may send nothing else.
    pub(super) greeted: bool,
    pub(super) version: u16,
    pub(super) props: Props,
    pub(super) subscribed: SubscriptionMask,
    /// By channel.
    pub(super) streams: BTreeMap<u32, Stream>,
    pub(super) inbox: Vec<u8>,
    pub(super) outbox: Outbox,
    pub(super) messages_left: usize,
    pub(super) bytes_left: usize,
}

/// Bytes for a client.
#[derive(Debug, Default)]
pub(super) struct Outbox(pub(super) Vec<u8>);

/// Sequence number of what no command asked for.
const UNASKED: u32 = u32::MAX;

impl Client {
    pub(super) fn new(now_us: u64) -> Self {
        Self {
            joined_us: now_us,
            greeted: false,
            version: protocol::MIN_VERSION,
            props: Props::new(),
            subscribed: SubscriptionMask::empty(),
            streams: BTreeMap::new(),
            inbox: Vec::new(),
            outbox: Outbox::default(),
            messages_left: MESSAGES_PER_TICK,
            bytes_left: BYTES_PER_TICK,
        }
    }

    /// Answers a command.
    pub(super) fn reply<R: CommandReply>(&mut self, seq: u32, reply: &R) {
        let version = self.version;
        self.outbox
            .put(|out| protocol::write_reply_message(out, seq, reply, version));
    }

    /// Answers a command that has no content to answer with.
    pub(super) fn ack(&mut self, seq: u32) {
        self.outbox.put(|out| protocol::write_ack_message(out, seq));
    }

    /// Turns a command down.
    pub(super) fn deny(&mut self, seq: u32, error: PulseError) {
        self.outbox
            .put(|out| protocol::write_error(out, seq, &error));
    }

    /// Tells what it did not ask for.
    pub(super) fn tell(&mut self, command: &Command) {
        self.outbox.tell(self.version, command);
    }

    /// Tells of a change that it subscribed to.
    pub(super) fn notify(&mut self, event: SubscriptionEvent) {
        let wanted = match event.event_facility {
            SubscriptionEventFacility::Sink => SubscriptionMask::SINK,
            SubscriptionEventFacility::SinkInput => SubscriptionMask::SINK_INPUT,
            SubscriptionEventFacility::Client => SubscriptionMask::CLIENT,
            SubscriptionEventFacility::Source
            | SubscriptionEventFacility::SourceOutput
            | SubscriptionEventFacility::Module
            | SubscriptionEventFacility::SampleCache
            | SubscriptionEventFacility::Server
            | SubscriptionEventFacility::Autoload
            | SubscriptionEventFacility::Card => return,
        };
        if self.subscribed.contains(wanted) {
            self.tell(&Command::SubscribeEvent(event));
        }
    }
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Sends what a stream on `channel` signalled.
    pub(super) fn signal(&mut self, version: u16, channel: u32, signals: &mut Vec<Signal>) {
        for signal in signals.drain(..) {
            let command = match signal {
                Signal::Started => Command::Started(channel),
                Signal::Underflow(offset) => Command::Underflow(Underflow { channel, offset }),
                Signal::Request(length) => Command::Request(Request { channel, length }),
                Signal::Overflow => Command::Overflow(channel),
                Signal::Drained(seq) => {
                    self.put(|out| protocol::write_ack_message(out, seq));
                    continue;
                }
            };
            self.tell(version, &command);
        }
    }

    fn tell(&mut self, version: u16, command: &Command) {
        self.put(|out| protocol::write_command_message(out, UNASKED, command, version));
    }

    fn put(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), ProtocolError>) {
        write(&mut self.0).expect("writing to memory cannot fail and no message is near 4 GiB");
    }
}
