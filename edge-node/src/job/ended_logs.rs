//! The logs of jobs that are over: `<data>/job-logs/<session>.log`, of a session the last one that this node had.
//!
//! ```text
//!   container stopped --its log is read--> kept --> container removed
//!   kept --older than `days`, or over `mib` together: oldest first--> written over, removed
//! ```
//!
//! It is read from the engine once the container has stopped, so that its last words are in it, and before that is
//! removed: an agent that is killed in between finds the container, and reads it again. A restart of the container
//! is in the same log.
//!
//! **Invariants.** A file is whole or not there. A log is no larger than [`ENDED_LOG_BYTES_MAX`], its newest lines
//! stay; all of them together are what the operator gives them. A program can print its secrets, so what goes is
//! written over first. A log that cannot be read or written costs itself, what could be read of it is kept, and it
//! holds up no end for longer than [`KEEP_WITHIN`], however many others end at the time.
//!
//! **What it does not know:** who may read one (the broker does), how the session ended.

use super::engine::Engine;
use super::log::{self, Source, Wanted};
use super::record;
use super::volumes::wipe::wipe;
use crate::limits::{ENDED_LOG_BYTES_MAX, ENDED_LOGS_GATHERED_MAX, ENDED_LOGS_SWEEP_EVERY};
use crate::runtime::docker::is_gone;
use axum::body::Bytes;
use bollard::errors::Error;
use futures_util::{Stream, StreamExt};
use nearlight_kit::files::{is_draft, write_atomic};
use nearlight_protocol::id::SessionId;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// What a file begins with: a later layout has another number.
const MAGIC: &[u8] = b"nearlight job log 1\n";
const EXTENSION: &str = "log";
/// The engine cuts lines at 16 KiB, and puts a stamp before each piece.
const PART_BYTES_MAX: u32 = 64 * 1024;
/// Of a part: where it came from, and its length.
const HEAD_BYTES: usize = 5;
/// From a container's stop to its log's being on the disk: its slot and GPUs are held meanwhile, and a broker that
/// ordered the end waits for it.
const KEEP_WITHIN: Duration = Duration::from_secs(20);
/// Of these: by then it has been waited for room, and for an engine that has a bad moment.
const READ_WITHIN: Duration = Duration::from_secs(15);
/// Before an engine that failed is asked again: one that died is started again.
const KEEP_PAUSE: Duration = Duration::from_secs(1);

/// How much of them stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Bounds {
    /// Days after the end; 0: none is kept.
    pub(crate) days: u32,
    /// All of them together, MiB.
    pub(crate) mib: u32,
}

/// The logs.
#[derive(Clone, Debug)]
pub(crate) struct EndedLogs {
    data: PathBuf,
    dir: PathBuf,
    bounds: Bounds,
    /// What is read from the engine is in memory until it is on the disk.
    gathering: Arc<Semaphore>,
    /// Held while files are written or removed: what was seen of one still holds when it goes.
    changing: Arc<Mutex<()>>,
}

/// A part of a log, and where it came from.
type Part = (Source, Bytes);
/// Parts of a log, the oldest first.
type Parts = VecDeque<Part>;

/// What was read of a log from the engine.
#[derive(Debug, Default)]
struct Gathered {
    /// Its newest.
    parts: Parts,
    /// Bytes of these.
    length: usize,
    /// Bytes of all that was read.
    read: usize,
    /// Nothing was missing.
    is_whole: bool,
}

impl EndedLogs {
    /// Those below `data`.
    pub(crate) fn new(data: &Path, bounds: Bounds) -> Self {
        Self {
            data: data.to_owned(),
            dir: data.join("job-logs"),
            bounds,
            gathering: Arc::new(Semaphore::new(ENDED_LOGS_GATHERED_MAX)),
            changing: Arc::default(),
        }
    }

    /// The same, once nothing is left of what an agent that was killed was writing. Before anything is kept: another
    /// one's draft is about to be a log.
    pub(crate) fn open(data: &Path, bounds: Bounds) -> Self {
        let logs = Self::new(data, bounds);
        if let Err(error) = logs.remove_drafts() {
            tracing::error!(%error, "a part of a job's log that was being written stays");
        }
        logs
    }

    /// How much stays.
    pub(crate) const fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Keeps the log of a container that has stopped.
    pub(crate) async fn keep(&self, engine: &Engine, session: &SessionId, container: &str) {
        if self.bounds.days == 0 {
            return;
        }
        let open = || log::read(engine, container, Wanted::default());
        self.keep_within((READ_WITHIN, KEEP_WITHIN), session, open)
            .await;
    }

