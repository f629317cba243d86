//! Feedback as we need it, as one interceptor in `rtc`'s chain: numbers what leaves, sends sender
//! reports, and reads what the viewer reports.
//!
//! Our own, because RTP timestamps here are a fixed function of the node's clock: the report can
//! name the exact relation, which keeps sound and picture together, where the stock interceptor
//! would name the time at which a packet happened to be sent. And because what the viewer says
//! (PLI, FIR, NACK, losses, round trip) must reach the loop without a compound packet being routed
//! by its first SSRC.
//!
//! The transport-wide numbers, of the picture, of the sound, and of what repairs the picture, are here because every packet passes
//! here anyway, and because ours cost no allocation for each.
//!
//! It sits between the resender and the wire, so that it counts retransmissions too. It talks
//! to the loop through [`Signals`]: atomics because `rtc` wants interceptors that are `Sync`, though
//! both ends run on one thread.

use crate::attachment::numbers::Numbers;
use crate::clock::{Clock, rtp_timestamp};
use crate::limits::REPORT_INTERVAL;
use crate::sdp::offer::TRANSPORT_CC_URI;
use nearlight_stream::congestion::Outcome;
use rtc::interceptor::{
    Attribute, AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket,
};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, SymbolTypeTcc, TransportLayerCc,
};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds from 1900, where NTP starts, to 1970.
const NTP_TO_UNIX_S: u64 = 2_208_988_800;
/// Streams of one attachment: picture, sound, and their retransmissions.
const STREAMS_MAX: usize = 8;
/// Feedback messages kept; they are taken in the turn that brings them.
const FEEDBACK_WAITING_MAX: usize = 16;
/// Unit of a feedback message's reference time (draft-holmer-rmcat-transport-wide-cc-extensions-01
/// section 3.1).
const REFERENCE_US: i64 = 64_000;

/// What the viewer reported, totals.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// RTCP packets that proved to be the viewer's.
    pub(crate) reports: AtomicU64,
    pub(crate) key_frames_wanted: AtomicU64,
    pub(crate) nacks: AtomicU64,
    pub(crate) retransmits: AtomicU64,
    /// Bytes of packets that were asked for and sent again, each once, since they were last taken.
    pub(crate) asked_bytes: AtomicU64,
    /// The newest round trip, microseconds; 0 while unknown.
    pub(crate) round_trip_us: AtomicU64,
    /// How often what is asked for again is sent, at least once; the other way, from the loop.
    pub(crate) copies: AtomicU64,
    /// Not 0: what was sent so far is not to be sent again, for a key frame comes. Likewise, until the
    /// next packet of the picture.
    pub(crate) gave_up: AtomicU64,
    /// Transport-wide feedback that has yet to be taken, a message each. Never contended.
    outcomes: Mutex<VecDeque<Vec<Outcome>>>,
}

impl Signals {
    /// Keeps a feedback message until it is taken.
    pub(crate) fn reported(&self, outcomes: Vec<Outcome>) {
        let mut waiting = self.waiting();
        if waiting.len() == FEEDBACK_WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back(outcomes);
    }

    /// The feedback messages since the last call.
    pub(crate) fn take_outcomes(&self) -> VecDeque<Vec<Outcome>> {
        std::mem::take(&mut *self.waiting())
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Vec<Outcome>>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The interceptor.
pub(crate) struct Reports {
    signals: Arc<Signals>,
    clock: Clock,
    /// Wall clock at `epoch`, as an NTP timestamp.
    epoch_ntp: u64,
    epoch: Instant,
    streams: Vec<Sending>,
    numbers: Numbers,
    next: Option<Instant>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

struct Sending {
    ssrc: u32,
    rate: u32,
    packets: u32,
    octets: u32,
    /// The header extension for the transport-wide number, where the viewer takes one.
    number_id: Option<u8>,
    /// Whether it has sender reports: what repairs another stream has that one's time.
    is_reported: bool,
}

impl Reports {
    pub(crate) fn new(signals: Arc<Signals>, clock: Clock, now: Instant) -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            signals,
            clock,
            epoch_ntp: ntp(unix.unwrap_or_default() + Duration::from_secs(NTP_TO_UNIX_S)),
            epoch: now,
            streams: Vec::with_capacity(STREAMS_MAX),
            numbers: Numbers::default(),
            next: None,
            reads: VecDeque::new(),
            writes: VecDeque::new(),
        }
    }

    fn ntp(&self, at: Instant) -> u64 {
        let since = ntp(at.saturating_duration_since(self.epoch));
        self.epoch_ntp.wrapping_add(since)
    }

    fn read(&self, now: Instant, packet: &dyn rtc::rtcp::Packet) {
        let packet = packet.as_any();
        if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
            report.reports.iter().for_each(|r| self.round_trip(now, r));
        } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
            let any = u64::from(!nack.nacks.is_empty());
            self.signals.nacks.fetch_add(any, Relaxed);
        } else if packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>() {
            self.signals.key_frames_wanted.fetch_add(1, Relaxed);
        } else if let Some(feedback) = packet.downcast_ref::<TransportLayerCc>() {
            self.signals.reported(outcomes(feedback));
        }
    }

    /// RFC 3550 section 6.4.1: now, less the delay at the receiver, less our report's time.
    fn round_trip(&self, now: Instant, report: &ReceptionReport) {
        if report.last_sender_report == 0 {
            return;
        }
        // The middle 32 bits: 1/65536 s.
        let middle = (self.ntp(now) >> 16) as u32;
        let units = middle
            .wrapping_sub(report.last_sender_report)
            .wrapping_sub(report.delay);
        // A receiver that rounds its delay up can make it slightly negative; more is nonsense.
        if units < 30 << 16 {
            let us = (u64::from(units) * 1_000_000) >> 16;
            self.signals.round_trip_us.store(us.max(1), Relaxed);
        }
    }

    fn report(&mut self, now: Instant) {
        let ntp_time = self.ntp(now);
        let us = self.clock.micros(now);
        for stream in self
            .streams
            .iter()
            .filter(|stream| stream.is_reported && stream.packets > 0)
        {
            let report = SenderReport {
                ssrc: stream.ssrc,
                ntp_time,
                rtp_time: rtp_timestamp(us, stream.rate),
                packet_count: stream.packets,
                octet_count: stream.octets,
                ..SenderReport::default()
            };
            self.writes.push_back(TaggedPacket {
                now,
                transport: TransportContext::default(),
                message: AttributedPacket::new(Packet::Rtcp(vec![Box::new(report)])),
            });
        }
    }
}

