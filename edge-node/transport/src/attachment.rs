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
//! What passes depends on who is at the other end ([`Kind`]): only a player's input comes out, only
//! a player gets notices and marks; a line check has no media, gets trains instead of marks, and is
//! over after ten seconds.

use crate::attachment::channels::Channels;
use crate::attachment::congestion::Flow;
use crate::attachment::consent::Consent;
use crate::attachment::input::Gate;
use crate::attachment::media::{AudioStream, VideoStream};
use crate::attachment::outbox::{Frame, Outbox};
use crate::attachment::peer::{Context, Peer};
use crate::attachment::repair::Repairs;
use crate::attachment::reports::Signals;
use crate::attachment::trains::Trains;
use crate::attachment::wire::Streams;
use crate::clock::Clock;
use crate::counters::{FlowGauges, VideoDropReason};
use crate::limits::{
    CONNECT_DEADLINE, GOODBYE_DEADLINE, INPUTS_PER_SECOND, LINE_CHECK_DEADLINE, PINGS_PER_SECOND,
    REMOTE_CANDIDATES_MAX, SILENCE_DEADLINE, STALE_AFTER,
};
use crate::net::socket::{Path, Received};
use crate::picture::Picture;
use crate::sdp::fragment;
use crate::sdp::offer::{Credentials, Offer};
use bytes::Bytes;
use nearlight_protocol::app::DisplayMode;
use nearlight_protocol::id::AttachmentId;
use nearlight_protocol::input::Shown;
use nearlight_protocol::notice::{Notice, StreamState};
use nearlight_protocol::worker::{Target, VideoCodec};
use nearlight_stream::uplink::Demand;
use rtc::crypto::RTCCryptoProvider;
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::message::{RTCMessage, TaggedRTCMessage};
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

pub(crate) mod channels;
pub(crate) mod congestion;
pub(crate) mod consent;
pub(crate) mod fec;
pub(crate) mod input;
mod marks;
pub(crate) mod media;
mod numbers;
pub(crate) mod outbox;
pub(crate) mod path;
pub(crate) mod peer;
mod pump;
pub(crate) mod red;
pub(crate) mod repair;
pub(crate) mod reports;
pub(crate) mod resend;
pub(crate) mod trains;
pub(crate) mod wire;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Plays.
    Player,
    /// Sees and hears.
    Watcher,
    /// Checks its line.
    LineCheck,
}

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
    /// The path carries something else now: the worker's next target.
    Target(Target),
    /// The path is behind: the worker should start no picture before then.
    Hold {
        /// Host time.
        until_us: u64,
    },
    /// The player's screen wants another display.
    Display(DisplayMode),
    /// The player's browser has shown some frames so.
    Shown(Vec<Shown>),
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

/// An address that proved to be a viewer's.
#[derive(Clone, Copy, Debug)]
struct Address {
    remote: SocketAddr,
    /// Ours that it wrote to.
    local: Option<IpAddr>,
    /// When it last proved itself.
    heard: Instant,
}

/// One viewer's connection.
pub(crate) struct Attachment {
    id: AttachmentId,
    kind: Kind,
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
    video: Option<VideoStream>,
    audio: Option<AudioStream>,
    repairs: Repairs,
    /// `None` unless it is a line check, and until both channels are open.
    trains: Option<Trains>,
    /// When it is over in any case.
    expires: Option<Instant>,
    awaits_key: bool,
    /// Frames that were sent, and of which the viewer has not said how they were shown.
    frames_untold: usize,
    /// The input that the last frame sent had seen.
    marked_input_us: u64,
    channels: Option<Channels>,
    gate: Gate,
    outbox: Outbox,
    streams: Streams,
    flow: Flow,
    path: Option<Path>,
    path_heard: Instant,
    heard: Instant,
    /// Addresses that proved to be the viewer's.
    addresses: Vec<Address>,
    consent: Consent,
    /// A nomination that `rtc` did not take because it had to check back first.
    nomination: Option<(Vec<u8>, Received)>,
    wake: Option<Instant>,
    effects: Vec<Effect>,
}

