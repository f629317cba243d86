//! The memory leg's blocks: made on the device and held there.

use crate::gpu::{Gpu, GpuError};
use nearlight_proof::log::tree::Hash;
use nearlight_proof::porc::memory::{BLOCK_STEPS, BLOCK_WORDS, Fill};
use nearlight_proof::porc::mixer::digest;
use wgpu::Buffer;

/// Of a block, one after the other.
const STEPS: u32 = BLOCK_STEPS as u32;

/// Blocks that are held.
#[derive(Debug)]
pub struct Filled {
    pub(crate) buffers: Vec<Buffer>,
    /// Blocks of each buffer but the last.
    pub(crate) per_buffer: u32,
    /// All of them.
    pub(crate) blocks: u32,
}

/// Into which pieces a fill is cut.
#[derive(Clone, Copy, Debug)]
pub struct Pieces {
    /// The largest buffer, bytes.
    pub buffer_bytes: u64,
    /// What a dispatch does at most, steps of all its blocks together; a step of each at the least.
    pub steps: u64,
}

impl Default for Pieces {
    fn default() -> Self {
        Self {
            buffer_bytes: u64::MAX,
            steps: STEPS_MAX,
        }
    }
}

/// What a dispatch does at most. Drivers end a program whose work does not come to an end within two seconds, and a
/// session that comes waits for what was submitted. A step moves some 250 bytes of memory at the worst: this is a third
/// of a second of a GPU with 50 GB/s.
const STEPS_MAX: u64 = 1 << 26;

/// Makes the blocks of a seed in such pieces; with them their leaves.
///
/// # Errors
/// [`GpuError::Buffers`], [`GpuError::Lost`].
pub fn fill(
    gpu: &Gpu,
    seed: &Hash,
    blocks: u32,
    pieces: Pieces,
) -> Result<(Filled, Vec<Hash>), GpuError> {
    let bytes = pieces.buffer_bytes.min(gpu.buffer_bytes_max());
    let per_buffer = u32::try_from(bytes / (BLOCK_WORDS as u64 * 4))
        .unwrap_or(u32::MAX)
        .max(1);
    let needs = blocks.div_ceil(per_buffer) as usize;
    let has = gpu.fill_buffers_max();
    if needs > has {
        return Err(GpuError::Buffers { needs, has });
    }
    let mut filled = Filled {
        buffers: Vec::new(),
        per_buffer,
        blocks,
    };
    for (_, count) in filled.parts() {
        let buffer = gpu.empty(u64::from(count) * BLOCK_WORDS as u64);
        gpu.check()?;
        filled.buffers.push(buffer);
    }
    make(gpu, seed, &filled, pieces.steps)?;
    let mut leaves = Vec::with_capacity(blocks as usize);
    // Whole blocks come: a piece is a multiple of one.
    for (buffer, (_, count)) in filled.buffers.iter().zip(filled.parts()) {
        gpu.read(buffer, u64::from(count) * BLOCK_WORDS as u64, |words| {
            leaves.extend(words.chunks(BLOCK_WORDS).map(digest));
        })?;
    }
    Ok((filled, leaves))
}

/// So many steps of all blocks, then so many more: buffers that do not wait for one another keep a large GPU busy.
fn make(gpu: &Gpu, seed: &Hash, filled: &Filled, steps_max: u64) -> Result<(), GpuError> {
    let pipeline = gpu.pipeline("fill", include_str!("wgsl/fill.wgsl"));
    let key = Fill::new(seed).key();
    let at_once = steps_at_once(filled.per_buffer.min(filled.blocks), steps_max);
    for begin in (0..STEPS).step_by(at_once as usize) {
        let end = STEPS.min(begin + at_once);
        for (buffer, (first, count)) in filled.buffers.iter().zip(filled.parts()) {
            let params = [&[first, count, begin, end], key.as_slice()].concat();
            let params = gpu.uniform(&params);
            gpu.run(&pipeline, &[&params, buffer], (count.div_ceil(64), 1));
        }
        gpu.check()?;
    }
    Ok(())
}

/// Steps of each of so many blocks in a dispatch. No more than a pass: llvmpipe leaves all loops of a program after 65,535
/// rounds together.
fn steps_at_once(blocks: u32, steps_max: u64) -> u32 {
    let each = steps_max / u64::from(blocks.max(1));
    let each = each.clamp(1, BLOCK_WORDS as u64);
    u32::try_from(each).unwrap_or(1)
}

impl Filled {
    /// The first block of each buffer, and how many it has.
    fn parts(&self) -> impl Iterator<Item = (u32, u32)> + use<> {
        let (blocks, per_buffer) = (self.blocks, self.per_buffer);
        let firsts = (0..blocks).step_by(per_buffer as usize);
        firsts.map(move |first| (first, per_buffer.min(blocks - first)))
    }
}

#[cfg(test)]
mod test {
    use super::*;

    /// A buffer of a gigabyte had its billion steps in one dispatch.
    #[test]
    fn no_dispatch_of_a_fill_does_more_than_is_said() {
        for blocks in [1, 200, 4_096, 16_384, 1 << 22] {
            let each = u64::from(steps_at_once(blocks, STEPS_MAX));
            assert!((1..=BLOCK_WORDS as u64).contains(&each));
            assert!(each * u64::from(blocks) <= STEPS_MAX, "{blocks}");
        }
        assert_eq!(steps_at_once(16_384, STEPS_MAX), 4_096);
        assert_eq!(steps_at_once(9, 1), 1);
    }
}
