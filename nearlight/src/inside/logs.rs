//! `session logs`: each line once, however often the connection breaks.

use crate::cli::{Broker, Logs};
use crate::client::{Client, ClientError};
use crate::command::CommandError;
use crate::terminal;
use nearlight_protocol::inside::{LogLine, LogStream};
use nearlight_protocol::problem::ProblemType;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tries in a row before it is given up, a second or more apart: a broker that restarts is there by then.
const TRIES_MAX: u32 = 60;
const WAIT: Duration = Duration::from_secs(1);

/// How one connection ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// No more comes.
    End,
    /// It broke off.
    Broken,
    /// Nobody reads this program's output any more.
    Unread,
}

/// Shows a job's log.
///
/// # Errors
/// [`CommandError`]
pub fn logs(logs: &Logs, broker: &Broker) -> Result<(), CommandError> {
    let client = Client::new(broker)?;
    let mut reader = Reader {
        json: broker.json,
        last: None,
    };
    let mut tries = 0;
    loop {
        let before = reader.last.clone();
        let path = path(logs, reader.last.as_deref());
        let outcome = client
            .stream(&path)
            .map(|body| reader.read(BufReader::new(body)));
        let is_ending = matches!(&outcome, Err(ClientError::Problem(problem))
            if tries > 0 && problem.name == ProblemType::JobNotReady);
        match outcome {
            Ok(Ok(Ended::End | Ended::Unread)) => return Ok(()),
            Ok(Ok(Ended::Broken) | Err(_)) => {}
            // It ended while nobody listened, and its node keeps no log of such: there is no more.
            Err(ClientError::Problem(problem))
                if tries > 0 && problem.name == ProblemType::SessionEnded =>
            {
                return Ok(());
            }
            Err(error) if !is_passing(&error) || (tries == 0 && before.is_none()) => {
                return Err(error.into());
            }
            Err(error) if tries >= TRIES_MAX => return Err(error.into()),
            Err(_) => {}
        }
        // Whoever got further begins to count anew. A job that stops takes the time that it has, and what it says
        // then is in its log once it is over.
        tries = match (reader.last == before, is_ending) {
            (true, false) => tries + 1,
            (true, true) => tries,
            (false, _) => 1,
        };
        if tries > TRIES_MAX {
            return Err(CommandError::StreamEnded);
        }
        std::thread::sleep(WAIT);
    }
}

/// Whether it may be well in a moment.
fn is_passing(error: &ClientError) -> bool {
    match error {
        ClientError::Broken(_) | ClientError::Unreachable { .. } => true,
        ClientError::Problem(problem) => matches!(
            problem.name,
            ProblemType::NodeUnreachable
                | ProblemType::JobNotReady
                | ProblemType::JobUnreachable
                | ProblemType::TooManyRequests
                | ProblemType::Internal
        ),
        ClientError::Foreign { .. }
        | ClientError::BadUrl(_)
        | ClientError::BadKey
        | ClientError::ProfileElsewhere { .. }
        | ClientError::Profile(_)
        | ClientError::NoKey(_) => false,
    }
}

fn path(logs: &Logs, last: Option<&str>) -> String {
    let mut path = format!("/v1/sessions/{}/logs?follow={}", logs.session, logs.follow);
    if let Some(replica) = logs.replica {
        path.push_str(&format!("&replica={replica}"));
    }
    match (last, logs.since, logs.tail) {
        (Some(last), _, _) => path.push_str(&format!("&after={}", last.replace(':', "%3A"))),
        (None, since, tail) => {
            if let Some(ago_s) = since {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                let now_s = now.unwrap_or_default().as_secs();
                path.push_str(&format!("&since={}", now_s.saturating_sub(ago_s)));
            }
            if let Some(tail) = tail {
                path.push_str(&format!("&tail={tail}"));
            }
        }
    }
    path
}

struct Reader {
    json: bool,
    /// The id of the last line that was shown.
    last: Option<String>,
}

impl Reader {
    /// Shows what comes on one connection.
    fn read(&mut self, events: BufReader<impl Read>) -> io::Result<Ended> {
        let (mut id, mut event) = (None, String::new());
        for line in events.lines() {
            let line = line?;
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "id" => id = Some(value.to_owned()),
                "event" => value.clone_into(&mut event),
                "data" if event == "end" => return Ok(Ended::End),
                "data" if event == "gap" => {
                    terminal::note("nearlight: lines are missing here: a job's log has a bound");
                }
                "data" => {
                    let line: LogLine = serde_json::from_str(value).map_err(io::Error::other)?;
                    if self.show(&line, value).is_err() {
                        return Ok(Ended::Unread);
                    }
                    if let Some(id) = id.take() {
                        self.last = Some(id);
                    }
                }
                _ => {}
            }
        }
        Ok(Ended::Broken)
    }

    fn show(&self, line: &LogLine, json: &str) -> io::Result<()> {
        let end = if line.partial { "" } else { "\n" };
        let mut out = io::stdout().lock();
        match line.stream {
            _ if self.json => writeln!(out, "{json}")?,
            LogStream::Stdout => write!(out, "{}{end}", line.text)?,
            LogStream::Stderr => {
                let mut err = io::stderr().lock();
                return write!(err, "{}{end}", line.text);
            }
        }
        out.flush()
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn read(text: &str) -> (Ended, Option<String>) {
        let mut reader = Reader {
            json: true,
            last: None,
        };
        let ended = reader.read(BufReader::new(text.as_bytes())).unwrap();
        (ended, reader.last)
    }

    #[test]
    fn the_last_line_is_remembered_and_an_end_is_told_from_a_break() {
        let line =
            "id: T-1\nevent: line\ndata: {\"at\":\"T\",\"stream\":\"stdout\",\"text\":\"a\"}\n\n";
        let last = Some("T-1".to_owned());
        assert_eq!(read(line), (Ended::Broken, last.clone()));
        let ended = format!(": ping\n\n{line}event: end\ndata: {{}}\n\n");
        assert_eq!(read(&ended), (Ended::End, last));
        assert_eq!(read("id: T-2\nevent: line\n"), (Ended::Broken, None));
    }

    #[test]
    fn a_reader_goes_on_after_the_last_line() {
        let session = nearlight_kit::ids::session();
        let logs = Logs {
            session: session.clone(),
            follow: true,
            since: None,
            tail: Some(7),
            replica: None,
        };
        let base = format!("/v1/sessions/{session}/logs?follow=true");
        assert_eq!(path(&logs, None), format!("{base}&tail=7"));
        assert_eq!(path(&logs, Some("T:1-1")), format!("{base}&after=T%3A1-1"));
        let logs = Logs {
            replica: Some(2),
            tail: None,
            ..logs
        };
        assert_eq!(path(&logs, None), format!("{base}&replica=2"));
    }
}
