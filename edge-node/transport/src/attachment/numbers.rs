//! Transport-wide numbers as the header extension carries them, two bytes each, cut from a block that
//! is made for many at once: a number costs no allocation of its own.

use bytes::{BufMut, Bytes, BytesMut};

/// Numbers made at once: half a second at 8 Mbit/s.
const BLOCK: u16 = 512;

/// Counts up from zero, and wraps.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// What the next block begins with.
    next: u16,
    block: Bytes,
}

impl Numbers {
    /// The next number.
    pub(super) fn take(&mut self) -> Bytes {
        if self.block.is_empty() {
            let mut block = BytesMut::with_capacity(2 * usize::from(BLOCK));
            for ahead in 0..BLOCK {
                block.put_u16(self.next.wrapping_add(ahead));
            }
            self.next = self.next.wrapping_add(BLOCK);
            self.block = block.freeze();
        }
        self.block.split_to(2)
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::counting::allocations;

    #[test]
    fn numbers_count_up_and_wrap() {
        let mut numbers = Numbers::default();
        for expected in (0..=u16::MAX).chain([0, 1]) {
            assert_eq!(numbers.take()[..], expected.to_be_bytes());
        }
    }

    #[test]
    fn a_block_of_numbers_costs_two_allocations() {
        let mut numbers = Numbers::default();
        let count = allocations(|| (0..BLOCK).for_each(|_| drop(numbers.take())));
        assert!(count <= 2, "{count}");
    }
}
