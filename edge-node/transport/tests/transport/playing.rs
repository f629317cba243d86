//! The straight path: a viewer attaches, gets picture and sound, and its input reaches the worker.

use crate::support::viewer::{Viewer, Wish, input};
use crate::support::{Node, attachment, commit_us, session};
use nearlight_protocol::input::Event as Input;
use nearlight_protocol::notice::{Cursor, Mark, Notice};
use nearlight_protocol::worker::{Counters, FromWorker, ToWorker, VideoCodec};
use nearlight_transport::{Event, VideoDropReason};

/// A viewer of session 1 as attachment 1, connected.
fn attached(node: &Node, wish: Wish) -> Viewer {
    let mut viewer = Viewer::new(wish);
    let answer = node.answer(1, 1, &viewer.offer, false);
    viewer.connect(&answer);
    node.wait_attached(1);
    viewer
}

fn timestamp(frame: u32) -> u32 {
    (commit_us(frame) * 9 / 100) as u32
}

#[test]
fn frames_arrive_whole_with_the_time_of_their_commit() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut viewer = attached(&node, Wish::H264);
    let attach = worker.hear_attach();
    assert_eq!((attach.codec, attach.target.kbps), (VideoCodec::H264, 8000));
    viewer.wait_ready();
    for frame in 1..=20 {
        worker.show(frame, frame == 1, 5000);
    }
    // 5000 bytes are five fragments of 1158 at most.
    let packets = viewer.packets(100);
    for (i, packet) in packets.iter().enumerate() {
        let frame = u32::try_from(i / 5).unwrap() + 1;
        assert_eq!(packet.header.timestamp, timestamp(frame), "packet {i}");
        assert_eq!(packet.header.marker, i % 5 == 4, "packet {i}");
        assert!(packet.payload.len() <= 1158);
        let first = packets[0].header.sequence_number;
        let expected = first.wrapping_add(u16::try_from(i).unwrap());
        assert_eq!(packet.header.sequence_number, expected);
        let delays = packet.header.extensions.iter();
        assert_eq!(delays.filter(|e| e.payload[..] == [0, 0, 0]).count(), 1);
    }
    for frame in 1..=20 {
        let Mark::Frame {
            rtp_timestamp,
            frame: number,
            commit_us: committed,
            encoded_us,
            sent_us,
            input_us,
            ..
        } = viewer.mark()
        else {
            panic!("nothing was pinged");
        };
        assert_eq!((number, rtp_timestamp), (frame, timestamp(frame)));
        assert_eq!(
            (committed, encoded_us),
            (commit_us(frame), commit_us(frame) + 3000)
        );
        assert_eq!(input_us, u64::from(frame) + 7);
        assert!(sent_us > 0);
    }
    let (_, counters) = node.wait_counters(1, |c| c.video_sent == 20);
    assert_eq!(counters.video_in, 20);
    assert_eq!(counters.video_dropped_total(), 0);
    assert_eq!(counters.attachments, 1);
    assert!(counters.packets_sent >= 100 && counters.bytes_sent > 100_000);
    viewer.close();
    node.wait_detached(1);
    worker.hear_until(|m| *m == ToWorker::Detach);
}

#[test]
fn sound_arrives_at_48_khz() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut viewer = attached(&node, Wish::H264);
    let pts_us = 2_000_000;
    let data = vec![0xf4, 0xff, 0xfe];
    worker.say(&FromWorker::Audio { pts_us, data });
    let packet = viewer.sound();
    assert_eq!(packet.header.timestamp, 96_000);
    assert_eq!(packet.payload[..], [0xf4, 0xff, 0xfe]);
    node.wait_counters(1, |c| (c.audio_in, c.audio_sent) == (1, 1));
}

#[test]
fn frames_count_as_dropped_until_somebody_can_decode_them() {
    let node = Node::start();
    let worker = node.add_session(1);
    worker.show(1, true, 100);
    worker.show(2, false, 100);
    node.wait_counters(1, |c| c.video_in == 2);
    let mut viewer = attached(&node, Wish::H264);
    worker.show(3, false, 100);
    worker.show(4, true, 100);
    assert_eq!(viewer.packets(1)[0].header.timestamp, timestamp(4));
    let (_, counters) = node.wait_counters(1, |c| c.video_sent == 1);
    assert_eq!(counters.video_in, 4);
    let dropped = |reason| counters.video_dropped.get(&reason).copied();
    assert_eq!(dropped(VideoDropReason::NoAttachment), Some(2));
    assert_eq!(dropped(VideoDropReason::AwaitingKey), Some(1));
}

