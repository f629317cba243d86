//! A path that is too narrow for what the encoder made so far. Each test goes on until a state is
//! reached; how fast it is reached is in sim/tests, on a clock that no machine slows down.

use crate::support::relay::Relay;
use crate::support::viewer::{Viewer, Wish, input};
use crate::support::{DEADLINE, Node, Worker};
use nearlight_protocol::input::Event as Input;
use nearlight_protocol::notice::LimitedBy;
use nearlight_protocol::worker::{FromWorker, Target, ToWorker};
use nearlight_transport::VideoDropReason;
use std::time::{Duration, Instant};

const FRAME: Duration = Duration::from_millis(16);

/// A worker that draws 60 frames a second for as long as `goes_on` says, each as large as the target
/// in force, and waits when it is told to, unless it is `deaf`.
struct Encoder<'a> {
    worker: &'a Worker,
    viewer: &'a mut Viewer,
    sounds: usize,
    deaf: bool,
    target: Target,
    held_until: Instant,
    frame: u32,
    key: bool,
    /// Key frames that it was asked for.
    asked: u32,
}

impl<'a> Encoder<'a> {
    fn new(worker: &'a Worker, viewer: &'a mut Viewer, deaf: bool) -> Self {
        let target = worker.hear_attach().target;
        worker.stream.set_read_timeout(Some(FRAME)).unwrap();
        let mut encoder = Self {
            worker,
            viewer,
            sounds: 0,
            deaf,
            target,
            held_until: Instant::now(),
            frame: 0,
            key: true,
            asked: 0,
        };
        // A track comes with its first packet.
        encoder.draw();
        encoder.viewer.accept_both();
        encoder
    }

    fn draw_until(&mut self, mut goal: impl FnMut(&Target) -> bool) {
        let (until, mut next) = (Instant::now() + DEADLINE, Instant::now());
        while !goal(&self.target) {
            assert!(Instant::now() < until, "still {:?}", self.target);
            // A message, or a frame's time without one.
            match self.worker.hear() {
                Some(ToWorker::Target(target)) if !self.deaf => self.target = target,
                Some(ToWorker::Hold { until_us }) if !self.deaf => {
                    self.held_until = Instant::now() + until_host(until_us);
                }
                Some(ToWorker::KeyFrame) => {
                    self.key = true;
                    self.asked += 1;
                }
                Some(_) | None => {}
            }
            if Instant::now() >= next.max(self.held_until) {
                next = Instant::now() + FRAME;
                self.draw();
            }
            self.viewer.drain_packets();
            self.sounds += self.viewer.drain_sounds();
        }
    }

    fn draw(&mut self) {
        self.frame += 1;
        let bytes = self.target.kbps as usize * 1000 / 8 / 60;
        let key = std::mem::take(&mut self.key);
        let pts_us = u64::from(self.frame) * 10_000;
        let data = vec![0xf4; 160];
        // Before a picture that may fill the queue: a sound that is lost is not sent again.
        self.worker.say(&FromWorker::Audio { pts_us, data });
        self.worker.show(self.frame, key, bytes);
    }
}

/// From now until a host time.
fn until_host(us: u64) -> Duration {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    let now_us = u64::try_from(now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000).unwrap();
    Duration::from_micros(us.saturating_sub(now_us))
}

/// A viewer of session 1 behind a relay that lets `kbps` through.
fn behind(node: &Node, kbps: u32) -> (Viewer, Relay) {
    let relay = Relay::to(node.transport.port());
    let mut viewer = Viewer::new(Wish::H264);
    let answer = node.answer(1, 1, &viewer.offer, false);
    relay.narrow(kbps, 100_000);
    viewer.connect(&relay.rewrite(&answer));
    node.wait_attached(1);
    viewer.wait_ready();
    (viewer, relay)
}

#[test]
fn the_encoder_is_told_what_a_narrow_path_carries() {
    let node = Node::start();
    let worker = node.add_session(1);
    let (mut viewer, _relay) = behind(&node, 3_000);
    let mut encoder = Encoder::new(&worker, &mut viewer, false);
    encoder.draw_until(|target| target.kbps < 3_000);
    let (frames, sounds) = (u64::from(encoder.frame), encoder.sounds);
    assert!(sounds > 0, "the sound is never held back");
    viewer
        .stream_state(|state| state.kbps_target < 3_000 && state.limited_by == LimitedBy::Capacity);
    let (_, counters) = node.wait_counters(1, |c| c.audio_in == frames);
    assert_eq!(counters.audio_sent, counters.audio_in);
    assert!(counters.flow.kbps_target < 3_000);
}

