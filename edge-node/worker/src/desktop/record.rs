//! Raw frames on disk, for the benchmark of the encoder alone (`--record-frames`).

use std::path::{Path, PathBuf};

/// Appends a frame to the recording, if there is one and it is not full. Off in every real
/// session; a failed write ends it.
pub(super) fn record_frame(
    record: &mut Option<(PathBuf, u32)>,
    pixels: &[u8],
    stride: u32,
    width: u32,
) {
    let Some((dir, left)) = record else { return };
    if let Err(error) = write_frame(dir, *left, pixels, stride, width) {
        tracing::error!(%error, dir = %dir.display(), "recording ends");
        *left = 1;
    }
    *left -= 1;
    if *left == 0 {
        *record = None;
    }
}

fn write_frame(
    dir: &Path,
    left: u32,
    pixels: &[u8],
    stride: u32,
    width: u32,
) -> std::io::Result<()> {
    let mut packed = Vec::with_capacity(pixels.len());
    for row in pixels.chunks_exact(stride as usize) {
        packed.extend_from_slice(&row[..width as usize * 4]);
    }
    // `left` counts down, names sort up.
    std::fs::write(dir.join(format!("{:06}.bgrx", 999_999 - left)), packed)
}
