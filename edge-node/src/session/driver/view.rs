//! How a session stands, as the agent shows it.

use super::{Machine, Record, State};
use crate::runtime::AppRef;

/// How a session stands, for `/sessions`.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct View {
    /// The state's name.
    pub(crate) state: &'static str,
    /// The container, where an engine runs the app.
    pub(crate) container: Option<String>,
    /// The app's first process, as this host numbers it.
    pub(crate) container_pid: Option<i32>,
    /// The worker's process.
    pub(crate) worker_pid: Option<i32>,
}

impl View {
    pub(super) fn of(machine: &Machine, record: &Record, container_pid: Option<i32>) -> Self {
        Self {
            state: state_name(machine.state()),
            container: match &record.running {
                Some(AppRef::Docker { id }) => Some(id.clone()),
                Some(AppRef::Sandbox { .. }) | None => None,
            },
            container_pid,
            worker_pid: record.worker.map(|worker| worker.pid),
        }
    }
}

fn state_name(state: &State) -> &'static str {
    match state {
        State::StartingDesktop { .. } => "starting-desktop",
        State::StartingApp { .. } => "starting-app",
        State::WaitingForPicture => "waiting-for-picture",
        State::Ready => "ready",
        State::LastWords(_) => "last-words",
        State::Ending(_) => "ending",
    }
}
