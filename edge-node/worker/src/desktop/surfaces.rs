//! `wl_compositor`, `wl_subcompositor`, `wl_surface`: what a commit does.
//!
//! A commit changes the **picture** if a surface of its tree got a new buffer, lost it, or moved.
//! Only such a commit is counted; others only carry state or ask for a callback.

use super::Desktop;
use crate::clock::mono_us;
use crate::limits::{CALLBACKS_MAX, DAMAGE_RECTS_MAX, SURFACES_MAX};
use smithay::backend::renderer::utils::{
    RendererSurfaceStateUserData, SurfaceView, on_commit_buffer_handler,
};
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::protocol::wl_callback::WlCallback;
use smithay::reexports::wayland_server::protocol::wl_compositor::WlCompositor;
use smithay::reexports::wayland_server::protocol::wl_subcompositor::WlSubcompositor;
use smithay::reexports::wayland_server::protocol::wl_subsurface::WlSubsurface;
use smithay::reexports::wayland_server::protocol::wl_surface::{self, WlSurface};
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, delegate_dispatch, delegate_global_dispatch,
};
use smithay::utils::Rectangle;
use smithay::wayland::compositor::{
    CompositorClientState, CompositorHandler, CompositorState, Damage, SubsurfaceUserData,
    SurfaceAttributes, SurfaceData, SurfaceUserData, TraversalAction, get_parent, get_role,
    is_sync_subsurface, with_states, with_surface_tree_downward,
};
use smithay::wayland::presentation::PresentationFeedbackCachedState;

/// Damage of a commit with more rectangles than we look at: everything, in buffer coordinates.
const EVERYTHING: i32 = i32::MAX / 4;

impl CompositorHandler for Desktop {
    fn compositor_state(&mut self) -> &mut CompositorState {
        &mut self.globals.compositor
    }

    fn client_compositor_state<'a>(&self, client: &'a Client) -> &'a CompositorClientState {
        let state = client.get_data::<super::clients::ClientState>();
        &state
            .expect("every client is made by Desktop::connect")
            .compositor
    }

    fn new_surface(&mut self, surface: &WlSurface) {
        self.clients.surfaces += 1;
        if self.painter.gpu().is_some() {
            super::fences::watch(surface);
        }
        if self.clients.surfaces > SURFACES_MAX {
            self.violated(surface, &format!("more than {SURFACES_MAX} surfaces"));
        }
    }

    fn commit(&mut self, surface: &WlSurface) {
        // A synchronized subsurface shows nothing until its parent commits.
        if is_sync_subsurface(surface) {
            return;
        }
        let now = mono_us();
        let before = views(surface);
        on_commit_buffer_handler::<Self>(surface);
        self.collect_callbacks(surface);
        self.popups.commit(surface);
        if get_role(surface) == Some("cursor_image") {
            return self.cursor_committed(surface);
        }
        let root = root(surface);
        let shown = self.shell_committed(&root);
        if shown && before.new_buffer | (before.views != views(surface).views) {
            self.picture_changed(now);
        }
    }

    fn destroyed(&mut self, surface: &WlSurface) {
        self.clients.surfaces = self.clients.surfaces.saturating_sub(1);
        self.cursor_destroyed(surface);
    }
}

/// What of a surface tree makes its picture.
struct Views {
    new_buffer: bool,
    views: Vec<Option<SurfaceView>>,
}

fn views(surface: &WlSurface) -> Views {
    let mut all = Views {
        new_buffer: false,
        views: Vec::new(),
    };
    for_tree(surface, |states| {
        all.new_buffer |= states
            .cached_state
            .get::<SurfaceAttributes>()
            .current()
            .buffer
            .is_some();
        let renderer = states.data_map.get::<RendererSurfaceStateUserData>();
        all.views.push(renderer.and_then(|r| r.lock().ok()?.view()));
    });
    all
}

/// Calls `f` for every surface of the tree.
pub(crate) fn for_tree(surface: &WlSurface, mut f: impl FnMut(&SurfaceData)) {
    with_surface_tree_downward(
        surface,
        (),
        |_, _, ()| TraversalAction::DoChildren(()),
        |_, states, ()| f(states),
        |_, _, ()| true,
    );
}

fn root(surface: &WlSurface) -> WlSurface {
    let mut root = surface.clone();
    while let Some(parent) = get_parent(&root) {
        root = parent;
    }
    root
}

impl Desktop {
    /// Takes the frame callbacks and presentation feedbacks of a commit.
    fn collect_callbacks(&mut self, surface: &WlSurface) {
        let frames = &mut self.frames;
        for_tree(surface, |states| {
            let mut attributes = states.cached_state.get::<SurfaceAttributes>();
            let current = attributes.current();
            frames.callbacks.append(&mut current.frame_callbacks);
            // Damage without a new buffer shows nothing; smithay would keep it for ever.
            current.damage.clear();
            let mut feedback = states.cached_state.get::<PresentationFeedbackCachedState>();
            frames.feedback.append(&mut feedback.current().callbacks);
        });
        if self.frames.waiting() > CALLBACKS_MAX {
            self.violated(
                surface,
                &format!("more than {CALLBACKS_MAX} frame callbacks"),
            );
        }
    }
}

impl Dispatch<WlSurface, SurfaceUserData> for Desktop {
    fn request(
        state: &mut Self,
        client: &Client,
        surface: &WlSurface,
        request: wl_surface::Request,
        data: &SurfaceUserData,
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        let grows = matches!(
            request,
            wl_surface::Request::Damage { .. }
                | wl_surface::Request::DamageBuffer { .. }
                | wl_surface::Request::Frame { .. }
        );
        <CompositorState as Dispatch<WlSurface, SurfaceUserData, Self>>::request(
            state, client, surface, request, data, display, init,
        );
        if grows && bound_pending(surface) > CALLBACKS_MAX {
            state.violated(
                surface,
                &format!("more than {CALLBACKS_MAX} frame callbacks"),
            );
        }
    }

    fn destroyed(state: &mut Self, client: ClientId, surface: &WlSurface, data: &SurfaceUserData) {
        <CompositorState as Dispatch<WlSurface, SurfaceUserData, Self>>::destroyed(
            state, client, surface, data,
        );
    }
}

/// Bounds the damage of the next commit and returns how many callbacks wait for it.
fn bound_pending(surface: &WlSurface) -> usize {
    with_states(surface, |states| {
        let mut attributes = states.cached_state.get::<SurfaceAttributes>();
        let pending = attributes.pending();
        if pending.damage.len() > DAMAGE_RECTS_MAX {
            let all = Rectangle::from_size((EVERYTHING, EVERYTHING).into());
            pending.damage = vec![Damage::Buffer(all)];
        }
        pending.frame_callbacks.len()
    })
}

delegate_global_dispatch!(Desktop: [WlCompositor: ()] => CompositorState);
delegate_global_dispatch!(Desktop: [WlSubcompositor: ()] => CompositorState);
delegate_dispatch!(Desktop: [WlCompositor: ()] => CompositorState);
delegate_dispatch!(Desktop: [WlSubcompositor: ()] => CompositorState);
delegate_dispatch!(Desktop: [WlCallback: ()] => CompositorState);
delegate_dispatch!(Desktop: [WlSubsurface: SubsurfaceUserData] => CompositorState);
