use super::*;
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
    assert_eq!(signals.feedback_packets.load(Relaxed), 3);
    assert_eq!(signals.feedback_lost.load(Relaxed), 3);
    assert!(reports.poll_read().is_some());
}
