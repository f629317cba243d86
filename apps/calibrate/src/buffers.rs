//! Two buffers in one shared memory file, each of which remembers what it shows.
//!
//! The picture is painted in the buffer itself. Writing a whole one of 720p with `pwrite` took 1.0 ms beside
//! 0.36 ms of painting it elsewhere, most of that for the kernel to find 900 pages one by one.

use crate::canvas::{Canvas, Rect};
use crate::picture::{Model, Picture};
use crate::window::Window;
use anyhow::{Context, Result};
use memmap2::MmapMut;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::os::fd::AsFd;
use wayland_client::QueueHandle;
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_shm::{Format, WlShm};

/// Which buffer a release is for: buffers of an older size are forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BufferId {
    generation: u32,
    slot: usize,
}

/// The buffers of one size of the picture.
#[derive(Debug)]
pub(crate) struct Buffers {
    memory: MmapMut,
    /// Of one buffer.
    bytes: usize,
    generation: u32,
    slots: [Slot; 2],
    /// What the buffer shows that was lent last.
    shown: Option<Model>,
}

#[derive(Debug)]
struct Slot {
    buffer: WlBuffer,
    /// The compositor has it.
    busy: bool,
    shown: Option<Model>,
}

impl Buffers {
    /// Buffers for pictures of this size, which show nothing yet.
    pub(crate) fn new(
        shm: &WlShm,
        queue: &QueueHandle<Window>,
        (width, height): (usize, usize),
        generation: u32,
    ) -> Result<Self> {
        let bytes = width * height * 4;
        let file = shared_file(2 * bytes as u64)?;
        let memory = map(&file)?;
        let size = i32::try_from(2 * bytes).context("the display is too large")?;
        let pool = shm.create_pool(file.as_fd(), size, queue, ());
        let slot = |slot: usize| Slot {
            buffer: pool.create_buffer(
                (slot * bytes) as i32,
                width as i32,
                height as i32,
                width as i32 * 4,
                Format::Xrgb8888,
                queue,
                BufferId { generation, slot },
            ),
            busy: false,
            shown: None,
        };
        let slots = [slot(0), slot(1)];
        pool.destroy();
        Ok(Self {
            memory,
            bytes,
            generation,
            slots,
            shown: None,
        })
    }

    /// The compositor is done with a buffer.
    pub(crate) fn released(&mut self, id: BufferId) {
        if id.generation == self.generation {
            self.slots[id.slot].busy = false;
        }
    }

    /// Whether there is a buffer to write to.
    pub(crate) fn any_free(&self) -> bool {
        self.slots.iter().any(|slot| !slot.busy)
    }

    /// Paints `model` in a free buffer and lends that out, with what differs from the one before.
    pub(crate) fn lend(
        &mut self,
        picture: &Picture,
        model: Model,
    ) -> Option<(&WlBuffer, Vec<Rect>)> {
        let place = self.slots.iter().position(|slot| !slot.busy)?;
        let slot = &mut self.slots[place];
        let bytes = &mut self.memory[place * self.bytes..][..self.bytes];
        let mut canvas = Canvas::over(bytes, picture.size());
        picture.paint(&mut canvas, slot.shown.as_ref(), &model);
        let damage = picture.damage(self.shown.as_ref(), &model);
        slot.busy = true;
        slot.shown = Some(model.clone());
        self.shown = Some(model);
        Some((&slot.buffer, damage))
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        for slot in &self.slots {
            slot.buffer.destroy();
        }
    }
}

/// A file in memory of so many bytes.
pub(crate) fn shared_file(bytes: u64) -> Result<File> {
    let file = memfd_create(c"calibrate", MFdFlags::MFD_CLOEXEC)
        .map(File::from)
        .context("cannot make a file in memory")?;
    file.set_len(bytes)
        .context("cannot get the memory for a picture")?;
    Ok(file)
}

/// The memory of a file that this program made, and keeps as long as it is.
#[expect(unsafe_code, reason = "memory that is shared with another process")]
fn map(file: &File) -> Result<MmapMut> {
    // SAFETY: the file is ours and never gets shorter. The compositor has it too, and reads it while
    // it holds a buffer, which nobody paints in then; a torn pixel is all that could come of it.
    let memory = unsafe { MmapMut::map_mut(file) };
    memory.context("cannot map the memory for a picture")
}
