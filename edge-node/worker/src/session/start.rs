//! From a command line to a running session: sockets bound, libraries started, sources inserted.

use super::{Life, Session};
use crate::cli::Options;
use crate::clock::mono_us;
use crate::desktop::gpu::{Gpu, trial};
use crate::desktop::{Desktop, DesktopError, DisplaySize, Parts};
use crate::encode::ladder::Settings;
use crate::encode::picture::Shape;
use crate::encode::probe;
use crate::encode::{Event as FeedEvent, Feed};
use crate::ledger::Ledger;
use crate::limits::{
    CLIENT_BACKLOG_BYTES, GPU_DRIVER_BYTES, OWN_MEMORY_BYTES_MAX, ZERO_COPY_TRIALS_MAX,
};
use crate::link::outbox::Outbox;
use crate::link::{Link, bind};
use crate::notices::Notices;
use crate::session::transfers::Transfers;
use crate::watchdog;
use nearlight_sound::SoundServer;
use smithay::reexports::calloop::channel::{Channel, Event as ChannelEvent, sync_channel};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::ping::{PingSource, make_ping};
use smithay::reexports::calloop::{self, EventLoop, Interest, LoopHandle, Mode, PostAction};
use smithay::reexports::wayland_server::Display;
use smithay::reexports::wayland_server::backend::InitError;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// The app's sockets: for it, through the directory's group, and for us.
const APP_SOCKET_MODE: u32 = 0o660;
/// Feed events that wait for the loop. They repeat, so one that finds no room is not missed.
const FEED_EVENTS: usize = 64;

