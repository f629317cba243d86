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

/// The pixels.
#[derive(Debug)]
pub(crate) struct Canvas {
    width: usize,
    height: usize,
    bytes: Vec<u8>,
}

impl Canvas {
    /// A black picture.
    pub(crate) fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            bytes: vec![0; width * height * 4],
        }
    }

    /// Paints the part of `rect` that is inside the picture.
    pub(crate) fn fill(&mut self, rect: Rect, colour: Colour) {
        let (columns, rows) = self.clip(rect);
        for y in rows {
            for pixel in self.row_mut(y)[columns.start * 4..columns.end * 4].chunks_exact_mut(4) {
                pixel.copy_from_slice(&colour);
            }
        }
    }

    /// The bytes of a row.
    pub(crate) fn row_mut(&mut self, y: usize) -> &mut [u8] {
        let stride = self.width * 4;
        &mut self.bytes[y * stride..][..stride]
    }

    /// The bytes of some rows, and how far from the picture's start they are.
    pub(crate) fn rows(&self, rows: std::ops::Range<usize>) -> (usize, &[u8]) {
        let stride = self.width * 4;
        let end = rows.end.min(self.height) * stride;
        let start = (rows.start * stride).min(end);
        (start, &self.bytes[start..end])
    }

    /// Width and height, pixels.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.width, self.height)
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
        let mut canvas = Canvas::new(4, 3);
        canvas.fill(Rect::new(3, 2, 100, 100), rgb(1, 2, 3));
        canvas.fill(Rect::new(100, 100, 1, 1), rgb(9, 9, 9));
        let (start, last) = canvas.rows(2..9);
        assert_eq!(start, 32);
        assert_eq!(last, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 2, 1, 0xff]);
        assert!(canvas.rows(0..2).1.iter().all(|byte| *byte == 0));
    }
}
