//! Builds the `rtc` peer connection that answers an offer: one picture, one sound, two data
//! channels, and nothing else.
//!
//! What STREAMING's traps come down to here: `rtc` is told one nominal local address and our answer
//! names the real ones, so no candidate rewriting by `rtc` is relied on; both data channels are
//! negotiated, so their reliability is ours; multicast DNS is off; ICE timeouts are off, because the
//! attachment watches its own path and `rtc` never leaves the first pair it selected.

use crate::attachment::congestion::Rates;
use crate::attachment::reports::{Reports, Signals};
use crate::attachment::resend::{Resender, Rtx};
use crate::clock::Clock;
use crate::sdp::offer::{
    Audio, Credentials, FLEXFEC_FMTP, OPUS_FMTP, Offer, PLAYOUT_DELAY_URI, TRANSPORT_CC_URI, Video,
};
use nearlight_protocol::limits::NOTICE_BYTES_MAX;
use nearlight_protocol::notice::{CONTROL_CHANNEL, MOTION_CHANNEL};
use nearlight_protocol::worker::VideoCodec;
use rtc::crypto::RTCCryptoProvider;
use rtc::data_channel::{RTCDataChannelId, RTCDataChannelInit};
use rtc::ice::mdns::MulticastDnsMode;
use rtc::ice::network_type::NetworkType;
use rtc::interceptor::{Registry, Slot};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_AV1, MIME_TYPE_FLEX_FEC03, MIME_TYPE_H264, MIME_TYPE_HEVC, MIME_TYPE_OPUS,
    MIME_TYPE_RTX, MIME_TYPE_VP8, MIME_TYPE_VP9, MediaEngine,
};
use rtc::peer_connection::configuration::setting_engine::{
    SctpMaxMessageSize, SettingEngine, SettingEngineBuilder,
};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::{RTCDtlsRole, RTCIceCandidateInit};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters,
    RTCRtpEncodingParameters, RTCRtpFecParameters, RTCRtpHeaderExtensionCapability,
    RTCRtpRtxParameters, RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use rtc::shared::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between the resender (4000) and the wire: see [`Reports`].
const REPORTS_SLOT: usize = 3_500;
/// Redundant sound (RFC 2198).
const MIME_TYPE_RED: &str = "audio/red";
/// Full ICE keeps the pair's NAT mapping open; media does most of it.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// What every attachment shares.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) crypto: Arc<dyn RTCCryptoProvider>,
    pub(crate) clock: Clock,
    pub(crate) rates: Rates,
    pub(crate) lite: bool,
    /// The addresses that `rtc` takes for ours, one per family.
    pub(crate) nominal: Vec<SocketAddr>,
}

/// A peer connection that has answered.
pub(crate) struct Peer {
    pub(crate) connection: Box<RTCPeerConnection>,
    pub(crate) signals: Arc<Signals>,
    pub(crate) video_ssrc: u32,
    pub(crate) repair_ssrc: u32,
    pub(crate) audio_ssrc: u32,
    pub(crate) channels: Option<(RTCDataChannelId, RTCDataChannelId)>,
    /// What `rtc` answered to the reduced offer.
    pub(crate) answer: String,
}

/// Random credentials, long enough that nobody guesses either part.
pub(crate) fn credentials() -> Credentials {
    let word = |len: usize| -> String {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        (0..len)
            .map(|_| char::from(ALPHABET[usize::from(rand::random::<u8>() & 63)]))
            .collect()
    };
    Credentials {
        ufrag: word(16),
        password: word(32),
    }
}

