//! The memory leg's blocks: made on the device and held there.

use crate::gpu::{Gpu, GpuError};
use nearlight_proof::log::tree::Hash;
use nearlight_proof::porc::memory::{BLOCK_WORDS, Fill};
use nearlight_proof::porc::mixer::digest;
use wgpu::Buffer;

/// Blocks that are held.
#[derive(Debug)]
pub struct Filled {
    pub(crate) buffers: Vec<Buffer>,
    /// Blocks of each buffer but the last.
    pub(crate) per_buffer: u32,
    /// All of them.
    pub(crate) blocks: u32,
}

/// Makes the blocks of a seed, in buffers of at most `buffer_bytes`; with them their leaves.
///
/// # Errors
/// [`GpuError::Buffers`], [`GpuError::Lost`].
pub fn fill(
    gpu: &Gpu,
    seed: &Hash,
    blocks: u32,
    buffer_bytes: u64,
) -> Result<(Filled, Vec<Hash>), GpuError> {
    let bytes = buffer_bytes.min(gpu.buffer_bytes_max());
    let per_buffer = u32::try_from(bytes / (BLOCK_WORDS as u64 * 4))
        .unwrap_or(u32::MAX)
        .max(1);
    let needs = blocks.div_ceil(per_buffer) as usize;
    let has = gpu.fill_buffers_max();
    if needs > has {
        return Err(GpuError::Buffers { needs, has });
    }
    let pipeline = gpu.pipeline("fill", include_str!("wgsl/fill.wgsl"));
    let key = Fill::new(seed).key();
    let mut filled = Filled {
        buffers: Vec::new(),
        per_buffer,
        blocks,
    };
    let mut leaves = Vec::with_capacity(blocks as usize);
    for first in (0..blocks).step_by(per_buffer as usize) {
        let count = per_buffer.min(blocks - first);
        let words = u64::from(count) * BLOCK_WORDS as u64;
        let buffer = gpu.empty(words);
        gpu.check()?;
        let params = [&[first, count, 0, 0], key.as_slice()].concat();
        let params = gpu.uniform(&params);
        gpu.run(&pipeline, &[&params, &buffer], (count.div_ceil(64), 1));
        filled.buffers.push(buffer);
    }
    // Whole blocks come: a piece is a multiple of one.
    for (buffer, first) in filled
        .buffers
        .iter()
        .zip((0..blocks).step_by(per_buffer as usize))
    {
        let count = per_buffer.min(blocks - first);
        gpu.read(buffer, u64::from(count) * BLOCK_WORDS as u64, |words| {
            leaves.extend(words.chunks(BLOCK_WORDS).map(digest));
        })?;
    }
    Ok((filled, leaves))
}
