//! The whole of it under a headless compositor (packages weston and xwayland).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};
use x11rb::COPY_DEPTH_FROM_PARENT;
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{ConnectionExt, CreateWindowAux, EventMask, Window, WindowClass};
use x11rb::rust_connection::RustConnection;

const SIZE: (u16, u16) = (1280, 720);
const PATIENCE: Duration = Duration::from_secs(30);

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn compositor(dir: &Path) -> Running {
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).unwrap();
    let weston = Command::new("weston")
        .args([
            "--backend=headless-backend.so",
            "--socket=wayland-0",
            "--idle-time=0",
        ])
        .args(["--width=1280", "--height=720", "--shell=kiosk-shell.so"])
        .env("XDG_RUNTIME_DIR", dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("weston is installed");
    let weston = Running(weston);
    let end = Instant::now() + PATIENCE;
    while !dir.join("wayland-0").exists() {
        assert!(Instant::now() < end, "weston does not start");
        std::thread::yield_now();
    }
    weston
}

/// A script that says its display and ends with 7 once it is told.
fn session(dir: &Path) -> (Running, ChildStdin, RustConnection) {
    let mut xwm = Command::new(env!("CARGO_BIN_EXE_xwm"))
        .args(["--", "sh", "-c", "echo $DISPLAY; read line; exit 7"])
        .env("XDG_RUNTIME_DIR", dir)
        .env("WAYLAND_DISPLAY", "wayland-0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = xwm.stdin.take().unwrap();
    let mut display = String::new();
    let stdout = xwm.stdout.take().unwrap();
    let xwm = Running(xwm);
    BufReader::new(stdout).read_line(&mut display).unwrap();
    let (connection, _) = RustConnection::connect(Some(display.trim())).unwrap();
    (xwm, stdin, connection)
}

fn window(connection: &RustConnection) -> Window {
    let root = connection.setup().roots[0].root;
    let window = connection.generate_id().unwrap();
    let mask = EventMask::STRUCTURE_NOTIFY | EventMask::FOCUS_CHANGE;
    connection
        .create_window(
            COPY_DEPTH_FROM_PARENT,
            window,
            root,
            10,
            10,
            320,
            200,
            0,
            WindowClass::INPUT_OUTPUT,
            0,
            &CreateWindowAux::new().event_mask(mask),
        )
        .unwrap();
    connection.map_window(window).unwrap();
    connection.flush().unwrap();
    window
}

fn until_focused(connection: &RustConnection, window: Window) {
    loop {
        if let Event::FocusIn(event) = connection.wait_for_event().unwrap()
            && event.event == window
        {
            return;
        }
    }
}

#[test]
fn windows_fill_the_screen_and_the_newest_has_the_focus() {
    let dir = tempfile::tempdir().unwrap();
    let _weston = compositor(dir.path());
    let (mut xwm, mut stdin, connection) = session(dir.path());
    let first = window(&connection);
    until_focused(&connection, first);
    let geometry = connection.get_geometry(first).unwrap().reply().unwrap();
    assert_eq!((geometry.x, geometry.y), (0, 0));
    assert_eq!((geometry.width, geometry.height), SIZE);
    let second = window(&connection);
    until_focused(&connection, second);
    connection.destroy_window(second).unwrap();
    connection.flush().unwrap();
    until_focused(&connection, first);
    stdin.write_all(b"end\n").unwrap();
    assert_eq!(xwm.0.wait().unwrap().code(), Some(7));
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let _weston = compositor(dir.path());
    let output = Command::new(env!("CARGO_BIN_EXE_xwm"))
        .args(["--", "/no/such/game"])
        .env("XDG_RUNTIME_DIR", dir.path())
        .env("WAYLAND_DISPLAY", "wayland-0")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot start /no/such/game"), "{said}");
}
