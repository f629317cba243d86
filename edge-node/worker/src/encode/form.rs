//! How a picture is handed to an encoder: as I420 in memory of our own, or as a buffer of the GPU's
//! that the encoder reads where it is.
//!
//! A picture in a GPU's buffer carries a lease: whoever draws into such buffers draws on none whose
//! lease is still held. [`super::flow`] holds it until the access unit is there, for an encoder on
//! another GPU engine reads the buffer long after it took the [`gst::Buffer`].
//!
//! **What it does not know:** who draws, EGL, which encoder takes which form.
#![allow(unsafe_code, reason = "GStreamer takes a descriptor's size on trust")]

use super::picture::{self, Shape};
use gstreamer as gst;
use gstreamer::glib;
use gstreamer_allocators as gst_allocators;
use gstreamer_allocators::prelude::*;
use gstreamer_video as gst_video;
use nearlight_stream::marker::Drawn;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// DRM's name of four bytes a pixel, blue first, the last one ignored.
const XRGB8888: &str = "XR24";
/// DRM's modifier of rows one after the other.
const LINEAR: u64 = 0;
/// The first GStreamer whose caps name DRM formats with their modifiers.
const GSTREAMER_DRM: (u32, u32) = (1, 24);

/// What an encoder is handed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// I420 in our own memory.
    #[default]
    Memory,
    /// XRGB8888 in one plane of a GPU's buffer, laid out as this DRM modifier says.
    Dmabuf {
        /// The modifier.
        modifier: u64,
    },
}

impl Form {
    /// Pictures of this form and shape, as GStreamer names them.
    ///
    /// # Errors
    /// If GStreamer knows no such size.
    pub fn caps(self, shape: Shape) -> Result<gst::Caps, glib::BoolError> {
        let Self::Dmabuf { modifier } = self else {
            return picture::layout(shape)?.to_caps();
        };
        let side = |side: u32| i32::try_from(side).unwrap_or(i32::MAX);
        let rate = gst::Fraction::new(side(shape.hz), 1);
        Ok(gst::Caps::builder("video/x-raw")
            .features(["memory:DMABuf"])
            .field("format", "DMA_DRM")
            .field("drm-format", drm_format(modifier))
            .field("width", side(shape.width))
            .field("height", side(shape.height))
            .field("framerate", rate)
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
            .field("interlace-mode", "progressive")
            .field("colorimetry", "sRGB")
            .build())
    }
}

/// Why this GStreamer hands no GPU's buffer to any encoder, if so.
pub fn lacks_dmabuf() -> Option<String> {
    let (major, minor, micro, _) = gst::version();
    ((major, minor) < GSTREAMER_DRM).then(|| {
        let (needs_major, needs_minor) = GSTREAMER_DRM;
        format!(
            "GStreamer {major}.{minor}.{micro} does not name the layouts of GPU buffers; {needs_major}.\
             {needs_minor} is the first that does"
        )
    })
}

/// Linear is what a format without a modifier means.
fn drm_format(modifier: u64) -> String {
    match modifier {
        LINEAR => XRGB8888.to_owned(),
        tiled => format!("{XRGB8888}:0x{tiled:016x}"),
    }
}

/// What must be let go of before a picture's memory is drawn on again.
pub type Lease = Arc<()>;

/// A finished picture. Clones share its memory.
#[derive(Clone, Debug)]
pub struct Picture {
    pub(super) buffer: gst::Buffer,
    pub(super) form: Form,
    lease: Option<Lease>,
    drawn: Option<Drawn>,
}

impl From<gst::Buffer> for Picture {
    /// I420 in memory, whose pool knows by itself what is in use.
    fn from(buffer: gst::Buffer) -> Self {
        Self {
            buffer,
            form: Form::Memory,
            lease: None,
            drawn: None,
        }
    }
}

impl Picture {
    /// A picture in a GPU's buffer, wrapped by [`wrap`]; `lease` says that it is in use.
    pub(crate) fn on_gpu(buffer: gst::Buffer, modifier: u64, lease: Lease) -> Self {
        Self {
            buffer,
            form: Form::Dmabuf { modifier },
            lease: Some(lease),
            drawn: None,
        }
    }

    /// I420 in memory with this in it.
    pub(super) fn marked(buffer: gst::Buffer, drawn: Option<Drawn>) -> Self {
        Self {
            drawn,
            ..buffer.into()
        }
    }

    /// The picture as it is shown at this time: what is shown again later has the later signs, in memory of its own, for
    /// somebody may still read the picture. Seldom: a screen that stands still, a key frame.
    pub(super) fn shown_at(mut self, commit_us: u64) -> Self {
        let Some(drawn) = self.drawn.filter(|drawn| !drawn.is_of(commit_us)) else {
            return self;
        };
        if let Ok(mut copy) = self.buffer.copy_deep() {
            if let Some(fresh) = copy.get_mut()
                && let Ok(mut map) = fresh.map_writable()
            {
                drawn.redraw(map.as_mut_slice(), commit_us);
            }
            self.buffer = copy;
        }
        self
    }

