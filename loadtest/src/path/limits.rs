//! What the relay holds at most.

use std::time::Duration;

/// Orders that wait for the thread.
pub(super) const ORDERS_MAX: usize = 64;
/// Clients at a time; a newcomer takes the place of one that is idle.
pub(super) const CLIENTS_MAX: usize = 512;
/// A client that sent and received nothing for so long is idle: WebRTC checks every few seconds.
pub(super) const CLIENT_IDLE: Duration = Duration::from_secs(30);
/// Bytes between socket and socket: 2 s of 250 Mbit/s.
pub(super) const FLIGHT_BYTES_MAX: usize = 64 << 20;
/// Buffers kept for the next packets.
pub(super) const SPARE_MAX: usize = 4096;
/// The largest datagram there is.
pub(super) const DATAGRAM_BYTES_MAX: usize = 65_536;
/// Packets read from one socket before those that are due are sent.
pub(super) const READS_PER_TURN: usize = 32;
/// Asked of the kernel for every socket: bursts are for the model to drop.
pub(super) const SOCKET_BUFFER_BYTES: usize = 8 << 20;
/// What IPv4 and UDP add to a payload; IPv6 adds 20 more.
pub(super) const HEADERS_V4_BYTES: u32 = 28;
pub(super) const HEADERS_V6_BYTES: u32 = 48;
