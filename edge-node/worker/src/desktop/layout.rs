//! The arithmetic of a client's shared-memory buffers: what is too large, and which bytes of a pool
//! are read. Pure, so that a fuzz target needs no compositor.

use crate::limits::{BUFFER_BYTES_MAX, BUFFER_SIDE_MAX};

/// A buffer in a pool, as its client describes it.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// First byte.
    pub offset: i32,
    /// Pixels of four bytes.
    pub width: i32,
    /// Rows.
    pub height: i32,
    /// Bytes from one row to the next.
    pub stride: i32,
}

/// Whether no such buffer may be made.
pub fn is_unfit(width: i32, height: i32, stride: i32) -> bool {
    is_out_of_bounds(width, height)
        || stride <= 0
        || i64::from(stride) * i64::from(height) > BUFFER_BYTES_MAX
}

/// Whether no buffer of such sides may be made, wherever it lies.
pub fn is_out_of_bounds(width: i32, height: i32) -> bool {
    let side = 1..=BUFFER_SIDE_MAX;
    !side.contains(&width) || !side.contains(&height)
}

/// The bytes of its rows, or `None` if they do not lie within a pool of `pool_len` bytes.
pub fn rows(pool_len: usize, layout: &Layout) -> Option<std::ops::Range<usize>> {
    let size = |value: i32| usize::try_from(value).ok();
    let (start, stride, height) = (
        size(layout.offset)?,
        size(layout.stride)?,
        size(layout.height)?,
    );
    let end = start + stride * height;
    if pool_len == 0 || end > pool_len || size(layout.width)? * 4 > stride {
        return None;
    }
    Some(start..end)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn rows_end_within_the_pool() {
        let layout = |offset, width, height, stride| Layout {
            offset,
            width,
            height,
            stride,
        };
        for (pool, layout, fits) in [
            (4096, layout(0, 16, 64, 64), true),
            (4095, layout(0, 16, 64, 64), false),
            (4096, layout(1, 16, 64, 64), false),
            (4096, layout(-1, 16, 64, 64), false),
            (4096, layout(0, 17, 64, 64), false),
            (0, layout(0, 16, 64, 64), false),
            (
                usize::MAX,
                layout(i32::MAX, i32::MAX / 4, i32::MAX, i32::MAX),
                true,
            ),
        ] {
            assert_eq!(rows(pool, &layout).is_some(), fits, "{pool} {layout:?}");
        }
    }
}
