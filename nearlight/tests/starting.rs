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
            if request.starts_with("GET ") {
                let mut events = format!("data: {}\n\n", view(r#"{"phase":"placing"}"#));
                if let Some(state) = second {
                    events += &format!("data: {}\n\n", view(state));
                }
                send(&mut connection, "200 OK", "text/event-stream", &events);
                open.push(connection);
            } else {
                let status = if request.starts_with("POST ") {
                    "201 Created"
                } else {
                    "202 Accepted"
                };
                say(&mut connection, status);
            }
        }
    });
    (url, requests)
}

/// A broker with one session that never answers requests with this method.
fn deaf_broker(to: &'static str) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (heard, requests) = sync_channel(16);
    std::thread::spawn(move || {
        let mut open = Vec::new();
        while let Ok((mut connection, _)) = listener.accept() {
            let request = read(&connection);
            if heard.send(request.clone()).is_err() {
                return;
            }
            if request.starts_with("GET ") {
                let placing = format!("data: {}\n\n", view(r#"{"phase":"placing"}"#));
                send(&mut connection, "200 OK", "text/event-stream", &placing);
            } else if !request.starts_with(to) {
                say(&mut connection, "201 Created");
                continue;
            }
            open.push(connection);
        }
    });
    (url, requests)
}

/// A broker that takes what it is asked for first, and answers nothing; `answers` what comes after that.
fn late_broker(answers: bool) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (heard, requests) = sync_channel(16);
    std::thread::spawn(move || {
        let (first, _) = listener.accept().unwrap();
        let request = read(&first);
        let listener = answers.then_some(listener);
        // Whoever asks again is refused by now, if nobody answers.
        heard.send(request).unwrap();
        let Some(listener) = listener else {
            // Open for as long as the test.
            while heard.send(String::new()).is_ok() {}
            drop(first);
            return;
        };
        while let Ok((mut connection, _)) = listener.accept() {
            let request = read(&connection);
            if heard.send(request.clone()).is_err() {
                return;
            }
            say(
                &mut connection,
                if request.starts_with("POST ") {
                    "201 Created"
                } else {
                    "202 Accepted"
                },
            );
        }
    });
    (url, requests)
}

/// Answers with the session.
fn say(connection: &mut TcpStream, status: &str) {
    let view = view(r#"{"phase":"placing"}"#);
    send(connection, status, "application/json", &view);
}

fn send(connection: &mut TcpStream, status: &str, kind: &str, body: &str) {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nconnection: close\r\n");
    let length = match kind {
        "text/event-stream" => String::new(),
        _ => format!("content-length: {}\r\n", body.len()),
    };
    // Who has gone does not read it.
    let _ = write!(connection, "{head}{length}\r\n{body}");
}

/// A request, once all of it is there.
fn read(connection: &TcpStream) -> String {
    let mut reader = BufReader::new(connection);
    let (mut request, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        request += &line;
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(bytes) = line.strip_prefix("content-length: ") {
            length = bytes.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    request + &String::from_utf8(body).unwrap()
}

/// The key that a request names.
fn key_of(request: &str) -> &str {
    let header = |line: &&str| line.to_ascii_lowercase().starts_with("idempotency-key: ");
    let line = request.lines().find(header).expect("a key");
    line.split(": ").nth(1).unwrap()
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
fn a_job_whose_id_nobody_said_yet_ends_with_who_waits() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let home = tempfile::tempdir().unwrap();
        let (url, requests) = late_broker(true);
        let child = start(&home, &url);
        let first = requests.recv().unwrap();
        assert!(first.starts_with("POST /v1/sessions "), "{first}");
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        let (status, said) = over(child, String::new());
        assert_eq!(status.code(), Some(130), "{said}");
        assert!(said.contains(&format!("{ID} is ending")), "{said}");
        let after: Vec<_> = requests.try_iter().collect();
        assert_eq!(after.len(), 2, "{after:?}");
        assert_eq!(after[0], first, "the same, with its key");
        let ended = format!("DELETE /v1/sessions/{ID} ");
        assert!(after[1].starts_with(&ended), "{after:?}");
    }
}

#[test]
fn a_job_of_which_no_broker_tells_is_named_by_its_key() {
    let home = tempfile::tempdir().unwrap();
    let (url, requests) = late_broker(false);
    let child = start(&home, &url);
    let first = requests.recv().unwrap();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let (status, said) = over(child, String::new());
    assert_eq!(status.code(), Some(130), "{said}");
    for words in [key_of(&first), "session list", "session stop"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn two_signals_at_once_are_one_and_the_job_ends() {
    let home = tempfile::tempdir().unwrap();
    let (url, requests) = broker(None);
    let mut child = start(&home, &url);
    let said = says(&mut child, "placing");
    let pid = Pid::from_raw(child.id().cast_signed());
    kill(pid, Signal::SIGSTOP).unwrap();
    let state = format!("/proc/{pid}/status");
    while !std::fs::read_to_string(&state)
        .unwrap()
        .contains("State:\tT")
    {
        std::thread::yield_now();
    }
    // As `timeout` does it, but for the first one waiting for the second.
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCONT] {
        kill(pid, signal).unwrap();
    }
    let (status, said) = over(child, said);
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains(&format!("{ID} is ending")), "{said}");
    let ended = format!("DELETE /v1/sessions/{ID} ");
    assert!(requests.try_iter().last().unwrap().starts_with(&ended));
}

#[test]
fn a_second_signal_ends_at_once_and_says_what_may_still_run() {
    for second in [Signal::SIGINT, Signal::SIGTERM] {
        for deaf_to in ["POST ", "DELETE "] {
            let home = tempfile::tempdir().unwrap();
            let (url, requests) = deaf_broker(deaf_to);
            let mut child = start(&home, &url);
            let pid = Pid::from_raw(child.id().cast_signed());
            let first = requests.recv().unwrap();
            // The broker has it, and keeps it: it is asked again, or told to end what it has said.
            let named = match deaf_to {
                "POST " => key_of(&first).to_owned(),
                _ => format!("session stop {ID}"),
            };
            if deaf_to == "DELETE " {
                assert!(requests.recv().unwrap().starts_with("GET "));
            }
            kill(pid, Signal::SIGINT).unwrap();
            assert!(requests.recv().unwrap().starts_with(deaf_to));
            // What comes with the first one is none of its own.
            while child.try_wait().unwrap().is_none() {
                kill(pid, second).unwrap();
                std::thread::yield_now();
            }
            let (status, said) = over(child, String::new());
            assert_eq!(status.code(), Some(130), "{deaf_to}{second}: {said}");
            assert!(said.contains("(once more: stop at once"), "{said}");
            let last = said.lines().last().unwrap();
            for words in ["stopped at once", "session stop", &named] {
                assert!(last.contains(words), "{deaf_to}{second}: {words}: {said}");
            }
        }
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
