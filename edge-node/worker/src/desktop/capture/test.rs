//! The same scenes by CPU and by GPU (Mesa's renderer by CPU): what an encoder gets is the same.

use super::super::rig::app::App;
use super::super::rig::{Rig, SIZE};
use super::*;
use nearlight_protocol::worker::VideoCodec;
use nearlight_stream::marker::Shape as Plane;

const RED: [u8; 4] = [0, 0, 255, 0];
const GREEN: [u8; 4] = [0, 255, 0, 0];

/// A window smaller than the display with a child, and left open.
fn show_parent_and_child(rig: &mut Rig) -> App {
    rig.serve(|stream| {
        let mut app = App::over(stream);
        let window = app.window(RED);
        app.show_sized(&window.surface, RED, 100, 100);
        let (child, role) = app.child(&window.surface);
        role.set_position(25, 25);
        app.show_sized(&child, GREEN, 50, 50);
        app.show_sized(&window.surface, RED, 100, 100);
        assert!(app.sync());
        app
    })
}

/// The picture's bytes.
fn drawn(rig: &mut Rig) -> Vec<u8> {
    let picture = rig.desktop.draw(0).unwrap();
    picture.bytes()
}

#[test]
fn a_composited_picture_read_back_from_the_gpu_is_the_one_that_the_cpu_makes() {
    let (mut cpu, mut gpu) = (Rig::new(None), Rig::on_gpu());
    let _apps = (
        show_parent_and_child(&mut cpu),
        show_parent_and_child(&mut gpu),
    );
    for percent in [100, 75, 50, 25] {
        for rig in [&mut cpu, &mut gpu] {
            rig.desktop.set_target(percent, 60, 0).unwrap();
        }
        let (by_cpu, by_gpu) = (drawn(&mut cpu), drawn(&mut gpu));
        assert_eq!(cpu.desktop.picture_path(), PicturePath::Memory);
        assert_eq!(gpu.desktop.picture_path(), PicturePath::Readback);
        assert_eq!(by_cpu.len(), by_gpu.len());
        let far = |(a, b): &(&u8, &u8)| a.abs_diff(**b) > 2;
        let wrong = by_cpu.iter().zip(&by_gpu).filter(far).count();
        // Three quarters are averaged from other pixels at edges: of the two squares' 600 pixels of
        // edge each counts in luma, and every other one in two chroma planes.
        let allowed = if percent == 75 { 1200 } else { 0 };
        assert!(
            wrong <= allowed,
            "{percent} percent: {wrong} of {}",
            by_cpu.len()
        );
        let red = by_gpu.iter().filter(|luma| luma.abs_diff(63) <= 2).count();
        assert!(
            red > by_gpu.len() / 200,
            "{percent} percent: {red} red pixels"
        );
    }
}

#[test]
fn a_whole_surface_in_memory_takes_no_detour_over_the_gpu() {
    let mut rig = Rig::on_gpu();
    let _app = rig.serve(|stream| {
        let mut app = App::over(stream);
        let _window = app.window(GREEN);
        assert!(app.sync());
        app
    });
    let bytes = drawn(&mut rig);
    assert_eq!(rig.desktop.picture_path(), PicturePath::Memory);
    assert!(
        bytes[..(SIZE.width * SIZE.height) as usize]
            .iter()
            .all(|y| *y == bytes[0])
    );
}

/// What is visible, without a marker and with that of a session, is the same but for what a pen draws.
fn is_marked_as_a_pen_does(rig: &mut Rig, path: PicturePath) {
    let session = SessionId::from_parts(1, [7; 10]);
    rig.desktop.watch(None);
    let mut plain = drawn(rig);
    assert!(!rig.desktop.capture.is_marked());
    rig.desktop.watch(Some(&session));
    let marked = drawn(rig);
    assert!(rig.desktop.capture.is_marked());
    assert_eq!(rig.desktop.picture_path(), path);
    assert_ne!(marked, plain);
    let shape = Plane {
        width: SIZE.width as usize,
        height: SIZE.height as usize,
        stride: SIZE.width as usize,
    };
    Pen::new(Key::of(&session))
        .draw(&mut plain, shape, 0)
        .unwrap();
    assert!(marked == plain, "{path:?}");
}

#[test]
fn pictures_carry_the_sessions_marker_on_every_way_through_memory() {
    let mut whole = Rig::new(None);
    let _app = whole.serve(|stream| {
        let mut app = App::over(stream);
        let _window = app.window(GREEN);
        assert!(app.sync());
        app
    });
    is_marked_as_a_pen_does(&mut whole, PicturePath::Memory);
    let (mut composed, mut read_back) = (Rig::new(None), Rig::on_gpu());
    let _apps = (
        show_parent_and_child(&mut composed),
        show_parent_and_child(&mut read_back),
    );
    is_marked_as_a_pen_does(&mut composed, PicturePath::Memory);
    is_marked_as_a_pen_does(&mut read_back, PicturePath::Readback);
}

#[test]
fn a_lost_gpu_leaves_the_desktop_to_the_cpu_and_every_commit_accounted_for() {
    let mut rig = Rig::on_gpu();
    rig.feed.attach(VideoCodec::H264, 1000);
    rig.desktop.watch(None);
    let _app = show_parent_and_child(&mut rig);
    // The last commit came too early for the display's rate.
    rig.desktop.capture_waiting();
    assert_eq!(rig.desktop.picture_path(), PicturePath::Readback);
    assert!(!rig.desktop.check_gpu().unwrap());
    for _ in 0..3 {
        let gone = GpuError::Draw("gone".to_owned());
        rig.desktop.painter.drew(Err(&gone));
    }
    assert!(rig.desktop.check_gpu().unwrap());
    assert!(!rig.desktop.check_gpu().unwrap(), "once");
    rig.desktop.redraw_if_due(mono_us());
    assert_eq!(rig.desktop.picture_path(), PicturePath::Memory);
    rig.desktop.unwatch();
    rig.feed.detach();
    let totals = rig.ledger.snapshot();
    let dropped: u64 = totals.dropped.values().sum();
    assert_eq!(
        totals.committed,
        totals.encoded + totals.in_flight + dropped
    );
    assert!(totals.committed >= 3, "{totals:?}");
}
