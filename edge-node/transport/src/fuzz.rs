//! Entrances for the fuzz targets in `fuzz/`: each takes what a stranger may send, and asserts what
//! must hold whatever it is. No part of the crate's API.

use crate::attachment::congestion::{Flow, Rates};
use crate::attachment::input::{Gate, Verdict};
use crate::attachment::peer::{Context, Peer, credentials};
use crate::attachment::reports::{Reports, Signals};
use crate::attachment::resend::{BURST, Resender, Rtx};
use crate::attachment::wire::Tag;
use crate::clock::Clock;
use crate::limits::{INPUTS_PER_SECOND, REMOTE_CANDIDATES_MAX};
use crate::net::stun::{Binding, is_stun};
use crate::picture::{Cutter, PAYLOAD_BYTES, PROTECTED_PAYLOAD_BYTES};
use crate::routes::{AttachmentKey, Routes};
use crate::sdp::offer::{Offer, Role, TRANSPORT_CC_URI};
use crate::sdp::{answer, fragment};
use crate::worker_link::WorkerLink;
use bytes::Bytes;
use nearlight_protocol::input;
use nearlight_protocol::worker::{FromWorker, Video, VideoCodec, frame_len};
use nearlight_stream::congestion::Kind;
use rtc::interceptor::{
    AttributedPacket, Interceptor, Packet, RTPHeaderExtension, StreamInfo, TaggedPacket,
};
use rtc::rtcp;
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use std::collections::HashMap;
use std::io::Write;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

const ENCODERS: [VideoCodec; 5] = [
    VideoCodec::AV1,
    VideoCodec::H265,
    VideoCodec::H264,
    VideoCodec::VP9,
    VideoCodec::VP8,
];

static CONTEXT: LazyLock<Context> = LazyLock::new(|| Context {
    crypto: rtc::crypto::default_provider().expect("the crate has a provider"),
    clock: Clock::start().expect("Linux has a monotonic clock"),
    rates: Rates {
        kbps_start: 8_000,
        kbps_max: 12_000,
    },
    lite: true,
    nominal: vec![SocketAddr::from(([192, 0, 2, 1], 8443))],
});

/// An SDP offer: what is taken says the same when it is reduced, and is answered section by section.
pub fn offer(sdp: &str) {
    let Ok(offer) = Offer::read(sdp, &ENCODERS) else {
        return;
    };
    let reduced = offer.reduced();
    let again = Offer::read(&reduced, &ENCODERS).expect("what we write for `rtc` is an offer");
    assert_eq!(again.ice, offer.ice);
    assert_eq!(again.video, offer.video);
    assert_eq!(again.audio, offer.audio);
    assert_eq!(again.data, offer.data);
    let peer = Peer::answer(&CONTEXT, &offer, &credentials(), Instant::now());
    let peer = peer.unwrap_or_else(|error| panic!("`rtc` takes what we took: {error}\n{reduced}"));
    let candidate = "a=candidate:1 1 udp 1 192.0.2.1 8443 typ host".to_owned();
    let answer = answer::complete(&peer.answer, &offer, &[candidate]).expect("every section");
    let sections = answer.lines().filter(|line| line.starts_with("m="));
    assert_eq!(sections.count(), offer.sections.len(), "{answer}");
    let refused = offer.sections.iter().filter(|s| s.role == Role::Refused);
    let closed = answer.lines().filter(|line| {
        let mut words = line.split(' ');
        words.next().is_some_and(|word| word.starts_with("m=")) && words.next() == Some("0")
    });
    assert_eq!(closed.count(), refused.count(), "{answer}");
}

/// Trickled candidates: as many as the limit, whole words, no line breaks.
pub fn fragment(text: &str) {
    let Ok(candidates) = fragment::candidates(text, "ours") else {
        return;
    };
    assert!(candidates.len() <= REMOTE_CANDIDATES_MAX);
    for candidate in candidates {
        assert!(candidate.starts_with("candidate:") && !candidate.contains(['\r', '\n']));
        let _ = fragment::is_usable(candidate);
    }
}

/// A datagram from nobody known: read, and not authentic, for nobody knows the password.
pub fn stun(datagram: &[u8]) {
    let Some(binding) = Binding::parse(datagram) else {
        return;
    };
    assert!(is_stun(datagram));
    assert!(binding.ufrag().is_none_or(|ufrag| !ufrag.contains(':')));
    let _ = binding.mapped_address();
    let _ = binding.use_candidate();
    assert!(!binding.is_authentic("a password that is in no seed", &*CONTEXT.crypto));
}

