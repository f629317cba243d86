//! What a heartbeat says of the host, from `/proc`.

use nearlight_protocol::control::Heartbeat;
use std::fs;

/// Remembers the last look, for CPU use is a difference.
#[derive(Debug, Default)]
pub(super) struct Load {
    last: Option<CpuTicks>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CpuTicks {
    busy: u64,
    all: u64,
    cores: u64,
}

impl Load {
    /// Since the last look; zeros where the kernel does not say.
    pub(super) fn sample(&mut self) -> Heartbeat {
        let now = fs::read_to_string("/proc/stat")
            .ok()
            .and_then(|text| parse_stat(&text));
        let cpu_milli_used = match (self.last, now) {
            (Some(last), Some(now)) => used(last, now),
            (None | Some(_), _) => 0,
        };
        self.last = now;
        Heartbeat {
            cpu_milli_used,
            mem_mib_available: mem_mib("MemAvailable:").unwrap_or(0),
            ..Heartbeat::default()
        }
    }
}

/// A line of `/proc/meminfo`, in MiB.
pub(crate) fn mem_mib(name: &str) -> Option<u32> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kib: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()?;
    u32::try_from(kib / 1024).ok()
}

fn used(last: CpuTicks, now: CpuTicks) -> u32 {
    let all = now.all.saturating_sub(last.all).max(1);
    let busy = now.busy.saturating_sub(last.busy);
    u32::try_from(busy * now.cores * 1000 / all).unwrap_or(u32::MAX)
}

fn parse_stat(text: &str) -> Option<CpuTicks> {
    // user nice system idle iowait irq softirq steal; guest time is in user already.
    let fields: Vec<u64> = text
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_ascii_whitespace()
        .take(8)
        .map_while(|field| field.parse().ok())
        .collect();
    let idle = fields.get(3)? + fields.get(4)?;
    let all: u64 = fields.iter().sum();
    let cores = text
        .lines()
        .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
        .count();
    Some(CpuTicks {
        busy: all - idle,
        all,
        cores: u64::try_from(cores).ok()?.max(1),
    })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn cpu_use_is_what_was_not_idle() {
        let first = "cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1\ncpu1 1\nintr 5\n";
        let second = "cpu  150 0 150 750 150 0 0 0 60 0\ncpu0 1\ncpu1 1\n";
        let (first, second) = (parse_stat(first).unwrap(), parse_stat(second).unwrap());
        // Half of two cores.
        assert_eq!(used(first, second), 1000);
        assert_eq!(parse_stat("nonsense"), None);
    }

    #[test]
    fn this_host_says_something() {
        let mut load = Load::default();
        load.sample();
        assert!(load.sample().mem_mib_available > 0);
    }
}
