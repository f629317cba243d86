//! The machine that was measured on: without it no figure means anything.

use serde::Serialize;

/// What is known of the machine and of who else used it.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Machine {
    /// Of the first core.
    pub(super) cpu: String,
    /// That we may use.
    pub(super) cores: usize,
    /// Of memory.
    pub(super) memory_mib: u64,
    /// Name and release.
    pub(super) kernel: String,
    /// As it names itself.
    pub(super) browser: String,
    /// Version of this program.
    pub(super) nearlight: &'static str,
    /// What the stream was encoded with and how large it was, in the player page's words.
    pub(super) stream: String,
    /// One-minute load average before the first run.
    pub(super) load_before: f64,
    /// And after the last.
    pub(super) load_after: f64,
}

impl Machine {
    /// Looks; what cannot be read is left empty.
    pub(super) fn look(browser: &str) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            memory_mib: memory_mib(&read("/proc/meminfo")),
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            browser: browser.to_owned(),
            nearlight: env!("CARGO_PKG_VERSION"),
            stream: String::new(),
            load_before: load(),
            load_after: 0.0,
        }
    }
}

/// The one-minute load average: far above what was there before means that somebody else was busy.
pub(super) fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory_mib(meminfo: &str) -> u64 {
    let total = field(meminfo, "MemTotal").unwrap_or_default();
    let kib = total.split_whitespace().next();
    kib.and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) / 1024
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let cpuinfo =
            "processor\t: 0\nmodel name\t: Fast CPU\nprocessor\t: 1\nmodel name\t: Other\n";
        assert_eq!(field(cpuinfo, "model name").as_deref(), Some("Fast CPU"));
        assert_eq!(field(cpuinfo, "flags"), None);
        assert_eq!(memory_mib("MemTotal:  2048 kB\nMemFree: 1 kB\n"), 2);
        assert_eq!(memory_mib(""), 0);
    }
}
