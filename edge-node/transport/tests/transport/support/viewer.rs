//! A native viewer: the async crate `webrtc`, which shares no code with the loop under test but the
//! protocol core.
#![allow(
    clippy::disallowed_methods,
    reason = "a viewer's tasks belong to its runtime and end with it"
)]

use super::DEADLINE;
use bytes::BytesMut;
use nearlight_protocol::input::{Event, Packet};
use nearlight_protocol::notice::{Mark, Notice, StreamState};
use rtc::interceptor::Registry;
use rtc::peer_connection::configuration::interceptor_registry::{
    configure_nack, configure_rtcp_reports, configure_twcc_receiver_only,
};
use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_AV1, MIME_TYPE_H264, MIME_TYPE_HEVC, MIME_TYPE_OPUS, MIME_TYPE_RTX, MIME_TYPE_VP8,
    MIME_TYPE_VP9, MediaEngine,
};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription, SettingEngineBuilder,
};

/// What a viewer offers to receive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    H264,
    Vp8,
    /// Every codec, as Chromium offers them where it has a decoder for each.
    #[allow(dead_code, reason = "not for the spike, which shares this file")]
    All,
    /// H.264 without data channels, as a third-party WHEP client offers.
    NoChannels,
    /// Data channels alone, to check a line.
    LineCheck,
}

/// The viewer. It runs on threads of its own, so it can vanish without a word.
pub(crate) struct Viewer {
    runtime: Option<Runtime>,
    connection: Arc<dyn PeerConnection>,
    motion: Option<Arc<dyn DataChannel>>,
    control: Option<Arc<dyn DataChannel>>,
    pub(crate) offer: String,
    tracks: Receiver<Arc<dyn TrackRemote>>,
    packets: Receiver<rtc::rtp::Packet>,
    packet_sink: Sender<rtc::rtp::Packet>,
    sounds: Receiver<rtc::rtp::Packet>,
    sound_sink: Sender<rtc::rtp::Packet>,
    marks: Receiver<Mark>,
    notices: Receiver<Notice>,
    states: Receiver<RTCPeerConnectionState>,
    opened: Receiver<()>,
    video: Option<(Arc<dyn TrackRemote>, u32)>,
}

struct Watcher {
    tracks: Sender<Arc<dyn TrackRemote>>,
    gathered: Sender<()>,
    states: Sender<RTCPeerConnectionState>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Watcher {
    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let _ = self.tracks.send(track).await;
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.gathered.send(()).await;
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let _ = self.states.send(state).await;
    }
}

