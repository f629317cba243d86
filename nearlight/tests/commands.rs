//! What commands do to what they print and are given, without a broker.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

fn nearlight(home: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearlight"));
    command
        .env_remove("NEARLIGHT_URL")
        .env_remove("NEARLIGHT_TOKEN")
        .env("XDG_CONFIG_HOME", home.path())
        .current_dir(home.path())
        .stdin(Stdio::null());
    command
}

#[test]
fn a_result_that_is_cut_short_is_no_success() {
    let home = tempfile::tempdir().unwrap();
    let compose = home.path().join("compose.yaml");
    std::fs::write(&compose, "services:\n  a:\n    image: x\n").unwrap();
    let convert = |stdout: Stdio| {
        let mut command = nearlight(&home);
        command.args(["session", "convert"]).arg(&compose);
        command.stdout(stdout).stderr(Stdio::piped());
        command.spawn().unwrap().wait_with_output().unwrap()
    };
    let whole = convert(Stdio::piped());
    assert!(whole.status.success(), "{whole:?}");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let cut = convert(full.into());
    assert_eq!(cut.status.code(), Some(1), "{cut:?}");
    let said = String::from_utf8_lossy(&cut.stderr).into_owned();
    assert!(said.contains("cut short"), "{said}");
    // Who stops reading has what they wanted.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let left = convert(writer.into());
    assert!(left.status.success(), "{left:?}");
}

#[test]
fn an_empty_key_makes_no_profile() {
    let home = tempfile::tempdir().unwrap();
    let key = home.path().join("key");
    std::fs::write(&key, "\n").unwrap();
    let mut login = nearlight(&home);
    login
        .args(["login", "http://127.0.0.1:1", "--key-file"])
        .arg(&key);
    let ended = login.output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("no key was given"), "{said}");
    assert!(!home.path().join("nearlight").exists());
}

/// Somebody who hears a request and goes away, twice; what Idempotency-Keys came.
#[test]
fn a_session_is_asked_for_again_with_the_key_of_before() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heard = std::thread::spawn(move || {
        let mut keys = Vec::new();
        for _ in 0..2 {
            let (mut connection, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(connection.try_clone().unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let line = line.trim_end().to_ascii_lowercase();
                if let Some(key) = line.strip_prefix("idempotency-key: ") {
                    keys.push(key.to_owned());
                }
                if let Some(bytes) = line.strip_prefix("content-length: ") {
                    length = bytes.parse().unwrap();
                }
                if line.is_empty() {
                    break;
                }
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            connection.flush().unwrap();
        }
        keys
    });
    let home = tempfile::tempdir().unwrap();
    let mut start = nearlight(&home);
    start.args([
        "session", "start", "freedoom", "--token", "nlk_x", "--url", &url,
    ]);
    let ended = start.output().unwrap();
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
    let keys = heard.join().unwrap();
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert_eq!(keys[0], keys[1]);
}

#[test]
fn a_session_whose_placement_is_forgotten_is_explained_by_its_end() {
    let home = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let id = "ses_01kbxs1v9rf8mb0rn5d8d0h4zt";
    let session = format!(
        r#"{{"id":"{id}","kind":"job","title":"a","state":{{"phase":"ended","reason":"job-failed","detail":"It failed."}},"node":null,"owned":true,"created_at":1,"ends_at":null,"play_path":"/"}}"#
    );
    let forgotten = r#"{"type":"https://nearlight.dev/problems/not-found","name":"not-found","title":"No","status":404,"detail":"There is no such session.","instance":"req_1"}"#;
    std::thread::spawn(move || {
        while let Ok((mut connection, _)) = listener.accept() {
            let mut lines = BufReader::new(&connection).lines();
            let asked = lines.next().unwrap().unwrap();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            drop(lines);
            let (status, kind, body) = match asked.contains("/placement ") {
                true => ("404 Not Found", "application/problem+json", forgotten),
                false => ("200 OK", "application/json", &session[..]),
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nconnection: close");
            let _ = write!(
                connection,
                "{head}\r\ncontent-length: {length}\r\n\r\n{body}"
            );
        }
    });
    let explain = |json: &[&str]| {
        let mut command = nearlight(&home);
        command.args(["session", "explain", "--token", "nlk_x", "--url", &url, id]);
        command.args(json).output().unwrap()
    };
    let told = explain(&[]);
    assert!(told.status.success(), "{told:?}");
    assert_eq!(
        String::from_utf8_lossy(&told.stdout),
        "it is over: It failed.\n"
    );
    assert_eq!(explain(&["--json"]).status.code(), Some(4));
}
