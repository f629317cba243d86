//! What is measured of a session while a player is connected: seconds, frames, the time between them, the
//! time to encode them, round trips.
//!
//! **Invariant.** Bounded, whatever comes: times are counted in buckets, eight an octave, so that a
//! percentile is within a sixteenth of what it was.
//!
//! **What it does not know:** who plays, and what becomes of it.

use serde::{Deserialize, Serialize};

/// The longest time between two frames that is no freeze, microseconds; as receipts have it.
const FREEZE_US: u64 = 200_000;
/// Buckets of an octave.
const STEPS: usize = 8;
/// Eight of zero to seven, then the octaves of a 32-bit number above.
const BUCKETS: usize = STEPS * 30;

/// How long something took, counted.
#[derive(Clone, Debug)]
struct Spread {
    counts: [u32; BUCKETS],
    total: u64,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            total: 0,
        }
    }
}

impl Spread {
    fn add(&mut self, us: u64) {
        let count = &mut self.counts[bucket(us)];
        *count = count.saturating_add(1);
        self.total += 1;
    }

    /// The least time that so many per cent are not above; 0 of nothing.
    fn percentile(&self, percent: u64) -> u32 {
        let wanted = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return middle(index);
            }
        }
        0
    }
}

fn bucket(us: u64) -> usize {
    let us = u32::try_from(us).unwrap_or(u32::MAX);
    if us < 8 {
        return us as usize;
    }
    let octave = us.ilog2() as usize;
    let step = (us >> (octave - 3)) as usize & (STEPS - 1);
    (octave - 2) * STEPS + step
}

fn middle(index: usize) -> u32 {
    if index < STEPS {
        return u32::try_from(index).unwrap_or(0);
    }
    let (octave, step) = (index / STEPS + 2, index % STEPS);
    let width = 1_u64 << (octave - 3);
    let from = (STEPS + step) as u64 * width;
    u32::try_from(from + width / 2).unwrap_or(u32::MAX)
}

/// What was measured, as it is told each second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Played {
    /// Seconds in which a player was connected.
    pub seconds: u32,
    /// Frames sent to the player.
    pub frames: u64,
    /// Frames a second, thousandths, by the exact time in which they were sent; 0 while there is none.
    #[serde(default)]
    pub fps_milli: u32,
    /// Between two frames, 50th and 99th percentile, microseconds.
    pub pace_us: [u32; 2],
    /// More than 200 ms without a frame.
    pub freezes: u32,
    /// Width and height of the picture that was encoded last.
    pub size: [u32; 2],
    /// To encode a frame, 50th and 99th percentile, microseconds.
    pub encode_us: [u32; 2],
    /// Round trip, 50th and 95th percentile, microseconds.
    pub rtt_us: [u32; 2],
    /// The encoder that was used last.
    pub encoder: String,
}

/// The measurement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measure {
    seconds: u32,
    frames: u64,
    rate: Rate,
    freezes: u32,
    last_us: Option<u64>,
    size: [u32; 2],
    encoder: String,
    pace: Spread,
    encode: Spread,
    rtt: Spread,
}

/// Frames and the very time that they took, from a player's first frame on. What is less than a second old when the player
/// leaves is in neither.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    /// Since when there are frames that are not counted yet.
    since_us: Option<u64>,
    /// How many.
    fresh: u64,
    frames: u64,
    us: u64,
}

impl Rate {
    fn sent(&mut self, at_us: u64) {
        match self.since_us {
            // Time begins with it.
            None => self.since_us = Some(at_us),
            Some(_) => self.fresh += 1,
        }
    }

    fn count(&mut self, now_us: u64) {
        if let Some(since_us) = &mut self.since_us {
            self.us += now_us.saturating_sub(*since_us);
            *since_us = now_us;
            self.frames += std::mem::take(&mut self.fresh);
        }
    }

    fn milli(&self) -> u32 {
        let rate = self.frames.saturating_mul(1_000_000_000) / self.us.max(1);
        u32::try_from(rate).unwrap_or(u32::MAX)
    }
}

impl Measure {
    /// A frame took so long to encode.
    pub(crate) fn encoded(&mut self, us: u64) {
        self.encode.add(us);
    }

