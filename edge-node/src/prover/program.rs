//! The program that computes a probe on a GPU: started for the probe, fed by a pipe, killed with it.
//!
//! ```text
//!   spawned --"ready"--> waiting --start--> legs, a root each --read, open--> its last bytes --> ended
//!      |                    |                  |
//!      `--------------------+------------------+-- says why not, ends, or is killed --> failed
//! ```
//!
//! A driver may crash, hang or run out of memory: that is the program's end, and a probe's, never the agent's. It runs as
//! the user without rights that tries encoders, with no session's directories in sight.
//!
//! **Invariants.** No program outlives its probe: whoever lets go of [`Running`] kills it, and it ends by itself when the
//! agent does. What it says is bounded.
//!
//! **What it does not know:** probes, seeds, whether a GPU is free.

use super::legs::{LOOK_EVERY, Order, Roots};
use crate::config::Config;
use crate::process::{Launch, Process, User};
use crate::session::host;
use nearlight_proof::key::KeyId;
use nearlight_proof::log::tree::Hash;
use nearlight_proof::porc::exchange::begin::EDITION;
use nearlight_proof::porc::exchange::program::{
    Device as Found, LINE_BYTES_MAX, Listed, Order as Told, Rooted, Said,
};
use nearlight_proof::receipt::predicate::Sizes;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// For the list of devices: each driver is loaded, and says what it has.
const LIST_WITHIN: Duration = Duration::from_secs(30);
const LIST_BYTES_MAX: u64 = 64 * 1024;
/// The largest opening: 256 rows of the largest matrix, and paths.
const OPENING_BYTES_MAX: u64 = 128 << 20;
/// Where drivers are found, beside what every program is given.
const PASSED_ON: [&str; 5] = [
    "LD_LIBRARY_PATH",
    "VK_DRIVER_FILES",
    "VK_ICD_FILENAMES",
    "XDG_DATA_DIRS",
    "LP_NUM_THREADS",
];
/// What is said of one that says nothing itself.
const ENDED: &str =
    "the program that computes on the GPU ended before it was done; its driver may have crashed";

/// How the program of one GPU is started.
#[derive(Clone, Debug)]
pub(super) struct Program {
    path: PathBuf,
    device: String,
    user: Option<User>,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListError {
    #[error("{} cannot be run ({source}); build it (cargo build -p edge-prover), or give --prover", path.display())]
    Run {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("edge-prover did not list its devices within {} s; a driver hangs", LIST_WITHIN.as_secs())]
    Deadline,
    #[error("edge-prover lists no devices; run `edge-prover --list` by hand")]
    Output,
    #[error("{}", other_edition(*.0))]
    Edition(u32),
}

/// What is said of a program whose legs are made in another way than this agent has them.
fn other_edition(theirs: u32) -> String {
    let theirs = match theirs {
        0 => "does not say of which edition of the proof it is".to_owned(),
        theirs => format!("is of edition {theirs} of the proof"),
    };
    format!(
        "edge-prover {theirs}, and this agent is of edition {EDITION}; install both from one version"
    )
}

/// The devices that programs find here.
pub(super) async fn list(config: &Config, root: bool) -> Result<Vec<Found>, ListError> {
    let program = Program {
        path: config.prover_program.clone(),
        device: String::new(),
        user: host::probe_user(root),
    };
    let run = |source| ListError::Run {
        path: program.path.clone(),
        source,
    };
    let (process, out) = program.spawn(&["--list"], None).map_err(run)?;
    let read = tokio::task::spawn_blocking(move || {
        let mut said = Vec::new();
        out.take(LIST_BYTES_MAX)
            .read_to_end(&mut said)
            .map(|_| said)
    });
    let Ok(read) = tokio::time::timeout(LIST_WITHIN, read).await else {
        process.kill();
        return Err(ListError::Deadline);
    };
    process.kill();
    process.exited().await;
    let said = read.ok().and_then(Result::ok).ok_or(ListError::Output)?;
    let listed = Listed::read(&said).ok_or(ListError::Output)?;
    match listed.edition {
        EDITION => Ok(listed.devices),
        theirs => Err(ListError::Edition(theirs)),
    }
}

impl Program {
    pub(super) fn new(config: &Config, root: bool, found: &Found) -> Self {
        Self {
            user: host::probe_user(root),
            ..Self::at(config.prover_program.clone(), found)
        }
    }

