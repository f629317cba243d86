//! A job's log: what the engine has kept of its container's output.
//!
//! Bounded at the engine (two files, the older one dropped), and to whoever reads it by what it asks for.

use super::engine::Engine;
use crate::limits::{DETAIL_BYTES_MAX, ENGINE_DEADLINE};
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::{Stream, StreamExt};

/// What of a log is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Not what is older than this, seconds since the Unix epoch.
    pub(crate) since_s: u32,
    /// The last so many lines; all that are kept if it is `None`.
    pub(crate) lines: Option<u32>,
    /// Whether to go on with what comes, until the container ends.
    pub(crate) follow: bool,
}

/// Where a part of a log came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

/// The log of a container, in parts as they come, each with the engine's stamp and a space before it; it ends with the container, or if the engine goes away.
/// Whoever reads slowly makes nobody wait but the engine.
pub(crate) fn read(
    engine: &Engine,
    container: &str,
    wanted: Wanted,
) -> impl Stream<Item = Result<(Source, bytes::Bytes), Error>> + Send + use<> {
    let tail = wanted
        .lines
        .map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    let options = LogsOptionsBuilder::new()
        .stdout(true)
        .stderr(true)
        .follow(wanted.follow)
        .timestamps(true)
        .since(i32::try_from(wanted.since_s).unwrap_or(i32::MAX))
        .tail(&tail)
        .build();
    let parts = engine.client().logs(container, Some(options));
    parts.map(|part| {
        part.map(|part| match part {
            LogOutput::StdErr { message } => (Source::Stderr, message),
            LogOutput::StdOut { message }
            | LogOutput::StdIn { message }
            | LogOutput::Console { message } => (Source::Stdout, message),
        })
    })
}

/// Lines of which the last words are made.
const LAST_LINES: u32 = 40;

/// The last of what a container said, at most [`DETAIL_BYTES_MAX`].
pub(crate) async fn last_words(engine: &Engine, container: &str) -> String {
    let wanted = Wanted {
        lines: Some(LAST_LINES),
        ..Wanted::default()
    };
    let mut parts = Box::pin(read(engine, container, wanted));
    let mut tail = Vec::new();
    let reading = async {
        while let Some(Ok((_, part))) = parts.next().await {
            let words = part.iter().position(|byte| *byte == b' ');
            tail.extend_from_slice(&part[words.map_or(0, |space| space + 1)..]);
            let surplus = tail.len().saturating_sub(DETAIL_BYTES_MAX);
            tail.drain(..surplus);
        }
    };
    // What has come by the deadline is still the best that there is.
    let _ = tokio::time::timeout(ENGINE_DEADLINE, reading).await;
    crate::runtime::last_words(&tail)
}