/// Why a session did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory or a socket in it.
    #[error("cannot bind {path}: {source}")]
    Bind {
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The Wayland library.
    #[error("cannot make a Wayland display: {0}")]
    Display(#[from] InitError),
    /// The desktop.
    #[error(transparent)]
    Desktop(#[from] DesktopError),
    /// The sound server.
    #[error("cannot start the sound server: {0}")]
    Sound(#[from] nearlight_sound::StartError),
    /// The event loop.
    #[error("cannot make the event loop: {0}")]
    Loop(#[from] calloop::Error),
    /// A thread or a descriptor.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The command line has no directory.
    #[error("--session needs --dir")]
    NoDirectory,
}

/// Starts the session of `options`.
///
/// # Errors
/// [`StartError`] if a socket cannot be bound or a library does not start.
pub fn start(options: &Options) -> Result<(Session, EventLoop<'static, Session>), StartError> {
    let options = &options.bounded();
    let dir = options.dir.as_deref().ok_or(StartError::NoDirectory)?;
    let event_loop = EventLoop::try_new()?;
    let handle = event_loop.handle();
    let (wake, woken) = make_ping()?;
    let outbox = Outbox::new(move || wake.ping());
    let pulse = watchdog::start(outbox.clone())?;
    let ledger = Ledger::default();
    let (feed, feed_events) = feed(options, &ledger, &outbox);
    let gpu = options.render_node.as_deref().and_then(|n| gpu(n, &feed));
    let driver_bytes = gpu.as_ref().map_or(0, |_| GPU_DRIVER_BYTES);

    let display = Display::new()?;
    display
        .handle()
        .set_default_max_buffer_size(CLIENT_BACKLOG_BYTES);
    let (width, height) = options.display();
    let parts = Parts {
        size: DisplaySize {
            width,
            height,
            hz: options.hz,
        },
        pixels_per_s_max: options.pixels_per_s_max(),
        layout: options.layout.clone(),
        feed: feed.clone(),
        ledger: ledger.clone(),
        notices: Notices::new(outbox.clone(), (width, height)),
        record: options.record_frames.clone().zip(options.record_count),
        gpu,
    };
    let desktop = Desktop::new(&display.handle(), parts)?;
    let sound = sound(&dir.join("app/pulse"), &outbox)?;
    let apps = bound(&dir.join("app/wayland-0"), |p| bind(p, APP_SOCKET_MODE))?;
    // Last: whoever connects finds everything else ready.
    let now = mono_us();
    let link = bound(&dir.join("agent.sock"), |p| {
        Link::listen(p, outbox.clone(), now)
    })?;

    let mut session = Session {
        display,
        desktop,
        link,
        outbox,
        feed,
        ledger,
        sound,
        handle: handle.clone(),
        reading: None,
        writing: None,
        transfers: Transfers::default(),
        life: Life::Running,
        told_first_frame: false,
        told_encoders: Vec::new(),
        housekeeping_due_us: now,
        counters_due_us: now,
        pulse,
        memory_bytes_max: OWN_MEMORY_BYTES_MAX + driver_bytes,
    };
    insert_sources(&mut session, &handle, apps, woken, feed_events)?;
    tracing::info!(width, height, hz = options.hz, "session ready");
    Ok((session, event_loop))
}

fn feed(options: &Options, ledger: &Ledger, outbox: &Outbox) -> (Feed, Channel<FeedEvent>) {
    let ladder = match &options.encoders[..] {
        [] => probe::probe(),
        known => probe::trusted(known),
    };
    let (width, height) = options.display();
    let settings = Settings {
        shape: Shape {
            width,
            height,
            hz: options.hz,
        },
        threads: options.threads,
        kbps: options.kbps,
    };
    let (tell, told) = sync_channel(FEED_EVENTS);
    let feed = Feed::new(
        settings,
        ladder,
        ledger.clone(),
        outbox.clone(),
        move |event| {
            if tell.try_send(event).is_err() {
                tracing::debug!("the event loop is behind");
            }
        },
    );
    (feed, told)
}

/// The session's GPU, and which encoders may read it, each tried once. Without one the desktop is
/// drawn by CPU and games draw there, too.
fn gpu(node: &Path, feed: &Feed) -> Option<Gpu> {
    let mut gpu = match Gpu::open(node) {
        Ok(gpu) => gpu,
        Err(error) => {
            let (node, fix) = (node.display(), error.fix());
            tracing::warn!(%node, %error, fix, "no GPU: the desktop and games draw by CPU");
            return None;
        }
    };
    let renderer = gpu.name().to_owned();
    match trial::zero_copy(&mut gpu, &feed.recipes(), ZERO_COPY_TRIALS_MAX) {
        Ok((form, encoders)) => {
            tracing::info!(
                renderer,
                ?encoders,
                "pictures are encoded where they are drawn"
            );
            feed.allow_zero_copy(&encoders, form);
        }
        Err(why) => {
            tracing::info!(
                renderer,
                why,
                "pictures are read back from the GPU for encoders"
            );
        }
    }
    Some(gpu)
}

fn sound(path: &Path, outbox: &Outbox) -> Result<SoundServer, StartError> {
    let outbox = outbox.clone();
    let options = nearlight_sound::Options::new(move |pts_us, opus: &[u8]| {
        outbox.offer_audio(pts_us, opus);
    });
    let server = nearlight_sound::start(path, options)?;
    let mode = std::fs::Permissions::from_mode(APP_SOCKET_MODE);
    bound(path, |p| std::fs::set_permissions(p, mode))?;
    Ok(server)
}

fn bound<T>(path: &Path, f: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, StartError> {
    f(path).map_err(|source| StartError::Bind {
        path: path.display().to_string(),
        source,
    })
}

fn insert_sources(
    session: &mut Session,
    handle: &LoopHandle<'static, Session>,
    apps: UnixListener,
    woken: PingSource,
    feed_events: Channel<FeedEvent>,
) -> Result<(), StartError> {
    let requests = session.display.backend().poll_fd().try_clone_to_owned()?;
    insert_readable(handle, requests, Session::serve_apps)?;
    insert_readable(handle, session.link.listener_fd()?, Session::accept_agent)?;
    let waitable = apps.as_fd().try_clone_to_owned()?;
    insert_readable(handle, waitable, move |session| session.accept_app(&apps))?;
    let insert_failed = |e: calloop::Error| StartError::Loop(e);
    handle
        .insert_source(woken, |(), (), session| session.flush_later())
        .map_err(|e| insert_failed(e.error))?;
    handle
        .insert_source(feed_events, |event, (), session| {
            if let ChannelEvent::Msg(event) = event {
                session.on_feed_event(event);
            }
        })
        .map_err(|e| insert_failed(e.error))?;
    Ok(())
}

fn insert_readable(
    handle: &LoopHandle<'static, Session>,
    fd: OwnedFd,
    mut on_readable: impl FnMut(&mut Session) + 'static,
) -> Result<(), StartError> {
    let source = Generic::new(fd, Interest::READ, Mode::Level);
    handle
        .insert_source(source, move |_, _, session| {
            session.pulse.busy();
            on_readable(session);
            Ok(PostAction::Continue)
        })
        .map_err(|e| StartError::Loop(e.error))?;
    Ok(())
}

impl Session {
    fn accept_app(&mut self, listener: &UnixListener) {
        match listener.accept() {
            Ok((stream, _)) => self.desktop.connect(stream),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => tracing::warn!(%error, "a program could not connect"),
        }
    }
}
