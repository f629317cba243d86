//! `session exec`: a command in a job, as if it ran here. Its exit status is this program's.
//!
//! With a terminal every key goes to the command, Ctrl-C among them. Without one the first Ctrl-C is a signal for the
//! command, and the second ends this program and with it the command.

use super::terminal::{Raw, size};
use super::{InsideError, socket};
use crate::cli::{Broker, Exec};
use crate::client::Client;
use crate::command::CommandError;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use nearlight_protocol::inside::{CreateExec, CreatedExec, ExecSignal, Frame};
use std::io::{self, IsTerminal, Read, Write};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

/// Pieces of input that wait to be sent.
const INPUT_MAX: usize = 4;
const PIECE_BYTES: usize = 16 * 1024;

type Sink = SplitSink<socket::Socket, Message>;

/// Runs a command in a job. Its exit status.
///
/// # Errors
/// [`CommandError`]
pub fn exec(exec: &Exec, broker: &Broker) -> Result<u8, CommandError> {
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    if exec.tty && exec.interactive && !is_terminal {
        return Err(InsideError::NoTerminal.into());
    }
    let client = Client::new(broker)?;
    let order = CreateExec {
        command: exec.command.clone(),
        tty: exec.tty,
        stdin: exec.interactive,
        size: if exec.tty { size() } else { None },
        term: std::env::var("TERM").ok().filter(|_| exec.tty),
    };
    let mut path = format!("/v1/sessions/{}/exec", exec.session);
    if let Some(replica) = exec.replica {
        path.push_str(&format!("?replica={replica}"));
    }
    let created: CreatedExec = client.post(&path, &order)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(InsideError::Own)?;
    runtime.block_on(run(exec, &client.url(""), &created))
}

async fn run(exec: &Exec, url: &str, created: &CreatedExec) -> Result<u8, CommandError> {
    let socket = socket::open(url, created).await?;
    let (sink, stream) = socket.split();
    let raw = match exec.tty && exec.interactive {
        true => Raw::make().map_err(InsideError::Terminal)?,
        false => None,
    };
    let ended = tokio::select! {
        ended = said(stream) => ended,
        ended = told(exec, sink) => ended.map(|never| match never {}),
    };
    // Before anything is written about it.
    drop(raw);
    Ok(ended?)
}

/// What the command says, until its status.
async fn said(mut stream: SplitStream<socket::Socket>) -> Result<u8, InsideError> {
    while let Some(message) = stream.next().await {
        let message = message.map_err(|error| InsideError::Broken(io::Error::other(error)))?;
        let Message::Binary(message) = message else {
            continue;
        };
        let frame = Frame::parse(&message);
        match frame.map_err(|error| InsideError::Broken(io::Error::other(error)))? {
            Frame::Stdout(bytes) => write(io::stdout().lock(), bytes)?,
            Frame::Stderr(bytes) => write(io::stderr().lock(), bytes)?,
            Frame::Exit(status) => return Ok(u8::try_from(status & 0xff).unwrap_or(1)),
            Frame::Failed(words) => return Err(InsideError::Command(plain(words))),
            Frame::Started
            | Frame::Stdin(_)
            | Frame::StdinEnd
            | Frame::Resize(_)
            | Frame::Signal(_)
            | Frame::Start(_) => {}
        }
    }
    Err(InsideError::Broken(io::ErrorKind::UnexpectedEof.into()))
}

fn write(mut to: impl Write, bytes: &[u8]) -> Result<(), InsideError> {
    let written = to.write_all(bytes).and_then(|()| to.flush());
    written.map_err(InsideError::Own)
}

/// Words of a broker, without what a terminal would obey.
fn plain(words: &str) -> String {
    words
        .chars()
        .filter(|of| !of.is_control() || *of == '\n')
        .collect()
}

/// What this program tells the command; it ends only if it has to.
async fn told(exec: &Exec, mut sink: Sink) -> Result<std::convert::Infallible, InsideError> {
    let of = |kind| signal(kind).map_err(InsideError::Terminal);
    let mut resized = of(SignalKind::window_change())?;
    let mut interrupt = of(SignalKind::interrupt())?;
    let mut quit = of(SignalKind::quit())?;
    let (mut terminate, mut hangup) = (of(SignalKind::terminate())?, of(SignalKind::hangup())?);
    let mut input = exec.interactive.then(input);
    let mut interrupts = 0;
    loop {
        let frame = tokio::select! {
            piece = next(&mut input) => match piece {
                Some(piece) => Frame::Stdin(&piece).to_message(),
                None => {
                    input = None;
                    Frame::StdinEnd.to_message()
                }
            },
            Some(()) = resized.recv() => match size().filter(|_| exec.tty) {
                Some(size) => Frame::Resize(size).to_message(),
                None => continue,
            },
            Some(()) = interrupt.recv() => {
                interrupts += 1;
                if interrupts > 1 {
                    return Err(InsideError::Stopped);
                }
                Frame::Signal(ExecSignal::Int).to_message()
            }
            Some(()) = quit.recv() => Frame::Signal(ExecSignal::Quit).to_message(),
            () = either(&mut terminate, &mut hangup) => return Err(InsideError::Stopped),
        };
        if sink.send(Message::Binary(frame.into())).await.is_err() {
            // The other half knows why.
            return std::future::pending().await;
        }
    }
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

/// The next piece of input, `None` once at its end; without input never.
async fn next(input: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}

/// Standard input, read by a thread that nobody waits for: a read of a terminal cannot be called off.
fn input() -> mpsc::Receiver<Vec<u8>> {
    let (pieces, input) = mpsc::channel(INPUT_MAX);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match stdin.read(&mut piece) {
                Ok(0) => return,
                Ok(read) if pieces.blocking_send(piece[..read].to_vec()).is_ok() => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
    });
    input
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn words_of_a_broker_move_no_cursor() {
        assert_eq!(
            plain("no\u{1b}[2J such\nprogram\u{7}"),
            "no[2J such\nprogram"
        );
    }
}
