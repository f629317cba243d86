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
    /// CPU time since it was started, nanoseconds.
    pub(crate) cpu_ns: Option<u64>,
    /// The most memory since then, or the memory now, bytes.
    pub(crate) mem_bytes: Option<u64>,
}

impl Sample {
    /// What an engine says of a container; of one that does not run it says nothing, in zeros.
    pub(crate) fn of(stats: &ContainerStatsResponse) -> Self {
        let cpu = stats
            .cpu_stats
            .as_ref()
            .and_then(|cpu| cpu.cpu_usage.as_ref());
        let memory = stats.memory_stats.as_ref();
        // Version 1 of control groups knows the peak. What is now has files in it that are cached.
        let peak = memory.and_then(|memory| memory.max_usage);
        let cached = memory.and_then(|memory| memory.stats.as_ref()?.get("inactive_file").copied());
        let now = memory.and_then(|memory| memory.usage);
        let now = now.map(|bytes| bytes.saturating_sub(cached.unwrap_or(0)));
        Self {
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
    mem_bytes_peak: Option<u64>,
}

impl Meter {
    /// Takes a sample in.
    pub(crate) fn add(&mut self, sample: Sample) {
        if let Some(now) = sample.cpu_ns {
            let last = self.cpu_ns.unwrap_or(0);
            // It counts from nothing: the run before is over.
            if now < last {
                self.cpu_ns_before = self.cpu_ns_before.saturating_add(last);
            }
            self.cpu_ns = Some(now);
        }
        self.mem_bytes_peak = self.mem_bytes_peak.max(sample.mem_bytes);
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
    fn an_engines_zeros_are_nothing_and_cached_files_are_no_memory() {
        let read = |text: &str| Sample::of(&serde_json::from_str(text).unwrap());
        let stopped = r#"{"cpu_stats":{"cpu_usage":{"total_usage":0}},"memory_stats":{}}"#;
        assert_eq!(read(stopped), Sample::default());
        assert_eq!(read("{}"), Sample::default());
        let second = r#"{"cpu_stats":{"cpu_usage":{"total_usage":7}},
            "memory_stats":{"usage":900,"stats":{"inactive_file":400}}}"#;
        let expected = Sample {
            cpu_ns: Some(7),
            mem_bytes: Some(500),
        };
        assert_eq!(read(second), expected);
        let first = r#"{"cpu_stats":{"cpu_usage":{"total_usage":7}},
            "memory_stats":{"usage":900,"max_usage":1200,"stats":{"inactive_file":400}}}"#;
        assert_eq!(read(first).mem_bytes, Some(1200));
    }
}
