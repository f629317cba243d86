//! A UDP relay that does to packets what a profile says: the path model of `sim` on real sockets.
//!
//! ```text
//!  client A ─┐                                  ┌─ socket of A ─┐
//!            ├─> listen ─> up: Path ─> flight ─>┤               ├─> node
//!  client B ─┘       <─ flight <─ down: Path <──└─ socket of B ─┘
//! ```
//!
//! Owns one thread, the listening socket, and a socket for each client, so that the node sees them
//! apart. All clients share the two directions: the relay is one line, and who wants two lines starts
//! two relays. Invariants: one thread, so a packet's fate is that of the model for the time at which
//! it was read; packets in flight and clients are bounded (`limits`), and what does not fit is
//! counted apart from what the path loses; how late packets leave, measured against the model, is a
//! part of every report.
//!
//! Does not know: WebRTC. The node's answers name the relay's port by `rtc.advertise_port`.

mod carrier;
mod clients;
pub mod command;
mod flight;
mod limits;
mod tally;
#[cfg(test)]
mod test;

use carrier::{Carrier, Order};
use nearlight_sim::path::{Change, Profile};
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
pub use tally::{Delay, Part, Report, Sample, Way};

/// What a relay is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where clients send to; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// The node.
    pub to: SocketAddr,
    /// The path. Its schedule begins with the first packet.
    pub profile: Profile,
}

/// Where samples go, and how often.
#[derive(Debug)]
pub struct Samples {
    /// Time that one sample covers.
    pub every: Duration,
    /// One that finds it full is dropped; the next covers the time of both.
    pub to: SyncSender<Sample>,
}

/// A running relay. It stops when this is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    orders: SyncSender<Order>,
    waker: mio::Waker,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Binds and starts.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn start(options: Options, samples: Option<Samples>) -> io::Result<Self> {
        let (orders, inbox) = sync_channel(limits::ORDERS_MAX);
        let (carrier, waker, address) = Carrier::bind(options, samples, inbox)?;
        let thread = std::thread::Builder::new()
            .name("path".to_owned())
            .spawn(move || carrier.run())?;
        Ok(Self {
            address,
            orders,
            waker,
            thread: Some(thread),
        })
    }

    /// Where clients send to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the path from now on.
    ///
    /// # Errors
    /// The relay's thread is gone.
    pub fn change(&self, down: Change, up: Change) -> io::Result<()> {
        self.order(Order::Change {
            down: Box::new(down),
            up: Box::new(up),
        })
    }

    /// From now on the node sees every client at another address, as after a NAT forgot a mapping.
    ///
    /// # Errors
    /// The relay's thread is gone.
    pub fn rebind(&self) -> io::Result<()> {
        self.order(Order::Rebind)
    }

    /// What happened since the start.
    ///
    /// # Errors
    /// The relay's thread is gone.
    pub fn report(&self) -> io::Result<Report> {
        let (reply, answer) = sync_channel(1);
        self.order(Order::Report(reply))?;
        answer.recv().map_err(|_| gone())
    }

    fn order(&self, order: Order) -> io::Result<()> {
        self.orders.send(order).map_err(|_| gone())?;
        self.waker.wake()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let told = self.order(Order::Stop);
        if let (Ok(()), Some(thread)) = (told, self.thread.take()) {
            // A panic has printed itself.
            let _ = thread.join();
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the relay's thread has ended")
}
