//! From the player to the app.

mod harness;

use harness::Worker;
use nearlight_protocol::input::Event;
use nearlight_protocol::notice::{Cursor, Notice};
use nearlight_protocol::worker::{ToWorker, VideoCodec};
use std::io::{Read, Write};
use std::os::fd::AsFd;

const RED: [u8; 4] = [0, 0, 255, 0];
const KEY_A: u16 = 30;
const KEY_SHIFT: u16 = 42;
const KEY_CAPS_LOCK: u16 = 58;
const LOCKED_CAPS: u32 = 2;
const BUTTON_LEFT: u32 = 0x110;

#[test]
fn keys_arrive_and_are_released_when_the_player_is_gone() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let _window = app.window(RED);
    app.until("focus", |heard| heard.keyboard_focus);
    agent.attach(VideoCodec::H264);

    agent.key(KEY_A, true);
    agent.key(KEY_A, true);
    agent.key(KEY_A, false);
    app.until("a key", |heard| heard.keys.len() == 2);
    assert_eq!(app.heard.keys, [(30, true), (30, false)]);

    // Whatever way the player goes, nothing stays pressed.
    for way in ["release-all", "detach", "attach", "gone"] {
        app.heard.keys.clear();
        app.heard.buttons.clear();
        agent.key(KEY_SHIFT, true);
        agent.key(KEY_A, true);
        agent.input(Event::PointerButton {
            button: 0,
            pressed: true,
            position: Some((9, 9)),
        });
        app.until("keys down", |heard| {
            heard.keys.len() == 2 && heard.buttons.len() == 1
        });
        match way {
            "release-all" => agent.input(Event::ReleaseAll),
            "detach" => agent.send(&ToWorker::Detach),
            "attach" => agent.attach(VideoCodec::H264),
            _ => agent = worker.agent(),
        }
        app.until("keys up", |heard| {
            heard.keys.len() == 4 && heard.buttons.len() == 2
        });
        let mut up = app.heard.keys.split_off(2);
        up.sort_unstable();
        assert_eq!(up, [(30, false), (42, false)], "{way}");
        assert_eq!(app.heard.buttons[1], (BUTTON_LEFT, false), "{way}");
    }
    let counters = agent.fresh_counters();
    assert_eq!(counters.injected["release-all"], 1);
    assert_eq!(counters.injected["key"], 2 + 8);
    assert_eq!(counters.injected["pointer-button"], 4);
}

#[test]
fn the_pointer_arrives_where_it_was_put_and_stale_motion_does_not() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let _window = app.window(RED);
    app.until("focus", |heard| heard.keyboard_focus);
    agent.attach(VideoCodec::H264);
    agent.input_with_seq(
        10,
        Event::PointerAbsolute {
            x: 32_768,
            y: 16_384,
        },
    );
    app.until("motion", |heard| {
        heard.motions.last() == Some(&(160.0, 60.0))
    });
    app.heard.motions.clear();
    agent.input_with_seq(9, Event::PointerAbsolute { x: 0, y: 0 });
    agent.input_with_seq(
        11,
        Event::PointerRelative {
            dx: 256 * 10,
            dy: -256,
        },
    );
    app.until("relative motion", |heard| {
        heard.motions.last() == Some(&(170.0, 59.0))
    });
    assert!(!app.heard.motions.contains(&(0.0, 0.0)));

    agent.input(Event::Wheel { dx: 0, dy: 120 });
    agent.input(Event::Wheel { dx: -30, dy: 0 });
    app.until("the wheel", |heard| heard.wheel_120.len() == 2);
    assert_eq!(app.heard.wheel_120, [120, -30]);

    // A button carries its place, for the motion that led there may be lost.
    agent.input(Event::PointerButton {
        button: 2,
        pressed: true,
        position: Some((65_535, 0)),
    });
    app.until("a button", |heard| heard.buttons == [(0x111, true)]);
    let (x, y) = *app.heard.motions.last().unwrap();
    assert!(x > 319.0 && y == 0.0, "{x} {y}");
}

