//! That a job is used, and what it uses: looked at now and then, and told to the broker.

use super::{Done, Driver, Duration, Meter, SessionReport, UsageFacts};
use crate::gpu::Used;
use crate::job::host::Jobs;
use crate::limits::SAMPLE_DEADLINE;
use crate::runtime::AppExit;
use std::sync::{Mutex, PoisonError};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// Ticks, the first one after a whole period.
pub(super) fn every(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Looks at a container, if its engine answers soon: one that does not has worse to tell elsewhere.
pub(super) async fn sample_into(meter: &Mutex<Meter>, jobs: &Jobs, container: &str) {
    let sample = jobs.engine.sample(container);
    if let Ok(Ok(sample)) = tokio::time::timeout(SAMPLE_DEADLINE, sample).await {
        let mut meter = meter.lock().unwrap_or_else(PoisonError::into_inner);
        meter.add(sample);
    }
}

impl Driver {
    /// Looks at its container, one look at a time.
    pub(super) fn spawn_sample(&mut self) {
        let Some(container) = self.record.container.clone() else {
            return;
        };
        if std::mem::replace(&mut self.is_sampling, true) {
            return;
        }
        let (host, meter) = (self.host.clone(), self.meter.clone());
        self.chores.spawn(async move {
            if let Some(jobs) = &host.jobs {
                sample_into(&meter, jobs, &container).await;
            }
            Done::Sampled
        });
    }

    /// Looks once more, before anything is taken apart.
    pub(super) async fn sample_last(&self) {
        if let (Some(jobs), Some(container)) = (&self.host.jobs, &self.record.container) {
            sample_into(&self.meter, jobs, container).await;
        }
    }

    /// Takes in what an exit says of the memory that it had: samples are seconds apart.
    pub(super) fn note_exit(&self, exit: &AppExit) {
        if exit.out_of_memory {
            let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
            meter.add_limit(self.record.spec.resources.mem_mib);
        }
    }

    /// What it has used of its GPUs so far.
    pub(super) fn used_of_gpus(&self) -> UsageFacts {
        let jobs = self.host.jobs.as_ref();
        jobs.map_or_else(UsageFacts::default, |jobs| {
            Used::facts(&jobs.gpus.used(&self.record.session))
        })
    }

    /// Tells the broker what it has used, if that is news.
    pub(super) async fn tell_used(&mut self, gpus: UsageFacts) {
        let meter = *self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        let facts = meter.facts(gpus);
        if facts != std::mem::replace(&mut self.told, facts) {
            self.tell(SessionReport::Used { facts }).await;
        }
    }

    /// Tells the broker that somebody has asked it something since the last time.
    pub(super) async fn tell_if_used(&mut self) {
        let seen = self.host.tunnels.endpoints().seen(&self.record.session);
        if std::mem::replace(&mut self.seen, seen) < seen {
            self.tell(SessionReport::InputSeen).await;
        }
    }
}
