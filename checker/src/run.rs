//! `checker run`: asks for assignments, does them, and says what came of each, until it is stopped.
//!
//! ```text
//!   Asking --something is due--> queue --worker--> done, reported --> Asking …
//!      |-- broker away --> Waiting (longer each time, with chance) --> Asking
//!      |-- another copy of this key, shut out --> ends, and says so
//!      `-- stopped --> what is under way is reported as missed, the key is free --> ends
//! ```
//!
//! [`alive`], [`capacity`] and [`stream`] are the duties. Each has workers of its own, so that a probe of minutes holds
//! no question up whether a node is there; nodes that [`meetings`] wait for have some, too. The log's witness
//! ([`crate::witness`]) has a thread of its own, and goes on whatever becomes of the duties.
//!
//! **Invariants.** GPUs of a node that are due are probed at once, and so are nodes that could be one machine: one after the
//! other they could be one. Others are probed one at a time. A round's value is believed if it leads
//! to the anchor that the checker was told when it came in. Each assignment is reported, whatever becomes of it; one
//! that cannot be is another checker's once its time is over.
//!
//! **What it does not know:** who is to be checked: the broker says so, and anyone can work out whether it may.

mod alive;
mod capacity;
pub(crate) mod leaving;
mod meetings;
mod renewal;
mod rounds;
mod stream;

use crate::broker::{Broker, Refused};
use crate::certificate;
use crate::evidence::Evidence;
use crate::failure::Failure;
use crate::keys;
use crate::member::Network;
use crate::traffic::Traffic;
use crate::witness::{self, Witness};
use leaving::Leaving;
use meetings::Meetings;
use nearlight_kit::clock::unix_ms;
use nearlight_kit::shutdown::Shutdown;
use nearlight_proof::beacon::used::Beacon;
use nearlight_proof::key::SecretKey;
use nearlight_proof::porc::schedule::{Due, Duty as Kind};
use nearlight_proof::porc::score::Table;
use nearlight_protocol::checker::{Duty, Outcome, Report, WHY_BYTES_MAX};
use rand::Rng;
use renewal::Renewal;
use rounds::Rounds;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Assignments of a kind that wait for a worker. More are asked for again.
const WAITING_MAX: usize = 16;
/// Workers that ask whether nodes are there.
const ASKERS: usize = 4;
/// Workers that meet: those of one moment may still open when the next one begins.
const MEETERS: usize = 3;
/// How long the broker waits for something to be due, seconds.
const POLL_S: u32 = 20;
/// The shortest and the longest wait for a broker that is away.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// What a stopped checker's report says.
const STOPPED: &str = "the checker was stopped";

/// How a checker runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its directory.
    pub data: PathBuf,
    /// Gigabytes that it may send and receive in a month; `None` for no limit.
    pub gb_max: Option<u64>,
    /// The broker, if it is elsewhere than where the checker came in: for players.
    pub url: Option<String>,
    /// Its listener for nodes and checkers, if it is elsewhere than the broker says.
    pub at: Option<String>,
    /// Whether it plays streams.
    pub plays: bool,
    /// Address at which they are received.
    pub bind: IpAddr,
    /// The beacon that it works by; `None` for the one that the network's log names, if that is the chain or quicknet.
    pub beacon: Option<Beacon>,
}

/// Where work of each kind is handed in.
#[derive(Debug)]
struct Queues {
    asking: Queue,
    probing: Queue,
    playing: Queue,
}

/// What is one worker's: a duty, or all of a node and a round; with the class of those that name none.
type Work = (Vec<Duty>, String);
type Queue = SyncSender<Work>;

/// Which assignment.
type Id = (u64, String, String);

