//! When the next packets may leave, and whether another frame may join those that wait.
//!
//! A leaky bucket: what has left drains at the pacing rate, and more may leave once little enough is
//! left in it. Sound and control pass by, though they fill it too, up to [`DEBT_US_MAX`]: after that the
//! picture owes them no more. The bucket's depth is a burst of a few packets, so that a run of them can go
//! to the kernel at once, or a whole frame while the path shows no queue.
//!
//! **Back-pressure goes to the encoder.** A frame that was encoded and is dropped breaks the chain of
//! references and costs a key frame, many frames' worth; one that was never encoded costs nothing.
//! So as soon as something has to wait, [`Pacer::hold_us`] says until when no further frame should
//! be started. Only what comes all the same is dropped.

/// The least burst, bytes: a small frame leaves at once whatever the rate.
const BURST_BYTES_MIN: f64 = 12_000.0;
/// The burst in time, at the pacing rate: the grain of the timers that wake a sender.
const BURST_US: f64 = 2_000.0;
/// Frames that may wait in any case: the one that is leaving, and the one that was in the encoder
/// when the hold was asked for.
const FRAMES_WAITING_MIN: usize = 2;
/// A further frame is dropped if what waits takes longer than this.
const BACKLOG_US_MAX: u64 = 50_000;
/// Waiting shorter than that needs no hold: the next frame is not here before it is over.
const HOLD_FROM_US: u64 = 6_000;

/// What passes by fills the bucket beyond a burst by what drains in so long at most, so that the picture comes
/// back soon after it, or after a time of a lower rate.
const DEBT_US_MAX: f64 = 500_000.0;

/// The bucket.
#[derive(Clone, Debug)]
pub struct Pacer {
    /// Bytes a microsecond.
    rate: f64,
    /// Bytes that may leave at once, if more than the least burst.
    burst_bytes: f64,
    /// Bytes that have left and not drained, as of `at_us`.
    level: f64,
    at_us: u64,
}

impl Pacer {
    /// An empty bucket.
    pub fn new(kbps: u32, now_us: u64) -> Self {
        Self {
            rate: rate(kbps),
            burst_bytes: 0.0,
            level: 0.0,
            at_us: now_us,
        }
    }

    /// Changes the rate, and what may leave at once, from now on.
    pub fn set(&mut self, kbps: u32, burst_bytes: u32, now_us: u64) {
        self.drain(now_us);
        self.rate = rate(kbps);
        self.burst_bytes = f64::from(burst_bytes);
    }

    fn drain(&mut self, now_us: u64) {
        let passed = now_us.saturating_sub(self.at_us) as f64;
        self.level = (self.level - passed * self.rate).max(0.0);
        self.at_us = self.at_us.max(now_us);
    }

    fn burst(&self) -> f64 {
        (BURST_US * self.rate)
            .max(BURST_BYTES_MIN)
            .max(self.burst_bytes)
    }

    /// Bytes that may leave now. The last packet of a run may exceed it.
    pub fn room(&mut self, now_us: u64) -> usize {
        self.drain(now_us);
        (self.burst() - self.level).max(0.0) as usize
    }

    /// Notes bytes that left, asked for or not.
    pub fn on_sent(&mut self, bytes: usize, now_us: u64) {
        self.drain(now_us);
        let most = self.burst() + self.rate * DEBT_US_MAX;
        // What is there is not forgiven, only nothing added.
        self.level = (self.level + bytes as f64).min(most.max(self.level));
    }

    /// When there is room for half a burst, so that each wake is worth it.
    pub fn next_us(&self) -> u64 {
        let over = self.level - self.burst() / 2.0;
        self.at_us + (over.max(0.0) / self.rate).ceil() as u64
    }

    /// How long `waiting` bytes take to leave.
    pub fn backlog_us(&mut self, waiting: usize, now_us: u64) -> u64 {
        self.drain(now_us);
        let over = waiting as f64 + self.level - self.burst();
        (over.max(0.0) / self.rate) as u64
    }

