//! `/metrics` has every stage of a frame's way by the names of [`Stage`]: the node's own, and those that only
//! the player's browser can tell.

use crate::support::viewer::{Viewer, Wish, input};
use crate::support::{DEADLINE, Node, Worker, taken, unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use nearlight_protocol::input::{Event as Input, Shown};
use nearlight_protocol::notice::Mark;
use nearlight_protocol::stage::Stage;
use nearlight_protocol::worker::{FromWorker, Video};
use std::sync::LazyLock;
use std::time::Instant;

static METRICS: LazyLock<PrometheusHandle> = LazyLock::new(|| {
    let builder = PrometheusBuilder::new();
    builder.install_recorder().expect("the only recorder here")
});

/// How often a stage was measured, and what it took in all, seconds.
fn stage(stage: Stage) -> (u64, f64) {
    let text = METRICS.render();
    let value = |what: &str| {
        let line = format!("edge_stage_seconds_{what}{{stage=\"{}\"}} ", stage.name());
        let value = text.lines().find_map(|found| found.strip_prefix(&line));
        value.map_or(0.0, |value| value.parse().unwrap())
    };
    (value("count") as u64, value("sum"))
}

/// A frame that answers an input of 5 ms before `host_us`.
fn show(worker: &Worker, frame: u32, host_us: u64) {
    worker.say(&FromWorker::Video(Video {
        commit_us: host_us - 3_000,
        captured_us: host_us - 2_000,
        encoded_us: host_us,
        input_host_us: host_us - 5_000,
        ..unit(frame, frame == 1, 100)
    }));
}

/// The node's clock.
fn host_us(viewer: &mut Viewer, seq: u32) -> u64 {
    viewer.send_motion(&input(seq, Input::Ping));
    loop {
        if let Mark::Pong { host_us, .. } = viewer.mark() {
            return host_us;
        }
    }
}

fn shown(seq: u32, frames: usize) -> Vec<u8> {
    let frame = Shown {
        decode: 200,
        present: 800,
    };
    input(seq, Input::Shown(vec![frame; frames]))
}

#[test]
fn every_stage_is_in_the_metrics_and_nobody_has_shown_more_than_was_sent() {
    LazyLock::force(&METRICS);
    let node = Node::start();
    let worker = node.add_session(1);
    let mut viewer = Viewer::new(Wish::H264);
    viewer.connect(&node.answer(1, 1, &viewer.offer, false));
    node.wait_attached(1);
    viewer.wait_ready();
    // One way is half a round trip, which is known once the viewer has reported.
    let of_the_node = || {
        let mut stages = Stage::ALL.iter().take(6);
        stages.all(|known| stage(*known).0 > 0)
    };
    let (until, mut frames) = (Instant::now() + DEADLINE, 0);
    while !of_the_node() {
        assert!(Instant::now() < until, "{}", METRICS.render());
        frames += 1;
        let now_us = host_us(&mut viewer, frames);
        show(&worker, frames, now_us);
        viewer.packets(1);
        let sent = u64::from(frames);
        node.wait_counters(1, |counters| counters.video_sent == sent);
    }
    let count = u64::from(frames);
    assert_eq!(stage(Stage::Capture).0, count);
    assert!((stage(Stage::Capture).1 - 0.001 * count as f64).abs() < 1e-6);
    assert!((stage(Stage::Encode).1 - 0.002 * count as f64).abs() < 1e-6);
    assert!((stage(Stage::Render).1 - 0.002 * count as f64).abs() < 1e-6);

    // What the page says of its own stages: of more frames than it was sent, and once more.
    assert_eq!((stage(Stage::Decode).0, stage(Stage::Present).0), (0, 0));
    viewer.send_control(&shown(1, frames as usize + 3));
    viewer.send_control(&shown(2, 1));
    let taken_of = |messages: u64| {
        let expected = count + messages;
        node.wait_counters(1, |counters| counters.input_packets == expected)
    };
    taken_of(2);
    assert_eq!(stage(Stage::Decode).0, count);
    assert!((stage(Stage::Decode).1 - 0.002 * count as f64).abs() < 1e-6);
    assert!((stage(Stage::Present).1 - 0.008 * count as f64).abs() < 1e-6);

    // A watcher's word is none.
    let mut watcher = Viewer::new(Wish::H264);
    watcher.connect(&taken(node.watch(1, 2, &watcher.offer, 1)));
    node.wait_watchers(1, 1);
    watcher.wait_answered();
    show(&worker, frames + 1, 1_000_000);
    watcher.send_control(&shown(1, 1));
    node.wait_counters(1, |counters| counters.watchers.input_rejected == 1);
    assert_eq!(stage(Stage::Decode).0, count);
}
