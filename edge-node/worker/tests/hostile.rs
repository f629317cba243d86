//! Programs that break the rules: the session fails with a reason, the worker lives to say so.

mod harness;

use harness::Worker;
use harness::app::App;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::worker::VideoCodec;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use wayland_client::protocol::wl_shm::Format;

const RED: [u8; 4] = [0, 0, 255, 0];

/// Runs `attack` against an attached session and asserts how it ends.
fn fails(attack: impl FnOnce(&mut App), detail: &str) {
    let mut worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let window = app.window(RED);
    agent.until("the first frame", |a| a.first_frame);
    agent.attach(VideoCodec::H264);
    agent.until("a picture", |a| !a.videos.is_empty());
    attack(&mut app);
    app.flush();
    let failed = agent.until_failed();
    assert_eq!(failed.reason, EndReason::DesktopViolation, "{failed:?}");
    assert!(failed.detail.contains(detail), "{failed:?}");
    harness::agent::assert_balanced(&agent.counters);
    assert_eq!(agent.counters.in_flight, 0);
    assert_eq!(worker.exit_code(), Some(1));
    drop(window);
}

#[test]
fn a_truncated_shm_file() {
    // The whole display is read directly, anything else is composited, a cursor becomes a PNG.
    for (width, height, cursor) in [(320, 240, false), (100, 100, false), (32, 32, true)] {
        let truncate = |app: &mut App| {
            let bytes = width * height * 4;
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&vec![9; bytes as usize]).unwrap();
            let buffer = app.buffer_in(&file, bytes, width, height);
            file.set_len(0).unwrap();
            let window = app.window(RED);
            let mut surface = window.surface.clone();
            if cursor {
                // The pointer has entered the new window by now, which makes older serials stale.
                assert!(app.sync() && app.heard.pointer_serial != 0);
                surface = app.compositor.create_surface(&app.qh(), ());
                app.pointer
                    .set_cursor(app.heard.pointer_serial, Some(&surface), 0, 0);
            }
            surface.attach(Some(&buffer), 0, 0);
            surface.damage_buffer(0, 0, width, height);
            surface.commit();
        };
        fails(truncate, "protocol error");
    }
}

#[test]
fn thousands_of_surfaces() {
    fails(
        |app| {
            let qh = app.qh();
            for _ in 0..5000 {
                app.compositor.create_surface(&qh, ());
                app.flush();
            }
        },
        "surfaces",
    );
}

#[test]
fn a_giant_buffer() {
    fails(
        |app| {
            let qh = app.qh();
            let file = tempfile::tempfile().unwrap();
            file.set_len(400_000_000).unwrap();
            let pool = app.shm.create_pool(file.as_fd(), 400_000_000, &qh, ());
            pool.create_buffer(0, 9000, 9000, 36_000, Format::Xrgb8888, &qh, ());
        },
        "a buffer of 9000 x 9000",
    );
}

#[test]
fn a_giant_pool() {
    fails(
        |app| {
            let qh = app.qh();
            let file = tempfile::tempfile().unwrap();
            app.shm.create_pool(file.as_fd(), i32::MAX, &qh, ());
        },
        "a pool of",
    );
}

#[test]
fn a_pool_resized_to_nothing() {
    fails(
        |app| {
            let qh = app.qh();
            let file = tempfile::tempfile().unwrap();
            file.set_len(4096).unwrap();
            let pool = app.shm.create_pool(file.as_fd(), 4096, &qh, ());
            pool.resize(0);
        },
        "a pool of 0 bytes",
    );
}

#[test]
fn thousands_of_buffers() {
    fails(
        |app| {
            let qh = app.qh();
            let file = tempfile::tempfile().unwrap();
            file.set_len(4096).unwrap();
            let pool = app.shm.create_pool(file.as_fd(), 4096, &qh, ());
            for _ in 0..5000 {
                pool.create_buffer(0, 1, 1, 4, Format::Xrgb8888, &qh, ());
                app.flush();
            }
        },
        "buffers",
    );
}

#[test]
fn a_region_without_end() {
    fails(
        |app| {
            let qh = app.qh();
            let region = app.compositor.create_region(&qh, ());
            for n in 0..5000 {
                region.add(n, 0, 1, 1);
                app.flush();
            }
        },
        "a region",
    );
}