impl Attachment {
    /// Answers `offer`. Returns the attachment and what `rtc` answered.
    ///
    /// # Errors
    /// What `rtc` says.
    pub(crate) fn answer(
        context: &Context,
        id: AttachmentId,
        kind: Kind,
        offer: &Offer,
        now: Instant,
    ) -> Result<(Self, String), Error> {
        let ours = peer::credentials();
        let peer = Peer::answer(context, offer, &ours, now)?;
        let streams = Streams::new(offer);
        let now_us = context.clock.micros(now);
        let per_second = match kind {
            Kind::Player => INPUTS_PER_SECOND,
            Kind::Watcher | Kind::LineCheck => PINGS_PER_SECOND,
        };
        let mut attachment = Self {
            id,
            kind,
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
            video: (offer.video.as_ref())
                .map(|video| VideoStream::new(video, peer.video_ssrc, peer.repair_ssrc)),
            audio: (offer.audio.as_ref()).map(|audio| AudioStream::new(audio, peer.audio_ssrc)),
            repairs: Repairs::new(offer),
            trains: None,
            expires: (kind == Kind::LineCheck).then(|| now + LINE_CHECK_DEADLINE),
            awaits_key: true,
            frames_untold: 0,
            marked_input_us: 0,
            channels: peer
                .channels
                .map(|(motion, control)| Channels::new(motion, control)),
            gate: Gate::new(per_second),
            outbox: Outbox::default(),
            streams,
            flow: Flow::new(context.rates, streams.has_feedback(), now_us),
            path: None,
            path_heard: now,
            heard: now,
            addresses: Vec::new(),
            consent: Consent::default(),
            nomination: None,
            wake: Some(now),
            effects: Vec::new(),
        };
        attachment.add_candidates(now, offer.candidates.iter().map(String::as_str));
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

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The codec that its viewer takes.
    pub(crate) fn codec(&self) -> Option<VideoCodec> {
        self.video.as_ref().map(VideoStream::codec)
    }

    /// Whether its pictures are followed by repair packets now.
    pub(crate) fn protects(&self) -> bool {
        self.video.as_ref().is_some_and(VideoStream::protects)
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
        self.addresses.iter().map(|address| address.remote)
    }

    /// The newest round trip, once the viewer has reported one.
    pub(crate) fn round_trip_us(&self) -> Option<u64> {
        let us = self.signals.round_trip_us.load(Relaxed);
        (us > 0).then_some(us)
    }

    /// Packets that feedback told of and those that were lost, since the last call; reviews how
    /// losses are made good.
    pub(crate) fn take_feedback(&mut self, now: Instant) -> (u64, u64) {
        let congested = self.flow.is_congested(self.clock.micros(now));
        let path = self.flow.gauges();
        if let Some(plan) = self.repairs.review(&path, congested) {
            if let Some(video) = &mut self.video {
                video.protect(plan.fec_percent);
            }
            if let Some(audio) = &mut self.audio {
                audio.carry(plan.red_depth);
            }
            self.signals.copies.store(plan.copies.into(), Relaxed);
        }
        self.flow.take_told()
    }

    /// When to call [`Self::pump`] at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let own = match self.phase {
            Phase::Connecting { until } | Phase::Leaving { until } => until,
            Phase::Connected => {
                let train = self.trains.as_ref().and_then(Trains::deadline);
                let silent = self.heard + SILENCE_DEADLINE;
                let paced = self.outbox.is_paced().then(|| self.flow.room_at_us());
                let flow_us = paced.map_or(self.flow.steer_at_us(), |at| {
                    at.min(self.flow.steer_at_us())
                });
                let flow = self.clock.instant(flow_us);
                train.map_or(silent, |at| at.min(silent)).min(flow)
            }
            Phase::Over => return None,
        };
        let others = [self.wake, self.expires];
        Some(others.into_iter().flatten().fold(own, Instant::min))
    }

    /// Adds trickled candidates. In ICE-lite they have no use: the viewer's checks show where it is.
    pub(crate) fn add_candidates<'a>(
        &mut self,
        now: Instant,
        candidates: impl Iterator<Item = &'a str>,
    ) {
        if self.lite {
            return;
        }
        let usable = candidates.filter(|candidate| fragment::is_usable(candidate));
        for candidate in usable.take(REMOTE_CANDIDATES_MAX) {
            let init = RTCIceCandidateInit {
                candidate: candidate.to_owned(),
                ..RTCIceCandidateInit::default()
            };
            if let Err(error) = self.connection.add_remote_candidate(init) {
                tracing::debug!(attachment_id = %self.id, %error, "a candidate was not taken");
            }
        }
        self.wake = Some(now);
    }

    /// Sends a picture, unless there is a reason not to.
    pub(crate) fn send_video(
        &mut self,
        now: Instant,
        picture: &Picture,
    ) -> Result<(), VideoDropReason> {
        if !self.is_connected() || self.codec() != Some(picture.codec) {
            return Err(VideoDropReason::NoAttachment);
        }
        let (waiting, frames) = (self.outbox.waiting_bytes(), self.outbox.waiting_frames());
        let room = self.flow.admits(waiting, frames, self.clock.micros(now));
        if self.awaits_key && !picture.key {
            // After a drop of ours the viewer has not asked: we do, once there is room.
            if room && !self.outbox.is_congested() {
                self.effects.push(Effect::WantKeyFrame);
            }
            return Err(VideoDropReason::AwaitingKey);
        }
        if self.outbox.is_congested() {
            self.awaits_key = true;
            return Err(VideoDropReason::Socket);
        }
        if !room {
            self.awaits_key = true;
            return Err(VideoDropReason::Path);
        }
        self.awaits_key = false;
        if let Some(video) = &mut self.video {
            for packet in video.packets(picture) {
                let message = RTCMessage::RtpPacket(String::new(), packet);
                write(&mut self.connection, now, message);
            }
        }
        self.queue_packets();
        self.outbox.end_frame(picture.frame);
        Ok(())
    }

    /// Sends an Opus packet; says whether it went.
    pub(crate) fn send_audio(&mut self, now: Instant, pts_us: u64, opus: Bytes) -> bool {
        let ready = self.is_connected() && !self.outbox.is_congested();
        let Some(audio) = self.audio.as_mut().filter(|_| ready) else {
            return false;
        };
        let packet = audio.packet(opus, pts_us);
        let message = RTCMessage::RtpPacket(String::new(), packet);
        write(&mut self.connection, now, message);
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

    /// What the worker is to make for this viewer, to begin with.
    pub(crate) fn first_target(&mut self, now: Instant) -> Target {
        self.flow.first_target(self.clock.micros(now))
    }

    /// The display that the worker shows now.
    pub(crate) fn set_display(&mut self, display: DisplayMode) {
        self.flow.set_display(display);
    }

    /// What it would have of the node's uplink; `None` while it sends nothing.
    pub(crate) fn demand(&mut self, now: Instant) -> Option<Demand> {
        let sends = self.is_connected() && self.video.is_some();
        let is_watcher = self.kind != Kind::Player;
        sends.then(|| self.flow.demand(self.clock.micros(now), is_watcher))
    }

    /// Its share of the node's uplink, kbit/s.
    pub(crate) fn set_uplink(&mut self, kbps: Option<u32>) {
        self.flow.set_uplink(kbps, self.kind == Kind::Watcher);
    }

    /// How the stream goes.
    pub(crate) fn stream_state(&self) -> StreamState {
        self.flow.state(self.repairs.repair())
    }

    /// What its controller believes, for the totals.
    pub(crate) fn gauges(&self) -> FlowGauges {
        self.flow.gauges()
    }

    /// Gives up the frames that wait; returns how many there were.
    pub(crate) fn lose_frames(&mut self) -> u64 {
        self.outbox.clear()
    }

    /// What it asks of its session since the last call.
    pub(crate) fn take_effects(&mut self, into: &mut Vec<Effect>) {
        into.append(&mut self.effects);
    }
}

fn write(connection: &mut RTCPeerConnection, now: Instant, message: RTCMessage) {
    if let Err(error) = connection.handle_write(TaggedRTCMessage { now, message }) {
        tracing::trace!(%error, "a packet was not taken");
    }
}

#[cfg(test)]
mod cost;
#[cfg(test)]
mod rig;
#[cfg(test)]
#[path = "attachment/test.rs"]
mod test;
