//! How apps run: one interface, two implementations.
//!
//! - [`docker`]: containers of any engine that speaks the Docker API 1.41 or newer.
//! - [`sandbox`]: bubblewrap, for the built-in apps where no engine answers. Never for a tenant's job.
//!
//! Both give an app the same world ([`plan`]): user 1000, no capabilities, a read-only root, its two
//! sockets in `/run/nearlight`, temporary file systems, its saves, limits, and no network unless it
//! declares one.
//!
//! **Invariants.** An app outlives the agent. Whatever [`Runtime::start`] started is found again by
//! [`Runtime::running`] until [`Runtime::remove`] answered, even if the agent died in between.
//!
//! **What it does not know:** sessions beyond their ids, the broker, the desktop.

pub mod docker;
pub mod plan;
pub mod sandbox;
#[cfg(test)]
pub(crate) mod scripted;

pub use plan::AppPlan;

use crate::config::{Config, RuntimeChoice};
pub use crate::process::ProcessId;
use futures_util::future::BoxFuture;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::work::PullLogin;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// The name of [`docker`].
pub(crate) const DOCKER: &str = "docker";
/// The name of [`sandbox`].
pub(crate) const SANDBOX: &str = "sandbox";

/// Runs apps. Each wait has a deadline, except [`Runtime::wait`], which waits for the app.
pub trait Runtime: std::fmt::Debug + Send + Sync {
    /// `docker` or `sandbox`, for the inventory and for records.
    fn name(&self) -> &'static str;

    /// Whether it can be asked for anything now; soon.
    fn answers(&self) -> BoxFuture<'_, Result<(), RuntimeError>>;

    /// Images that are here, each under the names that the runtime lists it by.
    fn images(&self) -> BoxFuture<'_, Result<Vec<String>, RuntimeError>>;

    /// The directory where images lie, if they lie on this host.
    fn image_store(&self) -> BoxFuture<'_, Option<PathBuf>>;

    /// How large an image is, bytes; `None` if it is not here.
    fn image_bytes<'a>(
        &'a self,
        image: &'a str,
    ) -> BoxFuture<'a, Result<Option<u64>, RuntimeError>>;

    /// Removes an image; `false` if something still uses it, or it is not this runtime's to remove.
    fn remove_image<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<bool, RuntimeError>>;

    /// Makes sure that the image is here, with `login` if its registry wants to know who asks; `pulled`
    /// hears how far it is, now and then.
    fn fetch<'a>(
        &'a self,
        image: &'a str,
        login: Option<&'a PullLogin>,
        pulled: &'a (dyn Fn(Pulled) + Send + Sync),
    ) -> BoxFuture<'a, Result<(), RuntimeError>>;

    /// Starts the app.
    fn start<'a>(&'a self, plan: &'a AppPlan) -> BoxFuture<'a, Result<AppRef, RuntimeError>>;

    /// The app's first process, as this host numbers it; for people to look at.
    fn pid<'a>(&'a self, app: &'a AppRef) -> BoxFuture<'a, Option<i32>>;

    /// Waits until the app is over, for as long as it takes; at once if it is over already.
    fn wait<'a>(&'a self, app: &'a AppRef) -> BoxFuture<'a, AppExit>;

    /// Asks the app to end (SIGTERM).
    fn ask_to_end<'a>(&'a self, app: &'a AppRef) -> BoxFuture<'a, ()>;

    /// Kills what still runs of the app, and removes what is left of it.
    fn remove<'a>(&'a self, app: &'a AppRef) -> BoxFuture<'a, Result<(), RuntimeError>>;

    /// Everything of this node that is there, running or not: what an earlier agent left too.
    fn running(&self) -> BoxFuture<'_, Result<Vec<(SessionId, AppRef)>, RuntimeError>>;
}

/// A started app, as a session's record keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "runtime", rename_all = "kebab-case")]
pub enum AppRef {
    /// A container.
    Docker {
        /// Its id.
        id: String,
    },
    /// A bubblewrap sandbox.
    Sandbox {
        /// The process that watches it and has its exit status.
        monitor: ProcessId,
        /// The first process of its PID namespace; killing it kills all of it.
        init: ProcessId,
        /// The session's directory, with its status and its output.
        dir: PathBuf,
    },
}