/// What a viewer reports, compound by compound and ten milliseconds apart, after two hundred packets of a picture: read by
/// the interceptors and the controller, as after decryption.
pub fn rtcp(compounds: &[&[u8]]) {
    const SENT: u16 = 200;
    let mut viewer = Reporting::new();
    for number in 0..SENT {
        viewer.send(number);
    }
    for compound in compounds {
        viewer.now += Duration::from_millis(10);
        let mut compound = *compound;
        let Ok(packets) = rtcp::packet::unmarshal(&mut compound) else {
            continue;
        };
        if !packets.is_empty() {
            viewer.report(packets);
        }
    }
    // Half of what was sent, beyond a burst, and all of it known to the controller.
    assert!(viewer.again <= u32::from(SENT) / 2 + BURST);
}

/// The node's reading of one viewer's reports.
struct Reporting {
    now: Instant,
    signals: Arc<Signals>,
    reports: Reports,
    resender: Resender,
    flow: Flow,
    again: u32,
}

impl Reporting {
    const SSRC: u32 = 7;
    const RTX: Rtx = Rtx {
        ssrc: 8,
        payload_type: 97,
    };

    fn new() -> Self {
        let (now, clock) = (Instant::now(), CONTEXT.clock);
        let signals = Arc::new(Signals::default());
        let mut reports = Reports::new(Arc::clone(&signals), clock, now);
        reports.bind_local_stream(&StreamInfo {
            ssrc: Self::SSRC,
            ssrc_rtx: Some(Self::RTX.ssrc),
            clock_rate: 90_000,
            rtp_header_extensions: vec![RTPHeaderExtension {
                uri: TRANSPORT_CC_URI.to_owned(),
                id: 5,
            }],
            ..StreamInfo::default()
        });
        let resender = Resender::new(Arc::clone(&signals), Self::SSRC, 96, Some(Self::RTX), None);
        Self {
            now,
            signals,
            reports,
            resender,
            flow: Flow::new(CONTEXT.rates, true, clock.micros(now)),
            again: 0,
        }
    }

    fn tagged(&self, packet: Packet) -> TaggedPacket {
        TaggedPacket {
            now: self.now,
            transport: TransportContext::default(),
            message: AttributedPacket::new(packet),
        }
    }

    fn send(&mut self, sequence_number: u16) {
        let mut packet = rtc::rtp::Packet::default();
        packet.header.ssrc = Self::SSRC;
        packet.header.sequence_number = sequence_number;
        packet.payload = Bytes::from_static(&[0; 1_000]);
        let packet = self.tagged(Packet::Rtp(packet));
        self.resender.handle_write(packet).expect("it is kept");
        self.flush();
    }

    /// What goes out leaves, with the number that it was given.
    fn flush(&mut self) {
        while let Some(packet) = self.resender.poll_write() {
            self.reports.handle_write(packet).expect("it is numbered");
        }
        while let Some(packet) = self.reports.poll_write() {
            let Packet::Rtp(rtp) = &packet.message.packet else {
                continue;
            };
            let again = rtp.header.ssrc == Self::RTX.ssrc;
            self.again += u32::from(again);
            let number = rtp.header.get_extension(5).expect("every packet has one");
            let tag = Tag {
                kind: if again { Kind::Retransmit } else { Kind::Video },
                sequence: Some(u16::from_be_bytes([number[0], number[1]])),
                bytes: 1_068,
            };
            self.flow.left(&tag, CONTEXT.clock.micros(self.now));
        }
    }

    fn report(&mut self, packets: Vec<Box<dyn rtcp::Packet>>) {
        let packet = self.tagged(Packet::Rtcp(packets));
        self.reports.handle_read(packet).expect("it is read");
        while let Some(packet) = self.reports.poll_read() {
            self.resender.handle_read(packet).expect("it is read");
        }
        while self.resender.poll_read().is_some() {}
        self.flush();
        let now_us = CONTEXT.clock.micros(self.now);
        self.flow.steer(&self.signals, now_us);
        let gauges = self.flow.gauges();
        assert!(gauges.loss_permille <= 1_000 && gauges.rtt_us <= 30_000_000);
        assert!(self.flow.room(now_us) < usize::MAX);
    }
}

