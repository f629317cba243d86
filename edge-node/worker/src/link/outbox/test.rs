use super::*;
use nearlight_protocol::worker::{VideoCodec, frame_len};
use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};

fn video(key: bool, bytes: usize) -> Video {
    Video {
        codec: VideoCodec::H264,
        key,
        frame: 1,
        commit_us: 1,
        captured_us: 1,
        encoded_us: 1,
        input_us: 0,
        input_host_us: 0,
        data: vec![0; bytes],
    }
}

fn connected() -> (Outbox, UnixStream, Arc<AtomicU32>) {
    let wakes = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&wakes);
    let outbox = Outbox::new(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    outbox.connect(ours);
    (outbox, theirs, wakes)
}

/// Reads until the outbox has nothing more, and returns the frames' kinds.
fn drain(outbox: &Outbox, theirs: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let flushed = outbox.flush();
        let mut chunk = vec![0; 1 << 16];
        match theirs.read(&mut chunk) {
            Ok(n) if n > 0 => bytes.extend(&chunk[..n]),
            _ if flushed == Flushed::Empty => break,
            _ => {}
        }
    }
    let mut kinds = Vec::new();
    let mut rest = &bytes[..];
    while let Some(len) = frame_len(rest).unwrap() {
        kinds.push(rest[4]);
        rest = &rest[len..];
    }
    assert!(rest.is_empty(), "frames are written whole");
    kinds
}

#[test]
fn video_starts_with_a_key_frame() {
    let (outbox, mut theirs, _) = connected();
    assert_eq!(outbox.offer_video(video(false, 10)), Handed::Behind);
    assert_eq!(outbox.offer_video(video(true, 10)), Handed::Taken);
    assert_eq!(outbox.offer_video(video(false, 10)), Handed::Taken);
    assert_eq!(drain(&outbox, &mut theirs), [0x82, 0x82]);
}

#[test]
fn an_agent_that_is_behind_loses_video_up_to_the_next_key_frame() {
    let (outbox, mut theirs, wakes) = connected();
    let mut taken = 0;
    while outbox.offer_video(video(taken == 0, 50_000)) == Handed::Taken {
        taken += 1;
        assert!(taken < 100, "the backlog is bounded");
    }
    assert_eq!(wakes.load(Ordering::SeqCst), 1, "the loop is woken once");
    outbox.send(&FromWorker::FirstFrame);
    let mut expected = vec![0x82; taken];
    expected.push(0x86);
    assert_eq!(drain(&outbox, &mut theirs), expected);
    assert_eq!(outbox.offer_video(video(false, 10)), Handed::Behind);
    assert_eq!(outbox.offer_video(video(true, 10)), Handed::Taken);
}

#[test]
fn an_agent_that_never_reads_counts_as_dead() {
    let (outbox, _theirs, _) = connected();
    for _ in 0..2 * LINK_BACKLOG_BYTES_MAX / 1_000_000 {
        outbox.send(&FromWorker::Notice(vec![b' '; 1_000_000]));
    }
    assert_eq!(outbox.flush(), Flushed::Dead);
    assert_eq!(outbox.lock().waiting(), 0);
}

#[test]
fn without_an_agent_everything_is_lost_but_nothing_grows() {
    let outbox = Outbox::new(|| {});
    assert_eq!(outbox.offer_video(video(true, 10)), Handed::Behind);
    outbox.offer_audio(0, &[1]);
    outbox.send(&FromWorker::FirstFrame);
    assert_eq!(outbox.flush(), Flushed::Empty);
    assert_eq!(outbox.audio_packets(), 0);
}