    /// A frame was sent to the player.
    pub(crate) fn sent(&mut self, at_us: u64) {
        self.frames += 1;
        self.rate.sent(at_us);
        if let Some(last) = self.last_us.replace(at_us) {
            let gap = at_us.saturating_sub(last);
            self.pace.add(gap);
            self.freezes = self.freezes.saturating_add(u32::from(gap > FREEZE_US));
        }
    }

    /// The player is gone: the next one's first frame ends no gap.
    pub(crate) fn left(&mut self) {
        self.last_us = None;
        (self.rate.since_us, self.rate.fresh) = (None, 0);
    }

    /// A second with a player.
    pub(crate) fn second(&mut self, now_us: u64, rtt_us: u32, (size, encoder): ([u32; 2], &str)) {
        self.rate.count(now_us);
        self.seconds = self.seconds.saturating_add(1);
        if rtt_us > 0 {
            self.rtt.add(rtt_us.into());
        }
        if size[0] > 0 {
            self.size = size;
        }
        if !encoder.is_empty() && self.encoder != encoder {
            encoder.clone_into(&mut self.encoder);
        }
    }

    /// What there is so far.
    pub(crate) fn played(&self) -> Played {
        Played {
            seconds: self.seconds,
            frames: self.frames,
            fps_milli: self.rate.milli(),
            pace_us: [self.pace.percentile(50), self.pace.percentile(99)],
            freezes: self.freezes,
            size: self.size,
            encode_us: [self.encode.percentile(50), self.encode.percentile(99)],
            rtt_us: [self.rtt.percentile(50), self.rtt.percentile(95)],
            encoder: self.encoder.clone(),
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_percentile_is_within_a_sixteenth() {
        let mut spread = Spread::default();
        assert_eq!(spread.percentile(50), 0, "of nothing");
        for us in [
            0_u64,
            7,
            8,
            100,
            999,
            16_667,
            1_000_000,
            u64::from(u32::MAX),
        ] {
            let mut one = Spread::default();
            one.add(us);
            let found = u64::from(one.percentile(50));
            assert!(found.abs_diff(us) <= us / 16, "{us}: {found}");
        }
        (1..=100).for_each(|n| spread.add(n * 1000));
        let (half, most) = (spread.percentile(50), spread.percentile(99));
        assert!((47_000..=54_000).contains(&half), "{half}");
        assert!((92_000..=106_000).contains(&most), "{most}");
        spread.add(u64::MAX);
    }

    #[test]
    fn gaps_are_freezes_but_not_over_a_players_absence() {
        let mut measure = Measure::default();
        measure.sent(0);
        measure.sent(16_000);
        measure.sent(216_000);
        measure.sent(416_001);
        measure.left();
        measure.sent(9_000_000);
        let played = measure.played();
        assert_eq!((played.frames, played.freezes), (5, 1));
    }

    /// Sixty a second, from 300 ms after the player came until 400 ms after the last second: 11 are counted, and some more frames.
    #[test]
    fn the_rate_is_of_the_time_in_which_frames_were_sent() {
        let mut measure = Measure::default();
        let frame = |n: u64| 300_000 + n * 50_000 / 3;
        let mut next = 0;
        let mut play = |measure: &mut Measure, until_us: u64| {
            while frame(next) < until_us {
                measure.sent(frame(next));
                next += 1;
            }
        };
        for second in 1..=11 {
            play(&mut measure, second * 1_000_000);
            measure.second(second * 1_000_000, 0, ([0, 0], ""));
        }
        play(&mut measure, 11_400_000);
        measure.left();
        let played = measure.played();
        assert_eq!((played.seconds, played.frames), (11, 666));
        assert!(played.fps_milli.abs_diff(60_000) < 100, "{played:?}");
        assert_eq!(Measure::default().played().fps_milli, 0);

        // A picture that stands still to the end counts.
        measure.sent(20_000_000);
        measure.second(31_000_000, 0, ([0, 0], ""));
        let played = measure.played();
        assert!(played.fps_milli.abs_diff(29_700) < 600, "{played:?}");
    }

    #[test]
    fn the_last_picture_that_was_encoded_is_kept() {
        let mut measure = Measure::default();
        measure.second(0, 300, ([1280, 720], "x264enc"));
        measure.second(0, 0, ([0, 0], ""));
        let played = measure.played();
        assert_eq!((played.seconds, played.size), (2, [1280, 720]));
        assert_eq!(played.encoder, "x264enc");
        assert!(played.rtt_us[0].abs_diff(300) <= 20);
    }
}
