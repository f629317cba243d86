//! A job's log as server-sent events, line by line.
//!
//! ```text
//! id: 2026-01-02T03:04:05.123456789Z-1        where to go on from: `Last-Event-ID`, or `after`
//! event: line | gap | end
//! data: {"at", "stream", "text"} | {} | {}
//! ```
//!
//! `gap` says that lines were lost: a log has a bound, and whoever was away for long finds its oldest lines gone. A
//! reader who follows stays through restarts of the container. `end` says that no more comes. When the job ends, whoever
//! reads is cut off without it: what it said last is in what is kept ([`super::ended`]), and the reader goes on there.
//!
//! **Invariant.** What is read and not sent yet is one batch; the engine waits for a reader that does not read.

use super::cursor::{Cursor, Places};
use super::{JobInside, ended, one_of};
use crate::job::ended_logs::Kept;
use crate::job::log::{self, Source, Wanted};
use crate::limits::{
    LOG_BATCH_BYTES, LOG_PING_EVERY, LOG_QUIET, LOG_READERS_MAX, LOG_REOPEN_EVERY,
};
use crate::tunnel::Asked;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Response, header};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::inside::{LOG_LINES_MAX, LogLine, LogStream};
use nearlight_protocol::problem::ProblemType;
use std::fmt::Write;
use std::io;
use std::sync::{Mutex, PoisonError};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// The answer to a reader.
pub(super) fn answer(inside: &JobInside, asked: Asked) -> Result<Response<Body>, ProblemResponse> {
    let wish = Wish::asked(&asked)?;
    let place = one_of(&inside.readers, "readers of its log", LOG_READERS_MAX)?;
    let (engine, container) = (inside.engine.clone(), inside.container.clone());
    let open = move |wanted| {
        let parts = log::read(&engine, &container, wanted);
        parts.map(|part| part.map_err(io::Error::other)).boxed()
    };
    Ok(events(Box::new(open), wish, asked.closed, place))
}

/// The answer to a reader of a log that is kept: nothing more comes to it.
pub(super) fn answer_ended(
    kept: Kept,
    mut wish: Wish,
    place: OwnedSemaphorePermit,
) -> Response<Body> {
    wish.follow = false;
    // Once: without following nothing is opened again.
    let kept = Mutex::new(Some(kept));
    let open = move |wanted| {
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        match kept {
            Some(kept) => ended::parts(kept, wanted).boxed(),
            None => futures_util::stream::empty().boxed(),
        }
    };
    events(Box::new(open), wish, CancellationToken::new(), place)
}

fn events(
    open: Box<Open>,
    wish: Wish,
    closed: CancellationToken,
    place: OwnedSemaphorePermit,
) -> Response<Body> {
    let reading = Reading {
        open,
        closed,
        places: Places::from(wish.after.clone()),
        last: wish.after.clone(),
        wish,
        parts: None,
        is_over: false,
        _place: place,
    };
    let events = futures_util::stream::unfold(reading, |mut reading| async {
        let events = reading.next().await?;
        Some((Ok::<_, io::Error>(events), reading))
    });
    let mut response = Response::new(Body::from_stream(events));
    let kind = header::HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// What of a log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    follow: bool,
    since_s: u32,
    tail: Option<u32>,
    after: Option<Cursor>,
}

impl Wish {
    /// As the request says it.
    pub(super) fn asked(asked: &Asked) -> Result<Self, ProblemResponse> {
        let query = asked.request.uri().query().unwrap_or_default();
        Self::of(query, asked.request.headers()).ok_or_else(|| {
            ProblemResponse::new(
                ProblemType::BadRequest,
                "`follow` is true or false, `since` seconds since the Unix epoch, `tail` a number of lines \
                 up to 1000000, and `after` the id of a line.",
            )
        })
    }

    fn of(query: &str, headers: &HeaderMap) -> Option<Self> {
        let mut wish = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=')?;
            match name {
                "follow" => wish.follow = value.parse().ok()?,
                "since" => wish.since_s = value.parse().ok()?,
                "tail" => wish.tail = Some(value.parse().ok().filter(|n| *n <= LOG_LINES_MAX)?),
                // Colons may be escaped.
                "after" => wish.after = Some(Cursor::parse(&value.replace("%3A", ":"))?),
                _ => return None,
            }
        }
        // A browser that reconnects says it so, and knows better than the address.
        if let Some(last) = headers.get("last-event-id") {
            wish.after = Some(Cursor::parse(last.to_str().ok()?)?);
        }
        Some(wish)
    }

    fn wanted(&self, last: Option<&Cursor>) -> Wanted {
        match last {
            Some(last) => Wanted {
                since_s: last.since_s(),
                lines: None,
                follow: self.follow,
            },
            None => Wanted {
                since_s: self.since_s,
                lines: self.tail,
                follow: self.follow,
            },
        }
    }
}

type Parts = BoxStream<'static, io::Result<(Source, Bytes)>>;
/// Opens the log, as often as the container starts again.
type Open = dyn Fn(Wanted) -> Parts + Send;