    /// The same, of the log that each `open` gives anew: read, and on the disk, within so long.
    async fn keep_within<S>(
        &self,
        (read, kept): (Duration, Duration),
        session: &SessionId,
        open: impl Fn() -> S,
    ) where
        S: Stream<Item = Result<Part, Error>> + Send,
    {
        let now = Instant::now();
        let room = timeout_at(now + read, self.gathering.clone().acquire_owned());
        // Never closed.
        let Ok(Ok(room)) = room.await else {
            tracing::error!(session_id = %session, "the log of a job that is over is lost: the engine takes too long for those of others");
            return;
        };
        let gathered = gather(session, now + read, open).await;
        if gathered.parts.is_empty() && !gathered.is_whole {
            // What was kept of it before stays.
            return;
        }
        let (logs, name) = (self.clone(), session.clone());
        let writing = tokio::task::spawn_blocking(move || {
            let written = logs.write(&name, &gathered.parts);
            drop(room);
            written
        });
        match timeout_at(now + kept, writing).await {
            Ok(Ok(Ok(()))) => {}
            // A disk that is full now is full in a moment.
            Ok(failed) => {
                let error = failed.map_err(io::Error::other).and_then(|done| done).err();
                tracing::error!(session_id = %session, ?error, "cannot write the log of a job that is over, it is lost; see to the disk of the data directory");
            }
            // It is written on meanwhile.
            Err(_) => {
                tracing::warn!(session_id = %session, "the disk of the data directory is slow to take the log of a job that is over; the job's end goes on");
            }
        }
    }

    /// Puts a log on disk in place of a former one, and makes the others fit.
    fn write(&self, session: &SessionId, parts: &Parts) -> io::Result<()> {
        let length: usize = parts.iter().map(|(_, part)| HEAD_BYTES + part.len()).sum();
        let mut bytes = Vec::with_capacity(MAGIC.len() + length);
        bytes.extend_from_slice(MAGIC);
        for (source, part) in parts {
            let length = u32::try_from(part.len()).map_err(io::Error::other)?;
            bytes.push(byte_of(*source));
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(part);
        }
        fs::create_dir_all(&self.dir)?;
        let path = self.path(session);
        let _changing = self.change();
        // A former run's; the container of this one is there until its own is on the disk.
        wipe_if_there(&path)?;
        write_atomic(&path, &bytes, 0o600)?;
        told(self.make_fit());
        Ok(())
    }

    /// Whether a session has yet to end here, and its log to be kept: its broker may have ended it without this node.
    pub(crate) fn is_to_come(&self, session: &SessionId) -> bool {
        record::is_there(&self.data, session)
    }

    /// The log of a session, if it is here.
    pub(crate) async fn log_of(&self, session: &SessionId) -> io::Result<Option<Kept>> {
        let path = self.path(session);
        let file = match tokio::fs::File::open(&path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        Ok(Some(Kept {
            file: tokio::io::BufReader::with_capacity(64 * 1024, file),
        }))
    }

    /// Takes away what is too old or too much, until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut look = tokio::time::interval(ENDED_LOGS_SWEEP_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = look.tick() => {}
            }
            let logs = self.clone();
            let swept = tokio::task::spawn_blocking(move || logs.sweep()).await;
            told(swept.map_err(io::Error::other).and_then(|swept| swept));
        }
    }

    /// Keeps these lines, for tests of what reads them.
    #[cfg(test)]
    pub(crate) fn put(&self, session: &SessionId, lines: &[String]) -> io::Result<()> {
        let part = |line: &String| (Source::Stdout, Bytes::copy_from_slice(line.as_bytes()));
        self.write(session, &lines.iter().map(part).collect())
    }

    fn remove_drafts(&self) -> io::Result<()> {
        for path in self.files()? {
            if path.file_name().is_some_and(is_draft) {
                wipe_if_there(&path)?;
            }
        }
        Ok(())
    }

    /// Removes what is too old, and the oldest of what is too much.
    fn sweep(&self) -> io::Result<()> {
        let _changing = self.change();
        self.make_fit()
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What [`Self::sweep`] does, for who holds what changes.
    fn make_fit(&self) -> io::Result<()> {
        let mut kept = Vec::new();
        for path in self.files()? {
            if path.extension() != Some(OsStr::new(EXTENSION)) {
                continue;
            }
            // One that is gone was removed by somebody else.
            if let Ok(about) = path.metadata() {
                kept.push((about.modified()?, about.len(), path));
            }
        }
        kept.sort_unstable();
        let age_max = Duration::from_secs(u64::from(self.bounds.days) * 24 * 3600);
        let oldest = SystemTime::now().checked_sub(age_max);
        let mut left: u64 = kept.iter().map(|(_, length, _)| length).sum();
        for (at, length, path) in kept {
            let is_old = oldest.is_some_and(|oldest| at < oldest);
            if !is_old && left <= u64::from(self.bounds.mib) * 1024 * 1024 {
                continue;
            }
            wipe_if_there(&path)?;
            left -= length;
        }
        Ok(())
    }

    fn files(&self) -> io::Result<Vec<PathBuf>> {
        match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => entries?.map(|entry| Ok(entry?.path())).collect(),
        }
    }

    fn path(&self, session: &SessionId) -> PathBuf {
        self.dir.join(format!("{session}.{EXTENSION}"))
    }
}

