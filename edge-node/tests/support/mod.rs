//! What the integration tests share: a small root file system, and a broker that says what it is
//! told.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "each test file uses its part; a test that fails should say where"
)]

pub mod broker;
pub mod engine;
pub mod jobs;
pub mod line;
pub mod node;
pub mod play;
pub mod registry;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The image of the same content as [`rootfs`].
pub const IMAGE: &str = "nearlight/edge-test:1";

/// Programs in it.
const PROGRAMS: [&str; 9] = [
    "/bin/sh",
    "/bin/sleep",
    "/bin/cat",
    "/bin/ls",
    "/bin/touch",
    "/usr/bin/id",
    "/usr/bin/env",
    "/usr/bin/head",
    "/usr/bin/tail",
];

/// Makes a root file system of this host's own programs and their libraries in `root`.
pub fn rootfs(root: &Path) {
    for dir in ["proc", "dev", "tmp", "run", "home/player", "bin", "usr/bin"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    // An engine gives a mount the mode of the directory below it.
    let sticky = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    fs::set_permissions(root.join("tmp"), sticky).unwrap();
    for program in PROGRAMS {
        let listed = Command::new("ldd").arg(program).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let libraries = listed
            .split_ascii_whitespace()
            .filter(|word| word.starts_with('/'));
        for path in libraries.chain([program]) {
            let target = root.join(path.trim_start_matches('/'));
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::copy(path, target).unwrap();
        }
    }
}

/// Whether an engine answers; it has [`IMAGE`] then. Where none does there is nothing to test, and
/// the output says so.
pub fn docker_with_image() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    *THERE.get_or_init(|| {
        let quiet = |args: &[&str]| {
            Command::new("docker")
                .args(args)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        if !quiet(&["version"]) {
            eprintln!("skipped: no container engine answers");
            return false;
        }
        if !quiet(&["image", "inspect", IMAGE]) {
            let root = tempfile::tempdir().unwrap();
            rootfs(root.path());
            import(root.path());
        }
        true
    })
}

fn import(root: &Path) {
    let tar = Command::new("tar")
        .args(["-C", root.to_str().unwrap(), "-c", "."])
        .output()
        .unwrap();
    let mut import = Command::new("docker")
        .args(["import", "-", IMAGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    import.stdin.take().unwrap().write_all(&tar.stdout).unwrap();
    assert!(import.wait().unwrap().success());
}

/// An example of this crate. Cargo builds it before it runs all tests of the crate, but not before
/// it runs one test file.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let path = profile.join("examples").join(name);
    let shown = path.display();
    assert!(
        path.exists(),
        "there is no {shown}: cargo build -p edge-node --examples"
    );
    path
}

/// Says why a test has nothing to test here.
pub fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}
