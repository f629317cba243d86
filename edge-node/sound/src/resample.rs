//! Any rate to 48 kHz: a windowed sinc, evaluated at exact positions.
//!
//! Our own, because it is a page: a table of the filter at 256 fractions of a sample, and between
//! two of them a straight line. Positions are integers (there is no drift), the rate may change
//! while it plays, and the output is pulled, which is what a mixer needs. Measured by the tests:
//! images and aliases of a tone are more than 80 dB below it. The delay is [`HALF`] samples of the
//! slower rate, 0.5 ms from 44.1 kHz.

use crate::sample::Pair;
use std::f64::consts::PI;

/// The rate of the mix, Hz.
pub(crate) const RATE: u32 = 48_000;
/// Zero crossings of the sinc on either side.
const HALF: usize = 24;
/// Fractions of a sample that are in the table.
const PHASES: usize = 256;
/// Kaiser's window: about 90 dB of stop band.
const KAISER_BETA: f64 = 9.0;
/// Pass band, as a part of the lower of the two Nyquist frequencies.
const PASS: f64 = 0.93;

/// Turns frames at one rate into frames at [`RATE`].
#[derive(Debug)]
pub(crate) struct Resampler {
    rate: u32,
    /// Frames that the filter reaches to either side.
    reach: usize,
    /// `PHASES + 1` rows of `2 * reach` taps; empty at equal rates.
    table: Vec<f32>,
    /// Frames from the filter's left edge on.
    history: Vec<Pair>,
    /// Position of the next output past `history[reach - 1]`, in parts of [`RATE`] per frame.
    fraction: u32,
}

impl Resampler {
    /// From `rate` Hz, beginning in silence.
    pub(crate) fn new(rate: u32) -> Self {
        let mut resampler = Self {
            rate: 0,
            reach: 0,
            table: Vec::new(),
            history: Vec::new(),
            fraction: 0,
        };
        resampler.set_rate(rate);
        resampler
    }

    /// Goes on from another rate. The frames in the filter stay.
    pub(crate) fn set_rate(&mut self, rate: u32) {
        if rate == self.rate {
            return;
        }
        let reach_before = self.reach;
        self.rate = rate;
        let stretch = f64::from(rate.max(RATE)) / f64::from(RATE);
        self.reach = (HALF as f64 * stretch).ceil() as usize;
        self.table = if rate == RATE && reach_before == 0 {
            Vec::new()
        } else {
            table(self.reach, PASS / stretch)
        };
        if self.table.is_empty() {
            self.reach = 0;
            return;
        }
        // The frame that the next output is at stays in the middle.
        let missing = self.reach.saturating_sub(reach_before.max(1));
        self.history
            .splice(0..0, std::iter::repeat_n([0.0; 2], missing));
        let surplus = reach_before
            .saturating_sub(self.reach)
            .min(self.history.len());
        self.history.drain(..surplus);
    }

    /// Frames that must be pushed before `frames` can be pulled.
    pub(crate) fn needed(&self, frames: usize) -> usize {
        if self.table.is_empty() {
            return frames.saturating_sub(self.history.len());
        }
        let last = frames.saturating_sub(1) as u64 * u64::from(self.rate);
        let end = (u64::from(self.fraction) + last) / u64::from(RATE);
        (end as usize + 2 * self.reach).saturating_sub(self.history.len())
    }

    /// Takes frames in.
    pub(crate) fn push(&mut self, frames: &[Pair]) {
        self.history.extend_from_slice(frames);
    }

    /// Adds as many frames to `out` as there is input for, or as it holds; says how many.
    pub(crate) fn pull(&mut self, out: &mut [Pair]) -> usize {
        if self.table.is_empty() {
            let count = out.len().min(self.history.len());
            for (sum, frame) in out.iter_mut().zip(self.history.drain(..count)) {
                *sum = [sum[0] + frame[0], sum[1] + frame[1]];
            }
            return count;
        }
        let mut start = 0;
        let mut count = 0;
        for sum in out {
            let Some(window) = self.history.get(start..start + 2 * self.reach) else {
                break;
            };
            let frame = self.filter(window);
            *sum = [sum[0] + frame[0], sum[1] + frame[1]];
            count += 1;
            let next = u64::from(self.fraction) + u64::from(self.rate);
            start += (next / u64::from(RATE)) as usize;
            self.fraction = (next % u64::from(RATE)) as u32;
        }
        self.history.drain(..start.min(self.history.len()));
        count
    }

    /// Forgets what it holds.
    pub(crate) fn clear(&mut self) {
        self.history.clear();
        self.fraction = 0;
        if !self.table.is_empty() {
            self.history.resize(self.reach - 1, [0.0; 2]);
        }
    }

    fn filter(&self, window: &[Pair]) -> Pair {
        let taps = 2 * self.reach;
        let place = u64::from(self.fraction) * PHASES as u64;
        let phase = (place / u64::from(RATE)) as usize;
        let between = (place % u64::from(RATE)) as f32 / RATE as f32;
        let rows = &self.table[phase * taps..(phase + 2) * taps];
        let (near, far) = rows.split_at(taps);
        let mut sum = [0.0_f32; 2];
        for ((frame, near), far) in window.iter().zip(near).zip(far) {
            let tap = near + (far - near) * between;
            sum[0] += frame[0] * tap;
            sum[1] += frame[1] * tap;
        }
        sum
    }
}

