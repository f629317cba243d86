//! The life of a job on its node, as a pure state machine: events in, effects out.
//!
//! ```text
//!  Fetching --image--> Starting --runs--> WaitingForHealth --healthy--> Ready
//!                        ^    \                |                          |
//!                        |     `--runs, no port to ask---------------> Ready
//!                        |                     |                          |  unhealthy
//!                        |                     |exit                  exit|------------> Stopping
//!                        |                     v                          v                 |
//!                        '-----time------- BackingOff <---its policy says again-------------' exit
//!
//!  stop, failure, timeout, an end that its policy lets stand (from every state) --> Ending
//! ```
//!
//! **Invariants.** [`Effect::TearDown`] is asked for exactly once, and no effect follows it. Its container
//! is started at most `1 + restart.max` times. From its first start to ready it has one `time.start_s`,
//! however often it is started again meanwhile; when it was ready and is started again it has another one.
//! Ports are open while it is ready, and never else.
//!
//! **What it does not know:** containers, sockets, time.

use crate::limits::DETAIL_BYTES_MAX;
use crate::runtime::{AppExit, Pulled};
use crate::session::machine::Ending;
use nearlight_protocol::api::{EndReason, StartProgress};
use nearlight_protocol::control::SessionReport;
use nearlight_protocol::job::{JobSpec, RestartPolicy};
use std::time::Duration;

/// The first wait before a container is started again; each further one in a row waits twice as long.
pub(crate) const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The longest wait.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Where a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The image is looked for.
    Fetching,
    /// Its container is being made and started.
    Starting,
    /// It runs, and is not healthy yet.
    WaitingForHealth,
    /// It is healthy.
    Ready,
    /// It was unhealthy: its container is being stopped, to be started again.
    Stopping,
    /// Its container ended, and is started again after a while.
    BackingOff,
    /// It is being taken apart.
    Ending(Ending),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The image is on its way.
    Pulling(Pulled),
    /// The image is here.
    ImageReady,
    /// The image cannot be had, or the container not be made or started.
    StartFailed(Ending),
    /// The container runs.
    Started,
    /// Every port answers as its check wants.
    Healthy,
    /// A port of a ready job failed its check too often.
    Unhealthy {
        /// Which, and how.
        detail: String,
    },
    /// The container ended.
    Exited(AppExit),
    /// It was not ready in time.
    StartTimedOut,
    /// The wait before the next start is over.
    BackedOff,
    /// Somebody ends it.
    Stopped(EndReason),
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Make the container if there is none, and start it.
    StartContainer,
    /// From now on it has `time.start_s` to be ready.
    ArmStartTimeout,
    /// It is ready: no timeout any more.
    DisarmStartTimeout,
    /// Ask its ports until each has answered well once.
    AwaitHealth,
    /// Ask its ports until one fails too often.
    WatchHealth,
    /// Requests may come.
    OpenPorts,
    /// Requests may not come any more.
    ClosePorts,
    /// Ask the container to stop, and kill it after `time.stop_s`.
    StopContainer,
    /// Wait before the next start.
    BackOff(Duration),
    /// Tell the broker.
    Report(SessionReport),
    /// Take everything apart.
    TearDown(Ending),
}

/// What of a spec decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    policy: RestartPolicy,
    restarts_max: u32,
    has_ports: bool,
}

impl From<&JobSpec> for Rules {
    fn from(spec: &JobSpec) -> Self {
        Self {
            policy: spec.restart.policy,
            restarts_max: spec.restart.max,
            has_ports: !spec.ports.is_empty(),
        }
    }
}

/// One job's life.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    state: State,
    rules: Rules,
    restarts: u32,
    /// Restarts since it was last ready.
    in_a_row: u32,
    /// Whether `time.start_s` runs.
    armed: bool,
}

