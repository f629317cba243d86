//! The picture in memory: XRGB8888 pixels, little-endian, without gaps between rows.

/// A colour: blue, green, red, unused.
pub(crate) type Colour = [u8; 4];

/// The colour of red, green and blue.
pub(crate) const fn rgb(red: u8, green: u8, blue: u8) -> Colour {
    [blue, green, red, 0xff]
}

/// A part of the picture, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rect {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Rect {
    /// The part from `(x, y)` on, so wide and high.
    pub(crate) const fn new(x: usize, y: usize, width: usize, height: usize) -> Self {
        Self {
            x,
            y,
            width,
            height,
        }
    }
}

/// The pixels, in memory that belongs to someone else.
#[derive(Debug)]
pub(crate) struct Canvas<'a> {
    width: usize,
    height: usize,
    bytes: &'a mut [u8],
}

impl<'a> Canvas<'a> {
    /// A picture of this size in `bytes`, which has four for each pixel.
    ///
    /// # Panics
    /// If it has not.
    pub(crate) fn over(bytes: &'a mut [u8], (width, height): (usize, usize)) -> Self {
        assert_eq!(bytes.len(), width * height * 4, "{width}x{height}");
        Self {
            width,
            height,
            bytes,
        }
    }

    /// Paints the part of `rect` that is inside the picture.
    pub(crate) fn fill(&mut self, rect: Rect, colour: Colour) {
        let (columns, rows) = self.clip(rect);
        let (left, right) = (columns.start * 4, columns.end * 4);
        let first = rows.start;
        for y in rows {
            // The first row pixel by pixel, the others from it: a flip of a whole picture is as
            // fast as memory is.
            if y == first {
                for pixel in self.row_mut(y)[left..right].chunks_exact_mut(4) {
                    pixel.copy_from_slice(&colour);
                }
            } else {
                let (above, row) = self.bytes.split_at_mut(y * self.width * 4);
                row[left..right].copy_from_slice(&above[first * self.width * 4..][left..right]);
            }
        }
    }

    /// The bytes of a row.
    pub(crate) fn row_mut(&mut self, y: usize) -> &mut [u8] {
        let stride = self.width * 4;
        &mut self.bytes[y * stride..][..stride]
    }

    fn clip(&self, rect: Rect) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let right = (rect.x + rect.width).min(self.width);
        let bottom = (rect.y + rect.height).min(self.height);
        (rect.x.min(right)..right, rect.y.min(bottom)..bottom)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn painting_outside_changes_nothing_outside() {
        let mut bytes = [0; 4 * 3 * 4];
        let mut canvas = Canvas::over(&mut bytes, (4, 3));
        canvas.fill(Rect::new(3, 2, 100, 100), rgb(1, 2, 3));
        canvas.fill(Rect::new(100, 100, 1, 1), rgb(9, 9, 9));
        let (others, last) = bytes.split_at(11 * 4);
        assert_eq!(last, [3, 2, 1, 0xff]);
        assert!(others.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn every_row_of_a_part_has_the_colour() {
        let mut bytes = [0; 5 * 4 * 4];
        Canvas::over(&mut bytes, (5, 4)).fill(Rect::new(1, 1, 3, 2), rgb(1, 2, 3));
        for (place, pixel) in bytes.chunks_exact(4).enumerate() {
            let inside = (1..4).contains(&(place % 5)) && (1..3).contains(&(place / 5));
            let expected = if inside { rgb(1, 2, 3) } else { [0; 4] };
            assert_eq!(pixel, expected, "{place}");
        }
    }
}
