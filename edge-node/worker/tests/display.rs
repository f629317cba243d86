//! The display follows the player's screen, and the encoded picture what the path carries.

mod harness;

use harness::Worker;
use harness::agent::{Agent, assert_balanced};
use harness::app::{App, Window};
use harness::decode::{Picture, decode};
use nearlight_protocol::app::DisplayMode;
use nearlight_protocol::input::Event;
use nearlight_protocol::notice::Notice;
use nearlight_protocol::worker::{DropReason, Target, ToWorker, VideoCodec};

const RED: [u8; 4] = [0, 0, 255, 0];
const GREEN: [u8; 4] = [0, 255, 0, 0];

fn mode(width: u32, height: u32, hz: u32) -> DisplayMode {
    DisplayMode { width, height, hz }
}

/// A worker with a red window that somebody watches.
fn watched() -> (Worker, Agent, App, Window) {
    watched_in(Worker::start())
}

fn watched_in(worker: Worker) -> (Worker, Agent, App, Window) {
    let mut agent = worker.agent();
    let mut app = worker.app();
    let window = app.window(RED);
    agent.until("the first frame", |a| a.first_frame);
    agent.attach(VideoCodec::H264);
    agent.until("a picture", |a| !a.videos.is_empty());
    (worker, agent, app, window)
}

/// The picture on the screen after the newest key frame.
fn newest(agent: &Agent) -> Picture {
    let from = agent
        .videos
        .iter()
        .rposition(|v| v.key)
        .expect("a key frame");
    decode(&agent.videos[from..]).pop().expect("it decodes")
}

fn keys(agent: &Agent) -> usize {
    agent.videos.iter().filter(|v| v.key).count()
}

#[test]
fn the_display_follows_the_players_screen_without_a_restart() {
    let (mut worker, mut agent, mut app, window) = watched();
    agent.send(&ToWorker::Display(mode(640, 480, 144)));
    app.until("a configure", |heard| heard.configured == Some((640, 480)));
    app.until("the output's mode", |heard| {
        heard.modes.last() == Some(&(640, 480, 144_000))
    });
    app.show(&window.surface, GREEN);
    agent.until("a key frame", |a| keys(a) == 2);
    agent.until("the commit", |a| {
        a.videos.last().is_some_and(|v| v.frame == 2)
    });
    let picture = newest(&agent);
    assert_eq!((picture.width, picture.height), (640, 480));
    for (x, y) in [(2, 2), (320, 240), (637, 477)] {
        assert!(
            picture.is_near(x, y, [0, 255, 0]),
            "{:?}",
            picture.yuv(x, y)
        );
    }
    let told = Notice::Display {
        width: 640,
        height: 480,
    };
    assert!(agent.notices.contains(&told), "{:?}", agent.notices);
    let counters = agent.fresh_counters();
    assert_balanced(&counters);
    assert_eq!(counters.display, Some(mode(640, 480, 144)));
    assert_eq!(
        (counters.encoded_width, counters.encoded_height),
        (640, 480)
    );
    assert_eq!(counters.fps_max, 144);
    assert!(worker.is_alive());

    // Input is a part of the display, whatever its size.
    agent.input(Event::PointerAbsolute {
        x: 32_768,
        y: 49_152,
    });
    app.until("the motion", |heard| {
        heard.motions.last() == Some(&(320.0, 360.0))
    });

    // A new agent is told the display as it is.
    let next = worker.agent();
    let ready = next.ready.unwrap();
    assert_eq!((ready.width, ready.height), (640, 480));
}

#[test]
fn an_app_that_keeps_its_size_is_shown_in_the_middle() {
    let (_worker, mut agent, _app, _window) = watched();
    agent.send(&ToWorker::Display(mode(640, 480, 60)));
    agent.until("a key frame", |a| keys(a) == 2);
    let picture = newest(&agent);
    assert_eq!((picture.width, picture.height), (640, 480));
    assert!(picture.is_near(320, 240, [255, 0, 0]));
    assert!(picture.is_near(170, 130, [255, 0, 0]));
    assert!(picture.is_near(150, 110, [0, 0, 0]));

    // And cut where the display is smaller.
    agent.send(&ToWorker::Display(mode(200, 150, 60)));
    agent.until("a key frame", |a| keys(a) == 3);
    let picture = newest(&agent);
    assert_eq!((picture.width, picture.height), (200, 150));
    assert!(picture.is_near(100, 75, [255, 0, 0]));
}

#[test]
fn the_pointer_stays_at_its_part_of_the_display() {
    let (_worker, mut agent, mut app, _window) = watched();
    agent.input(Event::PointerAbsolute {
        x: 16_384,
        y: 16_384,
    });
    app.until("the motion", |heard| {
        heard.motions.last() == Some(&(80.0, 60.0))
    });
    agent.send(&ToWorker::Display(mode(240, 180, 60)));
    app.until("the pointer", |heard| {
        heard.motions.last() == Some(&(60.0, 45.0))
    });
}

