//! How sessions ended, on disk: `<data>/ended/<session>.json`, one each, of the last
//! [`ENDED_KEPT_MAX`].
//!
//! ```text
//!   runs --it ends--> ending on disk --taken apart--> record gone --> journal released --> reported
//! ```
//!
//! Written before anything is taken apart, so that an agent that comes after this one reports the end that was, and not
//! that it found half of it; kept after the report, which a broker may not have heard.
//!
//! **Invariants.** Of one run the first ending stays. A run is a session and its epoch: a later run of the session here
//! never ends as the former one did.
//!
//! **What it does not know:** whether a broker has heard of it.

use crate::limits::ENDED_KEPT_MAX;
use crate::records::{self, OfSession};
use crate::session::machine::Ending;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::unit::{U64, UnixMillis};
use nearlight_protocol::usage::UsageFacts;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How a run of a session ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// Which.
    pub(crate) session: SessionId,
    /// The epoch it ran under.
    pub(crate) epoch: U64,
    /// Why.
    pub(crate) reason: EndReason,
    /// For people.
    pub(crate) detail: String,
    /// What it had used, if anybody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used: Option<UsageFacts>,
    /// When.
    pub(crate) ended_ms: UnixMillis,
}

impl OfSession for Ended {
    fn session(&self) -> &SessionId {
        &self.session
    }
}

impl Ended {
    /// One that ends now.
    pub(crate) fn now((session, epoch): (&SessionId, U64), ending: &Ending) -> Self {
        Self {
            session: session.clone(),
            epoch,
            reason: ending.reason,
            detail: ending.detail.clone(),
            used: None,
            ended_ms: nearlight_kit::clock::unix_ms(),
        }
    }

    /// With what it had used.
    pub(crate) fn having_used(mut self, used: UsageFacts) -> Self {
        self.used = (used != UsageFacts::default()).then_some(used);
        self
    }

    /// The end itself.
    pub(crate) fn ending(&self) -> Ending {
        Ending {
            reason: self.reason,
            detail: self.detail.clone(),
        }
    }

    /// Whether it is of this run.
    pub(crate) fn is_of(&self, session: &SessionId, epoch: U64) -> bool {
        self.session == *session && self.epoch == epoch
    }

    /// Puts it on disk, unless this run has ended before, and forgets the oldest of too many.
    pub(crate) fn write(&self, data: &Path) -> io::Result<()> {
        let dir = directory(data);
        let former: Option<Self> = records::read(&dir, &self.session);
        if former.is_some_and(|former| former.is_of(&self.session, self.epoch)) {
            return Ok(());
        }
        records::write(&dir, &self.session, self)?;
        forget_oldest(&dir)
    }

    /// The same, beside the agent's work. One that cannot be written costs its reason after a crash, not its end.
    pub(crate) async fn keep(self, data: &Path) {
        let data = data.to_owned();
        let session = self.session.clone();
        let written = tokio::task::spawn_blocking(move || self.write(&data)).await;
        if let Err(error) = written
            .map_err(io::Error::other)
            .and_then(|written| written)
        {
            tracing::error!(session_id = %session, %error, "cannot write down how a session ended: an agent that is killed before the broker hears of it does not know");
        }
    }

    /// Those that an earlier agent left, oldest first.
    pub(crate) fn read_all(data: &Path) -> io::Result<Vec<Self>> {
        let mut all: Vec<Self> = records::read_all(&directory(data))?;
        all.sort_by_key(|ended| ended.ended_ms);
        Ok(all)
    }
}

fn forget_oldest(dir: &Path) -> io::Result<()> {
    let mut kept: Vec<(_, PathBuf)> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // A draft of another session's, which is a record soon.
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // One that is gone has been forgotten by another session's end.
        if let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) {
            kept.push((modified, entry.path()));
        }
    }
    kept.sort_unstable();
    let surplus = kept.len().saturating_sub(ENDED_KEPT_MAX);
    for (_, path) in kept.into_iter().take(surplus) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn directory(data: &Path) -> PathBuf {
    data.join("ended")
}

#[cfg(test)]
mod test {
    use super::*;

    fn ended(session: &SessionId, epoch: u64, reason: EndReason) -> Ended {
        let ending = Ending {
            reason,
            detail: "its last words".to_owned(),
        };
        Ended::now((session, U64(epoch)), &ending)
    }

    #[test]
    fn the_first_end_of_a_run_stays_and_the_next_run_has_its_own() {
        let data = tempfile::tempdir().unwrap();
        let session = nearlight_kit::ids::session();
        let used = UsageFacts {
            cpu_ms: Some(7),
            ..UsageFacts::default()
        };
        let first = ended(&session, 1, EndReason::JobDone).having_used(used);
        first.write(data.path()).unwrap();
        ended(&session, 1, EndReason::JobFailed)
            .write(data.path())
            .unwrap();
        assert_eq!(Ended::read_all(data.path()).unwrap(), [first]);
        let next = ended(&session, 2, EndReason::PlayerEnded);
        next.write(data.path()).unwrap();
        assert_eq!(Ended::read_all(data.path()).unwrap(), [next]);
    }

    #[test]
    fn the_last_ones_are_kept() {
        let data = tempfile::tempdir().unwrap();
        let sessions: Vec<_> = (0..ENDED_KEPT_MAX + 3)
            .map(|_| nearlight_kit::ids::session())
            .collect();
        for session in &sessions {
            let ended = ended(session, 1, EndReason::AppExited);
            ended.write(data.path()).unwrap();
        }
        let kept = Ended::read_all(data.path()).unwrap();
        assert_eq!(kept.len(), ENDED_KEPT_MAX);
        let newest = sessions.last().unwrap();
        assert!(kept.iter().any(|ended| ended.session == *newest));
    }
}