/// A checker at work. Workers share it.
#[derive(Debug)]
pub struct Runner {
    key: SecretKey,
    table: Table,
    broker: Broker,
    /// When its certificate is renewed.
    renewal: Mutex<Renewal>,
    /// The broker's listener, if it is elsewhere than the broker says.
    at: Option<String>,
    /// The broker's address, for players.
    url: String,
    /// The address at which streams are received, of one that plays them.
    plays_at: Option<IpAddr>,
    /// This copy of the checker.
    instance: String,
    rounds: Mutex<Rounds>,
    traffic: Mutex<Traffic>,
    /// What is waiting or being done.
    under_way: Mutex<HashMap<Id, UnderWay>>,
    /// When a receipt was written last that a node does not answer, by its key.
    unreachable: Mutex<HashMap<String, Instant>>,
    /// Nodes that are probed in a moment to come.
    meetings: Meetings,
    /// What its receipts rest on.
    evidence: Evidence,
    /// Its directory, and what it is a member of.
    member: (PathBuf, Network),
    /// Held by whoever says what came of a duty.
    telling: RwLock<()>,
    /// Held while the program beside this one plays.
    playing: Mutex<()>,
    stop: CancellationToken,
    leaving: Leaving,
}

/// A duty that waits or is being done.
#[derive(Debug)]
struct UnderWay {
    duty: Duty,
    /// Whether what came of it is being said, or was.
    is_told: bool,
}

/// Runs until SIGTERM, SIGINT, or until the broker does not want this checker any more.
///
/// # Errors
/// Why it cannot run, or not any more.
pub fn run(
    settings: &Settings,
    table: Table,
    ready: impl FnOnce() + Send + 'static,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|source| Failure::File {
        path: settings.data.clone(),
        source,
    })?;
    let shutdown = Shutdown::new();
    let runner = Arc::new(Runner::new(settings, table, shutdown.token())?);
    let (tell, told) = tokio::sync::oneshot::channel();
    let working = runner.clone();
    std::thread::spawn(move || {
        // Whoever stopped does not listen.
        let _ = tell.send(working.work(ready));
    });
    let ended = runtime.block_on(async {
        shutdown.on_signals();
        let stop = shutdown.token();
        tokio::select! {
            ended = told => ended.unwrap_or(Ok(())),
            () = stop.cancelled() => Ok(()),
        }
    });
    runner.leave();
    ended
}

impl Runner {
    /// The checker of a directory, which came into a network.
    ///
    /// # Errors
    /// What is missing.
    pub fn new(
        settings: &Settings,
        table: Table,
        stop: CancellationToken,
    ) -> Result<Self, Failure> {
        let data: &Path = &settings.data;
        let network = Network::load(data)?;
        let url = settings.url.as_ref().unwrap_or(&network.url).clone();
        Ok(Self {
            key: keys::load(data)?,
            table,
            broker: network.broker(data, settings.at.as_deref())?,
            renewal: Mutex::new(Renewal::of(&certificate::load(data)?)),
            at: settings.at.clone(),
            url,
            plays_at: settings.plays.then_some(settings.bind),
            instance: nearlight_proof::encoding::hex(&rand::random::<[u8; 16]>()),
            rounds: Mutex::new(Rounds::open(data, &network, settings.beacon)?),
            traffic: Mutex::new(Traffic::open(data, settings.gb_max)?),
            under_way: Mutex::default(),
            unreachable: Mutex::default(),
            meetings: Meetings::default(),
            evidence: Evidence::open(data)?,
            member: (data.to_owned(), network),
            telling: RwLock::default(),
            playing: Mutex::default(),
            stop,
            leaving: Leaving::default(),
        })
    }

    /// Asks and works until it is stopped; says `ready` once the broker has taken this copy.
    ///
    /// # Errors
    /// [`Failure::Broker`] or [`Failure::Certificate`] once asking again is of no use.
    pub fn work(self: &Arc<Self>, ready: impl FnOnce()) -> Result<(), Failure> {
        let mut ready = Some(ready);
        let queues = Queues {
            asking: self.workers(ASKERS, Self::alive),
            probing: self.workers(1, Self::capacity),
            playing: self.workers(1, Self::stream),
        };
        self.meeters();
        self.watch();
        let mut version: Option<String> = None;
        let mut class = String::new();
        let mut failed = 0;
        while !self.stop.is_cancelled() {
            self.keep_certified()?;
            let known = (version.as_deref(), self.plays_at.is_some());
            match self.broker.assignments(&self.instance, known, POLL_S) {
                Ok(mine) => {
                    failed = 0;
                    if let Some(ready) = ready.take() {
                        ready();
                    }
                    class.clone_from(&mine.class);
                    lock(&self.rounds).learn_for_good(&self.member.0, &mine.beacons);
                    let mut all_taken = true;
                    for work in together(mine.assignments) {
                        all_taken &= self.hand_out(work, &class, &queues);
                    }
                    version = all_taken.then_some(mine.version);
                    self.count();
                }
                Err(error) if error.is_final() => return Err(Failure::Broker(error.to_string())),
                Err(error) => {
                    tracing::warn!(%error, "the broker is away; asking again");
                    failed += 1;
                    self.pause(backoff(failed, rand::rng().random()));
                }
            }
        }
        Ok(())
    }

