//! The life of a session on its node, as a pure state machine: events in, effects out.
//!
//! ```text
//!  StartingDesktop --image and desktop are there--> StartingApp --started--> WaitingForPicture
//!       |                                              |  |                     |
//!       |                                              |  `--started, picture---+--picture--> Ready
//!       |                                              |                        |               |
//!       |             app or worker gone, which may not be the cause            |               |
//!       |                              ,---------------+------------------------+---------------+
//!       |                              v                                                        |
//!       |                          LastWords --the worker says why, or says nothing in time--,  |
//!       `--stop, failure, timeout (from every state)--> Ending <------------------------------'--'
//!                                                          |
//!                                                          `--torn down--> Ended
//! ```
//!
//! **Invariants.** [`Effect::TearDown`] is asked for exactly once. No report follows it but
//! `Ended`, which the agent makes once the session is torn down. The first reason wins, except that
//! a worker's own reason beats the crash that it caused.
//!
//! **What it does not know:** processes, containers, time.

use crate::runtime::{AppExit, Pulled};
use nearlight_protocol::api::{EndReason, StartProgress};
use nearlight_protocol::control::SessionReport;
use nearlight_protocol::worker;

/// Where a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The worker binds its sockets, the image is looked for.
    StartingDesktop {
        /// Whether the image is here.
        image: bool,
        /// Whether the sockets are bound.
        desktop: bool,
    },
    /// The app is being started.
    StartingApp {
        /// Whether it was so quick that its picture came first.
        picture: bool,
    },
    /// The app runs and has shown nothing.
    WaitingForPicture,
    /// It plays.
    Ready,
    /// App or worker is gone; the worker may have said why.
    LastWords(Ending),
    /// It is being taken apart.
    Ending(Ending),
}

/// Why it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) reason: EndReason,
    pub(crate) detail: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The image is on its way.
    Pulling(Pulled),
    /// The image is here.
    ImageReady,
    /// The worker's sockets are bound.
    DesktopReady,
    /// The worker could not be started or reached, or the image not be had.
    StartFailed(Ending),
    /// The app runs.
    AppStarted,
    /// The app showed its first picture.
    FirstFrame,
    /// The app is over.
    AppExited(AppExit),
    /// The worker says that it cannot go on.
    WorkerFailed(worker::Failed),
    /// The worker's socket closed or its process ended; its last output.
    WorkerGone {
        /// The last of its log.
        detail: String,
    },
    /// No picture in time.
    StartTimedOut,
    /// Nobody had anything to add.
    LastWordsOver,
    /// Somebody ends it.
    Stopped(EndReason),
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// From now on the app has so long to show a picture.
    ArmStartTimeout,
    /// Start the app.
    StartApp,
    /// Wait for last words.
    ArmLastWords,
    /// Tell the broker.
    Report(SessionReport),
    /// Take everything apart.
    TearDown(Ending),
}

/// One session's life.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    state: State,
}

impl Machine {
    /// A session that is about to start.
    pub(crate) fn new() -> (Self, Vec<Effect>) {
        let state = State::StartingDesktop {
            image: false,
            desktop: false,
        };
        (
            Self { state },
            vec![progress(StartProgress::StartingDesktop)],
        )
    }

    /// A session that an earlier agent started.
    pub(crate) fn adopted(ready: bool) -> Self {
        let state = if ready {
            State::Ready
        } else {
            State::WaitingForPicture
        };
        Self { state }
    }

