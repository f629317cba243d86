//! Pictures for the encoder: I420, BT.709, limited range, and the one conversion into them.
//!
//! A [`Canvas`] is a GStreamer buffer from a small pool, so that the encoder reads what the
//! conversion wrote and nothing is copied in between. A finished picture is shared, never written
//! again: the encoder, the one that waits and the last one shown may be the same memory. Pictures
//! of an old size are freed as their last holders let go.

use super::form::Picture;
use super::scale::{STRIP_ROWS, Scale, Source, Strip};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;
use nearlight_stream::marker::{self, Pen};
use std::ops::Range;
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
    /// The source ends before the picture does.
    #[error("the source has too few rows")]
    Short,
    /// The source does not hold as many rows as it says.
    #[error("cannot convert: {0}")]
    Convert(#[from] YuvError),
    /// The buffer is not writable, which the pool guarantees.
    #[error("a fresh picture is not writable")]
    ReadOnly,
}

/// The size and rate of encoded pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Pixels, even.
    pub width: u32,
    /// Pixels, even.
    pub height: u32,
    /// Frames per second that the rate control plans with.
    pub hz: u32,
}

/// Makes canvases of one size.
#[derive(Debug)]
pub struct Pictures {
    pool: gst::BufferPool,
    layout: gst_video::VideoInfo,
    shape: Shape,
    scale: Scale,
    source_width: u32,
}

/// A picture that is being drawn.
#[derive(Debug)]
pub struct Canvas {
    buffer: gst::Buffer,
    layout: gst_video::VideoInfo,
    scale: Scale,
    source_width: u32,
}

/// How pictures of this shape look, for caps too.
pub fn layout(shape: Shape) -> Result<gst_video::VideoInfo, gst::glib::BoolError> {
    let Shape { width, height, hz } = shape;
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
    /// Pictures of a display of `source` pixels, `percent` of its size.
    ///
    /// # Errors
    /// [`PictureError::Pool`] if there is no memory.
    pub fn new(source: (u32, u32), percent: u8, hz: u32) -> Result<Self, PictureError> {
        let scale = Scale::fitting(percent, source);
        let (width, height) = scale.size(source);
        let shape = Shape { width, height, hz };
        let layout = layout(shape)?;
        let pool = gst::BufferPool::new();
        let mut config = pool.config();
        let size = u32::try_from(layout.size()).expect("a display of 4096 x 4096 is 24 MiB");
        config.set_params(Some(&layout.to_caps()?), size, 2, PICTURES_MAX);
        pool.set_config(config)?;
        pool.set_active(true)?;
        Ok(Self {
            pool,
            layout,
            shape,
            scale,
            source_width: source.0,
        })
    }

    /// Whether they are drawn the same way and look the same.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.shape, self.scale, self.source_width)
            == (other.shape, other.scale, other.source_width)
    }

    /// How much smaller than the display they are.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// What they look like.
    pub fn shape(&self) -> Shape {
        self.shape
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
            scale: self.scale,
            source_width: self.source_width,
        })
    }
}

impl Drop for Pictures {
    fn drop(&mut self) {
        // Pictures that somebody still holds are freed when they come back.
        if let Err(error) = self.pool.set_active(false) {
            tracing::warn!(%error, "pictures are not given back");
        }
    }
}

impl Canvas {
    /// Fills the picture from the display's rows of four bytes a pixel, `stride` bytes apart.
    ///
    /// # Errors
    /// [`PictureError::Convert`] or [`PictureError::Short`] if `pixels` is too short.
    pub fn draw(&mut self, pixels: &[u8], stride: u32, order: Order) -> Result<(), PictureError> {
        if self.scale == Scale::Whole {
            return self.draw_scaled(pixels, stride, order);
        }
        let buffer = self.buffer.get_mut().ok_or(PictureError::ReadOnly)?;
        let mut map = buffer.map_writable()?;
        let layout = &self.layout;
        let source = Source {
            pixels,
            stride: stride as usize,
            width: self.source_width as usize,
        };
        let mut strip = Strip::new(self.scale, layout.width() as usize);
        for top in (0..layout.height() as usize).step_by(STRIP_ROWS) {
            let rows = top..(top + STRIP_ROWS).min(layout.height() as usize);
            let scaled = strip
                .fill(source, rows.clone())
                .ok_or(PictureError::Short)?;
            let mut image = planes(layout, map.as_mut_slice(), rows);
            convert(&mut image, scaled, layout.width() * 4, order)?;
        }
        Ok(())
    }

    /// Fills the picture from rows that have its own size.
    ///
    /// # Errors
    /// [`PictureError::Convert`] if `pixels` is too short.
    pub fn draw_scaled(
        &mut self,
        pixels: &[u8],
        stride: u32,
        order: Order,
    ) -> Result<(), PictureError> {
        let buffer = self.buffer.get_mut().ok_or(PictureError::ReadOnly)?;
        let mut map = buffer.map_writable()?;
        let layout = &self.layout;
        let rows = 0..layout.height() as usize;
        convert(
            &mut planes(layout, map.as_mut_slice(), rows),
            pixels,
            stride,
            order,
        )
    }

