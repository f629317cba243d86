//! Watchers: beside the player, with nothing to say, and never at the player's cost.

use crate::support::viewer::{Viewer, Wish, input};
use crate::support::{Node, link, session, taken, unit};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{WhepRefusal, WhepResult};
use nearlight_protocol::input::Event as Input;
use nearlight_protocol::notice::{DetachReason, Notice};
use nearlight_protocol::worker::{self, FromWorker, Ready, ToWorker, VideoCodec};
use nearlight_transport::Event;

fn player(node: &Node, id: u64, wish: Wish) -> Viewer {
    let mut viewer = Viewer::new(wish);
    let answer = node.answer(1, id, &viewer.offer, false);
    viewer.connect(&answer);
    node.wait_attached(id);
    viewer
}

/// A watcher of session 1 on link 1, the `count`th to be connected.
fn watcher(node: &Node, id: u64, wish: Wish, count: u32) -> Viewer {
    let mut viewer = Viewer::new(wish);
    let answer = taken(node.watch(1, id, &viewer.offer, 1));
    viewer.connect(&answer);
    node.wait_watchers(1, count);
    viewer
}

fn detached(reason: DetachReason) -> Notice {
    Notice::Detached { reason }
}

#[test]
fn a_watcher_sees_the_player_s_own_encode() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut player = player(&node, 1, Wish::H264);
    player.wait_ready();
    let whose = worker.hear_attach().session;
    assert_eq!(whose, Some(session(1)), "its marker is in the pictures");
    let mut watcher = watcher(&node, 2, Wish::H264, 1);
    assert_eq!(player.notice(), Notice::Watchers { count: 1 });
    // A key frame for the newcomer, and no second encode.
    assert_eq!(worker.hear(), Some(ToWorker::KeyFrame));
    for frame in 1..=10 {
        worker.show(frame, frame == 1, 3000);
    }
    let (theirs, same) = (player.packets(30), watcher.packets(30));
    for (a, b) in theirs.iter().zip(&same) {
        assert_eq!(a.payload, b.payload);
        assert_eq!(a.header.timestamp, b.header.timestamp);
        assert_ne!(a.header.ssrc, b.header.ssrc);
    }
    let (_, counters) = node.wait_counters(1, |c| c.watchers.video_sent == 10);
    assert_eq!((counters.video_in, counters.video_sent), (10, 10));
    assert_eq!(
        (counters.attachments, counters.watchers.attachments),
        (1, 1)
    );
    assert!(counters.watchers.packets_sent >= 30);
    assert_eq!(player.mark_frames(10), 10);
    assert_eq!(watcher.marks_left(), 0, "marks are the player's");
    watcher.close();
    assert_eq!(player.notice(), Notice::Watchers { count: 0 });
    node.wait_watchers(1, 0);
}

#[test]
fn a_watcher_has_no_hands_and_no_clipboard() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut player = player(&node, 1, Wish::H264);
    player.wait_ready();
    let mut watcher = watcher(&node, 2, Wish::H264, 1);
    watcher.wait_answered();
    let key = Input::Key {
        code: 30,
        pressed: true,
    };
    watcher.send_control(&input(1, key));
    watcher.send_control(&input(2, Input::Clipboard("paste".to_owned())));
    node.wait_counters(1, |c| c.watchers.input_rejected == 2);
    let release = input(4, Input::ReleaseAll);
    player.send_control(&release);
    let first = worker.hear_until(|m| matches!(m, ToWorker::Input { .. }));
    assert!(matches!(first, ToWorker::Input { packet, .. } if packet == release));
    // What the app copies is the player's; the watcher's first notice is the last one.
    let text = "secret".to_owned();
    let secret = Notice::Clipboard { text };
    worker.say(&FromWorker::Notice(serde_json::to_vec(&secret).unwrap()));
    assert_eq!(player.notice(), Notice::Watchers { count: 1 });
    assert_eq!(player.notice(), secret);
    node.transport.end_watch(session(1), link(1));
    assert_eq!(watcher.notice(), detached(DetachReason::LinkRevoked));
    node.wait_watchers(1, 0);
}

