//! What a tenant does inside its own job's container: read its log, run a command, copy files.
//!
//! ```text
//! caller -- HTTP API --> broker -- tunnel, [`crate::tunnel::INSIDE`] --> edge --> container
//!
//! POST /v1/sessions/{id}/exec {command, tty}    -> a ticket, used once, within seconds
//! GET  the same path, WebSocket, subprotocols [`SUBPROTOCOL`] and [`TICKET_SUBPROTOCOL`]TICKET
//!   <- Started              both ways binary messages, each one frame: a kind, and its bytes
//!   -> Stdin, StdinEnd, Resize, Signal
//!   <- Stdout, Stderr       and at the end one of
//!   <- Exit | Failed        after which the broker closes
//! ```
//!
//! On the tunnel the same frames follow each other, each with its length before it ([`Joined`]), and the first is
//! the edge's order ([`Frame::Start`]).
//!
//! **Invariants.** A frame is [`FRAME_BYTES_MAX`] at most; whoever sends a longer one is cut off. Nothing here is
//! a right: that is the ticket, or the key.

use crate::unit::UnixMillis;
use serde::{Deserialize, Serialize};

/// The WebSocket subprotocol that this is.
pub const SUBPROTOCOL: &str = "nearlight.exec.v1";
/// What a browser puts before the ticket, as a second subprotocol: it can set no header, and an address would be
/// in logs.
pub const TICKET_SUBPROTOCOL: &str = "nearlight.ticket.";
/// Largest frame, its kind included, bytes.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Words of a command.
pub const EXEC_WORDS_MAX: usize = 256;
/// All of a command, bytes.
pub const EXEC_BYTES_MAX: usize = 16 * 1024;
/// Largest side of a terminal, characters.
pub const TERMINAL_SIDE_MAX: u16 = 1000;
/// Longest path in a container, bytes.
pub const PATH_BYTES_MAX: usize = 4096;
/// Largest archive of one copy, bytes.
pub const ARCHIVE_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// Lines of a log that can be asked for by number.
pub const LOG_LINES_MAX: u32 = 1_000_000;
/// The media type of an archive.
pub const ARCHIVE_TYPE: &str = "application/x-tar";

/// `POST /v1/sessions/{id}/exec`: a command to run inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateExec {
    /// Program and arguments.
    #[schema(min_items = 1, max_items = 256)]
    pub command: Vec<String>,
    /// Whether it gets a terminal: one stream of output, signals by key, a size.
    #[serde(default)]
    pub tty: bool,
    /// Whether something comes on its standard input.
    #[serde(default)]
    pub stdin: bool,
    /// The terminal's size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<TerminalSize>,
    /// `TERM` of a terminal, such as `xterm-256color`, which it is where this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<String>,
}

/// The size of a terminal, characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TerminalSize {
    /// Columns.
    #[schema(minimum = 1, maximum = 1000)]
    pub cols: u16,
    /// Rows.
    #[schema(minimum = 1, maximum = 1000)]
    pub rows: u16,
}

/// The right to start the command, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CreatedExec {
    /// Sent as the subprotocol `nearlight.ticket.TICKET` of the WebSocket.
    pub ticket: String,
    /// Where the WebSocket is opened, at the same broker or another one of its region.
    pub path: String,
    /// The subprotocol to ask for beside the ticket's.
    pub protocol: String,
    /// It is void from then on.
    pub expires_at: UnixMillis,
}

impl CreateExec {
    /// What is wrong with it, and what to do.
    pub fn fault(&self) -> Option<&'static str> {
        let bytes: usize = self.command.iter().map(String::len).sum();
        let is_word = |word: &str| !word.contains('\0');
        let is_term = |term: &str| {
            (1..=64).contains(&term.len())
                && term
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._+".contains(&b))
        };
        if self.command.first().is_none_or(String::is_empty) {
            return Some("`command` names no program.");
        }
        if self.command.len() > EXEC_WORDS_MAX || bytes > EXEC_BYTES_MAX {
            return Some(
                "`command` is too long: 256 words and 16 KiB at most. Put a script into a file.",
            );
        }
        if !self.command.iter().all(|word| is_word(word)) {
            return Some("`command` has a zero byte.");
        }
        if self.size.is_some_and(|size| !size.is_valid()) {
            return Some("`size` needs 1 to 1000 columns and rows.");
        }
        if self.size.is_some() && !self.tty {
            return Some("`size` is of a terminal: set `tty`.");
        }
        if self.term.as_deref().is_some_and(|term| !is_term(term)) {
            return Some("`term` is the name of a terminal, such as `xterm-256color`.");
        }
        None
    }
}