    /// Whether a frame that comes now is taken, with `waiting` bytes of `frames` frames before it.
    pub fn admits(&mut self, waiting: usize, frames: usize, now_us: u64) -> bool {
        frames < FRAMES_WAITING_MIN || self.backlog_us(waiting, now_us) <= BACKLOG_US_MAX
    }

    /// Until when no further frame should be started, if any time: until what waits is about to be
    /// gone.
    pub fn hold_us(&mut self, waiting: usize, now_us: u64) -> Option<u64> {
        let backlog = self.backlog_us(waiting, now_us);
        (backlog >= HOLD_FROM_US).then(|| now_us + backlog - HOLD_FROM_US / 2)
    }
}

fn rate(kbps: u32) -> f64 {
    f64::from(kbps.max(1)) / 8_000.0
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_small_frame_leaves_at_once_and_a_large_one_at_the_rate() {
        let mut pacer = Pacer::new(8_000, 0);
        assert!(pacer.room(0) >= 10_000);
        pacer.on_sent(100_000, 0);
        assert_eq!(pacer.room(0), 0);
        // 88,000 bytes too many at a byte a microsecond; half a burst sooner.
        assert_eq!(pacer.next_us(), 94_000);
        assert!(pacer.room(94_000) >= 6_000);
    }

    #[test]
    fn a_whole_frame_leaves_at_once_where_it_may() {
        let mut pacer = Pacer::new(8_000, 0);
        pacer.set(8_000, 25_000, 0);
        assert_eq!(pacer.hold_us(25_000, 0), None);
        pacer.on_sent(24_000, 0);
        assert!(pacer.room(0) > 0);
        pacer.set(8_000, 0, 0);
        assert_eq!(pacer.room(0), 0);
    }

    #[test]
    fn what_passes_by_keeps_the_picture_back_for_a_while_at_most() {
        let mut pacer = Pacer::new(160, 0);
        for _ in 0..1_000 {
            pacer.on_sent(240, 0);
        }
        assert_eq!(pacer.room(0), 0);
        assert_eq!(pacer.room(500_000), 0);
        assert!(pacer.room(560_000) > 1_000);
    }

    #[test]
    fn what_has_to_wait_holds_the_encoder_before_it_drops_frames() {
        let mut pacer = Pacer::new(8_000, 0);
        pacer.on_sent(12_000, 0);
        assert_eq!(pacer.hold_us(5_000, 0), None);
        assert_eq!(pacer.hold_us(40_000, 0), Some(37_000));
        assert!(pacer.admits(40_000, 5, 0));
        assert!(pacer.admits(400_000, 1, 0));
        assert!(!pacer.admits(60_000, 2, 0));
        assert!(pacer.admits(60_000, 2, 20_000));
    }

    proptest! {
        #[test]
        fn no_more_leaves_than_the_rate_and_one_burst(
            kbps in 100_u32..100_000,
            steps in proptest::collection::vec((0_u64..20_000, 0_usize..3_000), 1..300),
        ) {
            let mut pacer = Pacer::new(kbps, 0);
            let (mut now, mut sent) = (0, 0);
            for (wait, packet) in steps {
                now += wait;
                if pacer.room(now) > 0 {
                    pacer.on_sent(packet, now);
                    sent += packet;
                }
                prop_assert!(pacer.next_us() >= pacer.at_us);
            }
            let most = now as f64 * pacer.rate + pacer.burst() + 3_000.0;
            prop_assert!(sent as f64 <= most);
        }

        #[test]
        fn any_clock_will_do(times in proptest::collection::vec(any::<u64>(), 1..50)) {
            let mut pacer = Pacer::new(0, 0);
            for now in times {
                pacer.on_sent(1_000, now);
                pacer.set(1, 0, now);
                let _ = (pacer.room(now), pacer.next_us(), pacer.admits(1, 9, now));
            }
        }
    }
}