#[test]
fn a_revoked_link_ends_its_own_watchers_only() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut player = player(&node, 1, Wish::H264);
    let mut revoked = watcher(&node, 2, Wish::H264, 1);
    revoked.wait_answered();
    let mut other = Viewer::new(Wish::H264);
    other.connect(&taken(node.watch(1, 3, &other.offer, 2)));
    node.wait_watchers(1, 2);
    // One that is still connecting goes too: it never shows up among the watchers.
    let late = Viewer::new(Wish::H264);
    taken(node.watch(1, 4, &late.offer, 1));
    node.transport.end_watch(session(1), link(1));
    assert_eq!(revoked.notice(), detached(DetachReason::LinkRevoked));
    node.wait_watchers(1, 1);
    worker.show(1, true, 100);
    player.packets(1);
    other.packets(1);
    assert_eq!(node.census().referred, 2);
}

#[test]
fn one_more_than_may_watch_is_refused() {
    let node = Node::start();
    let _worker = node.add_session(1);
    let watching: Vec<Viewer> = (1..=16)
        .map(|id| watcher(&node, id, Wish::H264, u32::try_from(id).unwrap()))
        .collect();
    let offer = Viewer::new(Wish::H264).offer.clone();
    let WhepResult::Refused { reason, detail } = node.watch(1, 17, &offer, 1) else {
        panic!("the seventeenth is taken");
    };
    assert_eq!(reason, WhepRefusal::TooMany);
    assert!(detail.contains("16"), "{detail}");
    // The same viewer once more replaces itself; the player needs no place among them.
    taken(node.watch(1, 16, &offer, 1));
    node.answer(1, 20, &offer, false);
    // A place that is given up is free.
    assert_eq!(node.delete(1, 3), WhepResult::Done);
    taken(node.watch(1, 21, &offer, 1));
    assert_eq!(watching.len(), 16);
}

#[test]
fn offers_that_never_connect_keep_nobody_out() {
    let node = Node::start();
    let _worker = node.add_session(1);
    let offer = Viewer::new(Wish::H264).offer.clone();
    for id in 1..=16 {
        taken(node.watch(1, id, &offer, 1));
    }
    let mut real = watcher(&node, 17, Wish::H264, 1);
    assert_eq!(node.census().viewers, 16);
    // The first had to go, and however many more come, who is connected stays.
    assert!(matches!(node.delete(1, 1), WhepResult::Refused { .. }));
    for id in 20..=60 {
        taken(node.watch(1, id, &offer, 1));
    }
    assert_eq!(node.census().viewers, 16);
    real.wait_answered();
}

#[test]
fn the_player_s_codec_decides() {
    let node = Node::start();
    let worker = node.add_session(1);
    let player = player(&node, 1, Wish::Vp8);
    assert_eq!(worker.hear_attach().codec, VideoCodec::VP8);
    let other = Viewer::new(Wish::H264);
    let WhepResult::Refused { reason, detail } = node.watch(1, 2, &other.offer, 1) else {
        panic!("a codec that is not encoded is taken");
    };
    assert_eq!(reason, WhepRefusal::InvalidOffer);
    assert!(detail.contains("VP8, as its player chose"), "{detail}");
    player.close();
    node.wait_detached(1);
    worker.hear_until(|m| *m == ToWorker::Detach);
    // Nobody plays: a watcher gets what it takes, until a player chooses.
    let mut watcher = watcher(&node, 3, Wish::H264, 1);
    watcher.wait_answered();
    assert_eq!(worker.hear_attach().codec, VideoCodec::H264);
    let mut again = Viewer::new(Wish::Vp8);
    again.connect(&node.answer(1, 4, &again.offer, false));
    assert_eq!(watcher.notice(), detached(DetachReason::CodecChanged));
    assert_eq!(worker.hear_attach().codec, VideoCodec::VP8);
    node.wait_watchers(1, 0);
}

