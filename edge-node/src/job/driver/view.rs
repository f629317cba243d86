//! How a job stands, as the agent shows it.

use super::{Machine, Record, State, View};

pub(super) fn view_of(machine: &Machine, record: &Record, container_pid: Option<i32>) -> View {
    View {
        state: state_name(machine.state()),
        container: record.container.clone(),
        container_pid,
        worker_pid: None,
    }
}

fn state_name(state: &State) -> &'static str {
    match state {
        State::Fetching => "fetching",
        State::Starting => "starting",
        State::WaitingForHealth => "waiting-for-health",
        State::Ready => "ready",
        State::Stopping => "stopping",
        State::BackingOff => "backing-off",
        State::Ending(_) => "ending",
    }
}
