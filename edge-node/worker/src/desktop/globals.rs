//! The globals that need no code of ours, and the output.

use super::{Desktop, DisplaySize};
use nix::time::ClockId;
use smithay::output::{Output, PhysicalProperties, Subpixel};
use smithay::reexports::wayland_server::DisplayHandle;
use smithay::reexports::wayland_server::protocol::wl_shm;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::Transform;
use smithay::wayland::compositor::CompositorState;
use smithay::wayland::cursor_shape::CursorShapeManagerState;
use smithay::wayland::fractional_scale::{
    FractionalScaleHandler, FractionalScaleManagerState, with_fractional_scale,
};
use smithay::wayland::output::{OutputHandler, OutputManagerState};
use smithay::wayland::pointer_constraints::PointerConstraintsState;
use smithay::wayland::presentation::PresentationState;
use smithay::wayland::relative_pointer::RelativePointerManagerState;
use smithay::wayland::selection::data_device::DataDeviceState;
use smithay::wayland::shell::xdg::XdgShellState;
use smithay::wayland::shell::xdg::decoration::XdgDecorationState;
use smithay::wayland::shm::ShmState;
use smithay::wayland::single_pixel_buffer::SinglePixelBufferState;
use smithay::wayland::tablet_manager::TabletSeatHandler;
use smithay::wayland::viewporter::ViewporterState;
use smithay::{
    delegate_cursor_shape, delegate_fractional_scale, delegate_output, delegate_relative_pointer,
    delegate_single_pixel_buffer, delegate_viewporter,
};

/// Physical size: 96 dots per inch, so that toolkits choose no odd font size.
const DOTS_PER_INCH: f64 = 96.0;

/// Every global that keeps a state of its own.
#[derive(Debug)]
pub struct Globals {
    pub(crate) compositor: CompositorState,
    pub(crate) shm: ShmState,
    pub(crate) shell: XdgShellState,
    pub(crate) data_device: DataDeviceState,
}

impl Globals {
    /// Announces every global but seat and output.
    pub(crate) fn new(display: &DisplayHandle) -> Self {
        // These live as long as the display; their handles are only needed to take them back.
        ViewporterState::new::<Desktop>(display);
        SinglePixelBufferState::new::<Desktop>(display);
        FractionalScaleManagerState::new::<Desktop>(display);
        RelativePointerManagerState::new::<Desktop>(display);
        PointerConstraintsState::new::<Desktop>(display);
        CursorShapeManagerState::new::<Desktop>(display);
        XdgDecorationState::new::<Desktop>(display);
        OutputManagerState::new_with_xdg_output::<Desktop>(display);
        let clock = ClockId::CLOCK_MONOTONIC.as_raw() as u32;
        PresentationState::new::<Desktop>(display, clock);
        super::text_input::announce(display);
        Self {
            compositor: CompositorState::new::<Desktop>(display),
            // The direct path converts these; ARGB8888 and XRGB8888 are always there.
            shm: ShmState::new::<Desktop>(
                display,
                [wl_shm::Format::Abgr8888, wl_shm::Format::Xbgr8888],
            ),
            shell: XdgShellState::new::<Desktop>(display),
            data_device: DataDeviceState::new::<Desktop>(display),
        }
    }
}

/// The one output.
pub(crate) fn output(display: &DisplayHandle, size: DisplaySize) -> Output {
    let millimetres = |pixels: i32| (f64::from(pixels) / DOTS_PER_INCH * 25.4) as i32;
    let output = Output::new(
        "nearlight-1".into(),
        PhysicalProperties {
            size: (millimetres(size.w()), millimetres(size.h())).into(),
            subpixel: Subpixel::Unknown,
            make: "Nearlight".into(),
            model: "Session".into(),
        },
    );
    output.create_global::<Desktop>(display);
    let mode = size.mode();
    output.change_current_state(
        Some(mode),
        Some(Transform::Normal),
        None,
        Some((0, 0).into()),
    );
    output.set_preferred(mode);
    output
}

impl OutputHandler for Desktop {}
impl TabletSeatHandler for Desktop {}

impl FractionalScaleHandler for Desktop {
    fn new_fractional_scale(&mut self, surface: WlSurface) {
        smithay::wayland::compositor::with_states(&surface, |states| {
            with_fractional_scale(states, |scale| scale.set_preferred_scale(1.0));
        });
    }
}

delegate_output!(Desktop);
delegate_viewporter!(Desktop);
delegate_single_pixel_buffer!(Desktop);
delegate_fractional_scale!(Desktop);
delegate_relative_pointer!(Desktop);
delegate_cursor_shape!(Desktop);