/// What a feedback message says of each packet. Its times count from a reference that wraps after
/// twelve days; the controller takes such a jump for another clock.
fn outcomes(feedback: &TransportLayerCc) -> Vec<Outcome> {
    let count = usize::from(feedback.packet_status_count);
    let mut outcomes = Vec::with_capacity(count);
    let mut deltas = feedback.recv_deltas.iter();
    let mut at_us = i64::from(feedback.reference_time) * REFERENCE_US;
    let mut sequence = feedback.base_sequence_number;
    let mut take = |symbol: SymbolTypeTcc| {
        // Vectors have room for more packets than the message speaks of.
        if outcomes.len() == count {
            return;
        }
        let arrived = match symbol {
            SymbolTypeTcc::PacketReceivedSmallDelta | SymbolTypeTcc::PacketReceivedLargeDelta => {
                deltas.next().map(|delta| {
                    at_us = at_us.saturating_add(delta.delta);
                    u64::try_from(at_us).unwrap_or(0)
                })
            }
            SymbolTypeTcc::PacketNotReceived | SymbolTypeTcc::PacketReceivedWithoutDelta => None,
        };
        // Arrived without a time says nothing that could be used, and is not lost either.
        if symbol != SymbolTypeTcc::PacketReceivedWithoutDelta {
            outcomes.push(Outcome {
                sequence,
                arrived_us: arrived,
            });
        }
        sequence = sequence.wrapping_add(1);
    };
    for chunk in &feedback.packet_chunks {
        match chunk {
            PacketStatusChunk::RunLengthChunk(run) => {
                (0..run.run_length).for_each(|_| take(run.packet_status_symbol));
            }
            PacketStatusChunk::StatusVectorChunk(vector) => {
                vector.symbol_list.iter().copied().for_each(&mut take);
            }
        }
    }
    outcomes
}

fn ntp(duration: Duration) -> u64 {
    let fraction = (u64::from(duration.subsec_nanos()) << 32) / 1_000_000_000;
    (duration.as_secs() << 32) | fraction
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Reports {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(compound) = &packet.message.packet {
            self.signals.reports.fetch_add(1, Relaxed);
            for part in compound {
                self.read(packet.now, part.as_ref());
            }
        }
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        if packet.message.has(&Attribute::Retransmission) {
            self.signals.retransmits.fetch_add(1, Relaxed);
        }
        if let Packet::Rtp(rtp) = &mut packet.message.packet {
            let ssrc = rtp.header.ssrc;
            if let Some(stream) = self.streams.iter_mut().find(|s| s.ssrc == ssrc) {
                stream.packets = stream.packets.wrapping_add(1);
                let octets = u32::try_from(rtp.payload.len()).unwrap_or(0);
                stream.octets = stream.octets.wrapping_add(octets);
                if let Some(id) = stream.number_id {
                    // Two bytes under an id of 1 to 14 always fit.
                    let _ = rtp.header.set_extension(id, self.numbers.take());
                }
            }
            self.next.get_or_insert(packet.now);
        }
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.next.is_some_and(|next| next <= now) {
            self.next = Some(now + REPORT_INTERVAL);
            self.report(now);
        }
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.next
    }
}

impl Interceptor for Reports {
    /// A stream, and what repairs it: those `rtc` names with the stream alone.
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        if info.clock_rate == 0 {
            return;
        }
        let repairs = info.ssrc_rtx.into_iter().chain(info.ssrc_fec);
        let repairs = repairs.map(|ssrc| (ssrc, false));
        for (ssrc, is_reported) in std::iter::once((info.ssrc, true)).chain(repairs) {
            let known = self.streams.iter().any(|stream| stream.ssrc == ssrc);
            if !known && self.streams.len() < STREAMS_MAX {
                self.streams.push(Sending {
                    ssrc,
                    rate: info.clock_rate,
                    packets: 0,
                    octets: 0,
                    number_id: number_id(info),
                    is_reported,
                });
            }
        }
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        let of_it = [Some(info.ssrc), info.ssrc_rtx, info.ssrc_fec];
        (self.streams).retain(|stream| !of_it.contains(&Some(stream.ssrc)));
    }

    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}

    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

fn number_id(info: &StreamInfo) -> Option<u8> {
    let mut extensions = info.rtp_header_extensions.iter();
    let number = extensions.find(|extension| extension.uri == TRANSPORT_CC_URI)?;
    u8::try_from(number.id).ok().filter(|id| *id > 0)
}

#[cfg(test)]
#[path = "reports/test.rs"]
mod test;