#[test]
fn who_takes_a_codec_that_is_encoded_no_more_attaches_again_with_what_is_left() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut first = player(&node, 1, Wish::All);
    first.wait_ready();
    assert_eq!(worker.hear_attach().codec, VideoCodec::H264);
    let mut beside = watcher(&node, 2, Wish::H264, 1);
    beside.wait_answered();
    // One that is still on its way has been promised what is gone.
    let mut late = Viewer::new(Wish::H264);
    let promised = taken(node.watch(1, 3, &late.offer, 1));
    let left = FromWorker::Ready(Ready {
        width: 1280,
        height: 720,
        encoders: vec![(VideoCodec::VP8, "test".to_owned())],
    });
    worker.say(&left);
    assert_eq!(beside.notice(), detached(DetachReason::CodecChanged));
    let parting = |notice: &Notice| *notice == detached(DetachReason::CodecChanged);
    while !parting(&first.notice()) {}
    node.wait_detached(1);
    worker.hear_until(|m| *m == ToWorker::Detach);
    late.connect(&promised);
    assert_eq!(worker.hear_attach().codec, VideoCodec::H264);
    late.wait_answered();
    worker.say(&left);
    assert_eq!(late.notice(), detached(DetachReason::CodecChanged));
    // The session lives, and the same browsers see it in what it can encode.
    let mut again = player(&node, 4, Wish::All);
    assert_eq!(worker.hear_attach().codec, VideoCodec::VP8);
    worker.say(&left);
    let vp8 = worker::Video {
        codec: VideoCodec::VP8,
        ..unit(1, true, 100)
    };
    worker.say(&FromWorker::Video(vp8));
    again.packets(1);
    let said = node.events_until_counters(1);
    let ready = |event: &&Event| matches!(event, Event::WorkerReady { .. });
    assert_eq!(
        said.iter().filter(ready).count(),
        0,
        "a desktop is ready once"
    );
}

#[test]
fn the_session_goes_on_for_watchers_when_the_player_leaves() {
    let node = Node::start();
    let worker = node.add_session(1);
    let first = player(&node, 1, Wish::H264);
    worker.hear_attach();
    let mut watcher = watcher(&node, 2, Wish::H264, 1);
    first.close();
    node.wait_detached(1);
    // Keys are let go, and encoding starts anew.
    worker.hear_until(|m| *m == ToWorker::Detach);
    worker.hear_attach();
    worker.show(1, true, 100);
    watcher.packets(1);
    let mut second = player(&node, 3, Wish::H264);
    second.wait_ready();
    assert_eq!(second.notice(), Notice::Watchers { count: 1 });
    worker.hear_attach();
    watcher.close();
    node.wait_watchers(1, 0);
    worker.show(2, true, 100);
    second.packets(1);
    second.close();
    worker.hear_until(|m| *m == ToWorker::Detach);
}

#[test]
fn watchers_alone_start_and_stop_the_encoder() {
    let node = Node::start();
    let worker = node.add_session(1);
    let only = watcher(&node, 1, Wish::NoChannels, 1);
    worker.hear_attach();
    only.close();
    // Without channels nothing is said at the end: its silence tells.
    node.wait_watchers(1, 0);
    worker.hear_until(|m| *m == ToWorker::Detach);
    assert_eq!(node.census().viewers, 0);
}

#[test]
fn watchers_hear_how_the_session_ended() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut player = player(&node, 1, Wish::H264);
    player.wait_ready();
    let mut watcher = watcher(&node, 2, Wish::H264, 1);
    watcher.wait_answered();
    let reason = EndReason::TimeLimit;
    node.end(1, reason);
    assert_eq!(watcher.notice(), Notice::Ended { reason });
    worker.hear_until(|m| *m == ToWorker::Shutdown);
    assert_eq!(worker.hear(), None);
}

#[test]
fn two_hundred_come_and_go_and_nothing_is_left() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut player = player(&node, 1, Wish::H264);
    player.wait_ready();
    let before = node.census();
    assert_eq!((before.viewers, before.referred), (1, 1));
    for cycle in 0..200 {
        let id = 10 + cycle;
        let mut viewer = Viewer::new(Wish::H264);
        let answer = taken(node.watch(1, id, &viewer.offer, 1));
        // Most leave before they are connected, some after, some without a word from them.
        if cycle % 8 == 0 {
            viewer.connect(&answer);
            node.wait_watchers(1, 1);
        }
        assert_eq!(node.delete(1, id), WhepResult::Done);
    }
    node.wait(|event| matches!(event, Event::Watchers { count: 0, .. }));
    // The last goodbye takes its time.
    while node.census() != before {
        node.wait_counters(1, |_| true);
    }
    worker.show(1, true, 100);
    player.packets(1);
}
