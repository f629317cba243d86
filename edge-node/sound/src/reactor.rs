//! The sound thread: sockets in and out, and a clock that ticks every 10 ms.
//!
//! A tick mixes one Opus packet's worth of all streams. Ticks are counted from the thread's start
//! on `CLOCK_MONOTONIC`, so packets are exactly 10 ms apart however late the thread wakes; one that
//! comes more than [`CATCH_UP_MAX`] ticks late leaves the lost ones out.
//!
//! Code that reads what clients send may panic. Then nothing of theirs is kept: they are disconnected,
//! and the thread goes on for those that come ([`PANICS_MAX`] times, for a log has an end).

use crate::desk::{ClientId, Desk, Refusal, Taken};
use crate::encode::{FRAMES, PACKET_US, Packets};
use crate::limits::{CLIENTS_MAX, STALL_US_MAX};
use crate::server::Shared;
use mio::event::Event;
use mio::net::{UnixListener, UnixStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId as Clock, clock_gettime};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const LISTENER: Token = Token(0);
const CLOCK: Token = Token(1);
pub(crate) const WAKER: Token = Token(2);
/// The token of client 0; tokens and clients are never used again.
const CLIENTS: usize = 16;
/// Ticks that are made up for at once.
const CATCH_UP_MAX: u64 = 5;
/// Panics after which there is no more sound.
const PANICS_MAX: u64 = 16;
/// Most that is read at once.
const READ_BYTES: usize = 64 * 1024;

/// The thread's whole state.
#[derive(Debug)]
pub(crate) struct Reactor {
    poll: Poll,
    listener: UnixListener,
    timer: TimerFd,
    sockets: BTreeMap<ClientId, Socket>,
    desk: Desk,
    packets: Packets,
    shared: Arc<Shared>,
    next_client: u32,
    /// When tick 0 was, and how many there were.
    start_us: u64,
    ticks: u64,
    scratch: Box<[u8]>,
}

#[derive(Debug)]
struct Socket {
    stream: UnixStream,
    /// There may be more to read: the edge-triggered readiness was not used up.
    readable: bool,
    /// Since when the kernel has taken nothing more.
    stalled_us: Option<u64>,
}

/// Why a client is taken out.
enum Leaving {
    /// It went.
    Gone,
    /// It is cut off.
    Refused(Refusal),
}

impl Reactor {
    pub(crate) fn new(
        listener: std::os::unix::net::UnixListener,
        packets: Packets,
        shared: Arc<Shared>,
    ) -> io::Result<(Self, Waker)> {
        listener.set_nonblocking(true)?;
        let poll = Poll::new()?;
        let mut listener = UnixListener::from_std(listener);
        let registry = poll.registry();
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let fd = timer.as_fd().as_raw_fd();
        registry.register(&mut SourceFd(&fd), CLOCK, Interest::READABLE)?;
        let every = TimeSpec::from_duration(Duration::from_micros(PACKET_US));
        timer.set(Expiration::Interval(every), TimerSetTimeFlags::empty())?;
        let waker = Waker::new(registry, WAKER)?;
        let reactor = Self {
            poll,
            listener,
            timer,
            sockets: BTreeMap::new(),
            desk: Desk::new(),
            packets,
            shared,
            next_client: 0,
            start_us: now_us(),
            ticks: 0,
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
        };
        Ok((reactor, waker))
    }

