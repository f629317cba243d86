//! One viewer's connection, from the answer to the last goodbye.
//!
//! ```text
//! Connecting --ICE and DTLS done--> Connected --goodbye said--> Leaving --acknowledged--> Over
//!     |                                 |                          |
//!     +--15 s, or refused---------------+--5 s of silence----------+--0.5 s------------> Over
//! ```
//!
//! **Owns** the `rtc` peer connection, the path to the viewer, the packets that wait, and the state
//! of the data channels. **Does not know** sessions, workers or routes: what concerns them comes out
//! as [`Effect`]s.
//!
//! **The path is ours, not `rtc`'s.** `rtc` checks candidate pairs and gets connected, but keeps the
//! pair that it selected first for good. Here packets follow the viewer: to where its authentic RTCP
//! comes from, and before there is any, to the address that it nominated. Nothing that has not
//! proved to be the viewer's (STUN integrity, SRTCP) moves the path or counts as a sign of life.

use crate::attachment::channels::Channels;
use crate::attachment::input::{Gate, Verdict};
use crate::attachment::media::{AudioStream, VideoStream};
use crate::attachment::outbox::{Frame, Outbox};
use crate::attachment::peer::{Context, Peer};
use crate::attachment::reports::Signals;
use crate::clock::Clock;
use crate::counters::{Counters, VideoDropReason};
use crate::limits::{
    ADDRESSES_MAX, CONNECT_DEADLINE, GOODBYE_DEADLINE, PATH_SILENT_AFTER, SILENCE_DEADLINE,
    STALE_AFTER,
};
use crate::net::ports::Ports;
use crate::net::socket::{Path, Received};
use crate::net::stun::{self, Binding, Class};
use crate::sdp::fragment;
use crate::sdp::offer::{Credentials, Offer};
use bytes::BytesMut;
use nearlight_protocol::id::AttachmentId;
use nearlight_protocol::notice::{DetachReason, Mark, Notice};
use nearlight_protocol::worker::{Video, VideoCodec};
use rtc::crypto::RTCCryptoProvider;
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::{RTCMessage, TaggedRTCMessage};
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

pub(crate) mod channels;
pub(crate) mod input;
pub(crate) mod media;
pub(crate) mod outbox;
pub(crate) mod peer;
pub(crate) mod reports;

/// Rounds of "drain, handle, drain" in one pump: one answers the other a few times at most.
const ROUNDS_MAX: usize = 16;

/// What an attachment asks of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Media can flow.
    Connected,
    /// It was connected and no longer is.
    Detached,
    /// It is over: forget it.
    Over,
    /// The viewer needs a key frame.
    WantKeyFrame,
    /// A valid packet for the worker.
    Input {
        /// The packet.
        packet: Vec<u8>,
        /// Whether the player did something.
        activity: bool,
    },
    /// The kernel has all of this frame.
    FrameSent {
        /// The frame.
        frame: Frame,
        /// When.
        sent_us: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting { until: Instant },
    Connected,
    Leaving { until: Instant },
    Over,
}

/// One viewer's connection.
pub(crate) struct Attachment {
    id: AttachmentId,
    phase: Phase,
    ours: Credentials,
    theirs: Credentials,
    connection: Box<RTCPeerConnection>,
    crypto: Arc<dyn RTCCryptoProvider>,
    clock: Clock,
    nominal: Vec<SocketAddr>,
    lite: bool,
    signals: Arc<Signals>,
    key_frames_seen: u64,
    video: VideoStream,
    audio: Option<AudioStream>,
    awaits_key: bool,
    channels: Option<Channels>,
    gate: Gate,
    outbox: Outbox,
    path: Option<Path>,
    path_heard: Instant,
    heard: Instant,
    /// Addresses that proved to be the viewer's, and ours that they wrote to.
    addresses: Vec<(SocketAddr, Option<IpAddr>)>,
    /// A nomination that `rtc` did not take because it had to check back first.
    nomination: Option<(Vec<u8>, Received)>,
    wake: Option<Instant>,
    effects: Vec<Effect>,
}

