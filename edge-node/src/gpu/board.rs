//! The GPUs that this node gives to jobs: which session has which, and how each is.
//!
//! ```text
//!   free --take--> a job's --give back--> releasing --memory is back, or time is up--> free
//! ```
//!
//! **Invariants.** A GPU is one session's, or nobody's. It is given only while it is free, well, and its memory
//! is back from who had it before. Who gives GPUs back waits until the driver has, for a bounded time: what
//! is not back then is told to the broker with the reason, and is offered again once it is.
//!
//! **What it does not know:** where readings come from, the broker's claims.

use super::health::{Fault, fault, leftover};
use super::reading::Reading;
use super::telling;
use super::xids::{ByGpu, Xids};
use crate::meters;
use nearlight_protocol::control::Gpu;
use nearlight_protocol::gpu::GpuSeen;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::usage::UsageFacts;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Why a job cannot have a GPU.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotGiven {
    /// Its grant does not name as many as its spec asks for.
    #[error(
        "the grant names {named} GPUs and the job asks for {asked}; the broker is of a version that claims no single GPUs"
    )]
    Unnamed {
        /// In the grant.
        named: usize,
        /// In the spec.
        asked: u32,
    },
    /// It is not here, or not for jobs, or named twice.
    #[error("this node gives no GPU {0} to jobs")]
    Lacks(String),
    /// Another session has it.
    #[error("session {by} has the GPU {uuid}")]
    Held {
        /// Which.
        uuid: String,
        /// Who has it.
        by: SessionId,
    },
    /// It is not well, or its memory is not back.
    #[error("the GPU {uuid} takes no job: {why}")]
    Sick {
        /// Which.
        uuid: String,
        /// Why.
        why: String,
    },
}

/// What a job used of a GPU, as it was sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// The most memory, MiB.
    pub(crate) mib_max: u64,
    mib_sum: u64,
    mib_looks: u64,
    busy_sum: u64,
    looks: u64,
}

impl Used {
    /// `before_mib` is what is in use of it with no program there.
    fn add(&mut self, reading: &Reading, before_mib: Option<u64>) {
        if let Some(mib) = memory(reading, before_mib) {
            self.mib_max = self.mib_max.max(mib);
            self.mib_sum += mib;
            self.mib_looks += 1;
        }
        if let Some(percent) = reading.busy_percent {
            self.busy_sum += u64::from(percent);
            self.looks += 1;
        }
    }

    /// What it comes to with that of the job's other GPUs.
    pub(crate) fn facts(all: &[Self]) -> UsageFacts {
        let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let known = |own: fn(&Self) -> Option<u64>| -> Option<Vec<u64>> {
            let values: Option<Vec<u64>> = all.iter().map(own).collect();
            values.filter(|values| !values.is_empty())
        };
        let peaks = known(|used| (used.mib_looks > 0).then_some(used.mib_max));
        let means = known(|used| used.mib_sum.checked_div(used.mib_looks));
        let busy = known(Self::busy_percent);
        UsageFacts {
            gpu_mem_mib_peak: peaks.map(|peaks| narrow(peaks.iter().sum())),
            gpu_mem_mib_mean: means.map(|means| narrow(means.iter().sum())),
            gpu_busy_percent_mean: busy
                .map(|busy| narrow(busy.iter().sum::<u64>() / busy.len() as u64)),
            ..UsageFacts::default()
        }
    }

    /// Mean of the share of time in which a kernel ran, per cent; `None` where the driver does not tell.
    pub(crate) fn busy_percent(&self) -> Option<u64> {
        self.busy_sum.checked_div(self.looks)
    }
}

/// What the programs of a GPU have of its memory, MiB: what the driver says of each, if it does of all; else
/// what is in use beyond what was with no program there.
fn memory(reading: &Reading, before_mib: Option<u64>) -> Option<u64> {
    // An agent that does not see the host's processes is told of none.
    let processes = reading.processes.as_ref().filter(|all| !all.is_empty());
    let each = processes.and_then(|all| {
        let each: Option<Vec<u64>> = all.iter().map(|process| process.used_mib).collect();
        each.map(|each| each.iter().sum())
    });
    let beyond = |used: u64| used.saturating_sub(before_mib.unwrap_or(0));
    each.or_else(|| reading.used_mib.map(beyond))
}

/// What is said of a GPU that a look did not find. Its job goes on: it may be the driver that hangs.
const MISSING: &str = "the driver does not list it, or does not answer; reboot";

#[derive(Clone, Debug)]
struct Unit {
    gpu: Gpu,
    holder: Option<SessionId>,
    /// Nobody's, and its memory is waited for.
    releasing: bool,
    /// The next look may have begun before it was given back.
    stale: bool,
    /// Memory in use when it was known to be free, MiB.
    before_mib: Option<u64>,
    xids: BTreeSet<u64>,
    /// Whether the last look did not find it.
    missing: bool,
    reading: Reading,
    used: Used,
}

impl Unit {
    fn fault(&self) -> Option<Fault> {
        fault(&self.reading, &self.xids)
    }

