//! What a session runs: an app that a player watches and plays, or a job that a tenant talks to.
//!
//! One session, placement, claim and epoch carries either; what differs is here. Whoever has a
//! [`Work`] has everything that a node needs to start it, but the secrets of a job.

use crate::app::{AppSpec, DisplayMode};
use crate::id::SessionId;
use crate::job::JobSpec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What a session runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(
    clippy::large_enum_variant,
    reason = "apps are the rule: a box for each would cost more than the room of the few others"
)]
pub enum Work {
    /// An app of the catalogue.
    App(AppWork),
    /// A job.
    Job(Box<JobSpec>),
}

/// An app, and how its player wants it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppWork {
    /// The app.
    pub app: AppSpec,
    /// Its display.
    pub display: DisplayMode,
    /// An xkb layout name, such as `de`.
    pub keyboard_layout: String,
}

impl Work {
    /// The app, if it is one.
    pub const fn app(&self) -> Option<&AppWork> {
        match self {
            Self::App(work) => Some(work),
            Self::Job(_) => None,
        }
    }

    /// As a node is told of it: an app without what only its catalogue needs.
    pub fn for_start(self) -> Self {
        match self {
            Self::App(work) => Self::App(AppWork {
                app: work.app.for_start(),
                ..work
            }),
            Self::Job(spec) => Self::Job(spec),
        }
    }

    /// The job, if it is one.
    pub fn job(&self) -> Option<&JobSpec> {
        match self {
            Self::App(_) => None,
            Self::Job(spec) => Some(spec),
        }
    }
}

/// One of the containers of a cluster (docs/adr/0029).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// The session that its tenant has: that of replica 0.
    pub cluster: SessionId,
    /// How often the cluster was placed before: all replicas of one run live and end together.
    pub run: u32,
    /// Which one, from 0.
    pub rank: u32,
    /// Of how many.
    pub of: u32,
}

/// The values of a job's secrets by name. Nothing that is printed shows them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secrets(pub BTreeMap<String, String>);

impl Secrets {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What an image is pulled with. Nothing that is printed shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullLogin {
    /// Who.
    pub username: String,
    /// Their password, or a token.
    pub password: String,
}

impl fmt::Debug for PullLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PullLogin")
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_is_printed_of_secrets_is_their_names() {
        let secrets = Secrets([("TOKEN".to_owned(), "hunter2".to_owned())].into());
        assert_eq!(format!("{secrets:?}"), r#"{"TOKEN"}"#);
        let login = PullLogin {
            username: "ci".to_owned(),
            password: "hunter2".to_owned(),
        };
        assert_eq!(format!("{login:?}"), "PullLogin");
    }
}
