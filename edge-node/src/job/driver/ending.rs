//! The end of a job: what is said of it, and how it is taken apart.

use super::{Done, Driver, Duration, EndReason, Ending, teardown, with_words};
use crate::ended::Ended;
use crate::limits::{DRAIN_STOP_GRACE, ENGINE_DEADLINE};
use std::sync::PoisonError;

impl Driver {
    /// Of a job that did not end by itself, its last check and its log may say why it had to.
    pub(super) async fn add_last_words(&self, ending: &mut Ending) {
        if ending.reason == EndReason::JobStartTimeout {
            ending.detail = with_words(&ending.detail, &self.why_not_healthy.words());
        }
        let wanted = matches!(
            ending.reason,
            EndReason::JobStartTimeout | EndReason::JobUnhealthy
        );
        if let (true, Some(jobs), Some(container)) =
            (wanted, &self.host.jobs, &self.record.container)
        {
            let words = super::super::log::last_words(&jobs.engine, container).await;
            ending.detail = with_words(&ending.detail, &words);
        }
    }

    /// Takes everything apart. A start that is under way is waited for: a container that comes up after its
    /// session is gone would be leaked. One that `was_over` has had its grace.
    pub(super) async fn end(&mut self, ending: &Ending, was_over: bool) {
        self.show();
        self.close_ports();
        self.host.tunnels.endpoints().leave(&self.record.session);
        self.stop_checks();
        self.await_launch().await;
        self.chores.shutdown().await;
        let grace = Duration::from_secs(self.record.spec.time.stop_s.into());
        let grace = match ending.reason {
            _ if was_over => Duration::ZERO,
            EndReason::NodeDrained => grace.min(DRAIN_STOP_GRACE),
            _ => grace,
        };
        let run = (&self.record.session, self.record.epoch);
        let meter = *self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        let used = meter.facts(self.used_of_gpus());
        let ended = Ended::now(run, ending).having_used(used);
        if let Some(jobs) = &self.host.jobs {
            let at = (self.host.config.data.as_path(), &self.record);
            let runtime = self.host.runtime.as_ref();
            let how = (Some(ended), grace, self.asked);
            teardown::tear_down(jobs, runtime, at, how).await;
        }
    }

    async fn await_launch(&mut self) {
        let outcome = async {
            while self.launching {
                match self.chores.join_next().await {
                    Some(Ok(Done::Launched(launched))) => {
                        self.launching = false;
                        if let Ok(launched) = launched.0 {
                            self.record.container = Some(launched.container);
                        }
                    }
                    Some(Ok(_) | Err(_)) => {}
                    None => self.launching = false,
                }
            }
        };
        let answered = tokio::time::timeout(4 * ENGINE_DEADLINE, outcome).await;
        if answered.is_err() {
            tracing::error!(
                "the engine never answered to a start; whatever comes of it is removed"
            );
        }
    }
}