/// What became of a STUN message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// The viewer's own, from an address that may be new.
    Authentic,
    /// Passed on; proves nothing.
    Unproven,
    /// Not the viewer's.
    Forged,
}

impl Attachment {
    /// Answers `offer`. Returns the attachment and what `rtc` answered.
    ///
    /// # Errors
    /// What `rtc` says.
    pub(crate) fn answer(
        context: &Context,
        id: AttachmentId,
        offer: &Offer,
        now: Instant,
    ) -> Result<(Self, String), Error> {
        let ours = peer::credentials();
        let peer = Peer::answer(context, offer, &ours, now)?;
        let mut attachment = Self {
            id,
            phase: Phase::Connecting {
                until: now + CONNECT_DEADLINE,
            },
            ours,
            theirs: offer.ice.clone(),
            connection: peer.connection,
            crypto: Arc::clone(&context.crypto),
            clock: context.clock,
            nominal: context.nominal.clone(),
            lite: context.lite,
            signals: peer.signals,
            key_frames_seen: 0,
            video: VideoStream::new(offer, peer.video_ssrc),
            audio: AudioStream::new(offer, peer.audio_ssrc),
            awaits_key: true,
            channels: peer
                .channels
                .map(|(motion, control)| Channels::new(motion, control)),
            gate: Gate::new(),
            outbox: Outbox::default(),
            path: None,
            path_heard: now,
            heard: now,
            addresses: Vec::new(),
            nomination: None,
            wake: Some(now),
            effects: Vec::new(),
        };
        attachment.add_candidates(offer.candidates.iter().map(String::as_str));
        Ok((attachment, peer.answer))
    }

    pub(crate) fn id(&self) -> &AttachmentId {
        &self.id
    }

    /// Our ICE user name fragment, by which its first datagrams are told from others'.
    pub(crate) fn ufrag(&self) -> &str {
        &self.ours.ufrag
    }

    /// The viewer's ICE user name fragment.
    pub(crate) fn viewer_ufrag(&self) -> &str {
        &self.theirs.ufrag
    }

