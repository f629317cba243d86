//! `nearlight doctor`: what this machine has for running sessions, and what to do about what it lacks.
//!
//! **Invariants.** It changes nothing: it reads files, asks the Docker engine two questions, runs
//! programs that only report, and opens a port for a moment to see whether it is free. Every check
//! ends within a few seconds.
//!
//! A finding is `missing` only where no session can run without it; what merely makes sessions
//! slower, or leaves a fallback, is a `hint`.

mod containers;
mod gpus;
mod machine;
mod media;

use crate::cli::Doctor;
use crate::table;
use crate::terminal;
use serde::Serialize;
use std::io::{Read, Seek, SeekFrom};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program that only reports is done by then.
const PROGRAM_DEADLINE: Duration = Duration::from_secs(10);
/// What is read of what such a program says.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;

/// How a check came out, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and could work better.
    Hint,
    /// Nothing runs without it.
    Missing,
}

/// What one check found.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What is there.
    pub found: String,
    /// What to do, or nothing.
    pub advice: String,
}

impl Finding {
    fn ok(subject: &'static str, found: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Ok, found, "")
    }

    fn hint(subject: &'static str, found: impl Into<String>, advice: &str) -> Self {
        Self::new(subject, Verdict::Hint, found, advice)
    }

    fn missing(subject: &'static str, found: impl Into<String>, advice: &str) -> Self {
        Self::new(subject, Verdict::Missing, found, advice)
    }

    fn new(
        subject: &'static str,
        verdict: Verdict,
        found: impl Into<String>,
        advice: &str,
    ) -> Self {
        Self {
            subject,
            verdict,
            found: found.into(),
            advice: advice.to_owned(),
        }
    }
}

/// Looks at everything and prints what it found. True if sessions can run.
pub fn run(args: &Doctor) -> bool {
    let mut findings = vec![
        machine::programs(),
        machine::port(args.listen),
        machine::cores_and_memory(),
    ];
    findings.extend(machine::kernel_limits());
    findings.extend(containers::look());
    findings.extend(media::look());
    findings.extend(gpus::look());
    if args.json {
        terminal::json(&findings);
    } else {
        print(&findings);
    }
    findings
        .iter()
        .all(|finding| finding.verdict < Verdict::Missing)
}

fn print(findings: &[Finding]) {
    let rows: Vec<_> = findings
        .iter()
        .map(|finding| {
            let verdict = match finding.verdict {
                Verdict::Ok => "ok",
                Verdict::Hint => "hint",
                Verdict::Missing => "missing",
            };
            let words = if finding.advice.is_empty() {
                finding.found.clone()
            } else {
                format!("{}: {}", finding.found, finding.advice)
            };
            [verdict.to_owned(), finding.subject.to_owned(), words]
        })
        .collect();
    terminal::text(&table::lay_out(["", "WHAT", "FOUND"], &rows));
}

/// Whether a program that only reports ends well, in time.
fn succeeds(program: &str, args: &[&str]) -> bool {
    ends_well(program, args, Stdio::null())
}

/// What a program that only reports says, if it ends well, in time.
fn output(program: &str, args: &[&str]) -> Option<String> {
    // A file, not a pipe: a program that says much would wait for somebody to read.
    let mut said = tempfile::tempfile().ok()?;
    let to = said.try_clone().ok()?;
    if !ends_well(program, args, to.into()) {
        return None;
    }
    let mut text = String::new();
    said.seek(SeekFrom::Start(0)).ok()?;
    said.take(OUTPUT_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

fn ends_well(program: &str, args: &[&str], stdout: Stdio) -> bool {
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        return false;
    };
    let deadline = Instant::now() + PROGRAM_DEADLINE;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            Err(_) => return false,
        }
    }
    // A program that hangs is no answer; what it was asked to report does not matter any more.
    let _ = child.kill();
    let _ = child.wait();
    false
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn programs_are_asked_and_absent_ones_say_no() {
        assert!(succeeds("true", &[]));
        assert!(!succeeds("false", &[]));
        assert!(!succeeds("/nonexistent/program", &[]));
        assert_eq!(output("echo", &["hello"]).as_deref(), Some("hello\n"));
        assert_eq!(output("false", &[]), None);
    }

    #[test]
    fn verdicts_are_in_order_of_gravity() {
        assert!(Verdict::Ok < Verdict::Hint && Verdict::Hint < Verdict::Missing);
    }
}
