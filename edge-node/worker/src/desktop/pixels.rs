#![allow(
    unsafe_code,
    reason = "pixels of clients and of the renderer are only reachable as raw pointers"
)]
//! The two places where pixels are read through a pointer.

use super::layout::{self, Layout};
use smithay::reexports::pixman;
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::wayland::shm::{BufferAccessError, BufferData, with_buffer_contents};

/// Why a client's pixels cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not shared memory, or the client truncated it and has been cut off.
    #[error("the buffer cannot be read: {0}")]
    Access(#[from] BufferAccessError),
    /// Its rows end outside its pool.
    #[error("the buffer is larger than its memory")]
    OutOfPool,
}

/// Calls `f` with the rows of a client's shared-memory buffer, four bytes a pixel.
///
/// If the client truncated the file behind the memory, `f` sees zeros from there on and the result
/// is [`ReadError::Access`].
///
/// # Errors
/// [`ReadError`] if the buffer cannot be read.
pub(crate) fn with_pixels<T>(
    buffer: &WlBuffer,
    f: impl FnOnce(&[u8], BufferData) -> T,
) -> Result<T, ReadError> {
    with_buffer_contents(buffer, |pool, pool_len, data| {
        let rows = layout::rows(pool_len, &described(&data)).ok_or(ReadError::OutOfPool)?;
        // SAFETY: `pool` is a live mapping of `pool_len` bytes while this closure runs, and `rows`
        // starts within it.
        let first = unsafe { pool.add(rows.start) };
        // SAFETY: `rows` ends within the mapping. The client may write to it at the same time; `f`
        // only moves bytes and computes colours from them, no branch or length depends on their
        // values, so a torn read is a torn picture and nothing else. A fault in the mapping is
        // caught by smithay's SIGBUS handler, which maps zeros over it.
        let bytes = unsafe { std::slice::from_raw_parts(first, rows.len()) };
        Ok(f(bytes, data))
    })?
}

fn described(data: &BufferData) -> Layout {
    Layout {
        offset: data.offset,
        width: data.width,
        height: data.height,
        stride: data.stride,
    }
}

/// The pixels of an image that pixman owns, and the bytes between two rows.
pub(crate) fn image_pixels<'a>(image: &'a pixman::Image<'static, 'static>) -> (&'a [u8], u32) {
    let bytes = image.stride() * image.height();
    // SAFETY: the image was made by `pixman::Image::new`, so its memory holds `stride * height`
    // bytes and lives as long as the image, which is borrowed.
    let data = unsafe { image.data() };
    // SAFETY: as above; nothing writes to it while the image is borrowed.
    let pixels = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), bytes) };
    (pixels, image.stride() as u32)
}
