//! What is visible: the app's windows in stacking order, and where each is.
//!
//! A window without a parent is told to fill the display; one that does not, and every dialog, is
//! centred. The newest window is on top.

use super::{Desktop, DisplaySize};
use smithay::backend::renderer::utils::{RendererSurfaceState, with_renderer_surface_state};
use smithay::desktop::{PopupManager, Window, WindowSurfaceType};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Point, Rectangle, Transform};
use smithay::wayland::compositor::{RectangleKind, SurfaceAttributes, get_children, with_states};
use smithay::wayland::seat::WaylandFocus;
use smithay::wayland::shell::xdg::ToplevelSurface;

/// Every window, bottom to top, mapped or not.
#[derive(Debug)]
pub struct Scene {
    size: DisplaySize,
    windows: Vec<Placed>,
}

/// A window and whether it had a buffer when we last looked.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) window: Window,
    pub(crate) mapped: bool,
}

impl Scene {
    pub(crate) fn new(size: DisplaySize) -> Self {
        Self {
            size,
            windows: Vec::new(),
        }
    }

    /// The display has another size.
    pub(crate) fn resize(&mut self, size: DisplaySize) {
        self.size = size;
    }

    /// Every window's role, mapped or not.
    pub(crate) fn toplevels(&self) -> impl Iterator<Item = &ToplevelSurface> {
        self.windows.iter().filter_map(|w| w.window.toplevel())
    }

    /// A new window, on top.
    pub(crate) fn add(&mut self, window: Window) {
        self.windows.push(Placed {
            window,
            mapped: false,
        });
    }

    /// The window is gone. Returns whether it was visible.
    pub(crate) fn remove(&mut self, surface: &WlSurface) -> bool {
        let at = self.windows.iter().position(|w| is_of(&w.window, surface));
        at.is_some_and(|at| self.windows.remove(at).mapped)
    }

    /// The window of a toplevel's surface.
    pub(crate) fn find(&mut self, surface: &WlSurface) -> Option<&mut Placed> {
        self.windows.iter_mut().find(|w| is_of(&w.window, surface))
    }

    /// Visible windows, bottom to top, with where their buffers' origins are.
    pub(crate) fn visible(
        &self,
    ) -> impl DoubleEndedIterator<Item = (&Window, Point<i32, Logical>)> {
        let size = self.size;
        self.windows
            .iter()
            .filter(|placed| placed.mapped)
            .map(move |placed| (&placed.window, origin(size, placed.window.geometry())))
    }

    /// The window on top.
    pub(crate) fn top(&self) -> Option<&Window> {
        self.visible().next_back().map(|(window, _)| window)
    }

    /// Whether nothing is visible.
    pub(crate) fn is_empty(&self) -> bool {
        self.top().is_none()
    }

    /// The surface at `point` and its own origin.
    pub(crate) fn under(
        &self,
        point: Point<f64, Logical>,
    ) -> Option<(WlSurface, Point<f64, Logical>)> {
        self.visible().rev().find_map(|(window, at)| {
            let (surface, offset) =
                window.surface_under(point - at.to_f64(), WindowSurfaceType::ALL)?;
            Some((surface, (offset + at).to_f64()))
        })
    }

    /// The surface whose buffer is the whole picture, if there is one: the window on top has no
    /// popup and no child, and one opaque buffer of the display's size.
    pub(crate) fn direct(&self) -> Option<WlSurface> {
        let (window, at) = self.visible().next_back()?;
        let surface = window.wl_surface()?.into_owned();
        let alone = self.visible().nth(1).is_none();
        let fits = with_renderer_surface_state(&surface, |state| self.fills(state))?;
        let whole = at == Point::default()
            && fits
            && get_children(&surface).iter().all(|child| child == &surface)
            && PopupManager::popups_for_surface(&surface).next().is_none()
            && (alone || is_opaque(&surface, self.size));
        whole.then_some(surface)
    }

    fn fills(&self, state: &RendererSurfaceState) -> bool {
        let size = (self.size.w(), self.size.h());
        let whole = Rectangle::from_size(size.into());
        state.buffer_scale() == 1
            && state.buffer_transform() == Transform::Normal
            && state.buffer_size().is_some_and(|s| (s.w, s.h) == size)
            && state
                .view()
                .is_some_and(|view| view.dst == whole.size && view.src == whole.to_f64())
    }
}

fn is_of(window: &Window, surface: &WlSurface) -> bool {
    window.wl_surface().as_deref() == Some(surface)
}

/// Whether nothing below can shine through. A window alone is over black, where premultiplied
/// colours are what they are.
fn is_opaque(surface: &WlSurface, size: DisplaySize) -> bool {
    let no_alpha = with_renderer_surface_state(surface, |state| {
        state.opaque_regions().is_some_and(|regions| {
            regions
                .iter()
                .any(|r| r.loc == Point::default() && r.size.w >= size.w() && r.size.h >= size.h())
        })
    });
    no_alpha.unwrap_or(false)
        || with_states(surface, |states| {
            let mut attributes = states.cached_state.get::<SurfaceAttributes>();
            attributes
                .current()
                .opaque_region
                .as_ref()
                .is_some_and(|region| {
                    matches!(region.rects[..], [(RectangleKind::Add, r)]
                    if r.loc == Point::default() && r.size.w >= size.w() && r.size.h >= size.h())
                })
        })
}

/// Where the buffer of a window with this geometry starts.
fn origin(size: DisplaySize, geometry: Rectangle<i32, Logical>) -> Point<i32, Logical> {
    let centred = |display: i32, window: i32| ((display - window) / 2).max(0);
    let corner = Point::from((
        centred(size.w(), geometry.size.w),
        centred(size.h(), geometry.size.h),
    ));
    corner - geometry.loc
}

impl Desktop {
    /// Where the pointer may be.
    pub(crate) fn clamp(&self, point: Point<f64, Logical>) -> Point<f64, Logical> {
        let max = |side: i32| f64::from(side) - 1.0 / 256.0;
        (
            point.x.clamp(0.0, max(self.size.w())),
            point.y.clamp(0.0, max(self.size.h())),
        )
            .into()
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn windows_are_centred_and_never_start_left_of_the_display() {
        let size = DisplaySize {
            width: 1280,
            height: 720,
            hz: 60,
        };
        for (geometry, expected) in [
            ((0, 0, 1280, 720), (0, 0)),
            ((0, 0, 250, 250), (515, 235)),
            ((10, 20, 1280, 720), (-10, -20)),
            ((0, 0, 2000, 2000), (0, 0)),
        ] {
            let (x, y, w, h) = geometry;
            let rect = Rectangle::new((x, y).into(), (w, h).into());
            assert_eq!(origin(size, rect), Point::from(expected), "{geometry:?}");
        }
    }
}
