//! `nearlight session start -f`: what is said of a job that is not ready yet, and what goes with who stops waiting.
#![allow(clippy::unwrap_used, reason = "a broken test fails where it breaks")]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

const ID: &str = "ses_01kbxs1v9rf8mb0rn5d8d0h4zt";

fn view(state: &str) -> String {
    format!(
        r#"{{"id":"{ID}","kind":"job","title":"a","state":{state},"node":null,"owned":true,"created_at":1,"ends_at":null,"play_path":"/"}}"#
    )
}

/// A broker with one session; `second` is its state after placing. Its second value has the requests as they come.
fn broker(second: Option<&'static str>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (heard, requests) = sync_channel(16);
    std::thread::spawn(move || {
        // Streams stay open for as long as this thread.
        let mut open = Vec::new();
        while let Ok((mut connection, _)) = listener.accept() {
            let request = read(&connection);
            // Before the answer: who has that looks at once.
            if heard.send(request.clone()).is_err() {
                return;
            }
            let mut send = |status: &str, kind: &str, body: &str| {
                let head =
                    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nconnection: close\r\n");
                let length = match kind {
                    "text/event-stream" => String::new(),
                    _ => format!("content-length: {}\r\n", body.len()),
                };
                // Who has gone does not read it.
                let _ = write!(connection, "{head}{length}\r\n{body}");
            };
            if request.starts_with("GET ") {
                let mut events = format!("data: {}\n\n", view(r#"{"phase":"placing"}"#));
                if let Some(state) = second {
                    events += &format!("data: {}\n\n", view(state));
                }
                send("200 OK", "text/event-stream", &events);
                open.push(connection);
            } else {
                let status = if request.starts_with("POST ") {
                    "201 Created"
                } else {
                    "202 Accepted"
                };
                send(status, "application/json", &view(r#"{"phase":"placing"}"#));
            }
        }
    });
    (url, requests)
}

/// The request's first line, once all of it is there.
fn read(connection: &TcpStream) -> String {
    let mut reader = BufReader::new(connection);
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(bytes) = line.strip_prefix("content-length: ") {
            length = bytes.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    first.trim_end().to_owned()
}

fn start(home: &tempfile::TempDir, url: &str) -> Child {
    let job = home.path().join("job.toml");
    std::fs::write(&job, "image = \"a:1\"\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearlight"));
    command.env("XDG_CONFIG_HOME", home.path());
    command.args(["session", "start", "--token", "nlk_x", "--url", url, "-f"]);
    command.arg(job).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Its status, and all that it says after `said`.
fn over(child: Child, mut said: String) -> (ExitStatus, String) {
    let ended = child.wait_with_output().unwrap();
    said += &String::from_utf8_lossy(&ended.stderr);
    (ended.status, said)
}

/// What it says up to a line with this.
fn says(child: &mut Child, what: &str) -> String {
    let mut said = String::new();
    let mut byte = [0];
    let stderr = child.stderr.as_mut().unwrap();
    while !(said.contains(what) && said.ends_with('\n')) {
        stderr
            .read_exact(&mut byte)
            .unwrap_or_else(|_| panic!("no {what}: {said}"));
        said.push(byte[0].into());
    }
    said
}

#[test]
fn a_job_that_is_not_ready_has_said_its_id_and_ends_with_who_waits() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let home = tempfile::tempdir().unwrap();
        let (url, requests) = broker(None);
        let mut child = start(&home, &url);
        let said = says(&mut child, "placing");
        assert!(said.contains(ID), "{said}");
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        let (status, said) = over(child, said);
        assert_eq!(status.code(), Some(130), "{said}");
        assert!(said.contains(&format!("{ID} is ending")), "{said}");
        let asked: Vec<_> = requests.try_iter().collect();
        assert!(asked[0].starts_with("POST /v1/sessions "), "{asked:?}");
        let ended = format!("DELETE /v1/sessions/{ID} ");
        assert!(asked.last().unwrap().starts_with(&ended), "{asked:?}");
    }
}

#[test]
fn a_job_that_failed_to_start_is_named_for_its_log() {
    let home = tempfile::tempdir().unwrap();
    let ended = r#"{"phase":"ended","reason":"job-failed","detail":"It ended with 3.","at":2}"#;
    let (url, _requests) = broker(Some(ended));
    let (status, said) = over(start(&home, &url), String::new());
    assert_eq!(status.code(), Some(5), "{said}");
    let expected = format!("{ID} ended before it was ready: It ended with 3.");
    assert!(said.contains(&expected), "{said}");
}
