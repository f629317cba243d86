//! What both ends of a connection between brokers ask of the kernel: to notice that the other machine is gone, which
//! says nothing when it loses its power or its line.
//!
//! What is sent and not acknowledged has a time on connections of a broker's own words alone: the kernel counts what the
//! other end does not take as well, and a caller may pause for as long as it likes. Who holds a connection for a caller
//! hears of a peer that is gone otherwise ([`super::passage`]).

use super::client::OWN_WORDS;
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

/// Any connection, from its first byte on.
pub(super) fn watched(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    let asked = TcpKeepalive::new()
        .with_time(ASKED_AFTER)
        .with_interval(ASKED_EVERY)
        .with_retries(ASKED_TIMES);
    socket.set_tcp_keepalive(&asked)
}

/// One whose handshake is over, with the protocol that both ends speak.
pub(super) fn agreed(tcp: &TcpStream, alpn: Option<&[u8]>) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if alpn == Some(OWN_WORDS) {
        SockRef::from(tcp).set_tcp_user_timeout(Some(UNACKED_MAX))?;
    }
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod test {
    use super::*;

    #[tokio::test]
    async fn what_a_caller_does_not_take_has_no_time_and_what_a_broker_does_not_take_has() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await;
        let tcp = tcp.unwrap();
        let unacked_max = || SockRef::from(&tcp).tcp_user_timeout().unwrap();
        watched(&tcp).unwrap();
        agreed(&tcp, None).unwrap();
        assert_eq!(unacked_max().unwrap_or_default(), Duration::ZERO);
        agreed(&tcp, Some(OWN_WORDS)).unwrap();
        assert_eq!(unacked_max(), Some(UNACKED_MAX));
    }
}
