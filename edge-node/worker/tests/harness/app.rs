//! A small Wayland program that a test drives step by step, well-behaved or not.

use super::PATIENCE;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;
use wayland_client::backend::WaylandError;
use wayland_client::globals::{GlobalList, GlobalListContents, registry_queue_init};
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_callback::{self, WlCallback};
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_data_device::{self, WlDataDevice};
use wayland_client::protocol::wl_data_device_manager::WlDataDeviceManager;
use wayland_client::protocol::wl_data_offer::WlDataOffer;
use wayland_client::protocol::wl_data_source::{self, WlDataSource};
use wayland_client::protocol::wl_keyboard::{self, WlKeyboard};
use wayland_client::protocol::wl_output::{self, WlOutput};
use wayland_client::protocol::wl_pointer::{self, WlPointer};
use wayland_client::protocol::wl_region::WlRegion;
use wayland_client::protocol::wl_registry::WlRegistry;
use wayland_client::protocol::wl_seat::WlSeat;
use wayland_client::protocol::wl_shm::{self, WlShm};
use wayland_client::protocol::wl_shm_pool::WlShmPool;
use wayland_client::protocol::wl_subcompositor::WlSubcompositor;
use wayland_client::protocol::wl_subsurface::WlSubsurface;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{
    Connection, Dispatch, EventQueue, Proxy, QueueHandle, WEnum, delegate_noop, event_created_child,
};
use wayland_protocols::wp::pointer_constraints::zv1::client::zwp_locked_pointer_v1::ZwpLockedPointerV1;
use wayland_protocols::wp::pointer_constraints::zv1::client::zwp_pointer_constraints_v1::{
    Lifetime, ZwpPointerConstraintsV1,
};
use wayland_protocols::wp::relative_pointer::zv1::client::zwp_relative_pointer_manager_v1::ZwpRelativePointerManagerV1;
use wayland_protocols::wp::relative_pointer::zv1::client::zwp_relative_pointer_v1::{
    self, ZwpRelativePointerV1,
};
use wayland_protocols::wp::text_input::zv3::client::zwp_text_input_manager_v3::ZwpTextInputManagerV3;
use wayland_protocols::wp::text_input::zv3::client::zwp_text_input_v3::{self, ZwpTextInputV3};
use wayland_protocols::xdg::shell::client::xdg_surface::{self, XdgSurface};
use wayland_protocols::xdg::shell::client::xdg_toplevel::{self, XdgToplevel};
use wayland_protocols::xdg::shell::client::xdg_wm_base::{self, XdgWmBase};

/// What the program was told.
#[derive(Default)]
pub struct Heard {
    pub configured: Option<(i32, i32)>,
    /// Width, height and millihertz of each mode that the output announced as its own.
    pub modes: Vec<(i32, i32, i32)>,
    pub frames_done: u32,
    pub keys: Vec<(u32, bool)>,
    pub keymaps: Vec<String>,
    /// Modifiers that are locked: Caps Lock is 2.
    pub locked: u32,
    pub keyboard_focus: bool,
    pub motions: Vec<(f64, f64)>,
    pub pointer_serial: u32,
    pub buttons: Vec<(u32, bool)>,
    pub wheel_120: Vec<i32>,
    pub relative: Vec<(f64, f64)>,
    pub text: String,
    pub text_focus: bool,
    pub offer: Option<WlDataOffer>,
    pub asked_for: Option<std::os::fd::OwnedFd>,
    synced: u32,
}

pub struct App {
    pub connection: Connection,
    pub queue: EventQueue<Heard>,
    pub globals: GlobalList,
    pub heard: Heard,
    pub compositor: WlCompositor,
    pub shm: WlShm,
    pub seat: WlSeat,
    pub pointer: WlPointer,
    keyboard: WlKeyboard,
}

/// A toplevel and its surface.
pub struct Window {
    pub surface: WlSurface,
    pub xdg: XdgSurface,
    pub toplevel: XdgToplevel,
}

