//! The peer connection of a viewer and the tasks that read from it.
#![allow(
    clippy::disallowed_methods,
    reason = "a viewer's tasks belong to its runtime and end with it"
)]

use super::guise::{self, PASSWORD_CHARS, UFRAG_CHARS};
use super::{Arrival, Codec, Options, Shared};
use crate::clock;
use anyhow::{Context, Result};
use nearlight_protocol::notice::{CONTROL_CHANNEL, MOTION_CHANNEL, Mark};
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::Registry;
use rtc::peer_connection::configuration::interceptor_registry::{
    configure_nack, configure_rtcp_reports, configure_twcc_receiver_only,
};
use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_AV1, MIME_TYPE_FLEX_FEC03, MIME_TYPE_H264, MIME_TYPE_HEVC, MIME_TYPE_OPUS,
    MIME_TYPE_RTX, MIME_TYPE_VP8, MIME_TYPE_VP9, MediaEngine,
};
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::Notify;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, SettingEngineBuilder,
};

/// Two seconds of a stream of 50 Mbit/s.
const ARRIVALS_MAX: usize = 10_000;
/// Redundant sound (RFC 2198).
const MIME_TYPE_RED: &str = "audio/red";
/// Host candidates come at once.
const GATHER_DEADLINE: Duration = Duration::from_secs(10);

/// A connection with its offer.
pub(super) struct Made {
    pub(super) connection: Arc<dyn PeerConnection>,
    /// `motion` and `control`.
    pub(super) channels: Option<(Arc<dyn DataChannel>, Arc<dyn DataChannel>)>,
    pub(super) offer: String,
    /// Candidates that follow the offer.
    pub(super) fragment: Option<String>,
    pub(super) arrivals: Receiver<Arrival>,
}

/// Where arrivals go. A task that finds the queue full drops what it has: a reader that is behind
/// must not make the connection late.
#[derive(Clone)]
struct Sink {
    arrivals: SyncSender<Arrival>,
    shared: Arc<Shared>,
}

impl Sink {
    fn put(&self, arrival: Arrival) {
        if self.arrivals.try_send(arrival).is_err() {
            self.shared.overflowed.fetch_add(1, Relaxed);
        }
    }
}

struct Handler {
    sink: Sink,
    gathered: Arc<Notify>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        tokio::spawn(read_track(track, self.sink.clone()));
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.notify_one();
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.sink.put(Arrival::State(state));
    }
}

pub(super) async fn make(options: Options, shared: Arc<Shared>) -> Result<Made> {
    let (sink, arrivals) = sync_channel(ARRIVALS_MAX);
    let sink = Sink {
        arrivals: sink,
        shared,
    };
    let gathered = Arc::new(Notify::new());
    let handler = Arc::new(Handler {
        sink: sink.clone(),
        gathered: Arc::clone(&gathered),
    });
    let mut engine = match options.as_browser {
        true => browser_engine()?,
        false => media_engine(options.codec)?,
    };
    let registry = configure_nack(Registry::new(), &mut engine);
    let registry = configure_twcc_receiver_only(registry, &mut engine)?;
    let credentials = (word(UFRAG_CHARS), word(PASSWORD_CHARS));
    let setting = SettingEngineBuilder::new().with_multicast_dns_mode(MulticastDnsMode::Disabled);
    let setting = match options.as_browser {
        true => setting.with_ice_credentials(credentials.0.clone(), credentials.1.clone()),
        false => setting,
    };
    let builder = PeerConnectionBuilder::new()
        .with_media_engine(engine)
        .with_setting_engine(setting.build())
        .with_interceptor_registry(configure_rtcp_reports(registry))
        .with_handler(handler)
        .with_udp_addrs(vec![std::net::SocketAddr::new(options.bind, 0)]);
    let connection: Arc<dyn PeerConnection> = Arc::new(Box::pin(builder.build()).await?);
    for kind in [RtpCodecKind::Video, RtpCodecKind::Audio] {
        connection.add_transceiver_from_kind(kind, None).await?;
    }
    let channels = if options.channels {
        Some(open_channels(connection.as_ref(), &sink).await?)
    } else {
        None
    };
    let offer = connection.create_offer(None).await?;
    connection.set_local_description(offer).await?;
    tokio::time::timeout(GATHER_DEADLINE, gathered.notified())
        .await
        .context("no candidates were gathered")?;
    let offer = connection.local_description().await;
    let mut offer = offer.context("no offer was made")?.sdp;
    let mut fragment = None;
    if options.as_browser {
        let own = guise::Own {
            ufrag: &credentials.0,
            password: &credentials.1,
            sdp: &offer,
        };
        let (id, name) = (rand::random::<u64>() >> 1, machine_name());
        let said = guise::dress(&own, id, &name, rand::random());
        let said = said.context("the connection made no offer")?;
        (offer, fragment) = (said.offer, Some(said.fragment));
    }
    Ok(Made {
        offer,
        fragment,
        connection,
        channels,
        arrivals,
    })
}

