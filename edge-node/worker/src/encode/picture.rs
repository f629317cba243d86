//! Pictures for the encoder: I420, BT.709, limited range, and the one conversion into them.
//!
//! A [`Canvas`] is a GStreamer buffer from a small pool, so that the encoder reads what the
//! conversion wrote and nothing is copied in between. A finished picture is shared, never written
//! again: the encoder, the one that waits and the last one shown may be the same memory.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;
use yuv::{
    BufferStoreMut, YuvConversionMode, YuvError, YuvPlanarImageMut, YuvRange, YuvStandardMatrix,
};

/// Pictures at a time: in the encoder (two with hardware), one that waits, the last one, the one
/// being converted, and one the encoder has not let go of yet.
const PICTURES_MAX: u32 = 6;

/// The order of the colour channels in memory, four bytes a pixel, the fourth one ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Blue first: `wl_shm` XRGB8888 and ARGB8888 on little-endian machines.
    Bgrx,
    /// Red first: XBGR8888 and ABGR8888.
    Rgbx,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// Every picture of the pool is in use: the encoder holds on to them.
    #[error("no free picture: the encoder holds all of them")]
    Exhausted,
    /// The pool could not be made.
    #[error("cannot allocate pictures: {0}")]
    Pool(#[from] gst::glib::BoolError),
    /// The source does not hold as many rows as it says.
    #[error("cannot convert: {0}")]
    Convert(#[from] YuvError),
    /// The buffer is not writable, which the pool guarantees.
    #[error("a fresh picture is not writable")]
    ReadOnly,
}

/// Makes canvases of one size.
#[derive(Debug)]
pub struct Pictures {
    pool: gst::BufferPool,
    layout: gst_video::VideoInfo,
}

/// A picture that is being drawn.
#[derive(Debug)]
pub struct Canvas {
    buffer: gst::Buffer,
    layout: gst_video::VideoInfo,
}

/// How the pictures of `width` x `height` look, for caps too.
pub fn layout(
    width: u32,
    height: u32,
    hz: u32,
) -> Result<gst_video::VideoInfo, gst::glib::BoolError> {
    gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, width, height)
        .fps(gst::Fraction::new(i32::try_from(hz).unwrap_or(60), 1))
        .par(gst::Fraction::new(1, 1))
        .interlace_mode(gst_video::VideoInterlaceMode::Progressive)
        .colorimetry(&gst_video::VideoColorimetry::new(
            gst_video::VideoColorRange::Range16_235,
            gst_video::VideoColorMatrix::Bt709,
            gst_video::VideoTransferFunction::Bt709,
            gst_video::VideoColorPrimaries::Bt709,
        ))
        .build()
}

impl Pictures {
    /// Pictures of `width` x `height`, both even.
    ///
    /// # Errors
    /// [`PictureError::Pool`] if there is no memory.
    pub fn new(width: u32, height: u32, hz: u32) -> Result<Self, PictureError> {
        let layout = layout(width, height, hz)?;
        let pool = gst::BufferPool::new();
        let mut config = pool.config();
        let size = u32::try_from(layout.size()).expect("a display of 4096 x 4096 is 24 MiB");
        config.set_params(Some(&layout.to_caps()?), size, 2, PICTURES_MAX);
        pool.set_config(config)?;
        pool.set_active(true)?;
        Ok(Self { pool, layout })
    }

    /// A picture to draw on.
    ///
    /// # Errors
    /// [`PictureError::Exhausted`] if all are in use.
    pub fn canvas(&self) -> Result<Canvas, PictureError> {
        let params =
            gst::BufferPoolAcquireParams::with_flags(gst::BufferPoolAcquireFlags::DONTWAIT);
        let buffer = self
            .pool
            .acquire_buffer(Some(&params))
            .map_err(|_| PictureError::Exhausted)?;
        Ok(Canvas {
            buffer,
            layout: self.layout.clone(),
        })
    }
}

