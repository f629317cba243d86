//! Who stops waiting for a session ends it, for nobody else would: it would run on at their cost.
//!
//! SIGINT, SIGTERM and SIGHUP are taken by a thread, from before the broker is asked for the session: between the question and
//! its answer there may be a session whose id nobody here knows yet. So the question is asked again, with its Idempotency-Key:
//! the answer is that session. The second signal ends the program at once: it says what may go on, and how to end it.
//!
//! **What it does not know:** jobs; how the session is.

use crate::cli::Broker;
use crate::client::{Client, ClientError};
use crate::terminal;
use nearlight_protocol::api::{CreateSession, Session};
use nix::sys::signal::{SigSet, Signal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// As of `session exec`, and of shells: ended by Ctrl-C.
const EXIT_INTERRUPTED: i32 = 130;

/// How often the broker is asked once more which session it has started, and how long between two times.
const TRIES_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// Nothing is tried again after so long. A broker that hangs has had the time of one answer by then.
const PATIENCE: Duration = Duration::from_secs(20);

/// So soon after a signal nobody can have thought better of it.
const AT_ONCE: Duration = Duration::from_millis(300);

/// What the broker is asked for, and the key that stands for it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) key: String,
    pub(super) request: CreateSession,
}

impl Asked {
    /// With a key of its own.
    pub(super) fn new(request: CreateSession) -> Arc<Self> {
        let key = nearlight_kit::ids::request().to_string();
        Arc::new(Self { key, request })
    }
}

/// What an interrupt is about.
#[derive(Debug)]
enum Wait {
    /// The broker was asked for a session.
    Asking(Arc<Asked>),
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
    pub(super) fn watch(broker: &Broker, asked: &Arc<Asked>) -> Result<Self, ClientError> {
        let client = Client::new(broker)?;
        let wait = Arc::new(Mutex::new(Wait::Asking(Arc::clone(asked))));
        // `nohup` and shells' `&` have it so; one that waits would get them all the same.
        let ignored = mask_of("SigIgn:");
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
                    let wait = locked(&theirs);
                    let left = Left::of(&wait);
                    left.say_at_the_next(&signals);
                    give_up(&client, &wait, &left);
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

/// What may go on without this program, and how to end it.
#[derive(Clone, Debug)]
struct Left(Arc<Mutex<String>>);

impl Left {
    fn of(wait: &Wait) -> Self {
        Self(Arc::new(Mutex::new(match wait {
            Wait::Asking(asked) => format!(
                "a job may still start: find it with nearlight session list, end it with nearlight session stop ID; \
                 its Idempotency-Key is {}",
                asked.key
            ),
            Wait::For(id) => running(id),
            Wait::Over => "the job is as it was".to_owned(),
        })))
    }

    /// The session is known.
    fn is(&self, id: &str) {
        *locked(&self.0) = running(id);
    }

    /// The next signal has it said, and ends the program. What comes with the first one is no second wish: `timeout` and npm
    /// send a signal to a program and to its whole group.
    fn say_at_the_next(&self, signals: &SigSet) {
        // A terminal that closes says so more than once.
        let again: SigSet = signals
            .iter()
            .filter(|&one| one != Signal::SIGHUP)
            .collect();
        // These came while nobody could read of the first one, however long that was.
        let pending = mask_of("ShdPnd:");
        for one in again.iter().filter(|&one| is_in(pending, one)) {
            let _ = SigSet::from(one).wait();
        }
        let left = self.clone();
        std::thread::spawn(move || {
            let first = Instant::now();
            while again.wait().is_ok() {
                if first.elapsed() < AT_ONCE {
                    continue;
                }
                terminal::note(format_args!(
                    "nearlight: stopped at once; {}",
                    locked(&left.0)
                ));
                std::process::exit(EXIT_INTERRUPTED);
            }
        });
    }
}

fn running(id: &str) -> String {
    format!("{id} may still run: end it with nearlight session stop {id}")
}

/// A set of signals that `/proc` shows of this program: what it was started to ignore, or what nobody has taken yet.
fn mask_of(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix(name));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// Whether a mask of `/proc` has a signal: the first one is bit 0.
fn is_in(mask: u64, signal: Signal) -> bool {
    (mask >> (signal as i32 - 1)) & 1 == 1
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

fn give_up(client: &Client, wait: &Wait, left: &Left) {
    match wait {
        Wait::Asking(asked) => {
            terminal::note(format_args!(
                "\nstopped by a signal: asking the broker which job it has started, to end it (once more: stop at once; its \
                 Idempotency-Key is {})",
                asked.key
            ));
            match found(client, asked) {
                Ok(session) => {
                    left.is(session.id.as_str());
                    end(client, session.id.as_str());
                }
                Err(error) => terminal::note(format_args!(
                    "nearlight: whether a job was started is not known: {error}\n  look for it with: nearlight session list\n  \
                     end it with: nearlight session stop ID\n  the broker knows it by the Idempotency-Key {}",
                    asked.key
                )),
            }
        }
        Wait::For(id) => {
            terminal::note("\nstopped by a signal: the job ends, too (once more: stop at once)");
            end(client, id);
        }
        Wait::Over => {}
    }
}

/// The session that the broker has started, or starts now, for what it was asked for.
fn found(client: &Client, asked: &Asked) -> Result<Session, ClientError> {
    let began = Instant::now();
    let mut tries = 0;
    loop {
        tries += 1;
        match client.post_as(&asked.key, super::SESSIONS, &asked.request) {
            Err(error)
                if (error.leaves_open() || error.is_of_haste())
                    && tries < TRIES_MAX
                    && began.elapsed() < PATIENCE =>
            {
                std::thread::sleep(PAUSE);
            }
            outcome => return outcome,
        }
    }
}

fn end(client: &Client, id: &str) {
    match client.delete(&format!("{}/{id}", super::SESSIONS)) {
        Ok(()) => terminal::note(format_args!("{id} is ending")),
        Err(error) => terminal::note(format_args!(
            "nearlight: {id} goes on: {error}\n  end it with: nearlight session stop {id}"
        )),
    }
}