async fn open_channels(
    connection: &dyn PeerConnection,
    sink: &Sink,
) -> Result<(Arc<dyn DataChannel>, Arc<dyn DataChannel>)> {
    let unreliable = RTCDataChannelInit {
        ordered: false,
        max_retransmits: Some(0),
        negotiated: Some(MOTION_CHANNEL),
        ..RTCDataChannelInit::default()
    };
    let reliable = RTCDataChannelInit {
        negotiated: Some(CONTROL_CHANNEL),
        ..RTCDataChannelInit::default()
    };
    let motion = connection
        .create_data_channel("motion", Some(unreliable))
        .await?;
    let control = connection
        .create_data_channel("control", Some(reliable))
        .await?;
    tokio::spawn(read_channel(Arc::clone(&motion), sink.clone(), as_mark));
    tokio::spawn(read_channel(Arc::clone(&control), sink.clone(), as_notice));
    Ok((motion, control))
}

async fn read_track(track: Arc<dyn TrackRemote>, sink: Sink) {
    let is_video = track.kind().await == RtpCodecKind::Video;
    if is_video && let Some(ssrc) = track.ssrcs().await.first() {
        // Set once: an attachment has one picture.
        let _ = sink.shared.video.set((Arc::clone(&track), *ssrc));
    }
    while let Some(event) = track.poll().await {
        if let TrackRemoteEvent::OnRtpPacket(packet) = event {
            sink.put(if is_video {
                Arrival::Video {
                    packet,
                    at_us: clock::micros(),
                }
            } else {
                Arrival::Audio
            });
        }
    }
}

async fn read_channel(
    channel: Arc<dyn DataChannel>,
    sink: Sink,
    read: fn(&[u8], u64) -> Option<Arrival>,
) {
    while let Some(event) = channel.poll().await {
        if let DataChannelEvent::OnMessage(message) = event {
            let arrival = read(&message.data, clock::micros());
            sink.put(arrival.unwrap_or(Arrival::Foreign("a message on a data channel")));
        }
    }
}

fn as_mark(bytes: &[u8], at_us: u64) -> Option<Arrival> {
    Mark::decode(bytes).map(|mark| Arrival::Mark { mark, at_us })
}

fn as_notice(bytes: &[u8], _at_us: u64) -> Option<Arrival> {
    serde_json::from_slice(bytes).ok().map(Arrival::Notice)
}

fn media_engine(codec: Codec) -> Result<MediaEngine> {
    let mut engine = MediaEngine::default();
    let (name, format) = match codec {
        Codec::H264 => (
            MIME_TYPE_H264,
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        ),
        Codec::Vp8 => (MIME_TYPE_VP8, ""),
        Codec::H265 => (
            MIME_TYPE_HEVC,
            "level-id=120;profile-id=1;tier-flag=0;tx-mode=SRST",
        ),
        Codec::Av1 => (MIME_TYPE_AV1, "level-idx=8;profile=0;tier=0"),
        Codec::Vp9 => (MIME_TYPE_VP9, "profile-id=0"),
    };
    for (name, format, payload_type) in [(name, format, 102), (MIME_TYPE_RTX, "apt=102", 103)] {
        let parameters = parameters(name, 90_000, 0, format, payload_type);
        engine.register_codec(parameters, RtpCodecKind::Video)?;
    }
    let opus = parameters(MIME_TYPE_OPUS, 48_000, 2, "minptime=10;useinbandfec=1", 111);
    engine.register_codec(opus, RtpCodecKind::Audio)?;
    let uri = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay".to_owned();
    let delay = RTCRtpHeaderExtensionCapability { uri };
    engine.register_header_extension(delay, RtpCodecKind::Video, None)?;
    Ok(engine)
}

/// What [`guise`] offers and can be decoded or left aside, by the payload types of the recording.
fn browser_engine() -> Result<MediaEngine> {
    const BASELINE: &str = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
    let mut engine = MediaEngine::default();
    let video = [
        (MIME_TYPE_H264, BASELINE, 108),
        (MIME_TYPE_RTX, "apt=108", 109),
        (MIME_TYPE_VP8, "", 96),
        (MIME_TYPE_RTX, "apt=96", 97),
        (MIME_TYPE_FLEX_FEC03, "repair-window=10000000", 49),
    ];
    for (name, format, payload_type) in video {
        let parameters = parameters(name, 90_000, 0, format, payload_type);
        engine.register_codec(parameters, RtpCodecKind::Video)?;
    }
    let audio = [
        (MIME_TYPE_OPUS, "minptime=10;useinbandfec=1", 111),
        (MIME_TYPE_RED, "111/111", 63),
    ];
    for (name, format, payload_type) in audio {
        let parameters = parameters(name, 48_000, 2, format, payload_type);
        engine.register_codec(parameters, RtpCodecKind::Audio)?;
    }
    let uri = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay".to_owned();
    let delay = RTCRtpHeaderExtensionCapability { uri };
    engine.register_header_extension(delay, RtpCodecKind::Video, None)?;
    Ok(engine)
}

/// What a browser calls its machine to multicast DNS: a random UUID (RFC 9562, version 4).
fn machine_name() -> String {
    let chance = rand::random::<u128>() & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let digits = format!("{chance:032x}");
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    parts.join("-")
}

/// Letters of ICE, as a browser draws them.
fn word(chars: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letter = || char::from(ALPHABET[usize::from(rand::random::<u8>() & 63)]);
    std::iter::repeat_with(letter).take(chars).collect()
}

fn parameters(
    name: &str,
    clock_rate: u32,
    channels: u16,
    format: &str,
    payload_type: u8,
) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: name.to_owned(),
            clock_rate,
            channels,
            sdp_fmtp_line: format.to_owned(),
            rtcp_feedback: Vec::new(),
        },
        payload_type,
    }
}
