//! Everything that moves without being asked: timers, what `rtc` wants to send, what it has to say,
//! and what of that is for the session.

use super::{Attachment, Effect, Kind, Phase};
use crate::attachment::channels::Channels;
use crate::attachment::input::Verdict;
use crate::attachment::trains::Trains;
use crate::counters::{Counters, VideoDropReason};
use crate::limits::SILENCE_DEADLINE;
use crate::net::ports::Ports;
use crate::net::socket::Path;
use crate::net::stun;
use bytes::BytesMut;
use nearlight_protocol::notice::{DetachReason, Mark, Notice};
use nearlight_stream::congestion;
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::sansio::Protocol;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Rounds of "drain, handle, drain" in one pump: one answers the other a few times at most.
const ROUNDS_MAX: usize = 16;
/// Frames that were sent of which a viewer may still say how they were shown: those of some seconds.
const UNTOLD_MAX: usize = 512;
/// A timer that is always due must not spin the loop.
const SOONEST: Duration = Duration::from_millis(1);

impl Attachment {
    /// Moves everything along: timers, what `rtc` wants to send, what it has to say.
    pub(crate) fn pump(&mut self, now: Instant, ports: &mut Ports, counters: &mut Counters) {
        if self.phase == Phase::Over {
            return;
        }
        if self.wake.is_some_and(|wake| wake <= now)
            && let Err(error) = self.connection.handle_timeout(now)
        {
            tracing::debug!(attachment_id = %self.id, %error, "a timer failed");
        }
        self.steer(now);
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
            busy |= self.send_train(now);
            if !busy {
                break;
            }
        }
        self.take_signals(counters);
        self.give_up_if_hopeless(now);
        self.hold(now);
        self.check_deadlines(now);
        self.finish_leaving(now, ports, counters);
        let next = self.connection.poll_timeout();
        self.wake = next.map(|at| at.max(now + SOONEST));
    }

    /// Takes what the viewer reported of the path, and has the encoder follow the player's.
    fn steer(&mut self, now: Instant) {
        let target = self.flow.steer(&self.signals, self.clock.micros(now));
        let steers = self.kind == Kind::Player && self.is_connected();
        if let Some(target) = target.filter(|_| steers) {
            self.effects.push(Effect::Target(target));
        }
    }

    /// Has the encoder wait while the player's path is behind.
    fn hold(&mut self, now: Instant) {
        if self.kind != Kind::Player || !self.is_connected() {
            return;
        }
        let waiting = self.outbox.waiting_bytes();
        if let Some(until_us) = self.flow.hold(waiting, self.clock.micros(now)) {
            self.effects.push(Effect::Hold { until_us });
        }
    }

    /// Sends the next train of a line check, if it is time; says whether there was one.
    fn send_train(&mut self, now: Instant) -> bool {
        let (Some(trains), Some(channels)) = (&mut self.trains, &mut self.channels) else {
            return false;
        };
        if self.phase != Phase::Connected {
            return false;
        }
        let idle = channels.is_motion_idle(&mut self.connection);
        let marks = trains.take(now, idle, self.clock.micros(now));
        channels.train(&mut self.connection, now, marks)
    }

    fn check_deadlines(&mut self, now: Instant) {
        if self.expires.is_some_and(|at| at <= now) {
            self.expires = None;
            self.leave(now, None);
        }
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

    /// Sends STUN at once, to where it belongs, and queues the rest for the path.
    fn send_checks_and_queue(&mut self, ports: &mut Ports, counters: &mut Counters) -> bool {
        let mut any = false;
        while let Some(transmit) = self.connection.poll_write() {
            any = true;
            if stun::is_stun(&transmit.message) {
                let remote = transmit.transport.peer_addr;
                let known = self.addresses.iter().find(|known| known.remote == remote);
                let local = known.and_then(|known| known.local);
                let path = Path { remote, local };
                send_check(&transmit.message, path, ports, counters);
            } else {
                self.queue(transmit.message);
            }
        }
        if let Some((path, transaction)) = self.consent.take_due() {
            let names = (self.theirs.ufrag.as_str(), self.ours.ufrag.as_str());
            let password = &self.theirs.password;
            let question = stun::ice_request(transaction, names, password, &*self.crypto);
            if let Some(question) = question {
                send_check(&question, path, ports, counters);
            }
        }
        any
    }

    /// Queues what `rtc` made of media just written. STUN waits for the next pump: it is rare, and
    /// this is the hot path.
    pub(super) fn queue_packets(&mut self) {
        while let Some(transmit) = self.connection.poll_write() {
            self.queue(transmit.message);
        }
    }

    /// Queues a packet, unless it was asked for again and would come too late, or for nothing: the next
    /// picture that the viewer can show is a key frame.
    fn queue(&mut self, packet: BytesMut) {
        let tag = self.streams.read(&packet);
        let again = tag.kind == congestion::Kind::Retransmit;
        let late = || self.awaits_key || self.outbox.again_bytes() > self.flow.again_bytes_max();
        if !(again && late()) {
            self.outbox.push(packet, tag);
        }
    }

    /// Where more was lost than can be sent again in time, as when a path narrows at once, a key frame
    /// takes its place.
    fn give_up_if_hopeless(&mut self, now: Instant) {
        let asked_bytes = self.signals.asked_bytes.swap(0, Relaxed);
        let now_us = self.clock.micros(now);
        if !self.flow.is_hopeless(asked_bytes, now_us) {
            return;
        }
        self.outbox.clear_again();
        self.signals.gave_up.store(1, Relaxed);
        self.awaits_key = true;
        self.effects.push(Effect::WantKeyFrame);
    }

    /// Hands queued packets to the kernel; says whether that made something new to send.
    fn flush(&mut self, now: Instant, ports: &mut Ports, counters: &mut Counters) -> bool {
        if let Some(path) = self.path {
            let now_us = self.clock.micros(now);
            let room = self.flow.room(now_us);
            let flow = &mut self.flow;
            let flushed = self.outbox.flush(
                path,
                room,
                |run, path| ports.send(run, path),
                |tag| flow.left(tag, now_us),
            );
            counters.packets_sent += flushed.packets;
            counters.bytes_sent += flushed.bytes;
        } else {
            self.outbox.clear();
        }
        while let Some(frame) = self.outbox.sent_frame() {
            counters.video_sent += 1;
            self.frames_untold = (self.frames_untold + 1).min(UNTOLD_MAX);
            let sent_us = self.clock.now_us();
            self.effects.push(Effect::FrameSent { frame, sent_us });
            let answers = std::mem::replace(&mut self.marked_input_us, frame.input_us);
            let tells =
                answers != frame.input_us || frame.number.is_multiple_of(self.flow.marks_every());
            let told = self.channels.as_mut();
            if let Some(channels) = told.filter(|_| tells && self.kind == Kind::Player) {
                let mark = Mark::Frame {
                    rtp_timestamp: frame.rtp_timestamp,
                    frame: frame.number,
                    commit_us: frame.commit_us,
                    captured_us: frame.captured_us,
                    encoded_us: frame.encoded_us,
                    sent_us,
                    input_us: frame.input_us,
                    input_host_us: frame.input_host_us,
                };
                channels.add_mark(now, mark);
            }
        }
        let channels = self.channels.as_mut();
        channels.is_some_and(|channels| channels.send_marks(&mut self.connection, now))
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
                let ours = self.channels.as_mut().is_some_and(|c| c.opened(*id));
                let open = self.channels.as_ref().is_some_and(Channels::are_open);
                if open && self.kind == Kind::LineCheck && self.trains.is_none() {
                    self.trains = Some(Trains::new(now));
                }
                if !ours && self.gate.strike(now) == Verdict::StrikeOut {
                    self.strike_out(now);
                }
            }
            RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnClose(id)) => {
                let left = self.channels.as_mut().is_some_and(|c| c.closed(*id));
                self.leave_if(now, left);
            }
            _ => {}
        }
        self.greet(now);
    }

    /// Tells a player that we listen, as soon as nothing that it says is lost any more.
    fn greet(&mut self, now: Instant) {
        if self.kind != Kind::Player || !self.is_connected() {
            return;
        }
        if let Some(channels) = &mut self.channels {
            channels.greet(&mut self.connection, now);
        }
    }

    fn leave_if(&mut self, now: Instant, left: bool) {
        if left {
            self.leave(now, None);
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
            // Only a player's hands reach the app.
            Verdict::Forward { .. }
            | Verdict::Wish { .. }
            | Verdict::Display(_)
            | Verdict::Shown(_)
                if self.kind != Kind::Player =>
            {
                counters.input_rejected += 1;
            }
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
            Verdict::Wish {
                kbps_max,
                height_max,
                fps_max,
            } => {
                counters.input_packets += 1;
                self.flow.set_wish(kbps_max, height_max, fps_max);
            }
            Verdict::Display(mode) => {
                counters.input_packets += 1;
                self.effects.push(Effect::Display(mode));
            }
            Verdict::Shown(mut frames) => {
                counters.input_packets += 1;
                // Its word is taken for frames that it was sent, once each.
                frames.truncate(self.frames_untold);
                self.frames_untold -= frames.len();
                self.effects.push(Effect::Shown(frames));
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

/// Lost if the kernel is full: STUN is retransmitted.
fn send_check(datagram: &[u8], path: Path, ports: &mut Ports, counters: &mut Counters) {
    ports.send_one(datagram, path);
    counters.packets_sent += 1;
    counters.bytes_sent += datagram.len() as u64;
}
