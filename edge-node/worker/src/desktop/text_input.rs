//! `text-input-v3`: composed text goes to the app as text, where it takes that.
//!
//! Our own, because smithay's only relays to an input method that is another client; here the
//! player's browser is the input method, and it only ever commits.

use super::Desktop;
use smithay::reexports::wayland_protocols::wp::text_input::zv3::server::zwp_text_input_manager_v3::{
    self, ZwpTextInputManagerV3,
};
use smithay::reexports::wayland_protocols::wp::text_input::zv3::server::zwp_text_input_v3::{
    self, ZwpTextInputV3,
};
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, GlobalDispatch, New, Resource,
};

/// Every text field that an app announced, and the surface that has the keyboard.
#[derive(Debug, Default)]
pub struct TextInputs {
    fields: Vec<Field>,
    focus: Option<WlSurface>,
}

#[derive(Debug)]
struct Field {
    object: ZwpTextInputV3,
    /// Becomes `enabled` with the next commit.
    wanted: bool,
    enabled: bool,
    /// Commits so far; the client tells by it which state an answer belongs to.
    serial: u32,
}

/// Announces the global.
pub(crate) fn announce(display: &DisplayHandle) {
    display.create_global::<Desktop, ZwpTextInputManagerV3, _>(1, ());
}

impl TextInputs {
    /// The keyboard went to `surface`.
    pub(crate) fn focus(&mut self, surface: Option<&WlSurface>) {
        let old = std::mem::replace(&mut self.focus, surface.cloned());
        if old == self.focus {
            return;
        }
        for field in &mut self.fields {
            if let Some(old) = old.as_ref().filter(|s| s.is_alive() && belongs(field, s)) {
                field.object.leave(old);
            }
            field.wanted = false;
            field.enabled = false;
            if let Some(new) = self.focus.as_ref().filter(|s| belongs(field, s)) {
                field.object.enter(new);
            }
        }
    }

    /// Gives `text` to the field that has the keyboard, if there is one.
    pub(crate) fn commit(&self, text: &str) -> bool {
        let Some(focus) = &self.focus else {
            return false;
        };
        let field = self
            .fields
            .iter()
            .find(|field| field.enabled && belongs(field, focus));
        if let Some(field) = field {
            field.object.commit_string(Some(text.to_owned()));
            field.object.done(field.serial);
        }
        field.is_some()
    }

    fn find(&mut self, object: &ZwpTextInputV3) -> Option<&mut Field> {
        self.fields.iter_mut().find(|field| field.object == *object)
    }
}

fn belongs(field: &Field, surface: &WlSurface) -> bool {
    field.object.id().same_client_as(&surface.id())
}

impl GlobalDispatch<ZwpTextInputManagerV3, ()> for Desktop {
    fn bind(
        _: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        manager: New<ZwpTextInputManagerV3>,
        (): &(),
        init: &mut DataInit<'_, Self>,
    ) {
        init.init(manager, ());
    }
}

impl Dispatch<ZwpTextInputManagerV3, ()> for Desktop {
    fn request(
        state: &mut Self,
        _: &Client,
        _: &ZwpTextInputManagerV3,
        request: zwp_text_input_manager_v3::Request,
        (): &(),
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        if let zwp_text_input_manager_v3::Request::GetTextInput { id, .. } = request {
            let object = init.init(id, ());
            let field = Field {
                object,
                wanted: false,
                enabled: false,
                serial: 0,
            };
            let inputs = &mut state.text_inputs;
            if let Some(focus) = inputs.focus.as_ref().filter(|s| belongs(&field, s)) {
                field.object.enter(focus);
            }
            inputs.fields.push(field);
        }
    }
}

impl Dispatch<ZwpTextInputV3, ()> for Desktop {
    fn request(
        state: &mut Self,
        _: &Client,
        object: &ZwpTextInputV3,
        request: zwp_text_input_v3::Request,
        (): &(),
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
        let focus = state.text_inputs.focus.clone();
        let Some(field) = state.text_inputs.find(object) else {
            return;
        };
        match request {
            zwp_text_input_v3::Request::Enable => field.wanted = true,
            zwp_text_input_v3::Request::Disable => field.wanted = false,
            zwp_text_input_v3::Request::Commit => {
                field.serial = field.serial.wrapping_add(1);
                field.enabled = field.wanted && focus.is_some_and(|s| belongs(field, &s));
            }
            // Surrounding text, content type and cursor place would help an input method that
            // predicts; ours has its own window.
            _ => {}
        }
    }

    fn destroyed(state: &mut Self, _: ClientId, object: &ZwpTextInputV3, (): &()) {
        state
            .text_inputs
            .fields
            .retain(|field| field.object != *object);
    }
}
