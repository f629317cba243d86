//! Samples of every PulseAudio format as 32-bit floats, and any channels as two.

use crate::limits::CHANNELS_MAX;
use pulseaudio::protocol::{ChannelMap, ChannelPosition, SampleFormat};

/// Left and right.
pub(crate) type Pair = [f32; 2];

/// Appends the samples in `bytes`; an unfinished one at the end is left out.
pub(crate) fn decode(format: SampleFormat, bytes: &[u8], out: &mut Vec<f32>) {
    fn each<const N: usize>(bytes: &[u8], out: &mut Vec<f32>, sample: impl Fn([u8; N]) -> f32) {
        let (whole, _) = bytes.as_chunks::<N>();
        out.extend(whole.iter().map(|chunk| sample(*chunk)));
    }
    const S32: f32 = 1.0 / 2_147_483_648.0;
    let s16 = |sample: i16| f32::from(sample) / 32_768.0;
    let s32 = |sample: i32| sample as f32 * S32;
    match format {
        SampleFormat::Invalid => {}
        SampleFormat::U8 => each(bytes, out, |[b]| (f32::from(b) - 128.0) / 128.0),
        SampleFormat::Alaw => each(bytes, out, |[b]| s16(alaw(b))),
        SampleFormat::Ulaw => each(bytes, out, |[b]| s16(ulaw(b))),
        SampleFormat::S16Le => each(bytes, out, |b| s16(i16::from_le_bytes(b))),
        SampleFormat::S16Be => each(bytes, out, |b| s16(i16::from_be_bytes(b))),
        SampleFormat::Float32Le => each(bytes, out, |b| finite(f32::from_le_bytes(b))),
        SampleFormat::Float32Be => each(bytes, out, |b| finite(f32::from_be_bytes(b))),
        SampleFormat::S32Le => each(bytes, out, |b| s32(i32::from_le_bytes(b))),
        SampleFormat::S32Be => each(bytes, out, |b| s32(i32::from_be_bytes(b))),
        SampleFormat::S24Le => {
            each(bytes, out, |[a, b, c]| {
                s32(i32::from_le_bytes([0, a, b, c]))
            });
        }
        SampleFormat::S24Be => {
            each(bytes, out, |[a, b, c]| {
                s32(i32::from_be_bytes([a, b, c, 0]))
            });
        }
        SampleFormat::S24In32Le => each(bytes, out, |b| s32(i32::from_le_bytes(b) << 8)),
        SampleFormat::S24In32Be => each(bytes, out, |b| s32(i32::from_be_bytes(b) << 8)),
    }
}

/// The byte that silence is made of.
pub(crate) fn silence(format: SampleFormat) -> u8 {
    match format {
        SampleFormat::U8 => 0x80,
        SampleFormat::Alaw => 0xd5,
        SampleFormat::Ulaw => 0xff,
        SampleFormat::Invalid
        | SampleFormat::S16Le
        | SampleFormat::S16Be
        | SampleFormat::Float32Le
        | SampleFormat::Float32Be
        | SampleFormat::S32Le
        | SampleFormat::S32Be
        | SampleFormat::S24Le
        | SampleFormat::S24Be
        | SampleFormat::S24In32Le
        | SampleFormat::S24In32Be => 0,
    }
}

/// A float that cannot spoil the sum of all streams.
fn finite(sample: f32) -> f32 {
    if sample.is_finite() {
        sample.clamp(-8.0, 8.0)
    } else {
        0.0
    }
}

/// ITU-T G.711 A-law.
fn alaw(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let mantissa = i16::from(byte & 0x0f) << 4;
    let magnitude = match (byte & 0x70) >> 4 {
        0 => mantissa + 8,
        exponent => (mantissa + 0x108) << (exponent - 1),
    };
    if byte & 0x80 == 0 {
        -magnitude
    } else {
        magnitude
    }
}

/// ITU-T G.711 µ-law.
fn ulaw(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = (((i16::from(byte & 0x0f)) << 3) + 0x84) << ((byte & 0x70) >> 4);
    if byte & 0x80 == 0 {
        magnitude - 0x84
    } else {
        0x84 - magnitude
    }
}

/// What each channel adds to left and right.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Downmix {
    gains: Vec<Pair>,
}

impl Downmix {
    /// For channels at these places. Levels are those of ITU-R BS.775 (centre and surround 3 dB
    /// down, no LFE), lowered so that channels that are all at full scale do not clip.
    pub(crate) fn new(map: &ChannelMap) -> Self {
        let mut gains: Vec<Pair> = map.into_iter().map(place).take(CHANNELS_MAX).collect();
        let sum = |side: usize| gains.iter().map(|gain| gain[side]).sum::<f32>();
        let most = sum(0).max(sum(1)).max(1.0);
        for gain in &mut gains {
            *gain = gain.map(|level| level / most);
        }
        Self { gains }
    }

