//! `zwp_linux_dmabuf_v1`: buffers that apps' drivers allocated on the GPU. Only announced where there
//! is a GPU that draws them, with its node as the main device, so that apps render on the same one.
//!
//! Checked here before smithay sees it: how many descriptors an app holds, sums that would overflow,
//! and that layout and format are a pair that was announced, for drivers believe what they are told.
//! Whatever passes is imported at once; what the driver refuses is answered with `failed`, or ends
//! an app that asked for no answer (`create_immed`), as the protocol has it.

mod params;

use super::Desktop;
use super::gpu::Gpu;
use crate::limits::{DMABUF_PARAMS_MAX, DMABUFS_MAX};
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::allocator::{Buffer, Format};
use smithay::reexports::wayland_protocols::wp::linux_dmabuf::zv1::server::zwp_linux_buffer_params_v1::{
    Error, Request, ZwpLinuxBufferParamsV1,
};
use smithay::reexports::wayland_protocols::wp::linux_dmabuf::zv1::server::zwp_linux_dmabuf_feedback_v1::ZwpLinuxDmabufFeedbackV1;
use smithay::reexports::wayland_protocols::wp::linux_dmabuf::zv1::server::zwp_linux_dmabuf_v1::{
    self, ZwpLinuxDmabufV1,
};
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, Resource, delegate_dispatch,
    delegate_global_dispatch,
};
use smithay::wayland::dmabuf::{
    DmabufData, DmabufFeedbackBuilder, DmabufFeedbackData, DmabufGlobal, DmabufGlobalData,
    DmabufHandler, DmabufParamsData, DmabufState, ImportNotifier,
};
use std::collections::HashSet;

/// What apps may hand over.
#[derive(Debug)]
pub(crate) struct Dmabufs {
    state: DmabufState,
    formats: HashSet<Format>,
}

impl Dmabufs {
    /// Announces what the GPU draws; nothing without one.
    pub(crate) fn new(display: &DisplayHandle, gpu: Option<&Gpu>) -> Self {
        let formats = gpu.map(Gpu::formats).unwrap_or_default();
        let device = gpu.map(Gpu::device).unwrap_or_default();
        Self::announcing(display, device, formats)
    }

    /// Announces these formats of this device.
    pub(super) fn announcing(display: &DisplayHandle, device: u64, formats: Vec<Format>) -> Self {
        let mut state = DmabufState::new();
        if !formats.is_empty() {
            match DmabufFeedbackBuilder::new(device, formats.iter().copied()).build() {
                Ok(feedback) => {
                    state.create_global_with_default_feedback::<Desktop>(display, &feedback);
                }
                Err(error) => {
                    tracing::warn!(%error, "apps' drivers are not told of the GPU: no memory");
                }
            }
        }
        Self {
            state,
            formats: formats.into_iter().collect(),
        }
    }
}

impl DmabufHandler for Desktop {
    fn dmabuf_state(&mut self) -> &mut DmabufState {
        &mut self.dmabufs.state
    }

    fn dmabuf_imported(&mut self, _: &DmabufGlobal, dmabuf: Dmabuf, notifier: ImportNotifier) {
        if let Err(why) = self.import(&dmabuf) {
            tracing::debug!(why, "an app's buffer is refused");
            self.clients.dmabufs = self.clients.dmabufs.saturating_sub(1);
            return notifier.failed();
        }
        if let Err(error) = notifier.successful::<Self>() {
            tracing::debug!(%error, "an app left while its buffer was imported");
        }
    }
}

impl Desktop {
    fn import(&mut self, dmabuf: &Dmabuf) -> Result<(), String> {
        let format = dmabuf.format();
        if !self.dmabufs.formats.contains(&format) {
            return Err(format!("{format:?} was not announced"));
        }
        let Some(gpu) = self.painter.gpu() else {
            return Err("there is no GPU any more".to_owned());
        };
        gpu.import(dmabuf).map_err(|error| error.to_string())
    }
}

impl Dispatch<ZwpLinuxDmabufV1, DmabufData> for Desktop {
    fn request(
        state: &mut Self,
        client: &Client,
        dmabuf: &ZwpLinuxDmabufV1,
        request: zwp_linux_dmabuf_v1::Request,
        data: &DmabufData,
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        if matches!(request, zwp_linux_dmabuf_v1::Request::CreateParams { .. }) {
            state.clients.dmabuf_params += 1;
            if state.clients.dmabuf_params > DMABUF_PARAMS_MAX {
                let what = format!("more than {DMABUF_PARAMS_MAX} buffers in preparation");
                return state.violated(dmabuf, &what);
            }
        }
        <DmabufState as Dispatch<ZwpLinuxDmabufV1, DmabufData, Self>>::request(
            state, client, dmabuf, request, data, display, init,
        );
    }
}

impl Dispatch<ZwpLinuxBufferParamsV1, DmabufParamsData> for Desktop {
    fn request(
        state: &mut Self,
        client: &Client,
        params: &ZwpLinuxBufferParamsV1,
        request: Request,
        data: &DmabufParamsData,
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        if let Some((error, what)) = refusal(&request) {
            return params.post_error(error, what);
        }
        if matches!(
            request,
            Request::Create { .. } | Request::CreateImmed { .. }
        ) {
            state.clients.dmabufs += 1;
            if state.clients.dmabufs > DMABUFS_MAX {
                let what = format!("more than {DMABUFS_MAX} buffers on the GPU");
                return state.violated(params, &what);
            }
        }
        <DmabufState as Dispatch<ZwpLinuxBufferParamsV1, DmabufParamsData, Self>>::request(
            state, client, params, request, data, display, init,
        );
    }

    fn destroyed(state: &mut Self, _: ClientId, _: &ZwpLinuxBufferParamsV1, _: &DmabufParamsData) {
        state.clients.dmabuf_params = state.clients.dmabuf_params.saturating_sub(1);
    }
}

/// The protocol error for a request that smithay would get wrong, if it is one.
fn refusal(request: &Request) -> Option<(Error, String)> {
    match *request {
        Request::Add { offset, stride, .. } => {
            let what = params::plane_refusal(offset, stride)?;
            Some((Error::OutOfBounds, what))
        }
        Request::Create { width, height, .. } | Request::CreateImmed { width, height, .. } => {
            let what = params::sides_refusal(width, height)?;
            Some((Error::InvalidDimensions, what))
        }
        _ => None,
    }
}

delegate_global_dispatch!(Desktop: [ZwpLinuxDmabufV1: DmabufGlobalData] => DmabufState);
delegate_dispatch!(Desktop: [WlBuffer: Dmabuf] => DmabufState);
delegate_dispatch!(Desktop: [ZwpLinuxDmabufFeedbackV1: DmabufFeedbackData] => DmabufState);

#[cfg(test)]
mod test;
