//! From a commit to a picture that decodes, and what becomes of every commit.

mod harness;

use harness::Worker;
use harness::agent::assert_balanced;
use harness::decode::decode;
use nearlight_protocol::notice::Notice;
use nearlight_protocol::worker::{DropReason, Target, ToWorker, VideoCodec};

const RED: [u8; 4] = [0, 0, 255, 0];
const GREEN: [u8; 4] = [0, 255, 0, 0];
const BLUE: [u8; 4] = [255, 0, 0, 0];

#[test]
fn a_static_picture_is_there_as_soon_as_somebody_attaches() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let ready = agent.ready.clone().unwrap();
    assert_eq!((ready.width, ready.height), (320, 240));
    assert_eq!(ready.encoders[0].0, VideoCodec::H264);
    assert!(!agent.first_frame);

    let mut app = worker.app();
    let _window = app.window(RED);
    agent.until("the first frame", |a| a.first_frame);
    assert_eq!(app.heard.configured, Some((320, 240)));

    agent.attach(VideoCodec::H264);
    agent.until("a picture", |a| !a.videos.is_empty());
    let first = &agent.videos[0];
    assert!(first.key);
    assert_eq!(first.frame, 1);
    assert!(first.commit_us <= first.captured_us && first.captured_us <= first.encoded_us);
    let pictures = decode(&agent.videos);
    assert_eq!((pictures[0].width, pictures[0].height), (320, 240));
    for (x, y) in [(2, 2), (160, 120), (317, 237)] {
        assert!(
            pictures[0].is_near(x, y, [255, 0, 0]),
            "{:?}",
            pictures[0].yuv(x, y)
        );
    }
    let notices = &agent.notices;
    assert!(
        notices.contains(&Notice::Display {
            width: 320,
            height: 240
        }),
        "{notices:?}"
    );
    assert!(
        notices.contains(&Notice::PointerLock { wanted: false }),
        "{notices:?}"
    );
    assert!(
        notices.iter().any(|n| matches!(n, Notice::Cursor { .. })),
        "{notices:?}"
    );

    // Nobody watched when it was committed, and what was shown since repeats it.
    let counters = agent.fresh_counters();
    assert_eq!(counters.committed, 1);
    assert_eq!(counters.dropped[&DropReason::NoViewer], 1);
    assert_eq!(counters.encoded, 0);
    assert!(counters.repeated >= 1);
    assert_eq!(counters.encoder, "x264enc");
}

#[test]
fn a_static_screen_is_refined_a_few_times_and_then_rests() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let _window = app.window(GREEN);
    agent.until("the first frame", |a| a.first_frame);
    agent.attach(VideoCodec::H264);
    agent.until("the refinements", |a| a.videos.len() == 7);
    agent.fresh_counters();
    let counters = agent.fresh_counters();
    assert_eq!(agent.videos.len(), 7);
    assert_eq!(counters.repeated, 7);
    assert_eq!(agent.videos.iter().filter(|v| v.key).count(), 1);
    let times: Vec<_> = agent.videos.iter().map(|v| v.commit_us).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    assert!(
        decode(&agent.videos)
            .last()
            .unwrap()
            .is_near(160, 120, [0, 255, 0])
    );
}

#[test]
fn a_codec_without_an_encoder_ends_an_attachment_and_not_the_session() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let _window = app.window(RED);
    agent.until("the first frame", |a| a.first_frame);
    let ready = agent.ready.take();
    agent.attach(VideoCodec::AV1);
    agent.until("what there is instead", |a| a.ready.is_some());
    assert_eq!(agent.ready, ready);
    agent.attach(VideoCodec::VP8);
    agent.until("a picture", |a| !a.videos.is_empty());
    let first = &agent.videos[0];
    assert_eq!((first.codec, first.key), (VideoCodec::VP8, true));
    assert_eq!((agent.failed.clone(), agent.closed), (None, false));
}

