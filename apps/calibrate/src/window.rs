//! The Wayland client: one fullscreen surface, and when it is committed.
//!
//! ```text
//!             frame callback, configure,
//!             immediate mode: press          a buffer is free: commit
//!   Resting ------------------------------> Due --------------------> Resting
//!                                            (stays Due until a buffer is released)
//!   F9: Frozen, and back to Due
//! ```
//!
//! Each commit asks for a frame callback unless one is on its way, so the picture animates at the
//! compositor's rate in either mode. Parts: the seat, the cursor and the clipboard, one file each.

mod clipboard;
mod cursor;
mod seat;

use crate::buffers::{BufferId, Buffers};
use crate::picture::Picture;
use crate::scene::Kind;
use crate::sound::Clicker;
use crate::state::{Action, State};
use anyhow::{Context, Result};
use clipboard::Clipboard;
use cursor::Cursor;
use seat::Seat;
use std::time::{Duration, Instant};
use wayland_client::globals::{GlobalList, GlobalListContents};
use wayland_client::protocol::wl_buffer::{self, WlBuffer};
use wayland_client::protocol::wl_callback::{self, WlCallback};
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_registry::{self, WlRegistry};
use wayland_client::protocol::wl_shm::WlShm;
use wayland_client::protocol::wl_shm_pool::WlShmPool;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{Connection, Dispatch, QueueHandle, delegate_noop};
use wayland_protocols::xdg::shell::client::xdg_surface::{self, XdgSurface};
use wayland_protocols::xdg::shell::client::xdg_toplevel::{self, XdgToplevel};
use wayland_protocols::xdg::shell::client::xdg_wm_base::{self, XdgWmBase};

/// The size where the compositor leaves it to us.
const SIZE_DEFAULT: (usize, usize) = (1280, 720);
/// Sides are kept within this.
const SIDE_MIN: usize = 64;
const SIDE_MAX: usize = 8192;

/// How the window behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// Commit on presses too.
    pub(crate) immediate: bool,
    pub(crate) scene: Kind,
    pub(crate) seed: u64,
}

/// Whether a commit is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Resting,
    Due,
    Frozen,
}

/// What the loop has to do for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Exit with this status.
    Exit(u8),
    /// Abort.
    Abort,
    /// Take memory without end.
    ExhaustMemory,
}

/// The user data of buffers that are never written again, so that their release means nothing.
#[derive(Debug)]
pub(crate) struct Unwatched;

/// The window and all it was told.
#[derive(Debug)]
pub(crate) struct Window {
    style: Style,
    queue: QueueHandle<Self>,
    shm: WlShm,
    surface: WlSurface,
    /// Kept for the surface's role to last.
    _toplevel: XdgToplevel,
    seat: Seat,
    cursor: Cursor,
    clipboard: Clipboard,
    clicker: Clicker,
    state: State,
    start: Instant,
    size: (usize, usize),
    picture: Option<(Picture, Buffers)>,
    generation: u32,
    pace: Pace,
    /// A frame callback is on its way.
    awaits_frame: bool,
    request: Option<Request>,
}

impl Window {
    /// A window that waits for its first configure.
    pub(crate) fn open(
        globals: &GlobalList,
        queue: &QueueHandle<Self>,
        style: Style,
        clicker: Clicker,
    ) -> Result<Self> {
        let compositor: WlCompositor = globals
            .bind(queue, 4..=6, ())
            .context("the compositor has no wl_compositor of version 4")?;
        let shm: WlShm = globals.bind(queue, 1..=1, ()).context("no wl_shm")?;
        let shell: XdgWmBase = globals.bind(queue, 1..=6, ()).context("no xdg_wm_base")?;
        let surface = compositor.create_surface(queue, ());
        let role = shell.get_xdg_surface(&surface, queue, ());
        let toplevel = role.get_toplevel(queue, ());
        toplevel.set_title("Calibrate".into());
        toplevel.set_app_id("calibrate".into());
        toplevel.set_fullscreen(None);
        surface.commit();
        let seat = Seat::bind(globals, queue);
        Ok(Self {
            style,
            queue: queue.clone(),
            cursor: Cursor::bind(globals, queue, &compositor, &shm)?,
            clipboard: Clipboard::bind(globals, queue, seat.seat()),
            seat,
            shm,
            surface,
            _toplevel: toplevel,
            clicker,
            state: State::new(style.immediate),
            start: Instant::now(),
            size: SIZE_DEFAULT,
            picture: None,
            generation: 0,
            pace: Pace::Resting,
            awaits_frame: false,
            request: None,
        })
    }

    /// Commits if that is due and there is a buffer for it.
    pub(crate) fn step(&mut self) -> Result<()> {
        let Some((picture, buffers)) = &mut self.picture else {
            return Ok(());
        };
        if self.pace != Pace::Due || !buffers.any_free() {
            return Ok(());
        }
        let model = self
            .state
            .commit(picture.lines(), self.clicker.is_playing());
        let Some((buffer, damage)) = buffers.lend(picture, model) else {
            return Ok(());
        };
        self.surface.attach(Some(buffer), 0, 0);
        for rect in damage {
            let [x, y, width, height] = [rect.x, rect.y, rect.width, rect.height].map(|n| n as i32);
            self.surface.damage_buffer(x, y, width, height);
        }
        if !self.awaits_frame {
            self.surface.frame(&self.queue, ());
            self.awaits_frame = true;
        }
        self.surface.commit();
        self.pace = Pace::Resting;
        Ok(())
    }

    /// What a key asked for since the last call.
    pub(crate) fn take_request(&mut self) -> Option<Request> {
        self.request.take()
    }

