//! The render leg: tiles of a frame, some hundred at a time.

use crate::gpu::{Gpu, GpuError};
use nearlight_proof::log::tree::Hash;
use nearlight_proof::porc::mixer::digest;
use nearlight_proof::porc::render::{Scene, TILE_PIXELS};
use wgpu::{Buffer, ComputePipeline};

/// Tiles of a dispatch: 4 MiB.
const TILES_AT_ONCE: u32 = 256;

/// Draws tiles.
#[derive(Debug)]
pub struct Renderer<'a> {
    gpu: &'a Gpu,
    pipeline: ComputePipeline,
    out: Buffer,
}

impl<'a> Renderer<'a> {
    /// On this device.
    #[must_use]
    pub fn new(gpu: &'a Gpu) -> Self {
        Self {
            gpu,
            pipeline: gpu.pipeline("render", include_str!("wgsl/render.wgsl")),
            out: gpu.empty(u64::from(TILES_AT_ONCE) * TILE_PIXELS as u64),
        }
    }

    /// The digests of all tiles of a scene.
    ///
    /// # Errors
    /// [`GpuError::Lost`].
    pub fn tiles(&self, scene: &Scene, tiles: u32, steps: u32) -> Result<Vec<Hash>, GpuError> {
        let mut leaves = Vec::with_capacity(tiles as usize);
        for first in (0..tiles).step_by(TILES_AT_ONCE as usize) {
            let count = TILES_AT_ONCE.min(tiles - first);
            let spheres = scene
                .spheres()
                .as_flattened()
                .iter()
                .map(|of| of.cast_unsigned());
            let params: Vec<u32> = [scene.key(), steps, first, 0]
                .into_iter()
                .chain(spheres)
                .collect();
            let params = self.gpu.uniform(&params);
            self.gpu
                .run(&self.pipeline, &[&params, &self.out], (64, count));
            let words = u64::from(count) * TILE_PIXELS as u64;
            self.gpu.read(&self.out, words, |words| {
                leaves.extend(words.chunks(TILE_PIXELS).map(digest));
            })?;
        }
        Ok(leaves)
    }
}
