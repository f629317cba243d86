//! Encoded pictures smaller than the display: area averages, taken while the picture is converted.
//!
//! A strip of the scaled picture is made from the source's rows and converted while it is still in
//! the processor's cache, so that a smaller picture costs one pass over the source, like a whole
//! one. Three quarters average 4 x 4 pixels into 3 x 3, a half 2 x 2 into one, a quarter 4 x 4.
//!
//! **What it does not know:** colours, encoders, who wants a smaller picture.

use crate::limits::PICTURE_MIN;
use std::ops::Range;

/// How much smaller than the display the encoded picture is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// As large.
    #[default]
    Whole,
    /// Three quarters of each side.
    ThreeQuarters,
    /// Half of each side.
    Half,
    /// A quarter of each side.
    Quarter,
}

impl Scale {
    /// The scale nearest to `percent` at which a display of this size still makes a picture that
    /// every encoder takes.
    pub fn fitting(percent: u8, (width, height): (u32, u32)) -> Self {
        let wanted = match percent {
            88.. => Self::Whole,
            63..=87 => Self::ThreeQuarters,
            38..=62 => Self::Half,
            0..=37 => Self::Quarter,
        };
        let larger = [Self::Quarter, Self::Half, Self::ThreeQuarters];
        let fits = |scale: &Self| {
            let (width, height) = scale.size((width, height));
            width >= PICTURE_MIN.0 && height >= PICTURE_MIN.1
        };
        let from = larger.iter().position(|scale| *scale == wanted);
        from.and_then(|from| larger[from..].iter().copied().find(fits))
            .unwrap_or_default()
    }

    /// The encoded size of a display of this size: even, for a chroma sample covers two pixels
    /// each way.
    pub fn size(self, (width, height): (u32, u32)) -> (u32, u32) {
        let side = |side: u32| match self {
            Self::Whole => side & !1,
            Self::ThreeQuarters => (side * 3 / 4) & !1,
            Self::Half => (side / 2) & !1,
            Self::Quarter => (side / 4) & !1,
        };
        (side(width), side(height))
    }

    /// Source rows (or columns) that make row `n`, and what each counts.
    fn sources(self, n: usize) -> ([(usize, u16); 4], usize) {
        match self {
            Self::Whole => ([(n, 1), (0, 0), (0, 0), (0, 0)], 1),
            Self::ThreeQuarters => {
                let (first, k) = (n / 3 * 4 + n % 3, (n % 3) as u16);
                ([(first, 3 - k), (first + 1, 1 + k), (0, 0), (0, 0)], 2)
            }
            Self::Half => ([(2 * n, 1), (2 * n + 1, 1), (0, 0), (0, 0)], 2),
            Self::Quarter => {
                let row = |k: usize| (4 * n + k, 1);
                ([row(0), row(1), row(2), row(3)], 4)
            }
        }
    }
}

/// Rows of four bytes a pixel that are to be scaled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) pixels: &'a [u8],
    pub(super) stride: usize,
    pub(super) width: usize,
}

/// The memory that scaling takes: one row of sums and one strip of the result.
#[derive(Debug)]
pub(super) struct Strip {
    scale: Scale,
    width: usize,
    sums: Vec<u16>,
    pixels: Vec<u8>,
}

/// Rows of a strip: even, and few enough for the cache at the largest display.
pub(super) const STRIP_ROWS: usize = 8;

impl Strip {
    /// A strip of a picture `width` pixels wide.
    pub(super) fn new(scale: Scale, width: usize) -> Self {
        Self {
            scale,
            width,
            sums: Vec::new(),
            pixels: vec![0; width * 4 * STRIP_ROWS],
        }
    }

    /// The scaled `rows`, at most [`STRIP_ROWS`] of them, or `None` if the source ends before.
    pub(super) fn fill(&mut self, source: Source<'_>, rows: Range<usize>) -> Option<&[u8]> {
        // Whole groups of four pixels, so that no row needs a special end.
        self.sums
            .resize((source.width + 4).next_multiple_of(4) * 4, 0);
        let row_bytes = self.width * 4;
        let count = rows.len().min(STRIP_ROWS);
        for (n, out) in rows.zip(self.pixels.chunks_exact_mut(row_bytes)) {
            let (sources, of) = self.scale.sources(n);
            for (k, (row, weight)) in sources[..of].iter().enumerate() {
                let start = row * source.stride;
                let row = source.pixels.get(start..start + source.width * 4)?;
                add(&mut self.sums, row, *weight, k == 0);
            }
            average(self.scale, &self.sums, out);
        }
        Some(&self.pixels[..count * row_bytes])
    }
}