    pub(crate) fn codec(&self) -> VideoCodec {
        self.video.codec()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving { .. } | Phase::Over)
    }

    /// Whether an offer may replace it without taking over: not connected, or silent for a while.
    pub(crate) fn is_replaceable(&self, now: Instant) -> bool {
        !self.is_connected() || now.saturating_duration_since(self.heard) > STALE_AFTER
    }

    /// The addresses that route to it.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.addresses.iter().map(|(address, _)| *address)
    }

    /// The newest round trip, once the viewer has reported one.
    pub(crate) fn round_trip_us(&self) -> Option<u64> {
        let us = self.signals.round_trip_us.load(Relaxed);
        (us > 0).then_some(us)
    }

    /// Packets that feedback spoke of and those that were lost, since the last call.
    pub(crate) fn take_feedback(&self) -> (u64, u64) {
        let packets = self.signals.feedback_packets.swap(0, Relaxed);
        (packets, self.signals.feedback_lost.swap(0, Relaxed))
    }

    /// When to call [`Self::pump`] at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let own = match self.phase {
            Phase::Connecting { until } | Phase::Leaving { until } => until,
            Phase::Connected => self.heard + SILENCE_DEADLINE,
            Phase::Over => return None,
        };
        Some(self.wake.map_or(own, |wake| wake.min(own)))
    }

    /// Adds trickled candidates. In ICE-lite they have no use: the viewer's checks show where it is.
    pub(crate) fn add_candidates<'a>(&mut self, candidates: impl Iterator<Item = &'a str>) {
        if self.lite {
            return;
        }
        let usable = candidates.filter(|candidate| fragment::is_usable(candidate));
        for candidate in usable.take(crate::limits::REMOTE_CANDIDATES_MAX) {
            let init = RTCIceCandidateInit {
                candidate: candidate.to_owned(),
                ..RTCIceCandidateInit::default()
            };
            if let Err(error) = self.connection.add_remote_candidate(init) {
                tracing::debug!(attachment_id = %self.id, %error, "a candidate was not taken");
            }
        }
        self.wake = Some(Instant::now());
    }

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
                self.feed(now, datagram, received.from);
                self.retry_nomination(now);
                Judged::Unproven
            }
            Class::Request => {
                let known = self.addresses.iter().any(|(a, _)| *a == received.from);
                let full = self.addresses.len() >= ADDRESSES_MAX && !known;
                if full || !binding.is_authentic(&self.ours.password, &*self.crypto) {
                    return Judged::Forged;
                }
                if !known {
                    self.addresses.push((received.from, received.to));
                }
                self.heard = now;
                self.follow_checks(now, binding, received);
                if binding.use_candidate() && !self.is_connected() {
                    self.nomination = Some((datagram.to_vec(), *received));
                }
                self.feed(now, datagram, received.from);
                Judged::Authentic
            }
        }
    }

    /// Takes a datagram from one of the viewer's addresses that is not STUN.
    pub(crate) fn payload(&mut self, now: Instant, datagram: &[u8], received: &Received) {
        let before = self.signals.reports.load(Relaxed);
        self.feed(now, datagram, received.from);
        if self.signals.reports.load(Relaxed) != before {
            // SRTCP that decrypts is the viewer's, and comes from the path that it uses.
            self.heard = now;
            self.path_heard = now;
            self.path = Some(Path {
                remote: received.from,
                local: received.to,
            });
        }
    }

    fn follow_checks(&mut self, now: Instant, binding: &Binding<'_>, received: &Received) {
        let here = Path {
            remote: received.from,
            local: received.to,
        };
        let current = self.path.is_some_and(|path| path.remote == here.remote);
        let silent = now.saturating_duration_since(self.path_heard) > PATH_SILENT_AFTER;
        if current || self.path.is_none() || (silent && binding.use_candidate()) {
            self.path = Some(here);
            self.path_heard = now;
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

    /// Sends an access unit, unless there is a reason not to.
    pub(crate) fn send_video(&mut self, now: Instant, unit: Video) -> Result<(), VideoDropReason> {
        if !self.is_connected() || unit.codec != self.video.codec() {
            return Err(VideoDropReason::NoAttachment);
        }
        if self.awaits_key && !unit.key {
            // After a congestion drop the viewer has not asked: we do, once there is room.
            if !self.outbox.is_congested() {
                self.effects.push(Effect::WantKeyFrame);
            }
            return Err(VideoDropReason::AwaitingKey);
        }
        if self.outbox.is_congested() {
            self.awaits_key = true;
            return Err(VideoDropReason::Socket);
        }
        self.awaits_key = false;
        let (packets, rtp_timestamp) = self.video.packets(unit.data, unit.commit_us);
        for packet in packets {
            self.write(now, RTCMessage::RtpPacket(String::new(), packet));
        }
        self.queue_packets();
        self.outbox.end_frame(Frame {
            rtp_timestamp,
            number: unit.frame,
            commit_us: unit.commit_us,
            encoded_us: unit.encoded_us,
            input_us: unit.input_us,
        });
        Ok(())
    }

    /// Sends an Opus packet; says whether it went.
    pub(crate) fn send_audio(&mut self, now: Instant, pts_us: u64, opus: Vec<u8>) -> bool {
        let ready = self.is_connected() && !self.outbox.is_congested();
        let Some(audio) = self.audio.as_mut().filter(|_| ready) else {
            return false;
        };
        let packet = audio.packet(opus, pts_us);
        self.write(now, RTCMessage::RtpPacket(String::new(), packet));
        true
    }

    /// Tells the browser something, now or once its channel is open.
    pub(crate) fn send_notice(&mut self, now: Instant, json: String) {
        let Some(channels) = &mut self.channels else {
            return;
        };
        if !channels.notify(&mut self.connection, now, json) {
            tracing::info!(attachment_id = %self.id, "the viewer does not take its notices");
            self.leave(now, None);
        }
    }

    /// Ends it, with a last word if there is a channel for it.
    pub(crate) fn leave(&mut self, now: Instant, notice: Option<&Notice>) {
        match self.phase {
            Phase::Leaving { .. } | Phase::Over => return,
            Phase::Connecting { .. } => {}
            Phase::Connected => self.effects.push(Effect::Detached),
        }
        let said = match (&mut self.channels, notice) {
            (Some(channels), Some(notice)) => channels.say_last(&mut self.connection, now, notice),
            (Some(_) | None, _) => false,
        };
        let until = if said { now + GOODBYE_DEADLINE } else { now };
        self.phase = Phase::Leaving { until };
    }

    fn write(&mut self, now: Instant, message: RTCMessage) {
        let message = TaggedRTCMessage { now, message };
        if let Err(error) = self.connection.handle_write(message) {
            tracing::trace!(%error, "a packet was not taken");
        }
    }

    /// Moves everything along: timers, what `rtc` wants to send, what it has to say.
    pub(crate) fn pump(&mut self, now: Instant, ports: &mut Ports, counters: &mut Counters) {
        if self.phase == Phase::Over {
            return;
        }
        if self.wake.is_some_and(|wake| wake <= now) {
            if let Err(error) = self.connection.handle_timeout(now) {
                tracing::debug!(attachment_id = %self.id, %error, "a timer failed");
            }
        }
        for _ in 0..ROUNDS_MAX {
            let mut busy = self.send_checks_and_queue(ports, counters);
            while let Some(event) = self.connection.poll_event() {
                busy = true;
                self.on_event(now, &event);
            }
            while let Some(message) = self.connection.poll_read() {
                busy = true;
                self.on_message(now, message.message, counters);
            }
            busy |= self.flush(now, ports, counters);
            if !busy {
                break;
            }
        }
        self.take_signals(counters);
        self.check_deadlines(now);
        self.finish_leaving(now, ports, counters);
        // A timer that is always due must not spin the loop.
        let soonest = now + std::time::Duration::from_millis(1);
        self.wake = self.connection.poll_timeout().map(|at| at.max(soonest));
    }

    fn check_deadlines(&mut self, now: Instant) {
        match self.phase {
            Phase::Connecting { until } if until <= now => {
                tracing::info!(attachment_id = %self.id, "the viewer never connected");
                self.leave(now, None);
            }
            Phase::Connected if now.saturating_duration_since(self.heard) >= SILENCE_DEADLINE => {
                tracing::info!(attachment_id = %self.id, "the viewer is silent");
                self.leave(now, None);
            }
            Phase::Connecting { .. } | Phase::Connected | Phase::Leaving { .. } | Phase::Over => {}
        }
    }

    fn finish_leaving(&mut self, now: Instant, ports: &mut Ports, counters: &mut Counters) {
        let Phase::Leaving { until } = self.phase else {
            return;
        };
        let heard = match &self.channels {
            Some(channels) => channels.is_acknowledged(&mut self.connection),
            None => true,
        };
        if !heard && now < until {
            return;
        }
        if let Err(error) = self.connection.close() {
            tracing::debug!(attachment_id = %self.id, %error, "closing was not orderly");
        }
        self.send_checks_and_queue(ports, counters);
        self.flush(now, ports, counters);
        counters.drop_video(VideoDropReason::Socket, self.outbox.clear());
        self.phase = Phase::Over;
        self.effects.push(Effect::Over);
    }

    /// What it asks of its session since the last call.
    pub(crate) fn take_effects(&mut self, into: &mut Vec<Effect>) {
        into.append(&mut self.effects);
    }

    /// Sends STUN at once, to where it belongs, and queues the rest for the path.
    fn send_checks_and_queue(&mut self, ports: &mut Ports, counters: &mut Counters) -> bool {
        let mut any = false;
        while let Some(transmit) = self.connection.poll_write() {
            any = true;
            if stun::is_stun(&transmit.message) {
                let remote = transmit.transport.peer_addr;
                let known = self.addresses.iter().find(|(a, _)| *a == remote);
                let local = known.and_then(|(_, local)| *local);
                // Lost if the kernel is full: STUN is retransmitted.
                ports.send_one(&transmit.message, Path { remote, local });
                counters.packets_sent += 1;
                counters.bytes_sent += transmit.message.len() as u64;
            } else {
                self.outbox.push(transmit.message);
            }
        }
        any
    }

    /// Queues what `rtc` made of media just written. STUN waits for the next pump: it is rare, and
    /// this is the hot path.
    fn queue_packets(&mut self) {
        while let Some(transmit) = self.connection.poll_write() {
            self.outbox.push(transmit.message);
        }
    }

    /// Hands queued packets to the kernel; says whether that made something new to send.
    fn flush(&mut self, now: Instant, ports: &mut Ports, counters: &mut Counters) -> bool {
        if let Some(path) = self.path {
            let flushed = self.outbox.flush(path, |run, path| ports.send(run, path));
            counters.packets_sent += flushed.packets;
            counters.bytes_sent += flushed.bytes;
        } else {
            self.outbox.clear();
        }
        let mut marked = false;
        while let Some(frame) = self.outbox.sent_frame() {
            counters.video_sent += 1;
            let sent_us = self.clock.now_us();
            self.effects.push(Effect::FrameSent { frame, sent_us });
            if let Some(channels) = &mut self.channels {
                let mark = Mark::Frame {
                    rtp_timestamp: frame.rtp_timestamp,
                    frame: frame.number,
                    commit_us: frame.commit_us,
                    encoded_us: frame.encoded_us,
                    sent_us,
                    input_us: frame.input_us,
                };
                marked |= channels.mark(&mut self.connection, now, &mark);
            }
        }
        marked
    }

    fn on_event(&mut self, now: Instant, event: &RTCPeerConnectionEvent) {
        match event {
            RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) => match state {
                RTCPeerConnectionState::Connected => {
                    if matches!(self.phase, Phase::Connecting { .. }) {
                        self.phase = Phase::Connected;
                        self.heard = now;
                        self.nomination = None;
                        self.effects.push(Effect::Connected);
                    }
                }
                RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => {
                    self.leave(now, None);
                }
                _ => {}
            },
            RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id)) => {
                let ours = match &mut self.channels {
                    Some(channels) => channels.opened(&mut self.connection, now, *id),
                    None => false,
                };
                if !ours && self.gate.strike(now) == Verdict::StrikeOut {
                    self.strike_out(now);
                }
            }
            RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnClose(id)) => {
                if let Some(channels) = &mut self.channels {
                    channels.closed(*id);
                }
            }
            _ => {}
        }
    }

    fn on_message(&mut self, now: Instant, message: RTCMessage, counters: &mut Counters) {
        let RTCMessage::DataChannelMessage(id, message) = message else {
            return;
        };
        let ours = self.channels.as_ref().is_some_and(|c| c.is_ours(id));
        if !self.is_connected() || !ours {
            return;
        }
        self.heard = now;
        match self.gate.judge(now, message.is_string, &message.data) {
            Verdict::Forward { activity } => {
                counters.input_packets += 1;
                let packet = message.data.to_vec();
                self.effects.push(Effect::Input { packet, activity });
            }
            Verdict::Pong { client_us } => {
                counters.input_packets += 1;
                let host_us = self.clock.now_us();
                if let Some(channels) = &mut self.channels {
                    let pong = Mark::Pong { client_us, host_us };
                    channels.mark(&mut self.connection, now, &pong);
                }
            }
            Verdict::Drop => counters.input_rejected += 1,
            Verdict::StrikeOut => {
                counters.input_rejected += 1;
                self.strike_out(now);
            }
        }
    }

    fn strike_out(&mut self, now: Instant) {
        tracing::info!(attachment_id = %self.id, "the viewer breaks the protocol");
        let reason = DetachReason::ProtocolError;
        self.leave(now, Some(&Notice::Detached { reason }));
    }

    fn take_signals(&mut self, counters: &mut Counters) {
        counters.nacks += self.signals.nacks.swap(0, Relaxed);
        counters.retransmits += self.signals.retransmits.swap(0, Relaxed);
        let wanted = self.signals.key_frames_wanted.load(Relaxed);
        counters.plis += wanted - self.key_frames_seen;
        if wanted != self.key_frames_seen {
            self.key_frames_seen = wanted;
            self.effects.push(Effect::WantKeyFrame);
        }
    }
}
