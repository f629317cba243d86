//! What both ends of a connection between brokers ask of the kernel: to notice that the other machine is gone, which
//! says nothing when it loses its power or its line.

use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// Sent and not acknowledged for so long, it is gone: as `peers.dead_s` is as shipped.
const UNACKED_MAX: Duration = Duration::from_secs(10);
/// Silent for so long, it is asked, and again so often.
const ASKED_AFTER: Duration = Duration::from_secs(5);
const ASKED_EVERY: Duration = Duration::from_secs(2);
const ASKED_TIMES: u32 = 3;

pub(super) fn watched(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    let asked = TcpKeepalive::new()
        .with_time(ASKED_AFTER)
        .with_interval(ASKED_EVERY)
        .with_retries(ASKED_TIMES);
    socket.set_tcp_keepalive(&asked)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKED_MAX))?;
    Ok(())
}
