//! `wl_region`, bounded: the cost of an opaque region grows with the square of its rectangles.

use super::Desktop;
use crate::limits::REGION_RECTS_MAX;
use smithay::reexports::wayland_server::protocol::wl_region::{self, WlRegion};
use smithay::reexports::wayland_server::{Client, DataInit, Dispatch, DisplayHandle};
use smithay::wayland::compositor::{CompositorState, RegionUserData, get_region_attributes};

impl Dispatch<WlRegion, RegionUserData> for Desktop {
    fn request(
        state: &mut Self,
        client: &Client,
        region: &WlRegion,
        request: wl_region::Request,
        data: &RegionUserData,
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        if get_region_attributes(region).rects.len() >= REGION_RECTS_MAX {
            let what = format!("a region of more than {REGION_RECTS_MAX} rectangles");
            return state.violated(region, &what);
        }
        <CompositorState as Dispatch<WlRegion, RegionUserData, Self>>::request(
            state, client, region, request, data, display, init,
        );
    }
}
