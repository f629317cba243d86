//! How fast bytes arrive, over a while and within one burst.
//!
//! While a queue stands at the bottleneck, the rate at which our packets arrive **is** what the path
//! gives us. And every frame is a probe that costs nothing: it leaves as a train of packets faster
//! than the path carries, and the spacing with which the train arrives says what the path could
//! carry at most (packet-pair dispersion, over a whole train). Shapers with a bucket and Wi-Fi that
//! aggregates flatter that figure, so it only says how boldly to climb, never how much to send.

use super::history::Sent;
use std::collections::VecDeque;

/// Arrivals kept, by time and by count.
const KEPT_US: u64 = 1_000_000;
const ARRIVALS_MAX: usize = 4096;

/// Over which a peak is looked for, and how long one is.
const PEAK_WINDOW_US: u64 = 100_000;
const PEAK_US: u64 = 10_000;

/// Bytes that arrived.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// Arrival and bytes, in order of arrival.
    arrivals: VecDeque<(u64, u32)>,
}

impl Delivery {
    pub(super) fn add(&mut self, arrived_us: u64, bytes: u32) {
        let newest = self.arrivals.back().map_or(arrived_us, |(at, _)| *at);
        if newest.abs_diff(arrived_us) > 2 * KEPT_US {
            self.arrivals.clear();
        }
        // Packets overtake each other by a few places; a receiver may claim more than that.
        let index = self.arrivals.partition_point(|(at, _)| *at <= arrived_us);
        self.arrivals.insert(index, (arrived_us, bytes));
        let newest = newest.max(arrived_us);
        while self.arrivals.len() > ARRIVALS_MAX
            || self
                .arrivals
                .front()
                .is_some_and(|(at, _)| newest.saturating_sub(*at) > KEPT_US)
        {
            self.arrivals.pop_front();
        }
    }

    /// The fastest that packets arrived for a moment of the last tenth of a second, kbit/s: a path
    /// that is full spaces them at the rate that it gives, a stall lets them go at once.
    pub(super) fn peak_kbps(&self) -> f64 {
        let newest = self.arrivals.back().map_or(0, |(at, _)| *at);
        let recent = self.arrivals.iter().rev();
        let mut recent = recent.take_while(|(at, _)| newest - at <= PEAK_WINDOW_US);
        // From here on backwards; the oldest one's bytes came before the moment began.
        let mut moment: VecDeque<(u64, u32)> = VecDeque::new();
        let (mut bytes, mut most) = (0_u64, 0_u64);
        while let Some((at, size)) = recent.next().copied() {
            while moment.front().is_some_and(|(end, _)| end - at > PEAK_US) {
                bytes -= moment.pop_front().map_or(0, |(_, size)| u64::from(size));
            }
            most = most.max(bytes);
            moment.push_back((at, size));
            bytes += u64::from(size);
        }
        (most * 8) as f64 * 1000.0 / PEAK_US as f64
    }

    /// The rate over the newest `window_us`, kbit/s, if enough of it is filled to tell.
    pub(super) fn kbps_over(&self, window_us: u64) -> Option<f64> {
        let (newest, _) = self.arrivals.back().copied()?;
        let mut bytes = 0_u64;
        let mut oldest = (newest, 0);
        for (at, size) in self.arrivals.iter().rev() {
            if newest - at > window_us {
                break;
            }
            bytes += u64::from(*size);
            oldest = (*at, *size);
        }
        let span = newest - oldest.0;
        // The first packet's bytes came before the span began.
        let bits = (bytes - u64::from(oldest.1)) * 8;
        (span >= window_us / 2).then(|| bits as f64 * 1000.0 / span as f64)
    }
}

/// A gap in sending that ends a train.
const TRAIN_GAP_US: u64 = 4_000;
/// Packets that a train needs to say anything.
const TRAIN_PACKETS_MIN: u32 = 3;
/// The feedback's own resolution, twice: a span shorter than that is taken for that.
const SPAN_MIN_US: u64 = 500;
/// Trains remembered, for how long, and how many it takes to believe them.
const TRAINS_MAX: usize = 48;
const TRAINS_US: u64 = 800_000;
const TRAINS_MIN: usize = 5;