    /// Why it takes no job; of one that somebody has, what is wrong with the GPU alone.
    fn sick(&self) -> Option<String> {
        let left = || match self.holder {
            Some(_) => None,
            None => leftover(&self.reading, self.before_mib),
        };
        let missing = || self.missing.then(|| MISSING.to_owned());
        let why = self.fault().map(|fault| fault.why);
        why.or_else(missing).or_else(left)
    }

    fn read(&mut self, reading: &Reading, xids: &BTreeSet<u64>) {
        self.xids.extend(xids);
        self.reading = reading.clone();
        match &self.holder {
            Some(_) => self.used.add(reading, self.before_mib),
            None if is_unused(reading) && leftover(reading, self.before_mib).is_none() => {
                // The least that was ever seen without a program, but not above what is believed of the unseen.
                self.before_mib = match (self.before_mib, reading.used_mib) {
                    (Some(before), Some(used)) => Some(before.min(used)),
                    (before, used) => before.or(used),
                };
            }
            None => {}
        }
    }
}

fn is_unused(reading: &Reading) -> bool {
    reading.processes.as_ref().is_some_and(Vec::is_empty)
}

/// What was read of every GPU in one look, by its UUID, and which XIDs it had since the last.
pub(crate) type Look = BTreeMap<String, (Reading, BTreeSet<u64>)>;

/// What there is to tell after a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// What the broker is to be told of the GPUs, if that has changed.
    pub(crate) offer: Option<Vec<Gpu>>,
    /// Jobs that cannot go on.
    pub(crate) lost: Vec<SessionId>,
}

/// The GPUs for jobs.
#[derive(Debug)]
pub(crate) struct Board {
    units: Mutex<Vec<Unit>>,
    told: Mutex<Vec<Gpu>>,
    looks: watch::Sender<u64>,
    /// Where XIDs are kept for the next agent.
    kept: Option<Xids>,
}

impl Board {
    pub(crate) fn new(gpus: Vec<Gpu>) -> Self {
        let unit = |gpu: &Gpu| Unit {
            gpu: gpu.clone(),
            holder: None,
            releasing: false,
            stale: false,
            before_mib: None,
            xids: BTreeSet::new(),
            missing: false,
            reading: Reading::default(),
            used: Used::default(),
        };
        Self {
            units: Mutex::new(gpus.iter().map(unit).collect()),
            told: Mutex::new(gpus),
            looks: watch::Sender::new(0),
            kept: None,
        }
    }

    /// With the XIDs that an earlier agent saw; they are kept there for the next one, too.
    pub(crate) fn keeping(mut self, (kept, seen): (Xids, ByGpu)) -> Self {
        self.with(|units| {
            for unit in units.iter_mut() {
                unit.xids
                    .extend(seen.get(&unit.gpu.uuid).into_iter().flatten());
            }
        });
        // The first broker hears of it.
        self.told = Mutex::new(self.offer());
        self.kept = Some(kept);
        self
    }

    fn xids(&self) -> ByGpu {
        let of = |unit: &Unit| (unit.gpu.uuid.clone(), unit.xids.clone());
        self.with(|units| units.iter().map(of).collect())
    }