impl Peer {
    /// Answers `offer` as `ours`.
    ///
    /// # Errors
    /// What `rtc` says against the reduced offer; a bug of ours or of `rtc`.
    pub(crate) fn answer(
        context: &Context,
        offer: &Offer,
        ours: &Credentials,
        now: Instant,
    ) -> Result<Self, Error> {
        let signals = Arc::new(Signals::default());
        let reports = Reports::new(Arc::clone(&signals), context.clock, now);
        let [video_ssrc, rtx_ssrc, repair_ssrc, audio_ssrc] = rand::random();
        let mut registry = Registry::new().with(Slot::from(REPORTS_SLOT), reports);
        if let Some(video) = &offer.video {
            let resender = resender(video, video_ssrc, rtx_ssrc, Arc::clone(&signals));
            registry = registry.with(Slot::NackResponder, resender);
        }
        let mut connection = RTCPeerConnectionBuilder::new()
            .with_media_engine(media_engine(offer)?)
            .with_setting_engine(setting_engine(context, offer, ours))
            .with_interceptor_registry(registry)
            .build(now)?;
        for address in &context.nominal {
            connection.add_local_candidate(nominal_candidate(*address))?;
        }
        let channels = match &offer.data {
            None => None,
            Some(_) => Some(create_channels(&mut connection)?),
        };
        if let Some(video) = &offer.video {
            let coding = RTCRtpCodingParameters {
                ssrc: Some(video_ssrc),
                rtx: video.rtx.map(|_| RTCRtpRtxParameters { ssrc: rtx_ssrc }),
                fec: (video.flexfec).map(|_| RTCRtpFecParameters { ssrc: repair_ssrc }),
                ..RTCRtpCodingParameters::default()
            };
            let video = video_codec(video);
            add_track(&mut connection, RtpCodecKind::Video, video, coding)?;
        }
        if let Some(audio) = &offer.audio {
            let coding = RTCRtpCodingParameters {
                ssrc: Some(audio_ssrc),
                ..RTCRtpCodingParameters::default()
            };
            let opus = opus_codec(audio);
            add_track(&mut connection, RtpCodecKind::Audio, opus, coding)?;
        }
        let remote = RTCSessionDescription::offer(offer.reduced())?;
        connection.set_remote_description(now, remote)?;
        let answer = connection.create_answer(None)?;
        connection.set_local_description(now, answer.clone())?;
        connection.add_local_candidate(RTCIceCandidateInit::default())?;
        Ok(Self {
            connection: Box::new(connection),
            signals,
            video_ssrc,
            repair_ssrc,
            audio_ssrc,
            channels,
            answer: answer.sdp,
        })
    }
}

fn setting_engine(context: &Context, offer: &Offer, ours: &Credentials) -> SettingEngine {
    // We start the handshake unless the viewer insists on doing it: that saves half a round trip.
    let role = if offer.viewer_starts_dtls() {
        RTCDtlsRole::Server
    } else {
        RTCDtlsRole::Client
    };
    let never = Some(Duration::ZERO);
    let message_bytes = u32::try_from(NOTICE_BYTES_MAX).unwrap_or(u32::MAX);
    SettingEngineBuilder::new()
        .with_crypto_provider(Arc::clone(&context.crypto))
        .with_lite(context.lite)
        .with_ice_credentials(ours.ufrag.clone(), ours.password.clone())
        .with_ice_timeouts(never, never, Some(KEEPALIVE))
        .with_network_types(vec![NetworkType::Udp4, NetworkType::Udp6])
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_answering_dtls_role(role)
        .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(message_bytes))
        .build()
}

fn media_engine(offer: &Offer) -> Result<MediaEngine, Error> {
    let mut engine = MediaEngine::default();
    if let Some(video) = &offer.video {
        register_video(&mut engine, video)?;
    }
    if let Some(audio) = &offer.audio {
        register_audio(&mut engine, audio)?;
    }
    for (uri, kind) in [
        (TRANSPORT_CC_URI, RtpCodecKind::Video),
        (TRANSPORT_CC_URI, RtpCodecKind::Audio),
        (PLAYOUT_DELAY_URI, RtpCodecKind::Video),
    ] {
        let uri = uri.to_owned();
        let extension = RTCRtpHeaderExtensionCapability { uri };
        engine.register_header_extension(extension, kind, None)?;
    }
    Ok(engine)
}

fn register_video(engine: &mut MediaEngine, video: &Video) -> Result<(), Error> {
    let picture = RTCRtpCodecParameters {
        rtp_codec: video_codec(video),
        payload_type: video.payload_type,
    };
    engine.register_codec(picture, RtpCodecKind::Video)?;
    let again = format!("apt={}", video.payload_type);
    for (payload_type, mime_type, fmtp) in [
        (video.rtx, MIME_TYPE_RTX, again.as_str()),
        (video.flexfec, MIME_TYPE_FLEX_FEC03, FLEXFEC_FMTP),
    ] {
        let rtp_codec = RTCRtpCodec {
            mime_type: mime_type.to_owned(),
            clock_rate: 90_000,
            sdp_fmtp_line: fmtp.to_owned(),
            ..RTCRtpCodec::default()
        };
        if let Some(payload_type) = payload_type {
            let codec = RTCRtpCodecParameters {
                rtp_codec,
                payload_type,
            };
            engine.register_codec(codec, RtpCodecKind::Video)?;
        }
    }
    Ok(())
}

