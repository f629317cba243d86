//! The arithmetic of a client's buffers on the GPU: what no driver is asked to believe. Pure, so that a
//! fuzz target needs no compositor.
//!
//! smithay adds offset and stride without looking, and hands both to EGL as signed numbers of 32 bits: what
//! is no such number is refused before.

use crate::desktop::layout::is_out_of_bounds;

/// Why no plane may lie so, if it may not.
pub(crate) fn plane_refusal(offset: u32, stride: u32) -> Option<String> {
    let end = offset.checked_add(stride);
    let fits = stride > 0 && end.is_some_and(|end| i32::try_from(end).is_ok());
    (!fits).then(|| format!("a plane at {offset} with rows of {stride} bytes"))
}

/// Why no buffer may have such sides, if it may not.
pub(crate) fn sides_refusal(width: i32, height: i32) -> Option<String> {
    is_out_of_bounds(width, height).then(|| format!("a buffer of {width} x {height} pixels"))
}