/// Adds a row to the sums, or starts them with it.
fn add(sums: &mut [u16], row: &[u8], weight: u16, first: bool) {
    if first {
        for (sum, byte) in sums.iter_mut().zip(row) {
            *sum = u16::from(*byte) * weight;
        }
    } else {
        for (sum, byte) in sums.iter_mut().zip(row) {
            *sum += u16::from(*byte) * weight;
        }
    }
}

/// Averages the sums of rows along the row. Sums of rows are at most 4 x 255, so nothing overflows.
fn average(scale: Scale, sums: &[u16], out: &mut [u8]) {
    match scale {
        Scale::Whole => {
            for (byte, sum) in out.iter_mut().zip(sums) {
                *byte = *sum as u8;
            }
        }
        Scale::Half => {
            for (out, sum) in out.chunks_exact_mut(4).zip(sums.chunks_exact(8)) {
                for c in 0..4 {
                    out[c] = ((sum[c] + sum[4 + c] + 2) >> 2) as u8;
                }
            }
        }
        Scale::Quarter => {
            for (out, sum) in out.chunks_exact_mut(4).zip(sums.chunks_exact(16)) {
                for c in 0..4 {
                    let all = sum[c] + sum[4 + c] + sum[8 + c] + sum[12 + c];
                    out[c] = ((all + 8) >> 4) as u8;
                }
            }
        }
        Scale::ThreeQuarters => {
            for (out, sum) in out.chunks_mut(12).zip(sums.chunks_exact(16)) {
                for (k, out) in out.chunks_exact_mut(4).enumerate() {
                    let (left, right) = (3 - k as u16, 1 + k as u16);
                    for c in 0..4 {
                        let all = left * sum[4 * k + c] + right * sum[4 * k + 4 + c];
                        out[c] = ((all + 8) >> 4) as u8;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_even_and_never_too_small_for_an_encoder() {
        for (percent, display, scale, size) in [
            (100, (1280, 720), Scale::Whole, (1280, 720)),
            (75, (1280, 720), Scale::ThreeQuarters, (960, 540)),
            (50, (1280, 720), Scale::Half, (640, 360)),
            (25, (1280, 720), Scale::Quarter, (320, 180)),
            (0, (1280, 720), Scale::Quarter, (320, 180)),
            (255, (1280, 720), Scale::Whole, (1280, 720)),
            (75, (1366, 768), Scale::ThreeQuarters, (1024, 576)),
            (25, (480, 320), Scale::Half, (240, 160)),
            (25, (320, 240), Scale::ThreeQuarters, (240, 180)),
            (25, (66, 64), Scale::Whole, (66, 64)),
        ] {
            let fitting = Scale::fitting(percent, display);
            assert_eq!(
                (fitting, fitting.size(display)),
                (scale, size),
                "{percent} {display:?}"
            );
        }
    }

    #[test]
    fn areas_are_averaged() {
        // Columns 0, 4, 8, … in every row: averages along the row are known.
        let row: Vec<u8> = (0..16).flat_map(|x| [x * 4; 4]).collect();
        let pixels = row.repeat(16);
        for (scale, expected) in [
            (Scale::Half, &[2, 10, 18, 26, 34, 42, 50, 58][..]),
            (Scale::Quarter, &[6, 22, 38, 54][..]),
            (
                Scale::ThreeQuarters,
                &[1, 6, 11, 17, 22, 27, 33, 38, 43, 49, 54, 59][..],
            ),
        ] {
            let mut strip = Strip::new(scale, expected.len());
            let source = Source {
                pixels: &pixels,
                stride: 64,
                width: 16,
            };
            let out = strip.fill(source, 0..2).unwrap();
            let reds: Vec<_> = out.chunks_exact(4).map(|p| p[0]).collect();
            assert_eq!(reds, expected.repeat(2), "{scale:?}");
        }
    }

    proptest! {
        #[test]
        fn a_flat_picture_stays_flat_and_every_row_has_its_sources(
            percent in 0..=100u8, width in 32..200u32, height in 32..200u32, level: u8,
        ) {
            let display = (width * 2, height * 2);
            let scale = Scale::fitting(percent, display);
            let (out_width, out_height) = scale.size(display);
            let pixels = vec![level; (display.0 * display.1 * 4) as usize];
            let mut strip = Strip::new(scale, out_width as usize);
            let source = Source {
                pixels: &pixels,
                stride: display.0 as usize * 4,
                width: display.0 as usize,
            };
            for top in (0..out_height as usize).step_by(STRIP_ROWS) {
                let rows = top..(top + STRIP_ROWS).min(out_height as usize);
                let out = strip.fill(source, rows).expect("rows are in the source");
                prop_assert!(out.iter().all(|byte| *byte == level));
            }
        }
    }
}
