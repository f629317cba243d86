//! Two buffers in one shared memory file, each of which remembers what it has not got yet.
//!
//! Rows are written with `pwrite` rather than through a mapping: no unsafe code, and a plain
//! picture changes so few rows that the copy does not show.

use crate::canvas::{Canvas, Rect};
use crate::window::Window;
use anyhow::{Context, Result};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
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
    file: File,
    bytes: usize,
    generation: u32,
    slots: [Slot; 2],
}

#[derive(Debug)]
struct Slot {
    buffer: WlBuffer,
    /// The compositor has it.
    busy: bool,
    /// Rows that changed since it was written.
    stale: Vec<Range<usize>>,
}

impl Buffers {
    /// Buffers for pictures of this size, all of which is stale.
    pub(crate) fn new(
        shm: &WlShm,
        queue: &QueueHandle<Window>,
        (width, height): (usize, usize),
        generation: u32,
    ) -> Result<Self> {
        let bytes = width * height * 4;
        let file = shared_file(2 * bytes as u64)?;
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
            stale: std::iter::once(0..height).collect(),
        };
        let slots = [slot(0), slot(1)];
        pool.destroy();
        Ok(Self {
            file,
            bytes,
            generation,
            slots,
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

    /// Brings a free buffer up to date, `damage` being what changed last, and lends it out.
    pub(crate) fn write(&mut self, canvas: &Canvas, damage: &[Rect]) -> Result<Option<&WlBuffer>> {
        for slot in &mut self.slots {
            slot.stale
                .extend(damage.iter().map(|r| r.y..r.y + r.height));
            merge(&mut slot.stale);
        }
        let Some(place) = self.slots.iter().position(|slot| !slot.busy) else {
            return Ok(None);
        };
        let slot = &mut self.slots[place];
        for rows in slot.stale.drain(..) {
            let (offset, bytes) = canvas.rows(rows);
            self.file
                .write_all_at(bytes, (place * self.bytes + offset) as u64)
                .context("cannot write to shared memory")?;
        }
        slot.busy = true;
        Ok(Some(&slot.buffer))
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

/// Sorts ranges of rows and joins those that touch.
fn merge(ranges: &mut Vec<Range<usize>>) {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges.drain(..).filter(|range| !range.is_empty()) {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            Some(_) | None => joined.push(range),
        }
    }
    *ranges = joined;
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn touching_rows_are_joined() {
        let mut ranges = vec![30..40, 0..10, 5..20, 20..25, 50..50];
        merge(&mut ranges);
        assert_eq!(ranges, [0..25, 30..40]);
    }
}
