//! When the next key frame may be made: on request, at most four per second.
//!
//! A key frame costs many times a delta frame, so a lossy path whose every loss asked for one would
//! make itself worse.

use crate::limits::KEY_INTERVAL;

const INTERVAL_US: u64 = KEY_INTERVAL.as_micros() as u64;

/// The wish for a key frame and when the last one was made.
#[derive(Debug, Default)]
pub struct KeyGate {
    wanted: bool,
    last_us: Option<u64>,
}

impl KeyGate {
    /// Somebody needs a key frame.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// A new viewer needs one at once, whatever the last one got.
    pub fn want_now(&mut self) {
        *self = Self {
            wanted: true,
            last_us: None,
        };
    }

    /// When a wanted key frame may be made, if one is wanted.
    pub fn due_us(&self) -> Option<u64> {
        self.wanted
            .then(|| self.last_us.map_or(0, |last| last + INTERVAL_US))
    }

    /// Whether the frame that is handed to the encoder now is to be a key frame.
    pub fn take(&mut self, now: u64) -> bool {
        let key = self.due_us().is_some_and(|due| due <= now);
        if key {
            *self = Self {
                wanted: false,
                last_us: Some(now),
            };
        }
        key
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn at_most_four_a_second_and_none_unasked() {
        let mut gate = KeyGate::default();
        assert!(!gate.take(0));
        let mut keys = 0;
        for now in (0..10_000_000).step_by(16_666) {
            gate.want();
            keys += u32::from(gate.take(now));
        }
        assert!((36..=40).contains(&keys), "{keys}");
        assert!(!KeyGate::default().take(5));
    }

    #[test]
    fn a_new_viewer_does_not_wait() {
        let mut gate = KeyGate::default();
        gate.want();
        assert!(gate.take(1_000));
        gate.want_now();
        assert!(gate.take(2_000));
        assert!(!gate.take(2_001));
    }
}