impl App {
    pub fn connect(path: &Path) -> Self {
        Self::over(UnixStream::connect(path).unwrap())
    }

    pub fn over(stream: UnixStream) -> Self {
        let connection = Connection::from_socket(stream).unwrap();
        let (globals, queue) = registry_queue_init::<Heard>(&connection).unwrap();
        let qh = queue.handle();
        let seat: WlSeat = globals.bind(&qh, 7..=8, ()).unwrap();
        let _: WlOutput = globals.bind(&qh, 2..=4, ()).unwrap();
        Self {
            compositor: globals.bind(&qh, 4..=5, ()).unwrap(),
            shm: globals.bind(&qh, 1..=1, ()).unwrap(),
            pointer: seat.get_pointer(&qh, ()),
            keyboard: seat.get_keyboard(&qh, ()),
            seat,
            heard: Heard::default(),
            connection,
            queue,
            globals,
        }
    }

    pub fn qh(&self) -> QueueHandle<Heard> {
        self.queue.handle()
    }

    /// A toplevel that has been configured and shows `bgrx`.
    pub fn window(&mut self, bgrx: [u8; 4]) -> Window {
        let qh = self.qh();
        let shell: XdgWmBase = self.globals.bind(&qh, 1..=4, ()).unwrap();
        let surface = self.compositor.create_surface(&qh, ());
        let xdg = shell.get_xdg_surface(&surface, &qh, ());
        let toplevel = xdg.get_toplevel(&qh, ());
        surface.commit();
        self.until("a configure", |heard| heard.configured.is_some());
        let window = Window {
            surface,
            xdg,
            toplevel,
        };
        self.show(&window.surface, bgrx);
        window
    }

    /// Commits a buffer of one colour, of the configured size.
    pub fn show(&mut self, surface: &WlSurface, bgrx: [u8; 4]) {
        let (width, height) = self.heard.configured.unwrap_or((64, 64));
        self.show_sized(surface, bgrx, width, height);
    }

    pub fn show_sized(&mut self, surface: &WlSurface, bgrx: [u8; 4], width: i32, height: i32) {
        let buffer = self.buffer(bgrx, width, height);
        surface.attach(Some(&buffer), 0, 0);
        surface.damage_buffer(0, 0, width, height);
        surface.commit();
        buffer.destroy();
        self.flush();
    }

