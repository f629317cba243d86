//! How long packets wait on the path.
//!
//! The two clocks share no origin, so only differences count: the one-way delay over the least one
//! of the last half minute is the time spent in queues. A frame leaves as a burst and queues behind
//! itself, which says nothing about the path; so the **standing** queue is the least delay of the
//! last few frames, the part that does not drain between them (the observation behind CoDel, RFC
//! 8289). Jitter that hits some packets and not others does not show in it either.
//!
//! A receiver that has other things to do for a moment stamps what arrived meanwhile late, all at
//! once. Such a stall shows in the standing queue of a stream that sends little; it does not in the
//! **raised** one, the least delay of a third of a second, which takes that much longer to tell.

use std::collections::VecDeque;

/// The least delay is looked for among so many buckets of so long: 30 s. Quartz drifts by up to
/// 100 ppm, 3 ms in that time.
const BASE_BUCKETS: usize = 15;
const BASE_BUCKET_US: u64 = 2_000_000;
/// Over which the least delay is the standing one: three frames at 60 Hz and a bit.
const STANDING_US: u64 = 60_000;
/// Over which the slope is taken, and the grain of its points.
const SLOPE_US: u64 = 300_000;
const SLOPE_GRAIN_US: u64 = 20_000;
const GRAINS: usize = (SLOPE_US / SLOPE_GRAIN_US) as usize + 1;
/// Fewer grains with an arrival than that tell nothing, nor do they of a shorter time than that.
const GRAINS_MIN: usize = 5;
const GRAINS_SPAN_MIN: usize = 10;
/// Samples kept; at more than 10,000 packets a second the window shortens.
const SAMPLES_MAX: usize = 4096;
/// A delay that changes by so much from one packet to the next is another clock.
const CLOCK_JUMP_US: u64 = 5_000_000;

/// The delay of one direction.
#[derive(Debug, Default)]
pub(super) struct Delay {
    /// When each bucket began, and its least delay.
    base: VecDeque<(u64, i64)>,
    /// Arrival and delay, of the last [`SLOPE_US`].
    samples: VecDeque<(u64, i64)>,
}

impl Delay {
    /// Takes a packet; both times are of their own clock.
    pub(super) fn add(&mut self, sent_us: u64, arrived_us: u64) {
        let delay = arrived_us.wrapping_sub(sent_us).cast_signed();
        if let Some((at, last)) = self.samples.back().copied() {
            let jumped = delay.abs_diff(last) > CLOCK_JUMP_US
                || arrived_us.abs_diff(at) > BASE_BUCKET_US * BASE_BUCKETS as u64;
            if jumped {
                *self = Self::default();
            }
        }
        match self.base.back_mut() {
            Some((began, least)) if arrived_us.saturating_sub(*began) < BASE_BUCKET_US => {
                *least = (*least).min(delay);
            }
            Some(_) | None => self.base.push_back((arrived_us, delay)),
        }
        if self.base.len() > BASE_BUCKETS {
            self.base.pop_front();
        }
        self.samples.push_back((arrived_us, delay));
        let newest = self.newest();
        while self.samples.len() > SAMPLES_MAX
            || self
                .samples
                .front()
                .is_some_and(|(at, _)| newest.saturating_sub(*at) > SLOPE_US)
        {
            self.samples.pop_front();
        }
    }

    /// The least delay, of an arbitrary origin.
    fn base(&self) -> Option<i64> {
        self.base.iter().map(|(_, least)| *least).min()
    }

    fn newest(&self) -> u64 {
        // Packets overtake each other by a few places at most.
        let late = self.samples.iter().rev().take(16);
        late.map(|(at, _)| *at).max().unwrap_or(0)
    }

    /// The queue that did not drain lately, microseconds.
    pub(super) fn standing_us(&self) -> u64 {
        let newest = self.newest();
        let recent = self
            .samples
            .iter()
            .rev()
            .take_while(|(at, _)| newest.saturating_sub(*at) <= STANDING_US);
        match (recent.map(|(_, delay)| *delay).min(), self.base()) {
            (Some(delay), Some(base)) => delay.abs_diff(base),
            _ => 0,
        }
    }

