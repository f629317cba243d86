//! When what an app draws on the GPU is finished. Apps commit before their GPU is done; such a commit
//! takes effect when it is, so that nobody waits in the event loop for a game's GPU, and an input
//! that comes meanwhile is injected at once.
//!
//! ```text
//! commit of a GPU's buffer --its timeline's point----> Wait --readable--> the commit takes effect
//!                          \--the kernel's own fence-/    (the session waits for it)
//! ```
//!
//! Timelines are `wp_linux_drm_syncobj_v1`, which NVIDIA's driver needs, for it attaches no fences to
//! buffers. It is announced where the kernel can wait for a point by a descriptor (Linux 6.6).
//!
//! **What it does not know:** the event loop; it leaves its waits for whoever has one.

use super::Desktop;
use super::gpu::Gpu;
use crate::limits::GPU_WAITS_MAX;
use smithay::backend::allocator::dmabuf::{Dmabuf, DmabufSource};
use smithay::backend::drm::DrmDeviceFd;
use smithay::delegate_drm_syncobj;
use smithay::reexports::calloop::Interest;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{Client, DisplayHandle, Resource};
use smithay::utils::DeviceFd;
use smithay::wayland::compositor::{
    BufferAssignment, CompositorHandler, SurfaceAttributes, add_blocker, add_pre_commit_hook,
    with_states,
};
use smithay::wayland::dmabuf::get_dmabuf;
use smithay::wayland::drm_syncobj::{
    DrmSyncPoint, DrmSyncPointSource, DrmSyncobjCachedState, DrmSyncobjHandler, DrmSyncobjState,
    supports_syncobj_eventfd,
};
use std::fs::File;

/// Timelines, and what waits.
#[derive(Debug)]
pub(crate) struct Fences {
    timelines: Option<DrmSyncobjState>,
    fresh: Vec<Wait>,
    waiting: usize,
}

/// One commit that waits for its GPU; the loop watches `source` and then calls
/// [`Desktop::gpu_done`].
#[derive(Debug)]
pub struct Wait {
    /// What becomes readable.
    pub source: Source,
    /// Whose commit it is.
    pub client: Client,
}

/// What becomes readable when the GPU is done.
#[derive(Debug)]
pub enum Source {
    /// A point of the app's timeline.
    Point(DrmSyncPointSource),
    /// The fence that the kernel keeps with a buffer.
    Buffer(DmabufSource),
}

impl Fences {
    /// Announces timelines where the GPU and the kernel have them.
    pub(crate) fn new(display: &DisplayHandle, gpu: Option<&Gpu>) -> Self {
        let node = gpu.and_then(Gpu::node);
        let timelines = node.and_then(|node| match device(node) {
            Ok(device) if supports_syncobj_eventfd(&device) => {
                Some(DrmSyncobjState::new::<Desktop>(display, device))
            }
            Ok(_) => {
                tracing::info!("this kernel has no timelines for apps: before Linux 6.6");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "no timelines for apps");
                None
            }
        });
        Self {
            timelines,
            fresh: Vec::new(),
            waiting: 0,
        }
    }
}

fn device(node: &File) -> std::io::Result<DrmDeviceFd> {
    let fd = std::os::fd::OwnedFd::from(node.try_clone()?);
    Ok(DrmDeviceFd::new(DeviceFd::from(fd)))
}

impl DrmSyncobjHandler for Desktop {
    fn drm_syncobj_state(&mut self) -> Option<&mut DrmSyncobjState> {
        self.fences.timelines.as_mut()
    }
}

/// Makes the commits of a new surface wait for their GPU.
pub(super) fn watch(surface: &WlSurface) {
    add_pre_commit_hook::<Desktop, _>(surface, |desktop, _, surface| desktop.hold_back(surface));
}

impl Desktop {
    fn hold_back(&mut self, surface: &WlSurface) {
        let Some((buffer, point)) = pending(surface) else {
            return;
        };
        let Some(client) = surface.client() else {
            return;
        };
        let source = match point {
            Some(point) => match point.generate_blocker() {
                Ok((blocker, source)) => {
                    add_blocker(surface, blocker);
                    Source::Point(source)
                }
                Err(error) => {
                    return tracing::warn!(%error, "a picture may be shown before it is finished");
                }
            },
            None => match buffer.generate_blocker(Interest::READ) {
                Ok((blocker, source)) => {
                    add_blocker(surface, blocker);
                    Source::Buffer(source)
                }
                // It is finished already.
                Err(_) => return,
            },
        };
        self.fences.waiting += 1;
        if self.fences.waiting > GPU_WAITS_MAX {
            let what = format!("more than {GPU_WAITS_MAX} pictures that its GPU does not finish");
            return self.violated(surface, &what);
        }
        self.fences.fresh.push(Wait { source, client });
    }

    /// Commits that wait since the last call.
    pub fn take_waits(&mut self) -> Vec<Wait> {
        std::mem::take(&mut self.fences.fresh)
    }

    /// The GPU is done with what a commit of this client waits for.
    pub fn gpu_done(&mut self, client: &Client) {
        self.fences.waiting = self.fences.waiting.saturating_sub(1);
        let display = self.display.clone();
        let state = self.client_compositor_state(client);
        state.blocker_cleared(self, &display);
    }
}

/// The GPU's buffer that the next commit brings, and the point at which it is finished.
fn pending(surface: &WlSurface) -> Option<(Dmabuf, Option<DrmSyncPoint>)> {
    with_states(surface, |states| {
        let mut attributes = states.cached_state.get::<SurfaceAttributes>();
        let Some(BufferAssignment::NewBuffer(buffer)) = &attributes.pending().buffer else {
            return None;
        };
        let buffer = get_dmabuf(buffer).ok()?.clone();
        let mut timeline = states.cached_state.get::<DrmSyncobjCachedState>();
        Some((buffer, timeline.pending().acquire_point.clone()))
    })
}

delegate_drm_syncobj!(Desktop);
