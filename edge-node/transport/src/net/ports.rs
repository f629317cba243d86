//! The node's UDP sockets, one per address family, all on one port; and which of them are ready.

use crate::config::{Config, StartError};
use crate::net::socket::{Path, Port, Received, Sent};
use mio::{Interest, Registry, Token};
use std::io::{self, IoSlice};
use std::net::SocketAddr;

/// Sockets that there can be: one per family.
pub(crate) const PORTS_MAX: usize = 2;

/// The sockets.
pub(crate) struct Ports {
    ports: Vec<Socket>,
    registry: Registry,
}

struct Socket {
    port: Port,
    address: SocketAddr,
    token: Token,
    readable: bool,
    blocked: bool,
}

impl Ports {
    /// Binds every address of `config` and registers the sockets as tokens from `first` on.
    pub(crate) fn bind(
        config: &Config,
        segmentation: bool,
        registry: Registry,
        first: usize,
    ) -> Result<Self, StartError> {
        let mut ports: Vec<Socket> = Vec::with_capacity(PORTS_MAX);
        let mut number = config.bind.first().ok_or(StartError::NoAddress)?.port();
        for (index, wanted) in config.bind.iter().enumerate() {
            let same_family = |p: &Socket| p.address.is_ipv4() == wanted.is_ipv4();
            let same_port = wanted.port() == config.bind[0].port();
            if !same_port || ports.iter().any(same_family) {
                return Err(StartError::Addresses);
            }
            let address = SocketAddr::new(wanted.ip(), number);
            let bind = |source| StartError::Bind { address, source };
            let mut port = Port::bind(address, segmentation).map_err(bind)?;
            let address = port.address()?;
            // Port 0: the kernel chose for the first, and the second must be the same.
            number = address.port();
            let token = Token(first + index);
            registry.register(port.source(), token, Interest::READABLE)?;
            ports.push(Socket {
                port,
                address,
                token,
                readable: true,
                blocked: false,
            });
        }
        Ok(Self { ports, registry })
    }

    pub(crate) fn number(&self) -> u16 {
        self.ports.first().map_or(0, |p| p.address.port())
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.ports.iter().map(|p| p.address).collect()
    }

    /// Notes what the poll said about `token`; says whether packets can be sent again.
    pub(crate) fn ready(&mut self, token: Token, readable: bool, writable: bool) -> bool {
        let Some(socket) = self.ports.iter_mut().find(|p| p.token == token) else {
            return false;
        };
        socket.readable |= readable;
        let unblocked = socket.blocked && writable;
        if unblocked {
            socket.blocked = false;
            let source = socket.port.source();
            let interest = Interest::READABLE;
            if let Err(error) = self.registry.reregister(source, token, interest) {
                tracing::error!(%error, "cannot watch the UDP socket");
            }
        }
        unblocked
    }

    /// Whether a datagram may wait.
    pub(crate) fn is_readable(&self) -> bool {
        self.ports.iter().any(|p| p.readable)
    }

    /// The next datagram of socket `index`, if one waits.
    pub(crate) fn receive(&mut self, index: usize, buffer: &mut [u8]) -> Option<Received> {
        let socket = self.ports.get_mut(index).filter(|p| p.readable)?;
        match socket.port.receive(buffer) {
            Ok(Some(received)) => Some(received),
            Ok(None) => {
                socket.readable = false;
                None
            }
            Err(error) => {
                // Whatever comes next wakes us again.
                tracing::debug!(%error, "a datagram could not be read");
                socket.readable = false;
                None
            }
        }
    }

    /// Sends a run of packets; remembers when the kernel is full and asks to be told of room.
    pub(crate) fn send(&mut self, run: &[IoSlice<'_>], path: Path) -> Sent {
        let of_family = |p: &&mut Socket| p.address.is_ipv4() == path.remote.is_ipv4();
        let Some(socket) = self.ports.iter_mut().find(of_family) else {
            return Sent::Lost;
        };
        if socket.blocked {
            return Sent::Full;
        }
        let sent = socket.port.send(run, path);
        if sent == Sent::Full {
            socket.blocked = true;
            let both = Interest::READABLE | Interest::WRITABLE;
            let source = socket.port.source();
            if let Err(error) = self.registry.reregister(source, socket.token, both) {
                tracing::error!(%error, "cannot watch the UDP socket");
                socket.blocked = false;
                return Sent::Lost;
            }
        }
        sent
    }

    /// Sends one datagram, or loses it.
    pub(crate) fn send_one(&mut self, datagram: &[u8], path: Path) {
        self.send(&[IoSlice::new(datagram)], path);
    }
}

/// Whether an operation has only to be tried again later.
pub(crate) fn is_again(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