impl Viewer {
    pub(crate) fn new(wish: Wish) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let mut viewer = runtime.block_on(Self::build(wish));
        viewer.runtime = Some(runtime);
        viewer
    }

    async fn build(wish: Wish) -> Self {
        let (track_sink, tracks) = channel(8);
        let (gathered_sink, mut gathered) = channel(1);
        let (state_sink, states) = channel(64);
        let handler = Arc::new(Watcher {
            tracks: track_sink,
            gathered: gathered_sink,
            states: state_sink,
        });
        let mut engine = media_engine(wish);
        let registry = configure_nack(Registry::new(), &mut engine);
        let registry = configure_twcc_receiver_only(registry, &mut engine).unwrap();
        let setting = SettingEngineBuilder::new()
            .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
            .build();
        let connection = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_setting_engine(setting)
            .with_interceptor_registry(configure_rtcp_reports(registry))
            .with_handler(handler)
            .with_udp_addrs(vec!["127.0.0.1:0"]);
        let connection = Box::pin(connection.build()).await.unwrap();
        let connection: Arc<dyn PeerConnection> = Arc::new(connection);
        let media: &[RtpCodecKind] = match wish {
            Wish::LineCheck => &[],
            _ => &[RtpCodecKind::Video, RtpCodecKind::Audio],
        };
        for kind in media.iter().copied() {
            let added = connection.add_transceiver_from_kind(kind, None).await;
            added.map(|_| ()).unwrap();
        }
        let (mark_sink, marks) = channel(10_000);
        let (notice_sink, notices) = channel(1000);
        let (open_sink, opened) = channel(2);
        let (mut motion, mut control) = (None, None);
        if wish != Wish::NoChannels {
            let unreliable = RTCDataChannelInit {
                ordered: false,
                max_retransmits: Some(0),
                negotiated: Some(0),
                ..RTCDataChannelInit::default()
            };
            let reliable = RTCDataChannelInit {
                negotiated: Some(1),
                ..RTCDataChannelInit::default()
            };
            let create = |name, init| connection.create_data_channel(name, Some(init));
            let m = create("motion", unreliable).await.unwrap();
            let c = create("control", reliable).await.unwrap();
            tokio::spawn(read_marks(Arc::clone(&m), mark_sink, open_sink.clone()));
            tokio::spawn(read_notices(Arc::clone(&c), notice_sink, open_sink));
            (motion, control) = (Some(m), Some(c));
        }
        let offer = connection.create_offer(None).await.unwrap();
        connection.set_local_description(offer).await.unwrap();
        timeout(DEADLINE, gathered.recv()).await.unwrap().unwrap();
        let offer = connection.local_description().await.unwrap().sdp;
        let (packet_sink, packets) = channel(100_000);
        let (sound_sink, sounds) = channel(10_000);
        Self {
            runtime: None,
            connection,
            motion,
            control,
            offer,
            tracks,
            packets,
            packet_sink,
            sounds,
            sound_sink,
            marks,
            notices,
            states,
            opened,
            video: None,
        }
    }

    fn runtime(&self) -> tokio::runtime::Handle {
        self.runtime.as_ref().unwrap().handle().clone()
    }

    /// Takes the answer, and waits until it is connected.
    pub(crate) fn connect(&mut self, answer: &str) {
        let answer = RTCSessionDescription::answer(answer.to_owned()).unwrap();
        let set = self.connection.set_remote_description(answer);
        self.runtime().block_on(set).unwrap();
        self.wait_state(RTCPeerConnectionState::Connected);
    }

    pub(crate) fn wait_state(&mut self, wanted: RTCPeerConnectionState) {
        let runtime = self.runtime();
        runtime.block_on(async {
            while timeout(DEADLINE, self.states.recv())
                .await
                .unwrap()
                .unwrap()
                != wanted
            {}
        });
    }

    /// Waits until both channels are open.
    pub(crate) fn wait_open(&mut self) {
        let runtime = self.runtime();
        runtime.block_on(async {
            for _ in 0..2 {
                timeout(DEADLINE, self.opened.recv())
                    .await
                    .unwrap()
                    .unwrap();
            }
        });
    }

    async fn accept_tracks(&mut self, count: usize) {
        for _ in 0..count {
            let next = timeout(DEADLINE, self.tracks.recv());
            let track = next.await.expect("a track comes").unwrap();
            let ssrc = track.ssrcs().await[0];
            let is_video = track.kind().await == RtpCodecKind::Video;
            let sink = if is_video {
                self.video = Some((Arc::clone(&track), ssrc));
                self.packet_sink.clone()
            } else {
                self.sound_sink.clone()
            };
            tokio::spawn(async move {
                while let Some(event) = track.poll().await {
                    if let TrackRemoteEvent::OnRtpPacket(packet) = event
                        && sink.send(packet).await.is_err()
                    {
                        return;
                    }
                }
            });
        }
    }

    /// The next `count` packets of the picture.
    pub(crate) fn packets(&mut self, count: usize) -> Vec<rtc::rtp::Packet> {
        let runtime = self.runtime();
        runtime.block_on(async {
            if self.video.is_none() {
                self.accept_tracks(1).await;
            }
            let mut packets = Vec::with_capacity(count);
            while packets.len() < count {
                let next = timeout(DEADLINE, self.packets.recv()).await;
                packets.push(next.expect("a packet comes").unwrap());
            }
            packets
        })
    }

    /// The next packet of the sound. Its track must be the next to come.
    pub(crate) fn sound(&mut self) -> rtc::rtp::Packet {
        let runtime = self.runtime();
        runtime.block_on(async {
            self.accept_tracks(1).await;
            timeout(DEADLINE, self.sounds.recv())
                .await
                .unwrap()
                .unwrap()
        })
    }

    /// Takes both tracks, as a page does that plays them.
    pub(crate) fn accept_both(&mut self) {
        let runtime = self.runtime();
        runtime.block_on(self.accept_tracks(2));
    }

    /// Throws away the sound that has come; returns how many packets there were.
    pub(crate) fn drain_sounds(&mut self) -> usize {
        std::iter::from_fn(|| self.sounds.try_recv().ok()).count()
    }

    /// Packets that have come and not been asked for.
    pub(crate) fn packets_left(&self) -> usize {
        self.packets.len()
    }

    /// Throws away the packets that have come; returns how many there were.
    #[allow(dead_code, reason = "for the spike, which shares this file")]
    pub(crate) fn drain_packets(&mut self) -> usize {
        let mut count = 0;
        while self.packets.try_recv().is_ok() {
            count += 1;
        }
        count
    }

    /// Asks for a key frame.
    pub(crate) fn ask_for_key_frame(&self) {
        let (track, media_ssrc) = self.video.as_ref().expect("a picture has come");
        let pli = PictureLossIndication {
            sender_ssrc: 0,
            media_ssrc: *media_ssrc,
        };
        self.runtime()
            .block_on(track.write_rtcp(vec![Box::new(pli)]))
            .unwrap();
    }

    pub(crate) fn mark(&mut self) -> Mark {
        let runtime = self.runtime();
        let next = async { timeout(DEADLINE, self.marks.recv()).await };
        runtime.block_on(next).expect("a mark comes").unwrap()
    }

    /// Waits until a ping is answered: a watcher and a line check are not greeted.
    pub(crate) fn wait_answered(&mut self) {
        let runtime = self.runtime();
        self.wait_open();
        for seq in 0.. {
            self.send_motion(&input(seq, Event::Ping));
            // The channel may lose a ping as a network does: another one follows.
            let patience = Duration::from_millis(200);
            let heard = async { timeout(patience, self.marks.recv()).await };
            match runtime.block_on(heard) {
                Ok(Some(Mark::Pong { .. })) => return,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => assert!(seq < 100, "no ping is answered"),
            }
        }
    }

    /// Waits until the node has greeted the player: what is sent before is lost.
    pub(crate) fn wait_ready(&mut self) {
        assert_eq!(
            self.any_notice(),
            Notice::Ready { hears_shown: true },
            "nothing is said before it"
        );
    }

    /// Takes `count` marks that must all be of frames.
    pub(crate) fn mark_frames(&mut self, count: usize) -> usize {
        let marks = (0..count).map(|_| self.mark());
        marks.filter(|m| matches!(m, Mark::Frame { .. })).count()
    }

    /// Marks that have come and not been asked for.
    pub(crate) fn marks_left(&self) -> usize {
        self.marks.len()
    }

    /// The next notice that is neither the greeting nor about how the stream goes, which comes every
    /// second.
    pub(crate) fn notice(&mut self) -> Notice {
        loop {
            let notice = self.any_notice();
            if !matches!(notice, Notice::Ready { .. } | Notice::Stream { .. }) {
                return notice;
            }
        }
    }

    /// How the stream goes, once `wanted` likes it.
    pub(crate) fn stream_state(&mut self, wanted: impl Fn(&StreamState) -> bool) -> StreamState {
        loop {
            match self.any_notice() {
                Notice::Stream { stream } if wanted(&stream) => return stream,
                _ => {}
            }
        }
    }

    fn any_notice(&mut self) -> Notice {
        let runtime = self.runtime();
        let next = async { timeout(DEADLINE, self.notices.recv()).await };
        runtime.block_on(next).expect("a notice comes").unwrap()
    }

    pub(crate) fn send_motion(&self, bytes: &[u8]) {
        self.send(self.motion.as_ref().unwrap(), bytes);
    }

    pub(crate) fn send_control(&self, bytes: &[u8]) {
        self.send(self.control.as_ref().unwrap(), bytes);
    }

    fn send(&self, channel: &Arc<dyn DataChannel>, bytes: &[u8]) {
        let send = channel.send(BytesMut::from(bytes));
        self.runtime().block_on(send).unwrap();
    }

    /// Leaves in good order.
    pub(crate) fn close(mut self) {
        self.runtime().block_on(self.connection.close()).unwrap();
        self.vanish();
    }

    /// Is gone, without a word.
    pub(crate) fn vanish(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.vanish();
    }
}

