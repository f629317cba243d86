//! The compute leg: rows of C, some megabytes at a time.

use crate::gpu::{Gpu, GpuError};
use nearlight_proof::log::tree::Hash;
use nearlight_proof::porc::compute::Factor;

/// What a dispatch makes at most, words: it has to end soon, whatever else the device draws.
const WORDS_MAX: u32 = 1 << 22;

/// All rows of C, in order, each as it comes.
///
/// # Errors
/// [`GpuError::Lost`].
pub fn rows(
    gpu: &Gpu,
    seed: &Hash,
    size: u32,
    mut row: impl FnMut(Vec<u32>),
) -> Result<(), GpuError> {
    let pipeline = gpu.pipeline("matrix", include_str!("wgsl/matrix.wgsl"));
    let (a, b) = (Factor::a(seed, size), Factor::b(seed, size));
    let keys = [a.row_keys(), a.column_keys(), b.row_keys(), b.column_keys()].concat();
    let keys = gpu.storage(&keys);
    let at_once = (WORDS_MAX / size.max(1)).clamp(1, size.max(1));
    let out = gpu.empty(u64::from(at_once) * u64::from(size));
    let mut first = 0;
    while first < size {
        let count = at_once.min(size - first);
        let params = gpu.uniform(&[size, first, count, 0]);
        let groups = (size.div_ceil(16), count.div_ceil(16));
        gpu.run(&pipeline, &[&params, &keys, &out], groups);
        let mut left = Vec::new();
        gpu.read(&out, u64::from(count) * u64::from(size), |words| {
            left.extend_from_slice(words);
            while left.len() >= size as usize {
                let rest = left.split_off(size as usize);
                row(std::mem::replace(&mut left, rest));
            }
        })?;
        first += count;
    }
    Ok(())
}