#[test]
fn an_encoder_that_does_not_wait_loses_frames_and_nothing_piles_up() {
    let node = Node::start();
    let worker = node.add_session(1);
    let (mut viewer, _relay) = behind(&node, 1_000);
    let mut encoder = Encoder::new(&worker, &mut viewer, true);
    let dropped = |counters: &nearlight_transport::Counters| {
        let count = counters.video_dropped.get(&VideoDropReason::Path);
        count.copied().unwrap_or(0)
    };
    let mut frames = 0;
    while dropped(&node.wait_counters(1, |c| c.video_in >= frames).1) == 0 {
        let mut turns = 0;
        encoder.draw_until(|_| {
            turns += 1;
            turns > 60
        });
        frames = u64::from(encoder.frame);
    }
    let (all, sounds) = (u64::from(encoder.frame), encoder.sounds);
    assert!(sounds > 0);
    let (_, counters) = node.wait_counters(1, |c| {
        c.video_in == all && c.video_sent + c.video_dropped_total() == all
    });
    assert_eq!(counters.audio_sent, all);
}

#[test]
fn more_losses_than_can_be_made_good_in_time_are_answered_by_a_key_frame() {
    let node = Node::start();
    let worker = node.add_session(1);
    let (mut viewer, relay) = behind(&node, 10_000);
    let mut encoder = Encoder::new(&worker, &mut viewer, false);
    let some_frames = |encoder: &mut Encoder<'_>| {
        let mut turns = 0;
        encoder.draw_until(|_| {
            turns += 1;
            turns > 60
        });
    };
    some_frames(&mut encoder);
    let before = encoder.asked;
    relay.lose(200);
    let until = Instant::now() + DEADLINE;
    while encoder.asked == before {
        assert!(Instant::now() < until, "it goes on sending again");
        some_frames(&mut encoder);
    }
    some_frames(&mut encoder);
    let all = u64::from(encoder.frame);
    let (_, counters) = node.wait_counters(1, |c| {
        c.video_in == all && c.video_sent + c.video_dropped_total() == all
    });
    assert_eq!(counters.plis, 0, "the viewer did not have to ask");
    assert!(counters.nacks > 0);
}

#[test]
fn the_players_wish_bounds_the_encoder() {
    let node = Node::start();
    let worker = node.add_session(1);
    let (mut viewer, _relay) = behind(&node, 100_000);
    viewer.send_control(&input(
        1,
        Input::Wish {
            kbps_max: 2_000,
            height_max: 360,
            fps_max: 30,
        },
    ));
    let mut encoder = Encoder::new(&worker, &mut viewer, false);
    encoder.draw_until(|target| target.kbps < 2_000 && target.scale_percent == 50);
    assert_eq!(encoder.target.fps_max, 30);
    let state = viewer.stream_state(|state| state.limited_by == LimitedBy::Player);
    assert_eq!((state.width, state.height), (640, 360));
    assert!(state.kbps_target < 2_000);
}

#[test]
fn the_players_screen_reaches_the_worker() {
    let node = Node::start();
    let worker = node.add_session(1);
    let (viewer, _relay) = behind(&node, 100_000);
    let display = Input::Display {
        width: 1920,
        height: 1080,
        hz: 120,
    };
    viewer.send_control(&input(1, display));
    worker.hear_until(|message| match message {
        ToWorker::Display(mode) => (mode.width, mode.height, mode.hz) == (1920, 1080, 120),
        _ => false,
    });
}

#[test]
fn two_sessions_share_an_uplink_fairly() {
    let node = Node::start_with(|config| config.uplink_kbps = Some(8_000));
    let workers = [node.add_session(1), node.add_session(2)];
    let mut viewers = Vec::new();
    for number in 1..=2 {
        let mut viewer = Viewer::new(Wish::H264);
        let answer = node.answer(number, number, &viewer.offer, false);
        viewer.connect(&answer);
        node.wait_attached(number);
        viewers.push(viewer);
    }
    for (worker, viewer) in workers.iter().zip(&mut viewers) {
        worker.hear_until(|message| match message {
            ToWorker::Target(target) => (2_000..4_000).contains(&target.kbps),
            _ => false,
        });
        let state = viewer.stream_state(|state| state.limited_by == LimitedBy::Uplink);
        assert!(state.kbps_target < 4_000);
    }
}
