//! `session cp`: files out of a job and into it.
//!
//! What a job sends is a stranger's archive. It is unpacked below its destination and nowhere else
//! ([`nearlight_kit::tree`]); with `-` it is handed on as it is, and whoever unpacks it has to mind that.

use super::InsideError;
use crate::cli::{Broker, Copy};
use crate::client::Client;
use crate::command::{CommandError, escaped};
use crate::terminal::{self, Progress};
use nearlight_kit::tree::{Destination, Packed, Skips, TreeError};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::inside::{ARCHIVE_BYTES_MAX, Copied};
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SHOW_EVERY: Duration = Duration::from_millis(100);
const BUFFER_BYTES: usize = 64 * 1024;

/// One end of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Job {
        session: SessionId,
        path: String,
    },
    Here(PathBuf),
    /// Standard input or output: an archive.
    Pipe,
}

impl End {
    fn of(text: &str) -> Self {
        if text == "-" {
            return Self::Pipe;
        }
        let parts = text.split_once(':');
        match parts.and_then(|(id, path)| Some((id.parse().ok()?, path))) {
            Some((session, path)) => Self::Job {
                session,
                path: path.to_owned(),
            },
            None => Self::Here(text.into()),
        }
    }
}

/// Copies files.
///
/// # Errors
/// [`CommandError`]
pub fn copy(copy: &Copy, broker: &Broker) -> Result<(), CommandError> {
    let client = Client::new(broker)?;
    match (End::of(&copy.from), End::of(&copy.to)) {
        (End::Job { session, path }, End::Here(to)) => {
            let (body, length) = client.download(&path_of((&session, copy.replica), &path))?;
            let to = Destination::of(&to).map_err(InsideError::from)?;
            let body = Counted::new(body, length);
            let done = to.unpack(body, ARCHIVE_BYTES_MAX);
            let done = done.map_err(InsideError::from)?;
            tell(Copied {
                entries: done.entries,
                bytes: done.bytes,
                links_skipped: done.links_skipped,
            });
            Ok(())
        }
        (End::Job { session, path }, End::Pipe) => {
            let (body, length) = client.download(&path_of((&session, copy.replica), &path))?;
            let mut body = Counted::new(body, length);
            let mut out = io::stdout().lock();
            io::copy(&mut body, &mut out).map_err(InsideError::Own)?;
            out.flush().map_err(InsideError::Own)?;
            Ok(())
        }
        (End::Here(from), End::Job { session, path }) => {
            tell(upload(
                &client,
                &from,
                &path_of((&session, copy.replica), &path),
            )?);
            Ok(())
        }
        (End::Pipe, End::Job { session, path }) => {
            let body = Counted::new(io::stdin(), None);
            tell(client.upload(&path_of((&session, copy.replica), &path), body, None)?);
            Ok(())
        }
        (End::Here(_) | End::Pipe, End::Here(_) | End::Pipe)
        | (End::Job { .. }, End::Job { .. }) => Err(InsideError::Ends.into()),
    }
}

fn path_of((session, replica): (&SessionId, Option<u32>), path: &str) -> String {
    let files = format!("/v1/sessions/{session}/files?path={}", escaped(path));
    match replica {
        Some(replica) => format!("{files}&replica={replica}"),
        None => files,
    }
}

/// Packs on one thread what is sent on another.
fn upload(client: &Client, from: &Path, to: &str) -> Result<Copied, CommandError> {
    let packed = Packed::scan(from, None, Skips::default()).map_err(InsideError::from)?;
    check_length(packed.length())?;
    let (reader, writer) = io::pipe().map_err(InsideError::Own)?;
    std::thread::scope(|scope| {
        let packing = scope.spawn(|| {
            let mut writer = BufWriter::with_capacity(BUFFER_BYTES, writer);
            packed.write(&mut writer)
        });
        let body = Counted::new(reader, Some(packed.length()));
        let sent = client.upload(to, body, Some(packed.length()));
        match packing.join() {
            // A broker that takes no more has said why.
            Ok(Err(TreeError::Out(_)) | Ok(())) => Ok(sent?),
            Ok(Err(error)) => Err(InsideError::from(error).into()),
            Err(_) => Err(InsideError::Own(io::Error::other("packing failed")).into()),
        }
    })
}

/// Said before anything is sent: a broker that takes no more hangs up.
fn check_length(length: u64) -> Result<(), InsideError> {
    match length <= ARCHIVE_BYTES_MAX {
        true => Ok(()),
        false => Err(TreeError::TooMuch(format!(
            "this is {length} bytes, and a copy has {ARCHIVE_BYTES_MAX} at most; copy it in parts"
        ))
        .into()),
    }
}

fn tell(copied: Copied) {
    terminal::note(format_args!(
        "{} files and directories, {} bytes",
        copied.entries, copied.bytes
    ));
    if copied.links_skipped > 0 {
        terminal::note(format_args!(
            "{} links lead out of what is copied, and were left out",
            copied.links_skipped
        ));
    }
}

/// An archive on its way, shown on a terminal.
struct Counted<R> {
    inner: R,
    done: u64,
    of: Option<u64>,
    shown: Instant,
    progress: Option<Progress>,
}

impl<R> Counted<R> {
    fn new(inner: R, of: Option<u64>) -> Self {
        Self {
            inner,
            done: 0,
            of,
            shown: Instant::now(),
            progress: io::stderr().is_terminal().then(Progress::default),
        }
    }

    fn show(&mut self) {
        let Some(progress) = &mut self.progress else {
            return;
        };
        if self.shown.elapsed() < SHOW_EVERY {
            return;
        }
        self.shown = Instant::now();
        progress.show(words(self.done, self.of));
    }
}

/// How far a copy is: a bar where its end is known.
fn words(done: u64, of: Option<u64>) -> String {
    const WIDTH: u64 = 30;
    let mb = |bytes: u64| bytes / 1_000_000;
    let Some(of) = of.filter(|of| *of > 0) else {
        return format!("{} MB", mb(done));
    };
    let filled = (done.min(of) * WIDTH / of) as usize;
    let rest = WIDTH as usize - filled;
    let (filled, rest) = ("#".repeat(filled), ".".repeat(rest));
    format!("[{filled}{rest}] {} of {} MB", mb(done), mb(of))
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.done += read as u64;
        self.show();
        Ok(read)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_end_is_in_a_job_if_it_says_so() {
        let id = nearlight_kit::ids::session();
        let job = End::Job {
            session: id.clone(),
            path: "/a:b".to_owned(),
        };
        assert_eq!(End::of(&format!("{id}:/a:b")), job);
        assert_eq!(End::of("-"), End::Pipe);
        for here in ["a", "./ses_x:/y", "C:/x", "a:b"] {
            assert_eq!(End::of(here), End::Here(here.into()), "{here}");
        }
    }

    #[test]
    fn what_is_too_much_is_said_before_it_is_sent() {
        assert!(check_length(ARCHIVE_BYTES_MAX).is_ok());
        let said = check_length(ARCHIVE_BYTES_MAX + 1).unwrap_err().to_string();
        assert!(said.contains("in parts"), "{said}");
    }

    #[test]
    fn a_bar_is_as_full_as_the_copy() {
        assert_eq!(words(5_000_000, None), "5 MB");
        let half = words(5_000_000, Some(10_000_000));
        assert_eq!(
            half,
            format!("[{}{}] 5 of 10 MB", "#".repeat(15), ".".repeat(15))
        );
        assert!(words(11, Some(10)).starts_with(&format!("[{}]", "#".repeat(30))));
    }
}
