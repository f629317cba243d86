//! The GPU that a session has: composites on it, takes apps' buffers on it, and hands pictures on it
//! to encoders.
//!
//! ```text
//! open(render node) --no EGL, software, no rights--> an error that says why; the CPU composites
//!        |
//!        v                      +-- read_back --> rows of RGBX in memory, for an encoder by CPU
//! Gpu: apps' buffers -- draw ---+
//!        (scaled there)         +-- paint ------> a buffer that an encoder on the GPU reads
//! ```
//!
//! Everything is drawn once, into a buffer of our own, also where an app's buffer is the whole
//! picture: the app gets its buffer back as soon as that is done, the encoder only ever sees the few
//! buffers that it was tried with, and nobody changes a picture while it is encoded. docs/adr/0007
//! has what that costs.
//!
//! **Invariants.** Neither way leaves work on the GPU behind: when it returns, apps' buffers are read
//! and the picture is there. A renderer by CPU is refused except where it is asked for by name.
//!
//! **What it does not know:** Wayland, commits, which encoder there is.

pub(crate) mod draw;
mod frames;
mod open;
pub mod trial;

pub(crate) use draw::Cut;
pub use open::OpenError;

use super::composite::Elements;
use super::scene::Scene;
use crate::encode::form::Picture;
use draw::Targets;
pub(crate) use frames::FrameError;
use frames::Frames;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::allocator::gbm::GbmAllocator;
use smithay::backend::allocator::{Format, Fourcc, Modifier};
use smithay::backend::renderer::element::RenderElement;
use smithay::backend::renderer::gles::{GlesError, GlesRenderer};
use smithay::backend::renderer::{ExportMem, ImportDma, Offscreen, Renderer};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// What apps may use: eight bits a colour, which every driver and every encoder has.
const FORMATS: [Fourcc; 4] = [
    Fourcc::Xrgb8888,
    Fourcc::Argb8888,
    Fourcc::Xbgr8888,
    Fourcc::Abgr8888,
];

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GpuError {
    /// The driver refuses, or the GPU is gone.
    #[error("the GPU does not draw: {0}")]
    Renderer(#[from] GlesError),
    /// The same, inside smithay's damage tracking.
    #[error("the GPU does not composite: {0}")]
    Draw(String),
    /// No buffer for an encoder.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl GpuError {
    /// Whether it draws, but there are no buffers for encoders.
    pub(crate) fn is_frameless(&self) -> bool {
        matches!(self, Self::Frame(error) if !matches!(error, FrameError::Exhausted))
    }

    /// Whether all pictures are in use, which passes.
    pub(crate) fn is_exhausted(&self) -> bool {
        matches!(self, Self::Frame(FrameError::Exhausted))
    }
}

/// An open GPU and what is drawn on.
#[derive(Debug)]
pub struct Gpu {
    // Before what it was made of: dropped first.
    targets: Targets,
    frames: Option<Frames>,
    renderer: GlesRenderer,
    /// Where buffers for encoders come from; a renderer by CPU has none.
    allocator: Option<GbmAllocator<Arc<File>>>,
    /// The open render node.
    node: Option<Arc<File>>,
    /// The renderer, as its driver names it.
    name: String,
    /// The render node, as the kernel numbers devices.
    device: u64,
}

impl Gpu {
    /// Opens the GPU behind a render node.
    ///
    /// # Errors
    /// [`OpenError`] if nothing can be drawn on it.
    pub fn open(node: &Path) -> Result<Self, OpenError> {
        open::node(node)
    }

    /// A renderer by CPU, for tests and for `--try-gpu software`: it is slower than compositing
    /// without one, and no session gets it.
    ///
    /// # Errors
    /// [`OpenError`] if Mesa is not installed.
    pub fn software() -> Result<Self, OpenError> {
        open::software()
    }

    /// The renderer, as its driver names it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The render node's device number.
    pub(crate) fn device(&self) -> u64 {
        self.device
    }

    /// The open render node; a renderer by CPU has none.
    pub(crate) fn node(&self) -> Option<&File> {
        self.node.as_deref()
    }

    /// What apps may hand over. A layout that only the driver knows is left out: there it would be
    /// up to luck.
    pub(crate) fn formats(&self) -> Vec<Format> {
        let all = self.renderer.dmabuf_formats();
        let usable = |f: &&Format| FORMATS.contains(&f.code) && f.modifier != Modifier::Invalid;
        all.iter().filter(usable).copied().collect()
    }

    /// Takes an app's buffer, to see whether it can be drawn.
    pub(crate) fn import(&mut self, buffer: &Dmabuf) -> Result<(), GlesError> {
        // An app that shows nothing and makes buffers without end must not pile up textures.
        self.renderer.cleanup_texture_cache()?;
        self.renderer.import_dmabuf(buffer, None).map(|_| ())
    }

    /// Layouts of buffers for encoders, in the order in which they are tried: whichever the driver
    /// likes best, then rows one after the other, which everybody reads.
    pub(crate) fn layouts(&self) -> [Vec<Modifier>; 2] {
        let all = self.renderer.egl_context().dmabuf_render_formats().iter();
        let named = all.filter(|f| f.code == Fourcc::Xrgb8888 && f.modifier != Modifier::Invalid);
        let linear = vec![Modifier::Linear];
        [named.map(|f| f.modifier).collect(), linear]
    }

    /// What is visible, ready to be drawn.
    pub(crate) fn elements(&mut self, scene: &Scene) -> Elements<GlesRenderer> {
        super::composite::elements(&mut self.renderer, scene)
    }

    /// Draws and calls `f` with the picture's rows, four bytes a pixel, red first.
    pub(crate) fn read_back<E: RenderElement<GlesRenderer>, T>(
        &mut self,
        elements: &[E],
        cut: Cut,
        f: impl FnOnce(&[u8], u32) -> T,
    ) -> Result<T, GpuError> {
        let (width, height) = cut.size();
        let mut out = match self.targets.take_out(cut) {
            Some(out) => out,
            None => self
                .renderer
                .create_buffer(Fourcc::Abgr8888, draw::buffer_size(cut.size()))?,
        };
        let drawn = self.targets.draw(
            &mut self.renderer,
            elements,
            cut,
            &mut out,
            |renderer, target| {
                let all =
                    smithay::utils::Rectangle::from_size((width as i32, height as i32).into());
                renderer.copy_framebuffer(target, all, Fourcc::Abgr8888)
            },
        )?;
        self.targets.give_out(out);
        let pixels = self.renderer.map_texture(&drawn)?;
        Ok(f(pixels, width * 4))
    }

    /// Draws into a buffer for an encoder, laid out by `modifier`.
    pub(crate) fn paint<E: RenderElement<GlesRenderer>>(
        &mut self,
        elements: &[E],
        cut: Cut,
        modifier: u64,
    ) -> Result<Picture, GpuError> {
        if !self
            .frames
            .as_ref()
            .is_some_and(|f| f.are(cut.size(), modifier))
        {
            let allocator = self.allocator.as_mut().ok_or(FrameError::NoAllocator)?;
            // Encoders may hold the old ones; they go when the last of them lets go.
            self.frames = Some(Frames::new(allocator, cut.size(), &[modifier.into()])?);
        }
        let frames = self.frames.as_mut().ok_or(FrameError::NoAllocator)?;
        let (buffer, picture) = frames.next()?;
        self.targets
            .draw(&mut self.renderer, elements, cut, buffer, |renderer, _| {
                draw::finish(renderer)
            })?;
        Ok(picture)
    }
}

#[cfg(test)]
mod test;