impl TerminalSize {
    /// Whether a terminal can be so large.
    pub const fn is_valid(self) -> bool {
        self.cols >= 1
            && self.rows >= 1
            && self.cols <= TERMINAL_SIDE_MAX
            && self.rows <= TERMINAL_SIDE_MAX
    }
}

/// One line of a log, the `data` of a server-sent event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LogLine {
    /// When it was written, RFC 3339 with nanoseconds, UTC.
    pub at: String,
    /// Where to.
    pub stream: LogStream,
    /// The line, without its end; bytes that are no UTF-8 are replaced.
    pub text: String,
    /// Whether the line goes on with the next one: it was longer than 16 KiB.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// Where a line of a log was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogStream {
    /// Standard output; all of a program with a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What an upload did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Copied {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Links that lead out of what was copied, and were left out.
    #[serde(default)]
    pub links_skipped: u64,
}

/// One message of a command that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Bytes for its standard input.
    Stdin(&'a [u8]),
    /// Nothing more comes on its standard input.
    StdinEnd,
    /// Its standard output, or all of a terminal.
    Stdout(&'a [u8]),
    /// Its standard error.
    Stderr(&'a [u8]),
    /// The terminal has another size.
    Resize(TerminalSize),
    /// A signal for it.
    Signal(ExecSignal),
    /// It ended, with this status; 128 and the signal's number if by a signal.
    Exit(i32),
    /// It could not be started, or what became of it is not known: why, for people.
    Failed(&'a str),
    /// It runs.
    Started,
    /// The order, on the tunnel alone: a [`CreateExec`] as JSON.
    Start(&'a [u8]),
}

/// Signals that a caller may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecSignal {
    /// SIGHUP.
    Hup = 1,
    /// SIGINT.
    Int = 2,
    /// SIGQUIT.
    Quit = 3,
    /// SIGKILL.
    Kill = 9,
    /// SIGUSR1.
    Usr1 = 10,
    /// SIGUSR2.
    Usr2 = 12,
    /// SIGTERM.
    Term = 15,
}

impl ExecSignal {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Hup,
        Self::Int,
        Self::Quit,
        Self::Kill,
        Self::Usr1,
        Self::Usr2,
        Self::Term,
    ];
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is no frame of {SUBPROTOCOL}")]
pub struct NoFrame;

impl<'a> Frame<'a> {
    const STDIN: u8 = 0;
    const STDIN_END: u8 = 1;
    const STDOUT: u8 = 2;
    const STDERR: u8 = 3;
    const RESIZE: u8 = 4;
    const SIGNAL: u8 = 5;
    const EXIT: u8 = 6;
    const FAILED: u8 = 7;
    const STARTED: u8 = 8;
    const START: u8 = 9;

    /// The frame in a message.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(message: &'a [u8]) -> Result<Self, NoFrame> {
        if message.len() > FRAME_BYTES_MAX {
            return Err(NoFrame);
        }
        let (kind, rest) = message.split_first().ok_or(NoFrame)?;
        match (*kind, rest) {
            (Self::STDIN, bytes) => Ok(Self::Stdin(bytes)),
            (Self::STDIN_END, []) => Ok(Self::StdinEnd),
            (Self::STDOUT, bytes) => Ok(Self::Stdout(bytes)),
            (Self::STDERR, bytes) => Ok(Self::Stderr(bytes)),
            (Self::RESIZE, &[a, b, c, d]) => {
                let size = TerminalSize {
                    cols: u16::from_be_bytes([a, b]),
                    rows: u16::from_be_bytes([c, d]),
                };
                size.is_valid().then_some(Self::Resize(size)).ok_or(NoFrame)
            }
            (Self::SIGNAL, &[number]) => {
                let mut all = ExecSignal::ALL.into_iter();
                let found = all.find(|signal| *signal as u8 == number);
                found.map(Self::Signal).ok_or(NoFrame)
            }
            (Self::EXIT, &[a, b, c, d]) => Ok(Self::Exit(i32::from_be_bytes([a, b, c, d]))),
            (Self::FAILED, words) => {
                let words = std::str::from_utf8(words).map_err(|_| NoFrame)?;
                Ok(Self::Failed(words))
            }
            (Self::STARTED, []) => Ok(Self::Started),
            (Self::START, order) => Ok(Self::Start(order)),
            _ => Err(NoFrame),
        }
    }

    /// The message of a frame.
    pub fn to_message(&self) -> Vec<u8> {
        let of = |kind: u8, bytes: &[u8]| [&[kind], bytes].concat();
        match self {
            Self::Stdin(bytes) => of(Self::STDIN, bytes),
            Self::StdinEnd => of(Self::STDIN_END, &[]),
            Self::Stdout(bytes) => of(Self::STDOUT, bytes),
            Self::Stderr(bytes) => of(Self::STDERR, bytes),
            Self::Resize(size) => {
                let sides = [size.cols.to_be_bytes(), size.rows.to_be_bytes()];
                of(Self::RESIZE, &sides.concat())
            }
            Self::Signal(signal) => of(Self::SIGNAL, &[*signal as u8]),
            Self::Exit(status) => of(Self::EXIT, &status.to_be_bytes()),
            Self::Failed(words) => of(Self::FAILED, words.as_bytes()),
            Self::Started => of(Self::STARTED, &[]),
            Self::Start(order) => of(Self::START, order),
        }
    }

    /// The frame as it travels on the tunnel: its length, big-endian, before it.
    pub fn to_tunnel(&self) -> Vec<u8> {
        let message = self.to_message();
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        [&length.to_be_bytes(), message.as_slice()].concat()
    }
}

/// Takes frames out of the bytes of a tunnel. What it holds is one frame and what came with it.
#[derive(Debug, Default)]
pub struct Joined {
    bytes: Vec<u8>,
    taken: usize,
}

impl Joined {
    /// More bytes came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message, if it is there in full.
    ///
    /// # Errors
    /// Its length is none.
    pub fn next_message(&mut self) -> Result<Option<&[u8]>, NoFrame> {
        let rest = &self.bytes[self.taken..];
        let Some((length, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| NoFrame)?;
        if !(1..=FRAME_BYTES_MAX).contains(&length) {
            return Err(NoFrame);
        }
        if rest.len() < length {
            return Ok(None);
        }
        let from = self.taken + 4;
        self.taken = from + length;
        Ok(Some(&self.bytes[from..from + length]))
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn all() -> Vec<Frame<'static>> {
        let size = TerminalSize { cols: 80, rows: 24 };
        vec![
            Frame::Start(b"{}"),
            Frame::Started,
            Frame::Stdin(b"a"),
            Frame::StdinEnd,
            Frame::Stdout(b"\0\xff"),
            Frame::Stderr(b""),
            Frame::Resize(size),
            Frame::Signal(ExecSignal::Term),
            Frame::Exit(-1),
            Frame::Failed("no"),
        ]
    }

    #[test]
    fn what_is_sent_is_what_comes_however_it_is_cut() {
        for frame in all() {
            assert_eq!(Frame::parse(&frame.to_message()), Ok(frame));
        }
        let bytes: Vec<u8> = all().iter().flat_map(Frame::to_tunnel).collect();
        for cut in [1, 2, 3, 7, bytes.len()] {
            let mut joined = Joined::default();
            let mut came = Vec::new();
            for piece in bytes.chunks(cut) {
                joined.push(piece);
                while let Some(message) = joined.next_message().unwrap() {
                    came.push(message.to_vec());
                }
            }
            let sent: Vec<_> = all().iter().map(Frame::to_message).collect();
            assert_eq!(came, sent, "{cut}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bytes in [
            &[][..],
            &[10],
            &[1, 0],
            &[4, 0, 0, 0, 1],
            &[4, 0, 1],
            &[5, 19],
            &[6, 0],
            &[7, 0xff],
            &[8, 0],
        ] {
            assert_eq!(Frame::parse(bytes), Err(NoFrame), "{bytes:?}");
        }
        assert_eq!(Frame::parse(&vec![0; FRAME_BYTES_MAX + 1]), Err(NoFrame));
        for length in [0_u32, u32::MAX] {
            let mut joined = Joined::default();
            joined.push(&length.to_be_bytes());
            assert_eq!(joined.next_message(), Err(NoFrame));
        }
    }

    #[test]
    fn a_command_has_words_and_bounds() {
        let exec = |words: &[&str]| CreateExec {
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            tty: false,
            stdin: false,
            size: None,
            term: None,
        };
        assert_eq!(exec(&["sh", "-c", ""]).fault(), None);
        let long = "x".repeat(EXEC_BYTES_MAX);
        for words in [&[][..], &[""], &["a\0"], &["a", &long], &["a"; 257]] {
            assert!(exec(words).fault().is_some(), "{} words", words.len());
        }
        let sized = CreateExec {
            size: Some(TerminalSize { cols: 80, rows: 24 }),
            ..exec(&["sh"])
        };
        assert!(sized.fault().is_some(), "no terminal");
        let sized = CreateExec { tty: true, ..sized };
        assert_eq!(sized.fault(), None);
        let odd = CreateExec {
            term: Some("x y".to_owned()),
            ..sized
        };
        assert!(odd.fault().is_some());
    }
}
