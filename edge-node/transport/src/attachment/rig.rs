//! For tests: an attachment with a real viewer at the other end, `rtc`'s own, over loopback sockets and on
//! a clock of ours. What leaves is what the kernel would carry.

use super::*;
use crate::attachment::congestion::Rates;
use crate::config::Config;
use crate::counters::Counters;
use crate::net::ports::Ports;
use crate::net::stun::{Binding, is_stun};
use crate::sdp::answer;
use crate::sdp::offer::{FLEXFEC_FMTP, PLAYOUT_DELAY_URI, TRANSPORT_CC_URI};
use bytes::BytesMut;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::RTCPeerConnectionBuilder;
use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_FLEX_FEC03, MIME_TYPE_H264, MIME_TYPE_RTX, MediaEngine,
};
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use std::net::UdpSocket;
use std::time::Duration;

const PORT: mio::Token = mio::Token(1);
const STEP: Duration = Duration::from_millis(5);
const STEPS_MAX: u32 = 1_000;

pub(super) struct Rig {
    pub(super) attachment: Attachment,
    pub(super) ports: Ports,
    pub(super) counters: Counters,
    pub(super) now: Instant,
    pub(super) viewer: RTCPeerConnection,
    socket: UdpSocket,
    buffer: Vec<u8>,
}

impl Rig {
    /// A player that is connected, with H.264, RTX, FlexFEC and both extensions, and no sound.
    pub(super) fn connected() -> Self {
        let poll = mio::Poll::new().unwrap();
        let registry = poll.registry().try_clone().unwrap();
        let config = Config::on("127.0.0.1:0".parse().unwrap());
        let ports = Ports::bind(&config, false, registry, PORT.0).unwrap();
        let context = Context {
            crypto: rtc::crypto::default_provider().unwrap(),
            clock: Clock::start().unwrap(),
            rates: Rates {
                kbps_start: config.kbps_start,
                kbps_max: config.kbps_max,
            },
            lite: true,
            nominal: ports.addresses(),
        };
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let now = Instant::now();
        let mut viewer = viewer(socket.local_addr().unwrap(), now);
        let offer = viewer.create_offer(None).unwrap();
        viewer.set_local_description(now, offer.clone()).unwrap();
        let offer = Offer::read(&offer.sdp, &[VideoCodec::H264]).unwrap();
        let id = AttachmentId::from_parts(1, [1; 10]);
        let answered = Attachment::answer(&context, id, Kind::Player, &offer, now);
        let (attachment, answer) = answered.unwrap();
        let node = format!("a={}", candidate(context.nominal[0]));
        let answer = answer::complete(&answer, &offer, &[node]).unwrap();
        let answer = RTCSessionDescription::answer(answer).unwrap();
        viewer.set_remote_description(now, answer).unwrap();
        let mut rig = Self {
            attachment,
            ports,
            counters: Counters::default(),
            now,
            viewer,
            socket,
            buffer: vec![0; 2048],
        };
        let connected = (0..STEPS_MAX).any(|_| {
            rig.step();
            rig.attachment.is_connected()
        });
        assert!(connected, "the viewer connects");
        // What is left of the handshake.
        (0..20).for_each(|_| rig.step());
        rig
    }

    /// A moment passes: everything goes to and fro.
    pub(super) fn step(&mut self) {
        self.now += STEP;
        self.viewer.handle_timeout(self.now).unwrap();
        while self.viewer.poll_event().is_some() || self.viewer.poll_read().is_some() {}
        self.say_and_receive();
        self.pump();
        let node = self.attachment.nominal[0];
        for datagram in self.arrived() {
            let transport = TransportContext {
                local_addr: self.socket.local_addr().unwrap(),
                peer_addr: node,
                transport_protocol: TransportProtocol::UDP,
                ecn: None,
            };
            let message = TaggedBytesMut {
                now: self.now,
                transport,
                message: BytesMut::from(&datagram[..]),
            };
            // What is not for this viewer it says.
            let _ = self.viewer.handle_read(message);
        }
    }

