//! The only place that prints: results on stdout, everything else on stderr.
//!
//! A reader that has gone away (`nearlight app list | head -1`) is no error: what cannot be printed
//! is dropped.
//!
//! **Invariant.** What is said for people does nothing to their terminal: brokers, nodes and jobs put words
//! into it. What a job itself prints (`session logs`, `session exec`) is its own, and passes as it is.

use nearlight_protocol::plain::is_plain;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// A line of the result, on stdout.
pub fn result(line: impl Display) {
    let mut stdout = io::stdout().lock();
    // See the module's documentation: a reader that has gone away is no error.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
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
    // As above.
    let _ = stdout
        .write_all(lines.as_bytes())
        .and_then(|()| stdout.flush());
}

/// One line on stderr that changes in place on a terminal; elsewhere a line for each change.
#[derive(Debug, Default)]
pub struct Progress {
    shown: String,
}

impl Progress {
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