#[test]
fn a_viewer_without_channels_gets_the_picture() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut viewer = attached(&node, Wish::NoChannels);
    worker.show(1, true, 3000);
    assert_eq!(viewer.packets(3).len(), 3);
    node.wait_counters(1, |c| c.video_sent == 1);
}

#[test]
fn a_viewer_without_h264_gets_vp8() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut viewer = attached(&node, Wish::Vp8);
    assert_eq!(worker.hear_attach().codec, VideoCodec::VP8);
    // A frame of the other codec is not for this viewer.
    worker.show(1, true, 100);
    let mut unit = crate::support::unit(2, true, 3000);
    unit.codec = VideoCodec::VP8;
    worker.say(&FromWorker::Video(unit));
    let packets = viewer.packets(3);
    assert_eq!(packets[0].header.timestamp, timestamp(2));
    // S bit and partition 0 of the payload descriptor (RFC 7741) on the first packet only.
    assert_eq!(packets[0].payload[0] & 0x17, 0x10);
    assert_eq!(packets[1].payload[0] & 0x17, 0);
}

#[test]
fn a_lost_picture_makes_one_key_frame_request_at_a_time() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut viewer = attached(&node, Wish::H264);
    worker.show(1, true, 100);
    viewer.packets(1);
    for _ in 0..10 {
        viewer.ask_for_key_frame();
    }
    worker.hear_until(|m| *m == ToWorker::KeyFrame);
    let (_, counters) = node.wait_counters(1, |c| c.plis == 10);
    assert_eq!(counters.plis, 10);
    // Later wishes were held back, and answered by the key frame that comes.
    worker.show(2, true, 100);
    viewer.packets(1);
    node.end(1, nearlight_protocol::api::EndReason::PlayerEnded);
    let mut requests = 0;
    while let Some(message) = worker.hear() {
        requests += u32::from(message == ToWorker::KeyFrame);
    }
    assert!(requests <= 2, "{requests} more requests");
}

#[test]
fn input_reaches_the_worker_and_pings_come_back() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut viewer = attached(&node, Wish::H264);
    viewer.wait_ready();
    let motion = input(1, Input::PointerAbsolute { x: 7, y: 9 });
    let key = input(
        2,
        Input::Key {
            code: 30,
            pressed: true,
        },
    );
    viewer.send_motion(&motion);
    viewer.send_control(&key);
    let mut got = Vec::new();
    while got.len() < 2 {
        let message = worker.hear_until(|m| matches!(m, ToWorker::Input { .. }));
        if let ToWorker::Input { host_us, packet } = message {
            assert!(host_us > 0);
            got.push(packet);
        }
    }
    got.sort();
    let mut sent = [motion, key];
    sent.sort();
    assert_eq!(got, sent);
    node.wait(|event| matches!(event, Event::InputSeen { .. }));

    viewer.send_motion(&input(3, Input::Ping));
    let Mark::Pong { client_us, host_us } = viewer.mark() else {
        panic!("no frame was sent");
    };
    assert_eq!(client_us, 5003);
    assert!(host_us > 0);
    let (_, counters) = node.wait_counters(1, |c| c.input_packets == 3);
    assert_eq!(counters.input_rejected, 0);
}

#[test]
fn notices_wait_for_the_channel_and_keep_their_order() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut viewer = Viewer::new(Wish::H264);
    let answer = node.answer(1, 1, &viewer.offer, false);
    let cursor = Notice::Cursor {
        cursor: Cursor::Hidden,
    };
    let lock = Notice::PointerLock { wanted: true };
    // Before the viewer is even connected.
    worker.say(&FromWorker::Notice(serde_json::to_vec(&cursor).unwrap()));
    worker.say(&FromWorker::Counters(Counters {
        committed: 5,
        ..Counters::default()
    }));
    let seen = |event: &Event| match event {
        Event::Counters { worker, .. } => worker.committed == 5,
        _ => false,
    };
    node.wait(seen);
    node.transport.notify(session(1), lock.clone());
    viewer.connect(&answer);
    assert_eq!(viewer.notice(), cursor);
    assert_eq!(viewer.notice(), lock);
    node.wait_attached(1);
    assert_eq!(attachment(1).as_str().len(), 30);
}
