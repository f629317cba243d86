//! A job's record: `<data>/jobs/<session>.json`, replaced whole on every change.
//!
//! Written before anything of the job is made, again with its container, after each start and when it is ready;
//! removed when nothing of it is left. **Nothing in it is secret**: of secrets it has the names, as the spec does.

use super::egress::Reach;
use super::mesh::Mesh;
use super::network::Subnet;
use super::request::HOST_NAME;
use crate::records::{self, OfSession};
use nearlight_protocol::id::{SessionId, SlotId, UserId};
use nearlight_protocol::job::JobSpec;
use nearlight_protocol::unit::{U64, UnixMillis};
use nearlight_protocol::volume::JobStorage;
use nearlight_protocol::work::Replica;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// What the next agent needs to adopt a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Which.
    pub(crate) session: SessionId,
    /// Its slot.
    pub(crate) slot: SlotId,
    /// The epoch it runs under.
    pub(crate) epoch: U64,
    /// Its grant, as the broker signed it.
    pub(crate) grant: String,
    /// Whose it is.
    pub(crate) user: UserId,
    /// The UUIDs of its GPUs. Agents before these gave none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) gpus: Vec<String>,
    /// What it runs.
    pub(crate) spec: JobSpec,
    /// What it finds on this node.
    #[serde(default)]
    pub(crate) storage: Option<JobStorage>,
    /// Its directory.
    pub(crate) dir: PathBuf,
    /// When it was started.
    pub(crate) started_ms: UnixMillis,
    /// Its network, once made.
    pub(crate) subnet: Option<Subnet>,
    /// Its container, once started.
    pub(crate) container: Option<String>,
    /// How often that was started again.
    pub(crate) restarts: u32,
    /// Whether it is healthy.
    pub(crate) ready: bool,
    /// Which replica of a cluster it is.
    #[serde(default)]
    pub(crate) replica: Option<Replica>,
    /// Its cluster's network, once made.
    #[serde(default)]
    pub(crate) mesh: Option<Mesh>,
}

impl Record {
    /// Puts it on disk.
    pub(crate) fn write(&self, data: &Path) -> io::Result<()> {
        records::write(&directory(data), &self.session, self)
    }

    /// The job's /etc/hosts.
    pub(crate) fn hosts(&self, reach: &Reach, container: Ipv4Addr) -> String {
        let mut text = reach.hosts(container, HOST_NAME);
        if let Some((replica, mesh)) = self.replica.as_ref().zip(self.mesh) {
            text.push_str(&mesh.hosts(replica));
        }
        text
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

/// The sessions that have a record, whole or not.
pub(crate) fn sessions(data: &Path) -> io::Result<Vec<SessionId>> {
    records::sessions(&directory(data))
}

/// Whether something of the session is left, or may be.
pub(crate) fn is_there(data: &Path, session: &SessionId) -> bool {
    records::is_there(&directory(data), session)
}

/// Nothing of the session is left.
pub(crate) fn remove(data: &Path, session: &SessionId) -> io::Result<()> {
    records::remove(&directory(data), session)
}

fn directory(data: &Path) -> PathBuf {
    data.join("jobs")
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::job::network::Pool;
    use std::fs;

    #[test]
    fn a_record_comes_back_as_it_was_and_a_damaged_one_hides_no_other() {
        let data = tempfile::tempdir().unwrap();
        assert!(Record::read_all(data.path()).unwrap().is_empty());
        let session = nearlight_kit::ids::session();
        let pool: Pool = "10.231.0.0/16".parse().unwrap();
        let record = Record {
            slot: nearlight_kit::ids::slot(),
            epoch: U64(3),
            grant: "a.b.c".to_owned(),
            user: nearlight_kit::ids::user(),
            gpus: vec!["GPU-1".to_owned()],
            spec: JobSpec::of_image("registry.example/x:1"),
            storage: None,
            dir: data.path().join(session.as_str()),
            started_ms: 1,
            subnet: Some(pool.subnet(&session, 0)),
            container: Some("c0".to_owned()),
            restarts: 2,
            ready: true,
            replica: None,
            mesh: None,
            session,
        };
        record.write(data.path()).unwrap();
        fs::write(data.path().join("jobs/ses_half.json"), b"{\"session\":").unwrap();
        let read = Record::read_all(data.path()).unwrap();
        assert_eq!(read, std::slice::from_ref(&record));
        remove(data.path(), &record.session).unwrap();
        remove(data.path(), &record.session).unwrap();
        assert!(Record::read_all(data.path()).unwrap().is_empty());
    }
}
