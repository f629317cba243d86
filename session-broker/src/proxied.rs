//! Who is behind a load balancer that passes bytes through.
//!
//! A balancer at layer 4 is the peer of every connection, so that rates and the audit log would take all
//! callers for one. It says whom it stands for in a header before the first byte (PROXY protocol
//! version 2), and is believed if its address is one that the operator named.
//!
//! **Invariants.** From a named address nothing is served without the header, and from any other one
//! nobody's word counts. No byte behind the header is read here.

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
        if !self.0.contains(&peer.ip().to_canonical()) {
            return Ok(peer);
        }
        let mut fixed = [0; FIXED_BYTES];
        tcp.read_exact(&mut fixed).await?;
        let mut rest = vec![0; rest_len(&fixed)?];
        tcp.read_exact(&mut rest).await?;
        Ok(match parse(&fixed, &rest)? {
            Header::Of(client) => client,
            Header::Itself => peer,
        })
    }
}
