//! Who is behind a load balancer that passes bytes through.
//!
//! A balancer at layer 4 is the peer of every connection, so that rates and the audit log would take all
//! callers for one. It says whom it stands for in a header before the first byte (PROXY protocol
//! version 2), and is believed if its address is one that the operator named.
//!
//! **Invariants.** From a named address nothing is served without the header, and from any other one
//! nobody's word counts. No byte behind the header is read here. A client of IPv4 has its address of IPv4, also behind a
//! listener of both families.

use std::net::{IpAddr, SocketAddr};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

mod header;

use header::{FIXED_BYTES, Header, Malformed, parse, rest_len};

/// The load balancers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies(Vec<IpAddr>);

/// Why a load balancer's connection is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// It hung up, as some health checks do.
    #[error("the load balancer closed the connection before its header was there")]
    Closed(#[from] std::io::Error),
    /// It speaks something else.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Proxies {
    pub(crate) fn new(addresses: &[IpAddr]) -> Self {
        Self(addresses.iter().map(IpAddr::to_canonical).collect())
    }

    /// Whose connection it is. Waits for a load balancer's header: the caller has the deadline.
    ///
    /// # Errors
    /// A load balancer said nothing that can be understood; the connection is to be closed.
    pub(crate) async fn peer_of(
        &self,
        tcp: &mut TcpStream,
        peer: SocketAddr,
    ) -> Result<SocketAddr, ProxyError> {
        let peer = canonical(peer);
        if !self.0.contains(&peer.ip()) {
            return Ok(peer);
        }
        let mut fixed = [0; FIXED_BYTES];
        tcp.read_exact(&mut fixed).await?;
        let mut rest = vec![0; rest_len(&fixed)?];
        tcp.read_exact(&mut rest).await?;
        Ok(match parse(&fixed, &rest)? {
            Header::Of(client) => canonical(client),
            Header::Itself => peer,
        })
    }
}

fn canonical(at: SocketAddr) -> SocketAddr {
    SocketAddr::new(at.ip().to_canonical(), at.port())
}

#[cfg(test)]
mod test {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_client_of_ipv4_has_its_own_address_however_it_came() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut balancer = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mapped = "[::ffff:192.0.2.1]:7".parse().unwrap();
        let peer = Proxies::default().peer_of(&mut tcp, mapped).await;
        assert_eq!(peer.unwrap(), "192.0.2.1:7".parse().unwrap());

        // A balancer of both families writes its clients of IPv4 as IPv6.
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".to_vec();
        let client: std::net::Ipv6Addr = "::ffff:192.0.2.9".parse().unwrap();
        header.extend(client.octets());
        header.extend([0; 16]);
        header.extend([0, 9, 0, 1]);
        balancer.write_all(&header).await.unwrap();
        let proxies = Proxies::new(&["192.0.2.1".parse().unwrap()]);
        let peer = proxies.peer_of(&mut tcp, mapped).await;
        assert_eq!(peer.unwrap(), "192.0.2.9:9".parse().unwrap());
    }
}