    /// A picture in memory with a lease on it, as one on the GPU has.
    #[cfg(test)]
    pub(super) fn leased(mut self, lease: Lease) -> Self {
        self.lease = Some(lease);
        self
    }

    /// What the encoder reads, if it lies in memory.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.buffer.map_readable().unwrap().to_vec()
    }

    /// What keeps its memory from being drawn on.
    pub(super) fn lease(&self) -> Option<Lease> {
        self.lease.clone()
    }
}

/// A GPU's buffer of one plane.
#[derive(Debug)]
pub(crate) struct Plane {
    /// Its descriptor, ours to keep.
    pub(crate) fd: OwnedFd,
    /// Bytes before the first row.
    pub(crate) offset: u32,
    /// Bytes from one row to the next.
    pub(crate) stride: u32,
}

/// The buffer as GStreamer passes it around. Made once for each buffer: elements keep what they
/// imported with the memory.
///
/// # Errors
/// If the descriptor is none of a buffer, or GStreamer has no memory.
pub(crate) fn wrap(plane: Plane, (width, height): (u32, u32)) -> Result<gst::Buffer, WrapError> {
    let size = length(&plane.fd)?;
    let allocator = gst_allocators::DmaBufAllocator::new();
    // SAFETY: the descriptor is a dmabuf's and becomes the memory's own; the size is what the
    // kernel says it has.
    let memory = unsafe { allocator.alloc_dmabuf(plane.fd, size) }?;
    let mut buffer = gst::Buffer::new();
    let fresh = buffer.get_mut().ok_or(WrapError::Shared)?;
    fresh.append_memory(memory);
    gst_video::VideoMeta::add_full(
        fresh,
        gst_video::VideoFrameFlags::empty(),
        gst_video::VideoFormat::Bgrx,
        width,
        height,
        &[plane.offset as usize],
        &[i32::try_from(plane.stride).map_err(|_| WrapError::Stride)?],
    )?;
    Ok(buffer)
}

/// The length of what a descriptor stands for: dmabufs say it to whoever seeks their end.
fn length(fd: &OwnedFd) -> Result<usize, WrapError> {
    let end = nix::unistd::lseek(fd, 0, nix::unistd::Whence::SeekEnd)?;
    usize::try_from(end).map_err(|_| WrapError::Stride)
}

/// Why a GPU's buffer cannot be passed around.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WrapError {
    #[error("the buffer has no size: {0}")]
    Size(#[from] nix::Error),
    #[error(transparent)]
    Gstreamer(#[from] glib::BoolError),
    #[error("a fresh buffer is shared")]
    Shared,
    #[error("the buffer's rows are too long")]
    Stride,
}

#[cfg(test)]
mod test {
    use super::*;

    const SHAPE: Shape = Shape {
        width: 1280,
        height: 720,
        hz: 60,
    };

    #[test]
    fn caps_name_layout_size_and_rate() {
        gst::init().unwrap();
        for (modifier, name) in [
            (0, "XR24"),
            (0x0300_0000_0060_6014, "XR24:0x0300000000606014"),
            (u64::MAX >> 8, "XR24:0x00ffffffffffffff"),
        ] {
            let caps = Form::Dmabuf { modifier }.caps(SHAPE).unwrap();
            let features = caps.features(0).unwrap();
            assert!(features.contains("memory:DMABuf"), "{caps}");
            let fields = caps.structure(0).unwrap();
            assert_eq!(fields.get::<&str>("format").unwrap(), "DMA_DRM");
            assert_eq!(fields.get::<&str>("drm-format").unwrap(), name);
            assert_eq!(fields.get::<i32>("width").unwrap(), 1280);
            assert_eq!(fields.get::<i32>("height").unwrap(), 720);
            let rate = fields.get::<gst::Fraction>("framerate").unwrap();
            assert_eq!(rate, gst::Fraction::new(60, 1));
        }
        let memory = Form::Memory.caps(SHAPE).unwrap();
        assert_eq!(memory, picture::layout(SHAPE).unwrap().to_caps().unwrap());
    }

    /// Any file will do: nothing here asks whether the descriptor is a dmabuf's.
    #[test]
    fn a_buffer_is_wrapped_with_its_layout_and_keeps_its_descriptor() {
        gst::init().unwrap();
        let file = tempfile::tempfile().unwrap();
        file.set_len(64 * 1024).unwrap();
        let plane = Plane {
            fd: file.into(),
            offset: 4096,
            stride: 512,
        };
        let buffer = wrap(plane, (100, 50)).unwrap();
        assert_eq!(buffer.size(), 64 * 1024);
        let memory = buffer.peek_memory(0);
        assert!(memory.is_memory_type::<gst_allocators::DmaBufMemory>());
        let meta = buffer.meta::<gst_video::VideoMeta>().unwrap();
        assert_eq!((meta.width(), meta.height()), (100, 50));
        assert_eq!((meta.offset(), meta.stride()), (&[4096][..], &[512][..]));
        // What a pipeline pushes on is a copy that shares the memory.
        let copy = buffer.copy();
        assert!(copy.meta::<gst_video::VideoMeta>().is_some());
        assert_eq!(copy.peek_memory(0).as_ptr(), memory.as_ptr());
    }
}