    /// The key is free for another copy, and what was begun is another checker's.
    pub fn leave(&self) {
        self.stop.cancel();
        self.leaving.begin();
        self.meetings.close();
        let left: Vec<Duty> = {
            // What is being said is said, and nothing of it twice.
            let _telling = self.telling.write().unwrap_or_else(PoisonError::into_inner);
            let all = self.under_way().drain().collect::<Vec<_>>();
            let untold = all.into_iter().filter(|(_, of)| !of.is_told);
            untold.map(|(_, of)| of.duty).collect()
        };
        // The program that plays is ended by whoever waits for it.
        drop(lock(&self.playing));
        for duty in &left {
            let why = STOPPED.to_owned();
            // It is as well if the broker does not hear it: then it finds out in time.
            let _ = self
                .broker
                .report(&self.instance, &said(duty, Outcome::Missed { why }));
        }
        let _ = self.broker.release(&self.instance);
        tracing::info!(left = left.len(), "stopped");
    }

    /// Threads that do one kind of duty each time it is handed to them.
    fn workers(self: &Arc<Self>, count: usize, work: fn(&Self, &[Duty], &str)) -> Queue {
        let (sender, queue) = sync_channel::<Work>(WAITING_MAX);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..count {
            let (runner, queue) = (self.clone(), queue.clone());
            std::thread::spawn(move || {
                while let Some((duties, class)) = next(&queue) {
                    work(&runner, &duties, &class);
                    runner.done(duties.iter().map(id_of));
                }
            });
        }
        sender
    }

    /// Threads that probe those that meet.
    fn meeters(self: &Arc<Self>) {
        for _ in 0..MEETERS {
            let runner = self.clone();
            std::thread::spawn(move || {
                while let Some((moment_ms, met)) = runner.meetings.next(unix_ms) {
                    let ids: Vec<Id> = met.iter().flat_map(|of| of.0.iter().map(id_of)).collect();
                    runner.meet(moment_ms, met);
                    runner.done(ids.into_iter());
                }
            });
        }
    }

    /// A thread that puts evidence beside the log, and one that watches the log.
    fn watch(self: &Arc<Self>) {
        let runner = self.clone();
        std::thread::spawn(move || {
            let wait = |pause| runner.leaving.wait(pause);
            runner.evidence.put(&runner.broker, wait);
        });
        let runner = self.clone();
        std::thread::spawn(move || {
            let (data, network) = &runner.member;
            let wait = |pause| runner.leaving.wait(pause);
            witness::watch(|| Witness::of_member(data, network), &runner.broker, wait);
        });
    }

    fn done(&self, ids: impl Iterator<Item = Id>) {
        ids.for_each(|id| drop(self.under_way().remove(&id)));
        self.count();
    }

    /// Whether duties of one kind, of one node and round, are with a worker, or of no kind that this checker knows.
    fn hand_out(&self, mut duties: Vec<Duty>, class: &str, to: &Queues) -> bool {
        duties.retain(|duty| !self.under_way().contains_key(&id_of(duty)));
        let Some(first) = duties.first() else {
            return true;
        };
        let moment_ms = first.meets_unix_ms;
        let queue = match Due::of_name(&first.assignment.duty).map(|due| due.duty) {
            Some(Kind::Alive) => &to.asking,
            Some(Kind::Capacity) => &to.probing,
            Some(Kind::Stream) => &to.playing,
            None => {
                let why = "this checker is older than the duty".to_owned();
                self.report(first, Outcome::Missed { why });
                return true;
            }
        };
        let ids: Vec<Id> = duties.iter().map(id_of).collect();
        let begun = duties.iter().cloned().map(|duty| UnderWay {
            duty,
            is_told: false,
        });
        self.under_way().extend(ids.iter().cloned().zip(begun));
        let work = (duties, class.to_owned());
        let taken = match moment_ms {
            Some(moment_ms) => self.meetings.add(moment_ms, work),
            None => queue.try_send(work).is_ok(),
        };
        if !taken {
            ids.iter().for_each(|id| drop(self.under_way().remove(id)));
        }
        taken
    }

