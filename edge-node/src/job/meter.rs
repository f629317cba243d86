//! What a job has used so far of CPU and memory, from samples of its container.
//!
//! A container that is started again begins to count at nothing; a sum here goes on. What a container used
//! after its last sample, seconds before it ended by itself, nobody has seen.
//!
//! **What it does not know:** where samples come from, GPUs.

use bollard::models::ContainerStatsResponse;
use nearlight_protocol::usage::UsageFacts;

const MIB: u64 = 1024 * 1024;

/// One look at a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// The pid of its first process: another one is another run of it.
    pub(crate) run: Option<i32>,
    /// CPU time since it was started, nanoseconds.
    pub(crate) cpu_ns: Option<u64>,
    /// The most memory since then, or the memory now, bytes.
    pub(crate) mem_bytes: Option<u64>,
}

impl Sample {
    /// What an engine says of a container; of one that does not run it says nothing, in zeros. `peak` is what its
    /// control group says, where that does.
    pub(crate) fn of(stats: &ContainerStatsResponse, run: Option<i32>, peak: Option<u64>) -> Self {
        let cpu = stats
            .cpu_stats
            .as_ref()
            .and_then(|cpu| cpu.cpu_usage.as_ref());
        let memory = stats.memory_stats.as_ref();
        // An engine knows the peak of version 1 of control groups. What is now has files in it that are cached.
        let peak = peak.or_else(|| memory.and_then(|memory| memory.max_usage));
        let cached = memory.and_then(|memory| memory.stats.as_ref()?.get("inactive_file").copied());
        let now = memory.and_then(|memory| memory.usage);
        let now = now.map(|bytes| bytes.saturating_sub(cached.unwrap_or(0)));
        Self {
            run,
            cpu_ns: cpu.and_then(|cpu| cpu.total_usage).filter(|ns| *ns > 0),
            mem_bytes: peak
                .filter(|bytes| *bytes > 0)
                .or(now)
                .filter(|bytes| *bytes > 0),
        }
    }
}

/// What a job has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meter {
    /// Of the runs of its container that are over, nanoseconds.
    cpu_ns_before: u64,
    /// Of this run.
    cpu_ns: Option<u64>,
    /// Which that is.
    run: Option<i32>,
    mem_bytes_peak: Option<u64>,
}

impl Meter {
    /// Takes a sample in.
    pub(crate) fn add(&mut self, sample: Sample) {
        if let Some(now) = sample.cpu_ns {
            let last = self.cpu_ns.unwrap_or(0);
            let is_another =
                matches!((self.run, sample.run), (Some(last), Some(now)) if last != now);
            // It counts from nothing: the run before is over.
            if is_another || now < last {
                self.cpu_ns_before = self.cpu_ns_before.saturating_add(last);
            }
            self.cpu_ns = Some(now);
            self.run = sample.run.or(self.run);
        }
        self.mem_bytes_peak = self.mem_bytes_peak.max(sample.mem_bytes);
    }

    /// Takes in that the run was killed for memory: it had all that it may have, whatever samples saw.
    pub(crate) fn add_limit(&mut self, mib: u32) {
        self.mem_bytes_peak = self.mem_bytes_peak.max(Some(u64::from(mib) * MIB));
    }

    /// All that is known, with what is of its GPUs.
    pub(crate) fn facts(&self, gpus: UsageFacts) -> UsageFacts {
        let sum = |ns: u64| self.cpu_ns_before.saturating_add(ns) / 1_000_000;
        let mib = |bytes: u64| u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX);
        UsageFacts {
            cpu_ms: self.cpu_ns.map(sum),
            mem_mib_peak: self.mem_bytes_peak.map(mib),
            ..gpus
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn sample(cpu_ms: u64, mib: u64) -> Sample {
        Sample {
            run: None,
            cpu_ns: Some(cpu_ms * 1_000_000),
            mem_bytes: Some(mib * MIB),
        }
    }

    #[test]
    fn sums_go_on_over_restarts_and_peaks_stay() {
        let mut meter = Meter::default();
        assert!(meter.facts(UsageFacts::default()).is_empty());
        let of = |meter: &Meter| {
            let facts = meter.facts(UsageFacts::default());
            (facts.cpu_ms.unwrap(), facts.mem_mib_peak.unwrap())
        };
        for (next, expected) in [
            (sample(500, 100), (500, 100)),
            (sample(900, 80), (900, 100)),
            (Sample::default(), (900, 100)),
            (sample(200, 300), (1100, 300)),
            (sample(250, 10), (1150, 300)),
            (sample(50, 10), (1200, 300)),
        ] {
            meter.add(next);
            assert_eq!(of(&meter), expected, "{next:?}");
        }
    }

    #[test]
    fn a_run_that_used_more_at_once_than_the_one_before_does_not_take_its_place() {
        let mut meter = Meter::default();
        for (run, cpu_ms, sum) in [
            (7, 500, 500),
            (7, 900, 900),
            (8, 1000, 1900),
            (8, 1100, 2000),
        ] {
            meter.add(Sample {
                run: Some(run),
                ..sample(cpu_ms, 1)
            });
            assert_eq!(meter.facts(UsageFacts::default()).cpu_ms, Some(sum));
        }
    }

    #[test]
    fn a_job_that_was_killed_for_memory_had_all_of_it() {
        let mut meter = Meter::default();
        meter.add(sample(1, 80));
        meter.add_limit(512);
        assert_eq!(meter.facts(UsageFacts::default()).mem_mib_peak, Some(512));
        // With files that are cached it can be more.
        meter.add(sample(2, 513));
        meter.add_limit(512);
        assert_eq!(meter.facts(UsageFacts::default()).mem_mib_peak, Some(513));
    }

    #[test]
    fn an_engines_zeros_are_nothing_and_cached_files_are_no_memory() {
        let with = |text: &str, peak| Sample::of(&serde_json::from_str(text).unwrap(), None, peak);
        let read = |text: &str| with(text, None);
        let stopped = r#"{"cpu_stats":{"cpu_usage":{"total_usage":0}},"memory_stats":{}}"#;
        assert_eq!(read(stopped), Sample::default());
        assert_eq!(read("{}"), Sample::default());
        let second = r#"{"cpu_stats":{"cpu_usage":{"total_usage":7}},
            "memory_stats":{"usage":900,"stats":{"inactive_file":400}}}"#;
        let expected = Sample {
            run: None,
            cpu_ns: Some(7),
            mem_bytes: Some(500),
        };
        assert_eq!(read(second), expected);
        assert_eq!(with(second, Some(2000)).mem_bytes, Some(2000));
        let first = r#"{"cpu_stats":{"cpu_usage":{"total_usage":7}},
            "memory_stats":{"usage":900,"max_usage":1200,"stats":{"inactive_file":400}}}"#;
        assert_eq!(read(first).mem_bytes, Some(1200));
    }
}
