//! The only place that prints: results on stdout, everything else on stderr.
//!
//! A reader that has gone away (`nearlight app list | head -1`) is no error: what it does not read is dropped.
//! Anything else that keeps a result from being written, such as a full disk, is told, and is the command's exit
//! status ([`is_whole`]): a month's usage that ends in the middle, or a secret that is shown once, is not "done".
//!
//! **Invariant.** What is said for people does nothing to their terminal: brokers, nodes and jobs put words
//! into it. What a job itself prints (`session logs`, `session exec`) is its own, and passes as it is.

use nearlight_protocol::plain::is_plain;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// A line of the result, on stdout.
pub fn result(line: impl Display) {
    let mut stdout = io::stdout().lock();
    written(writeln!(stdout, "{line}").and_then(|()| stdout.flush()));
}

/// Whether everything that was to be printed as a result was, as far as somebody read it.
pub fn is_whole() -> bool {
    !CUT_SHORT.load(Ordering::Relaxed)
}

static CUT_SHORT: AtomicBool = AtomicBool::new(false);

fn written(outcome: io::Result<()>) {
    let Err(error) = outcome else { return };
    if error.kind() != io::ErrorKind::BrokenPipe && !CUT_SHORT.swap(true, Ordering::Relaxed) {
        note(format_args!(
            "nearlight: the result cannot be written, and is cut short: {error}"
        ));
    }
}

/// The result for programs, on stdout: one value a line.
pub fn json(value: &impl Serialize) {
    result(serde_json::to_string(value).expect("wire types have string keys"));
}

/// A line about what is going on, on stderr.
pub fn note(line: impl Display) {
    let line = harmless(&line.to_string());
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// The text with a mark for each character that does something to the terminal but end a line or leave room.
fn harmless(text: &str) -> String {
    let mark = |char| match char {
        '\n' | '\t' => char,
        char if is_plain(char) => char,
        _ => '\u{fffd}',
    };
    text.chars().map(mark).collect()
}

/// Several lines of the result, on stdout, each with its end.
pub fn text(lines: &str) {
    let mut stdout = io::stdout().lock();
    // A file gets every character, for whatever reads it.
    let lines = match stdout.is_terminal() {
        true => harmless(lines),
        false => lines.to_owned(),
    };
    let all = stdout.write_all(lines.as_bytes());
    written(all.and_then(|()| stdout.flush()));
}

/// One line on stderr that changes in place on a terminal; elsewhere a line for each change.
#[derive(Debug, Default)]
pub struct Progress {
    shown: String,
}

impl Progress {
    /// Whether there is a terminal for it: what changes all the time is for that alone.
    pub fn changes_in_place() -> bool {
        io::stderr().is_terminal()
    }

    /// Shows `text` in place of what was shown before.
    pub fn show(&mut self, text: String) {
        let text = crate::table::cell_of(&text);
        if text == self.shown {
            return;
        }
        let mut stderr = io::stderr().lock();
        let _ = if stderr.is_terminal() {
            write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush())
        } else {
            writeln!(stderr, "{text}")
        };
        self.shown = text;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let mut stderr = io::stderr().lock();
        if !self.shown.is_empty() && stderr.is_terminal() {
            let _ = write!(stderr, "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod test {
    use super::harmless;

    #[test]
    fn what_is_said_does_nothing_to_the_terminal() {
        assert_eq!(
            harmless("it ended: \u{1b}]0;x\u{7}\r\u{9b}2J\u{202e}\n  because:\tÜ"),
            "it ended: \u{fffd}]0;x\u{fffd}\u{fffd}\u{fffd}2J\u{fffd}\n  because:\tÜ"
        );
    }
}