    pub(super) fn at(path: PathBuf, found: &Found) -> Self {
        Self {
            path,
            device: found.id.clone(),
            user: None,
        }
    }

    /// Starts it; what it says.
    fn spawn(&self, args: &[&str], orders: Option<File>) -> io::Result<(Process, File)> {
        let (out, theirs) = io::pipe()?;
        let mut launch = Launch::new(self.path.clone(), "edge-prover")
            .args(args)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", "/")
            .user(self.user.clone())
            .stdout(File::from(OwnedFd::from(theirs)))
            .stderr(File::from(rustix::io::dup(io::stderr())?));
        for key in PASSED_ON {
            if let Some(value) = std::env::var_os(key) {
                launch = launch.env(key, value);
            }
        }
        if let Some(orders) = orders {
            launch = launch.stdin(orders);
        }
        Ok((launch.spawn()?, File::from(OwnedFd::from(out))))
    }

    /// Starts it for a probe; why not otherwise.
    fn open(&self, runtime: &Handle, roots: watch::Sender<Roots>) -> Result<Running, String> {
        // A process is watched by the runtime.
        let _entered = runtime.enter();
        let refused = |error: io::Error| {
            let path = self.path.display();
            format!("{path} cannot be run ({error}); install it beside edge-node")
        };
        let (theirs, orders) = io::pipe().map_err(refused)?;
        let orders = File::from(OwnedFd::from(orders));
        let theirs = File::from(OwnedFd::from(theirs));
        let spawned = self.spawn(&["--gpu", &self.device], Some(theirs));
        let (process, out) = spawned.map_err(refused)?;
        // One answer at a time, and an end.
        let (told, heard) = sync_channel(2);
        let follow = move || follow(out, &roots, &told);
        let thread = std::thread::Builder::new().name("prover-out".to_owned());
        let spawned = thread.spawn(follow);
        let running = Running {
            process,
            orders,
            heard,
            runtime: runtime.clone(),
        };
        spawned.map(|_| running).map_err(refused)
    }
}

/// What came of the program.
enum Heard {
    Said(Said),
    Opening(Vec<u8>),
}

/// Hands on what the program says, until it says nothing more: roots of legs as soon as they are there.
fn follow(out: File, roots: &watch::Sender<Roots>, told: &SyncSender<Heard>) {
    let mut out = BufReader::new(out);
    while let Ok(heard) = hear(&mut out) {
        match heard {
            Heard::Said(Said::Ready { edition: EDITION }) => {
                roots.send_modify(|of| of.ready = true);
            }
            // It was replaced since it listed its devices.
            Heard::Said(Said::Ready { edition }) => {
                let why = other_edition(edition);
                let _ = told.send(Heard::Said(Said::Failed { why }));
                return;
            }
            Heard::Said(Said::Root { of, root }) if of != Rooted::Reads => {
                roots.send_modify(|roots| roots.take(of, root.0));
            }
            heard => {
                if told.send(heard).is_err() {
                    return;
                }
            }
        }
    }
}

fn hear(out: &mut impl BufRead) -> io::Result<Heard> {
    let mut line = Vec::new();
    Read::take(&mut *out, LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
    match serde_json::from_slice(&line)? {
        Said::Opening { bytes } if bytes <= OPENING_BYTES_MAX => {
            let mut opening = Vec::new();
            Read::take(out, bytes).read_to_end(&mut opening)?;
            Ok(Heard::Opening(opening))
        }
        Said::Opening { .. } => Err(io::ErrorKind::InvalidData.into()),
        said => Ok(Heard::Said(said)),
    }
}

/// A program that runs. It is killed with this, on the thread that it was started on.
struct Running {
    process: Process,
    orders: File,
    heard: Receiver<Heard>,
    runtime: Handle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.kill();
        // Until then its memory is not free for the next one.
        self.runtime.block_on(self.process.exited());
    }
}

/// Why a probe ends before its end: nobody wants it any more, or it failed and this is why.
enum End {
    Cancelled,
    Failed(String),
}

/// Runs a probe in a program of its own, as [`super::legs::prove`] does on threads, and as it does on a thread of its
/// own; `None` if it did not come to its end, which `roots` are told the reason of.
pub(super) fn prove(
    (program, runtime): (&Program, &Handle),
    (sizes, cancel): (&Sizes, &CancellationToken),
    roots: &watch::Sender<Roots>,
    orders: &Receiver<Order>,
) -> Option<()> {
    let done = match program.open(runtime, roots.clone()) {
        Ok(running) => running.work((sizes, cancel), orders),
        Err(why) => Err(End::Failed(why)),
    };
    match done {
        Ok(()) => Some(()),
        Err(End::Cancelled) => None,
        Err(End::Failed(why)) => {
            tracing::warn!(
                gpu = program.device,
                why,
                "a probe of a GPU did not come to its end"
            );
            roots.send_modify(|of| of.failed = Some(why));
            None
        }
    }
}

impl Running {
    fn work(
        mut self,
        (sizes, cancel): (&Sizes, &CancellationToken),
        orders: &Receiver<Order>,
    ) -> Result<(), End> {
        loop {
            self.still_runs()?;
            let order = match orders.recv_timeout(LOOK_EVERY) {
                Ok(order) => order,
                Err(RecvTimeoutError::Timeout) if !cancel.is_cancelled() => continue,
                Err(_) => return Err(End::Cancelled),
            };
            match order {
                Order::Start(seed) => {
                    let (seed, sizes) = (KeyId(seed), *sizes);
                    self.say(&Told::Start { seed, sizes })?;
                }
                Order::Read(reads, answer) => {
                    self.say(&Told::Read { reads })?;
                    let root = self.root_of_reads(cancel)?;
                    // Whoever asked may have gone.
                    let _ = answer.send(root);
                }
                Order::Open(plan, reads, answer) => {
                    let plan = Box::new(plan);
                    self.say(&Told::Open { plan, reads })?;
                    let _ = answer.send(self.opening(cancel)?);
                    return Ok(());
                }
            }
        }
    }