    /// The clipboard, whose pipe the loop watches.
    pub(crate) fn clipboard(&self) -> &Clipboard {
        &self.clipboard
    }

    /// Reads from the clipboard's pipe.
    pub(crate) fn read_clipboard(&mut self) {
        if let Some(text) = self.clipboard.read() {
            let at = self.now();
            self.state.pasted(at, text);
        }
    }

    /// The line of JSON for standard output.
    pub(crate) fn report(&self) -> String {
        format!(
            r#"{{"committed":{},"inputs":{},"counter":{}}}"#,
            self.state.committed(),
            self.state.inputs(),
            self.state.committed() as u32,
        )
    }

    /// The surface that is shown.
    pub(crate) fn surface(&self) -> &WlSurface {
        &self.surface
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// A key or button was pressed.
    fn pressed(&mut self) {
        self.clicker.click();
        if self.style.immediate {
            self.due();
        }
    }

    fn due(&mut self) {
        if self.pace == Pace::Resting {
            self.pace = Pace::Due;
        }
    }

    fn act(&mut self, action: Action, serial: u32) {
        match action {
            Action::TogglePointerLock => self.seat.toggle_lock(&self.surface, &self.queue),
            Action::NextCursor => self.cursor.next(self.seat.pointer()),
            Action::Copy => {
                let text = format!("calibrate {}", self.state.committed());
                self.clipboard.copy(text, serial, &self.queue);
            }
            Action::Paste => {
                if !self.clipboard.paste() {
                    let at = self.now();
                    self.state.pasted(at, None);
                }
            }
            Action::Abort => self.request = Some(Request::Abort),
            Action::Exit(status) => self.request = Some(Request::Exit(status)),
            Action::ExhaustMemory => self.request = Some(Request::ExhaustMemory),
            Action::ToggleFreeze => {
                self.pace = match self.pace {
                    Pace::Frozen => Pace::Due,
                    Pace::Resting | Pace::Due => Pace::Frozen,
                };
            }
            Action::ToggleMode => {
                self.style.immediate = !self.style.immediate;
                self.state.set_immediate(self.style.immediate);
                self.name_picture();
                self.due();
            }
        }
    }

    /// The compositor said how large the window is: makes the picture anew if that changed.
    fn configured(&mut self) -> Result<()> {
        let current = self.picture.as_ref().map(|(p, _)| p.size());
        if current != Some(self.size) {
            let Style { scene, seed, .. } = self.style;
            self.name_picture();
            self.generation += 1;
            let buffers = Buffers::new(&self.shm, &self.queue, self.size, self.generation)?;
            self.picture = Some((Picture::new(self.size, scene, seed), buffers));
        }
        self.due();
        Ok(())
    }

    /// The head of the text: what is shown, and how.
    fn name_picture(&mut self) {
        let Style {
            immediate,
            scene,
            seed,
        } = self.style;
        let (width, height) = self.size;
        let mode = if immediate { "immediate" } else { "paced" };
        let scene = format!("{scene:?}").to_lowercase();
        self.state.set_title(format!(
            "CALIBRATE  {mode}  {scene}  seed {seed}  {width}x{height}"
        ));
    }
}

impl Dispatch<XdgToplevel, ()> for Window {
    fn event(
        window: &mut Self,
        _: &XdgToplevel,
        event: xdg_toplevel::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            xdg_toplevel::Event::Configure { width, height, .. } => {
                let side = |given: i32, default: usize| match usize::try_from(given) {
                    Ok(0) | Err(_) => default,
                    Ok(side) => side.clamp(SIDE_MIN, SIDE_MAX),
                };
                window.size = (side(width, SIZE_DEFAULT.0), side(height, SIZE_DEFAULT.1));
            }
            xdg_toplevel::Event::Close => window.request = Some(Request::Exit(0)),
            _ => {}
        }
    }
}

impl Dispatch<XdgSurface, ()> for Window {
    fn event(
        window: &mut Self,
        role: &XdgSurface,
        event: xdg_surface::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_surface::Event::Configure { serial } = event {
            role.ack_configure(serial);
            if let Err(error) = window.configured() {
                crate::complain(&error);
                window.request = Some(Request::Exit(1));
            }
        }
    }
}

impl Dispatch<XdgWmBase, ()> for Window {
    fn event(
        _: &mut Self,
        shell: &XdgWmBase,
        event: xdg_wm_base::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_wm_base::Event::Ping { serial } = event {
            shell.pong(serial);
        }
    }
}

impl Dispatch<WlCallback, ()> for Window {
    fn event(
        window: &mut Self,
        _: &WlCallback,
        event: wl_callback::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_callback::Event::Done { .. } = event {
            window.awaits_frame = false;
            window.due();
        }
    }
}

impl Dispatch<WlBuffer, BufferId> for Window {
    fn event(
        window: &mut Self,
        _: &WlBuffer,
        event: wl_buffer::Event,
        id: &BufferId,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let (wl_buffer::Event::Release, Some((_, buffers))) = (event, &mut window.picture) {
            buffers.released(*id);
        }
    }
}

impl Dispatch<WlBuffer, Unwatched> for Window {
    fn event(
        _: &mut Self,
        _: &WlBuffer,
        _: wl_buffer::Event,
        _: &Unwatched,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        // Released at any time: its pixels never change.
    }
}

impl Dispatch<WlRegistry, GlobalListContents> for Window {
    fn event(
        _: &mut Self,
        _: &WlRegistry,
        _: wl_registry::Event,
        _: &GlobalListContents,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        // Globals that come later are not used; those that go take their objects with them.
    }
}

delegate_noop!(Window: WlCompositor);
delegate_noop!(Window: WlShmPool);
delegate_noop!(Window: ignore WlShm);
delegate_noop!(Window: ignore WlSurface);