    fn with<T>(&self, f: impl FnOnce(&mut Vec<Unit>) -> T) -> T {
        f(&mut self.units.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.with(|units| units.is_empty())
    }

    /// As the broker is told of them.
    pub(crate) fn offer(&self) -> Vec<Gpu> {
        let shown = |unit: &Unit| Gpu {
            // What is waited for is still claimed, and is likely to be well when it is not.
            sick: match unit.releasing && unit.fault().is_none() && !unit.missing {
                true => String::new(),
                false => unit.sick().unwrap_or_default(),
            },
            ..unit.gpu.clone()
        };
        self.with(|units| units.iter().map(shown).collect())
    }

    /// What the last look read of those that it found.
    pub(crate) fn seen(&self) -> Vec<GpuSeen> {
        let was_read = |unit: &&Unit| !unit.missing && unit.reading != Reading::default();
        let seen = |unit: &Unit| GpuSeen {
            uuid: unit.gpu.uuid.clone(),
            reading: telling::on_the_wire(&unit.reading, &unit.xids),
        };
        self.with(|units| units.iter().filter(was_read).map(seen).collect())
    }

    /// Whether a session may have these.
    ///
    /// # Errors
    /// Why not, of the first that it may not have.
    pub(crate) fn check(&self, uuids: &[String], asked: u32) -> Result<(), NotGiven> {
        if u32::try_from(uuids.len()) != Ok(asked) {
            let named = uuids.len();
            return Err(NotGiven::Unnamed { named, asked });
        }
        let distinct: BTreeSet<&String> = uuids.iter().collect();
        if distinct.len() != uuids.len() {
            return Err(NotGiven::Lacks("twice".to_owned()));
        }
        self.with(|units| uuids.iter().try_for_each(|uuid| may_have(units, uuid)))
    }

    /// Whether a GPU that is well and no job's is kept from jobs by somebody's program, or by memory that is in use.
    pub(crate) fn is_in_use(&self, uuid: &str) -> bool {
        let is_kept = |unit: &Unit| {
            let is_free = unit.holder.is_none() && !unit.missing && unit.fault().is_none();
            is_free && leftover(&unit.reading, unit.before_mib).is_some()
        };
        self.with(|units| {
            units
                .iter()
                .any(|unit| unit.gpu.uuid == uuid && is_kept(unit))
        })
    }

    /// Gives these to a session, whatever they are: what it asked for was checked, or it has them already.
    pub(crate) fn take(&self, session: &SessionId, uuids: &[String]) {
        self.with(|units| {
            for unit in units.iter_mut().filter(|u| uuids.contains(&u.gpu.uuid)) {
                unit.holder = Some(session.clone());
                unit.releasing = false;
                unit.used = Used::default();
            }
        });
    }

    /// Takes a look in. An empty one says that nobody could look.
    pub(crate) fn look(&self, look: &Look) -> News {
        let had = self.xids();
        let lost = self.with(|units| {
            for unit in units.iter_mut() {
                unit.missing = !look.contains_key(&unit.gpu.uuid);
                if let Some((reading, xids)) = look.get(&unit.gpu.uuid) {
                    unit.read(reading, xids);
                    let is_new = !std::mem::take(&mut unit.stale);
                    if is_new && leftover(reading, unit.before_mib).is_none() {
                        unit.releasing = false;
                    }
                }
                meters::gpu(&unit.gpu.uuid, &unit.reading, unit.sick().is_some());
            }
            let ends = |unit: &&Unit| unit.fault().is_some_and(|fault| fault.ends_job);
            let lost = units.iter().filter(ends);
            lost.filter_map(|unit| unit.holder.clone()).collect()
        });
        let xids = self.xids();
        if let Some(kept) = self.kept.as_ref().filter(|_| xids != had) {
            kept.keep(xids);
        }
        self.looks.send_modify(|looks| *looks += 1);
        News {
            offer: self.news(),
            lost,
        }
    }

    /// The offer, if it is not what was told last.
    fn news(&self) -> Option<Vec<Gpu>> {
        let now = self.offer();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        (*told != now).then(|| {
            told.clone_from(&now);
            now
        })
    }

    /// Why a session's GPUs end it, if they do.
    pub(crate) fn fault_of(&self, session: &SessionId) -> Option<String> {
        self.with(|units| {
            let own = units.iter().filter(|u| u.holder.as_ref() == Some(session));
            let faults = own.filter_map(|unit| Some((unit, unit.fault()?)));
            let mut ends = faults.filter(|(_, fault)| fault.ends_job);
            ends.next()
                .map(|(unit, fault)| format!("GPU {}: {}", unit.gpu.uuid, fault.why))
        })
    }

    /// What a session has used so far of each of its GPUs.
    pub(crate) fn used(&self, session: &SessionId) -> Vec<Used> {
        self.with(|units| {
            let own = units.iter().filter(|u| u.holder.as_ref() == Some(session));
            own.map(|unit| unit.used).collect()
        })
    }

    /// Whether somebody waits for memory that is to come back: the next look should be soon.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.with(|units| units.iter().any(|unit| unit.releasing))
    }

    /// Takes a session's GPUs back, and waits until their memory is, for `patience` at most. Returns what it
    /// used of each.
    pub(crate) async fn give_back(&self, session: &SessionId, patience: Duration) -> Vec<Used> {
        let mut looks = self.looks.subscribe();
        looks.mark_unchanged();
        let (own, used): (Vec<String>, Vec<Used>) = self.with(|units| {
            let own = units.iter_mut();
            let own = own.filter(|u| u.holder.as_ref() == Some(session));
            own.map(|unit| {
                unit.holder = None;
                (unit.releasing, unit.stale) = (true, true);
                (unit.gpu.uuid.clone(), unit.used)
            })
            .unzip()
        });
        if own.is_empty() {
            return used;
        }
        let is_back = |unit: &Unit| !own.contains(&unit.gpu.uuid) || !unit.releasing;
        let all_back = async {
            while looks.changed().await.is_ok() {
                if self.with(|units| units.iter().all(is_back)) {
                    break;
                }
            }
        };
        if tokio::time::timeout(patience, all_back).await.is_err() {
            tracing::error!(session_id = %session, "the memory of a job's GPUs is not back; they take no job until it is");
        }
        self.with(|units| {
            for unit in units.iter_mut().filter(|u| own.contains(&u.gpu.uuid)) {
                unit.releasing = false;
            }
        });
        used
    }
}

fn may_have(units: &[Unit], uuid: &String) -> Result<(), NotGiven> {
    let unit = units.iter().find(|unit| unit.gpu.uuid == *uuid);
    let unit = unit.ok_or_else(|| NotGiven::Lacks(uuid.clone()))?;
    if let Some(by) = &unit.holder {
        return Err(NotGiven::Held {
            uuid: uuid.clone(),
            by: by.clone(),
        });
    }
    let waits = unit.releasing.then(|| "its memory is not back".to_owned());
    match unit.sick().or(waits) {
        None => Ok(()),
        Some(why) => Err(NotGiven::Sick {
            uuid: uuid.clone(),
            why,
        }),
    }
}

#[cfg(test)]
#[path = "board/test.rs"]
mod test;
