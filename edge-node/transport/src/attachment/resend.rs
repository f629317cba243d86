//! Sends lost packets again when the viewer asks (RTX, RFC 4588), as one interceptor in `rtc`'s chain.
//!
//! ```text
//! media packet -> kept -> wire        NACK -> resent at once, unless it was within a round trip,
//!                                             or the budget is spent
//! ```
//!
//! Where answers may be lost, too, each is sent as often as [`Signals::copies`] says. Where they were
//! given up ([`Signals::gave_up`]), a key frame takes their place, and nothing before it is sent again.
//!
//! Our own, because the stock responder answers every repetition of a NACK, though the first answer
//! may still be on its way, and as much as it is asked for; and because it keeps whole packets with
//! their headers, which costs an allocation for each.
//!
//! **Invariants.** An answer leaves in the turn that brings its question. A viewer cannot make us
//! resend more than half of what we send, beyond a burst.

use crate::attachment::reports::Signals;
use bytes::{BufMut, Bytes, BytesMut};
use rtc::interceptor::{
    Attribute, AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket,
};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc::rtp;
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Packets kept: a second and a half at 8 Mbit/s. A power of two.
const KEPT: usize = 1024;
/// Packets that may be resent at once, when none were for a while.
pub(crate) const BURST: u32 = 256;
/// Packets sent for each that may be resent.
const SENT_PER_RESENT: u32 = 2;
/// The time between two answers for one packet while no round trip is known, and the least.
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(100);
const REPEAT_AFTER_MIN: Duration = Duration::from_millis(5);

/// How a packet is sent again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rtx {
    pub(crate) ssrc: u32,
    pub(crate) payload_type: u8,
}

/// The interceptor, for one stream.
pub(crate) struct Resender {
    signals: Arc<Signals>,
    ssrc: u32,
    payload_type: u8,
    rtx: Option<Rtx>,
    rtx_sequence: u16,
    /// Header extension that repeats on what is resent.
    playout_delay: Option<u8>,
    kept: Vec<Option<Kept>>,
    /// Halves of packets that may be resent.
    budget: u32,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

struct Kept {
    sequence: u16,
    timestamp: u32,
    marker: bool,
    payload: Bytes,
    resent: Option<Instant>,
}

impl Resender {
    /// For the stream `ssrc` of `payload_type`; without `rtx` packets go again as they were.
    pub(crate) fn new(
        signals: Arc<Signals>,
        ssrc: u32,
        payload_type: u8,
        rtx: Option<Rtx>,
        playout_delay: Option<u8>,
    ) -> Self {
        Self {
            signals,
            ssrc,
            payload_type,
            rtx,
            rtx_sequence: rand::random(),
            playout_delay,
            kept: std::iter::repeat_with(|| None).take(KEPT).collect(),
            budget: BURST * SENT_PER_RESENT,
            reads: VecDeque::new(),
            writes: VecDeque::new(),
        }
    }

    fn keep(&mut self, packet: &rtp::Packet) {
        if self.signals.gave_up.swap(0, Relaxed) != 0 {
            self.kept.fill_with(|| None);
        }
        let sequence = packet.header.sequence_number;
        self.kept[usize::from(sequence) % KEPT] = Some(Kept {
            sequence,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            payload: packet.payload.clone(),
            resent: None,
        });
        self.budget = (self.budget + 1).min(BURST * SENT_PER_RESENT);
    }

    fn answer(&mut self, now: Instant, nack: &TransportLayerNack) {
        if nack.media_ssrc != self.ssrc {
            return;
        }
        for pair in &nack.nacks {
            self.resend(now, pair.packet_id);
            let lost = (0..16).filter(|bit| pair.lost_packets & (1 << bit) != 0);
            for bit in lost {
                self.resend(now, pair.packet_id.wrapping_add(bit + 1));
            }
        }
    }

    fn resend(&mut self, now: Instant, sequence: u16) {
        let after = match self.signals.round_trip_us.load(Relaxed) {
            0 => UNKNOWN_ROUND_TRIP,
            us => Duration::from_micros(us).max(REPEAT_AFTER_MIN),
        };
        let slot = self.kept[usize::from(sequence) % KEPT].as_mut();
        let Some(kept) = slot.filter(|kept| kept.sequence == sequence) else {
            return;
        };
        let pending = |at: Instant| now.saturating_duration_since(at) < after;
        if self.budget < SENT_PER_RESENT || kept.resent.is_some_and(pending) {
            return;
        }
        if kept.resent.is_none() {
            let bytes = u64::try_from(kept.payload.len()).unwrap_or(0);
            self.signals.asked_bytes.fetch_add(bytes, Relaxed);
        }
        kept.resent = Some(now);
        let copies = self.signals.copies.load(Relaxed).max(1);
        for _ in 0..copies {
            if self.budget < SENT_PER_RESENT {
                return;
            }
            self.budget -= SENT_PER_RESENT;
            let packet = self.again(sequence);
            self.writes.extend(packet.map(|packet| TaggedPacket {
                now,
                transport: TransportContext::default(),
                message: AttributedPacket::new(Packet::Rtp(packet)).with(Attribute::Retransmission),
            }));
        }
    }

    /// A kept packet, to be sent once more: on its own source where there is one (RFC 4588 section 4).
    fn again(&mut self, sequence: u16) -> Option<rtp::Packet> {
        let kept = self.kept[usize::from(sequence) % KEPT].as_ref()?;
        let mut header = rtp::header::Header {
            version: 2,
            marker: kept.marker,
            payload_type: self.payload_type,
            sequence_number: sequence,
            timestamp: kept.timestamp,
            ssrc: self.ssrc,
            ..rtp::header::Header::default()
        };
        let mut payload = kept.payload.clone();
        if let Some(rtx) = self.rtx {
            self.rtx_sequence = self.rtx_sequence.wrapping_add(1);
            header.payload_type = rtx.payload_type;
            header.ssrc = rtx.ssrc;
            header.sequence_number = self.rtx_sequence;
            let mut whole = BytesMut::with_capacity(2 + payload.len());
            whole.put_u16(sequence);
            whole.put_slice(&payload);
            payload = whole.freeze();
        }
        if let Some(id) = self.playout_delay {
            // Three bytes under an id of 1 to 14 always fit.
            let _ = header.set_extension(id, super::media::PLAYOUT_DELAY_ZERO);
        }
        Some(rtp::Packet { header, payload })
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Resender {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(compound) = &packet.message.packet {
            for part in compound {
                if let Some(nack) = part.as_any().downcast_ref::<TransportLayerNack>() {
                    self.answer(packet.now, nack);
                }
            }
        }
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(rtp) = &packet.message.packet
            && rtp.header.ssrc == self.ssrc
        {
            self.keep(rtp);
        }
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }

    fn handle_timeout(&mut self, _now: Instant) -> Result<(), Error> {
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        None
    }
}

impl Interceptor for Resender {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}

    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}

    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}

    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

#[cfg(test)]
#[path = "resend/test.rs"]
mod test;