fn register_audio(engine: &mut MediaEngine, audio: &Audio) -> Result<(), Error> {
    let payload_type = audio.payload_type;
    let opus = RTCRtpCodecParameters {
        rtp_codec: opus_codec(audio),
        payload_type,
    };
    engine.register_codec(opus, RtpCodecKind::Audio)?;
    let Some(red) = audio.red else {
        return Ok(());
    };
    let redundant = RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: MIME_TYPE_RED.to_owned(),
            clock_rate: 48_000,
            channels: 2,
            sdp_fmtp_line: format!("{payload_type}/{payload_type}"),
            ..RTCRtpCodec::default()
        },
        payload_type: red,
    };
    engine.register_codec(redundant, RtpCodecKind::Audio)
}

fn resender(video: &Video, ssrc: u32, rtx_ssrc: u32, signals: Arc<Signals>) -> Resender {
    let rtx = video.rtx.map(|payload_type| Rtx {
        ssrc: rtx_ssrc,
        payload_type,
    });
    Resender::new(signals, ssrc, video.payload_type, rtx, video.playout_delay)
}

fn video_codec(video: &Video) -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: match video.codec {
            VideoCodec::H264 => MIME_TYPE_H264,
            VideoCodec::VP8 => MIME_TYPE_VP8,
            VideoCodec::VP9 => MIME_TYPE_VP9,
            VideoCodec::H265 => MIME_TYPE_HEVC,
            VideoCodec::AV1 => MIME_TYPE_AV1,
        }
        .to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: video.fmtp.clone(),
        rtcp_feedback: feedback(&video.feedback),
    }
}

fn opus_codec(audio: &Audio) -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: OPUS_FMTP.to_owned(),
        rtcp_feedback: feedback(&audio.feedback),
    }
}

/// What was offered, and no more: an answer must not name what the viewer does not know.
fn feedback(offered: &[&str]) -> Vec<RTCPFeedback> {
    let split = |kind: &str| {
        let (typ, parameter) = kind.split_once(' ').unwrap_or((kind, ""));
        RTCPFeedback {
            typ: typ.to_owned(),
            parameter: parameter.to_owned(),
        }
    };
    offered.iter().copied().map(split).collect()
}

fn add_track(
    connection: &mut RTCPeerConnection,
    kind: RtpCodecKind,
    codec: RTCRtpCodec,
    coding: RTCRtpCodingParameters,
) -> Result<(), Error> {
    let name = match kind {
        RtpCodecKind::Audio => "sound",
        _ => "picture",
    };
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: coding,
        active: true,
        codec,
        ..RTCRtpEncodingParameters::default()
    };
    // One stream id for both: the viewer plays them in step.
    let track = MediaStreamTrack::new(
        "nearlight".to_owned(),
        name.to_owned(),
        name.to_owned(),
        kind,
        vec![encoding.clone()],
    );
    let init = RTCRtpTransceiverInit {
        direction: RTCRtpTransceiverDirection::Sendonly,
        streams: Vec::new(),
        send_encodings: vec![encoding],
    };
    connection.add_transceiver_from_track(track, Some(init))?;
    Ok(())
}

fn create_channels(
    connection: &mut RTCPeerConnection,
) -> Result<(RTCDataChannelId, RTCDataChannelId), Error> {
    let motion = RTCDataChannelInit {
        ordered: false,
        max_retransmits: Some(0),
        negotiated: Some(MOTION_CHANNEL),
        ..RTCDataChannelInit::default()
    };
    let control = RTCDataChannelInit {
        negotiated: Some(CONTROL_CHANNEL),
        ..RTCDataChannelInit::default()
    };
    let motion = connection.create_data_channel("motion", Some(motion))?.id();
    let control = connection
        .create_data_channel("control", Some(control))?
        .id();
    Ok((motion, control))
}

fn nominal_candidate(address: SocketAddr) -> RTCIceCandidateInit {
    let (ip, port) = (address.ip(), address.port());
    RTCIceCandidateInit {
        candidate: format!("candidate:1 1 udp 2130706431 {ip} {port} typ host"),
        ..RTCIceCandidateInit::default()
    }
}

#[cfg(test)]
#[path = "peer/test.rs"]
mod test;
