//! How many pictures a second there really are, for encoders that plan with the display's rate.
//!
//! Such an encoder gives each picture the bit rate over the rate that its caps name. An app that
//! draws 30 of 60 frames, or a path that wants 30, would get half of the bits; so the encoder is
//! told a higher bit rate, by as much as pictures are rarer.
//!
//! The rate is taken from what is committed, not from what is encoded: pictures that wait for the
//! path must not become larger for it. Slower pictures are believed after eight of them, faster
//! ones after two, so that a game that speeds up does not flood the path.

use std::collections::VecDeque;

/// How many gaps between pictures count.
const GAPS: usize = 8;
/// Longer gaps count as this one: no picture is to fill the path for longer.
const GAP_MAX_US: u64 = 50_000;
/// A picture after a rest says nothing about the rate.
const REST_US: u64 = 100_000;
/// Steps of a gap that are told apart: an encoder is not told anew for each jitter.
const STEPS: u64 = 8;

/// The gaps between the newest pictures.
#[derive(Debug, Default)]
pub struct Tempo {
    last_us: Option<u64>,
    gaps: VecDeque<u64>,
}

impl Tempo {
    /// A picture was committed.
    pub fn on_picture(&mut self, now: u64) {
        let last = self.last_us.replace(now);
        let gap = last.map(|last| now.saturating_sub(last));
        if let Some(gap) = gap.filter(|gap| *gap <= REST_US) {
            self.gaps.truncate(GAPS - 1);
            self.gaps.push_front(gap.min(GAP_MAX_US));
        }
    }

    /// The bit rate to tell an encoder that plans with `hz`, so that pictures of this tempo get
    /// `kbps`.
    pub fn kbps_for(&self, kbps: u32, hz: u32) -> u32 {
        let planned_us = 1_000_000 / u64::from(hz.max(1));
        let gap_us = self.gap_us().unwrap_or(planned_us);
        let steps = ((gap_us * STEPS + planned_us / 2) / planned_us).max(STEPS);
        u32::try_from(u64::from(kbps) * steps / STEPS).unwrap_or(u32::MAX)
    }

    fn gap_us(&self) -> Option<u64> {
        let mean = |count: usize| {
            let count = count.min(self.gaps.len());
            (count > 0).then(|| self.gaps.iter().take(count).sum::<u64>() / count as u64)
        };
        Some(mean(GAPS)?.min(mean(2)? * 3 / 2))
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn told(gaps_us: &[u64], hz: u32) -> u32 {
        let mut tempo = Tempo::default();
        let mut now = 5_000_000;
        tempo.on_picture(now);
        for gap in gaps_us {
            now += gap;
            tempo.on_picture(now);
        }
        tempo.kbps_for(8_000, hz)
    }

    #[test]
    fn rarer_pictures_get_as_much_together() {
        for (gap_us, hz, expected) in [
            (16_666, 60, 8_000),
            (33_333, 60, 16_000),
            (33_333, 30, 8_000),
            (16_666, 144, 19_000),
            (6_944, 144, 8_000),
            (90_000, 60, 24_000),
            // Faster than the display is held back elsewhere; a rest does not count.
            (3_000, 60, 8_000),
            (10_000_000, 60, 8_000),
        ] {
            assert_eq!(told(&[gap_us; 20], hz), expected, "{gap_us} at {hz} Hz");
        }
        assert_eq!(told(&[], 60), 8_000);
    }

    #[test]
    fn jitter_changes_nothing() {
        assert_eq!(
            told(&[15_666, 17_666, 16_000, 17_333, 17_000, 16_333], 60),
            8_000
        );
    }

    #[test]
    fn a_game_that_speeds_up_is_believed_at_once_and_one_that_rests_later() {
        let mut gaps = vec![33_333; 20];
        gaps.extend([16_666, 16_666]);
        assert!(told(&gaps, 60) <= 12_000);
        let mut gaps = vec![16_666; 20];
        gaps.push(100_000);
        assert!(told(&gaps, 60) <= 10_000, "{}", told(&gaps, 60));
    }
}