#[test]
fn a_window_that_is_dragged_costs_few_changes_and_ends_with_the_last() {
    let (_worker, mut agent, mut app, _window) = watched();
    for n in 0..200 {
        agent.send(&ToWorker::Display(mode(400 + n, 301, 60)));
    }
    app.until("the last size", |heard| {
        heard.configured == Some((598, 300))
    });
    let changes = app.heard.modes.len();
    assert!(changes <= 5, "{:?}", app.heard.modes);
    agent.until("the last display", |a| {
        a.counters.display == Some(mode(598, 300, 60))
    });
    agent.until("its picture", |a| keys(a) >= 2 && newest(a).width == 598);
    assert_eq!(newest(&agent).height, 300);
}

#[test]
fn what_no_screen_has_is_brought_within_bounds() {
    let (mut worker, mut agent, mut app, _window) = watched();
    agent.send(&ToWorker::Display(mode(1, 99_999_999, u32::MAX)));
    app.until("the size", |heard| heard.configured == Some((192, 4096)));
    agent.until("the display", |a| {
        a.counters.display == Some(mode(192, 4096, 240))
    });
    assert!(worker.is_alive());
}

#[test]
fn a_viewer_brings_its_display_along() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let _window = app.window(RED);
    agent.until("the first frame", |a| a.first_frame);
    agent.attach_with(VideoCodec::VP8, Some(mode(480, 360, 90)));
    app.until("a configure", |heard| heard.configured == Some((480, 360)));
    agent.until("a picture", |a| !a.videos.is_empty());
    assert!(agent.videos[0].key);
    let picture = newest(&agent);
    assert_eq!((picture.width, picture.height), (480, 360));
    // The next one, without a wish, finds it so.
    agent.send(&ToWorker::Detach);
    agent.attach(VideoCodec::VP8);
    agent.until("a key frame", |a| keys(a) >= 2);
    assert_eq!(agent.fresh_counters().display, Some(mode(480, 360, 90)));
}

#[test]
fn a_smaller_picture_shows_the_whole_display_and_costs_one_key_frame() {
    let (_worker, mut agent, mut app, window) =
        watched_in(Worker::with(&["--width", "400", "--height", "300"]));
    for (n, (percent, size)) in [(50, (200, 150)), (75, (300, 224)), (100, (400, 300))]
        .into_iter()
        .enumerate()
    {
        let target = Target {
            scale_percent: percent,
            ..Target::full(4000)
        };
        agent.send(&ToWorker::Target(target));
        agent.until("a key frame", |a| keys(a) == n + 2);
        let picture = newest(&agent);
        assert_eq!((picture.width, picture.height), size);
        assert!(picture.is_near(size.0 / 2, size.1 / 2, [255, 0, 0]));
        assert!(picture.is_near(2, size.1 - 3, [255, 0, 0]));
        // Told again, or only at another bit rate: nothing starts anew.
        agent.send(&ToWorker::Target(target));
        agent.send(&ToWorker::Target(Target {
            kbps: 1000,
            ..target
        }));
        app.show(&window.surface, RED);
        let counters = agent.fresh_counters();
        assert_eq!((counters.encoded_width, counters.encoded_height), size);
        assert_eq!(
            counters.display,
            Some(mode(400, 300, 60)),
            "the app's stays"
        );
        assert_eq!(keys(&agent), n + 2);
    }
    assert_eq!(app.heard.configured, Some((400, 300)));
}

#[test]
fn fewer_frames_are_dropped_commits_and_the_last_one_is_shown() {
    let (_worker, mut agent, mut app, window) = watched();
    agent.send(&ToWorker::Target(Target {
        fps_max: 15,
        ..Target::full(4000)
    }));
    agent.until("the cap", |a| a.counters.fps_max == 15);
    let qh = app.qh();
    let done = app.heard.frames_done;
    for n in 0..60u32 {
        window.surface.frame(&qh, ());
        app.show(&window.surface, if n == 59 { GREEN } else { RED });
        app.until("a frame callback", |heard| heard.frames_done > done + n);
    }
    agent.until("the last commit", |a| {
        a.videos.last().is_some_and(|v| v.frame == 61)
    });
    let counters = agent.fresh_counters();
    assert_balanced(&counters);
    // Fifteen or so where the machine keeps up; where it does not, fewer commits are over the cap.
    assert!(counters.dropped[&DropReason::OverRate] > 0, "{counters:?}");
    assert_eq!(keys(&agent), 1);
    agent.until("the refinements", |a| {
        a.videos.iter().filter(|v| v.frame == 61).count() >= 7
    });
    assert!(newest(&agent).is_near(160, 120, [0, 255, 0]));
}

#[test]
fn sizes_that_change_leave_nothing_behind() {
    const GROWTH_BYTES_MAX: u64 = 32 << 20;
    let (worker, mut agent, _app, _window) = watched();
    let mut change = |n: u32| {
        let before = keys(&agent);
        agent.send(&ToWorker::Display(mode(800 + 2 * n, 600, 60)));
        agent.until("a key frame", |a| keys(a) > before);
    };
    (0..6).for_each(&mut change);
    let (bytes, threads) = (worker.resident_bytes(), worker.threads());
    (6..24).for_each(&mut change);
    // An encoder and its pictures take more than 8 MiB at this size.
    let grown = worker.resident_bytes().saturating_sub(bytes);
    assert!(grown < GROWTH_BYTES_MAX, "{grown} bytes more");
    agent.until("old encoders to end", |_| worker.threads() <= threads);
}