#[test]
fn a_locked_pointer_gets_relative_motion_and_the_browser_knows() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let window = app.window(RED);
    app.until("focus", |heard| heard.keyboard_focus);
    agent.attach(VideoCodec::H264);
    agent.input(Event::PointerAbsolute {
        x: 32_768,
        y: 32_768,
    });
    app.until("motion", |heard| {
        heard.motions.last() == Some(&(160.0, 120.0))
    });
    let (lock, _listener) = app.lock_pointer(&window.surface);
    let wanted = |a: &harness::agent::Agent| {
        a.notices.iter().rev().find_map(|n| match n {
            Notice::PointerLock { wanted } => Some(*wanted),
            _ => None,
        })
    };
    agent.until("the lock", |a| wanted(a) == Some(true));
    app.heard.relative.clear();
    let motions = app.heard.motions.len();
    agent.input(Event::PointerRelative { dx: 128, dy: -512 });
    agent.input(Event::PointerAbsolute { x: 0, y: 0 });
    app.until("relative motion", |heard| !heard.relative.is_empty());
    assert!(app.sync());
    assert_eq!(app.heard.relative, [(0.5, -2.0)]);
    assert_eq!(app.heard.motions.len(), motions);

    // A viewer that comes later is told too.
    agent.notices.clear();
    agent.attach(VideoCodec::H264);
    agent.until("the lock, told again", |a| wanted(a) == Some(true));
    lock.destroy();
    app.flush();
    agent.until("the unlock", |a| wanted(a) == Some(false));
}

#[test]
fn the_newest_input_before_a_commit_is_in_its_header() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let window = app.window(RED);
    app.until("focus", |heard| heard.keyboard_focus);
    agent.attach(VideoCodec::H264);
    agent.until("a picture", |a| !a.videos.is_empty());
    assert_eq!(
        (agent.videos[0].input_us, agent.videos[0].input_host_us),
        (0, 0)
    );
    agent.input_with_seq(
        77,
        Event::Key {
            code: KEY_A,
            pressed: true,
        },
    );
    app.until("a key", |heard| !heard.keys.is_empty());
    app.show(&window.surface, [0, 255, 0, 0]);
    agent.until("its picture", |a| {
        a.videos.last().is_some_and(|v| v.input_us == 1077)
    });
    assert_eq!(agent.videos.last().unwrap().input_host_us, 77);
}

#[test]
fn the_layout_changes_while_it_runs() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let _window = app.window(RED);
    app.until("a keymap", |heard| heard.keymaps.len() == 1);
    agent.attach(VideoCodec::H264);
    agent.input(Event::Layout("de".into()));
    app.until("another keymap", |heard| heard.keymaps.len() == 2);
    assert!(app.heard.keymaps[1].contains("odiaeresis"));
    agent.input(Event::Layout("zz(nothing)".into()));
    agent.input(Event::Layout("us".into()));
    app.until("the first keymap again", |heard| {
        heard
            .keymaps
            .last()
            .is_some_and(|map| !map.contains("odiaeresis"))
    });
}

#[test]
fn text_goes_to_a_text_field_and_is_typed_elsewhere() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let _window = app.window(RED);
    app.until("focus", |heard| heard.keyboard_focus);
    agent.attach(VideoCodec::H264);

    let maps = app.heard.keymaps.len();
    agent.input(Event::Text("aß".into()));
    app.until("typing", |heard| {
        heard.keys.len() == 4 && heard.keymaps.len() == maps + 2
    });
    assert_eq!(
        app.heard.keys,
        [(1, true), (1, false), (2, true), (2, false)]
    );
    assert!(
        app.heard.keymaps[maps].contains("ssharp") || app.heard.keymaps[maps].contains("U00DF")
    );

    let field = app.text_input();
    app.until("the field's focus", |heard| heard.text_focus);
    field.enable();
    field.commit();
    assert!(app.sync());
    agent.input(Event::Text("日本".into()));
    app.until("text", |heard| heard.text == "日本");
    assert_eq!(app.heard.keys.len(), 4);
}

