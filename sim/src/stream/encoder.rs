//! A model of an encoder: frames around a target, larger key frames, and a scene that may have less
//! to show.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How far a frame's size is from the target's, either way: x264 with a buffer of one frame.
const NOISE: f64 = 0.25;
/// A key frame against another, under the same buffer.
const KEY_FACTOR: f64 = 3.0;
/// What a key frame costs too much is saved over so many frames.
const PAYBACK_FRAMES: f64 = 20.0;

#[derive(Debug)]
pub(super) struct Encoder {
    rng: ChaCha8Rng,
    owed: f64,
}

impl Encoder {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x656e_636f_6465),
            owed: 0.0,
        }
    }

    /// The bytes of the next frame.
    pub(super) fn bytes(&mut self, kbps: u32, fps: u32, key: bool) -> u32 {
        let mean = f64::from(kbps) * 125.0 / f64::from(fps.max(1));
        let payback = (self.owed / PAYBACK_FRAMES).min(mean * 0.3);
        self.owed -= payback;
        let noise = 1.0 + NOISE * (self.rng.random::<f64>() * 2.0 - 1.0);
        let mut bytes = (mean - payback) * noise;
        if key {
            self.owed += mean * (KEY_FACTOR - 1.0);
            bytes = mean * KEY_FACTOR * noise;
        }
        bytes.max(60.0) as u32
    }
}