    pub fn buffer(&mut self, bgrx: [u8; 4], width: i32, height: i32) -> WlBuffer {
        let bytes = (width * height * 4) as usize;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bgrx.repeat(bytes / 4)).unwrap();
        self.buffer_in(&file, bytes as i32, width, height)
    }

    /// A buffer that no encoder can make small.
    pub fn noise(&mut self, mut seed: u32, width: i32, height: i32) -> WlBuffer {
        let mut bytes = vec![0; (width * height * 4) as usize];
        for byte in &mut bytes {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (seed >> 24) as u8;
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        self.buffer_in(&file, bytes.len() as i32, width, height)
    }

    pub fn buffer_in(&mut self, file: &File, bytes: i32, width: i32, height: i32) -> WlBuffer {
        let qh = self.qh();
        let pool = self.shm.create_pool(file.as_fd(), bytes, &qh, ());
        let format = wl_shm::Format::Xrgb8888;
        let buffer = pool.create_buffer(0, width, height, width * 4, format, &qh, ());
        pool.destroy();
        buffer
    }

    pub fn flush(&self) {
        // A full socket or a closed one shows in what the test waits for next.
        let _ = self.connection.flush();
    }

    /// Handles events until `condition` holds. Returns whether the connection lived that long.
    pub fn lives_until(&mut self, what: &str, condition: impl Fn(&Heard) -> bool) -> bool {
        let started = Instant::now();
        while !condition(&self.heard) {
            assert!(started.elapsed() < PATIENCE, "{what} did not happen");
            if self.queue.dispatch_pending(&mut self.heard).is_err() {
                return false;
            }
            if condition(&self.heard) {
                break;
            }
            match self.queue.flush() {
                Ok(()) => {}
                Err(WaylandError::Io(e)) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
            let Some(guard) = self.queue.prepare_read() else {
                continue;
            };
            let fd = guard.connection_fd();
            let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::from(20_u8)).unwrap();
            match guard.read() {
                Ok(_) => {}
                Err(WaylandError::Io(e)) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        true
    }

    pub fn until(&mut self, what: &str, condition: impl Fn(&Heard) -> bool) {
        assert!(self.lives_until(what, condition), "cut off before {what}");
    }

    /// Everything sent so far has been handled, unless the program was cut off.
    pub fn sync(&mut self) -> bool {
        let qh = self.qh();
        self.connection.display().sync(&qh, Sync);
        let before = self.heard.synced;
        self.lives_until("a round trip", |heard| heard.synced > before)
    }

    pub fn lock_pointer(
        &mut self,
        surface: &WlSurface,
    ) -> (ZwpLockedPointerV1, ZwpRelativePointerV1) {
        let qh = self.qh();
        let constraints: ZwpPointerConstraintsV1 = self.globals.bind(&qh, 1..=1, ()).unwrap();
        let relative: ZwpRelativePointerManagerV1 = self.globals.bind(&qh, 1..=1, ()).unwrap();
        let listener = relative.get_relative_pointer(&self.pointer, &qh, ());
        let lock =
            constraints.lock_pointer(surface, &self.pointer, None, Lifetime::Persistent, &qh, ());
        self.flush();
        (lock, listener)
    }

    pub fn text_input(&mut self) -> ZwpTextInputV3 {
        let qh = self.qh();
        let inputs: ZwpTextInputManagerV3 = self.globals.bind(&qh, 1..=1, ()).unwrap();
        inputs.get_text_input(&self.seat, &qh, ())
    }

    pub fn data_device(&mut self) -> (WlDataDeviceManager, WlDataDevice) {
        let qh = self.qh();
        let devices: WlDataDeviceManager = self.globals.bind(&qh, 3..=3, ()).unwrap();
        let device = devices.get_data_device(&self.seat, &qh, ());
        (devices, device)
    }

    pub fn child(&mut self, parent: &WlSurface) -> (WlSurface, WlSubsurface) {
        let qh = self.qh();
        let subcompositor: WlSubcompositor = self.globals.bind(&qh, 1..=1, ()).unwrap();
        let surface = self.compositor.create_surface(&qh, ());
        let child = subcompositor.get_subsurface(&surface, parent, &qh, ());
        (surface, child)
    }
}

/// The data of a `wl_display.sync`, to tell it from a frame callback.
pub struct Sync;

impl Dispatch<WlCallback, Sync> for Heard {
    fn event(
        heard: &mut Self,
        _: &WlCallback,
        _: wl_callback::Event,
        _: &Sync,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        heard.synced += 1;
    }
}

macro_rules! hear {
    ($object:ty, $heard:ident, $proxy:ident, $event:ident => $body:block) => {
        impl Dispatch<$object, ()> for Heard {
            fn event(
                $heard: &mut Self,
                $proxy: &$object,
                $event: <$object as Proxy>::Event,
                _: &(),
                _: &Connection,
                _: &QueueHandle<Self>,
            ) $body
        }
    };
}

hear!(WlCallback, heard, _callback, _event => { heard.frames_done += 1; });
hear!(XdgWmBase, _heard, shell, event => {
    if let xdg_wm_base::Event::Ping { serial } = event { shell.pong(serial); }
});
hear!(XdgSurface, _heard, xdg, event => {
    if let xdg_surface::Event::Configure { serial } = event { xdg.ack_configure(serial); }
});
hear!(XdgToplevel, heard, _toplevel, event => {
    if let xdg_toplevel::Event::Configure { width, height, .. } = event {
        heard.configured = Some((width, height));
    }
});
hear!(WlOutput, heard, _output, event => {
    if let wl_output::Event::Mode { width, height, refresh, .. } = event {
        heard.modes.push((width, height, refresh));
    }
});
hear!(WlKeyboard, heard, _keyboard, event => {
    match event {
        wl_keyboard::Event::Key { key, state, .. } => {
            heard.keys.push((key, state == WEnum::Value(wl_keyboard::KeyState::Pressed)));
        }
        wl_keyboard::Event::Keymap { fd, size, .. } => {
            let mut bytes = vec![0; size as usize];
            std::os::unix::fs::FileExt::read_exact_at(&File::from(fd), &mut bytes, 0).unwrap();
            heard.keymaps.push(String::from_utf8_lossy(&bytes).into_owned());
        }
        wl_keyboard::Event::Modifiers { mods_locked, .. } => heard.locked = mods_locked,
        wl_keyboard::Event::Enter { .. } => heard.keyboard_focus = true,
        wl_keyboard::Event::Leave { .. } => heard.keyboard_focus = false,
        _ => {}
    }
});
hear!(WlPointer, heard, _pointer, event => {
    match event {
        wl_pointer::Event::Enter { serial, surface_x, surface_y, .. } => {
            heard.pointer_serial = serial;
            heard.motions.push((surface_x, surface_y));
        }
        wl_pointer::Event::Motion { surface_x, surface_y, .. } => {
            heard.motions.push((surface_x, surface_y));
        }
        wl_pointer::Event::Button { button, state, .. } => {
            heard.buttons.push((button, state == WEnum::Value(wl_pointer::ButtonState::Pressed)));
        }
        wl_pointer::Event::AxisValue120 { value120, .. } => heard.wheel_120.push(value120),
        _ => {}
    }
});
hear!(ZwpRelativePointerV1, heard, _relative, event => {
    if let zwp_relative_pointer_v1::Event::RelativeMotion { dx, dy, .. } = event {
        heard.relative.push((dx, dy));
    }
});
hear!(ZwpTextInputV3, heard, _input, event => {
    match event {
        zwp_text_input_v3::Event::Enter { .. } => heard.text_focus = true,
        zwp_text_input_v3::Event::CommitString { text } => {
            heard.text.push_str(&text.unwrap_or_default());
        }
        _ => {}
    }
});
hear!(WlDataSource, heard, _source, event => {
    if let wl_data_source::Event::Send { fd, .. } = event { heard.asked_for = Some(fd); }
});

impl Dispatch<WlDataDevice, ()> for Heard {
    fn event(
        heard: &mut Self,
        _: &WlDataDevice,
        event: wl_data_device::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_data_device::Event::Selection { id } = event {
            heard.offer = id;
        }
    }
    event_created_child!(Heard, WlDataDevice, [
        wl_data_device::EVT_DATA_OFFER_OPCODE => (WlDataOffer, ()),
    ]);
}

impl Dispatch<WlRegistry, GlobalListContents> for Heard {
    fn event(
        _: &mut Self,
        _: &WlRegistry,
        _: <WlRegistry as Proxy>::Event,
        _: &GlobalListContents,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
    }
}

delegate_noop!(Heard: WlCompositor);
delegate_noop!(Heard: ignore WlShm);
delegate_noop!(Heard: WlShmPool);
delegate_noop!(Heard: ignore WlBuffer);
delegate_noop!(Heard: ignore WlSurface);
delegate_noop!(Heard: WlRegion);
delegate_noop!(Heard: ignore WlSeat);
delegate_noop!(Heard: WlSubcompositor);
delegate_noop!(Heard: WlSubsurface);
delegate_noop!(Heard: WlDataDeviceManager);
delegate_noop!(Heard: ignore WlDataOffer);
delegate_noop!(Heard: ZwpPointerConstraintsV1);
delegate_noop!(Heard: ignore ZwpLockedPointerV1);
delegate_noop!(Heard: ZwpRelativePointerManagerV1);
delegate_noop!(Heard: ZwpTextInputManagerV3);