    /// Where it is.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Takes an event.
    pub(crate) fn handle(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Pulling(pulled) => self.pulling(pulled),
            Event::ImageReady => self.image_ready(),
            Event::DesktopReady => self.desktop_ready(),
            Event::AppStarted => self.app_started(),
            Event::FirstFrame => self.first_frame(),
            Event::AppExited(exit) => self.app_exited(exit),
            Event::WorkerGone { detail } => self.worker_gone(detail),
            Event::StartTimedOut => self.start_timed_out(),
            Event::LastWordsOver => self.last_words_over(),
            Event::WorkerFailed(failed) => self.end(Ending {
                reason: failed.reason,
                detail: failed.detail,
            }),
            Event::StartFailed(ending) => self.end(ending),
            Event::Stopped(reason) => self.end(Ending {
                reason,
                detail: String::new(),
            }),
        }
    }

    fn pulling(&self, pulled: Pulled) -> Vec<Effect> {
        match self.state {
            State::StartingDesktop { image: false, .. } => vec![progress(StartProgress::Pulling {
                done_bytes: pulled.done_bytes,
                total_bytes: pulled.total_bytes,
                layers_done: pulled.layers_done,
                layers: pulled.layers,
            })],
            State::StartingDesktop { image: true, .. }
            | State::StartingApp { .. }
            | State::WaitingForPicture
            | State::Ready
            | State::LastWords(_)
            | State::Ending(_) => Vec::new(),
        }
    }

    fn image_ready(&mut self) -> Vec<Effect> {
        match &mut self.state {
            State::StartingDesktop { image, .. } => {
                *image = true;
                let mut effects = vec![Effect::ArmStartTimeout];
                effects.extend(self.start_app_if_all_is_there());
                effects
            }
            State::StartingApp { .. }
            | State::WaitingForPicture
            | State::Ready
            | State::LastWords(_)
            | State::Ending(_) => Vec::new(),
        }
    }

    fn desktop_ready(&mut self) -> Vec<Effect> {
        match &mut self.state {
            State::StartingDesktop { desktop, .. } => {
                *desktop = true;
                self.start_app_if_all_is_there()
            }
            // Said again on every connection: an adopted worker's desktop has been ready for long.
            State::StartingApp { .. }
            | State::WaitingForPicture
            | State::Ready
            | State::LastWords(_)
            | State::Ending(_) => Vec::new(),
        }
    }

    fn start_app_if_all_is_there(&mut self) -> Vec<Effect> {
        let all = State::StartingDesktop {
            image: true,
            desktop: true,
        };
        if self.state != all {
            return Vec::new();
        }
        self.state = State::StartingApp { picture: false };
        vec![progress(StartProgress::StartingApp), Effect::StartApp]
    }

    fn app_started(&mut self) -> Vec<Effect> {
        match self.state {
            State::StartingApp { picture: false } => {
                self.state = State::WaitingForPicture;
                vec![progress(StartProgress::WaitingForPicture)]
            }
            State::StartingApp { picture: true } => {
                self.state = State::Ready;
                vec![Effect::Report(SessionReport::Ready)]
            }
            State::StartingDesktop { .. }
            | State::WaitingForPicture
            | State::Ready
            | State::LastWords(_)
            | State::Ending(_) => Vec::new(),
        }
    }

    fn first_frame(&mut self) -> Vec<Effect> {
        match &mut self.state {
            State::StartingApp { picture } => {
                *picture = true;
                Vec::new()
            }
            State::WaitingForPicture => {
                self.state = State::Ready;
                vec![Effect::Report(SessionReport::Ready)]
            }
            State::StartingDesktop { .. }
            | State::Ready
            | State::LastWords(_)
            | State::Ending(_) => Vec::new(),
        }
    }

    fn app_exited(&mut self, exit: AppExit) -> Vec<Effect> {
        let shown = match self.state {
            State::StartingDesktop { .. } | State::WaitingForPicture => false,
            State::StartingApp { picture } => picture,
            State::Ready => true,
            State::LastWords(_) | State::Ending(_) => return Vec::new(),
        };
        let reason = match (exit.out_of_memory, shown, exit.status) {
            (true, _, _) => EndReason::AppOutOfMemory,
            (false, false, _) => EndReason::AppStartFailed,
            (false, true, Some(0)) => EndReason::AppExited,
            (false, true, Some(_) | None) => EndReason::AppCrashed,
        };
        let ending = Ending {
            reason,
            detail: exit.detail,
        };
        match reason {
            EndReason::AppExited => self.end(ending),
            // The desktop may have thrown it out, or may be what crashed.
            _ => self.await_last_words(ending),
        }
    }

    fn worker_gone(&mut self, detail: String) -> Vec<Effect> {
        let ending = Ending {
            reason: EndReason::WorkerCrashed,
            detail,
        };
        match &mut self.state {
            State::StartingDesktop { .. }
            | State::StartingApp { .. }
            | State::WaitingForPicture
            | State::Ready => self.await_last_words(ending),
            // An app does not survive its desktop: the worker's end is the cause of the app's. A
            // second word of the worker's end adds nothing.
            State::LastWords(known) => {
                if known.reason != EndReason::WorkerCrashed {
                    *known = ending;
                }
                Vec::new()
            }
            State::Ending(_) => Vec::new(),
        }
    }

    fn start_timed_out(&mut self) -> Vec<Effect> {
        match self.state {
            State::StartingDesktop { .. }
            | State::StartingApp { .. }
            | State::WaitingForPicture => self.end(Ending {
                reason: EndReason::StartTimeout,
                detail: String::new(),
            }),
            State::Ready | State::LastWords(_) | State::Ending(_) => Vec::new(),
        }
    }

    fn last_words_over(&mut self) -> Vec<Effect> {
        match &self.state {
            State::LastWords(ending) => {
                let ending = ending.clone();
                self.end(ending)
            }
            State::StartingDesktop { .. }
            | State::StartingApp { .. }
            | State::WaitingForPicture
            | State::Ready
            | State::Ending(_) => Vec::new(),
        }
    }

    fn await_last_words(&mut self, ending: Ending) -> Vec<Effect> {
        self.state = State::LastWords(ending);
        vec![Effect::ArmLastWords]
    }

    fn end(&mut self, ending: Ending) -> Vec<Effect> {
        match self.state {
            State::Ending(_) => Vec::new(),
            State::StartingDesktop { .. }
            | State::StartingApp { .. }
            | State::WaitingForPicture
            | State::Ready
            | State::LastWords(_) => {
                self.state = State::Ending(ending.clone());
                vec![Effect::TearDown(ending)]
            }
        }
    }
}

fn progress(progress: StartProgress) -> Effect {
    Effect::Report(SessionReport::Progress { progress })
}

#[cfg(test)]
#[path = "machine/test.rs"]
mod test;
