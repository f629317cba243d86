//! The window manager: places, focuses, and says what toolkits wait to hear (ICCCM and EWMH).
//!
//! Managed windows form a stack; the newest has the focus, and when it goes the one below gets it.
//! A request about a window that has gone in the meantime fails, which means nothing.

use crate::placement::{Wish, fills, place};
use anyhow::{Context, Result};
use std::convert::Infallible;
use x11rb::connection::Connection;
use x11rb::properties::WmSizeHints;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ClientMessageEvent, ConfigureNotifyEvent,
    ConfigureRequestEvent, ConfigureWindowAux, ConnectionExt as _, CreateWindowAux, EventMask,
    InputFocus, PropMode, StackMode, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;
use x11rb::{COPY_DEPTH_FROM_PARENT, CURRENT_TIME, NONE};

x11rb::atom_manager! {
    /// Names that are used.
    Atoms: AtomsCookie {
        UTF8_STRING,
        WM_PROTOCOLS,
        WM_STATE,
        WM_TAKE_FOCUS,
        _NET_ACTIVE_WINDOW,
        _NET_FRAME_EXTENTS,
        _NET_SUPPORTED,
        _NET_SUPPORTING_WM_CHECK,
        _NET_WM_NAME,
        _NET_WM_STATE,
        _NET_WM_STATE_FULLSCREEN,
    }
}

/// `WM_STATE` of a window that is shown.
const NORMAL_STATE: u32 = 1;
/// What a `_NET_WM_STATE` message asks for.
const STATE_REMOVE: u32 = 0;
const STATE_ADD: u32 = 1;

/// The windows of a display.
#[derive(Debug)]
pub(crate) struct Windows {
    connection: RustConnection,
    atoms: Atoms,
    root: Window,
    screen: (u32, u32),
    /// The newest is last.
    stack: Vec<Managed>,
}

#[derive(Clone, Copy, Debug)]
struct Managed {
    window: Window,
    wish: Wish,
}

impl Windows {
    /// Becomes the window manager of a display.
    pub(crate) fn manage(display: &str) -> Result<Self> {
        let (connection, number) = RustConnection::connect(Some(display))
            .with_context(|| format!("cannot connect to the X display {display}"))?;
        let screen = &connection.setup().roots[number];
        let root = screen.root;
        let size = (screen.width_in_pixels, screen.height_in_pixels);
        let mask = EventMask::SUBSTRUCTURE_REDIRECT
            | EventMask::SUBSTRUCTURE_NOTIFY
            | EventMask::STRUCTURE_NOTIFY;
        let attributes = ChangeWindowAttributesAux::new().event_mask(mask);
        connection
            .change_window_attributes(root, &attributes)?
            .check()
            .context("the display has a window manager already")?;
        let atoms = Atoms::new(&connection)?.reply()?;
        let windows = Self {
            connection,
            atoms,
            root,
            screen: (size.0.into(), size.1.into()),
            stack: Vec::new(),
        };
        windows.introduce()?;
        Ok(windows)
    }

    /// Serves until the display is gone.
    pub(crate) fn run(&mut self) -> Result<Infallible> {
        loop {
            let event = self.connection.wait_for_event();
            self.handle(&event.context("the display is gone")?)?;
            self.connection.flush()?;
        }
    }