/// What the spacing of bursts says.
#[derive(Debug, Default)]
pub(super) struct Trains {
    open: Option<Train>,
    /// When a train was measured, and the rate it arrived at, kbit/s.
    samples: VecDeque<(u64, f64)>,
}

#[derive(Clone, Copy, Debug)]
struct Train {
    sent_first_us: u64,
    sent_last_us: u64,
    arrived_first_us: u64,
    arrived_last_us: u64,
    packets: u32,
    /// Without the first packet.
    bytes: u64,
}

impl Trains {
    /// Takes an arrival, in order of sending.
    pub(super) fn add(&mut self, sent: &Sent, arrived_us: u64, now_us: u64) {
        if let Some(train) = &mut self.open {
            let gap = sent.at_us.saturating_sub(train.sent_last_us);
            if sent.at_us >= train.sent_last_us && gap <= TRAIN_GAP_US {
                train.sent_last_us = sent.at_us;
                train.arrived_last_us = train.arrived_last_us.max(arrived_us);
                train.packets += 1;
                train.bytes += u64::from(sent.bytes);
                return;
            }
        }
        self.close(now_us);
        self.open = Some(Train {
            sent_first_us: sent.at_us,
            sent_last_us: sent.at_us,
            arrived_first_us: arrived_us,
            arrived_last_us: arrived_us,
            packets: 1,
            bytes: 0,
        });
    }

    /// Ends the train that is open; at the end of each report.
    pub(super) fn close(&mut self, now_us: u64) {
        let Some(train) = self.open.take() else {
            return;
        };
        if train.packets < TRAIN_PACKETS_MIN {
            return;
        }
        let rate = |from: u64, to: u64| {
            let span = to.saturating_sub(from).max(SPAN_MIN_US);
            (train.bytes * 8) as f64 * 1000.0 / span as f64
        };
        let arrived = rate(train.arrived_first_us, train.arrived_last_us);
        let sent = rate(train.sent_first_us, train.sent_last_us);
        if self.samples.len() == TRAINS_MAX {
            self.samples.pop_front();
        }
        // Faster than it was sent proves no more than a receiver that reads in batches.
        self.samples.push_back((now_us, arrived.min(2.0 * sent)));
    }

    /// What the path seems to carry at most, kbit/s: the lower third of the recent trains.
    pub(super) fn kbps(&self, now_us: u64) -> Option<f64> {
        let recent = self.samples.iter().rev();
        let recent = recent.take_while(|(at, _)| now_us.saturating_sub(*at) <= TRAINS_US);
        let (mut rates, mut count) = ([0.0; TRAINS_MAX], 0);
        for (slot, (_, rate)) in rates.iter_mut().zip(recent) {
            *slot = *rate;
            count += 1;
        }
        if count < TRAINS_MIN {
            return None;
        }
        let rates = &mut rates[..count];
        let (_, third, _) = rates.select_nth_unstable_by(count / 3, f64::total_cmp);
        Some(*third)
    }
}

/// Slices of the second over which sent bytes are metered.
const SLICES: usize = 10;
const SLICE_US: u64 = 100_000;

/// Bytes sent over the last second.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    slices: [u64; SLICES],
    /// Number of the slice written last.
    slice: u64,
    /// When the first byte was counted.
    since_us: Option<u64>,
}

impl Meter {
    pub(super) fn add(&mut self, bytes: u32, now_us: u64) {
        self.since_us.get_or_insert(now_us);
        self.turn(now_us);
        self.slices[(self.slice % SLICES as u64) as usize] += u64::from(bytes);
    }

    /// Empties the slices that time has passed over.
    fn turn(&mut self, now_us: u64) {
        let slice = now_us / SLICE_US;
        let passed = slice.saturating_sub(self.slice).min(SLICES as u64);
        for i in 0..passed {
            self.slices[((slice - i) % SLICES as u64) as usize] = 0;
        }
        self.slice = self.slice.max(slice);
    }

    /// Kbit/s over the last quarter of a second.
    pub(super) fn kbps_now(&mut self, now_us: u64) -> f64 {
        self.turn(now_us);
        let slice = now_us / SLICE_US;
        let last = (0..3).filter_map(|back| slice.checked_sub(back));
        let bytes: u64 = last
            .map(|i| self.slices[(i % SLICES as u64) as usize])
            .sum();
        let span = 2 * SLICE_US + now_us % SLICE_US;
        (bytes * 8) as f64 * 1000.0 / span as f64
    }

