//! What an earlier agent left, as [`crate::adopt`] found it: it goes on, or is taken apart, or is over.

use super::{Agent, ended};
use crate::ended::Ended;
use crate::job;
use crate::meters;
use crate::process::Process;
use crate::session::driver::Driver;
use crate::session::record::Record;
use nearlight_protocol::control::SessionReport;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::unit::U64;
use nearlight_protocol::usage::UsageFacts;

impl Agent {
    /// Takes over a session whose worker and app run.
    pub(crate) fn adopt(&mut self, record: Record, worker: Process) {
        tracing::info!(session_id = %record.session, "session adopted");
        meters::session_adopted();
        let (host, agent) = (self.host.clone(), self.address.clone());
        let (driver, handle) = Driver::adopted(host, record.clone(), agent, worker);
        self.own(record, driver, handle);
    }

    /// Takes over a job whose container is there.
    pub(crate) fn adopt_job(&mut self, record: job::record::Record) {
        tracing::info!(session_id = %record.session, "job adopted");
        meters::session_adopted();
        self.take_gpus(&record);
        let (host, agent) = (self.host.clone(), self.address.clone());
        let (driver, handle) = job::driver::Driver::adopted(host, record.clone(), agent);
        self.own_job(record, driver, handle);
    }

    /// Takes apart what is left of a session that has ended: it holds its slot until nothing is.
    pub(crate) fn clear_away(&mut self, record: Record, worker: Option<Process>, ended: &Ended) {
        say_lost(ended);
        let (host, agent) = (self.host.clone(), self.address.clone());
        let over = (record.clone(), ended.ending());
        let (driver, handle) = Driver::over(host, over, agent, worker);
        self.own(record, driver, handle);
    }

    /// The same of a job, which holds its GPUs too.
    pub(crate) fn clear_job_away(&mut self, record: job::record::Record, ended: &Ended) {
        say_lost(ended);
        self.take_gpus(&record);
        let (host, agent) = (self.host.clone(), self.address.clone());
        let over = (record.clone(), ended.ending());
        let (driver, handle) = job::driver::Driver::over(host, over, agent);
        self.own_job(record, driver, handle);
        self.post_used((&ended.session, ended.epoch), ended.used);
    }

    /// Remembers, for the broker, a session of which nothing is left.
    pub(crate) fn lost(&mut self, lost: &Ended) {
        say_lost(lost);
        if let Err(error) = lost.write(&self.host.config.data) {
            tracing::error!(session_id = %lost.session, %error, "cannot write down how a session ended");
        }
        self.release(&lost.session);
        meters::session_ended(lost.reason);
        self.post_used((&lost.session, lost.epoch), lost.used);
        self.post(&lost.session, lost.epoch, ended(lost.ending()));
    }

    /// Remembers, for the broker, how a session ended under an earlier agent.
    pub(crate) fn remember(&mut self, ended: &Ended) {
        self.board.restore(ended);
    }

    fn post_used(&mut self, (session, epoch): (&SessionId, U64), used: Option<UsageFacts>) {
        if let Some(facts) = used {
            self.post(session, epoch, SessionReport::Used { facts });
        }
    }
}

fn say_lost(ended: &Ended) {
    tracing::warn!(session_id = %ended.session, reason = ?ended.reason, detail = %ended.detail, "a session of an earlier agent has ended");
}
