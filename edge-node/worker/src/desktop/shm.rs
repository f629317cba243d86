//! `wl_shm`: shared-memory pools and buffers, bounded before smithay sees them.
//!
//! The bounds are checked here because smithay maps whatever it is told to, and unwraps a pool
//! resized to zero.

use super::Desktop;
use super::layout;
use crate::limits::{BUFFERS_MAX, POOL_BYTES_MAX, POOLS_MAX};
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::reexports::wayland_server::protocol::wl_shm::{self, WlShm};
use smithay::reexports::wayland_server::protocol::wl_shm_pool::{self, WlShmPool};
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, Resource, delegate_dispatch,
    delegate_global_dispatch,
};
use smithay::wayland::buffer::BufferHandler;
use smithay::wayland::dmabuf::get_dmabuf;
use smithay::wayland::shm::{ShmBufferUserData, ShmHandler, ShmPoolUserData, ShmState};

impl ShmHandler for Desktop {
    fn shm_state(&self) -> &ShmState {
        &self.globals.shm
    }
}

impl BufferHandler for Desktop {
    fn buffer_destroyed(&mut self, buffer: &WlBuffer) {
        if buffer.data::<ShmBufferUserData>().is_some() {
            self.clients.buffers = self.clients.buffers.saturating_sub(1);
        } else if get_dmabuf(buffer).is_ok() {
            self.clients.dmabufs = self.clients.dmabufs.saturating_sub(1);
        }
    }
}

impl Dispatch<WlShm, ()> for Desktop {
    fn request(
        state: &mut Self,
        client: &Client,
        shm: &WlShm,
        request: wl_shm::Request,
        data: &(),
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        if let wl_shm::Request::CreatePool { size, .. } = &request {
            if *size > POOL_BYTES_MAX {
                return state.violated(shm, &format!("a pool of {size} bytes"));
            }
            state.clients.pools += 1;
            if state.clients.pools > POOLS_MAX {
                return state.violated(shm, &format!("more than {POOLS_MAX} pools"));
            }
        }
        <ShmState as Dispatch<WlShm, (), Self>>::request(
            state, client, shm, request, data, display, init,
        );
    }
}

impl Dispatch<WlShmPool, ShmPoolUserData> for Desktop {
    fn request(
        state: &mut Self,
        client: &Client,
        pool: &WlShmPool,
        request: wl_shm_pool::Request,
        data: &ShmPoolUserData,
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        if let Some(what) = refusal(&request) {
            return state.violated(pool, &what);
        }
        if matches!(request, wl_shm_pool::Request::CreateBuffer { .. }) {
            state.clients.buffers += 1;
            if state.clients.buffers > BUFFERS_MAX {
                return state.violated(pool, &format!("more than {BUFFERS_MAX} buffers"));
            }
        }
        <ShmState as Dispatch<WlShmPool, ShmPoolUserData, Self>>::request(
            state, client, pool, request, data, display, init,
        );
    }

    fn destroyed(state: &mut Self, _: ClientId, _: &WlShmPool, _: &ShmPoolUserData) {
        state.clients.pools = state.clients.pools.saturating_sub(1);
    }
}

/// Why a request on a pool is refused, if it is.
fn refusal(request: &wl_shm_pool::Request) -> Option<String> {
    match *request {
        wl_shm_pool::Request::Resize { size } if size <= 0 || size > POOL_BYTES_MAX => {
            Some(format!("a pool of {size} bytes"))
        }
        wl_shm_pool::Request::CreateBuffer {
            width,
            height,
            stride,
            ..
        } => {
            let what = || format!("a buffer of {width} x {height} pixels, {stride} bytes a row");
            layout::is_unfit(width, height, stride).then(what)
        }
        _ => None,
    }
}

delegate_global_dispatch!(Desktop: [WlShm: ()] => ShmState);
delegate_dispatch!(Desktop: [WlBuffer: ShmBufferUserData] => ShmState);

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn only_pools_that_can_be_mapped_and_shown_pass() {
        for (size, refused) in [(0, true), (-1, true), (4096, false), (i32::MAX, true)] {
            let request = wl_shm_pool::Request::Resize { size };
            assert_eq!(refusal(&request).is_some(), refused, "{size}");
        }
    }
}