/// The filter at each phase: tap `i` is for the frame `i - (reach - 1)` from the output's frame.
fn table(reach: usize, cutoff: f64) -> Vec<f32> {
    let mut table = Vec::with_capacity((PHASES + 1) * 2 * reach);
    for phase in 0..=PHASES {
        let shift = phase as f64 / PHASES as f64;
        let row: Vec<f64> = (0..2 * reach)
            .map(|tap| {
                let x = tap as f64 - (reach as f64 - 1.0) - shift;
                sinc(x * cutoff) * kaiser(x / reach as f64)
            })
            .collect();
        // Each phase passes a constant unchanged.
        let sum: f64 = row.iter().sum();
        table.extend(row.iter().map(|tap| (tap / sum) as f32));
    }
    table
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-9 {
        1.0
    } else {
        (PI * x).sin() / (PI * x)
    }
}

fn kaiser(x: f64) -> f64 {
    let inside = (1.0 - x * x).max(0.0);
    bessel(KAISER_BETA * inside.sqrt()) / bessel(KAISER_BETA)
}

/// The modified Bessel function of the first kind and order zero.
fn bessel(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..40 {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod test {
    use super::*;

    fn sine(hz: f64, rate: u32, count: usize) -> Vec<Pair> {
        let sample = |n: usize| (2.0 * PI * hz * n as f64 / f64::from(rate)).sin() as f32;
        (0..count).map(|n| [sample(n), -sample(n)]).collect()
    }

    fn resampled(rate: u32, input: &[Pair], frames: usize) -> Vec<Pair> {
        let mut resampler = Resampler::new(rate);
        resampler.clear();
        let mut out = vec![[0.0; 2]; frames];
        let mut taken = 0;
        for block in out.chunks_mut(480) {
            let need = resampler.needed(block.len());
            resampler.push(&input[taken..taken + need]);
            taken += need;
            assert_eq!(resampler.pull(block), block.len());
        }
        out
    }

    /// The best sine at `hz`: how high it is, and the level of what is left without it, in dB.
    fn tone(signal: &[Pair], hz: f64) -> (f64, f64) {
        let (mut re, mut im) = (0.0, 0.0);
        let angle = |n: usize| 2.0 * PI * hz * n as f64 / f64::from(RATE);
        for (n, frame) in signal.iter().enumerate() {
            re += f64::from(frame[0]) * angle(n).cos();
            im += f64::from(frame[0]) * angle(n).sin();
        }
        let scale = 2.0 / signal.len() as f64;
        let (re, im) = (re * scale, im * scale);
        let power = (re * re + im * im) / 2.0;
        let rest = signal.iter().enumerate().map(|(n, frame)| {
            (f64::from(frame[0]) - re * angle(n).cos() - im * angle(n).sin()).powi(2)
        });
        let rest = rest.sum::<f64>() / signal.len() as f64;
        ((2.0 * power).sqrt(), 10.0 * (rest / power).log10())
    }

    #[test]
    fn a_tone_stays_a_pure_tone_at_every_rate() {
        for rate in [
            4_000, 8_000, 11_025, 22_050, 32_000, 44_100, 47_999, 96_000, 192_000,
        ] {
            // A whole number of periods in a second of output.
            for hz in [440.0, 1_500.0, f64::from(rate.min(RATE)) * 0.4] {
                let hz = hz.round();
                let out = resampled(rate, &sine(hz, rate, rate as usize * 2), 62_400);
                let (height, noise) = tone(&out[14_400..], hz);
                assert!(noise < -80.0, "{hz} Hz from {rate}: {noise:.1} dB");
                assert!(
                    (0.98..1.02).contains(&height),
                    "{hz} Hz from {rate}: {height}"
                );
            }
        }
    }

    #[test]
    fn what_48_khz_cannot_hold_is_gone() {
        let out = resampled(96_000, &sine(30_000.0, 96_000, 200_000), 48_000);
        let loudest = out[4_800..]
            .iter()
            .fold(0.0_f32, |most, frame| most.max(frame[0].abs()));
        assert!(loudest < 1e-4, "{loudest}");
    }

    #[test]
    fn equal_rates_pass_unchanged() {
        let input = sine(1_000.0, RATE, 960);
        assert_eq!(resampled(RATE, &input, 960), input);
    }

    #[test]
    fn a_rate_can_change_while_it_plays() {
        for (from, to) in [
            (44_100, 44_200),
            (48_000, 44_100),
            (44_100, 96_000),
            (96_000, 8_000),
        ] {
            let mut resampler = Resampler::new(from);
            resampler.clear();
            for rate in [from, to, from] {
                resampler.set_rate(rate);
                for _ in 0..10 {
                    let need = resampler.needed(480);
                    resampler.push(&vec![[0.5; 2]; need]);
                    let mut out = [[0.0; 2]; 480];
                    assert_eq!(resampler.pull(&mut out), 480, "{from} to {to}");
                    assert!(
                        out.iter()
                            .all(|frame| (0.0..0.75).contains(&frame[0].abs()))
                    );
                }
            }
        }
    }
}
