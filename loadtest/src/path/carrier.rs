//! The relay's thread: reads, offers to the model, and sends what is due, to the microsecond as far
//! as the kernel's timers go (a timer descriptor: the poll's own timeout counts in milliseconds).

use super::clients::{Clients, bound};
use super::flight::{Direction, Flight};
use super::limits::{DATAGRAM_BYTES_MAX, HEADERS_V4_BYTES, HEADERS_V6_BYTES, READS_PER_TURN};
use super::tally::{Part, Report, Sample, Way};
use super::{Options, Samples};
use mio::net::UdpSocket;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use nearlight_sim::path::{Change, Schedule};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::time::{Duration, Instant};

const WAKER: Token = Token(0);
const TIMER: Token = Token(1);
const LISTEN: Token = Token(2);
const FIRST_CLIENT: usize = 3;
/// Among real-time threads: a low one is before all that are not.
const PRIORITY: &str = "10";

/// What the relay's owner asks of its thread.
#[derive(Debug)]
pub(super) enum Order {
    Change { down: Box<Change>, up: Box<Change> },
    Rebind,
    Report(SyncSender<Report>),
    Stop,
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Carrier {
    poll: Poll,
    timer: TimerFd,
    listen: UdpSocket,
    clients: Clients,
    headers_bytes: u32,
    flight: Flight,
    schedule: Schedule,
    samples: Option<Samples>,
    inbox: Receiver<Order>,
    origin: Instant,
    /// When the first packet came.
    began_us: Option<u64>,
    sampled_us: u64,
    refused: u64,
    /// Sockets with more to read.
    readable: BTreeSet<Token>,
    buffer: Vec<u8>,
    stopped: bool,
}

impl Carrier {
    pub(super) fn bind(
        options: Options,
        samples: Option<Samples>,
        inbox: Receiver<Order>,
    ) -> io::Result<(Self, Waker, SocketAddr)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        let fd = timer.as_fd().as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&fd), TIMER, Interest::READABLE)?;
        let mut listen = bound(options.listen)?;
        poll.registry()
            .register(&mut listen, LISTEN, Interest::READABLE)?;
        let address = listen.local_addr()?;
        let registry = poll.registry().try_clone()?;
        let headers_bytes = if options.to.is_ipv4() {
            HEADERS_V4_BYTES
        } else {
            HEADERS_V6_BYTES
        };
        let carrier = Self {
            clients: Clients::new(registry, FIRST_CLIENT, options.to),
            poll,
            timer,
            listen,
            headers_bytes,
            flight: Flight::new(&options.profile),
            schedule: options.profile.schedule,
            samples,
            inbox,
            origin: Instant::now(),
            began_us: None,
            sampled_us: 0,
            refused: 0,
            readable: BTreeSet::new(),
            buffer: vec![0; DATAGRAM_BYTES_MAX],
            stopped: false,
        };
        Ok((carrier, waker, address))
    }

    pub(super) fn run(mut self) {
        if !go_first() {
            tracing::warn!("the relay runs at ordinary priority; mind how late packets leave");
        }
        let mut events = Events::with_capacity(256);
        while !self.stopped {
            if let Err(error) = self.wait(&mut events) {
                tracing::error!(%error, "the relay cannot wait for packets and stops");
                return;
            }
            for event in &events {
                match event.token() {
                    WAKER => self.take_orders(),
                    // It only had to end the wait.
                    TIMER => drop(self.timer.wait()),
                    token => drop(self.readable.insert(token)),
                }
            }
            self.keep_schedule();
            for token in std::mem::take(&mut self.readable) {
                self.read(token);
                self.deliver();
            }
            self.deliver();
            self.sample();
        }
    }

    /// Waits for a packet, an order, or the next time at which something is due.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let now_us = self.now_us();
        let began_us = self.began_us;
        let since_start = |since_first_us: u64| began_us.map(|began| began + since_first_us);
        let next_step_us = self.schedule.next_us().and_then(since_start);
        let next_us = [
            self.flight.next_us(),
            next_step_us,
            self.next_sample_us(),
            (!self.readable.is_empty()).then_some(now_us),
        ];
        let timeout = match next_us.into_iter().flatten().min() {
            Some(next_us) if next_us <= now_us => Some(Duration::ZERO),
            Some(next_us) => {
                let wait = TimeSpec::from_duration(Duration::from_micros(next_us - now_us));
                let once = Expiration::OneShot(wait);
                self.timer.set(once, TimerSetTimeFlags::empty())?;
                None
            }
            None => None,
        };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    fn take_orders(&mut self) {
        while let Ok(order) = self.inbox.try_recv() {
            match order {
                Order::Change { down, up } => self.flight.change(&down, &up),
                Order::Rebind => {
                    if let Err(error) = self.clients.rebind() {
                        tracing::error!(%error, "cannot give the clients other sockets");
                    }
                }
                Order::Report(reply) => drop(reply.try_send(self.report())),
                Order::Stop => self.stopped = true,
            }
        }
    }

    fn keep_schedule(&mut self) {
        let Some(began_us) = self.began_us else {
            return;
        };
        let elapsed_us = self.now_us() - began_us;
        while let Some(step) = self.schedule.take_due(elapsed_us) {
            self.flight.change(&step.down, &step.up);
        }
    }

    /// Reads some packets; what is left is read in the next turn.
    fn read(&mut self, token: Token) {
        for _ in 0..READS_PER_TURN {
            let read = if token == LISTEN {
                self.read_client()
            } else {
                self.read_node(self.clients.number_of(token))
            };
            match read {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // A node that is not there says so once for each packet.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => {
                    tracing::warn!(%error, "a packet could not be read");
                    return;
                }
            }
        }
        self.readable.insert(token);
    }

    fn read_client(&mut self) -> io::Result<()> {
        let (len, from) = self.listen.recv_from(&mut self.buffer)?;
        let now_us = self.now_us();
        if self.began_us.is_none() {
            self.began_us = Some(now_us);
            self.sampled_us = now_us;
        }
        let Some(client) = self.clients.sender(from, Instant::now())? else {
            self.refused += 1;
            return Ok(());
        };
        let payload = &self.buffer[..len];
        let headers_bytes = self.headers_bytes;
        self.flight
            .offer(Direction::Up, client, payload, headers_bytes, now_us);
        Ok(())
    }

    fn read_node(&mut self, number: u64) -> io::Result<()> {
        let client = self.clients.client(number);
        let client = client.ok_or(io::ErrorKind::WouldBlock)?;
        let len = client.socket.recv(&mut self.buffer)?;
        self.clients.touch(number, Instant::now());
        let now_us = self.now_us();
        let payload = &self.buffer[..len];
        let headers_bytes = self.headers_bytes;
        self.flight
            .offer(Direction::Down, number, payload, headers_bytes, now_us);
        Ok(())
    }

    fn deliver(&mut self) {
        while let Some(flying) = self.flight.take_due(self.now_us()) {
            let Some(client) = self.clients.client(flying.client) else {
                self.flight.recycle(flying.payload);
                continue;
            };
            let (sent, tally) = match flying.direction {
                Direction::Down => {
                    let sent = self.listen.send_to(&flying.payload, client.address);
                    (sent, &mut self.flight.down.tally)
                }
                Direction::Up => {
                    let sent = client.socket.send(&flying.payload);
                    (sent, &mut self.flight.up.tally)
                }
            };
            tally.unsent += u64::from(sent.is_err());
            self.flight.recycle(flying.payload);
        }
    }

    fn sample(&mut self) {
        let now_us = self.now_us();
        let due = self.next_sample_us().is_some_and(|due| due <= now_us);
        let (Some(samples), Some(began_us), true) = (&self.samples, self.began_us, due) else {
            return;
        };
        let sample = Sample {
            elapsed_us: now_us - began_us,
            span_us: now_us - self.sampled_us,
            down: Part::take(&mut self.flight.down, now_us),
            up: Part::take(&mut self.flight.up, now_us),
        };
        self.sampled_us = now_us;
        match samples.to.try_send(sample) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => tracing::warn!("a sample is lost: nobody takes them"),
            Err(TrySendError::Disconnected(_)) => self.samples = None,
        }
    }

    fn next_sample_us(&self) -> Option<u64> {
        let every = self.samples.as_ref()?.every.as_micros() as u64;
        self.began_us.map(|_| self.sampled_us + every)
    }

    fn report(&self) -> Report {
        Report {
            elapsed_us: self.began_us.map_or(0, |began| self.now_us() - began),
            clients: self.clients.count(),
            refused: self.refused,
            down: Way::of(&self.flight.down),
            up: Way::of(&self.flight.up),
        }
    }

    fn now_us(&self) -> u64 {
        self.origin.elapsed().as_micros() as u64
    }
}

/// Asks for real-time priority: on a busy machine a relay that waits its turn is a part of the path
/// (at a load of 4 a core packets left up to 43 ms late without it, 2 ms with it). A program does it,
/// for the system call itself would be unsafe code.
fn go_first() -> bool {
    let thread = nix::unistd::gettid().to_string();
    let mut chrt = std::process::Command::new("chrt");
    let chrt = chrt.args(["--fifo", "--pid", PRIORITY, &thread]);
    let chrt = chrt.stdout(Stdio::null()).stderr(Stdio::null());
    chrt.status().is_ok_and(|status| status.success())
}
