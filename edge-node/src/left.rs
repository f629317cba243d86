//! What an earlier agent left running, as far as it decides what this one has to open: read before anything is.
//!
//! **Invariant.** A runtime that has sessions of an earlier agent is opened, and so is what jobs take if some of them
//! are jobs, or the start fails and is tried again: an agent that went on without them would start more beside
//! what it does not know.
//!
//! **What it does not know:** whether any of it still runs; [`crate::adopt`] finds that out.

use crate::config::RuntimeChoice;
use crate::job::record as job_record;
use crate::runtime::DOCKER;
use crate::session::record::Record;
use nearlight_protocol::id::SessionId;
use std::io;
use std::path::Path;

/// Sessions of an earlier agent, by what they run in.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Jobs: in Docker, and only what takes jobs clears them away.
    pub(crate) jobs: Vec<SessionId>,
    docker: Vec<SessionId>,
    sandbox: Vec<SessionId>,
}

/// What sessions of an earlier agent are in cannot be opened as the operator wishes.
#[derive(Debug, thiserror::Error)]
#[error(
    "`runtime.kind` is {wanted:?}, and {} of an earlier agent may still run in the other; start this node with `{needed}` once and stop it, which ends them, or remove them and their records in the data directory by hand",
    named(sessions)
)]
pub(crate) struct OtherRuntime {
    wanted: RuntimeChoice,
    needed: &'static str,
    sessions: Vec<SessionId>,
}

impl Left {
    /// What the records name.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn read(data: &Path) -> io::Result<Self> {
        let mut left = Self {
            jobs: job_record::sessions(data)?,
            ..Self::default()
        };
        for record in Record::read_all(data)? {
            match record.runtime() {
                Some(DOCKER) => left.docker.push(record.session),
                Some(_) => left.sandbox.push(record.session),
                // Of an agent that wrote none, and had started no app yet.
                None => {}
            }
        }
        Ok(left)
    }

    /// The runtime to open: the operator's, but what an earlier agent left decides what may be chosen.
    ///
    /// # Errors
    /// The operator wants another one.
    pub(crate) fn runtime(&self, wanted: RuntimeChoice) -> Result<RuntimeChoice, OtherRuntime> {
        let docker: Vec<_> = self.jobs.iter().chain(&self.docker).cloned().collect();
        let (needed, sessions) = match (docker.is_empty(), self.sandbox.is_empty()) {
            (true, true) => return Ok(wanted),
            (false, _) => (RuntimeChoice::Docker, docker),
            (true, false) => (RuntimeChoice::Sandbox, self.sandbox.clone()),
        };
        if wanted == RuntimeChoice::Auto || wanted == needed {
            return Ok(needed);
        }
        Err(OtherRuntime {
            wanted,
            needed: match needed {
                RuntimeChoice::Sandbox => "sandbox",
                RuntimeChoice::Docker | RuntimeChoice::Auto => "docker",
            },
            sessions,
        })
    }

    /// Why a start that cannot open them fails; of one that owes nothing there is nothing to say.
    pub(crate) fn why(&self) -> String {
        let all: Vec<_> = [&self.jobs, &self.docker, &self.sandbox]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        match all.is_empty() {
            true => "no runtime can be opened".to_owned(),
            false => format!(
                "{} of an earlier agent may still run, and cannot be taken over yet",
                named(&all)
            ),
        }
    }
}

/// A few of them.
fn named(sessions: &[SessionId]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = sessions.iter().take(SHOWN).map(SessionId::as_str).collect();
    let more = match sessions.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::session::record::test::record;

    #[test]
    fn what_an_earlier_agent_left_decides_what_is_opened() {
        use RuntimeChoice::{Auto, Docker, Sandbox};
        let session = nearlight_kit::ids::session;
        let check = |left: Left, expected: [Option<RuntimeChoice>; 3]| {
            let chosen = [Auto, Docker, Sandbox].map(|wanted| left.runtime(wanted).ok());
            assert_eq!(chosen, expected, "{left:?}");
        };
        check(Left::default(), [Some(Auto), Some(Docker), Some(Sandbox)]);
        let jobs = Left {
            jobs: vec![session()],
            ..Left::default()
        };
        check(jobs, [Some(Docker), Some(Docker), None]);
        let sandbox = Left {
            sandbox: vec![session()],
            ..Left::default()
        };
        check(sandbox, [Some(Sandbox), None, Some(Sandbox)]);
    }

    #[test]
    fn a_record_says_what_its_app_is_in_before_it_has_one() {
        let data = tempfile::tempdir().unwrap();
        let mut record = record(data.path());
        record.running = None;
        record.write(data.path()).unwrap();
        let left = Left::read(data.path()).unwrap();
        assert_eq!(left.docker, [record.session]);
        // A job counts by the name of its record alone, whatever is in that.
        let job = nearlight_kit::ids::session();
        std::fs::create_dir(data.path().join("jobs")).unwrap();
        std::fs::write(data.path().join(format!("jobs/{job}.json")), b"{").unwrap();
        assert_eq!(Left::read(data.path()).unwrap().jobs, [job]);
    }

    #[test]
    fn a_few_of_many_are_named() {
        let all: Vec<_> = (0..5).map(|_| nearlight_kit::ids::session()).collect();
        let text = named(&all);
        assert!(
            text.contains(all[2].as_str()) && text.ends_with("and 2 more"),
            "{text}"
        );
        assert_eq!(named(&all[..1]), all[0].as_str());
    }
}