    /// Appends frames of interleaved `samples`, each channel first at its own `volume`.
    pub(crate) fn apply(&self, samples: &[f32], volume: &[f32], out: &mut Vec<Pair>) {
        let mut gains = [[0.0; 2]; CHANNELS_MAX];
        for (place, gain) in self.gains.iter().enumerate() {
            let volume = volume.get(place).copied().unwrap_or(1.0);
            gains[place] = gain.map(|level| level * volume);
        }
        let gains = &gains[..self.gains.len()];
        out.extend(samples.chunks_exact(gains.len().max(1)).map(|frame| {
            let mut pair = [0.0; 2];
            for (sample, gain) in frame.iter().zip(gains) {
                pair[0] += sample * gain[0];
                pair[1] += sample * gain[1];
            }
            pair
        }));
    }
}

fn place(position: ChannelPosition) -> Pair {
    use ChannelPosition as At;
    const HALF_POWER: f32 = std::f32::consts::FRAC_1_SQRT_2;
    match position {
        At::Mono => [1.0, 1.0],
        At::FrontLeft => [1.0, 0.0],
        At::FrontRight => [0.0, 1.0],
        At::FrontLeftOfCenter => [0.9, 0.4],
        At::FrontRightOfCenter => [0.4, 0.9],
        At::FrontCenter | At::TopFrontCenter => [HALF_POWER, HALF_POWER],
        At::RearLeft | At::SideLeft | At::TopFrontLeft | At::TopRearLeft => [HALF_POWER, 0.0],
        At::RearRight | At::SideRight | At::TopFrontRight | At::TopRearRight => [0.0, HALF_POWER],
        At::RearCenter | At::TopCenter | At::TopRearCenter => [0.5, 0.5],
        At::Lfe => [0.0, 0.0],
        // Channels without a place: those of even number left, the others right.
        aux => match (aux as u8 - At::Aux0 as u8) % 2 {
            0 => [1.0, 0.0],
            _ => [0.0, 1.0],
        },
    }
}

/// The places of so many channels where the client names none, in the order that ALSA has.
pub(crate) fn default_map(channels: u8) -> ChannelMap {
    use ChannelPosition as At;
    let surround = [
        At::FrontLeft,
        At::FrontRight,
        At::RearLeft,
        At::RearRight,
        At::FrontCenter,
        At::Lfe,
        At::SideLeft,
        At::SideRight,
    ];
    match channels {
        1 => ChannelMap::mono(),
        3 => ChannelMap::new([At::FrontLeft, At::FrontRight, At::FrontCenter]),
        n => ChannelMap::new(surround.into_iter().take(usize::from(n))),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn decoded(format: SampleFormat, bytes: &[u8]) -> Vec<f32> {
        let mut out = Vec::new();
        decode(format, bytes, &mut out);
        out
    }

    #[test]
    fn every_format_has_its_full_scale_and_its_silence() {
        use SampleFormat::*;
        let half: [(_, &[u8]); 13] = [
            (U8, &[0xc0]),
            (Alaw, &[0xa5]),
            (Ulaw, &[0x8f]),
            (S16Le, &[0, 0x40]),
            (S16Be, &[0x40, 0]),
            (Float32Le, &[0, 0, 0, 0x3f]),
            (Float32Be, &[0x3f, 0, 0, 0]),
            (S32Le, &[0, 0, 0, 0x40]),
            (S32Be, &[0x40, 0, 0, 0]),
            (S24Le, &[0, 0, 0x40]),
            (S24Be, &[0x40, 0, 0]),
            (S24In32Le, &[0, 0, 0x40, 0]),
            (S24In32Be, &[0, 0x40, 0, 0]),
        ];
        for (format, bytes) in half {
            let [sample] = decoded(format, bytes)[..] else {
                panic!("{format:?} is no sample");
            };
            assert!((sample - 0.5).abs() < 0.02, "{format:?} {sample}");
            let quiet = vec![silence(format); format.bytes_per_sample()];
            assert!(decoded(format, &quiet)[0].abs() < 0.001, "{format:?}");
        }
    }

    #[test]
    fn what_is_no_number_is_silence() {
        let bytes: Vec<u8> = [f32::NAN, f32::INFINITY, 1e30]
            .iter()
            .flat_map(|sample| sample.to_le_bytes())
            .collect();
        assert_eq!(decoded(SampleFormat::Float32Le, &bytes), [0.0, 0.0, 8.0]);
    }

    #[test]
    fn stereo_stays_and_mono_is_on_both_sides() {
        let mut out = Vec::new();
        Downmix::new(&ChannelMap::stereo()).apply(&[0.1, 0.2], &[1.0, 0.5], &mut out);
        Downmix::new(&ChannelMap::mono()).apply(&[0.3], &[], &mut out);
        assert_eq!(out, [[0.1, 0.1], [0.3, 0.3]]);
    }

    #[test]
    fn no_layout_clips() {
        for channels in 1..=8 {
            let mut out = Vec::new();
            let loud = vec![1.0; usize::from(channels)];
            Downmix::new(&default_map(channels)).apply(&loud, &[], &mut out);
            assert!(
                out[0].iter().all(|side| *side > 0.5 && *side <= 1.0001),
                "{channels}"
            );
        }
    }
}
