//! The receivers of `loadtest net-cpu`, in a process of their own: this program again, as
//! `loadtest receive`. Lines of JSON: an offer on stdout, its answer on stdin, receiver by receiver;
//! then `connected`; the end of stdin ends it, and the packets that came are its last line.

use anyhow::{Context, Result, bail};
use nearlight_player::viewer::{Arrival, Codec, Options, Viewer};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

const TURN: Duration = Duration::from_millis(100);

/// What `loadtest net-cpu` starts as its other process.
#[derive(Debug, clap::Args)]
pub struct ReceiveArgs {
    /// How many receivers.
    #[arg(long)]
    sessions: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Offer(String),
    Answer(String),
    Connected,
    Received { packets: u64 },
}

/// The other process.
pub(super) struct Receivers {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Receivers {
    pub(super) fn start(sessions: u64) -> Result<Self> {
        let program = std::env::current_exe().context("this program has no file")?;
        let mut child = Command::new(program)
            .args(["receive", "--sessions", &sessions.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("its output is piped")?;
        Ok(Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        })
    }

    pub(super) fn offer(&mut self) -> Result<String> {
        match self.hear()? {
            Line::Offer(sdp) => Ok(sdp),
            other => bail!("an offer was expected, not {other:?}"),
        }
    }

    pub(super) fn answer(&mut self, sdp: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("its input is open")?;
        write_line(stdin, &Line::Answer(sdp.to_owned()))
    }

    pub(super) fn wait_connected(&mut self) -> Result<()> {
        match self.hear()? {
            Line::Connected => Ok(()),
            other => bail!("`connected` was expected, not {other:?}"),
        }
    }

    /// Ends it; how many packets it received.
    pub(super) fn finish(mut self) -> Result<u64> {
        drop(self.stdin.take());
        match self.hear()? {
            Line::Received { packets } => Ok(packets),
            other => bail!("a count was expected, not {other:?}"),
        }
    }

    fn hear(&mut self) -> Result<Line> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        serde_json::from_str(&line).context("the receivers have ended; their log says why")
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // It ends with its input; after a failure it may be stuck, and is ended.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// `loadtest receive`.
///
/// # Errors
/// The sender is gone or does not answer.
pub fn receive(args: &ReceiveArgs) -> Result<()> {
    let mut input = std::io::stdin().lock();
    let mut viewers = Vec::new();
    for _ in 0..args.sessions {
        let viewer = Viewer::new(Options {
            codec: Codec::H264,
            channels: true,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            as_browser: false,
        })?;
        say(&Line::Offer(viewer.offer().to_owned()))?;
        let mut line = String::new();
        input.read_line(&mut line)?;
        let Line::Answer(answer) = serde_json::from_str(&line).context("the sender is gone")?
        else {
            bail!("an answer was expected");
        };
        viewer.connect(&answer)?;
        viewers.push(viewer);
    }
    say(&Line::Connected)?;
    let over = AtomicBool::new(false);
    let packets = std::thread::scope(|scope| {
        let threads: Vec<_> = viewers
            .into_iter()
            .map(|viewer| {
                let over = &over;
                scope.spawn(move || drain(&viewer, over))
            })
            .collect();
        // Nothing more is said: this is the end of stdin.
        let ended = input.read_line(&mut String::new());
        over.store(true, Relaxed);
        let counts: Result<Vec<u64>> = threads
            .into_iter()
            .map(|thread| {
                let count = thread.join();
                count.unwrap_or_else(|_| bail!("a receiver panicked"))
            })
            .collect();
        ended?;
        counts.map(|counts| counts.iter().sum())
    })?;
    say(&Line::Received { packets })
}

/// Reads what comes until it is over; how many packets of the picture there were.
fn drain(viewer: &Viewer, over: &AtomicBool) -> Result<u64> {
    let mut packets = 0;
    while !over.load(Relaxed) {
        if let Some(Arrival::Video { .. }) = viewer.next(TURN)? {
            packets += 1;
        }
    }
    Ok(packets)
}

fn say(line: &Line) -> Result<()> {
    write_line(&mut std::io::stdout().lock(), line)
}

fn write_line(out: &mut impl Write, line: &Line) -> Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