#[test]
fn capitals_stay_on_over_a_text_that_is_typed_and_another_layout() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let _window = app.window(RED);
    app.until("focus", |heard| heard.keyboard_focus);
    agent.attach(VideoCodec::H264);
    agent.key(KEY_CAPS_LOCK, true);
    agent.key(KEY_CAPS_LOCK, false);
    app.until("Caps Lock", |heard| heard.locked == LOCKED_CAPS);
    let changes = [
        Event::Text("ß".into()),
        Event::Layout("de".into()),
        Event::Text("é".into()),
    ];
    for change in changes {
        app.heard.keys.clear();
        agent.input(change);
        agent.key(KEY_A, true);
        agent.key(KEY_A, false);
        let a = (u32::from(KEY_A), false);
        app.until("the key after it", |heard| heard.keys.last() == Some(&a));
        assert_eq!(app.heard.locked, LOCKED_CAPS);
    }
    // And they can be taken off again.
    agent.key(KEY_CAPS_LOCK, true);
    agent.key(KEY_CAPS_LOCK, false);
    app.until("no Caps Lock", |heard| heard.locked == 0);
}

#[test]
fn the_clipboard_goes_both_ways() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let (devices, device) = app.data_device();
    let _window = app.window(RED);
    app.until("focus", |heard| heard.keyboard_focus);
    agent.attach(VideoCodec::H264);

    agent.input(Event::Clipboard("from the player".into()));
    app.until("an offer", |heard| heard.offer.is_some());
    let offer = app.heard.offer.clone().unwrap();
    let (mut read, write) = std::io::pipe().unwrap();
    offer.receive("text/plain;charset=utf-8".into(), write.as_fd());
    drop(write);
    app.flush();
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap();
    assert_eq!(text, "from the player");

    let qh = app.qh();
    let source = devices.create_data_source(&qh, ());
    source.offer("text/html".into());
    source.offer("text/plain;charset=utf-8".into());
    agent.key(KEY_A, true);
    app.until("a key", |heard| !heard.keys.is_empty());
    device.set_selection(Some(&source), 1);
    app.until("a request", |heard| heard.asked_for.is_some());
    let mut pipe = std::fs::File::from(app.heard.asked_for.take().unwrap());
    pipe.write_all("aus dem Spiel ✓".as_bytes()).unwrap();
    drop(pipe);
    let expected = Notice::Clipboard {
        text: "aus dem Spiel ✓".into(),
    };
    agent.until("the text", |a| a.notices.contains(&expected));
}

#[test]
fn the_cursor_is_sent_and_never_drawn() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let _window = app.window(RED);
    app.until("focus", |heard| heard.keyboard_focus);
    agent.attach(VideoCodec::H264);
    agent.until("a picture", |a| !a.videos.is_empty());
    agent.input(Event::PointerAbsolute {
        x: 32_768,
        y: 32_768,
    });
    app.until("the pointer", |heard| heard.pointer_serial != 0);

    let qh = app.qh();
    let cursor = app.compositor.create_surface(&qh, ());
    app.pointer
        .set_cursor(app.heard.pointer_serial, Some(&cursor), 3, 4);
    app.show_sized(&cursor, [255, 255, 255, 255], 16, 16);
    let image = |a: &harness::agent::Agent| {
        a.notices.iter().rev().find_map(|n| match n {
            Notice::Cursor { cursor } => Some(cursor.clone()),
            _ => None,
        })
    };
    agent.until("an image", |a| {
        matches!(image(a), Some(Cursor::Image { .. }))
    });
    let Some(Cursor::Image {
        png,
        hotspot_x,
        hotspot_y,
    }) = image(&agent)
    else {
        unreachable!()
    };
    assert_eq!((hotspot_x, hotspot_y), (3, 4));
    assert!(png.starts_with("iVBORw0KGgo"));
    app.pointer.set_cursor(app.heard.pointer_serial, None, 0, 0);
    app.flush();
    agent.until("no cursor", |a| image(a) == Some(Cursor::Hidden));
    // Cursor commits are no pictures.
    assert_eq!(agent.fresh_counters().committed, 1);
}
