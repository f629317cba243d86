//! How apps can be run: a Docker engine with the built-in images, or the bubblewrap sandbox.

use super::{Finding, succeeds};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const SOCKET: &str = "/var/run/docker.sock";
const DEADLINE: Duration = Duration::from_secs(5);
/// What is asked for: the oldest API that the edge node speaks.
const API: &str = "v1.41";
const BUILT_IN: [&str; 3] = ["calibrate", "freedoom", "neverball"];
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

pub(super) fn look() -> Vec<Finding> {
    let engine = get("/_ping");
    let sandbox = succeeds(
        "bwrap",
        &[
            "--unshare-all",
            "--ro-bind",
            "/",
            "/",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "true",
        ],
    );
    let mut findings = vec![
        docker_finding(&engine, sandbox),
        sandbox_finding(sandbox, engine.is_ok()),
    ];
    if engine.is_ok() {
        findings.push(images_finding());
    }
    findings
}

fn docker_finding(engine: &Result<u16, String>, sandbox: bool) -> Finding {
    const SUBJECT: &str = "docker";
    const ADVICE: &str =
        "start it (scripts/docker.sh start), or install it (apt-get install docker.io)";
    match engine {
        Ok(200) => Finding::ok(SUBJECT, format!("an engine answers at {SOCKET}")),
        Ok(status) => Finding::hint(
            SUBJECT,
            format!("the engine at {SOCKET} answers {status} to API {API}"),
            "install Docker 20.10 or newer",
        ),
        Err(why) if sandbox => Finding::hint(SUBJECT, format!("no engine: {why}"), ADVICE),
        Err(why) => Finding::missing(SUBJECT, format!("no engine, and no sandbox: {why}"), ADVICE),
    }
}

fn sandbox_finding(works: bool, engine: bool) -> Finding {
    const SUBJECT: &str = "sandbox";
    const ADVICE: &str =
        "apt-get install bubblewrap; the kernel must allow user namespaces, or run as root";
    match (works, engine) {
        (true, _) => Finding::ok(SUBJECT, "bubblewrap makes its namespaces"),
        (false, true) => Finding::hint(SUBJECT, "bubblewrap does not work", ADVICE),
        (false, false) => Finding::missing(SUBJECT, "bubblewrap does not work", ADVICE),
    }
}

fn images_finding() -> Finding {
    const SUBJECT: &str = "images";
    let absent: Vec<_> = BUILT_IN
        .into_iter()
        .filter(|app| get(&format!("/images/nearlight/{app}:1/json")) != Ok(200))
        .collect();
    if absent.is_empty() {
        return Finding::ok(SUBJECT, "all built-in apps have theirs");
    }
    let found = format!("none for {}", absent.join(", "));
    let advice = "build them: make images";
    if absent.len() == BUILT_IN.len() {
        Finding::missing(SUBJECT, found, advice)
    } else {
        Finding::hint(SUBJECT, found, advice)
    }
}

/// The status that the engine answers, or why it does not.
fn get(path: &str) -> Result<u16, String> {
    let ask = || -> std::io::Result<String> {
        let mut socket = UnixStream::connect(SOCKET)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_write_timeout(Some(DEADLINE))?;
        // HTTP/1.0: the engine closes when it has answered.
        write!(socket, "GET /{API}{path} HTTP/1.0\r\nHost: docker\r\n\r\n")?;
        let mut answer = Vec::new();
        socket.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = ask().map_err(|error| format!("{SOCKET}: {error}"))?;
    status_of(&answer).ok_or_else(|| format!("{SOCKET} does not speak HTTP"))
}

fn status_of(answer: &str) -> Option<u16> {
    let mut words = answer.lines().next()?.split(' ');
    words
        .next()
        .filter(|version| version.starts_with("HTTP/"))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_status_line_is_read() {
        assert_eq!(status_of("HTTP/1.0 200 OK\r\n\r\nOK"), Some(200));
        assert_eq!(status_of("SSH-2.0"), None);
        assert_eq!(status_of(""), None);
    }

    #[test]
    fn one_way_to_run_apps_is_enough() {
        let none = Err("nobody".to_owned());
        assert_eq!(docker_finding(&none, true).verdict, Verdict::Hint);
        assert_eq!(docker_finding(&none, false).verdict, Verdict::Missing);
        assert_eq!(sandbox_finding(false, true).verdict, Verdict::Hint);
        assert_eq!(sandbox_finding(false, false).verdict, Verdict::Missing);
    }
}
