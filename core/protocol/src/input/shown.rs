//! What a browser says of frames that it has shown: the stages that nobody else can know
//! ([`crate::stage`]), as samples.

use super::{DecodeError, field};
use crate::bytes::Reader;
use crate::limits::SHOWN_FRAMES_MAX;
use std::time::Duration;

/// One frame that was shown. A hundredth of a millisecond is what a browser's clock tells; what took
/// longer than two thirds of a second counts as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The stage `decode`, 1/100 ms.
    pub decode: u16,
    /// The stage `present`, 1/100 ms.
    pub present: u16,
}

impl Shown {
    /// The stage `decode`.
    pub fn decode(&self) -> Duration {
        hundredths(self.decode)
    }

    /// The stage `present`.
    pub fn present(&self) -> Duration {
        hundredths(self.present)
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        out.extend(self.decode.to_le_bytes());
        out.extend(self.present.to_le_bytes());
    }
}

fn hundredths(of_a_ms: u16) -> Duration {
    Duration::from_micros(10 * u64::from(of_a_ms))
}

/// All that is left, as frames: at least one, and no more than [`SHOWN_FRAMES_MAX`].
pub(super) fn decode(r: &mut Reader<'_>) -> Result<Vec<Shown>, DecodeError> {
    let mut frames = Vec::new();
    while frames.is_empty() || !r.is_empty() {
        if frames.len() == SHOWN_FRAMES_MAX {
            return Err(DecodeError::TooLarge);
        }
        frames.push(Shown {
            decode: field(r.u16())?,
            present: field(r.u16())?,
        });
    }
    Ok(frames)
}

#[cfg(test)]
mod test {
    use super::super::{Event, Packet};
    use super::*;

    fn decoded(frames: usize, bytes_more: usize) -> Result<Packet, DecodeError> {
        let frame = Shown {
            decode: 1,
            present: 2,
        };
        let mut bytes = Packet {
            seq: 1,
            client_us: 1,
            event: Event::Shown(vec![frame; frames]),
        }
        .encode();
        bytes.extend(std::iter::repeat_n(0, bytes_more));
        Packet::decode(&bytes)
    }

    #[test]
    fn some_whole_frames_are_taken_and_not_more_than_a_second_has() {
        assert_eq!(decoded(0, 0), Err(DecodeError::Short));
        assert!(decoded(1, 0).is_ok());
        assert_eq!(decoded(1, 3), Err(DecodeError::Short));
        assert!(decoded(SHOWN_FRAMES_MAX, 0).is_ok());
        assert_eq!(decoded(SHOWN_FRAMES_MAX + 1, 0), Err(DecodeError::TooLarge));
    }

    #[test]
    fn times_are_in_hundredths_of_a_millisecond() {
        let shown = Shown {
            decode: 150,
            present: u16::MAX,
        };
        assert_eq!(shown.decode(), Duration::from_micros(1_500));
        assert_eq!(shown.present(), Duration::from_micros(655_350));
    }
}
