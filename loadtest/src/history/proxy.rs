//! A line that can be cut, one way or both: what a firewall does that drops packets.
//!
//! What is on its way while a line is cut waits, as it would in a sender's socket, and goes on when the
//! line does, unless its connections break then.

use super::plan::Way;
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const BUFFER_BYTES: usize = 16 * 1024;

/// Where a line ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// What passes.
#[derive(Clone, Copy, Debug, Default)]
struct Gate {
    asking_cut: bool,
    answering_cut: bool,
    /// Counts up when all connections break.
    breaks: u64,
}

/// A listener, and whatever it is connected to.
#[derive(Debug)]
pub(super) struct Line {
    gate: watch::Sender<Gate>,
    /// Held to look at it, or to put another one there.
    end: Arc<Mutex<Option<End>>>,
    _task: JoinSet<()>,
}

type Stream = Box<dyn Duplex>;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Line {
    /// Listens on a free port.
    pub(super) async fn tcp(end: Option<End>) -> Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        Ok((Self::new(Listener::Tcp(listener), end), at))
    }

    /// Listens on a socket that everybody on this machine may use.
    pub(super) fn unix(at: &Path, end: Option<End>) -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let listener = UnixListener::bind(at).with_context(|| at.display().to_string())?;
        std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o777))?;
        Ok(Self::new(Listener::Unix(listener), end))
    }

    fn new(listener: Listener, end: Option<End>) -> Self {
        let gate = watch::Sender::new(Gate::default());
        let end = Arc::new(Mutex::new(end));
        let mut task = JoinSet::new();
        task.spawn(accept(listener, end.clone(), gate.clone()));
        Self {
            gate,
            end,
            _task: task,
        }
    }

    /// New connections go to another end.
    pub(super) fn lead_to(&self, end: End) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    /// Lets nothing pass that way.
    pub(super) fn cut(&self, way: Way) {
        self.gate.send_modify(|gate| {
            gate.asking_cut |= way != Way::Answering;
            gate.answering_cut |= way != Way::Asking;
        });
    }

    /// Lets everything pass again.
    pub(super) fn mend(&self, breaks: bool) {
        self.gate.send_modify(|gate| {
            (gate.asking_cut, gate.answering_cut) = (false, false);
            gate.breaks += u64::from(breaks);
        });
    }
}

async fn accept(listener: Listener, end: Arc<Mutex<Option<End>>>, gate: watch::Sender<Gate>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted: std::io::Result<Stream> = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(s, _)| Box::new(s) as Stream),
            Listener::Unix(listener) => listener.accept().await.map(|(s, _)| Box::new(s) as Stream),
        };
        let Ok(asking) = accepted else { return };
        while connections.try_join_next().is_some() {}
        let end = end.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let gate = gate.subscribe();
        connections.spawn(async move {
            if let Some(Ok(answering)) = connect(end).await {
                join(asking, answering, gate).await;
            }
        });
    }
}

async fn connect(end: Option<End>) -> Option<std::io::Result<Stream>> {
    Some(match end? {
        End::Tcp(at) => TcpStream::connect(at).await.map(|s| Box::new(s) as Stream),
        End::Unix(at) => UnixStream::connect(at).await.map(|s| Box::new(s) as Stream),
    })
}

async fn join(asking: Stream, answering: Stream, gate: watch::Receiver<Gate>) {
    let (from_asking, to_asking) = tokio::io::split(asking);
    let (from_answering, to_answering) = tokio::io::split(answering);
    let breaks = gate.borrow().breaks;
    let mut broken = gate.clone();
    tokio::select! {
        () = pump(from_asking, to_answering, gate.clone(), |gate| gate.asking_cut) => {}
        () = pump(from_answering, to_asking, gate, |gate| gate.answering_cut) => {}
        _ = broken.wait_for(|gate| gate.breaks != breaks) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut gate: watch::Receiver<Gate>,
    is_cut: impl Fn(&Gate) -> bool,
) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let Ok(n) = from.read(&mut buffer).await else {
            return;
        };
        // An end of the stream is a packet, too.
        if gate.wait_for(|gate| !is_cut(gate)).await.is_err() || n == 0 {
            return;
        }
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    async fn echo() -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut byte = [0];
                while stream.read_exact(&mut byte).await.is_ok() {
                    stream.write_all(&byte).await.unwrap();
                }
            }
        });
        (at, task)
    }

    #[tokio::test]
    async fn what_is_on_its_way_waits_for_a_cut_line_unless_it_breaks() {
        let (end, _task) = echo().await;
        let (line, at) = Line::tcp(Some(End::Tcp(end))).await.unwrap();
        for way in [Way::Asking, Way::Answering, Way::Both] {
            let mut stream = TcpStream::connect(at).await.unwrap();
            stream.write_all(b"a").await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'a');
            line.cut(way);
            stream.write_all(b"b").await.unwrap();
            assert!(stream.try_read(&mut [0]).is_err(), "{way:?}");
            line.mend(false);
            assert_eq!(stream.read_u8().await.unwrap(), b'b');
            line.cut(way);
            stream.write_all(b"c").await.unwrap();
            line.mend(true);
            // Whether it passed before the break or not.
            let _ = stream.read_u8().await;
            assert!(stream.read_u8().await.is_err());
        }
    }
}
