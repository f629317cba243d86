//! The barcode of calibrate, read from a decoded picture: docs/calibrate.md is the specification.

const COLUMNS: usize = 32;
const ROWS: usize = 8;
const SYNC: u32 = 0xaaaa_aaaa;
/// White cells are at least so much brighter than black ones.
const CONTRAST_MIN: f32 = 64.0;

/// A picture's luma.
#[derive(Clone, Copy, Debug)]
pub struct Luma<'a> {
    /// Row by row.
    pub bytes: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
}

/// What this program reads of a barcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Commits so far.
    pub counter: u32,
    /// Presses so far, modulo 256.
    pub inputs: u8,
}

/// The barcode of a picture of a display that is `display_width` wide; `None` if it cannot be read.
pub fn read(picture: Luma<'_>, display_width: u32) -> Option<Reading> {
    let scale = picture.width as f32 / display_width as f32;
    let fits = |cell: &u32| COLUMNS as u32 * cell <= display_width;
    let cell = [16, 8, 4, 2].into_iter().find(fits)? as f32 * scale;
    let mut cells = [[0.0; COLUMNS]; ROWS];
    for (row, line) in cells.iter_mut().enumerate() {
        for (column, value) in line.iter_mut().enumerate() {
            *value = brightness(picture, column as f32 * cell, row as f32 * cell, cell)?;
        }
    }
    let threshold = cells[0].iter().sum::<f32>() / COLUMNS as f32;
    let mean = |first: usize| {
        let every_other = cells[0].iter().skip(first).step_by(2);
        every_other.sum::<f32>() / (COLUMNS / 2) as f32
    };
    let words = cells.map(|line| {
        let bit = |word: u32, value: &f32| word << 1 | u32::from(*value > threshold);
        line.iter().fold(0, bit)
    });
    let sum = crc32(words[1..7].iter().flat_map(|word| word.to_be_bytes()));
    let holds = words[0] == SYNC && mean(0) - mean(1) >= CONTRAST_MIN && words[7] == sum;
    holds.then(|| Reading {
        counter: words[1],
        inputs: words[2].to_be_bytes()[0],
    })
}

/// Mean luma of the middle half of the cell at (`left`, `top`).
fn brightness(picture: Luma<'_>, left: f32, top: f32, cell: f32) -> Option<f32> {
    let span = |start: f32| {
        let from = (start + cell / 4.0) as usize;
        from..((start + cell * 3.0 / 4.0) as usize).max(from + 1)
    };
    let (columns, rows) = (span(left), span(top));
    if columns.end > picture.width || rows.end > picture.height {
        return None;
    }
    let count = (columns.len() * rows.len()) as f32;
    let mut sum = 0;
    for row in rows {
        let line = picture.bytes.get(row * picture.stride..)?;
        sum += line
            .get(columns.clone())?
            .iter()
            .map(|luma| u32::from(*luma))
            .sum::<u32>();
    }
    Some(sum as f32 / count)
}

fn crc32(bytes: impl IntoIterator<Item = u8>) -> u32 {
    !bytes.into_iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1))
        })
    })
}

#[cfg(test)]
mod test {
    use super::*;

    /// The example of the specification.
    const EXAMPLE: [u32; ROWS] = [
        0xaaaa_aaaa,
        0x0000_03e8,
        0x070d_001e,
        0x0280_0168,
        0xfffd_000c,
        0x0000_000f,
        0x79ed_52d8,
        0xc9b1_0758,
    ];

    fn painted(words: [u32; ROWS], width: usize, cell: usize, bright: u8) -> Vec<u8> {
        let mut bytes = vec![40; width * width / 2];
        for (row, word) in words.iter().enumerate() {
            for y in row * cell..(row + 1) * cell {
                for x in 0..COLUMNS * cell {
                    let white = word >> (COLUMNS - 1 - x / cell) & 1 == 1;
                    bytes[y * width + x] = if white { bright } else { 16 };
                }
            }
        }
        bytes
    }

    fn read_painted(bytes: &[u8], width: usize, display_width: u32) -> Option<Reading> {
        let height = bytes.len() / width;
        let stride = width;
        read(
            Luma {
                bytes,
                stride,
                width,
                height,
            },
            display_width,
        )
    }

    #[test]
    fn the_example_is_read_at_full_size_and_at_half() {
        let expected = Some(Reading {
            counter: 1000,
            inputs: 7,
        });
        let full = painted(EXAMPLE, 1280, 16, 235);
        assert_eq!(read_painted(&full, 1280, 1280), expected);
        let half = painted(EXAMPLE, 640, 8, 235);
        assert_eq!(read_painted(&half, 640, 1280), expected);
    }

    #[test]
    fn what_is_torn_pale_or_no_barcode_is_rejected() {
        let mut torn = EXAMPLE;
        torn[1] ^= 1;
        assert_eq!(
            read_painted(&painted(torn, 1280, 16, 235), 1280, 1280),
            None
        );
        assert_eq!(
            read_painted(&painted(EXAMPLE, 1280, 16, 70), 1280, 1280),
            None
        );
        assert_eq!(read_painted(&[16; 1280 * 720], 1280, 1280), None);
        assert_eq!(read_painted(&[16; 100 * 4], 100, 1280), None);
    }
}
