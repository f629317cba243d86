//! What brokers are told of the GPUs for jobs beside what they are: what was read of them. With a heartbeat, once
//! a minute at most, and at once on a fresh stream, for a broker that hears of the node anew knows nothing of it.
//!
//! **What it does not know:** what a broker makes of it, and whether it is of a version that hears it at all.

use super::board::Board;
use super::reading::{Process, Reading};
use crate::limits::GPU_TELL_EVERY;
use nearlight_protocol::gpu::{GpuProcess, GpuReading, GpuSeen};
use nearlight_protocol::limits::{GPU_PROCESSES_MAX, GPU_XIDS_MAX};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::time::Instant;

/// What one stream was told.
#[derive(Debug)]
pub(crate) struct Telling {
    board: Option<Arc<Board>>,
    at: Option<Instant>,
}

impl Telling {
    /// On a fresh stream; `None` where no GPU is for jobs.
    pub(crate) const fn new(board: Option<Arc<Board>>) -> Self {
        Self { board, at: None }
    }

    /// What there is to tell now: nothing, most of the time.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<GpuSeen> {
        let is_due = self.at.is_none_or(|at| now >= at + GPU_TELL_EVERY);
        let board = self.board.as_ref().filter(|_| is_due);
        let seen = board.map(|board| board.seen()).unwrap_or_default();
        if !seen.is_empty() {
            self.at = Some(now);
        }
        seen
    }
}

/// A look as the wire has it.
pub(super) fn on_the_wire(reading: &Reading, xids: &BTreeSet<u64>) -> GpuReading {
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let xids = xids.iter().take(GPU_XIDS_MAX);
    GpuReading {
        vram_mib_used: reading.used_mib.map(narrow),
        busy_percent: reading.busy_percent,
        ecc_uncorrected: reading.ecc_volatile.map(narrow),
        ecc_uncorrected_ever: reading.ecc_aggregate.map(narrow),
        xids: xids.copied().map(narrow).collect(),
        processes: reading.processes.as_deref().map(largest),
    }
}

/// Those with the most memory; those of which the driver does not say come last.
fn largest(all: &[Process]) -> Vec<GpuProcess> {
    let mut all = all.to_vec();
    all.sort_by_key(|process| std::cmp::Reverse(process.used_mib));
    let shown = all.into_iter().take(GPU_PROCESSES_MAX).map(|process| {
        let narrow = |mib| u32::try_from(mib).unwrap_or(u32::MAX);
        GpuProcess {
            pid: process.pid,
            vram_mib_used: process.used_mib.map(narrow),
        }
    });
    shown.collect()
}

#[cfg(test)]
mod test {
    use super::super::board::Look;
    use super::*;
    use nearlight_protocol::control::Gpu;

    fn process(pid: u32, used_mib: Option<u64>) -> Process {
        Process { pid, used_mib }
    }

    #[test]
    fn every_value_is_told_that_is_known_and_the_largest_processes() {
        assert_eq!(
            on_the_wire(&Reading::default(), &BTreeSet::new()),
            GpuReading::default()
        );
        let many = (0..40).map(|pid| process(pid, Some(u64::from(pid))));
        let reading = Reading {
            used_mib: Some(u64::MAX),
            busy_percent: Some(99),
            ecc_volatile: Some(1),
            ecc_aggregate: Some(2),
            processes: Some([process(77, None)].into_iter().chain(many).collect()),
            ..Reading::default()
        };
        let told = on_the_wire(&reading, &[94, 31].into());
        assert_eq!(told.vram_mib_used, Some(u32::MAX));
        assert_eq!(told.busy_percent, Some(99));
        let ecc = (told.ecc_uncorrected, told.ecc_uncorrected_ever);
        assert_eq!(ecc, (Some(1), Some(2)));
        assert_eq!(told.xids, [31, 94]);
        let processes = told.processes.unwrap();
        assert_eq!(processes.len(), GPU_PROCESSES_MAX);
        assert_eq!((processes[0].pid, processes[15].pid), (39, 24));
        let few = largest(&[process(1, None), process(2, Some(5))]);
        assert_eq!(few.iter().map(|p| p.pid).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn a_stream_is_told_at_once_when_something_was_read_and_then_seldom() {
        let gpu = Gpu {
            uuid: "GPU-1".to_owned(),
            ..Gpu::default()
        };
        let board = Arc::new(Board::new(vec![gpu]));
        let start = Instant::now();
        let mut stream = Telling::new(Some(board.clone()));
        assert!(stream.due(start).is_empty(), "nobody has looked");
        let reading = Reading {
            used_mib: Some(900),
            ..Reading::default()
        };
        let look: Look = [("GPU-1".to_owned(), (reading, [31].into()))].into();
        board.look(&look);
        let told = stream.due(start);
        assert_eq!(told[0].uuid, "GPU-1");
        assert_eq!(told[0].reading.vram_mib_used, Some(900));
        assert_eq!(told[0].reading.xids, [31]);
        let almost = start + GPU_TELL_EVERY - std::time::Duration::from_millis(1);
        assert!(stream.due(almost).is_empty());
        assert_eq!(stream.due(start + GPU_TELL_EVERY).len(), 1);
        assert!(stream.due(start + GPU_TELL_EVERY).is_empty());
        let mut fresh = Telling::new(Some(board.clone()));
        assert_eq!(fresh.due(start + GPU_TELL_EVERY).len(), 1);
        // What the driver does not list any more was not read.
        board.look(&Look::new());
        assert!(Telling::new(Some(board)).due(start).is_empty());
        assert!(Telling::new(None).due(start).is_empty());
    }
}
