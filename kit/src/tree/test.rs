//! Trees there and back, and each trick of a hostile archive.

use super::unpack::link_stays;
use super::*;
use crate::tar::{END, Entry, Kind, header, padding};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

fn archive(entries: &[(&str, Kind, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, kind, content) in entries {
        out.extend(header(&Entry {
            path: path.as_bytes().to_vec(),
            kind: kind.clone(),
            mode: 0o777,
            mtime_s: 1,
        }));
        out.extend_from_slice(content);
        out.resize(out.len() + padding(content.len() as u64), 0);
    }
    out.extend(END);
    out
}

fn file(content: &[u8]) -> Kind {
    Kind::File(content.len() as u64)
}

fn link(to: &str) -> Kind {
    Kind::Symlink(to.as_bytes().to_vec())
}

fn unpack(bytes: &[u8], to: &Path) -> Result<Unpacked, TreeError> {
    Destination::of(to)?.unpack(bytes, 1 << 20)
}

/// A destination, and beside it what must stay as it is.
fn place() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    fs::create_dir(&to).unwrap();
    fs::write(dir.path().join("victim"), "mine").unwrap();
    (dir, to)
}

fn is_unharmed(dir: &tempfile::TempDir) -> bool {
    let names = fs::read_dir(dir.path()).unwrap().count();
    names == 2 && fs::read_to_string(dir.path().join("victim")).unwrap() == "mine"
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    fs::create_dir_all(from.join("deep/er")).unwrap();
    fs::write(from.join("deep/er/file"), vec![7; 100_000]).unwrap();
    fs::write(from.join("run.sh"), "#!/bin/sh\n").unwrap();
    let mode = fs::Permissions::from_mode(0o750);
    fs::set_permissions(from.join("run.sh"), mode).unwrap();
    symlink("deep/er/file", from.join("link")).unwrap();
    symlink("../run.sh", from.join("deep/up")).unwrap();
    symlink("/etc/passwd", from.join("out")).unwrap();

    let packed = Packed::scan(&from, None, Skips::default()).unwrap();
    let mut bytes = Vec::new();
    packed.write(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, packed.length());
    assert_eq!(packed.bytes(), 100_010);

    let done = unpack(&bytes, &dir.path().join("new")).unwrap();
    let expected = Unpacked {
        entries: packed.entries() as u64,
        bytes: 100_010,
        links_skipped: 1,
    };
    assert_eq!(done, expected);
    let new = dir.path().join("new");
    assert_eq!(fs::read(new.join("link")).unwrap(), vec![7; 100_000]);
    assert_eq!(
        fs::read_to_string(new.join("deep/up")).unwrap(),
        "#!/bin/sh\n"
    );
    let mode = fs::metadata(new.join("run.sh")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o7777, 0o750);
    assert!(fs::symlink_metadata(new.join("out")).is_err());
    // Once more, over what is there; then into a directory under its own name.
    unpack(&bytes, &new).unwrap();
    assert!(new.join("from/run.sh").exists());
}

#[test]
fn a_file_gets_the_name_that_is_asked_for() {
    let (_dir, to) = place();
    let bytes = archive(&[("a", file(b"1"), b"1")]);
    unpack(&bytes, &to.join("b")).unwrap();
    unpack(&bytes, &to).unwrap();
    assert!(to.join("a").exists() && to.join("b").exists());
    let two = archive(&[("a", file(b""), b""), ("b", file(b""), b"")]);
    let several = unpack(&two, &to.join("c"));
    assert!(matches!(several, Err(TreeError::Several)), "{several:?}");
    assert!(
        unpack(&bytes, &to.join("no/such"))
            .unwrap_err()
            .is_not_found()
    );
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["../victim", "/tmp/x", "a/../../victim", "..", "a/..", ""] {
        let (dir, to) = place();
        let refused = unpack(&archive(&[(name, file(b"evil"), b"evil")]), &to);
        assert!(
            matches!(refused, Err(TreeError::Name(_))),
            "{name}: {refused:?}"
        );
        assert!(is_unharmed(&dir), "{name}");
    }
}

#[test]
fn a_link_of_the_archive_is_never_followed() {
    // Made first, then written through.
    let evil = |target: &str| {
        archive(&[
            ("a", link(target), b""),
            ("a/victim", file(b"evil"), b"evil"),
        ])
    };
    for target in ["..", "../", "/tmp", "../victim"] {
        let (dir, to) = place();
        // The link is left out, so that its name is free for a directory.
        let done = unpack(&evil(target), &to).unwrap();
        assert_eq!(done.links_skipped, 1, "{target}");
        assert!(
            to.join("a/victim").is_file() && is_unharmed(&dir),
            "{target}"
        );
    }
    // One that stays within is made, and not followed either.
    let (dir, to) = place();
    let bytes = archive(&[
        ("d", Kind::Directory, b""),
        ("a", link("d"), b""),
        ("a/x", file(b"evil"), b"evil"),
    ]);
    let refused = unpack(&bytes, &to);
    assert!(
        matches!(refused, Err(TreeError::InTheWay { .. })),
        "{refused:?}"
    );
    assert!(!to.join("d/x").exists() && is_unharmed(&dir));
}

