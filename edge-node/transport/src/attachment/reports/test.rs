use super::*;
use rtc::interceptor::RTPHeaderExtension;
use rtc::rtp;

fn reports() -> (Reports, Arc<Signals>, Instant) {
    let signals = Arc::new(Signals::default());
    let now = Instant::now();
    let clock = Clock::start().unwrap();
    let mut reports = Reports::new(Arc::clone(&signals), clock, now);
    reports.bind_local_stream(&StreamInfo {
        ssrc: 7,
        clock_rate: 90_000,
        ..StreamInfo::default()
    });
    (reports, signals, now)
}

fn tagged(now: Instant, packet: Packet) -> TaggedPacket {
    TaggedPacket {
        now,
        transport: TransportContext::default(),
        message: AttributedPacket::new(packet),
    }
}

fn media(ssrc: u32) -> Packet {
    let mut packet = rtp::Packet::default();
    packet.header.ssrc = ssrc;
    packet.payload = vec![0; 100].into();
    Packet::Rtp(packet)
}

fn sender_report(reports: &mut Reports) -> Option<SenderReport> {
    while let Some(packet) = reports.poll_write() {
        if let Packet::Rtcp(compound) = packet.message.packet {
            return compound[0].as_any().downcast_ref().cloned();
        }
    }
    None
}

#[test]
fn a_sender_report_relates_the_two_clocks_exactly() {
    let (mut reports, _, now) = reports();
    reports.handle_write(tagged(now, media(7))).unwrap();
    reports.handle_timeout(now).unwrap();
    let report = sender_report(&mut reports).unwrap();
    assert_eq!((report.packet_count, report.octet_count), (1, 100));
    let us = reports.clock.micros(now);
    assert_eq!(report.rtp_time, rtp_timestamp(us, 90_000));

    // Nothing before the interval is over, whatever is sent.
    reports.handle_write(tagged(now, media(7))).unwrap();
    reports.handle_timeout(now + REPORT_INTERVAL / 2).unwrap();
    assert!(sender_report(&mut reports).is_none());
}

#[test]
fn what_repairs_a_stream_is_numbered_with_it_and_has_no_reports_of_its_own() {
    let (mut reports, _, now) = reports();
    let info = StreamInfo {
        ssrc: 8,
        ssrc_rtx: Some(9),
        ssrc_fec: Some(10),
        clock_rate: 90_000,
        rtp_header_extensions: vec![RTPHeaderExtension {
            uri: TRANSPORT_CC_URI.to_owned(),
            id: 5,
        }],
        ..StreamInfo::default()
    };
    reports.bind_local_stream(&info);
    for (ssrc, number) in [(8, 0_u16), (9, 1), (10, 2), (8, 3)] {
        reports.handle_write(tagged(now, media(ssrc))).unwrap();
        let Some(Packet::Rtp(rtp)) = reports.poll_write().map(|sent| sent.message.packet) else {
            panic!("it is passed on");
        };
        let stamped = rtp.header.get_extension(5).unwrap();
        assert_eq!(stamped[..], number.to_be_bytes(), "{ssrc}");
    }
    reports.handle_timeout(now).unwrap();
    let report = sender_report(&mut reports).unwrap();
    assert_eq!((report.ssrc, report.packet_count), (8, 2));
    assert!(sender_report(&mut reports).is_none());
    reports.unbind_local_stream(&info);
    assert_eq!(reports.streams.len(), 1);
}

#[test]
fn the_round_trip_is_what_is_left_of_the_time_since_the_report() {
    let (mut reports, signals, now) = reports();
    reports.handle_write(tagged(now, media(7))).unwrap();
    reports.handle_timeout(now).unwrap();
    let report = sender_report(&mut reports).unwrap();
    let answer = ReceiverReport {
        reports: vec![ReceptionReport {
            ssrc: 7,
            last_sender_report: (report.ntp_time >> 16) as u32,
            delay: 65_536, // one second at the receiver
            ..ReceptionReport::default()
        }],
        ..ReceiverReport::default()
    };
    let later = now + Duration::from_millis(1040);
    let packet = Packet::Rtcp(vec![Box::new(answer)]);
    reports.handle_read(tagged(later, packet)).unwrap();
    let us = signals.round_trip_us.load(Relaxed);
    assert!((39_900..=40_100).contains(&us), "{us}");
}