    /// The queue that did not drain for [`SLOPE_US`], microseconds; zero while too little arrived, or
    /// too much of it at once, to tell.
    pub(super) fn raised_us(&self) -> u64 {
        let grains = self.grains();
        let span = grains.iter().rposition(Option::is_some).unwrap_or(0);
        if grains.iter().flatten().count() < GRAINS_MIN || span < GRAINS_SPAN_MIN {
            return 0;
        }
        match (grains.into_iter().flatten().min(), self.base()) {
            (Some(delay), Some(base)) => delay.abs_diff(base),
            _ => 0,
        }
    }

    /// The least delay of each grain of the last [`SLOPE_US`].
    fn grains(&self) -> [Option<i64>; GRAINS] {
        let mut least = [None; GRAINS];
        let start = self.samples.front().map_or(0, |(at, _)| *at);
        for (at, delay) in &self.samples {
            let grain = (at.saturating_sub(start) / SLOPE_GRAIN_US) as usize;
            if let Some(slot) = least.get_mut(grain) {
                *slot = Some(slot.map_or(*delay, |before: i64| before.min(*delay)));
            }
        }
        least
    }

    /// How fast the queue grows, microseconds per second, by least squares over the least delays of
    /// each grain. Zero while there is too little to tell.
    pub(super) fn slope(&self) -> f64 {
        let least = self.grains();
        let base = self.base().unwrap_or(0);
        let points = || {
            let grains = least.iter().enumerate();
            grains.filter_map(|(i, delay)| {
                delay.map(|delay| (i as f64, delay.wrapping_sub(base) as f64))
            })
        };
        let count = points().count() as f64;
        if count < GRAINS_MIN as f64 {
            return 0.0;
        }
        let mean_x = points().map(|(x, _)| x).sum::<f64>() / count;
        let mean_y = points().map(|(_, y)| y).sum::<f64>() / count;
        let over: f64 = points().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        let under: f64 = points().map(|(x, _)| (x - mean_x).powi(2)).sum();
        over / under * (1_000_000.0 / SLOPE_GRAIN_US as f64)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_burst_behind_itself_is_no_standing_queue() {
        let mut delay = Delay::default();
        for frame in 0..60_u64 {
            for packet in 0..10_u64 {
                let sent = frame * 16_667;
                delay.add(sent, 7_000_000 + sent + 20_000 + packet * 1_500);
            }
        }
        assert_eq!(delay.standing_us(), 0);
        assert!(delay.slope().abs() < 1_000.0, "{}", delay.slope());
    }

    #[test]
    fn a_queue_that_grows_shows_in_level_and_slope() {
        let mut delay = Delay::default();
        for packet in 0..2_000_u64 {
            let sent = packet * 1_000;
            // From one second on, 10 % too much is sent.
            let queue = sent.saturating_sub(1_000_000) / 10;
            delay.add(sent, sent + 20_000 + queue);
        }
        let standing = delay.standing_us();
        assert!((90_000..100_000).contains(&standing), "{standing}");
        assert!((delay.slope() - 100_000.0).abs() < 10_000.0);
    }

    #[test]
    fn a_stall_raises_nothing_and_a_full_path_does() {
        let mut stalled = Delay::default();
        let mut full = Delay::default();
        for frame in 0..40_u64 {
            let sent = frame * 50_000;
            // The last 100 ms before two seconds are stamped at their end.
            let late = if frame >= 38 { 1_950_000 } else { sent };
            stalled.add(sent, late.max(sent) + 20_000);
            let queue = if frame >= 30 { 50_000 } else { 0 };
            full.add(sent, sent + 20_000 + queue);
        }
        assert_eq!(stalled.raised_us(), 0);
        assert_eq!(full.raised_us(), 50_000);
        let mut rare = Delay::default();
        rare.add(0, 20_000);
        rare.add(500_000, 600_000);
        assert_eq!((rare.standing_us(), rare.raised_us()), (80_000, 0));
    }

    #[test]
    fn another_clock_starts_anew() {
        let mut delay = Delay::default();
        delay.add(1_000_000, 5_000_000);
        delay.add(1_001_000, 900_000_000_000);
        delay.add(1_002_000, 900_000_001_500);
        assert!(delay.standing_us() <= 1_000);
        delay.add(1_003_000, 0);
        delay.add(u64::MAX, 0);
        delay.add(0, u64::MAX);
    }
}
