//! Files out of a container and into it, as tar archives, by a copier ([`crate::copier`]) each.
//!
//! The engine's own archive API is not used. It walks a container's files as root of the host, follows its links by
//! itself, and was wrong about them more than once (CVE-2018-15664, CVE-2019-14271); nor does it see what is mounted in memory. A
//! copier sees what the job sees, as the job's user: there is nothing of the host for it to be led to.
//!
//! **Invariants.** An archive goes through piece by piece. A copier that nobody reads or writes any more is killed.

use super::{JobInside, one_of};
use crate::copier::{self, Said};
use crate::limits::{COPIES_MAX, COPY_REFUSED_BYTES_MAX, COPY_WORD_DEADLINE, COPY_WORDS_BYTES_MAX};
use crate::process::ProcessId;
use crate::tunnel::Asked;
use axum::body::{Body, Bytes};
use axum::http::{Response, header};
use axum::response::IntoResponse;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::inside::{ARCHIVE_BYTES_MAX, ARCHIVE_TYPE, PATH_BYTES_MAX};
use nearlight_protocol::problem::ProblemType;
use std::io;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const PIECE_BYTES: usize = 64 * 1024;

/// Files out of it.
pub(super) async fn get(
    inside: &JobInside,
    asked: Asked,
) -> Result<Response<Body>, ProblemResponse> {
    let place = one_of(&inside.copies, "copies", COPIES_MAX)?;
    let path = path_of(asked.request.uri().query().unwrap_or_default())?;
    let mut copier = Copier::start(inside, "get", &path).await?;
    drop(copier.stdin.take());
    let length = match copier.said().await? {
        Said::Length(length) => length,
        Said::Copied(_) => return Err(ProblemResponse::internal("a copier that mixes things up")),
        Said::Refused { detail, is_absent } => return Err(refused(detail, is_absent)),
    };
    if length > ARCHIVE_BYTES_MAX {
        let detail = format!("This is {length} bytes, and a copy has {ARCHIVE_BYTES_MAX} at most.");
        return Err(ProblemResponse::new(ProblemType::BodyTooLarge, detail));
    }
    asked.entered.seen.fetch_add(1, Ordering::Relaxed);
    let sending = Sending {
        copier,
        left: length,
        closed: asked.closed,
        _place: place,
    };
    let pieces = futures_util::stream::unfold(Some(sending), |sending| async {
        let mut sending = sending?;
        match sending.next().await {
            Ok(None) => None,
            Ok(Some(piece)) => Some((Ok(piece), Some(sending))),
            Err(error) => Some((Err(error), None)),
        }
    });
    let headers = [
        (header::CONTENT_TYPE, ARCHIVE_TYPE.to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// Files into it.
pub(super) async fn put(
    inside: &JobInside,
    asked: Asked,
) -> Result<Response<Body>, ProblemResponse> {
    let _place = one_of(&inside.copies, "copies", COPIES_MAX)?;
    let path = path_of(asked.request.uri().query().unwrap_or_default())?;
    let mut copier = Copier::start(inside, "put", &path).await?;
    asked.entered.seen.fetch_add(1, Ordering::Relaxed);
    let mut body = asked.request.into_body();
    if let Some(stdin) = copier.stdin.take() {
        // What it says is why it takes no more.
        carry(&mut body, stdin).await?;
    }
    match copier.said().await {
        Ok(Said::Copied(copied)) => Ok(axum::Json(copied).into_response()),
        Ok(Said::Refused { detail, is_absent }) => {
            pass(&mut body).await;
            Err(refused(detail, is_absent))
        }
        Ok(Said::Length(_)) => Err(ProblemResponse::internal("a copier that mixes things up")),
        Err(error) => Err(error),
    }
}

/// The archive to the copier, as far as it takes it.
async fn carry(body: &mut Incoming, mut stdin: ChildStdin) -> Result<(), ProblemResponse> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            ProblemResponse::new(ProblemType::BadRequest, "The archive broke off.").caused_by(error)
        })?;
        if let Ok(piece) = frame.into_data()
            && stdin.write_all(&piece).await.is_err()
        {
            break;
        }
    }
    let _ = stdin.shutdown().await;
    Ok(())
}

