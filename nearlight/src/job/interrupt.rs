//! Who stops waiting for a session ends it, for nobody else would: it would run on at their cost.
//!
//! SIGINT, SIGTERM and SIGHUP are taken by a thread, from before the broker is asked for the session: between the question and
//! its answer there may be a session whose id nobody here knows yet. The second one ends the program at once.
//!
//! **What it does not know:** jobs; how the session is.

use crate::cli::Broker;
use crate::client::{Client, ClientError};
use crate::terminal;
use nearlight_protocol::api::Session;
use nix::sys::signal::{SigSet, Signal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// As of `session exec`, and of shells: ended by Ctrl-C.
const EXIT_INTERRUPTED: i32 = 130;

/// What an interrupt is about.
#[derive(Debug)]
enum Wait {
    /// The broker was asked for a session.
    Asking,
    /// For the session with this id.
    For(String),
    Over,
}

/// The thread that takes signals. While it ends a session it keeps the lock, and so the last word.
#[derive(Debug)]
pub(super) struct Interrupts {
    wait: Arc<Mutex<Wait>>,
}

impl Interrupts {
    /// Takes signals from here on.
    pub(super) fn watch(broker: &Broker) -> Result<Self, ClientError> {
        let client = Client::new(broker)?;
        let wait = Arc::new(Mutex::new(Wait::Asking));
        let ignored = ignored_signals();
        let all = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
        let signals: SigSet = all
            .into_iter()
            .filter(|&one| !is_in(ignored, one))
            .collect();
        let theirs = Arc::clone(&wait);
        // Threads of later have the mask of this one. Where there is none, a signal does what it always did.
        if signals.thread_block().is_ok() {
            std::thread::spawn(move || {
                if signals.wait().is_ok() {
                    let _ = signals.thread_unblock();
                    let wait = locked(&theirs);
                    give_up(&client, &wait);
                    std::process::exit(EXIT_INTERRUPTED);
                }
            });
        }
        Ok(Self { wait })
    }

    /// They are for this session from here on.
    pub(super) fn are_for(&self, session: &Session) {
        *locked(&self.wait) = Wait::For(session.id.to_string());
    }

    /// There is nothing to end any more. Does not return where one has come.
    pub(super) fn are_over(&self) {
        *locked(&self.wait) = Wait::Over;
    }
}

/// What this program was started to ignore, as `nohup` and shells' `&` have it: one that waits would get it all the same.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// Whether a mask of `/proc` has a signal: the first one is bit 0.
fn is_in(mask: u64, signal: Signal) -> bool {
    (mask >> (signal as i32 - 1)) & 1 == 1
}

fn locked(wait: &Mutex<Wait>) -> MutexGuard<'_, Wait> {
    wait.lock().unwrap_or_else(PoisonError::into_inner)
}

fn give_up(client: &Client, wait: &Wait) {
    let id = match wait {
        Wait::Asking => {
            terminal::note(
                "whether the broker has started it is not known: nearlight session list",
            );
            return;
        }
        Wait::For(id) => id,
        Wait::Over => return,
    };
    terminal::note(format_args!("\nstopped by a signal: the job ends, too"));
    match client.delete(&format!("/v1/sessions/{id}")) {
        Ok(()) => terminal::note(format_args!("{id} is ending")),
        Err(error) => terminal::note(format_args!(
            "nearlight: {id} goes on: {error}\n  end it with: nearlight session stop {id}"
        )),
    }
}