/// One reader.
struct Reading {
    open: Box<Open>,
    closed: CancellationToken,
    wish: Wish,
    places: Places<LogLine>,
    /// The last line that was passed on.
    last: Option<Cursor>,
    /// What the engine has open.
    parts: Option<Parts>,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

enum Came {
    Part((Source, Bytes)),
    /// The container does not run.
    End,
    /// The engine went away, or what was kept did.
    Broken,
    Quiet,
    Closed,
}

impl Reading {
    /// The next events; `None` after the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        let mut out = String::new();
        let ping = Instant::now() + LOG_PING_EVERY;
        while out.is_empty() {
            let until = match self.places.is_seeking() {
                true => Instant::now() + LOG_QUIET,
                false => ping,
            };
            match self.came(until).await {
                Came::Part(part) => {
                    self.part(&part, &mut out);
                    self.gather(&mut out);
                }
                Came::Quiet if self.places.is_seeking() => self.pass_quiet(&mut out),
                Came::Quiet => out.push_str(": ping\n\n"),
                Came::Broken if !self.wish.follow => return self.break_off(out),
                Came::End if !self.wish.follow => {
                    self.pass_quiet(&mut out);
                    return self.end(out);
                }
                Came::End | Came::Broken => {
                    self.parts = None;
                    self.pass_quiet(&mut out);
                    self.places = Places::from(self.last.clone());
                    if !self.waited().await {
                        return self.break_off(out);
                    }
                    if out.is_empty() && Instant::now() >= ping {
                        out.push_str(": ping\n\n");
                    }
                }
                Came::Closed => return self.break_off(out),
            }
        }
        Some(out.into())
    }

    /// More may come, from elsewhere or from what is kept: whoever follows asks again.
    fn break_off(&mut self, out: String) -> Option<Bytes> {
        self.is_over = true;
        (!out.is_empty()).then(|| out.into())
    }

    fn end(&mut self, mut out: String) -> Option<Bytes> {
        self.is_over = true;
        out.push_str("event: end\ndata: {}\n\n");
        Some(out.into())
    }

    async fn came(&mut self, until: Instant) -> Came {
        let parts = self.parts.get_or_insert_with(|| {
            let wanted = self.wish.wanted(self.last.as_ref());
            (self.open)(wanted)
        });
        tokio::select! {
            biased;
            part = timeout_at(until, parts.next()) => match part {
                Ok(Some(Ok(part))) => Came::Part(part),
                Ok(Some(Err(error))) => {
                    tracing::info!(%error, "a log broke off");
                    Came::Broken
                }
                Ok(None) => Came::End,
                Err(_elapsed) => Came::Quiet,
            },
            () = self.closed.cancelled() => Came::Closed,
        }
    }

    /// Before the log is opened again; `false` if the job is over.
    async fn waited(&mut self) -> bool {
        tokio::select! {
            () = tokio::time::sleep(LOG_REOPEN_EVERY) => true,
            () = self.closed.cancelled() => false,
        }
    }

    /// What more there is at once.
    fn gather(&mut self, out: &mut String) {
        while out.len() < LOG_BATCH_BYTES {
            let next = self.parts.as_mut().and_then(|of| of.next().now_or_never());
            match next {
                Some(Some(Ok(part))) => self.part(&part, out),
                Some(last @ (Some(Err(_)) | None)) => {
                    // Met again, and then dealt with.
                    self.parts = Some(futures_util::stream::iter(last).boxed());
                    return;
                }
                None => return,
            }
        }
    }

    fn part(&mut self, (source, bytes): &(Source, Bytes), out: &mut String) {
        let Some((at, text)) = stamped(bytes) else {
            return;
        };
        let ended = text.strip_suffix(b"\n");
        let line = LogLine {
            at: at.to_owned(),
            stream: match source {
                Source::Stdout => LogStream::Stdout,
                Source::Stderr => LogStream::Stderr,
            },
            text: String::from_utf8_lossy(ended.unwrap_or(text)).into_owned(),
            partial: ended.is_none(),
        };
        let passed = self.places.line(at, line);
        self.pass(passed, out);
    }

    fn pass_quiet(&mut self, out: &mut String) {
        let passed = self.places.quiet();
        self.pass(passed, out);
    }

    fn pass(&mut self, passed: super::cursor::Passed<LogLine>, out: &mut String) {
        if passed.gap {
            out.push_str("event: gap\ndata: {}\n\n");
        }
        for (place, line) in passed.lines {
            let data = serde_json::to_string(&line).unwrap_or_default();
            let _ = write!(out, "id: {place}\nevent: line\ndata: {data}\n\n");
            self.last = Some(place);
        }
    }
}

/// The engine's stamp, and the line.
fn stamped(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let at = std::str::from_utf8(&bytes[..space]).ok()?;
    Some((at, &bytes[space + 1..]))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_wish_is_what_the_address_says_and_a_browser_knows_better() {
        let none = HeaderMap::new();
        let wish = Wish::of("follow=true&since=7&tail=10", &none).unwrap();
        let expected = Wanted {
            since_s: 7,
            lines: Some(10),
            follow: true,
        };
        assert_eq!(wish.wanted(None), expected);
        let after = "after=2026-03-01T00%3A00%3A05.000000000Z-2";
        let wish = Wish::of(after, &none).unwrap();
        assert_eq!(wish.wanted(wish.after.as_ref()).since_s, 1_772_323_204);
        let mut headers = HeaderMap::new();
        let last = "2026-03-01T00:00:09.000000000Z-1";
        headers.insert("last-event-id", last.parse().unwrap());
        assert_eq!(
            Wish::of(after, &headers)
                .unwrap()
                .after
                .unwrap()
                .to_string(),
            last
        );
        for wrong in [
            "follow=1",
            "tail=x",
            "tail=1000001",
            "since=-1",
            "after=x",
            "x=1",
            "x",
        ] {
            assert_eq!(Wish::of(wrong, &none), None, "{wrong}");
        }
    }

    #[test]
    fn a_stamp_stands_before_the_line() {
        assert_eq!(stamped(b"T1 a b\n"), Some(("T1", &b"a b\n"[..])));
        assert_eq!(stamped(b"T1 \n"), Some(("T1", &b"\n"[..])));
        assert_eq!(stamped(b"no-stamp"), None);
    }
}
