//! An attachment on a clock of our own: its deadlines, without waiting for them. What needs a real
//! viewer is in tests/transport.

use super::*;
use crate::attachment::path::Judged;
use crate::config::Config;
use crate::counters::Counters;
use crate::limits::ADDRESSES_MAX;
use crate::net::ports::Ports;
use crate::net::stun::{self, Binding};
use crate::picture::{Cutter, PAYLOAD_BYTES};
use nearlight_protocol::notice::DetachReason;
use nearlight_protocol::worker::Video;
use std::time::Duration;

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\n\
    a=rtpmap:96 VP8/90000\r\na=setup:actpass\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n\
    a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:\
    00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n";

struct Bench {
    attachment: Attachment,
    ports: Ports,
    counters: Counters,
    start: Instant,
}

fn bench() -> Bench {
    let offer = Offer::read(OFFER, &[VideoCodec::VP8]).unwrap();
    bench_of(Kind::Player, &offer)
}

fn bench_of(kind: Kind, offer: &Offer) -> Bench {
    let poll = mio::Poll::new().unwrap();
    let registry = poll.registry().try_clone().unwrap();
    let config = Config::on("127.0.0.1:0".parse().unwrap());
    let ports = Ports::bind(&config, true, registry, 1).unwrap();
    let context = Context {
        crypto: rtc::crypto::default_provider().unwrap(),
        clock: Clock::start().unwrap(),
        rates: congestion::Rates {
            kbps_start: config.kbps_start,
            kbps_max: config.kbps_max,
        },
        lite: true,
        nominal: ports.addresses(),
    };
    let start = Instant::now();
    let id = AttachmentId::from_parts(1, [1; 10]);
    let answered = Attachment::answer(&context, id, kind, offer, start);
    let (attachment, answer) = answered.unwrap();
    assert!(answer.contains("a=ice-lite"));
    Bench {
        attachment,
        ports,
        counters: Counters::default(),
        start,
    }
}

impl Bench {
    fn effects_at(&mut self, after: Duration) -> Vec<Effect> {
        let now = self.start + after;
        self.attachment
            .pump(now, &mut self.ports, &mut self.counters);
        let mut effects = Vec::new();
        self.attachment.take_effects(&mut effects);
        effects
    }
}

#[test]
fn a_viewer_that_never_connects_is_dropped_after_its_deadline() {
    let mut bench = bench();
    let almost = CONNECT_DEADLINE.saturating_sub(Duration::from_millis(1));
    assert_eq!(bench.effects_at(almost), []);
    assert!(bench.attachment.is_replaceable(bench.start));
    assert!(bench.attachment.deadline().unwrap() <= bench.start + CONNECT_DEADLINE);
    // It never was attached, so nobody is told but whoever keeps it.
    assert_eq!(bench.effects_at(CONNECT_DEADLINE), [Effect::Over]);
    assert_eq!(bench.attachment.deadline(), None);
}

#[test]
fn before_it_is_connected_nothing_is_sent_and_it_goes_at_once() {
    let mut bench = bench();
    let video = Video {
        codec: VideoCodec::VP8,
        key: true,
        frame: 1,
        commit_us: 1,
        captured_us: 2,
        encoded_us: 3,
        input_us: 0,
        input_host_us: 0,
        data: vec![1; 100],
    };
    let picture = Cutter::new(VideoCodec::VP8).cut(video, PAYLOAD_BYTES);
    let refused = bench.attachment.send_video(bench.start, &picture);
    assert_eq!(refused, Err(VideoDropReason::NoAttachment));
    assert!(!bench.attachment.send_audio(bench.start, 1, Bytes::new()));
    let reason = DetachReason::TakenOver;
    let notice = Notice::Detached { reason };
    bench.attachment.leave(bench.start, Some(&notice));
    assert!(bench.attachment.is_leaving());
    assert_eq!(bench.effects_at(Duration::ZERO), [Effect::Over]);
    assert_eq!(bench.counters.packets_sent, 0);
}

#[test]
fn an_address_heard_of_long_ago_makes_room_and_that_of_the_path_never_does() {
    let mut bench = bench();
    let attachment = &mut bench.attachment;
    let names = (
        attachment.ours.ufrag.clone(),
        attachment.theirs.ufrag.clone(),
    );
    let names = (names.0.as_str(), names.1.as_str());
    let password = attachment.ours.password.clone();
    let question = stun::ice_request([1; 12], names, &password, &*attachment.crypto).unwrap();
    let binding = Binding::parse(&question).unwrap();
    let from = |port: u16| SocketAddr::from(([192, 0, 2, 1], port));
    let mut gone = Vec::new();
    // A train of some hours, with a network that gives it another port each minute.
    for n in 0..200 {
        let received = Received {
            len: question.len(),
            from: from(1000 + n),
            to: None,
        };
        let now = bench.start + Duration::from_millis(n.into());
        match attachment.stun(now, &binding, &question, &received) {
            Judged::Authentic { instead_of } => gone.extend(instead_of),
            other => panic!("{other:?}"),
        }
        assert!(attachment.addresses().count() <= ADDRESSES_MAX);
    }
    assert_eq!(gone.len(), 200 - ADDRESSES_MAX);
    assert_eq!(gone[..3], [from(1001), from(1002), from(1003)]);
    assert!(attachment.addresses().any(|address| address == from(1000)));
    assert_eq!(attachment.path.unwrap().remote, from(1000));
    // Somebody else's word still counts for nothing.
    let forged = stun::ice_request([1; 12], names, "guess", &*attachment.crypto).unwrap();
    let binding = Binding::parse(&forged).unwrap();
    let received = Received {
        len: forged.len(),
        from: from(1),
        to: None,
    };
    let judged = attachment.stun(bench.start, &binding, &forged, &received);
    assert_eq!(judged, Judged::Forged);
}

#[test]
fn a_line_check_is_over_after_its_time_whatever_it_does() {
    let media = OFFER.find("m=video").unwrap();
    let transport = OFFER.find("a=setup").unwrap();
    let (session, transport) = (&OFFER[..media], &OFFER[transport..]);
    let data =
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\na=sctp-port:5000\r\n";
    let offer = Offer::read_line_check(&format!("{session}{data}{transport}")).unwrap();
    let mut bench = bench_of(Kind::LineCheck, &offer);
    assert_eq!(bench.attachment.codec(), None);
    assert!(bench.attachment.deadline().unwrap() <= bench.start + LINE_CHECK_DEADLINE);
    let almost = LINE_CHECK_DEADLINE.saturating_sub(Duration::from_millis(1));
    assert_eq!(bench.effects_at(almost), []);
    assert_eq!(bench.effects_at(LINE_CHECK_DEADLINE), [Effect::Over]);
    assert_eq!(bench.attachment.deadline(), None);
}
