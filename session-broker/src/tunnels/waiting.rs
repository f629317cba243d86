//! Tunnels that were asked for and are not there yet.

use nearlight_kit::read_ahead::ReadAhead;
use nearlight_protocol::id::{NodeId, TunnelId};
use nearlight_protocol::tunnel::{ID_BYTES, READ_BYTES, TAKEN, UNKNOWN};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::server::TlsStream;

/// Tunnels that are waited for at a time, of all nodes.
const WAITING_MAX: usize = 4096;
/// For the id to come, and our byte to leave.
const SAID_WITHIN: Duration = Duration::from_secs(10);

/// A connection to the node listener.
pub(crate) type Socket = TlsStream<ReadAhead<TcpStream>>;

/// The ids that are waited for.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting(Arc<Mutex<HashMap<TunnelId, Expects>>>);

#[derive(Debug)]
struct Expects {
    node: NodeId,
    taker: oneshot::Sender<Socket>,
}

/// A tunnel that is waited for. Dropped, its id is void.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) id: TunnelId,
    pub(super) socket: oneshot::Receiver<Socket>,
    waiting: Waiting,
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.id);
    }
}

impl Waiting {
    /// Waits for a tunnel of `node`; `None` if too many are waited for.
    pub(super) fn expect(&self, node: &NodeId) -> Option<Expected> {
        let mut waiting = self.lock();
        if waiting.len() >= WAITING_MAX {
            return None;
        }
        let (taker, socket) = oneshot::channel();
        let id = nearlight_kit::ids::tunnel();
        let node = node.clone();
        waiting.insert(id.clone(), Expects { node, taker });
        Some(Expected {
            id,
            socket,
            waiting: self.clone(),
        })
    }

    /// Hands a connection to whoever waits for it, if it is of the node that was asked.
    pub(super) async fn take(&self, mut stream: Socket, node: Option<&NodeId>) -> io::Result<()> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let said = async {
            let mut id = [0; ID_BYTES];
            stream.read_exact(&mut id).await?;
            let found = self.find(&id, node);
            let answer = if found.is_some() { TAKEN } else { UNKNOWN };
            stream.write_u8(answer).await?;
            stream.flush().await?;
            Ok::<_, io::Error>(found)
        };
        match tokio::time::timeout(SAID_WITHIN, said)
            .await
            .map_err(late)??
        {
            Some(taker) => {
                stream.get_mut().0.by(READ_BYTES);
                // Nobody waits any more: the connection closes.
                let _ = taker.send(stream);
                Ok(())
            }
            None => {
                let _ = tokio::time::timeout(SAID_WITHIN, stream.shutdown()).await;
                Err(io::Error::other(
                    "nobody waits for this tunnel of this node",
                ))
            }
        }
    }

    /// Whoever waits for this id. It is used once, and only by its node.
    fn find(&self, id: &[u8], node: Option<&NodeId>) -> Option<oneshot::Sender<Socket>> {
        let id: TunnelId = std::str::from_utf8(id).ok()?.parse().ok()?;
        let mut waiting = self.lock();
        if Some(&waiting.get(&id)?.node) != node {
            return None;
        }
        waiting.remove(&id).map(|expects| expects.taker)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TunnelId, Expects>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn node(n: u64) -> NodeId {
        NodeId::from_parts(n, [0; 10])
    }

    #[test]
    fn an_id_is_used_once_by_its_node_while_it_is_waited_for() {
        let waiting = Waiting::default();
        let expected = waiting.expect(&node(1)).unwrap();
        let id = expected.id.as_str().as_bytes().to_vec();
        assert_eq!(id.len(), ID_BYTES);
        assert!(
            waiting.find(&id, Some(&node(2))).is_none(),
            "another node's"
        );
        assert!(waiting.find(&id, None).is_none(), "nobody's");
        assert!(waiting.find(b"tun_", Some(&node(1))).is_none());
        assert!(waiting.find(&id, Some(&node(1))).is_some());
        assert!(waiting.find(&id, Some(&node(1))).is_none(), "a second time");

        let late = waiting.expect(&node(1)).unwrap();
        let id = late.id.as_str().as_bytes().to_vec();
        drop(late);
        assert!(waiting.find(&id, Some(&node(1))).is_none(), "too late");
        assert!(waiting.lock().is_empty());
    }

    #[test]
    fn no_more_are_waited_for_than_there_is_room() {
        let waiting = Waiting::default();
        let all: Vec<_> = (0..WAITING_MAX).map(|_| waiting.expect(&node(1))).collect();
        assert!(all.iter().all(Option::is_some));
        assert!(waiting.expect(&node(1)).is_none());
        drop(all);
        assert!(waiting.expect(&node(1)).is_some());
    }
}
