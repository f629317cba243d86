//! From a broker's order to a connection that it has taken.

use nearlight_kit::read_ahead::ReadAhead;
use nearlight_protocol::control::OpenTunnel;
use nearlight_protocol::tunnel::{ALPN, READ_BYTES, TAKEN, UNKNOWN};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// TCP, TLS, the id and the broker's byte. The broker waits for as long.
const DIAL_WITHIN: Duration = Duration::from_secs(10);
/// Attempts until a load balancer has led to the broker that asked: it turns by itself.
const ATTEMPTS_MAX: u32 = 8;

/// A tunnel.
pub(super) type Socket = TlsStream<ReadAhead<TcpStream>>;
type Tls = dyn Fn() -> io::Result<Arc<ClientConfig>> + Send + Sync;

/// Whom to dial, and as whom.
#[derive(Clone)]
pub struct Way {
    /// `HOST:PORT`, as the control stream dials it.
    address: String,
    server: ServerName<'static>,
    tls: Arc<Tls>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Way {
    /// To `address`, which has to be `server`; `tls` shows the node's certificate of that moment.
    pub fn new(
        address: String,
        server: ServerName<'static>,
        tls: impl Fn() -> io::Result<Arc<ClientConfig>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            address,
            server,
            tls: Arc::new(tls),
        }
    }

    /// A connection that the broker has taken.
    pub(super) async fn dial(&self, order: &OpenTunnel) -> io::Result<Socket> {
        let address = order.address.as_ref().unwrap_or(&self.address);
        for _ in 0..ATTEMPTS_MAX {
            let dialled = self.dial_once(address, order);
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            let dialled = tokio::time::timeout(DIAL_WITHIN, dialled).await;
            match dialled.map_err(late)?? {
                Some(stream) => return Ok(stream),
                // Another broker's: it is a load balancer's address.
                None if order.address.is_none() => {}
                None => break,
            }
        }
        Err(io::Error::other("the broker does not know the tunnel"))
    }

    /// `None` if whoever answers does not know the tunnel.
    async fn dial_once(&self, address: &str, order: &OpenTunnel) -> io::Result<Option<Socket>> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let mut tls = ClientConfig::clone(&*(self.tls)()?);
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let connector = TlsConnector::from(Arc::new(tls));
        let tcp = ReadAhead::new(tcp);
        let mut stream = connector.connect(self.server.clone(), tcp).await?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(io::Error::other(
                "the broker has no tunnels; it is older than this node",
            ));
        }
        stream.write_all(order.tunnel.as_str().as_bytes()).await?;
        stream.flush().await?;
        match stream.read_u8().await? {
            TAKEN => {
                stream.get_mut().0.by(READ_BYTES);
                Ok(Some(stream))
            }
            UNKNOWN => Ok(None),
            other => Err(io::Error::other(format!("the broker answered {other}"))),
        }
    }
}
