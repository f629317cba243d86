//! What callers have of a job's answers once its ports are closed.
//!
//! **Invariant.** A session that this node has lost is served for [`FINISH_WITHIN`] at the most: it may run elsewhere.
//! Any other end leaves callers what the container has to say while it stops, within what a stop of the node waits for.
//!
//! **What it does not know:** whether the container says anything.

use super::Driver;
use crate::limits::DRAIN_STOP_GRACE;
use crate::tunnel::FINISH_WITHIN;
use nearlight_protocol::api::EndReason;
use std::time::Duration;

impl Driver {
    pub(super) fn close_ports(&mut self) {
        let endpoints = self.host.tunnels.endpoints();
        let stop = Duration::from_secs(self.record.spec.time.stop_s.into());
        let finish = finish_within(self.machine.ends(), stop);
        endpoints.close_within(&self.record.session, finish);
        self.seen = endpoints.seen(&self.record.session);
    }
}

/// For what is under way: of a job that `ends` for that reason, or is started again, whose container has `stop`.
fn finish_within(ends: Option<EndReason>, stop: Duration) -> Duration {
    match ends {
        Some(EndReason::NodeLost) => FINISH_WITHIN,
        Some(_) | None => stop.clamp(FINISH_WITHIN, DRAIN_STOP_GRACE),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn callers_have_the_time_of_the_container_unless_its_session_is_lost() {
        let check = |ends, stop_s, expected| {
            let finish = finish_within(ends, Duration::from_secs(stop_s));
            assert_eq!(finish, expected, "{ends:?} {stop_s}");
        };
        for ends in [
            None,
            Some(EndReason::PlayerEnded),
            Some(EndReason::NodeDrained),
        ] {
            check(ends, 7, Duration::from_secs(7));
            check(ends, 600, DRAIN_STOP_GRACE);
            // What it has said before is on its way all the same.
            check(ends, 0, FINISH_WITHIN);
        }
        check(Some(EndReason::NodeLost), 600, FINISH_WITHIN);
    }
}
