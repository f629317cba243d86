//! What is left of a job that is over: its log, as its tenant read it while it ran.
//!
//! Lines have the ids that they had then, so that a reader who was cut off by the end goes on after the last one.
//!
//! A session that its broker has ended may have its container here for a while yet: then its log is to come.
//!
//! **What it does not know:** who may ask (the broker does), whether the session is really over.

use super::cursor::unix_ns;
use super::lines::{self, Wish};
use super::one_of;
use crate::job::ended_logs::{Bounds, EndedLogs, Kept};
use crate::job::log::{Source, Wanted};
use crate::limits::LOG_READERS_MAX;
use crate::tunnel::{Asked, Entrance, Inside, Service};
use axum::body::{Body, Bytes};
use axum::http::Response;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, stream};
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::problem::ProblemType;
use std::io;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Seconds after which a job that was asked to end may be gone.
const TAKEN_APART_RETRY_S: u32 = 2;

/// What one tunnel to a session that is over leads to.
#[derive(Debug)]
struct EndedInside {
    logs: EndedLogs,
    session: SessionId,
    readers: Arc<Semaphore>,
}

impl Entrance for EndedLogs {
    fn enter(&self, session: &SessionId) -> Arc<dyn Inside> {
        Arc::new(EndedInside {
            logs: self.clone(),
            session: session.clone(),
            readers: Arc::new(Semaphore::new(LOG_READERS_MAX)),
        })
    }
}

impl Inside for EndedInside {
    fn answer(
        self: Arc<Self>,
        asked: Asked,
    ) -> BoxFuture<'static, Result<Response<Body>, ProblemResponse>> {
        async move {
            match asked.service {
                Service::Logs => self.read(&asked).await,
                Service::Exec | Service::GetFiles | Service::PutFiles | Service::Prove => {
                    Err(ProblemResponse::new(
                        ProblemType::SessionEnded,
                        "The job is over, and of what was in its container its log alone is kept.",
                    ))
                }
            }
        }
        .boxed()
    }
}

impl EndedInside {
    async fn read(&self, asked: &Asked) -> Result<Response<Body>, ProblemResponse> {
        let wish = Wish::asked(asked)?;
        let place = one_of(&self.readers, "readers of its log", LOG_READERS_MAX)?;
        let kept = self.kept().await?;
        Ok(lines::answer_ended(kept, wish, place))
    }

    /// The log, or why there is none.
    async fn kept(&self) -> Result<Kept, ProblemResponse> {
        // Looked at first: what goes between the two has kept its log.
        let is_to_come = self.logs.is_to_come(&self.session);
        match self.logs.log_of(&self.session).await {
            Ok(Some(kept)) => Ok(kept),
            Ok(None) if is_to_come => Err(ProblemResponse::new(
                ProblemType::JobNotReady,
                "The job is over, and its node is still taking it apart. Its log is there after that.",
            )
            .retry_after_s(TAKEN_APART_RETRY_S)),
            Ok(None) => Err(swept(self.logs.bounds())),
            Err(error) => {
                tracing::error!(session_id = %self.session, %error, "cannot read the log of a job that is over");
                Err(ProblemResponse::new(
                    ProblemType::JobUnreachable,
                    "The node cannot read the log that it has kept; its own log says why.",
                ))
            }
        }
    }
}

fn swept(Bounds { days, mib }: Bounds) -> ProblemResponse {
    let detail = match days {
        0 => {
            "The job is over, and its node keeps no log of such (`jobs.log_days` is 0).".to_owned()
        }
        days => format!(
            "The job is over, and its log is not on the node that had it last: it never had a container \
             there, or the log was removed. That node keeps logs for {days} days after the end and \
             {mib} MiB of them together, the oldest go first."
        ),
    };
    ProblemResponse::new(ProblemType::SessionEnded, detail)
}