#[test]
fn every_kind_of_feedback_is_counted_and_passed_on() {
    let (mut reports, signals, now) = reports();
    let compound: Vec<Box<dyn rtc::rtcp::Packet>> = vec![
        Box::new(ReceiverReport::default()),
        Box::new(PictureLossIndication::default()),
        Box::new(FullIntraRequest::default()),
        Box::new(TransportLayerCc {
            packet_status_count: 3,
            ..TransportLayerCc::default()
        }),
    ];
    let packet = Packet::Rtcp(compound);
    reports.handle_read(tagged(now, packet)).unwrap();
    assert_eq!(signals.reports.load(Relaxed), 1);
    assert_eq!(signals.key_frames_wanted.load(Relaxed), 2);
    assert_eq!(signals.take_outcomes().len(), 1);
    assert!(reports.poll_read().is_some());
}

#[test]
fn feedback_says_of_each_packet_when_it_arrived() {
    use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
        RecvDelta, RunLengthChunk, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc,
    };
    let delta = |delta| RecvDelta {
        type_tcc_packet: SymbolTypeTcc::PacketReceivedSmallDelta,
        delta,
    };
    let lost = SymbolTypeTcc::PacketNotReceived;
    let small = SymbolTypeTcc::PacketReceivedSmallDelta;
    let feedback = TransportLayerCc {
        base_sequence_number: 65_534,
        packet_status_count: 5,
        reference_time: 10,
        packet_chunks: vec![
            PacketStatusChunk::RunLengthChunk(RunLengthChunk {
                type_tcc: StatusChunkTypeTcc::RunLengthChunk,
                packet_status_symbol: small,
                run_length: 2,
            }),
            PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
                type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
                symbol_size: SymbolSizeTypeTcc::TwoBit,
                symbol_list: vec![lost, small, small, lost, lost, lost, lost],
            }),
        ],
        recv_deltas: vec![delta(250), delta(1_000), delta(-500), delta(2_000)],
        ..TransportLayerCc::default()
    };
    let of = |sequence, arrived_us| Outcome {
        sequence,
        arrived_us,
    };
    let expected = [
        of(65_534, Some(640_250)),
        of(65_535, Some(641_250)),
        of(0, None),
        of(1, Some(640_750)),
        of(2, Some(642_750)),
    ];
    assert_eq!(outcomes(&feedback), expected);

    // Fewer deltas than it claims: what has no time did not arrive, and nothing panics.
    let short = TransportLayerCc {
        recv_deltas: vec![delta(250)],
        ..feedback
    };
    assert_eq!(outcomes(&short)[1], of(65_535, None));

    let signals = Signals::default();
    for n in 0..100 {
        signals.reported(vec![of(n, None)]);
    }
    assert_eq!(signals.take_outcomes().len(), FEEDBACK_WAITING_MAX);
    assert!(signals.take_outcomes().is_empty());
}

#[test]
fn packets_are_numbered_as_they_leave_where_the_viewer_takes_numbers() {
    let (mut reports, _, now) = reports();
    let numbered = |ssrc| StreamInfo {
        ssrc,
        clock_rate: 90_000,
        rtp_header_extensions: vec![RTPHeaderExtension {
            uri: TRANSPORT_CC_URI.to_owned(),
            id: 5,
        }],
        ..StreamInfo::default()
    };
    reports.bind_local_stream(&numbered(8));
    reports.bind_local_stream(&numbered(9));
    // Stream 7 has no numbers; picture and sound share theirs.
    for ssrc in [8, 7, 9, 8] {
        reports.handle_write(tagged(now, media(ssrc))).unwrap();
    }
    let mut numbers = Vec::new();
    while let Some(packet) = reports.poll_write() {
        if let Packet::Rtp(packet) = packet.message.packet {
            let number = packet.header.get_extension(5);
            numbers.push((packet.header.ssrc, number.map(|bytes| bytes.to_vec())));
        }
    }
    let number = |n: u8| Some(vec![0, n]);
    assert_eq!(
        numbers,
        [(8, number(0)), (7, None), (9, number(1)), (8, number(2))]
    );
}
