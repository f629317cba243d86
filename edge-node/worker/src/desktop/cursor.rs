//! The cursor: never drawn into the picture, its image goes to the browser, which draws it without
//! the network's delay.

use super::Desktop;
use super::capture::is_on_gpu;
use super::pixels::with_pixels;
use crate::clock::mono_us;
use crate::limits::CURSOR_INTERVAL;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nearlight_protocol::limits::CURSOR_SIDE_MAX;
use nearlight_protocol::notice::Cursor;
use smithay::backend::renderer::utils::with_renderer_surface_state;
use smithay::input::pointer::{CursorIcon, CursorImageStatus, CursorImageSurfaceData};
use smithay::reexports::wayland_server::protocol::wl_shm::Format;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::compositor::with_states;

const INTERVAL_US: u64 = CURSOR_INTERVAL.as_micros() as u64;

/// The surface that is the cursor, and when its image was last sent.
#[derive(Debug, Default)]
pub struct CursorWatch {
    surface: Option<WlSurface>,
    sent_us: u64,
    due_us: Option<u64>,
}

/// Straight RGBA rows.
struct Image {
    width: u32,
    height: u32,
    rgba: Vec<u8>,
}

impl Desktop {
    /// An app wants this cursor.
    pub(crate) fn cursor_wanted(&mut self, image: CursorImageStatus) {
        self.cursor.surface = None;
        self.cursor.due_us = None;
        match image {
            CursorImageStatus::Hidden => self.notices.cursor(Cursor::Hidden, mono_us()),
            CursorImageStatus::Named(icon) => {
                let name = icon.name().to_owned();
                self.notices.cursor(Cursor::Named { name }, mono_us());
            }
            CursorImageStatus::Surface(surface) => {
                self.cursor.surface = Some(surface.clone());
                self.cursor_committed(&surface);
            }
        }
    }

    /// The cursor's surface has another image.
    pub(crate) fn cursor_committed(&mut self, surface: &WlSurface) {
        if self.cursor.surface.as_ref() == Some(surface) {
            let due = self.cursor.sent_us + INTERVAL_US;
            self.cursor.due_us.get_or_insert(due);
            self.on_cursor_due(mono_us());
        }
    }

    /// The cursor's surface is gone.
    pub(crate) fn cursor_destroyed(&mut self, surface: &WlSurface) {
        if self.cursor.surface.as_ref() == Some(surface) {
            self.cursor_wanted(CursorImageStatus::default_named());
        }
    }

    /// When [`Self::on_cursor_due`] wants to be called.
    pub fn cursor_due_us(&self) -> Option<u64> {
        let due = [self.cursor.due_us, self.notices.due_us()];
        due.into_iter().flatten().min()
    }

    /// Reads the cursor's image and tells what is new, if it is time.
    pub fn on_cursor_due(&mut self, now: u64) {
        self.read_cursor_if_due(now);
        self.notices.on_due(now);
    }

    fn read_cursor_if_due(&mut self, now: u64) {
        if self.cursor.due_us.is_none_or(|due| due > now) {
            return;
        }
        self.cursor.due_us = None;
        self.cursor.sent_us = now;
        let Some(surface) = self.cursor.surface.clone() else {
            return;
        };
        let cursor = match image(&surface) {
            Some(image) => encode(&surface, image),
            // One that lies on the GPU is not worth reading back, and better a wrong shape than none.
            None if is_on_gpu(&surface) => Some(Cursor::Named {
                name: CursorIcon::Default.name().to_owned(),
            }),
            // A surface without a buffer shows nothing.
            None => Some(Cursor::Hidden),
        };
        match cursor {
            Some(cursor) => self.notices.cursor(cursor, now),
            None => tracing::debug!("a cursor has no PNG"),
        }
    }
}

fn image(surface: &WlSurface) -> Option<Image> {
    let buffer = with_renderer_surface_state(surface, |state| state.buffer().cloned()).flatten()?;
    with_pixels(&buffer, |pixels, layout| {
        // What is larger than browsers take is cut, not scaled: the tip stays where it is.
        let (width, height) = (
            layout.width.unsigned_abs().min(CURSOR_SIDE_MAX),
            layout.height.unsigned_abs().min(CURSOR_SIDE_MAX),
        );
        let blue_first = matches!(layout.format, Format::Argb8888 | Format::Xrgb8888);
        let opaque = matches!(layout.format, Format::Xrgb8888 | Format::Xbgr8888);
        let mut rgba = Vec::with_capacity((width * height * 4) as usize);
        for row in pixels
            .chunks_exact(layout.stride.unsigned_abs() as usize)
            .take(height as usize)
        {
            for pixel in row.chunks_exact(4).take(width as usize) {
                rgba.extend(straight(pixel, blue_first, opaque));
            }
        }
        Image {
            width,
            height,
            rgba,
        }
    })
    .ok()
}

/// One pixel with its colours no longer multiplied by its alpha, as PNG has them.
fn straight(pixel: &[u8], blue_first: bool, opaque: bool) -> [u8; 4] {
    let alpha = if opaque { 255 } else { pixel[3] };
    let colour = |c: u8| match alpha {
        0 => 0,
        a => ((u32::from(c) * 255 + u32::from(a) / 2) / u32::from(a)).min(255) as u8,
    };
    let (first, second, third) = (colour(pixel[0]), colour(pixel[1]), colour(pixel[2]));
    if blue_first {
        [third, second, first, alpha]
    } else {
        [first, second, third, alpha]
    }
}

fn encode(surface: &WlSurface, image: Image) -> Option<Cursor> {
    if image.rgba.chunks_exact(4).all(|pixel| pixel[3] == 0) {
        return Some(Cursor::Hidden);
    }
    let hotspot = with_states(surface, |states| {
        let attributes = states.data_map.get::<CursorImageSurfaceData>()?;
        Some(attributes.lock().ok()?.hotspot)
    })
    .unwrap_or_default();
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, image.width, image.height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&image.rgba).ok()?;
    writer.finish().ok()?;
    Some(Cursor::Image {
        png: STANDARD.encode(png),
        hotspot_x: hotspot.x.clamp(0, image.width as i32 - 1).unsigned_abs(),
        hotspot_y: hotspot.y.clamp(0, image.height as i32 - 1).unsigned_abs(),
    })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn colours_are_divided_by_alpha_and_put_in_order() {
        for (pixel, blue_first, opaque, expected) in [
            ([10, 20, 30, 255], true, false, [30, 20, 10, 255]),
            ([10, 20, 30, 255], false, false, [10, 20, 30, 255]),
            ([64, 0, 0, 128], false, false, [128, 0, 0, 128]),
            ([10, 20, 30, 0], true, true, [30, 20, 10, 255]),
            ([10, 20, 30, 0], true, false, [0, 0, 0, 0]),
            ([255, 255, 255, 1], true, false, [255, 255, 255, 1]),
        ] {
            assert_eq!(straight(&pixel, blue_first, opaque), expected, "{pixel:?}");
        }
    }
}
