//! What a caller and a command say to each other: WebSocket messages on one side, frames of the tunnel on the other.
//!
//! **Invariants.** One message is held either way. A caller sends only what a caller may; what is no frame ends the command. A
//! command ends with its caller, with the caller's credential, after [`IDLE_MAX`] without a word and after [`TALK_MAX`] in any case.

use super::super::Api;
use super::super::caller::Caller;
use super::super::identities::FRESH;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use nearlight_protocol::inside::{CreateExec, FRAME_BYTES_MAX, Frame, Joined};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, WriteHalf, split};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

/// From the answer to both connections.
const CHANGED_WITHIN: Duration = Duration::from_secs(10);
/// Without a word from either side for so long a command is ended.
const IDLE_MAX: Duration = Duration::from_secs(3600);
/// The longest that one may run.
const TALK_MAX: Duration = Duration::from_secs(24 * 3600);
/// Proxies close what is silent for 30 s or a minute.
const PING_EVERY: Duration = Duration::from_secs(15);
/// For the last words to leave.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
const PIECE_BYTES: usize = 16 * 1024;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A command and its caller.
pub(super) struct Talk {
    pub(super) api: Arc<Api>,
    pub(super) caller: Caller,
    pub(super) order: CreateExec,
    pub(super) node: OnUpgrade,
    pub(super) browser: OnUpgrade,
}

/// What came of it, for the audit log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// The command's status, if it ended by itself.
    pub(super) status: Option<i32>,
    /// Bytes of input.
    pub(super) into: u64,
    /// Bytes of output.
    pub(super) out: u64,
}

#[derive(Debug, Default)]
struct Counts {
    into: AtomicU64,
    out: AtomicU64,
    /// Counts up with every word.
    words: AtomicU64,
}

impl Talk {
    /// Carries both ways until either ends.
    pub(super) async fn run(self) -> Told {
        let counts = Counts::default();
        let changed = async { tokio::try_join!(self.node, self.browser) };
        let Ok(Ok((node, browser))) = timeout(CHANGED_WITHIN, changed).await else {
            return Told::default();
        };
        let config = WebSocketConfig::default()
            .max_message_size(Some(FRAME_BYTES_MAX))
            .max_frame_size(Some(FRAME_BYTES_MAX));
        let socket = Socket::from_raw_socket(TokioIo::new(browser), Role::Server, Some(config));
        let (mut sink, mut stream) = socket.await.split();
        let (reads, mut writes) = split(TokioIo::new(node));
        let order = serde_json::to_vec(&self.order).unwrap_or_default();
        if writes
            .write_all(&Frame::Start(&order).to_tunnel())
            .await
            .is_err()
        {
            return Told::default();
        }
        let stop = self.api.stop.clone();
        let mut status = None;
        let why = tokio::select! {
            said = said(reads, &mut sink, &counts, PING_EVERY) => match said {
                Ok(of) => {
                    status = of;
                    None
                }
                Err(_) => Some("The way to the command broke off; it was ended."),
            },
            told = told(&mut stream, &mut writes, &counts) => match told {
                Ok(()) => None,
                Err(_) => Some("A message was none of nearlight.exec.v1."),
            },
            why = over(&self.api, &self.caller, &counts) => Some(why),
            () = stop.cancelled() => Some("The broker stops; run the command again in a moment."),
        };
        // The command ends now, whatever time its caller takes.
        drop(writes);
        let _ = timeout(CLOSE_WITHIN, close(sink, stream, why)).await;
        Told {
            status,
            into: counts.into.load(Ordering::Relaxed),
            out: counts.out.load(Ordering::Relaxed),
        }
    }
}

/// Says the last words, and reads until the peer has closed: input that nobody read would reset the connection, and the status
/// that is on its way would be lost with it.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    mut stream: SplitStream<WebSocketStream<S>>,
    why: Option<&'static str>,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    if let Some(why) = why {
        let failed = Frame::Failed(why).to_message();
        sink.send(Message::Binary(failed.into())).await?;
    }
    let code = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    sink.send(Message::Close(Some(code))).await?;
    while let Some(message) = stream.next().await {
        message?;
    }
    Ok(())
}