#[test]
fn every_commit_is_encoded_or_dropped_with_a_reason() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let window = app.window(RED);
    agent.until("the first frame", |a| a.first_frame);
    agent.attach(VideoCodec::H264);
    agent.until("a picture", |a| !a.videos.is_empty());

    // Paced by frame callbacks, as games are: nothing is over the rate.
    let qh = app.qh();
    for n in 0..60u32 {
        window.surface.frame(&qh, ());
        app.show(&window.surface, if n % 2 == 0 { GREEN } else { BLUE });
        app.until("a frame callback", |heard| heard.frames_done > n);
    }
    let paced = agent.fresh_counters();
    assert_balanced(&paced);
    assert_eq!(paced.committed, 61);
    assert_eq!(paced.dropped.get(&DropReason::OverRate), None, "{paced:?}");
    assert_eq!(paced.in_flight, 0);

    // As fast as it can: held to the rate, and the newest picture is shown.
    let [blue, red, green] = [BLUE, RED, GREEN].map(|colour| app.buffer(colour, 320, 240));
    for n in 0..=300u32 {
        let buffer = if n == 300 {
            &green
        } else {
            [&blue, &red][n as usize % 2]
        };
        window.surface.attach(Some(buffer), 0, 0);
        window.surface.damage_buffer(0, 0, 320, 240);
        window.surface.commit();
    }
    app.sync();
    agent.until("the last commit", |a| {
        a.videos.last().is_some_and(|v| v.frame == 362)
    });
    let counters = agent.fresh_counters();
    assert_eq!(counters.committed, 362);
    assert_eq!(counters.in_flight, 0);
    assert!(counters.dropped[&DropReason::OverRate] > 0, "{counters:?}");
    assert_eq!(
        counters.encoded + counters.repeated,
        agent.videos.len() as u64
    );
    let frames: Vec<_> = agent.videos.iter().map(|v| v.frame).collect();
    assert!(frames.is_sorted(), "{frames:?}");
    assert!(
        decode(&agent.videos)
            .last()
            .unwrap()
            .is_near(160, 120, [0, 255, 0])
    );
}

#[test]
fn a_key_frame_comes_when_asked_for_even_when_nothing_moves() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let _window = app.window(RED);
    agent.until("the first frame", |a| a.first_frame);
    agent.attach(VideoCodec::H264);
    agent.until("the refinements", |a| a.videos.len() >= 7);
    agent.send(&ToWorker::KeyFrame);
    agent.until("a second key frame", |a| {
        a.videos.iter().filter(|v| v.key).count() == 2
    });
    let from = agent.videos.iter().rposition(|v| v.key).unwrap();
    assert!(decode(&agent.videos[from..])[0].is_near(160, 120, [255, 0, 0]));
}

#[test]
fn key_frames_are_at_most_four_a_second() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let _window = app.window(RED);
    agent.until("the first frame", |a| a.first_frame);
    agent.attach(VideoCodec::H264);
    agent.until("five key frames", |a| {
        a.videos.iter().filter(|v| v.key).count() == 1
    });
    let mut asked = 0;
    while agent.videos.iter().filter(|v| v.key).count() < 5 {
        agent.send(&ToWorker::KeyFrame);
        agent.poll();
        asked += 1;
        assert!(asked < 100_000, "no key frame came");
    }
    let keys: Vec<_> = agent
        .videos
        .iter()
        .filter(|v| v.key)
        .map(|v| v.commit_us)
        .collect();
    for pair in keys[1..].windows(2) {
        assert!(pair[1] - pair[0] >= 240_000, "{keys:?}");
    }
}

#[test]
fn another_codec_and_another_attachment_start_with_a_key_frame() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let _window = app.window(BLUE);
    agent.until("the first frame", |a| a.first_frame);
    for codec in [
        VideoCodec::H264,
        VideoCodec::VP8,
        VideoCodec::VP9,
        VideoCodec::H264,
        VideoCodec::H264,
    ] {
        let before = agent.videos.len();
        agent.attach(codec);
        agent.until("a picture in the codec", |a| {
            a.videos[before..].iter().any(|v| v.codec == codec && v.key)
        });
        let from = agent.videos.iter().rposition(|v| v.key).unwrap();
        assert!(
            decode(&agent.videos[from..])[0].is_near(160, 120, [0, 0, 255]),
            "{codec:?}"
        );
    }
}

