//! The cursor, in the four ways an app may set it.

use super::{Unwatched, Window};
use crate::buffers::shared_file;
use anyhow::Result;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use wayland_client::globals::GlobalList;
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_pointer::WlPointer;
use wayland_client::protocol::wl_shm::{Format, WlShm};
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{QueueHandle, delegate_noop};
use wayland_protocols::wp::cursor_shape::v1::client::wp_cursor_shape_device_v1::{
    Shape, WpCursorShapeDeviceV1,
};
use wayland_protocols::wp::cursor_shape::v1::client::wp_cursor_shape_manager_v1::WpCursorShapeManagerV1;

/// Side of our own image, pixels; its hot spot is the middle.
const SIDE: usize = 24;

/// What the cursor looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Default,
    Image,
    Text,
    Hidden,
}

/// The cursor and what it takes to set it.
#[derive(Debug)]
pub(super) struct Cursor {
    look: Look,
    /// Of the pointer's last entry.
    serial: Option<u32>,
    shapes: Option<WpCursorShapeManagerV1>,
    device: Option<WpCursorShapeDeviceV1>,
    surface: WlSurface,
    image: WlBuffer,
}

impl Cursor {
    pub(super) fn bind(
        globals: &GlobalList,
        queue: &QueueHandle<Window>,
        compositor: &WlCompositor,
        shm: &WlShm,
    ) -> Result<Self> {
        let pixels = ring();
        let file = shared_file(pixels.len() as u64)?;
        file.write_all_at(&pixels, 0)?;
        let pool = shm.create_pool(file.as_fd(), pixels.len() as i32, queue, ());
        let side = SIDE as i32;
        let image = pool.create_buffer(0, side, side, side * 4, Format::Argb8888, queue, Unwatched);
        pool.destroy();
        Ok(Self {
            look: Look::Default,
            serial: None,
            shapes: globals.bind(queue, 1..=1, ()).ok(),
            device: None,
            surface: compositor.create_surface(queue, ()),
            image,
        })
    }

    /// There is a pointer now.
    pub(super) fn bind_pointer(&mut self, pointer: &WlPointer, queue: &QueueHandle<Window>) {
        self.device = self
            .shapes
            .as_ref()
            .map(|shapes| shapes.get_pointer(pointer, queue, ()));
    }

    /// The pointer came in, which makes its cursor undefined until it is set.
    pub(super) fn entered(&mut self, pointer: &WlPointer, serial: u32) {
        self.serial = Some(serial);
        self.set(pointer);
    }

    /// Changes to the next look.
    pub(super) fn next(&mut self, pointer: Option<&WlPointer>) {
        self.look = match self.look {
            Look::Default => Look::Image,
            Look::Image => Look::Text,
            Look::Text => Look::Hidden,
            Look::Hidden => Look::Default,
        };
        if let Some(pointer) = pointer {
            self.set(pointer);
        }
    }

    fn set(&self, pointer: &WlPointer) {
        let Some(serial) = self.serial else {
            return;
        };
        let shape = |shape| match &self.device {
            Some(device) => device.set_shape(serial, shape),
            None => self.set_image(pointer, serial),
        };
        match self.look {
            Look::Default => shape(Shape::Default),
            Look::Image => self.set_image(pointer, serial),
            Look::Text => shape(Shape::Text),
            Look::Hidden => pointer.set_cursor(serial, None, 0, 0),
        }
    }

    fn set_image(&self, pointer: &WlPointer, serial: u32) {
        let middle = SIDE as i32 / 2;
        pointer.set_cursor(serial, Some(&self.surface), middle, middle);
        self.surface.attach(Some(&self.image), 0, 0);
        self.surface.damage_buffer(0, 0, SIDE as i32, SIDE as i32);
        self.surface.commit();
    }
}

/// A red ring with a white rim, premultiplied ARGB8888.
fn ring() -> Vec<u8> {
    let middle = (SIDE as f32 - 1.0) / 2.0;
    let pixel = |place: usize| {
        let (x, y) = ((place % SIDE) as f32, (place / SIDE) as f32);
        let distance = (x - middle).hypot(y - middle);
        match distance {
            d if d > middle || d < 5.0 => [0, 0, 0, 0],
            d if d > middle - 2.0 => [255, 255, 255, 255],
            _ => [0, 0, 255, 255],
        }
    };
    (0..SIDE * SIDE).flat_map(pixel).collect()
}

delegate_noop!(Window: WpCursorShapeManagerV1);
delegate_noop!(Window: WpCursorShapeDeviceV1);
