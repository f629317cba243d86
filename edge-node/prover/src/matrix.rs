//! The compute leg: rows of C, some megabytes at a time.

use crate::gpu::{Gpu, GpuError};
use nearlight_proof::log::tree::Hash;
use nearlight_proof::porc::compute::Factor;

/// What a dispatch makes at most, words: 16 MiB.
const WORDS_MAX: u64 = 1 << 22;
/// What a dispatch multiplies at most, nearly: it has to end soon, whatever else the device draws.
const PRODUCTS_MAX: u64 = 1 << 32;
/// Rows of a group: fewer leave the others' threads with nothing to do.
const ROWS_OF_GROUP: u64 = 16;

/// Rows of a dispatch for matrices of this size.
#[must_use]
pub fn rows_at_once(size: u32) -> u32 {
    let size = u64::from(size.max(1));
    let rows = (PRODUCTS_MAX / (size * size)).max(ROWS_OF_GROUP);
    let rows = rows.min(WORDS_MAX / size).clamp(1, size);
    u32::try_from(rows).unwrap_or(1)
}

/// The rows of C whose numbers these are, each as it comes.
///
/// # Errors
/// [`GpuError::Lost`].
pub fn rows(
    gpu: &Gpu,
    seed: &Hash,
    size: u32,
    wanted: &[u32],
    mut row: impl FnMut(Vec<u32>),
) -> Result<(), GpuError> {
    let pipeline = gpu.pipeline("matrix", include_str!("wgsl/matrix.wgsl"));
    let (a, b) = (Factor::a(seed, size), Factor::b(seed, size));
    let keys = [a.row_keys(), a.column_keys(), b.row_keys(), b.column_keys()].concat();
    let keys = gpu.storage(&keys);
    let at_once = rows_at_once(size);
    let out = gpu.empty(u64::from(at_once) * u64::from(size));
    for some in wanted.chunks(at_once as usize) {
        // Chunks are no longer than that.
        let count = u32::try_from(some.len()).unwrap_or(at_once);
        let params = gpu.uniform(&[size, count, 0, 0]);
        let numbers = gpu.storage(some);
        let groups = (size.div_ceil(16), count.div_ceil(16));
        gpu.run(&pipeline, &[&params, &keys, &numbers, &out], groups);
        let mut left = Vec::new();
        gpu.read(&out, u64::from(count) * u64::from(size), |words| {
            left.extend_from_slice(words);
            while left.len() >= size as usize {
                let rest = left.split_off(size as usize);
                row(std::mem::replace(&mut left, rest));
            }
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_dispatch_is_bounded_in_words_and_in_work() {
        for size in [1, 15, 16, 300, 1_024, 4_096, 16_384, 65_536] {
            let rows = u64::from(rows_at_once(size));
            let size = u64::from(size);
            assert!((1..=size).contains(&rows), "{rows} of {size}");
            assert!(rows * size <= WORDS_MAX, "{rows} of {size}");
            let least = ROWS_OF_GROUP * size * size;
            assert!(
                rows * size * size <= PRODUCTS_MAX.max(least),
                "{rows} of {size}"
            );
        }
        assert_eq!(rows_at_once(16_384), 16, "four billion products a dispatch");
    }
}