impl Machine {
    /// A job that is about to start. Its image is being looked for.
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            state: State::Fetching,
            rules,
            restarts: 0,
            in_a_row: 0,
            armed: false,
        }
    }

    /// A job that an earlier agent started, and whose container is there.
    pub(crate) fn adopted(rules: Rules, restarts: u32, ready: bool) -> (Self, Vec<Effect>) {
        let mut machine = Self {
            state: State::Starting,
            rules,
            restarts,
            in_a_row: 0,
            armed: false,
        };
        let effects = if ready {
            machine.become_ready()
        } else {
            machine.started()
        };
        (machine, effects)
    }

    /// Where it is.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Why it ends, once it does.
    pub(crate) fn ends(&self) -> Option<EndReason> {
        let State::Ending(ending) = &self.state else {
            return None;
        };
        Some(ending.reason)
    }

    /// How often its container was started again.
    pub(crate) fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Takes an event.
    pub(crate) fn handle(&mut self, event: Event) -> Vec<Effect> {
        if matches!(self.state, State::Ending(_)) {
            return Vec::new();
        }
        match event {
            Event::Pulling(pulled) => self.pulling(pulled),
            Event::ImageReady => self.image_ready(),
            Event::Started => self.started(),
            Event::Healthy => self.healthy(),
            Event::Unhealthy { detail } => self.unhealthy(detail),
            Event::Exited(exit) => self.exited(exit),
            Event::StartTimedOut => self.start_timed_out(),
            Event::BackedOff => self.backed_off(),
            Event::StartFailed(ending) => self.end(ending),
            Event::Stopped(reason) => self.end(Ending {
                reason,
                detail: String::new(),
            }),
        }
    }

    fn pulling(&self, pulled: Pulled) -> Vec<Effect> {
        match self.state {
            State::Fetching => vec![progress(StartProgress::Pulling {
                done_bytes: pulled.done_bytes,
                total_bytes: pulled.total_bytes,
                layers_done: pulled.layers_done,
                layers: pulled.layers,
            })],
            State::Starting
            | State::WaitingForHealth
            | State::Ready
            | State::Stopping
            | State::BackingOff
            | State::Ending(_) => Vec::new(),
        }
    }

    fn image_ready(&mut self) -> Vec<Effect> {
        match self.state {
            State::Fetching => {
                self.state = State::Starting;
                vec![
                    progress(StartProgress::StartingContainer),
                    Effect::StartContainer,
                ]
            }
            State::Starting
            | State::WaitingForHealth
            | State::Ready
            | State::Stopping
            | State::BackingOff
            | State::Ending(_) => Vec::new(),
        }
    }

    fn started(&mut self) -> Vec<Effect> {
        match self.state {
            State::Starting if self.rules.has_ports => {
                self.state = State::WaitingForHealth;
                let mut effects = self.arm();
                let restarts = self.restarts;
                effects.push(progress(StartProgress::WaitingForHealth { restarts }));
                effects.push(Effect::AwaitHealth);
                effects
            }
            // Nobody can be asked: it is ready when it runs.
            State::Starting => self.become_ready(),
            State::Fetching
            | State::WaitingForHealth
            | State::Ready
            | State::Stopping
            | State::BackingOff
            | State::Ending(_) => Vec::new(),
        }
    }

    fn healthy(&mut self) -> Vec<Effect> {
        match self.state {
            State::WaitingForHealth => self.become_ready(),
            State::Fetching
            | State::Starting
            | State::Ready
            | State::Stopping
            | State::BackingOff
            | State::Ending(_) => Vec::new(),
        }
    }

    fn become_ready(&mut self) -> Vec<Effect> {
        self.state = State::Ready;
        self.in_a_row = 0;
        let mut effects = Vec::new();
        if std::mem::take(&mut self.armed) {
            effects.push(Effect::DisarmStartTimeout);
        }
        if self.rules.has_ports {
            effects.extend([Effect::OpenPorts, Effect::WatchHealth]);
        }
        effects.push(Effect::Report(SessionReport::Ready));
        effects
    }

    fn unhealthy(&mut self, detail: String) -> Vec<Effect> {
        match self.state {
            State::Ready if !self.rules.has_ports => Vec::new(),
            State::Ready if self.starts_again(true) => {
                self.state = State::Stopping;
                vec![Effect::ClosePorts, Effect::StopContainer]
            }
            State::Ready => self.end(Ending {
                reason: EndReason::JobUnhealthy,
                detail,
            }),
            State::Fetching
            | State::Starting
            | State::WaitingForHealth
            | State::Stopping
            | State::BackingOff
            | State::Ending(_) => Vec::new(),
        }
    }

    fn exited(&mut self, exit: AppExit) -> Vec<Effect> {
        match self.state {
            State::WaitingForHealth | State::Ready => {
                if self.starts_again(exit.status != Some(0)) {
                    self.back_off()
                } else {
                    self.end(how_it_ended(exit))
                }
            }
            State::Stopping => self.back_off(),
            State::Fetching | State::Starting | State::BackingOff | State::Ending(_) => Vec::new(),
        }
    }

    fn start_timed_out(&mut self) -> Vec<Effect> {
        match self.state {
            State::Starting | State::WaitingForHealth | State::Stopping | State::BackingOff
                if self.armed =>
            {
                let detail = match self.restarts {
                    0 => String::new(),
                    restarts => format!("it was started again {restarts} times"),
                };
                let reason = EndReason::JobStartTimeout;
                self.end(Ending { reason, detail })
            }
            State::Fetching
            | State::Starting
            | State::WaitingForHealth
            | State::Ready
            | State::Stopping
            | State::BackingOff
            | State::Ending(_) => Vec::new(),
        }
    }

    fn backed_off(&mut self) -> Vec<Effect> {
        match self.state {
            State::BackingOff => {
                self.state = State::Starting;
                vec![Effect::StartContainer]
            }
            State::Fetching
            | State::Starting
            | State::WaitingForHealth
            | State::Ready
            | State::Stopping
            | State::Ending(_) => Vec::new(),
        }
    }

    fn starts_again(&self, failed: bool) -> bool {
        let wanted = match self.rules.policy {
            RestartPolicy::Never => false,
            RestartPolicy::OnFailure => failed,
            RestartPolicy::Always => true,
        };
        wanted && self.restarts < self.rules.restarts_max
    }

    fn back_off(&mut self) -> Vec<Effect> {
        let wait = BACKOFF_MIN
            .saturating_mul(1 << self.in_a_row.min(6))
            .min(BACKOFF_MAX);
        let mut effects = Vec::new();
        if self.state == State::Ready && self.rules.has_ports {
            effects.push(Effect::ClosePorts);
        }
        self.state = State::BackingOff;
        self.restarts += 1;
        self.in_a_row += 1;
        let restarts = self.restarts;
        effects.extend(self.arm());
        effects.push(progress(StartProgress::WaitingForHealth { restarts }));
        effects.push(Effect::BackOff(wait));
        effects
    }

    fn arm(&mut self) -> Vec<Effect> {
        if self.rules.has_ports && !std::mem::replace(&mut self.armed, true) {
            vec![Effect::ArmStartTimeout]
        } else {
            Vec::new()
        }
    }

    fn end(&mut self, ending: Ending) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.state == State::Ready && self.rules.has_ports {
            effects.push(Effect::ClosePorts);
        }
        self.state = State::Ending(ending.clone());
        effects.push(Effect::TearDown(ending));
        effects
    }
}