    /// Says what came of a duty, again and again until its time is over if the broker is away.
    fn report(&self, duty: &Duty, outcome: Outcome) {
        let said = said(duty, outcome);
        let mut failed = 0;
        loop {
            let answer = {
                let _telling = self.telling.read().unwrap_or_else(PoisonError::into_inner);
                match self.under_way().get_mut(&id_of(duty)) {
                    Some(of) => of.is_told = true,
                    // Whoever stopped has said so.
                    None if self.stop.is_cancelled() => return,
                    None => {}
                }
                self.broker.report(&self.instance, &said)
            };
            match answer {
                Ok(()) => return,
                Err(error) => {
                    // The log shows a receipt a moment after it took it.
                    let may_pass = matches!(&error, Refused::Away(_)) || failed < 3;
                    if !may_pass || self.is_late(duty) {
                        tracing::warn!(%error, round = said.round, duty = said.duty, "a report was not taken");
                        return;
                    }
                    failed += 1;
                    self.pause(backoff(failed, rand::rng().random()));
                }
            }
        }
    }

    fn is_late(&self, duty: &Duty) -> bool {
        let now_ms = unix_ms();
        self.stop.is_cancelled() || now_ms >= duty.assignment.until_unix_ms
    }

    /// Waits, or until it is stopped.
    fn pause(&self, pause: Duration) {
        self.leaving.wait(pause);
    }

    /// Puts what was sent and received since on the disk.
    fn count(&self) {
        let (bytes, now_s) = (self.broker.take_bytes(), unix_ms() / 1000);
        if let Err(error) = lock(&self.traffic).add(bytes, now_s) {
            tracing::warn!(%error, "what was sent is not counted");
        }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Id, UnderWay>> {
        lock(&self.under_way)
    }
}

/// Duties in groups that are done at once: probes of one node in one round; anything else alone.
fn together(duties: Vec<Duty>) -> Vec<Vec<Duty>> {
    let is_probe = |duty: &Duty| {
        Due::of_name(&duty.assignment.duty).is_some_and(|due| due.duty == Kind::Capacity)
    };
    let of = |duty: &Duty| (duty.assignment.round, duty.assignment.node_key_id.clone());
    let mut groups: Vec<Vec<Duty>> = Vec::new();
    for duty in duties {
        let same = |group: &&mut Vec<Duty>| {
            is_probe(&duty) && is_probe(&group[0]) && of(&group[0]) == of(&duty)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(duty),
            None => groups.push(vec![duty]),
        }
    }
    groups
}

/// The next work; `None` once nobody hands out any more.
fn next(queue: &Mutex<Receiver<Work>>) -> Option<Work> {
    lock(queue).recv().ok()
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn id_of(duty: &Duty) -> Id {
    let of = &duty.assignment;
    (of.round, of.duty.clone(), of.node_key_id.clone())
}

fn said(duty: &Duty, outcome: Outcome) -> Report {
    Report {
        round: duty.assignment.round,
        duty: duty.assignment.duty.clone(),
        node_key_id: duty.assignment.node_key_id.clone(),
        outcome,
    }
}

/// A reason that a broker takes: on one line, and not too long.
fn missed(why: &str) -> Outcome {
    let plain = why.chars().filter(|c| !c.is_control());
    let mut short = String::new();
    for c in plain {
        if short.len() + c.len_utf8() > WHY_BYTES_MAX {
            break;
        }
        short.push(c);
    }
    Outcome::Missed { why: short }
}

/// How long to wait after so many failures: twice as long each time, and a part of it by chance (0 to 1), so that
/// not all checkers come back at once.
pub(crate) fn backoff(failed: u32, chance: f64) -> Duration {
    let longest = BACKOFF.0.saturating_mul(1 << failed.min(10)).min(BACKOFF.1);
    longest.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod test;