#[test]
fn a_new_agent_takes_over_and_finds_the_session_running() {
    let worker = Worker::start();
    let mut first = worker.agent();
    let mut app = worker.app();
    let window = app.window(RED);
    first.until("the first frame", |a| a.first_frame);
    first.attach(VideoCodec::H264);
    first.until("a picture", |a| !a.videos.is_empty());

    // While the first is still connected.
    let mut second = worker.agent();
    second.until("the first frame, told again", |a| a.first_frame);
    assert!(second.videos.is_empty());
    app.show(&window.surface, GREEN);
    let counters = second.fresh_counters();
    assert!(counters.dropped[&DropReason::NoViewer] >= 2, "{counters:?}");
    second.attach(VideoCodec::H264);
    second.until("a picture", |a| !a.videos.is_empty());
    assert!(second.videos[0].key);
    assert!(decode(&second.videos)[0].is_near(160, 120, [0, 255, 0]));

    // After it vanished.
    drop(second);
    let mut third = worker.agent();
    third.attach(VideoCodec::H264);
    third.until("a picture", |a| a.videos.first().is_some_and(|v| v.key));
}

#[test]
fn an_agent_that_breaks_the_protocol_is_cut_off_and_the_session_goes_on() {
    let mut worker = Worker::start();
    let mut agent = worker.agent();
    agent.send_raw(&[5, 0, 0, 0, 0x77, 1, 2, 3, 4]);
    while !agent.closed {
        agent.poll();
    }
    assert!(worker.is_alive());
    assert!(worker.agent().ready.is_some());
}

#[test]
fn an_agent_that_does_not_read_loses_frames_and_gets_a_key_frame_after() {
    let worker = Worker::with(&["--width", "640", "--height", "480", "--kbps", "40000"]);
    let mut agent = worker.agent();
    let mut app = worker.app();
    let window = app.window(RED);
    agent.until("the first frame", |a| a.first_frame);
    agent.attach(VideoCodec::H264);
    agent.send(&ToWorker::Target(Target::full(100_000)));

    // Noise fills the bit rate, so that the socket and the backlog fill soon.
    let qh = app.qh();
    let buffers: Vec<_> = (0..4).map(|seed| app.noise(seed, 640, 480)).collect();
    for n in 0..400u32 {
        window.surface.attach(Some(&buffers[n as usize % 4]), 0, 0);
        window.surface.damage_buffer(0, 0, 640, 480);
        window.surface.frame(&qh, ());
        window.surface.commit();
        app.until("a frame callback", |heard| heard.frames_done > n);
    }
    let counters = agent.fresh_counters();
    assert!(
        counters.dropped[&DropReason::AgentBehind] > 0,
        "{counters:?}"
    );
    agent.until("a key frame after the gap", |a| {
        a.videos.iter().filter(|v| v.key).count() >= 2
    });
    let handed = agent.fresh_counters();
    assert_eq!(handed.encoded + handed.repeated, agent.videos.len() as u64);
}

#[test]
fn windows_smaller_than_the_display_and_children_are_composited() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let window = app.window(RED);
    app.show_sized(&window.surface, RED, 100, 100);
    let (child, role) = app.child(&window.surface);
    role.set_position(25, 25);
    app.show_sized(&child, GREEN, 50, 50);
    app.show_sized(&window.surface, RED, 100, 100);
    assert!(app.sync());
    agent.attach(VideoCodec::H264);
    agent.until("the refinements", |a| a.videos.len() >= 7);
    let pictures = decode(&agent.videos);
    let last = pictures.last().unwrap();
    assert!(
        last.is_near(160, 120, [0, 255, 0]),
        "{:?}",
        last.yuv(160, 120)
    );
    assert!(
        last.is_near(118, 78, [255, 0, 0]),
        "{:?}",
        last.yuv(118, 78)
    );
    assert!(last.is_near(20, 20, [0, 0, 0]), "{:?}", last.yuv(20, 20));
}

#[test]
fn shutdown_ends_the_worker_with_status_zero() {
    let mut worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let _window = app.window(RED);
    agent.send(&ToWorker::Shutdown);
    assert_eq!(worker.exit_code(), Some(0));
}

#[test]
fn real_programs_show_and_are_accounted_for() {
    for program in ["weston-simple-shm", "weston-simple-damage"] {
        let worker = Worker::start();
        let mut agent = worker.agent();
        let _program = worker.run(program, &[]);
        agent.until("the first frame", |a| a.first_frame);
        agent.attach(VideoCodec::H264);
        agent.until("moving pictures", |a| a.videos.len() >= 30);
        let counters = agent.fresh_counters();
        assert_balanced(&counters);
        assert!(decode(&agent.videos).len() >= 30, "{program}");
        agent.send(&ToWorker::Detach);
        let rest = agent.fresh_counters();
        assert_eq!(
            rest.encoded + rest.repeated,
            agent.videos.len() as u64,
            "{program}"
        );
    }
}