    /// The viewer says what it has to say, and the node takes it.
    pub(super) fn say_and_receive(&mut self) {
        let node = self.attachment.nominal[0];
        while let Some(datagram) = self.viewer.poll_write() {
            self.socket.send_to(&datagram.message, node).unwrap();
        }
        self.receive();
    }

    /// The viewer asks for packets of `media_ssrc` again, and the node hears it.
    pub(super) fn asks_again(&mut self, numbers: &[u16], media_ssrc: u32) {
        let nack = TransportLayerNack {
            sender_ssrc: 1,
            media_ssrc,
            nacks: nack_pairs_from_sequence_numbers(numbers),
        };
        let message = RTCMessage::RtcpPacket(String::new(), vec![Box::new(nack)]);
        write(&mut self.viewer, self.now, message);
        self.say_and_receive();
        self.pump();
    }

    /// The node takes what has come, and says nothing yet.
    pub(super) fn receive(&mut self) {
        self.ports.ready(PORT, true, true);
        while let Some(received) = self.ports.receive(0, &mut self.buffer) {
            let datagram = &self.buffer[..received.len];
            match is_stun(datagram) {
                true => {
                    let binding = Binding::parse(datagram).unwrap();
                    let attachment = &mut self.attachment;
                    attachment.stun(self.now, &binding, datagram, &received);
                }
                false => self.attachment.payload(self.now, datagram, &received),
            }
        }
    }

    pub(super) fn pump(&mut self) {
        let (ports, counters) = (&mut self.ports, &mut self.counters);
        self.attachment.pump(self.now, ports, counters);
    }

    /// What the viewer's socket has.
    pub(super) fn arrived(&self) -> Vec<Vec<u8>> {
        let mut buffer = [0; 2048];
        let next = || {
            let len = self.socket.recv(&mut buffer).ok()?;
            Some(buffer[..len].to_vec())
        };
        std::iter::from_fn(next).collect()
    }

    /// Lets the pacer send what waits; what comes of it.
    pub(super) fn drained(&mut self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for _ in 0..STEPS_MAX {
            self.now += STEP;
            self.pump();
            all.extend(self.arrived());
            if self.attachment.outbox.waiting_bytes() == 0 {
                return all;
            }
        }
        panic!("the pacer does not let go of what waits");
    }
}

fn viewer(address: SocketAddr, now: Instant) -> RTCPeerConnection {
    let setting = SettingEngineBuilder::new()
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .build();
    let mut viewer = RTCPeerConnectionBuilder::new()
        .with_setting_engine(setting)
        .with_media_engine(media_engine())
        .build(now)
        .unwrap();
    let candidate = RTCIceCandidateInit {
        candidate: candidate(address),
        ..RTCIceCandidateInit::default()
    };
    viewer.add_local_candidate(candidate).unwrap();
    let added = viewer.add_transceiver_from_kind(RtpCodecKind::Video, None);
    added.map(|_| viewer).unwrap()
}

fn candidate(address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!("candidate:1 1 udp 2130706431 {ip} {port} typ host")
}

fn media_engine() -> MediaEngine {
    let mut engine = MediaEngine::default();
    let h264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
    for (payload_type, name, fmtp) in [
        (102, MIME_TYPE_H264, h264),
        (103, MIME_TYPE_RTX, "apt=102"),
        (49, MIME_TYPE_FLEX_FEC03, FLEXFEC_FMTP),
    ] {
        let codec = RTCRtpCodecParameters {
            rtp_codec: RTCRtpCodec {
                mime_type: name.to_owned(),
                clock_rate: 90_000,
                sdp_fmtp_line: fmtp.to_owned(),
                ..RTCRtpCodec::default()
            },
            payload_type,
        };
        engine.register_codec(codec, RtpCodecKind::Video).unwrap();
    }
    for uri in [TRANSPORT_CC_URI, PLAYOUT_DELAY_URI] {
        let uri = uri.to_owned();
        let extension = RTCRtpHeaderExtensionCapability { uri };
        let registered = engine.register_header_extension(extension, RtpCodecKind::Video, None);
        registered.unwrap();
    }
    engine
}
