//! What the operator decides about the transport, and why it may not start.

use std::net::{IpAddr, SocketAddr};

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen: one address per family, all on one port. Port 0 lets the kernel choose.
    pub bind: Vec<SocketAddr>,
    /// Addresses at which browsers reach this host, written into every answer. Empty: every
    /// address of this host, loopback included, so that a browser on the same machine works.
    pub advertise: Vec<IpAddr>,
    /// The port at which browsers reach it there, where something in between has another one: a port
    /// forward, or a relay. `None`: the one it listens on.
    pub advertise_port: Option<u16>,
    /// STUN servers for the node's address behind NAT. Empty: the advertised addresses are
    /// reachable, and ICE-lite is used.
    pub stun: Vec<SocketAddr>,
    /// Sessions at a time; [`crate::Handle::add_session`] beyond it ends with
    /// [`crate::Event::WorkerGone`].
    pub max_sessions: usize,
    /// Bit rate that a worker is told at each attachment, kbit/s.
    pub kbps_start: u32,
    /// The most that a worker is told, however much the path carries, kbit/s.
    pub kbps_max: u32,
    /// What the node's uplink carries for all sessions together, kbit/s; `None`: it is measured.
    pub uplink_kbps: Option<u32>,
}

impl Config {
    /// A configuration for one machine: everything on `bind`, no NAT.
    pub fn on(bind: SocketAddr) -> Self {
        Self {
            bind: vec![bind],
            advertise: Vec::new(),
            advertise_port: None,
            stun: Vec::new(),
            max_sessions: 64,
            kbps_start: 8000,
            kbps_max: 12_000,
            uplink_kbps: None,
        }
    }
}

/// Why the transport does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No address was given.
    #[error("no address to bind: give at least one in `rtc.bind`")]
    NoAddress,
    /// Two addresses of one family, or differing ports.
    #[error("`rtc.bind` takes at most one IPv4 and one IPv6 address, on one port")]
    Addresses,
    /// The address cannot be bound.
    #[error("cannot listen on udp {address}; choose another port with --rtc-port")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Something else that the kernel refused.
    #[error("cannot start the transport thread: {0}")]
    Io(#[from] std::io::Error),
    /// No cryptography, which DTLS and SRTP need.
    #[error("no cryptography is built in: {0}")]
    Crypto(String),
}
