//! Buffers on the GPU that encoders read: a few of one size and layout, each used again when nobody
//! holds a lease on it.

use crate::encode::form::{self, Lease, Picture, Plane, WrapError};
use gstreamer as gst;
use smithay::backend::allocator::dmabuf::{AsDmabuf, Dmabuf};
use smithay::backend::allocator::gbm::GbmAllocator;
use smithay::backend::allocator::{Allocator, Buffer, Fourcc, Modifier};
use std::fs::File;
use std::io;
use std::sync::Arc;

/// As many as pictures in memory ([`crate::encode::picture`]).
const FRAMES: usize = 6;

/// Why there is no buffer to draw on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// All are in use.
    #[error("every buffer is in use")]
    Exhausted,
    /// GBM does not work on the node.
    #[error("this driver has no GBM to allocate buffers from")]
    NoAllocator,
    /// GBM gives none.
    #[error("GBM allocates no buffer: {0}")]
    Allocate(#[from] io::Error),
    /// It cannot be handed on.
    #[error("GBM exports no buffer: {0}")]
    Export(String),
    /// Encoders take one plane of a layout that has a name.
    #[error(
        "GBM's buffers have {planes} planes of layout {modifier:#x}; encoders take one that has a name"
    )]
    Layout {
        /// How many.
        planes: usize,
        /// DRM's modifier.
        modifier: u64,
    },
    /// GStreamer does not take it.
    #[error(transparent)]
    Wrap(#[from] WrapError),
}

/// The buffers.
#[derive(Debug)]
pub(super) struct Frames {
    size: (u32, u32),
    modifier: u64,
    frames: Vec<Frame>,
}

#[derive(Debug)]
struct Frame {
    dmabuf: Dmabuf,
    buffer: gst::Buffer,
    /// Ours; others are pictures'.
    lease: Lease,
}

impl Frames {
    /// Buffers of one of these layouts, which the driver chooses.
    pub(super) fn new(
        allocator: &mut GbmAllocator<Arc<File>>,
        size: (u32, u32),
        modifiers: &[Modifier],
    ) -> Result<Self, FrameError> {
        let first = Frame::new(allocator, size, modifiers)?;
        let modifier = first.dmabuf.format().modifier;
        let mut frames = vec![first];
        while frames.len() < FRAMES {
            frames.push(Frame::new(allocator, size, &[modifier])?);
        }
        Ok(Self {
            size,
            modifier: modifier.into(),
            frames,
        })
    }

    /// The layout that the driver chose.
    pub(super) fn modifier(&self) -> u64 {
        self.modifier
    }

    /// Whether they are of this size and layout.
    pub(super) fn are(&self, size: (u32, u32), modifier: u64) -> bool {
        (self.size, self.modifier) == (size, modifier)
    }

    /// One that nobody reads, to draw on, and the picture that it becomes.
    pub(super) fn next(&mut self) -> Result<(&mut Dmabuf, Picture), FrameError> {
        let modifier = self.modifier;
        let free = self.frames.iter_mut().find(|frame| is_free(&frame.lease));
        let frame = free.ok_or(FrameError::Exhausted)?;
        let lease = Arc::clone(&frame.lease);
        let picture = Picture::on_gpu(frame.buffer.clone(), modifier, lease);
        Ok((&mut frame.dmabuf, picture))
    }
}

/// Whether no picture holds it.
fn is_free(lease: &Lease) -> bool {
    Arc::strong_count(lease) == 1
}

impl Frame {
    fn new(
        allocator: &mut GbmAllocator<Arc<File>>,
        size: (u32, u32),
        modifiers: &[Modifier],
    ) -> Result<Self, FrameError> {
        let allocated = allocator.create_buffer(size.0, size.1, Fourcc::Xrgb8888, modifiers)?;
        let exported = allocated.export();
        let dmabuf = exported.map_err(|e| FrameError::Export(e.to_string()))?;
        let modifier = dmabuf.format().modifier;
        let mut planes = dmabuf.handles().zip(dmabuf.offsets().zip(dmabuf.strides()));
        let (Some((fd, (offset, stride))), 1, true) = (
            planes.next(),
            dmabuf.num_planes(),
            modifier != Modifier::Invalid,
        ) else {
            return Err(FrameError::Layout {
                planes: dmabuf.num_planes(),
                modifier: modifier.into(),
            });
        };
        let fd = fd.try_clone_to_owned()?;
        let plane = Plane { fd, offset, stride };
        let buffer = form::wrap(plane, size)?;
        drop(planes);
        Ok(Self {
            dmabuf,
            buffer,
            lease: Lease::default(),
        })
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_frame_is_free_when_the_last_picture_lets_go() {
        gst::init().unwrap();
        let lease = Lease::default();
        assert!(is_free(&lease));
        let picture = Picture::on_gpu(gst::Buffer::new(), 0, Arc::clone(&lease));
        let shown_again = picture.clone();
        drop(picture);
        assert!(!is_free(&lease));
        drop(shown_again);
        assert!(is_free(&lease));
    }
}