impl Canvas {
    /// Fills the picture from rows of four bytes a pixel, `stride` bytes apart.
    ///
    /// # Errors
    /// [`PictureError::Convert`] if `pixels` is too short.
    pub fn draw(&mut self, pixels: &[u8], stride: u32, order: Order) -> Result<(), PictureError> {
        let buffer = self.buffer.get_mut().ok_or(PictureError::ReadOnly)?;
        let mut map = buffer.map_writable()?;
        let mut image = planes(&self.layout, map.as_mut_slice());
        let convert = match order {
            Order::Bgrx => yuv::bgra_to_yuv420,
            Order::Rgbx => yuv::rgba_to_yuv420,
        };
        convert(
            &mut image,
            pixels,
            stride,
            YuvRange::Limited,
            YuvStandardMatrix::Bt709,
            YuvConversionMode::Balanced,
        )?;
        Ok(())
    }

    /// The finished picture.
    pub fn finish(self) -> gst::Buffer {
        self.buffer
    }
}

fn planes<'a>(layout: &gst_video::VideoInfo, bytes: &'a mut [u8]) -> YuvPlanarImageMut<'a, u8> {
    let (offsets, strides) = (layout.offset(), layout.stride());
    let (y, chroma) = bytes.split_at_mut(offsets[1]);
    let (u, v) = chroma.split_at_mut(offsets[2] - offsets[1]);
    let stride = |plane: usize| u32::try_from(strides[plane]).expect("I420 strides are positive");
    YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(y),
        y_stride: stride(0),
        u_plane: BufferStoreMut::Borrowed(u),
        u_stride: stride(1),
        v_plane: BufferStoreMut::Borrowed(v),
        v_stride: stride(2),
        width: layout.width(),
        height: layout.height(),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn first_pixel(bgrx: [u8; 4], order: Order) -> (u8, u8, u8) {
        gst::init().unwrap();
        let pictures = Pictures::new(66, 64, 60).unwrap();
        let mut canvas = pictures.canvas().unwrap();
        let pixels: Vec<u8> = bgrx.iter().copied().cycle().take(66 * 64 * 4).collect();
        canvas.draw(&pixels, 66 * 4, order).unwrap();
        let (u, v) = (canvas.layout.offset()[1], canvas.layout.offset()[2]);
        let buffer = canvas.finish();
        let map = buffer.map_readable().unwrap();
        (map[0], map[u], map[v])
    }

    #[test]
    fn colours_are_bt709_limited() {
        for (bgrx, order, expected) in [
            ([0, 0, 0, 0], Order::Bgrx, (16, 128, 128)),
            ([255, 255, 255, 0], Order::Bgrx, (235, 128, 128)),
            ([0, 0, 255, 0], Order::Bgrx, (63, 102, 240)),
            ([255, 0, 0, 0], Order::Rgbx, (63, 102, 240)),
            ([255, 0, 0, 0], Order::Bgrx, (32, 240, 118)),
        ] {
            let (y, u, v) = first_pixel(bgrx, order);
            let near = |a: u8, b: u8| a.abs_diff(b) <= 1;
            assert!(
                near(y, expected.0) && near(u, expected.1) && near(v, expected.2),
                "{bgrx:?} {order:?}: {:?}",
                (y, u, v)
            );
        }
    }

    #[test]
    fn the_pool_is_bounded_and_gives_pictures_back() {
        gst::init().unwrap();
        let pictures = Pictures::new(64, 64, 60).unwrap();
        let held: Vec<_> = (0..PICTURES_MAX)
            .map(|_| pictures.canvas().unwrap())
            .collect();
        assert!(matches!(pictures.canvas(), Err(PictureError::Exhausted)));
        drop(held);
        assert!(pictures.canvas().is_ok());
    }

    #[test]
    fn short_pixels_are_an_error() {
        gst::init().unwrap();
        let pictures = Pictures::new(64, 64, 60).unwrap();
        let mut canvas = pictures.canvas().unwrap();
        assert!(canvas.draw(&[0; 100], 256, Order::Bgrx).is_err());
    }
}