fn told(swept: io::Result<()>) {
    if let Err(error) = swept {
        tracing::error!(%error, "logs of jobs that are over stay for longer than they should");
    }
}

fn wipe_if_there(path: &Path) -> io::Result<()> {
    match wipe(path, &CancellationToken::new()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map(drop),
    }
}

/// A log as the engine has it, asked again where that fails, until `until`; of all tries the one that got furthest.
async fn gather<S>(session: &SessionId, until: Instant, open: impl Fn() -> S) -> Gathered
where
    S: Stream<Item = Result<Part, Error>> + Send,
{
    let mut furthest = Gathered::default();
    loop {
        let mut gathered = Gathered::default();
        let error = match timeout_at(until, gathered.fill(open())).await {
            Ok(Ok(())) => return gathered,
            // The container is gone, and its log with it.
            Ok(Err(error)) if is_gone(&error) => return furthest,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the engine takes too long".to_owned(),
        };
        if gathered.read > furthest.read {
            furthest = gathered;
        }
        let bytes = furthest.length;
        if Instant::now() + KEEP_PAUSE >= until {
            tracing::error!(session_id = %session, error, bytes, "cannot read the log of a job that is over; what was read of it is kept, the rest is lost");
            return furthest;
        }
        tracing::warn!(session_id = %session, error, bytes, "cannot read the log of a job that is over; trying again");
        tokio::time::sleep(KEEP_PAUSE).await;
    }
}

impl Gathered {
    /// Takes all parts, and holds the newest.
    async fn fill(
        &mut self,
        parts: impl Stream<Item = Result<Part, Error>> + Send,
    ) -> Result<(), Error> {
        let mut parts = Box::pin(parts);
        while let Some(part) = parts.next().await {
            let (source, part) = part?;
            let length = HEAD_BYTES + part.len();
            self.length += length;
            self.read += length;
            self.parts.push_back((source, part));
            while self.length > ENDED_LOG_BYTES_MAX
                && let Some((_, oldest)) = self.parts.pop_front()
            {
                self.length -= HEAD_BYTES + oldest.len();
            }
        }
        self.is_whole = true;
        Ok(())
    }
}

const fn byte_of(source: Source) -> u8 {
    match source {
        Source::Stdout => b'o',
        Source::Stderr => b'e',
    }
}

/// A log that is read, part by part.
#[derive(Debug)]
pub(crate) struct Kept {
    file: tokio::io::BufReader<tokio::fs::File>,
}

impl Kept {
    /// Goes to its beginning.
    ///
    /// # Errors
    /// It is none of ours, or was removed meanwhile.
    pub(crate) async fn rewind(&mut self) -> io::Result<()> {
        use tokio::io::AsyncSeekExt;
        self.file.rewind().await?;
        let mut magic = [0; MAGIC.len()];
        self.file.read_exact(&mut magic).await?;
        match magic == *MAGIC {
            true => Ok(()),
            false => Err(io::Error::other("it is no log of ours")),
        }
    }

    /// The next part, as the engine gave it; `None` after the last one.
    ///
    /// # Errors
    /// As [`Self::rewind`].
    pub(crate) async fn part(&mut self) -> io::Result<Option<(Source, Bytes)>> {
        next_part(&mut self.file).await
    }
}

async fn next_part(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(Source, Bytes)>> {
    let source = match from.read_u8().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        byte => match byte? {
            b'o' => Source::Stdout,
            b'e' => Source::Stderr,
            // Zeros: it was written over while it was read.
            _ => return Err(io::Error::other("it is no log any more")),
        },
    };
    let length = from.read_u32().await?;
    if length > PART_BYTES_MAX {
        return Err(io::Error::other("a part of it is too long"));
    }
    let mut part = vec![0; length as usize];
    from.read_exact(&mut part).await?;
    Ok(Some((source, part.into())))
}

#[cfg(test)]
mod test;