/// Until the command has to end, and why.
async fn over(api: &Api, caller: &Caller, counts: &Counts) -> &'static str {
    let began = Instant::now();
    let (mut words, mut since) = (0, Instant::now());
    loop {
        tokio::time::sleep(FRESH).await;
        if !api.still_holds(caller).await {
            return "The key or login is void; the command was ended.";
        }
        let now = counts.words.load(Ordering::Relaxed);
        if now != words {
            (words, since) = (now, Instant::now());
        }
        if since.elapsed() > IDLE_MAX {
            return "Nothing was said for an hour; the command was ended.";
        }
        if began.elapsed() > TALK_MAX {
            return "A command runs for a day at most; it was ended. What lasts longer is a job of its own.";
        }
    }
}

/// What the command says. Its status, where it has one. The caller hears something `every` so often, whatever the node
/// says meanwhile for itself: one that is gone, and whose input is not read, is noticed by nothing else.
async fn said<S: AsyncRead + AsyncWrite + Unpin>(
    mut reads: impl AsyncRead + Unpin,
    sink: &mut SplitSink<WebSocketStream<S>, Message>,
    counts: &Counts,
    every: Duration,
) -> io::Result<Option<i32>> {
    let mut joined = Joined::default();
    let mut piece = vec![0; PIECE_BYTES];
    let mut heard = Instant::now();
    loop {
        while let Some(message) = joined.next_message().map_err(io::Error::other)? {
            let (length, last) = match Frame::parse(message).map_err(io::Error::other)? {
                // The node's way of finding out whether somebody is there.
                Frame::Stdout(b"") => continue,
                Frame::Stdout(bytes) | Frame::Stderr(bytes) => (bytes.len(), None),
                Frame::Exit(status) => (0, Some(Some(status))),
                Frame::Failed(_) => (0, Some(None)),
                Frame::Started => (0, None),
                Frame::Stdin(_)
                | Frame::StdinEnd
                | Frame::Resize(_)
                | Frame::Signal(_)
                | Frame::Start(_) => return Err(io::Error::other("a node sends no such frame")),
            };
            counts.out.fetch_add(length as u64, Ordering::Relaxed);
            counts.words.fetch_add(1, Ordering::Relaxed);
            let message = Message::Binary(message.to_vec().into());
            sink.send(message).await.map_err(io::Error::other)?;
            heard = Instant::now();
            if let Some(status) = last {
                return Ok(status);
            }
        }
        match timeout_at(heard + every, reads.read(&mut piece)).await {
            Err(_elapsed) => {
                let ping = Message::Ping(Vec::new().into());
                sink.send(ping).await.map_err(io::Error::other)?;
                heard = Instant::now();
            }
            Ok(read) => match read? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => joined.push(&piece[..read]),
            },
        }
    }
}

/// What the caller says, until it leaves.
async fn told(
    stream: &mut SplitStream<Socket>,
    writes: &mut WriteHalf<TokioIo<Upgraded>>,
    counts: &Counts,
) -> io::Result<()> {
    while let Some(message) = stream.next().await {
        let message = match message {
            Ok(Message::Binary(message)) => message,
            Ok(Message::Ping(_) | Message::Pong(_)) => continue,
            Ok(Message::Text(_) | Message::Frame(_)) => {
                return Err(io::Error::other("messages are binary"));
            }
            // It broke off, which is a way to leave.
            Ok(Message::Close(_)) | Err(_) => return Ok(()),
        };
        let frame = Frame::parse(&message).map_err(io::Error::other)?;
        match frame {
            Frame::Stdin(bytes) => {
                counts.into.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            Frame::StdinEnd | Frame::Resize(_) | Frame::Signal(_) => {}
            Frame::Stdout(_)
            | Frame::Stderr(_)
            | Frame::Exit(_)
            | Frame::Failed(_)
            | Frame::Started
            | Frame::Start(_) => return Err(io::Error::other("a caller sends no such frame")),
        }
        counts.words.fetch_add(1, Ordering::Relaxed);
        // A node that is gone is noticed by the other half.
        if writes.write_all(&frame.to_tunnel()).await.is_err() {
            return std::future::pending().await;
        }
        writes.flush().await?;
    }
    Ok(())
}

#[cfg(test)]
mod test;