#[test]
fn a_link_that_is_there_is_replaced_and_not_written_through() {
    let (dir, to) = place();
    symlink("../victim", to.join("a")).unwrap();
    symlink("..", to.join("d")).unwrap();
    unpack(&archive(&[("a", file(b"new"), b"new")]), &to).unwrap();
    assert!(is_unharmed(&dir));
    assert_eq!(fs::read_to_string(to.join("a")).unwrap(), "new");
    let refused = unpack(&archive(&[("d/victim", file(b"evil"), b"evil")]), &to);
    assert!(
        matches!(refused, Err(TreeError::InTheWay { .. })),
        "{refused:?}"
    );
    assert!(is_unharmed(&dir));
    // A second name of a file is not written through either.
    fs::hard_link(dir.path().join("victim"), to.join("h")).unwrap();
    unpack(&archive(&[("h", file(b"new"), b"new")]), &to).unwrap();
    assert!(is_unharmed(&dir));
}

#[test]
fn links_stay_below_the_destination_whatever_they_lead_through() {
    for (to, depth, stays) in [
        ("file", 0, true),
        ("a/b", 0, true),
        ("..", 1, true),
        ("../b", 1, true),
        ("../..", 1, false),
        ("..", 0, false),
        ("/etc", 5, false),
        ("", 1, false),
        // `a` may be a link itself.
        ("a/..", 3, false),
        ("../a/../b", 3, false),
        ("./.././b", 1, true),
    ] {
        assert_eq!(link_stays(to, depth), stays, "{to} at {depth}");
    }
}

#[test]
fn no_bits_beyond_the_permissions_are_taken() {
    let (_dir, to) = place();
    let mut bytes = archive(&[("a", file(b"x"), b"x")]);
    // As another program may write them: 4777.
    bytes[100..107].copy_from_slice(b"0004777");
    let sum: u32 = bytes[..512]
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(*byte)
            }
        })
        .sum();
    bytes[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    unpack(&bytes, &to).unwrap();
    let mode = fs::metadata(to.join("a")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o777);
}

#[test]
fn what_is_too_much_is_refused_before_it_is_made() {
    let (_dir, to) = place();
    let mut bomb = header(&Entry {
        path: b"bomb".to_vec(),
        kind: Kind::File(1 << 40),
        mode: 0o644,
        mtime_s: 0,
    });
    bomb.extend([0; 512]);
    let refused = unpack(&bomb, &to);
    assert!(matches!(refused, Err(TreeError::TooMuch(_))), "{refused:?}");
    assert!(!to.join("bomb").exists());
    let deep = "d/".repeat(DEPTH_MAX + 1);
    assert!(unpack(&archive(&[(&deep, Kind::Directory, b"")]), &to).is_err());
}

#[test]
fn what_is_the_kernels_is_never_packed_and_secrets_only_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    for name in ["proc", "run/secrets", "home"] {
        fs::create_dir_all(root.join(name)).unwrap();
        fs::write(root.join(name).join("file"), "x").unwrap();
    }
    let (proc, secrets) = (root.join("proc"), root.join("run/secrets"));
    let skips = Skips {
        never: &[proc.to_str().unwrap()],
        unnamed: &[secrets.to_str().unwrap()],
    };
    let names = |path: &Path| {
        let packed = Packed::scan(path, Some("t".as_ref()), skips)?;
        let mut bytes = Vec::new();
        packed.write(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok::<_, TreeError>(["proc", "secrets", "home"].map(|name| text.contains(name)))
    };
    assert_eq!(names(&root).unwrap(), [false, false, true]);
    let named = Packed::scan(&secrets, None, skips).unwrap();
    assert_eq!((named.entries(), named.bytes()), (2, 1));
    for never in [proc.clone(), proc.join("file")] {
        assert!(matches!(names(&never), Err(TreeError::Unfit { .. })));
    }
    symlink("../proc", root.join("home/way")).unwrap();
    assert!(matches!(
        names(&root.join("home/way")),
        Err(TreeError::Unfit { .. })
    ));
}

#[test]
fn a_pipe_is_no_file_and_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let alone = Packed::scan(&pipe, None, Skips::default());
    assert!(matches!(alone, Err(TreeError::Unfit { .. })), "{alone:?}");
    let around = Packed::scan(dir.path(), None, Skips::default()).unwrap();
    assert_eq!(around.entries(), 1);
}