#[test]
fn callbacks_without_end() {
    fails(
        |app| {
            let qh = app.qh();
            let surface = app.compositor.create_surface(&qh, ());
            for _ in 0..20_000 {
                surface.frame(&qh, ());
                app.flush();
            }
        },
        "frame callbacks",
    );
}

#[test]
fn objects_without_end() {
    fails(
        |app| {
            let qh = app.qh();
            for n in 0..200_000 {
                app.compositor.create_region(&qh, ());
                if n % 100 == 0 && app.connection.flush().is_err() {
                    break;
                }
            }
        },
        "objects",
    );
}

#[test]
fn damage_without_end_is_no_violation_and_costs_nothing() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let window = app.window(RED);
    agent.until("the first frame", |a| a.first_frame);
    let before = worker.resident_bytes();
    for _ in 0..200 {
        for n in 0..1000 {
            window.surface.damage(n, n, 1, 1);
        }
        window.surface.commit();
        assert!(app.sync());
    }
    assert!(worker.resident_bytes() < before + 8 * 1024 * 1024);
    agent.attach(VideoCodec::H264);
    agent.until("a picture", |a| !a.videos.is_empty());
}

#[test]
fn a_program_that_never_reads_is_cut_off_and_costs_little() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let _window = app.window(RED);
    app.until("focus", |heard| heard.keyboard_focus);
    agent.attach(VideoCodec::H264);
    let before = worker.resident_bytes();
    // Both ends of the socket and the backlog hold less than this many motions.
    for n in 0..200_000u32 {
        agent.input(nearlight_protocol::input::Event::PointerAbsolute {
            x: (n * 7) as u16,
            y: (n * 11) as u16,
        });
        if n % 1000 == 0 {
            agent.poll();
        }
    }
    agent.until("everything injected or the end", |a| {
        a.failed.is_some() || a.counters.injected.get("pointer-absolute") == Some(&200_000)
    });
    assert!(worker.resident_bytes() < before + 16 * 1024 * 1024);
    // Another program is served all the while.
    if agent.failed.is_none() {
        let mut other = worker.app();
        assert!(other.sync());
    }
}

#[test]
fn a_program_that_disconnects_in_the_middle_is_no_violation() {
    let mut worker = Worker::start();
    let mut agent = worker.agent();
    for _ in 0..20 {
        let mut app = worker.app();
        let _window = app.window(RED);
    }
    agent.until("the first frame", |a| a.first_frame);
    let counters = agent.fresh_counters();
    assert!(agent.failed.is_none());
    assert_eq!(counters.in_flight, 0);
    assert!(worker.is_alive());
}

#[test]
fn a_flood_of_requests_ends_in_a_reason_or_is_borne() {
    let worker = Worker::start();
    let mut agent = worker.agent();
    let mut app = worker.app();
    let _window = app.window(RED);
    agent.until("the first frame", |a| a.first_frame);
    agent.attach(VideoCodec::H264);

    // `wl_display.sync` never leaves the Wayland library, so no limit of ours sees it. Every
    // answer is read, so that nothing but the rate is wrong.
    let flood = UnixStream::connect(worker.wayland()).unwrap();
    let mut answers = flood.try_clone().unwrap();
    let reader = std::thread::spawn(move || std::io::copy(&mut answers, &mut std::io::sink()));
    let writer = std::thread::spawn(move || {
        let mut requests = Vec::new();
        for id in 2..5000_u32 {
            for word in [1, 12 << 16, id] {
                requests.extend(word.to_le_bytes());
            }
        }
        for _ in 0..200 {
            if (&flood).write_all(&requests).is_err() {
                break;
            }
        }
        // Fails if the worker has closed it already.
        let _ = flood.shutdown(std::net::Shutdown::Both);
    });
    // The agent reads all the while, as a real one does.
    agent.until("the end of the flood", |a| {
        a.failed.is_some() || writer.is_finished()
    });
    let mark = agent.mark();
    agent.until("the desktop again, or the reason", |a| {
        a.failed.is_some() || a.has_reached(mark)
    });
    writer.join().unwrap();
    // Ends with the connection, however the worker ended that.
    drop(reader.join().unwrap());
    if let Some(failed) = &agent.failed {
        assert_eq!(failed.reason, EndReason::DesktopViolation, "{failed:?}");
    }
}
