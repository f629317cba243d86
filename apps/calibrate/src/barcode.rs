//! The machine-readable part of the picture: what is in it, and as which cells.
//!
//! The layout is a contract with every reader of the picture; docs/calibrate.md is its
//! specification and this module its only writer. `decode` is the reader that the tests use.

/// Cells in a row.
pub(crate) const COLUMNS: usize = 32;
/// Rows of payload below the row of sync cells.
pub(crate) const PAYLOAD_ROWS: usize = 7;
/// All rows.
pub(crate) const ROWS: usize = 1 + PAYLOAD_ROWS;

/// Flag bits, least significant first.
pub(crate) mod flag {
    /// The background is light.
    pub(crate) const LIGHT: u8 = 1 << 0;
    /// The pointer is locked.
    pub(crate) const LOCKED: u8 = 1 << 1;
    /// The pointer is over the picture.
    pub(crate) const POINTER_INSIDE: u8 = 1 << 2;
    /// The picture has the keyboard.
    pub(crate) const KEYBOARD: u8 = 1 << 3;
    /// The sound server plays the clicks.
    pub(crate) const SOUND: u8 = 1 << 4;
    /// Commits come on input events too.
    pub(crate) const IMMEDIATE: u8 = 1 << 5;
}

/// What the barcode says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Payload {
    /// Commits so far, this one included.
    pub(crate) counter: u32,
    /// Key and button presses so far, modulo 256.
    pub(crate) inputs: u8,
    /// Bits of [`flag`].
    pub(crate) flags: u8,
    /// Evdev code of the last key or button that was pressed, or 0.
    pub(crate) code: u16,
    /// Pointer position, whole pixels of the picture.
    pub(crate) pointer: (u16, u16),
    /// Sum of all relative motion, whole pixels, wrapping.
    pub(crate) relative: (i16, i16),
    /// Sum of all scrolling, horizontal and vertical, wrapping.
    pub(crate) wheel: (i16, i16),
    /// CRC-32 of the clipboard text that was read last, or 0.
    pub(crate) clipboard: u32,
}

/// The cells, row by row from the top; bit 31 of a row is its leftmost cell, 1 is white.
pub(crate) type Cells = [u32; ROWS];

/// The sync row: white first.
pub(crate) const SYNC: u32 = 0xaaaa_aaaa;

impl Payload {
    /// The payload as cells.
    pub(crate) fn cells(&self) -> Cells {
        let words = [
            self.counter,
            u32::from_be_bytes([self.inputs, self.flags, hi(self.code), lo(self.code)]),
            pair(self.pointer.0, self.pointer.1),
            pair(self.relative.0 as u16, self.relative.1 as u16),
            pair(self.wheel.0 as u16, self.wheel.1 as u16),
            self.clipboard,
        ];
        let mut cells = [SYNC; ROWS];
        cells[1..PAYLOAD_ROWS].copy_from_slice(&words);
        cells[PAYLOAD_ROWS] = crc32(words.iter().flat_map(|word| word.to_be_bytes()));
        cells
    }
}

/// CRC-32 (ISO-HDLC, that of zip and PNG).
pub(crate) fn crc32(bytes: impl IntoIterator<Item = u8>) -> u32 {
    !bytes.into_iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1))
        })
    })
}

fn hi(value: u16) -> u8 {
    value.to_be_bytes()[0]
}

fn lo(value: u16) -> u8 {
    value.to_be_bytes()[1]
}

fn pair(first: u16, second: u16) -> u32 {
    u32::from(first) << 16 | u32::from(second)
}

/// Reads cells back: the payload, if sync and checksum hold.
#[cfg(test)]
pub(crate) fn decode(cells: &Cells) -> Option<Payload> {
    let words = &cells[1..PAYLOAD_ROWS];
    let sum = crc32(words.iter().flat_map(|word| word.to_be_bytes()));
    if cells[0] != SYNC || sum != cells[PAYLOAD_ROWS] {
        return None;
    }
    let [inputs, flags, code @ ..] = words[1].to_be_bytes();
    let halves = |word: u32| ((word >> 16) as u16, word as u16);
    let signed = |(a, b): (u16, u16)| (a as i16, b as i16);
    Some(Payload {
        counter: words[0],
        inputs,
        flags,
        code: u16::from_be_bytes(code),
        pointer: halves(words[2]),
        relative: signed(halves(words[3])),
        wheel: signed(halves(words[4])),
        clipboard: words[5],
    })
}

#[cfg(test)]
pub(crate) fn example() -> Payload {
    Payload {
        counter: 1000,
        inputs: 7,
        flags: flag::LIGHT | flag::POINTER_INSIDE | flag::KEYBOARD,
        code: 30,
        pointer: (640, 360),
        relative: (-3, 12),
        wheel: (0, 15),
        clipboard: crc32(*b"calibrate 1"),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_zip() {
        assert_eq!(crc32(*b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn the_example_of_the_specification_holds() {
        let page = include_str!("../../../docs/calibrate.md");
        let hex: Vec<_> = example()
            .cells()
            .iter()
            .map(|row| format!("{row:08x}"))
            .collect();
        assert!(page.contains(&hex.join(" ")), "{}", hex.join(" "));
    }

    #[test]
    fn a_payload_survives_and_a_flipped_cell_does_not() {
        let cells = example().cells();
        assert_eq!(decode(&cells), Some(example()));
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                let mut torn = cells;
                torn[row] ^= 1 << column;
                assert_eq!(decode(&torn), None, "row {row} column {column}");
            }
        }
    }
}
