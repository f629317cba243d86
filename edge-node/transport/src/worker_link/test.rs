use super::*;
use nearlight_protocol::worker::{Counters, Video, VideoCodec};
use proptest::prelude::*;
use std::os::unix::net::UnixStream as StdStream;

fn link() -> (WorkerLink, StdStream) {
    let (ours, theirs) = StdStream::pair().unwrap();
    (WorkerLink::new(ours).unwrap(), theirs)
}

fn video(frame: u32, len: usize) -> FromWorker {
    FromWorker::Video(Video {
        codec: VideoCodec::H264,
        key: true,
        frame,
        commit_us: 1,
        captured_us: 2,
        encoded_us: 3,
        input_us: 0,
        input_host_us: 0,
        data: vec![7; len],
    })
}

fn encoded(frames: &[FromWorker]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frames
        .iter()
        .for_each(|frame| frame.encode_into(&mut bytes));
    bytes
}

#[test]
fn frames_come_whole_however_they_are_cut() {
    let (mut link, mut worker) = link();
    let sent = [video(1, 3000), FromWorker::FirstFrame, video(2, 10)];
    let mut got = Vec::new();
    for piece in encoded(&sent).chunks(99) {
        worker.write_all(piece).unwrap();
        link.ready(true, false, false);
        link.pull(&mut got).unwrap();
    }
    assert_eq!(got, sent);
}

#[test]
fn a_frame_larger_than_a_read_comes_whole() {
    let (mut link, mut worker) = link();
    let sent = [video(1, 3 * READ_BYTES), video(2, 10)];
    let writer = std::thread::spawn(move || {
        worker.write_all(&encoded(&sent)).unwrap();
        (worker, sent)
    });
    let mut got = Vec::new();
    while got.len() < 2 {
        link.ready(true, false, false);
        link.pull(&mut got).unwrap();
    }
    let (_worker, sent) = writer.join().unwrap();
    assert_eq!(got, sent);
}

#[test]
fn what_came_is_read_in_one_go_and_so_is_the_end_that_came_with_it() {
    for closing in [false, true] {
        let (mut link, mut worker) = link();
        worker.write_all(&encoded(&[video(1, 10)])).unwrap();
        if closing {
            drop(worker);
        }
        // As the poll tells it, which tells of an end once.
        link.ready(true, false, closing);
        let mut got = Vec::new();
        let result = link.pull(&mut got);
        assert_eq!(got, [video(1, 10)]);
        assert_eq!(matches!(result, Err(LinkError::Closed)), closing);
        assert_eq!(result.is_ok() && !link.has_work(), !closing);
    }
}

#[test]
fn a_talkative_worker_gets_a_bounded_share_and_another_turn() {
    let (mut link, mut worker) = link();
    let many: Vec<FromWorker> = (0..100).map(|_| FromWorker::FirstFrame).collect();
    worker.write_all(&encoded(&many)).unwrap();
    let mut got = Vec::new();
    link.pull(&mut got).unwrap();
    assert_eq!(got.len(), WORKER_FRAMES_PER_WAKE);
    assert!(link.has_work());
    drop(worker);
    while link.pull(&mut got).is_ok() {}
    assert_eq!(got.len(), 100, "what was sent before the end still counts");
}

#[test]
fn a_worker_that_does_not_read_is_given_up() {
    let (mut link, _worker) = link();
    let packet = vec![0; 16 * 1024];
    let input = ToWorker::Input { host_us: 1, packet };
    let mut result = Ok(());
    for _ in 0..10_000 {
        result = link.send(&input);
        if result.is_err() {
            break;
        }
    }
    assert!(matches!(result, Err(LinkError::Behind)), "{result:?}");
}

#[test]
fn what_is_no_frame_ends_the_link() {
    for garbage in [&[0, 0, 0, 0][..], &[255; 8], &[2, 0, 0, 0, 0x99, 0]] {
        let (mut link, mut worker) = link();
        worker
            .write_all(&encoded(&[FromWorker::FirstFrame]))
            .unwrap();
        worker.write_all(garbage).unwrap();
        let mut got = Vec::new();
        let result = link.pull(&mut got);
        assert!(matches!(result, Err(LinkError::Frame(_))), "{garbage:?}");
        assert_eq!(got, [FromWorker::FirstFrame]);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_link_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let (mut link, mut worker) = link();
        worker.write_all(&encoded(&[FromWorker::Counters(Counters::default())])).unwrap();
        worker.write_all(&bytes).unwrap();
        drop(worker);
        link.ready(true, false, true);
        let mut got = Vec::new();
        while link.pull(&mut got).is_ok() {}
        prop_assert!(!got.is_empty());
    }
}
