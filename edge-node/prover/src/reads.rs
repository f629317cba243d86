//! The memory leg's reads, over blocks that are held.

use crate::fill::Filled;
use crate::gpu::{Gpu, GpuError};
use nearlight_proof::porc::memory::{Reads, SEGMENT_READS};
use std::fmt::Write as _;
use wgpu::Buffer;

/// The values that each lane kept.
///
/// # Errors
/// [`GpuError::Lost`].
pub fn lanes(
    gpu: &Gpu,
    filled: &Filled,
    reads: &Reads,
    (lanes, turns): (u32, u32),
) -> Result<Vec<Vec<u32>>, GpuError> {
    let source = [&words_of(filled), include_str!("wgsl/reads.wgsl")].concat();
    let pipeline = gpu.pipeline("reads", &source);
    let segments = turns.div_ceil(SEGMENT_READS);
    let all = u64::from(segments) * u64::from(lanes);
    let values = gpu.empty(all);
    for segment in 0..segments {
        let count = (turns - segment * SEGMENT_READS).min(SEGMENT_READS);
        let params = [
            &[segment, count, lanes, filled.blocks],
            reads.key().as_slice(),
        ]
        .concat();
        let params = gpu.uniform(&params);
        let bound: Vec<&Buffer> = [&params, &values]
            .into_iter()
            .chain(&filled.buffers)
            .collect();
        gpu.run(&pipeline, &bound, (lanes.div_ceil(64), 1));
    }
    let mut found = Vec::new();
    gpu.read(&values, all, |words| found.extend_from_slice(words))?;
    let of = |lane: u32| {
        found
            .iter()
            .skip(lane as usize)
            .step_by(lanes as usize)
            .copied()
            .collect()
    };
    Ok((0..lanes).map(of).collect())
}

/// `word(block, place)` over as many buffers as the fill has.
fn words_of(filled: &Filled) -> String {
    let mut source = String::new();
    let mut cases = String::new();
    for n in 0..filled.buffers.len() {
        let binding = n + 2;
        // Writing to a string does not fail.
        let _ = writeln!(
            source,
            "@group(0) @binding({binding}) var<storage, read> part{n}: array<u32>;"
        );
        let _ = writeln!(cases, "        case {n}u: {{ return part{n}[at]; }}");
    }
    let per = filled.per_buffer;
    let _ = write!(
        source,
        "fn word(block: u32, place: u32) -> u32 {{\n    let at = (block % {per}u) * 16384u + place;\n    \
         switch (block / {per}u) {{\n{cases}        default: {{ return 0u; }}\n    }}\n}}\n"
    );
    source
}