/// An input packet.
pub(crate) fn input(seq: u32, event: Event) -> Vec<u8> {
    let client_us = 5000 + u64::from(seq);
    Packet {
        seq,
        client_us,
        event,
    }
    .encode()
}

async fn read_marks(channel: Arc<dyn DataChannel>, marks: Sender<Mark>, open: Sender<()>) {
    while let Some(event) = channel.poll().await {
        match event {
            DataChannelEvent::OnOpen => drop(open.send(()).await),
            DataChannelEvent::OnMessage(message) => {
                let mark = Mark::decode(&message.data).expect("only marks come on motion");
                let _ = marks.send(mark).await;
            }
            _ => {}
        }
    }
}

async fn read_notices(channel: Arc<dyn DataChannel>, notices: Sender<Notice>, open: Sender<()>) {
    while let Some(event) = channel.poll().await {
        match event {
            DataChannelEvent::OnOpen => drop(open.send(()).await),
            DataChannelEvent::OnMessage(message) => {
                let notice = serde_json::from_slice(&message.data).expect("a notice is JSON");
                let _ = notices.send(notice).await;
            }
            _ => {}
        }
    }
}

fn media_engine(wish: Wish) -> MediaEngine {
    let mut engine = MediaEngine::default();
    let h264 = (
        MIME_TYPE_H264,
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    );
    let vp8 = (MIME_TYPE_VP8, "");
    let video = match wish {
        Wish::All => &[
            vp8,
            (MIME_TYPE_VP9, "profile-id=0"),
            h264,
            (MIME_TYPE_AV1, "level-idx=5;profile=0;tier=0"),
            (
                MIME_TYPE_HEVC,
                "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST",
            ),
        ][..],
        Wish::Vp8 => &[vp8],
        Wish::H264 | Wish::NoChannels | Wish::LineCheck => &[h264],
    };
    for ((name, fmtp), payload_type) in video.iter().copied().zip((98..).step_by(2)) {
        let again = format!("apt={payload_type}");
        let rtx = (MIME_TYPE_RTX, again.as_str(), payload_type + 1);
        for (name, fmtp, payload_type) in [(name, fmtp, payload_type), rtx] {
            let codec = codec(name, 90_000, 0, fmtp, payload_type);
            engine.register_codec(codec, RtpCodecKind::Video).unwrap();
        }
    }
    let opus = codec(MIME_TYPE_OPUS, 48_000, 2, "minptime=10", 111);
    engine.register_codec(opus, RtpCodecKind::Audio).unwrap();
    let uri = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay".to_owned();
    let delay = RTCRtpHeaderExtensionCapability { uri };
    engine
        .register_header_extension(delay, RtpCodecKind::Video, None)
        .unwrap();
    engine
}

fn codec(
    name: &str,
    clock_rate: u32,
    channels: u16,
    fmtp: &str,
    payload_type: u8,
) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: name.to_owned(),
            clock_rate,
            channels,
            sdp_fmtp_line: fmtp.to_owned(),
            rtcp_feedback: Vec::new(),
        },
        payload_type,
    }
}