    /// Kbit/s over the last second, or what there is of one.
    pub(super) fn kbps(&mut self, now_us: u64) -> f64 {
        let Some(since) = self.since_us else {
            return 0.0;
        };
        self.turn(now_us);
        // The slice being written is partly filled.
        let full = (SLICES as u64 - 1) * SLICE_US + now_us % SLICE_US;
        let span = full.min(now_us.saturating_sub(since)).max(SLICE_US);
        let bytes: u64 = self.slices.iter().sum();
        (bytes * 8) as f64 * 1000.0 / span as f64
    }
}

#[cfg(test)]
mod test {
    use super::super::Kind;
    use super::super::history::{History, Learnt};
    use super::*;

    fn sent(at_us: u64) -> Sent {
        let mut history = History::default();
        history.sent(0, 1000, Kind::Video, at_us);
        match history.learn(0, true) {
            Learnt::Arrived { sent, .. } => sent,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn the_rate_is_that_of_the_newest_window() {
        let mut delivery = Delivery::default();
        for i in 0..1000_u64 {
            delivery.add(i * 1_000, 1000);
        }
        for i in 0..50_u64 {
            delivery.add(1_000_000 + i * 4_000, 1000);
        }
        let fast = delivery.kbps_over(100_000).unwrap();
        assert!((fast - 2_000.0).abs() < 100.0, "{fast}");
        let slow = delivery.kbps_over(400_000).unwrap();
        assert!((4_000.0..6_000.0).contains(&slow), "{slow}");
        assert!(Delivery::default().kbps_over(100_000).is_none());
    }

    #[test]
    fn a_peak_is_the_rate_of_a_full_path_and_far_more_after_a_stall() {
        let mut full = Delivery::default();
        let mut stalled = Delivery::default();
        for i in 0..200_u64 {
            full.add(i * 1_000, 1000);
            stalled.add(if i >= 150 { 199_000 } else { i * 1_000 }, 1000);
        }
        assert!(
            (full.peak_kbps() - 8_000.0).abs() < 100.0,
            "{}",
            full.peak_kbps()
        );
        assert!(stalled.peak_kbps() > 30_000.0, "{}", stalled.peak_kbps());
        assert!(Delivery::default().peak_kbps() < 1.0);
    }

    #[test]
    fn a_packet_that_a_whole_report_overtook_counts_where_it_arrived() {
        let mut late = Delivery::default();
        let mut in_order = Delivery::default();
        in_order.add(950_000, 1000);
        for _ in 0..70 {
            late.add(1_000_000, 1000);
            in_order.add(1_000_000, 1000);
        }
        late.add(950_000, 1000);
        assert_eq!(late.arrivals, in_order.arrivals);
        // What a later packet is compared with.
        late.add(1_002_000, 1000);
        let kbps = late.peak_kbps();
        assert!((kbps - 56_000.0).abs() < 1.0, "{kbps}");
        assert!(late.kbps_over(100_000).is_some());
    }

    #[test]
    fn a_train_arrives_as_fast_as_the_path_carries() {
        let mut trains = Trains::default();
        for frame in 0..10_u64 {
            for packet in 0..10_u64 {
                let at = frame * 16_667 + packet * 100;
                // 1000 bytes a millisecond: 8 Mbit/s.
                trains.add(&sent(at), frame * 16_667 + packet * 1_000, at);
            }
        }
        trains.close(166_670);
        let kbps = trains.kbps(166_670).unwrap();
        assert!((kbps - 8_000.0).abs() < 100.0, "{kbps}");
        assert!(trains.kbps(5_000_000).is_none());
    }

    #[test]
    fn the_meter_forgets_what_is_older_than_a_second() {
        let mut meter = Meter::default();
        for ms in 0..3_000_u64 {
            meter.add(1000, ms * 1_000);
        }
        let kbps = meter.kbps(3_000_000);
        assert!((kbps - 8_000.0).abs() < 900.0, "{kbps}");
        let now = meter.kbps_now(2_999_000);
        assert!((now - 8_000.0).abs() < 100.0, "{now}");
        assert!(meter.kbps(9_000_000) < 1.0 && meter.kbps_now(9_000_000) < 1.0);
    }
}
