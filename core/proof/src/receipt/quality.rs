//! What one side measured of a stream, and what a player's side signs of it.
//!
//! A [`Quality`] has one text, RFC 8785; a player's program signs that text with a key that it made for
//! the session. Zero is "not measured". Percentiles are over the whole time, [50th, 99th] where nothing
//! else is said.
//!
//! **What it does not know:** how it was measured, and whether it is true.

use crate::canon;
use crate::encoding::{array_from_hex, hex};
use crate::key::{PublicKey, SecretKey};
use serde::{Deserialize, Serialize};

/// The longest time between two frames that is no freeze, microseconds.
pub const FREEZE_US: u32 = 200_000;
/// The most bytes of a sample's text.
pub const SAMPLE_BYTES_MAX: usize = 1024;
/// The most samples of players that one session has: one for each page that played it.
pub const SAMPLES_MAX: usize = 8;
/// What a player's signature covers begins with this.
const SIGNED: &[u8] = b"nearlight player sample v1\n";
/// No stream is longer than a month, and no picture wider than this.
const SECONDS_MAX: u32 = 31 * 24 * 3600;
const SIDE_MAX: u32 = 16_384;
const ENCODER_BYTES_MAX: usize = 64;
/// No display shows so many frames a second.
const FPS_MAX: u64 = 1000;

/// What was measured of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// Time to encode, microseconds.
    pub encode_us: [u32; 2],
    /// The encoder.
    pub encoder: String,
    /// Frames a second, thousandths: by the exact time in which they were counted, where `seconds` are whole ones.
    pub fps_milli: u32,
    /// Frames that the player's program decoded; of the node, frames that it sent.
    pub frames: u64,
    /// Freezes: more than 200 ms without a frame. A picture that stands still has them, too.
    pub freezes: u32,
    /// From input to picture, microseconds.
    pub input_us: [u32; 2],
    /// Time between frames, microseconds.
    pub pace_us: [u32; 2],
    /// Round trip, 50th and 95th percentile, microseconds.
    pub rtt_us: [u32; 2],
    /// Seconds that were measured.
    pub seconds: u32,
    /// Width and height of the picture.
    pub size: [u32; 2],
}

impl Quality {
    /// What this text says, if it is the one text of something that a stream can be.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > SAMPLE_BYTES_MAX {
            return None;
        }
        let value = canon::strict(text.as_bytes()).ok()?;
        let quality: Self = serde_json::from_value(value).ok()?;
        // What is written anew must be what was read: nothing is skipped.
        (quality.is_sane() && quality.text() == text).then_some(quality)
    }

    /// Its one text.
    #[must_use]
    pub fn text(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        String::from_utf8(canon::to_bytes(&value)).unwrap_or_default()
    }

    /// Whether a stream can be so.
    #[must_use]
    pub fn is_sane(&self) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" ._-+/".contains(&byte);
        let seconds = u64::from(self.seconds);
        self.seconds <= SECONDS_MAX
            && self.frames <= (seconds + 1) * FPS_MAX
            && self.size.iter().all(|side| *side <= SIDE_MAX)
            && self.encoder.len() <= ENCODER_BYTES_MAX
            && self.encoder.bytes().all(plain)
    }

    /// Frames a second of so many frames in so many seconds, thousandths.
    #[must_use]
    pub fn rate_milli(frames: u64, seconds: u32) -> u32 {
        let rate = frames.saturating_mul(1000) / u64::from(seconds.max(1));
        u32::try_from(rate).unwrap_or(u32::MAX)
    }

    /// The same of so many in so many microseconds.
    #[must_use]
    pub fn rate_milli_of(frames: u64, us: u64) -> u32 {
        let rate = frames.saturating_mul(1_000_000_000) / us.max(1);
        u32::try_from(rate).unwrap_or(u32::MAX)
    }

    /// Several pages' samples of one session together: counts are added, the size is the last one's, and
    /// what cannot be added is the longest one's. Their rates are weighed by the time that each of them is of.
    #[must_use]
    pub fn joined(parts: &[&Self]) -> Option<Self> {
        let longest = parts.iter().max_by_key(|part| part.seconds)?;
        let last = parts.last()?;
        let frames = frames_of(parts);
        let us = parts.iter().map(|part| part.micros()).sum();
        let together = u128::from(frames) * 1_000_000_000 / u128::max(us, 1);
        let fps_milli = match parts {
            [alone] => alone.fps_milli,
            _ => u32::try_from(together).unwrap_or(u32::MAX),
        };
        Some(Self {
            seconds: seconds_of(parts),
            frames,
            fps_milli,
            freezes: parts
                .iter()
                .fold(0, |sum, part| sum.saturating_add(part.freezes)),
            size: last.size,
            ..(*longest).clone()
        })
    }

    /// As [`Quality::joined`], with the rate as it was worked out before rates were exact: by whole seconds.
    #[must_use]
    pub fn joined_by_seconds(parts: &[&Self]) -> Option<Self> {
        let fps_milli = Self::rate_milli(frames_of(parts), seconds_of(parts));
        Self::joined(parts).map(|joined| Self {
            fps_milli,
            ..joined
        })
    }

    /// The time that its rate is of, as rate and frames say.
    fn micros(&self) -> u128 {
        match self.fps_milli {
            0 => u128::from(self.seconds) * 1_000_000,
            fps_milli => u128::from(self.frames) * 1_000_000_000 / u128::from(fps_milli),
        }
    }
}

fn frames_of(parts: &[&Quality]) -> u64 {
    let frames = parts.iter().map(|part| part.frames);
    frames.fold(0, u64::saturating_add)
}

