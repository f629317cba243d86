//! The clients of a relay: each has a socket of its own towards the node.

use super::limits::{CLIENT_IDLE, CLIENTS_MAX, SOCKET_BUFFER_BYTES};
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) address: SocketAddr,
    pub(super) socket: UdpSocket,
    seen: Instant,
}

/// All of them, by number; numbers are never used twice.
#[derive(Debug)]
pub(super) struct Clients {
    registry: Registry,
    first_token: usize,
    to: SocketAddr,
    by_number: BTreeMap<u64, Client>,
    by_address: HashMap<SocketAddr, u64>,
    next: u64,
}

impl Clients {
    pub(super) fn new(registry: Registry, first_token: usize, to: SocketAddr) -> Self {
        Self {
            registry,
            first_token,
            to,
            by_number: BTreeMap::new(),
            by_address: HashMap::new(),
            next: 0,
        }
    }

    /// The client that sends from `address`, new or known; `None` if there is no room.
    pub(super) fn sender(&mut self, address: SocketAddr, now: Instant) -> io::Result<Option<u64>> {
        if let Some(number) = self.by_address.get(&address).copied() {
            self.touch(number, now);
            return Ok(Some(number));
        }
        if self.by_number.len() >= CLIENTS_MAX && !self.drop_idle(now) {
            return Ok(None);
        }
        let number = self.next;
        self.next += 1;
        let socket = self.connect(number)?;
        let client = Client {
            address,
            socket,
            seen: now,
        };
        self.by_number.insert(number, client);
        self.by_address.insert(address, number);
        Ok(Some(number))
    }

    /// Gives every client another socket.
    pub(super) fn rebind(&mut self) -> io::Result<()> {
        let numbers: Vec<u64> = self.by_number.keys().copied().collect();
        for number in numbers {
            let socket = self.connect(number)?;
            if let Some(client) = self.by_number.get_mut(&number) {
                // The old one leaves the poll with its descriptor.
                client.socket = socket;
            }
        }
        Ok(())
    }

    pub(super) fn touch(&mut self, number: u64, now: Instant) {
        if let Some(client) = self.by_number.get_mut(&number) {
            client.seen = now;
        }
    }

    pub(super) fn client(&self, number: u64) -> Option<&Client> {
        self.by_number.get(&number)
    }

    pub(super) fn number_of(&self, token: Token) -> u64 {
        (token.0 - self.first_token) as u64
    }

    pub(super) fn count(&self) -> usize {
        self.by_number.len()
    }

    fn connect(&self, number: u64) -> io::Result<UdpSocket> {
        let any = SocketAddr::new(
            match self.to {
                SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
            },
            0,
        );
        let mut socket = bound(any)?;
        socket.connect(self.to)?;
        let token = Token(self.first_token + number as usize);
        self.registry
            .register(&mut socket, token, Interest::READABLE)?;
        Ok(socket)
    }

    fn drop_idle(&mut self, now: Instant) -> bool {
        let oldest = self.by_number.iter().min_by_key(|(_, client)| client.seen);
        let idle = oldest.filter(|(_, client)| now.duration_since(client.seen) >= CLIENT_IDLE);
        let Some(number) = idle.map(|(number, _)| *number) else {
            return false;
        };
        if let Some(client) = self.by_number.remove(&number) {
            self.by_address.remove(&client.address);
        }
        true
    }
}

/// A socket with much room.
pub(super) fn bound(address: SocketAddr) -> io::Result<UdpSocket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    // The system's limit may give less.
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}
