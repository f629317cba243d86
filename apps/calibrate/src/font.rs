//! The text face: our own 5 by 8 dots, drawn in font.txt, shown at twice its size.
//!
//! A line of font.txt is a character and its eight rows from the top, five bits each, the leftmost
//! dot in bit 4. Characters that it lacks show as an empty box.

/// Pixels that a dot takes, each way.
const DOT: usize = 2;
/// Pixels from one character to the next.
pub(crate) const ADVANCE: usize = 6 * DOT;
/// Pixels of a line of text, its gap included.
pub(crate) const LINE: usize = 10 * DOT;

const FIRST: u8 = b'!';
const GLYPHS: usize = 94;
const BOX: [u8; 8] = [0x1f, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1f, 0];

/// The face, ready to draw.
#[derive(Debug)]
pub(crate) struct Font {
    glyphs: [[u8; 8]; GLYPHS],
}

impl Font {
    /// The face of font.txt.
    pub(crate) fn new() -> Self {
        let mut glyphs = [BOX; GLYPHS];
        for (glyph, line) in glyphs.iter_mut().zip(include_str!("font.txt").lines()) {
            for (row, hex) in glyph.iter_mut().zip(line[2..].split(' ')) {
                *row = u8::from_str_radix(hex, 16).expect("font.txt holds hexadecimal bytes");
            }
        }
        Self { glyphs }
    }

    /// Calls `dot` with the left, top and side in pixels of every dot of `text`.
    pub(crate) fn each_dot(&self, text: &str, mut dot: impl FnMut(usize, usize, usize)) {
        for (place, character) in text.chars().enumerate() {
            for (y, row) in self.rows(character).iter().enumerate() {
                for x in (0..5).filter(|x| row & (0x10 >> x) != 0) {
                    dot(place * ADVANCE + x * DOT, y * DOT, DOT);
                }
            }
        }
    }

    fn rows(&self, character: char) -> [u8; 8] {
        if character == ' ' {
            return [0; 8];
        }
        u8::try_from(character)
            .ok()
            .and_then(|byte| self.glyphs.get(usize::from(byte.checked_sub(FIRST)?)))
            .copied()
            .unwrap_or(BOX)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn font_txt_has_every_printable_character_in_order() {
        let drawn: String = include_str!("font.txt")
            .lines()
            .map(|line| line.chars().next().unwrap())
            .collect();
        let printable: String = ('!'..='~').collect();
        assert_eq!(drawn, printable);
    }

    #[test]
    fn no_two_characters_look_the_same() {
        let font = Font::new();
        let looks: std::collections::BTreeSet<_> = font.glyphs.iter().collect();
        assert_eq!(looks.len(), GLYPHS);
    }
}