    /// The finished picture, of a commit at this time, with what `pen` draws.
    ///
    /// # Errors
    /// [`PictureError::ReadOnly`] or [`PictureError::Pool`] if the buffer is not the canvas's own.
    pub fn finish(
        mut self,
        pen: Option<&mut Pen>,
        commit_us: u64,
    ) -> Result<Picture, PictureError> {
        let Some(pen) = pen else {
            return Ok(self.buffer.into());
        };
        let buffer = self.buffer.get_mut().ok_or(PictureError::ReadOnly)?;
        let mut map = buffer.map_writable()?;
        let drawn = pen.draw(map.as_mut_slice(), luma(&self.layout), commit_us);
        drop(map);
        Ok(Picture::marked(self.buffer, drawn))
    }

    /// The finished picture without a marker.
    pub fn plain(self) -> Picture {
        self.buffer.into()
    }
}

/// The first plane, which begins where the buffer does.
fn luma(layout: &gst_video::VideoInfo) -> marker::Shape {
    marker::Shape {
        width: layout.width() as usize,
        height: layout.height() as usize,
        stride: usize::try_from(layout.stride()[0]).unwrap_or(0),
    }
}

fn convert(
    image: &mut YuvPlanarImageMut<'_, u8>,
    pixels: &[u8],
    stride: u32,
    order: Order,
) -> Result<(), PictureError> {
    let convert = match order {
        Order::Bgrx => yuv::bgra_to_yuv420,
        Order::Rgbx => yuv::rgba_to_yuv420,
    };
    let (range, matrix) = (YuvRange::Limited, YuvStandardMatrix::Bt709);
    convert(
        image,
        pixels,
        stride,
        range,
        matrix,
        YuvConversionMode::Balanced,
    )?;
    Ok(())
}

/// Rows of a picture, the first and the number of them even.
fn planes<'a>(
    layout: &gst_video::VideoInfo,
    bytes: &'a mut [u8],
    rows: Range<usize>,
) -> YuvPlanarImageMut<'a, u8> {
    let (offsets, strides) = (layout.offset(), layout.stride());
    let (y, chroma) = bytes.split_at_mut(offsets[1]);
    let (u, v) = chroma.split_at_mut(offsets[2] - offsets[1]);
    let stride = |plane: usize| u32::try_from(strides[plane]).expect("I420 strides are positive");
    let from = |plane: usize, row: usize| row * stride(plane) as usize;
    YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(&mut y[from(0, rows.start)..]),
        y_stride: stride(0),
        u_plane: BufferStoreMut::Borrowed(&mut u[from(1, rows.start / 2)..]),
        u_stride: stride(1),
        v_plane: BufferStoreMut::Borrowed(&mut v[from(2, rows.start / 2)..]),
        v_stride: stride(2),
        width: layout.width(),
        height: rows.len() as u32,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn first_pixel(bgrx: [u8; 4], order: Order) -> (u8, u8, u8) {
        gst::init().unwrap();
        let pictures = Pictures::new((66, 64), 100, 60).unwrap();
        let mut canvas = pictures.canvas().unwrap();
        let pixels: Vec<u8> = bgrx.iter().copied().cycle().take(66 * 64 * 4).collect();
        canvas.draw(&pixels, 66 * 4, order).unwrap();
        let (u, v) = (canvas.layout.offset()[1], canvas.layout.offset()[2]);
        let buffer = canvas.plain().buffer;
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
        let pictures = Pictures::new((64, 64), 100, 60).unwrap();
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
        for percent in [100, 50] {
            let pictures = Pictures::new((400, 300), percent, 60).unwrap();
            let mut canvas = pictures.canvas().unwrap();
            assert!(canvas.draw(&[0; 100], 1600, Order::Bgrx).is_err());
        }
    }

    #[test]
    fn a_smaller_picture_shows_the_same() {
        gst::init().unwrap();
        // The left half is white, the right half black.
        let row: Vec<u8> = (0..800)
            .flat_map(|x| [if x < 400 { 255 } else { 0 }; 4])
            .collect();
        let pixels = row.repeat(600);
        for percent in [100, 75, 50, 25] {
            let pictures = Pictures::new((800, 600), percent, 60).unwrap();
            let shape = pictures.shape();
            assert_eq!(shape.width, 8 * u32::from(percent), "{shape:?}");
            let mut canvas = pictures.canvas().unwrap();
            canvas.draw(&pixels, 3200, Order::Bgrx).unwrap();
            let stride = canvas.layout.stride()[0] as usize;
            let buffer = canvas.plain().buffer;
            let map = buffer.map_readable().unwrap();
            for y in [0, shape.height as usize / 2, shape.height as usize - 1] {
                let row = &map[y * stride..][..shape.width as usize];
                let (left, right) = row.split_at(shape.width as usize / 2);
                assert!(
                    left[..left.len() - 2].iter().all(|l| *l == 235),
                    "{percent} {y}"
                );
                assert!(right[2..].iter().all(|l| *l == 16), "{percent} {y}");
            }
        }
    }

    #[test]
    fn pictures_of_an_old_size_go_when_their_holders_do() {
        gst::init().unwrap();
        let pictures = Pictures::new((64, 64), 100, 60).unwrap();
        let pool = pictures.pool.downgrade();
        let held = pictures.canvas().unwrap().plain();
        drop(pictures);
        assert!(pool.upgrade().is_some());
        drop(held);
        assert!(pool.upgrade().is_none());
    }
}
