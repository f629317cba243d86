//! What decoded pictures say of the presses that were made. Pure: times come in.
//!
//! A picture of `calibrate` counts presses of keys and buttons, modulo 256. Who made them knows how many there should be,
//! and nobody who has not seen them does: a picture that counts them was rendered after them, for this session.
//!
//! **Invariants.** Presses count from the first picture that can be read; none may be made before it. The n-th press is
//! answered by the first picture that counts n or more.

use crate::decode::Picture;
use std::collections::VecDeque;

/// Presses whose answers are waited for; more, and the oldest never come.
const WAITING_MAX: usize = 128;

/// See the module.
#[derive(Debug, Default)]
pub struct Answers {
    /// What the newest picture counts that could be read.
    newest: Option<u8>,
    counted: u32,
    made: u32,
    /// When those were made that no picture counts yet.
    waiting: VecDeque<u64>,
    /// From press to picture, of each that was answered.
    times_us: Vec<u64>,
    pictures: u64,
    size: [u32; 2],
}

impl Answers {
    /// A key or button was pressed.
    pub fn pressed(&mut self, at_us: u64) {
        self.made += 1;
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(at_us);
    }

    /// A picture came out of the decoder.
    pub fn picture(&mut self, picture: Picture) {
        self.pictures += 1;
        self.size = picture.size;
        let Some(reading) = picture.reading else {
            return;
        };
        let newest = self.newest.get_or_insert(reading.inputs);
        // Less than half a round ahead is ahead; what is behind is an older picture's.
        let ahead = reading.inputs.wrapping_sub(*newest);
        if ahead >= 128 {
            return;
        }
        *newest = reading.inputs;
        self.counted += u32::from(ahead);
        for _ in 0..ahead {
            if let Some(at_us) = self.waiting.pop_front() {
                self.times_us.push(picture.at_us.saturating_sub(at_us));
            }
        }
    }

    /// Whether a picture could be read.
    #[must_use]
    pub fn can_be_read(&self) -> bool {
        self.newest.is_some()
    }

    /// Presses that were made, and that pictures count.
    #[must_use]
    pub fn presses(&self) -> [u32; 2] {
        [self.made, self.counted]
    }

    /// From press to picture, microseconds, of each that was answered.
    #[must_use]
    pub fn times_us(&self) -> &[u64] {
        &self.times_us
    }

    /// Pictures so far.
    #[must_use]
    pub fn pictures(&self) -> u64 {
        self.pictures
    }

    /// Width and height of the newest.
    #[must_use]
    pub fn size(&self) -> [u32; 2] {
        self.size
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::barcode::Reading;

    fn picture(at_us: u64, inputs: u8) -> Picture {
        Picture {
            at_us,
            size: [1280, 720],
            reading: Some(Reading { counter: 0, inputs }),
        }
    }

    #[test]
    fn presses_are_counted_over_the_wrap_and_timed_by_their_first_picture() {
        let mut answers = Answers::default();
        answers.picture(picture(0, 254));
        assert!(answers.can_be_read());
        for at_us in [10, 20, 30] {
            answers.pressed(at_us);
        }
        for (at_us, inputs) in [(40, 255), (41, 255), (60, 1), (61, 0)] {
            answers.picture(picture(at_us, inputs));
        }
        assert_eq!(answers.presses(), [3, 3]);
        assert_eq!(answers.times_us(), [30, 40, 30]);
        assert_eq!((answers.pictures(), answers.size()), (5, [1280, 720]));
    }

    #[test]
    fn a_picture_that_stands_still_or_cannot_be_read_counts_nothing() {
        let mut answers = Answers::default();
        answers.picture(picture(0, 7));
        answers.pressed(1);
        answers.picture(picture(10, 7));
        let unread = Picture {
            reading: None,
            ..picture(20, 9)
        };
        answers.picture(unread);
        assert_eq!(answers.presses(), [1, 0]);
        answers.picture(picture(30, 9));
        assert_eq!(answers.presses(), [1, 2], "a press that nobody made");
    }
}