fn seconds_of(parts: &[&Quality]) -> u32 {
    let seconds = parts.iter().map(|part| part.seconds);
    seconds.fold(0, u32::saturating_add)
}

/// What a player's program measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlayerSample {
    /// The key that it made for the session, 64 hex digits; empty if it has none.
    pub key: String,
    /// What.
    pub quality: Quality,
    /// Its signature over the text, 128 hex digits; empty if it has none.
    pub signature: String,
}

impl PlayerSample {
    /// A sample that `secret` signs.
    #[must_use]
    pub fn signed(quality: Quality, secret: &SecretKey) -> Self {
        Self {
            key: hex(secret.public().as_bytes()),
            signature: hex(&secret.sign(&Self::message(&quality.text()))),
            quality,
        }
    }

    /// Whether it is signed at all.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        !self.key.is_empty()
    }

    /// Whether it is sane, and its signature fits if there is one.
    #[must_use]
    pub fn holds(&self) -> bool {
        if !self.quality.is_sane() {
            return false;
        }
        if self.key.is_empty() && self.signature.is_empty() {
            return true;
        }
        let parts = PublicKey::from_hex(&self.key).zip(array_from_hex::<64>(&self.signature));
        parts.is_some_and(|(key, signature)| {
            key.verifies(&Self::message(&self.quality.text()), &signature)
        })
    }

    fn message(text: &str) -> Vec<u8> {
        [SIGNED, text.as_bytes()].concat()
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use serde_json::Value;

    fn vector() -> Value {
        serde_json::from_str(include_str!("../../vectors/sample.json")).unwrap()
    }

    /// client-web's tests read the same file.
    #[test]
    fn a_sample_has_the_text_and_the_signature_of_the_vector() {
        let vector = vector();
        let text = vector["text"].as_str().unwrap();
        let quality: Quality = serde_json::from_value(vector["quality"].clone()).unwrap();
        assert_eq!(quality.text(), text);
        assert_eq!(Quality::read(text), Some(quality.clone()));
        let seed = array_from_hex(vector["seed"].as_str().unwrap()).unwrap();
        let signed = PlayerSample::signed(quality, &SecretKey::from_seed(&seed));
        assert_eq!(signed.key, vector["key"].as_str().unwrap());
        assert_eq!(signed.signature, vector["signature"].as_str().unwrap());
        assert!(signed.holds());
        let mut other = signed.clone();
        other.quality.frames += 1;
        assert!(!other.holds(), "another number");
        let mut half = signed;
        half.signature.clear();
        assert!(!half.holds(), "a key without its signature");
    }

    #[test]
    fn what_no_stream_can_be_is_not_read() {
        let good = Quality {
            seconds: 10,
            frames: 600,
            size: [1280, 720],
            encoder: "x264enc".to_owned(),
            ..Quality::default()
        };
        assert_eq!(Quality::read(&good.text()), Some(good.clone()));
        let spaced = good.text().replace(',', ", ");
        assert_eq!(Quality::read(&spaced), None, "another spelling");
        let wrong = |change: fn(&mut Quality)| {
            let mut quality = good.clone();
            change(&mut quality);
            Quality::read(&quality.text())
        };
        assert_eq!(wrong(|q| q.frames = 11_001), None);
        assert_eq!(wrong(|q| q.size = [1, 16_385]), None);
        assert_eq!(wrong(|q| q.encoder = "<b>".to_owned()), None);
        assert_eq!(wrong(|q| q.encoder = "x".repeat(65)), None);
        assert_eq!(wrong(|q| q.seconds = u32::MAX), None);
    }

    #[test]
    fn pages_that_played_one_session_are_added_up() {
        let part = |seconds, frames, width| Quality {
            seconds,
            frames,
            freezes: 1,
            size: [width, 720],
            rtt_us: [seconds, seconds],
            ..Quality::default()
        };
        let (first, second) = (part(10, 600, 1280), part(20, 600, 640));
        let both = Quality::joined(&[&first, &second]).unwrap();
        assert_eq!((both.seconds, both.frames, both.freezes), (30, 1200, 2));
        assert_eq!((both.fps_milli, both.size), (40_000, [640, 720]));
        assert_eq!(
            Quality::joined_by_seconds(&[&first, &second]),
            Some(both.clone())
        );
        assert_eq!(both.rtt_us, [20, 20], "the longest one's");
        assert_eq!(Quality::joined(&[]), None);
    }

    /// A page counted 700 frames in 11.7 seconds, and says 11; another one 100 in 1.6.
    #[test]
    fn rates_are_of_the_time_in_which_frames_were_counted() {
        let part = |seconds, frames, fps_milli| Quality {
            seconds,
            frames,
            fps_milli,
            ..Quality::default()
        };
        let (long, short) = (part(11, 700, 59_829), part(1, 100, 62_500));
        let rate = |joined: Option<Quality>| joined.unwrap().fps_milli;
        assert_eq!(rate(Quality::joined(&[&long])), 59_829, "its own word");
        assert_eq!(
            rate(Quality::joined(&[&long, &short])),
            60_150,
            "800 in 13.3 s"
        );
        assert_eq!(rate(Quality::joined_by_seconds(&[&long])), 63_636);
        let nothing = part(0, 0, 0);
        assert_eq!(rate(Quality::joined(&[&nothing, &nothing])), 0);
        let absurd = part(u32::MAX, u64::MAX, 1);
        assert!(
            Quality::joined(&[&absurd, &absurd]).is_some(),
            "and no overflow"
        );
    }
}
