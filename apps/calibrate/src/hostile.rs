//! Programs that misbehave, for the tests that prove that a session worker bears them.
//!
//! Those against the sound server run beside an ordinary picture, which goes on; those against the
//! compositor take over after a second and end with [`CUT_OFF`] when they are disconnected.

use crate::buffers::shared_file;
use crate::sound;
use crate::window::{Unwatched, Window};
use anyhow::{Context, Result};
use clap::ValueEnum;
use pulseaudio::protocol::{self, Command};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use wayland_client::globals::GlobalList;
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_shm::{Format, WlShm};
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{EventQueue, QueueHandle};

/// Exit status: disconnected, as it should be.
const CUT_OFF: u8 = 10;
/// Exit status: borne for [`PATIENCE`].
const BORNE: u8 = 11;
/// How long it goes on.
const PATIENCE: Duration = Duration::from_secs(30);

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Hostile {
    /// Commits a buffer whose file it has made shorter.
    TruncatedShm,
    /// Makes surfaces with buffers without end.
    Surfaces,
    /// Makes pools and buffers of the greatest size there is.
    GiantBuffers,
    /// Sends the sound server frames that are none.
    PulseGarbage,
    /// Asks the sound server for lists and never reads.
    PulseNeverReads,
}

impl Hostile {
    /// Starts what runs beside an ordinary picture.
    pub(crate) fn start_beside(self) -> Result<()> {
        let attack: fn() -> Result<()> = match self {
            Self::PulseGarbage => pulse_garbage,
            Self::PulseNeverReads => pulse_never_reads,
            Self::TruncatedShm | Self::Surfaces | Self::GiantBuffers => return Ok(()),
        };
        let again = move || {
            loop {
                if let Err(error) = attack() {
                    crate::complain(&error.context("cut off"));
                }
                // The point is what one connection does, not how many there are.
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        std::thread::Builder::new()
            .name("hostile".into())
            .spawn(again)
            .context("cannot start a thread")?;
        Ok(())
    }

    /// Does what needs the window's connection; the program then ends with the status.
    pub(crate) fn take_over(
        self,
        globals: &GlobalList,
        queue: &mut EventQueue<Window>,
        window: &mut Window,
    ) -> Result<Option<ExitCode>> {
        let step: fn(&mut Attacker) -> Result<()> = match self {
            Self::TruncatedShm => Attacker::truncate,
            Self::Surfaces => Attacker::add_surfaces,
            Self::GiantBuffers => Attacker::add_giant,
            Self::PulseGarbage | Self::PulseNeverReads => return Ok(None),
        };
        let mut attacker = Attacker::new(globals, queue, window)?;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let step = step(&mut attacker).and_then(|()| {
                queue.roundtrip(window)?;
                Ok(())
            });
            if let Err(error) = step {
                crate::complain(&error.context("cut off"));
                return Ok(Some(CUT_OFF.into()));
            }
        }
        Ok(Some(BORNE.into()))
    }
}

/// Means to attack the compositor with.
struct Attacker {
    queue: QueueHandle<Window>,
    compositor: WlCompositor,
    shm: WlShm,
    /// The surface that the compositor shows.
    shown: WlSurface,
    /// Files that back giant pools, kept open.
    files: Vec<std::fs::File>,
}

impl Attacker {
    fn new(globals: &GlobalList, queue: &EventQueue<Window>, window: &Window) -> Result<Self> {
        let queue = queue.handle();
        Ok(Self {
            compositor: globals.bind(&queue, 4..=6, ())?,
            shm: globals.bind(&queue, 1..=1, ())?,
            shown: window.surface().clone(),
            queue,
            files: Vec::new(),
        })
    }

    /// A buffer in a file of its own.
    fn buffer(&mut self, width: i32, height: i32) -> Result<(WlBuffer, std::fs::File)> {
        let bytes = width * 4 * height;
        let file = shared_file(bytes as u64)?;
        let pool = self.shm.create_pool(file.as_fd(), bytes, &self.queue, ());
        let format = Format::Xrgb8888;
        let buffer =
            pool.create_buffer(0, width, height, width * 4, format, &self.queue, Unwatched);
        pool.destroy();
        Ok((buffer, file))
    }

    fn truncate(&mut self) -> Result<()> {
        let (buffer, file) = self.buffer(1280, 720)?;
        file.set_len(4096)?;
        show(&self.shown, &buffer);
        Ok(())
    }

    fn add_surfaces(&mut self) -> Result<()> {
        let (buffer, _) = self.buffer(64, 64)?;
        for _ in 0..100 {
            show(&self.compositor.create_surface(&self.queue, ()), &buffer);
        }
        Ok(())
    }

    fn add_giant(&mut self) -> Result<()> {
        // 23170 * 23170 * 4 is the largest square below 2^31 bytes; the file is sparse.
        let (buffer, file) = self.buffer(23_170, 23_170)?;
        show(&self.shown, &buffer);
        self.files.push(file);
        Ok(())
    }
}

fn show(surface: &WlSurface, buffer: &WlBuffer) {
    surface.attach(Some(buffer), 0, 0);
    surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
    surface.commit();
}

/// Frames that are none, each on a connection of its own.
fn pulse_garbage() -> Result<()> {
    let path = sound::server_path()?;
    let control = u32::MAX.to_be_bytes();
    let frame = |length: u32, channel: [u8; 4], payload: &[u8]| {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend(channel);
        bytes.extend([0; 12]);
        bytes.extend(payload);
        bytes
    };
    let blobs = [
        vec![0xff; 4096],
        frame(u32::MAX, control, b"huge"),
        frame(0, control, b""),
        frame(8, control, b"notatags"),
        frame(64, [0, 0, 0, 9], &[0x55; 64]),
        // Auth whose cookie claims 4 GiB.
        frame(
            20,
            control,
            b"L\0\0\0\x08L\0\0\0\0L\0\0\0\x23x\xff\xff\xff\xff",
        ),
        frame(1000, control, b"cut short"),
    ];
    for blob in blobs {
        let mut socket = UnixStream::connect(&path)?;
        socket.set_write_timeout(Some(Duration::from_secs(1)))?;
        socket.write_all(&blob)?;
    }
    Ok(())
}

/// Asks for lists until the server stops taking questions.
fn pulse_never_reads() -> Result<()> {
    let (mut reader, version) = sound::hello()?;
    for number in 0.. {
        let ask = Command::GetSinkInfoList;
        protocol::write_command_message(reader.get_mut(), number, &ask, version)?;
    }
    Ok(())
}