/// The reason of a container's end, with its status and its last words. One that ended well has not run
/// out of memory, whatever became of its children.
fn how_it_ended(exit: AppExit) -> Ending {
    let (reason, how) = match (exit.status, exit.out_of_memory) {
        (Some(0), _) => (EndReason::JobDone, String::new()),
        (_, true) => (EndReason::JobOutOfMemory, String::new()),
        // What shells and engines make of a signal.
        (Some(status @ 129..=192), false) => {
            let signal = status - 128;
            let how = format!("exit status {status}, killed by signal {signal}");
            (EndReason::JobFailed, how)
        }
        (Some(status), false) => (EndReason::JobFailed, format!("exit status {status}")),
        (None, false) => (
            EndReason::JobFailed,
            "its container was removed from outside".to_owned(),
        ),
    };
    Ending {
        reason,
        detail: with_words(&how, &exit.detail),
    }
}

/// How something ended, and as much of its last words as a detail may have.
pub(crate) fn with_words(how: &str, words: &str) -> String {
    let mut cut = (how.len() + 1 + words.len()).saturating_sub(DETAIL_BYTES_MAX);
    cut = cut.min(words.len());
    while !words.is_char_boundary(cut) {
        cut += 1;
    }
    let parts = [how, &words[cut..]];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n")
}

fn progress(progress: StartProgress) -> Effect {
    Effect::Report(SessionReport::Progress { progress })
}

#[cfg(test)]
#[path = "machine/test.rs"]
mod test;