/// What of a kept log is wanted, part by part.
pub(super) fn parts(
    kept: Kept,
    wanted: Wanted,
) -> impl Stream<Item = io::Result<(Source, Bytes)>> + Send {
    stream::try_unfold((kept, Some(wanted)), move |(mut kept, first)| async move {
        if let Some(wanted) = first {
            seek(&mut kept, wanted).await?;
        }
        let part = next_since(&mut kept, wanted.since_s).await?;
        Ok(part.map(|part| (part, (kept, None))))
    })
}

/// To the first part that is wanted.
async fn seek(kept: &mut Kept, wanted: Wanted) -> io::Result<()> {
    kept.rewind().await?;
    let Some(lines) = wanted.lines else {
        return Ok(());
    };
    let mut count = 0_u64;
    while next_since(kept, wanted.since_s).await?.is_some() {
        count += 1;
    }
    kept.rewind().await?;
    for _ in 0..count.saturating_sub(lines.into()) {
        next_since(kept, wanted.since_s).await?;
    }
    Ok(())
}

/// The next part that is not older than this.
async fn next_since(kept: &mut Kept, since_s: u32) -> io::Result<Option<(Source, Bytes)>> {
    while let Some((source, part)) = kept.part().await? {
        let stamp = part.split(|byte| *byte == b' ').next().unwrap_or_default();
        let at_ns = std::str::from_utf8(stamp).ok().and_then(unix_ns);
        if at_ns.unwrap_or(0) / 1_000_000_000 >= u64::from(since_s) {
            return Ok(Some((source, part)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod test {
    use super::*;
    use futures_util::TryStreamExt;

    #[tokio::test]
    async fn a_log_is_to_come_while_its_job_is_taken_apart_and_not_after() {
        let data = tempfile::tempdir().unwrap();
        let inside = EndedInside {
            logs: EndedLogs::new(data.path(), Bounds { days: 1, mib: 8 }),
            session: nearlight_kit::ids::session(),
            readers: Arc::new(Semaphore::new(1)),
        };
        let why = async || inside.kept().await.unwrap_err().problem().name;
        assert_eq!(why().await, ProblemType::SessionEnded);
        let records = data.path().join("jobs");
        std::fs::create_dir(&records).unwrap();
        let record = records.join(format!("{}.json", inside.session));
        std::fs::write(&record, "{}").unwrap();
        assert_eq!(why().await, ProblemType::JobNotReady);
        // Kept before its container is removed, it is read at once.
        inside.logs.put(&inside.session, &[]).unwrap();
        assert!(inside.kept().await.is_ok());
        std::fs::remove_file(&record).unwrap();
        assert!(inside.kept().await.is_ok());
    }

    #[tokio::test]
    async fn a_kept_log_is_cut_as_an_engine_cuts_it() {
        let data = tempfile::tempdir().unwrap();
        let logs = EndedLogs::new(data.path(), Bounds { days: 1, mib: 8 });
        let session = nearlight_kit::ids::session();
        let line = |second: u32| format!("2026-03-01T00:00:{second:02}.5Z line {second}\n");
        let lines: Vec<String> = (0..6).map(line).collect();
        logs.put(&session, &lines).unwrap();
        let check = async |since_s: u32, tail: Option<u32>, expected: &[String]| {
            let wanted = Wanted {
                since_s,
                lines: tail,
                follow: false,
            };
            let kept = logs.log_of(&session).await.unwrap().unwrap();
            let found: Vec<_> = parts(kept, wanted).try_collect().await.unwrap();
            let texts = found
                .iter()
                .map(|(_, text)| String::from_utf8_lossy(text).into_owned());
            assert_eq!(texts.collect::<Vec<_>>(), expected, "{since_s} {tail:?}");
        };
        let from = 1_772_323_200;
        check(0, None, &lines).await;
        check(0, Some(2), &lines[4..]).await;
        check(0, Some(0), &[]).await;
        check(0, Some(100), &lines).await;
        check(from + 3, None, &lines[3..]).await;
        check(from + 3, Some(1), &lines[5..]).await;
        check(from + 60, Some(3), &[]).await;
    }
}
