//! A report for people: every check with whose key it rests on and what made that count.

use nearlight_proof::receipt::envelope::Envelope;
use nearlight_proof::receipt::predicate::{Finding, Porw, Predicate};
use nearlight_proof::receipt::report::{Report, Warning};
use nearlight_proof::receipt::statement::Statement;
use std::fmt::Write;

/// The report, a check a line.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut text = name(&report.outcome);
    if let Some(size) = report.as_of_size {
        let _ = write!(text, ", as of a log of {size} entries");
    }
    if let Some(seen) = report.as_of_s {
        let _ = write!(text, " that a witness saw at {seen} (Unix seconds)");
    }
    text.push('\n');
    for check in &report.checks {
        let mark = if check.passed { "ok  " } else { "FAIL" };
        let _ = writeln!(text, "  {mark}  {:<18} {}", name(&check.name), check.found);
        for key in &check.keys {
            let _ = writeln!(text, "        by key {key}");
        }
        if !check.pinned_by.is_empty() {
            let _ = writeln!(text, "        which counts because of {}", check.pinned_by);
        }
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "  warning: {}", caution(*warning));
    }
    text
}

/// What an envelope says, laid out; nothing of it is verified. `None` if it is no envelope.
#[must_use]
pub fn statement(bytes: &[u8]) -> Option<String> {
    let envelope = Envelope::parse(bytes).ok()?;
    let payload: serde_json::Value = serde_json::from_slice(&envelope.payload).ok()?;
    let mut text = serde_json::to_string_pretty(&payload).ok()?;
    for (key, _) in &envelope.signatures {
        let _ = write!(text, "\nsigned, it says, by key {key}");
    }
    text.push('\n');
    if let Some(words) = Statement::parse(&envelope)
        .ok()
        .and_then(|said| in_words(&said))
    {
        let _ = writeln!(text, "{words}");
    }
    Some(text)
}

/// What a probe of a stream found, in words; `None` of other kinds.
fn in_words(statement: &Statement) -> Option<String> {
    let Predicate::Porw(Porw {
        app,
        markers: [found, made],
        quality,
        finding,
        reason,
        signs,
        ..
    }) = &statement.predicate
    else {
        return None;
    };
    let [width, height] = quality.size;
    let ended = match finding {
        Finding::Pass => "passed".to_owned(),
        Finding::Fail => format!("failed: {reason}"),
        Finding::Inconclusive => format!("nothing can be said: {reason}"),
    };
    let pictures = match (made, signs) {
        (0, None) => "nothing was looked for in the pictures".to_owned(),
        (0, Some([agree, against, looked])) => {
            format!("{agree} of {looked} signs of the session's marker agree, {against} do not")
        }
        _ => format!("pictures count {found} of {made} presses"),
    };
    Some(format!(
        "in words: a checker played {app} on {} for {} s; it {ended}; {width}x{height}, {}.{} frames a second, {} freezes, \
         input to picture {} ms, round trip {} ms (50th percentiles); {pictures}",
        statement.subject.name,
        quality.seconds,
        quality.fps_milli / 1000,
        quality.fps_milli % 1000 / 100,
        quality.freezes,
        quality.input_us[0] / 1000,
        quality.rtt_us[0] / 1000,
    ))
}

/// As it is written in JSON.
pub(crate) fn name(of: &impl serde::Serialize) -> String {
    serde_json::to_value(of)
        .ok()
        .and_then(|name| name.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// A warning, for people.
#[must_use]
pub const fn caution(warning: Warning) -> &'static str {
    match warning {
        Warning::PolicyFromLog => {
            "the policy came from the log's operator: it says what the operator wants; take one of your own"
        }
        Warning::WitnessesOfLog => {
            "no witness that is known to be independent of the log's operator saw this log: the operator could show others another one"
        }
        Warning::WitnessUnknown => "who runs a witness that cosigned is not in the directory",
        Warning::NoQuorum => "the policy asks for no witness: the log alone vouches for itself",
        Warning::IssuerOfLog => {
            "the issuer is run by the log's operator, or the log's operator is not known"
        }
        Warning::KeyRevokedLater => "the issuer's key was revoked after this was issued",
        Warning::NodeRefused => "the node did not sign it; the receipt says why",
        Warning::LaterIgnored => "a later entry was given that does not verify, and was left out",
    }
}
