use super::*;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::NackPair;

const SSRC: u32 = 7;

struct Bench {
    resender: Resender,
    signals: Arc<Signals>,
    start: Instant,
}

fn bench(rtx: Option<Rtx>) -> Bench {
    let signals = Arc::new(Signals::default());
    Bench {
        resender: Resender::new(Arc::clone(&signals), SSRC, 102, rtx, Some(5)),
        signals,
        start: Instant::now(),
    }
}

const RTX: Rtx = Rtx {
    ssrc: 8,
    payload_type: 103,
};

impl Bench {
    fn send(&mut self, ssrc: u32, sequence_number: u16) {
        let header = rtp::header::Header {
            version: 2,
            marker: true,
            payload_type: 102,
            sequence_number,
            timestamp: 9,
            ssrc,
            ..rtp::header::Header::default()
        };
        let payload = Bytes::from(vec![sequence_number as u8; 3]);
        let message = AttributedPacket::new(Packet::Rtp(rtp::Packet { header, payload }));
        let packet = TaggedPacket {
            now: self.start,
            transport: TransportContext::default(),
            message,
        };
        self.resender.handle_write(packet).unwrap();
        assert!(self.resender.poll_write().is_some());
    }

    /// Asks `after` the start; returns what is resent.
    fn ask(&mut self, after: Duration, packet_id: u16, lost_packets: u16) -> Vec<rtp::Packet> {
        let nack = TransportLayerNack {
            sender_ssrc: 1,
            media_ssrc: SSRC,
            nacks: vec![NackPair {
                packet_id,
                lost_packets,
            }],
        };
        let packet = TaggedPacket {
            now: self.start + after,
            transport: TransportContext::default(),
            message: AttributedPacket::new(Packet::Rtcp(vec![Box::new(nack)])),
        };
        self.resender.handle_read(packet).unwrap();
        assert!(self.resender.poll_read().is_some(), "others read it too");
        let resent = std::iter::from_fn(|| self.resender.poll_write());
        resent
            .map(|packet| {
                assert!(packet.message.has(&Attribute::Retransmission));
                match packet.message.packet {
                    Packet::Rtp(packet) => packet,
                    other => panic!("{other:?}"),
                }
            })
            .collect()
    }
}

#[test]
fn a_lost_packet_is_resent_at_once_on_its_own_source() {
    let mut bench = bench(Some(RTX));
    for sequence in [65_535, 0, 1] {
        bench.send(SSRC, sequence);
    }
    bench.send(99, 2);
    let resent = bench.ask(Duration::ZERO, 65_535, 0b111);
    let seen: Vec<_> = resent
        .iter()
        .map(|p| (p.header.ssrc, p.header.payload_type, p.payload.to_vec()))
        .collect();
    let expected = |sequence: u16| {
        let [high, low] = sequence.to_be_bytes();
        (8, 103, vec![high, low, low, low, low])
    };
    assert_eq!(seen, [expected(65_535), expected(0), expected(1)]);
    let numbers: Vec<u16> = resent.iter().map(|p| p.header.sequence_number).collect();
    assert_eq!(numbers[1], numbers[0].wrapping_add(1));
    assert!(
        resent
            .iter()
            .all(|p| p.header.marker && p.header.timestamp == 9)
    );
    assert!(resent.iter().all(|p| p.header.extensions[0].id == 5));
}

#[test]
fn without_rtx_the_packet_goes_again_as_it_was() {
    let mut bench = bench(None);
    bench.send(SSRC, 4);
    let resent = bench.ask(Duration::ZERO, 4, 0);
    assert_eq!(resent[0].header.ssrc, SSRC);
    assert_eq!(resent[0].header.sequence_number, 4);
    assert_eq!(resent[0].payload[..], [4, 4, 4]);
}

#[test]
fn a_question_repeated_within_a_round_trip_is_not_answered_again() {
    let mut bench = bench(Some(RTX));
    bench.send(SSRC, 4);
    let ms = Duration::from_millis;
    assert_eq!(bench.ask(ms(0), 4, 0).len(), 1);
    assert_eq!(bench.ask(ms(99), 4, 0).len(), 0);
    assert_eq!(bench.ask(ms(100), 4, 0).len(), 1);
    bench.signals.round_trip_us.store(40_000, Relaxed);
    assert_eq!(bench.ask(ms(139), 4, 0).len(), 0);
    assert_eq!(bench.ask(ms(141), 4, 0).len(), 1);
    // The packet that now has the old one's place is not it.
    bench.send(SSRC, 4 + 1024);
    assert_eq!(bench.ask(ms(900), 4, 0).len(), 0);
}

#[test]
fn a_viewer_that_asks_for_everything_gets_half_of_it_beyond_a_burst() {
    let mut bench = bench(Some(RTX));
    let mut resent = 0;
    for sequence in 0..2000 {
        bench.send(SSRC, sequence);
        resent += bench.ask(Duration::ZERO, sequence, 0).len();
    }
    assert_eq!(resent, 256 + 1000 - 1);
}

#[test]
fn copies_of_an_answer_differ_in_their_number_and_count_against_the_budget() {
    let mut bench = bench(Some(RTX));
    bench.signals.copies.store(2, Relaxed);
    bench.send(SSRC, 4);
    let resent = bench.ask(Duration::ZERO, 4, 0);
    assert_eq!(resent.len(), 2);
    assert_eq!(resent[0].payload, resent[1].payload);
    let numbers = [0, 1].map(|i: usize| resent[i].header.sequence_number);
    assert_eq!(numbers[1], numbers[0].wrapping_add(1));
    let mut all = 2;
    for sequence in 5..2000 {
        bench.send(SSRC, sequence);
        all += bench.ask(Duration::ZERO, sequence, 0).len();
    }
    assert_eq!(all, 256 + 998 - 1);
}

#[test]
fn what_was_given_up_is_not_sent_again_and_what_comes_after_it_is() {
    let mut bench = bench(Some(RTX));
    bench.send(SSRC, 4);
    bench.signals.gave_up.store(1, Relaxed);
    bench.send(SSRC, 5);
    assert_eq!(bench.ask(Duration::ZERO, 4, 0).len(), 0);
    assert_eq!(bench.ask(Duration::ZERO, 5, 0).len(), 1);
}
