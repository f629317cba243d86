//! `nearlight backup` and `nearlight restore` run the broker's program with the broker's configuration.

#![allow(
    clippy::unwrap_used,
    reason = "a test says what it could not do by failing"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Writes down how it was run, and does what the test wants.
fn machine(status: u8) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(
        env!("CARGO_BIN_EXE_nearlight"),
        dir.path().join("nearlight"),
    )
    .unwrap();
    let broker = dir.path().join("session-broker");
    let script = format!(
        "#!/bin/sh\necho \"$NEARLIGHT_LEDGER $*\" > \"$(dirname \"$0\")/said\"\necho because >&2\nexit {status}\n"
    );
    fs::write(&broker, script).unwrap();
    fs::set_permissions(&broker, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn nearlight(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(dir.join("nearlight"));
    command.env_remove("NEARLIGHT_LEDGER");
    command.args(args).output().unwrap()
}

#[test]
fn the_brokers_program_gets_its_configuration_and_no_password_as_an_argument() {
    let dir = machine(0);
    let said = |args: &[&str]| {
        assert!(nearlight(dir.path(), args).status.success());
        fs::read_to_string(dir.path().join("said")).unwrap()
    };
    let url = "postgres://me:hunter2@db/nearlight";
    let backup = [
        "backup", "there", "--config", "c", "--pki", "p", "--ledger", url,
    ];
    let expected = format!("{url} --config c --pki p --backup there\n");
    assert_eq!(said(&backup), expected);
    let restore = ["restore", "there", "--data", "d"];
    assert_eq!(said(&restore), " --data d --restore there\n");
}

#[test]
fn what_it_does_not_do_is_a_failure() {
    let dir = machine(1);
    let done = nearlight(dir.path(), &["backup", "there"]);
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.starts_with("because\n"), "{said}");
    fs::remove_file(dir.path().join("session-broker")).unwrap();
    let done = nearlight(dir.path(), &["restore", "there"]);
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.contains("belongs beside nearlight"), "{said}");
}
