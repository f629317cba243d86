//! This terminal, handed over to a command elsewhere, and put back as it was.

use nearlight_protocol::inside::{TERMINAL_SIDE_MAX, TerminalSize};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, IsTerminal};

/// A terminal that passes every key on. Dropped, by whatever way, it is as it was.
pub(super) struct Raw(Termios);

impl Raw {
    /// Makes the terminal of standard input raw; `None` if it is none.
    pub(super) fn make() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Drain, &raw)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// The terminal's size, if it has one.
pub(super) fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(io::stdout())
        .or_else(|_| tcgetwinsize(io::stdin()))
        .ok()?;
    let size = TerminalSize {
        cols: size.ws_col.min(TERMINAL_SIDE_MAX),
        rows: size.ws_row.min(TERMINAL_SIDE_MAX),
    };
    size.is_valid().then_some(size)
}
