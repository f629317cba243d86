//! A session's record: `<data>/sessions/<session>.json`, replaced whole on every change.
//!
//! Written before the worker is spawned, again with the worker's name, with the app's, and at the
//! first picture; removed when nothing of the session is left. Whatever happens between a change
//! and its write is found by other marks: the container by its labels, the worker by its directory.

use crate::process::ProcessId;
use crate::records::{self, OfSession};
use crate::runtime::{AppRef, DOCKER, SANDBOX};
use nearlight_protocol::app::{AppSpec, DisplayMode};
use nearlight_protocol::id::{SessionId, SlotId, UserId};
use nearlight_protocol::unit::{U64, UnixMillis};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// What the next agent needs to adopt a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Which.
    pub(crate) session: SessionId,
    /// Its slot.
    pub(crate) slot: SlotId,
    /// The slot's place in the node's list, or the one of a desktop that was kept ready: it decides the
    /// worker's user.
    pub(crate) slot_index: usize,
    /// The name that its desktop had while it was kept ready: directory and control group have it.
    #[serde(default)]
    pub(crate) kept_as: Option<SessionId>,
    /// The epoch it runs under.
    pub(crate) epoch: U64,
    /// Its grant, as the broker signed it.
    pub(crate) grant: String,
    /// Whose it is.
    pub(crate) user: UserId,
    /// What it runs.
    pub(crate) app: AppSpec,
    /// Its display.
    pub(crate) display: DisplayMode,
    /// Its keyboard.
    pub(crate) keyboard_layout: String,
    /// Its directory of sockets.
    pub(crate) dir: PathBuf,
    /// When it was started.
    pub(crate) started_ms: UnixMillis,
    /// The name of the runtime that its app is started in. Agents before wrote none.
    #[serde(default)]
    pub(crate) runtime: Option<String>,
    /// The worker, once spawned.
    pub(crate) worker: Option<ProcessId>,
    /// The app, once started.
    pub(crate) running: Option<AppRef>,
    /// Whether it has shown a picture.
    pub(crate) ready: bool,
}

impl Record {
    /// What directory and control group of the desktop are named after.
    pub(crate) fn desk_name(&self) -> &SessionId {
        self.kept_as.as_ref().unwrap_or(&self.session)
    }

    /// The name of the runtime that its app is in, or will be.
    pub(crate) fn runtime(&self) -> Option<&str> {
        match &self.running {
            Some(AppRef::Docker { .. }) => Some(DOCKER),
            Some(AppRef::Sandbox { .. }) => Some(SANDBOX),
            None => self.runtime.as_deref(),
        }
    }

    /// Puts it on disk.
    pub(crate) fn write(&self, data: &Path) -> io::Result<()> {
        records::write(&directory(data), &self.session, self)
    }

    /// The record of one session, if it is there and whole.
    pub(crate) fn read(data: &Path, session: &SessionId) -> Option<Self> {
        records::read(&directory(data), session)
    }

    /// Every record on disk; see [`records::read_all`].
    pub(crate) fn read_all(data: &Path) -> io::Result<Vec<Self>> {
        records::read_all(&directory(data))
    }
}

impl OfSession for Record {
    fn session(&self) -> &SessionId {
        &self.session
    }
}

/// Nothing of the session is left.
pub(crate) fn remove(data: &Path, session: &SessionId) -> io::Result<()> {
    records::remove(&directory(data), session)
}

fn directory(data: &Path) -> PathBuf {
    data.join("sessions")
}

#[cfg(test)]
pub(crate) mod test {
    use super::*;
    use std::fs;

    pub(crate) fn record(data: &Path) -> Record {
        let session = nearlight_kit::ids::session();
        Record {
            slot: nearlight_kit::ids::slot(),
            slot_index: 0,
            kept_as: None,
            epoch: U64(3),
            grant: "a.b.c".to_owned(),
            user: nearlight_kit::ids::user(),
            app: crate::runtime::plan::test::spec(&["/bin/app"]),
            display: DisplayMode::default(),
            keyboard_layout: "us".to_owned(),
            dir: data.join(session.as_str()),
            started_ms: 1,
            runtime: Some(DOCKER.to_owned()),
            worker: Some(ProcessId {
                pid: 1,
                start_ticks: 2,
            }),
            running: Some(AppRef::Docker {
                id: "c0".to_owned(),
            }),
            ready: true,
            session,
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was_and_goes_for_good() {
        let data = tempfile::tempdir().unwrap();
        assert!(Record::read_all(data.path()).unwrap().is_empty());
        let record = record(data.path());
        record.write(data.path()).unwrap();
        assert_eq!(Record::read_all(data.path()).unwrap(), vec![record.clone()]);
        remove(data.path(), &record.session).unwrap();
        remove(data.path(), &record.session).unwrap();
        assert!(Record::read_all(data.path()).unwrap().is_empty());
    }

    #[test]
    fn a_damaged_record_is_removed_and_hides_no_other() {
        let data = tempfile::tempdir().unwrap();
        let record = record(data.path());
        record.write(data.path()).unwrap();
        let damaged = data.path().join("sessions/ses_half.json");
        fs::write(&damaged, b"{\"session\":").unwrap();
        assert_eq!(Record::read_all(data.path()).unwrap(), [record]);
        assert!(!damaged.exists());
    }
}
