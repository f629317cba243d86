//! `pointer-constraints` and `relative-pointer`: games that take the mouse.
//!
//! A constraint is honoured as soon as the pointer is over its surface. The browser is told, so
//! that it takes pointer lock and sends relative motion.

use super::Desktop;
use crate::clock::mono_us;
use smithay::delegate_pointer_constraints;
use smithay::input::pointer::PointerHandle;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Point};
use smithay::wayland::compositor::RegionAttributes;
use smithay::wayland::pointer_constraints::{
    PointerConstraint, PointerConstraintsHandler, with_pointer_constraint,
};

impl PointerConstraintsHandler for Desktop {
    fn new_constraint(&mut self, _surface: &WlSurface, _pointer: &PointerHandle<Self>) {
        self.check_constraint();
    }

    fn cursor_position_hint(
        &mut self,
        surface: &WlSurface,
        _pointer: &PointerHandle<Self>,
        location: Point<f64, Logical>,
    ) {
        // Where the pointer is to be once the lock ends: absolute motion goes on from there.
        if self.pointer.current_focus().as_ref() == Some(surface) && self.pointer_is_locked() {
            let at = self.scene.under(self.pointer.current_location());
            let origin = at.map(|(_, origin)| origin).unwrap_or_default();
            self.pointer.set_location(self.clamp(origin + location));
        }
    }
}

impl Desktop {
    /// Activates the constraint of the surface under the pointer, and tells the browser whether
    /// there is one. Cheap: called after each round, for a constraint that its app destroys is not
    /// announced.
    pub(crate) fn check_constraint(&mut self) {
        let held = self
            .constraint(|constraint| constraint.is_some())
            .unwrap_or(false);
        self.notices.pointer_lock(held, mono_us());
    }

    /// Whether the pointer must not move.
    pub(crate) fn pointer_is_locked(&self) -> bool {
        self.constraint(|constraint| matches!(constraint, Some(PointerConstraint::Locked(_))))
            .unwrap_or(false)
    }

    /// Where the pointer may go from where it is.
    pub(crate) fn confine(&self, to: Point<f64, Logical>) -> Point<f64, Logical> {
        let from = self.pointer.current_location();
        let Some(region) = self.constraint(|constraint| match constraint {
            Some(PointerConstraint::Confined(confined)) => Some(confined.region().cloned()),
            Some(PointerConstraint::Locked(_)) | None => None,
        }) else {
            return to;
        };
        let Some(region) = region else { return to };
        let (focus, under) = (self.pointer.current_focus(), self.scene.under(to));
        let inside = under.is_some_and(|(surface, origin)| {
            Some(&surface) == focus.as_ref() && allows(region.as_ref(), to - origin)
        });
        if inside { to } else { from }
    }

    /// Calls `f` with the active constraint of the surface under the pointer; activates it first.
    fn constraint<T>(&self, f: impl FnOnce(Option<&PointerConstraint>) -> T) -> Option<T> {
        let focus = self.pointer.current_focus()?;
        let location = self.pointer.current_location();
        let origin = self
            .scene
            .under(location)
            .map(|(_, origin)| origin)
            .unwrap_or_default();
        Some(with_pointer_constraint(
            &focus,
            &self.pointer,
            |constraint| {
                if let Some(constraint) = &constraint
                    && !constraint.is_active()
                    && allows(constraint.region(), location - origin)
                {
                    constraint.activate();
                }
                f(constraint.as_deref().filter(|c| c.is_active()))
            },
        ))
    }
}

fn allows(region: Option<&RegionAttributes>, at: Point<f64, Logical>) -> bool {
    region.is_none_or(|region| region.contains(at.to_i32_floor()))
}

delegate_pointer_constraints!(Desktop);