    fn handle(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::MapRequest(event) => self.show(event.window),
            Event::ConfigureRequest(event) => self.configure(event),
            Event::UnmapNotify(event) => self.forget(event.window),
            Event::DestroyNotify(event) => self.forget(event.window),
            Event::ConfigureNotify(event) if event.window == self.root => {
                self.screen = (event.width.into(), event.height.into());
                self.stack.iter().try_for_each(|managed| self.put(managed))
            }
            Event::ClientMessage(event) => self.message(event),
            // A window that has gone, or an event that needs no answer.
            _ => Ok(()),
        }
    }

    /// Says on the root window that there is a window manager, and what it knows.
    fn introduce(&self) -> Result<()> {
        let (connection, atoms) = (&self.connection, &self.atoms);
        let check = connection.generate_id()?;
        connection.create_window(
            COPY_DEPTH_FROM_PARENT,
            check,
            self.root,
            -1,
            -1,
            1,
            1,
            0,
            WindowClass::INPUT_OUTPUT,
            0,
            &CreateWindowAux::new().override_redirect(1),
        )?;
        for window in [self.root, check] {
            let name = atoms._NET_SUPPORTING_WM_CHECK;
            connection.change_property32(
                PropMode::REPLACE,
                window,
                name,
                AtomEnum::WINDOW,
                &[check],
            )?;
        }
        let (name, kind) = (atoms._NET_WM_NAME, atoms.UTF8_STRING);
        connection.change_property8(PropMode::REPLACE, check, name, kind, b"xwm")?;
        let known = [
            atoms._NET_ACTIVE_WINDOW,
            atoms._NET_FRAME_EXTENTS,
            atoms._NET_SUPPORTED,
            atoms._NET_SUPPORTING_WM_CHECK,
            atoms._NET_WM_NAME,
            atoms._NET_WM_STATE,
            atoms._NET_WM_STATE_FULLSCREEN,
        ];
        let name = atoms._NET_SUPPORTED;
        connection.change_property32(PropMode::REPLACE, self.root, name, AtomEnum::ATOM, &known)?;
        connection.flush()?;
        Ok(())
    }

    /// A window wants to be seen.
    fn show(&mut self, window: Window) -> Result<()> {
        self.stack.retain(|managed| managed.window != window);
        let managed = Managed {
            window,
            wish: self.wish(window)?,
        };
        let atoms = &self.atoms;
        let state = atoms.WM_STATE;
        let normal = [NORMAL_STATE, NONE];
        self.connection
            .change_property32(PropMode::REPLACE, window, state, state, &normal)?;
        let extents = atoms._NET_FRAME_EXTENTS;
        self.connection.change_property32(
            PropMode::REPLACE,
            window,
            extents,
            AtomEnum::CARDINAL,
            &[0; 4],
        )?;
        self.put(&managed)?;
        self.connection.map_window(window)?;
        self.stack.push(managed);
        self.focus(window)
    }

    /// A window wants another place. Until it is shown it may have any; then it has its own.
    fn configure(&self, event: &ConfigureRequestEvent) -> Result<()> {
        let managed = self.stack.iter().find(|m| m.window == event.window);
        let Some(managed) = managed else {
            let wanted = ConfigureWindowAux::from_configure_request(event);
            self.connection.configure_window(event.window, &wanted)?;
            return Ok(());
        };
        let mut managed = *managed;
        if !fills(&managed.wish, self.screen) {
            managed.wish.size = (event.width.into(), event.height.into());
        }
        self.put(&managed)
    }

    /// A window is gone or hidden.
    fn forget(&mut self, window: Window) -> Result<()> {
        let top = self.stack.last().map(|managed| managed.window);
        self.stack.retain(|managed| managed.window != window);
        match self.stack.last() {
            Some(below) if top == Some(window) => self.focus(below.window),
            Some(_) | None => Ok(()),
        }
    }

    fn message(&mut self, event: &ClientMessageEvent) -> Result<()> {
        if event.type_ == self.atoms._NET_ACTIVE_WINDOW {
            return match self.stack.iter().position(|m| m.window == event.window) {
                Some(place) => {
                    let managed = self.stack.remove(place);
                    self.stack.push(managed);
                    self.focus(managed.window)
                }
                None => Ok(()),
            };
        }
        if event.type_ != self.atoms._NET_WM_STATE {
            return Ok(());
        }
        let [action, first, second, ..] = event.data.as_data32();
        let fullscreen = self.atoms._NET_WM_STATE_FULLSCREEN;
        if first != fullscreen && second != fullscreen {
            return Ok(());
        }
        let Some(managed) = self.stack.iter_mut().find(|m| m.window == event.window) else {
            return Ok(());
        };
        managed.wish.fullscreen = match action {
            STATE_REMOVE => false,
            STATE_ADD => true,
            _ => !managed.wish.fullscreen,
        };
        let managed = *managed;
        let states: &[u32] = if managed.wish.fullscreen {
            &[fullscreen]
        } else {
            &[]
        };
        let name = self.atoms._NET_WM_STATE;
        let window = managed.window;
        self.connection.change_property32(
            PropMode::REPLACE,
            window,
            name,
            AtomEnum::ATOM,
            states,
        )?;
        self.put(&managed)
    }

    /// Puts a window where it goes, and tells it so even if that is where it was.
    fn put(&self, managed: &Managed) -> Result<()> {
        let place = place(&managed.wish, self.screen);
        let wanted = ConfigureWindowAux::new()
            .x(place.x)
            .y(place.y)
            .width(place.width)
            .height(place.height)
            .border_width(0);
        self.connection.configure_window(managed.window, &wanted)?;
        let told = ConfigureNotifyEvent {
            response_type: x11rb::protocol::xproto::CONFIGURE_NOTIFY_EVENT,
            event: managed.window,
            window: managed.window,
            x: place.x as i16,
            y: place.y as i16,
            width: place.width as u16,
            height: place.height as u16,
            ..ConfigureNotifyEvent::default()
        };
        let mask = EventMask::STRUCTURE_NOTIFY;
        self.connection
            .send_event(false, managed.window, mask, told)?;
        Ok(())
    }

    /// Raises a window and gives it the keyboard.
    fn focus(&self, window: Window) -> Result<()> {
        let (connection, atoms) = (&self.connection, &self.atoms);
        let raise = ConfigureWindowAux::new().stack_mode(StackMode::ABOVE);
        connection.configure_window(window, &raise)?;
        connection.set_input_focus(InputFocus::POINTER_ROOT, window, CURRENT_TIME)?;
        let active = atoms._NET_ACTIVE_WINDOW;
        let kind = AtomEnum::WINDOW;
        connection.change_property32(PropMode::REPLACE, self.root, active, kind, &[window])?;
        if self.takes_focus(window)? {
            let message = ClientMessageEvent::new(
                32,
                window,
                atoms.WM_PROTOCOLS,
                [atoms.WM_TAKE_FOCUS, CURRENT_TIME, 0, 0, 0],
            );
            connection.send_event(false, window, EventMask::NO_EVENT, message)?;
        }
        Ok(())
    }

    fn takes_focus(&self, window: Window) -> Result<bool> {
        let atoms = self.atoms_of(window, self.atoms.WM_PROTOCOLS)?;
        Ok(atoms.contains(&self.atoms.WM_TAKE_FOCUS))
    }

    /// What a window's properties say. A window that has gone says nothing.
    fn wish(&self, window: Window) -> Result<Wish> {
        let geometry = self.connection.get_geometry(window)?.reply().ok();
        let hints = WmSizeHints::get_normal_hints(&self.connection, window)?;
        let size_max = hints
            .reply()
            .ok()
            .flatten()
            .and_then(|hints| hints.max_size);
        let transient = self.connection.get_property(
            false,
            window,
            AtomEnum::WM_TRANSIENT_FOR,
            AtomEnum::WINDOW,
            0,
            1,
        )?;
        let states = self.atoms_of(window, self.atoms._NET_WM_STATE)?;
        Ok(Wish {
            size: geometry.map_or((0, 0), |g| (g.width.into(), g.height.into())),
            size_max: size_max.map(|(width, height)| (side(width), side(height))),
            transient: transient.reply().is_ok_and(|reply| {
                let mut owner = reply.value32().into_iter().flatten();
                owner.next().is_some_and(|owner| owner != NONE)
            }),
            fullscreen: states.contains(&self.atoms._NET_WM_STATE_FULLSCREEN),
        })
    }

    fn atoms_of(&self, window: Window, property: u32) -> Result<Vec<u32>> {
        let read = self
            .connection
            .get_property(false, window, property, AtomEnum::ATOM, 0, 64)?;
        let reply = read.reply().ok();
        let atoms = reply.as_ref().and_then(|reply| reply.value32());
        Ok(atoms.into_iter().flatten().collect())
    }
}

/// A side that a hint gives; nonsense is no limit.
fn side(given: i32) -> u32 {
    match u32::try_from(given) {
        Ok(0) | Err(_) => u32::MAX,
        Ok(side) => side,
    }
}
