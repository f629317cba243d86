use super::*;

const PATH: Path = Path {
    remote: std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9),
    local: None,
};
const ALL: usize = usize::MAX;

fn frame(number: u32) -> Frame {
    Frame {
        rtp_timestamp: 0,
        number,
        commit_us: 0,
        captured_us: 0,
        encoded_us: 0,
        input_us: 0,
        input_host_us: 0,
    }
}

fn push(outbox: &mut Outbox, kind: Kind, len: usize) -> bool {
    let tag = Tag {
        kind,
        sequence: None,
        bytes: u32::try_from(len).unwrap(),
    };
    outbox.push(BytesMut::zeroed(len), tag)
}

fn take_all(run: &[IoSlice<'_>], _: Path) -> Sent {
    Sent::Packets(run.len())
}

#[test]
fn a_frame_is_sent_with_its_last_packet() {
    let mut outbox = Outbox::default();
    for number in 1..=2 {
        assert!(push(&mut outbox, Kind::Video, 100));
        assert!(push(&mut outbox, Kind::Video, 50));
        outbox.end_frame(frame(number));
    }
    let mut room = 3;
    let send = |run: &[IoSlice<'_>], _| {
        if room == 0 {
            return Sent::Full;
        }
        let count = run.len().min(room);
        room -= count;
        Sent::Packets(count)
    };
    let flushed = outbox.flush(PATH, ALL, send, |_| {});
    assert_eq!((flushed.packets, flushed.bytes), (3, 250));
    assert!(flushed.blocked && !outbox.is_paced());
    assert_eq!(outbox.sent_frame(), Some(frame(1)));
    assert_eq!(outbox.sent_frame(), None);
    let flushed = outbox.flush(PATH, ALL, take_all, |_| {});
    assert!(!flushed.blocked);
    assert_eq!(outbox.sent_frame(), Some(frame(2)));
    assert_eq!(outbox.waiting_frames(), 0);
}

#[test]
fn sound_overtakes_the_picture_and_only_the_picture_is_paced() {
    let mut outbox = Outbox::default();
    for _ in 0..10 {
        push(&mut outbox, Kind::Video, 1000);
    }
    outbox.end_frame(frame(1));
    push(&mut outbox, Kind::Retransmit, 900);
    push(&mut outbox, Kind::Audio, 100);
    push(&mut outbox, Kind::Control, 50);
    let mut order = Vec::new();
    let flushed = outbox.flush(PATH, 2000, take_all, |tag| order.push(tag.kind));
    assert_eq!(
        order,
        [
            Kind::Audio,
            Kind::Control,
            Kind::Retransmit,
            Kind::Video,
            Kind::Video
        ]
    );
    assert_eq!(flushed.bytes, 3050);
    assert!(outbox.is_paced());
    assert_eq!(outbox.waiting_bytes(), 8000);
    // No room: the sound goes all the same.
    push(&mut outbox, Kind::Audio, 100);
    assert_eq!(outbox.flush(PATH, 0, take_all, |_| {}).packets, 1);
    assert_eq!(outbox.sent_frame(), None);
    outbox.flush(PATH, ALL, take_all, |_| {});
    assert_eq!(outbox.sent_frame(), Some(frame(1)));
    assert!(!outbox.is_paced());
}

#[test]
fn what_the_kernel_cannot_send_is_lost_and_the_rest_goes_on() {
    let mut outbox = Outbox::default();
    push(&mut outbox, Kind::Video, 1);
    push(&mut outbox, Kind::Video, 1);
    outbox.end_frame(frame(7));
    let mut first = true;
    let send = |_: &[IoSlice<'_>], _| {
        if std::mem::take(&mut first) {
            Sent::Lost
        } else {
            Sent::Packets(1)
        }
    };
    let mut told = 0;
    let flushed = outbox.flush(PATH, ALL, send, |_| told += 1);
    assert_eq!((flushed.packets, flushed.lost, told), (1, 1, 1));
    assert_eq!(outbox.sent_frame(), Some(frame(7)));
}

#[test]
fn the_queue_is_bounded_and_says_when_the_kernel_is_behind() {
    let mut outbox = Outbox::default();
    push(&mut outbox, Kind::Video, BACKLOG_BYTES_MAX + 1);
    assert!(!outbox.is_congested());
    outbox.flush(PATH, ALL, |_, _| Sent::Full, |_| {});
    assert!(outbox.is_congested());
    for _ in 1..BACKLOG_PACKETS_MAX {
        assert!(push(&mut outbox, Kind::Video, 1));
    }
    assert!(!push(&mut outbox, Kind::Video, 1));
    outbox.end_frame(frame(1));
    assert_eq!(outbox.clear(), 1);
    assert_eq!(outbox.waiting_bytes(), 0);
}
