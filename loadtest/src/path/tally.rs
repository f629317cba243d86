//! What a relay reports: counts by cause, and how long packets stood in the bottleneck's queue.
//!
//! A report covers everything since the start. A sample covers the time since the one before it, and
//! carries the waits in bins of a millisecond, so that quantiles over any choice of samples can be
//! had by adding bins.

use super::flight::Lane;
use hdrhistogram::Histogram;
use nearlight_sim::path::Counters;
use serde::Serialize;
use std::collections::BTreeMap;

/// The longest wait that is told apart; a minute is no queue any more.
const WAIT_MAX_US: u64 = 60_000_000;

/// One direction's statistics.
#[derive(Debug)]
pub(super) struct Tally {
    waits_us: Histogram<u64>,
    late_us: Histogram<u64>,
    bins_ms: BTreeMap<u64, u64>,
    sampled: Counters,
    /// Packets for which the relay had no room.
    pub(super) overflowed: u64,
    /// Packets that the kernel did not take.
    pub(super) unsent: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        // Three digits between a microsecond and a minute: the bounds are constants that fit.
        let histogram = || {
            Histogram::new_with_bounds(1, WAIT_MAX_US, 3)
                .unwrap_or_else(|error| unreachable!("constant bounds: {error}"))
        };
        Self {
            waits_us: histogram(),
            late_us: histogram(),
            bins_ms: BTreeMap::new(),
            sampled: Counters::default(),
            overflowed: 0,
            unsent: 0,
        }
    }

    /// A packet will have waited so long in the queue.
    pub(super) fn queued(&mut self, queued_us: u64) {
        self.waits_us.saturating_record(queued_us);
        *self.bins_ms.entry(queued_us / 1000).or_default() += 1;
    }

    /// A packet left so much later than it should.
    pub(super) fn left(&mut self, late_us: u64) {
        self.late_us.saturating_record(late_us);
    }
}

/// Quantiles of a delay, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Delay {
    /// Half are shorter.
    pub p50: f64,
    /// 95 in 100 are shorter.
    pub p95: f64,
    /// 99 in 100 are shorter.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Delay {
    fn of(histogram_us: &Histogram<u64>) -> Self {
        let at = |quantile: f64| histogram_us.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: histogram_us.max() as f64 / 1000.0,
        }
    }
}

/// One direction since the start.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Way {
    /// Packets and bytes, headers included, by what became of them.
    #[serde(flatten)]
    pub counters: Counters,
    /// Packets for which the relay had no room: a fault of the measurement, not of the path.
    pub overflowed: u64,
    /// Packets that the kernel did not take: a fault of the measurement too.
    pub unsent: u64,
    /// Waits in the bottleneck's queue, packet by packet.
    pub queue_ms: Delay,
    /// How late packets left, against the model.
    pub late_ms: Delay,
}

impl Way {
    pub(super) fn of(lane: &Lane) -> Self {
        Self {
            counters: *lane.path.counters(),
            overflowed: lane.tally.overflowed,
            unsent: lane.tally.unsent,
            queue_ms: Delay::of(&lane.tally.waits_us),
            late_ms: Delay::of(&lane.tally.late_us),
        }
    }
}

/// Everything since the start.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Since the first packet; zero if none came.
    pub elapsed_us: u64,
    /// Clients at the moment.
    pub clients: usize,
    /// Packets of clients for which there was no room.
    pub refused: u64,
    /// Node to clients.
    pub down: Way,
    /// Clients to node.
    pub up: Way,
}

/// One direction since the sample before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// Capacity in force at the end, kbit/s; `null` is without limit.
    pub rate_kbps: Option<u32>,
    /// Packets and bytes, headers included, by what became of them.
    #[serde(flatten)]
    pub counters: Counters,
    /// The wait of a packet that came at the end.
    pub backlog_ms: f64,
    /// Waits in the bottleneck's queue: milliseconds, rounded down, and packets.
    pub queue_bins_ms: Vec<(u64, u64)>,
}

/// What happened since the sample before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// The end, since the first packet.
    pub elapsed_us: u64,
    /// How long a time it covers.
    pub span_us: u64,
    /// Node to clients.
    pub down: Part,
    /// Clients to node.
    pub up: Part,
}

impl Part {
    /// Takes what `lane` did since the last call.
    pub(super) fn take(lane: &mut Lane, now_us: u64) -> Self {
        let now = *lane.path.counters();
        let before = std::mem::replace(&mut lane.tally.sampled, now);
        Self {
            rate_kbps: lane.path.conditions().rate_kbps,
            counters: difference(&now, &before),
            backlog_ms: lane.path.backlog_us(now_us) as f64 / 1000.0,
            queue_bins_ms: std::mem::take(&mut lane.tally.bins_ms)
                .into_iter()
                .collect(),
        }
    }
}

fn difference(now: &Counters, before: &Counters) -> Counters {
    Counters {
        offered: now.offered - before.offered,
        delivered: now.delivered - before.delivered,
        lost_queue: now.lost_queue - before.lost_queue,
        lost_random: now.lost_random - before.lost_random,
        lost_burst: now.lost_burst - before.lost_burst,
        reordered: now.reordered - before.reordered,
        offered_bytes: now.offered_bytes - before.offered_bytes,
        delivered_bytes: now.delivered_bytes - before.delivered_bytes,
    }
}
