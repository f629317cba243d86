//! What makes a run of `loadtest sessions` worth nothing: something easier was measured than what was to be.

use super::{Args, Report, Tally};
use std::time::Duration;

/// By when a session that was acked is started, and one whose time is over has ended.
const SETTLED: Duration = Duration::from_secs(2);

/// Sessions that had the time for something before the broker was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) started: usize,
    pub(super) ended: usize,
}

impl Tally {
    /// What had to be started, and over, by the end.
    pub(super) fn due(&self, args: &Args) -> Due {
        let until = |before: Duration| {
            let last = Duration::from_secs(args.seconds.into()).saturating_sub(before);
            let seconds = usize::try_from(last.as_secs()).unwrap_or(usize::MAX);
            self.answered.iter().take(seconds).sum()
        };
        Due {
            started: until(SETTLED),
            ended: until(SETTLED + Duration::from_millis(args.hold_ms)),
        }
    }
}

/// Whether there are none. Each is said.
#[expect(clippy::print_stderr, reason = "the report is on standard output")]
pub(super) fn none_of(report: &Report) -> bool {
    let faults = faults(report);
    for fault in &faults {
        eprintln!("loadtest sessions: {fault}");
    }
    faults.is_empty()
}

fn faults(of: &Report) -> Vec<String> {
    let short = |found: u64, due: usize| found < u64::try_from(due).unwrap_or(u64::MAX);
    let said = [
        (of.created == 0, "nothing was created".to_owned()),
        (
            of.missing != 0,
            format!("{} acked sessions are missing", of.missing),
        ),
        (
            !of.others.is_empty(),
            format!("other answers than 201: {:?}", of.others),
        ),
        (
            of.streams_lost != 0,
            format!("{} control streams were lost", of.streams_lost),
        ),
        (
            short(of.started, of.started_due),
            format!(
                "{} sessions were started, {} were to be",
                of.started, of.started_due
            ),
        ),
        (
            short(of.ended, of.ended_due),
            format!("{} sessions ended, {} were to", of.ended, of.ended_due),
        ),
    ];
    let found = said.into_iter().filter(|(is_so, _)| *is_so);
    found.map(|(_, said)| said).collect()
}

#[cfg(test)]
mod test {
    use super::*;
    use std::collections::BTreeMap;

    fn sound() -> Report {
        Report {
            rate: 10,
            seconds: 10,
            nodes: 1,
            slots: 1,
            created: 100,
            created_per_s: 10.0,
            ms_p50: 1.0,
            ms_p90: 1.0,
            ms_p99: 1.0,
            ms_max: 1.0,
            ms_p99_by_second: Vec::new(),
            others: BTreeMap::new(),
            cut_off: 3,
            placed_at_once: 100,
            started: 90,
            started_due: 80,
            ended: 30,
            ended_due: 30,
            streams_lost: 0,
            found: 100,
            missing: 0,
            durability: BTreeMap::new(),
            fdatasync_ms_p50: 1.0,
            disk: String::new(),
            broker_cores: 1.0,
            broker_rss_kib: 1,
        }
    }

    #[test]
    fn a_run_that_measured_something_easier_is_none() {
        assert_eq!(faults(&sound()), [""; 0]);
        let changes: [fn(&mut Report); 6] = [
            |of| of.created = 0,
            |of| of.missing = 1,
            |of| of.others = BTreeMap::from([(503, 1)]),
            |of| of.streams_lost = 1,
            |of| of.started = 79,
            |of| of.ended = 29,
        ];
        for change in changes {
            let mut report = sound();
            change(&mut report);
            assert_eq!(faults(&report).len(), 1, "{report:?}");
        }
    }

    #[test]
    fn what_was_answered_a_moment_ago_need_not_have_run() {
        let args = Args {
            rate: 10,
            seconds: 10,
            nodes: 1,
            slots: 1,
            hold_ms: 5000,
            connections: 1,
            ledger: None,
            data: "d".into(),
            broker: None,
            seed: 1,
        };
        let mut tally = Tally::new();
        for second in 0..11 {
            tally.answered_in(second, 10);
        }
        let due = Due {
            started: 80,
            ended: 30,
        };
        assert_eq!(tally.due(&args), due);
    }
}