    fn say(&mut self, told: &Told) -> Result<(), End> {
        let mut line = serde_json::to_vec(told).map_err(|error| End::Failed(error.to_string()))?;
        line.push(b'\n');
        // What it said before it ended says more than a broken pipe.
        self.orders.write_all(&line).map_err(|_| {
            let heard = self.next(&CancellationToken::new());
            heard.err().unwrap_or_else(|| End::Failed(ENDED.to_owned()))
        })
    }

    /// While nothing was asked, there is nothing to be heard but an end.
    fn still_runs(&self) -> Result<(), End> {
        match self.heard.try_recv() {
            Err(TryRecvError::Empty) => Ok(()),
            Err(TryRecvError::Disconnected) => Err(End::Failed(ENDED.to_owned())),
            Ok(heard) => said(heard).and(Err(End::Failed(ENDED.to_owned()))),
        }
    }

    fn root_of_reads(&self, cancel: &CancellationToken) -> Result<Hash, End> {
        match self.next(cancel)? {
            Heard::Said(Said::Root {
                of: Rooted::Reads,
                root,
            }) => Ok(root.0),
            _ => Err(End::Failed(ENDED.to_owned())),
        }
    }

    fn opening(&self, cancel: &CancellationToken) -> Result<Vec<u8>, End> {
        match self.next(cancel)? {
            Heard::Opening(opening) => Ok(opening),
            Heard::Said(_) => Err(End::Failed(ENDED.to_owned())),
        }
    }

    fn next(&self, cancel: &CancellationToken) -> Result<Heard, End> {
        loop {
            match self.heard.recv_timeout(LOOK_EVERY) {
                Ok(heard) => return said(heard),
                Err(RecvTimeoutError::Timeout) if !cancel.is_cancelled() => {}
                Err(RecvTimeoutError::Timeout) => return Err(End::Cancelled),
                Err(RecvTimeoutError::Disconnected) => return Err(End::Failed(ENDED.to_owned())),
            }
        }
    }
}

/// A failure is the end of it.
fn said(heard: Heard) -> Result<Heard, End> {
    match heard {
        Heard::Said(Said::Failed { why }) => Err(End::Failed(why)),
        heard => Ok(heard),
    }
}

#[cfg(test)]
#[path = "program/test.rs"]
mod test;