    /// Serves until it is woken to stop.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        while !self.shared.stop.load(Ordering::Acquire) {
            match self.poll.poll(&mut events, None) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "the sound thread cannot wait for events");
                    return;
                }
            }
            for event in &events {
                let handled = catch_unwind(AssertUnwindSafe(|| self.handle(event)));
                if handled.is_err() && !self.start_over() {
                    return;
                }
            }
        }
    }

    fn handle(&mut self, event: &Event) {
        match event.token() {
            LISTENER => self.accept(),
            CLOCK => self.clock(),
            WAKER => {}
            Token(token) => {
                let id = ClientId((token - CLIENTS) as u32);
                if let Some(socket) = self.sockets.get_mut(&id) {
                    socket.readable |= event.is_readable() || event.is_read_closed();
                }
                self.serve(id);
            }
        }
    }

    /// Forgets everybody after a panic. Says whether to go on.
    fn start_over(&mut self) -> bool {
        let panics = 1 + self.shared.restarts.fetch_add(1, Ordering::Relaxed);
        let clients = self.sockets.len();
        tracing::error!(
            clients,
            panics,
            "the sound server's own code panicked; its clients are cut off. Please report this"
        );
        self.sockets.clear();
        self.desk = Desk::new();
        self.shared.clients.store(0, Ordering::Relaxed);
        if panics >= PANICS_MAX {
            tracing::error!("the session has no sound any more");
        }
        panics < PANICS_MAX
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    // Out of descriptors, most likely: the next connection tries again.
                    tracing::warn!(%error, "cannot accept a sound client");
                    return;
                }
            }
        }
    }

    fn admit(&mut self, mut stream: UnixStream) {
        if self.sockets.len() >= CLIENTS_MAX {
            tracing::debug!("sound client refused: there are {CLIENTS_MAX} already");
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let id = ClientId(self.next_client);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(CLIENTS + id.0 as usize);
        if let Err(error) = self.poll.registry().register(&mut stream, token, interest) {
            tracing::warn!(%error, "cannot watch a sound client");
            return;
        }
        self.next_client += 1;
        self.desk.join(id, now_us());
        let socket = Socket {
            stream,
            readable: true,
            stalled_us: None,
        };
        self.sockets.insert(id, socket);
        self.count_clients();
    }

    /// The clock's turn: packets that are due, then what clients had to wait with.
    fn clock(&mut self) {
        // The count says nothing that the clock itself does not.
        let mut count = [0; 8];
        let _ = nix::unistd::read(&self.timer, &mut count);
        let now = now_us();
        let due = now.saturating_sub(self.start_us) / PACKET_US;
        let first = self.ticks.max(due.saturating_sub(CATCH_UP_MAX));
        let active = self.shared.active.load(Ordering::Relaxed);
        for tick in first..due {
            let mut mix = [[0.0; 2]; FRAMES];
            let glitch_ms = self.desk.mix(&mut mix);
            self.shared
                .underrun_ms
                .fetch_add(glitch_ms, Ordering::Relaxed);
            let pts_us = self.start_us + tick * PACKET_US;
            if self.packets.take(active, pts_us, &mut mix) {
                self.shared.packets.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.ticks = due.max(self.ticks);
        let ids: Vec<ClientId> = self.sockets.keys().copied().collect();
        for id in ids {
            self.serve(id);
            if let Some(refusal) = self.overdue(id, now) {
                self.remove(id, Leaving::Refused(refusal));
            }
        }
    }

    fn overdue(&self, id: ClientId, now_us: u64) -> Option<Refusal> {
        let stalled = self.sockets.get(&id).and_then(|socket| socket.stalled_us);
        let stalled = stalled.is_some_and(|since| now_us.saturating_sub(since) > STALL_US_MAX);
        self.desk
            .overdue(id, now_us)
            .or_else(|| stalled.then_some(Refusal::NotReading))
    }

    /// Handles what a client sent and sends what is for it. What its commands mean to other clients
    /// they are sent at the next tick.
    fn serve(&mut self, id: ClientId) {
        if let Err(leaving) = self.read(id).and_then(|()| self.write(id)) {
            self.remove(id, leaving);
        }
    }

    fn read(&mut self, id: ClientId) -> Result<(), Leaving> {
        loop {
            match self.desk.handle(id).map_err(Leaving::Refused)? {
                Taken::Some => return Ok(()),
                Taken::All => {}
            }
            let Some(socket) = self.sockets.get_mut(&id) else {
                return Ok(());
            };
            if !socket.readable || !self.desk.may_read(id) {
                return Ok(());
            }
            match socket.stream.read(&mut self.scratch) {
                Ok(0) => return Err(Leaving::Gone),
                Ok(count) => self.desk.receive(id, &self.scratch[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => socket.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Leaving::Gone),
            }
        }
    }

    fn write(&mut self, id: ClientId) -> Result<(), Leaving> {
        let (Some(socket), Some(outbox)) = (self.sockets.get_mut(&id), self.desk.outbox(id)) else {
            return Ok(());
        };
        let mut sent = 0;
        while sent < outbox.len() {
            match socket.stream.write(&outbox[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Leaving::Gone),
            }
        }
        outbox.drain(..sent);
        socket.stalled_us = match (outbox.is_empty(), sent, socket.stalled_us) {
            (true, ..) => None,
            (false, 0, Some(since)) => Some(since),
            (false, ..) => Some(now_us()),
        };
        Ok(())
    }

    fn remove(&mut self, id: ClientId, leaving: Leaving) {
        let Some(mut socket) = self.sockets.remove(&id) else {
            return;
        };
        if let Leaving::Refused(refusal) = leaving {
            let refused = self.shared.refused.fetch_add(1, Ordering::Relaxed) + 1;
            // A program that comes back again and again does not fill the disk with it.
            if refused.is_power_of_two() {
                tracing::warn!(client = id.0, refused, %refusal, "sound client cut off");
            } else {
                tracing::debug!(client = id.0, refused, %refusal, "sound client cut off");
            }
        }
        // Closing the socket takes it off the poll as well.
        let _ = self.poll.registry().deregister(&mut socket.stream);
        self.desk.leave(id);
        self.count_clients();
    }

    fn count_clients(&self) {
        let clients = self.sockets.len() as u64;
        self.shared.clients.store(clients, Ordering::Relaxed);
    }
}

/// `CLOCK_MONOTONIC`, microseconds.
fn now_us() -> u64 {
    let now = clock_gettime(Clock::CLOCK_MONOTONIC).expect("every kernel has this clock");
    now.tv_sec() as u64 * 1_000_000 + now.tv_nsec() as u64 / 1_000
}