/// Reads some more, so that its sender reads the answer in place of a connection that breaks.
async fn pass(body: &mut Incoming) {
    let mut passed = 0;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            passed += frame.data_ref().map_or(0, |piece| piece.len() as u64);
            if passed > COPY_REFUSED_BYTES_MAX {
                break;
            }
        }
    };
    let _ = timeout(COPY_WORD_DEADLINE, reading).await;
}

/// The path that a query names.
fn path_of(query: &str) -> Result<String, ProblemResponse> {
    let wrong = || {
        let detail = "`path` is an absolute path in the container, 4096 bytes at most.";
        ProblemResponse::new(ProblemType::BadRequest, detail)
    };
    let value = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("path="))
        .ok_or_else(wrong)?;
    let path = unescaped(value).ok_or_else(wrong)?;
    let is_path = path.starts_with('/') && path.len() <= PATH_BYTES_MAX && !path.contains('\0');
    is_path.then_some(path).ok_or_else(wrong)
}

fn unescaped(value: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(after.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).ok()
}

fn refused(detail: String, is_absent: bool) -> ProblemResponse {
    let kind = match is_absent {
        true => ProblemType::NotFound,
        false => ProblemType::BadRequest,
    };
    ProblemResponse::new(kind, detail)
}

/// A process that copies. Dropped, it is killed.
struct Copier {
    _child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Copier {
    async fn start(inside: &JobInside, way: &str, path: &str) -> Result<Self, ProblemResponse> {
        let pid = inside.pid().await?;
        let id = ProcessId::of(pid).ok_or_else(|| {
            ProblemResponse::new(ProblemType::JobNotReady, "The job's container has ended.")
                .retry_after_s(2)
        })?;
        let mut command = Command::new(copier::PROGRAM);
        command
            .arg(copier::VERB)
            .args([way, &id.pid.to_string(), &id.start_ticks.to_string(), path])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(ProblemResponse::internal)?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let stdout = stdout.ok_or_else(|| ProblemResponse::internal("a copier without output"))?;
        Ok(Self {
            _child: child,
            stdin,
            stdout: BufReader::with_capacity(PIECE_BYTES, stdout),
        })
    }

    /// What it says, one line.
    async fn said(&mut self) -> Result<Said, ProblemResponse> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.stdout).take(COPY_WORDS_BYTES_MAX);
        let reading = bounded.read_until(b'\n', &mut line);
        let read = timeout(COPY_WORD_DEADLINE, reading).await;
        let gone = || {
            ProblemResponse::new(
                ProblemType::JobUnreachable,
                "The copy broke off in the node: the job was stopped, or is out of memory. Try again.",
            )
        };
        read.map_err(|_elapsed| gone())?
            .map_err(|error| gone().caused_by(error))?;
        serde_json::from_slice(&line).map_err(|error| gone().caused_by(error))
    }
}

/// An archive on its way out.
struct Sending {
    copier: Copier,
    left: u64,
    closed: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Sending {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut piece = vec![0; PIECE_BYTES];
        let read = tokio::select! {
            read = self.copier.stdout.read(&mut piece) => read?,
            () = self.closed.cancelled() => 0,
        };
        if read == 0 {
            // Whoever reads counts: what is short of its length is no archive.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        piece.truncate(read);
        self.left = self.left.saturating_sub(read as u64);
        Ok(Some(piece.into()))
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_path_is_absolute_and_plain() {
        let path = |query: &str| path_of(query).ok();
        assert_eq!(path("path=/tmp/a%20b").as_deref(), Some("/tmp/a b"));
        assert_eq!(path("x=1&path=%2Ftmp").as_deref(), Some("/tmp"));
        let long = format!("path=/{}", "a".repeat(PATH_BYTES_MAX));
        for wrong in [
            "",
            "path=",
            "path=tmp",
            "path=/a%00",
            "path=/a%",
            "path=/%ff",
            &long,
        ] {
            assert_eq!(path(wrong), None, "{wrong}");
        }
    }
}