/// Viewers that come, prove an address and go, as `(step, viewer, address)`, against two plain maps.
pub fn routes(steps: &[(u8, u8, u8)]) {
    let mut routes = Routes::default();
    let mut named: HashMap<AttachmentKey, String> = HashMap::new();
    let mut owners: HashMap<SocketAddr, AttachmentKey> = HashMap::new();
    for (index, (step, viewer, address)) in steps.iter().enumerate() {
        let key = AttachmentKey::from(*viewer);
        let address = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), u16::from(*address));
        match step % 3 {
            0 if !named.contains_key(&key) => {
                let ufrag = format!("{viewer}-{index}");
                routes.expect(&ufrag, key);
                named.insert(key, ufrag);
            }
            1 if named.contains_key(&key) => {
                routes.learn(address, key);
                owners.insert(address, key);
            }
            2 => {
                if let Some(ufrag) = named.remove(&key) {
                    let all = (0..=255).map(|port| SocketAddr::new(address.ip(), port));
                    routes.forget(key, &ufrag, all);
                    owners.retain(|_, owner| *owner != key);
                    assert_eq!(routes.of_ufrag(&ufrag), None);
                }
            }
            _ => {}
        }
        assert_eq!(routes.of_address(address), owners.get(&address).copied());
    }
    for (key, ufrag) in &named {
        assert_eq!(routes.of_ufrag(ufrag), Some(*key));
    }
}

/// Messages on a data channel, as `(text, message)`, a quarter of a second apart: only input packets
/// pass, and whoever is struck out sent something else.
pub fn gate(messages: &[(bool, &[u8])]) {
    let mut now = Instant::now();
    let mut gate = Gate::new(INPUTS_PER_SECOND);
    for (text, message) in messages {
        now += Duration::from_millis(250);
        let packet = (!text)
            .then(|| input::Packet::decode(message).ok())
            .flatten();
        match gate.judge(now, *text, message) {
            Verdict::Drop => {}
            Verdict::StrikeOut => assert!(packet.is_none()),
            _ => assert!(packet.is_some()),
        }
    }
}

/// Access units of a worker, one after the other, as `(key frame, unit)`: each is cut into packets
/// that fit, or into none, every other one as it is with repair packets.
pub fn access_units(codec: u8, units: &[(bool, &[u8])]) {
    let codec = ENCODERS[usize::from(codec) % ENCODERS.len()];
    let mut cutter = Cutter::new(codec);
    for (frame, (key, unit)) in (1..).zip(units) {
        let bytes_max = match frame % 2 {
            0 => PROTECTED_PAYLOAD_BYTES,
            _ => PAYLOAD_BYTES,
        };
        let video = Video {
            codec,
            key: *key,
            frame,
            commit_us: 1,
            captured_us: 2,
            encoded_us: 3,
            input_us: 0,
            input_host_us: 0,
            data: unit.to_vec(),
        };
        let picture = cutter.cut(video, bytes_max);
        let fits = |payload: &Bytes| (1..=bytes_max).contains(&payload.len());
        assert!(picture.payloads.iter().all(fits), "{codec:?}");
    }
}

/// What a worker writes, piece by piece: the frames that come out are those that went in, up to the
/// first that is none.
pub fn worker_link(writes: &[&[u8]]) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
    let mut link = WorkerLink::new(ours).expect("a stream can be taken over");
    let (mut frames, mut over) = (Vec::new(), false);
    for bytes in writes {
        if over || (&theirs).write_all(bytes).is_err() {
            break;
        }
        link.ready(true, false, false);
        while !over && link.has_work() {
            over = link.pull(&mut frames).is_err();
        }
    }
    drop(theirs);
    link.ready(true, false, true);
    while !over {
        over = link.pull(&mut frames).is_err();
    }
    let whole = writes.concat();
    let mut rest = whole.as_slice();
    let mut expected = Vec::new();
    while let Ok(Some(len)) = frame_len(rest)
        && let Some((frame, after)) = rest.split_at_checked(len)
        && let Ok(frame) = FromWorker::decode(frame)
    {
        expected.push(frame);
        rest = after;
    }
    assert_eq!(frames, expected);
}