/// How far a pull is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Bytes so far.
    pub done_bytes: u64,
    /// Bytes in all, as far as known.
    pub total_bytes: u64,
    /// Layers that are here.
    pub layers_done: u32,
    /// Layers in all, as far as known.
    pub layers: u32,
}

/// How an app ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppExit {
    /// Its exit status, 128 and the number for a signal; `None` if nobody knows.
    pub status: Option<i64>,
    /// Whether it hit its memory limit.
    pub out_of_memory: bool,
    /// The last of its output, at most 2 KiB.
    pub detail: String,
}

/// Why an app cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The image is not here and cannot be had.
    #[error("image {image} is missing: {detail}")]
    ImageMissing {
        /// Which.
        image: String,
        /// What to do.
        detail: String,
    },
    /// The engine refused.
    #[error("the container engine refused to {action}: {source}")]
    Engine {
        /// What was asked.
        action: &'static str,
        /// What it said.
        #[source]
        source: Box<bollard::errors::Error>,
    },
    /// The engine does not answer.
    #[error("the container engine did not {action} in time")]
    Deadline {
        /// What was asked.
        action: &'static str,
    },
    /// The program of the app cannot be executed, or the sandbox cannot be made.
    #[error("the sandbox could not {action}: {detail}")]
    Sandbox {
        /// What failed.
        action: &'static str,
        /// Why.
        detail: String,
    },
}

impl RuntimeError {
    /// The reason that a session ends with.
    pub fn reason(&self) -> EndReason {
        match self {
            Self::ImageMissing { .. } => EndReason::ImageMissing,
            Self::Engine { .. } | Self::Deadline { .. } | Self::Sandbox { .. } => {
                EndReason::RuntimeFailed
            }
        }
    }
}

/// No runtime can be used on this host.
#[derive(Debug, thiserror::Error)]
#[error("no way to run apps: docker: {docker}; sandbox: {sandbox}")]
pub struct NoRuntime {
    docker: String,
    sandbox: String,
}

/// Opens the runtime that the operator chose, or the best that works.
pub async fn open(config: &Config, node: &NodeId) -> Result<Arc<dyn Runtime>, NoRuntime> {
    let mut refused = NoRuntime {
        docker: "not asked for".to_owned(),
        sandbox: "not asked for".to_owned(),
    };
    if matches!(config.runtime, RuntimeChoice::Auto | RuntimeChoice::Docker) {
        match docker::Docker::open(node).await {
            Ok(docker) => return Ok(Arc::new(docker)),
            Err(error) => refused.docker = error.to_string(),
        }
    }
    if matches!(config.runtime, RuntimeChoice::Auto | RuntimeChoice::Sandbox) {
        match sandbox::Sandbox::open(&config.data, &config.run, node).await {
            Ok(sandbox) => {
                tracing::info!(docker = %refused.docker, "apps run in the sandbox");
                return Ok(Arc::new(sandbox));
            }
            Err(error) => refused.sandbox = error.to_string(),
        }
    }
    Err(refused)
}

/// The last [`DETAIL_BYTES_MAX`](crate::limits::DETAIL_BYTES_MAX) of a program's output, as plain
/// text: without the colours and cursor movements that it may hold.
pub(crate) fn last_words(output: &[u8]) -> String {
    let text = plain(&String::from_utf8_lossy(output));
    let mut start = text.len().saturating_sub(crate::limits::DETAIL_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].trim().to_owned()
}

/// Drops control characters, and control sequences (ECMA-48: ESC, `[`, up to a letter) as a whole.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if char == '\u{1b}' && chars.next_if_eq(&'[').is_some() {
            for inner in chars.by_ref() {
                if ('@'..='~').contains(&inner) {
                    break;
                }
            }
        } else if !char.is_control() || matches!(char, '\n' | '\t') {
            plain.push(char);
        }
    }
    plain
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn last_words_are_the_last_and_bounded() {
        let mut output = vec![b'a'; 5000];
        output.extend(b"the end\n");
        let words = last_words(&output);
        assert!(words.ends_with("the end") && words.len() <= 2048);
        let words = last_words(&[0xff; 5000]);
        assert!(words.len() <= 2048 && !words.is_empty());
        assert_eq!(last_words(b""), "");
        assert_eq!(
            last_words(b"\x1b[31;1mred\x1b[0m\x07 end\r\n\x1b["),
            "red end"
        );
    }
}
