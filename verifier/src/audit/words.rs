//! An audit for people.

use super::{Audit, Verdict};
use crate::words::name;
use std::fmt::Write;

/// The audit, a finding a line.
#[must_use]
pub fn text(audit: &Audit) -> String {
    let mut text = format!("{}: {}\n", name(&audit.verdict), verdict(audit.verdict));
    if let Some(log) = &audit.log {
        let _ = write!(
            text,
            "  log {}: {} entries read, {} witnesses",
            log.origin, log.size, log.witnesses
        );
        let _ = match log.remembered {
            Some(size) => writeln!(text, "; it goes on from the {size} that were seen before"),
            None => writeln!(text, "; nothing was seen of it before"),
        };
    }
    let checks = audit
        .receipts
        .iter()
        .filter(|of| of.kind == "porc/v1")
        .count();
    let _ = writeln!(
        text,
        "  node {}: {} receipts, {checks} of them capacity checks",
        audit.node,
        audit.receipts.len()
    );
    for held in &audit.receipts {
        let found = held.finding.as_ref().map(name).unwrap_or_default();
        let score = held
            .score_permille
            .map_or(String::new(), |score| format!("{score} permille"));
        let _ = writeln!(
            text,
            "  {:>8}  {:<10}  {:<12}  {:<12}  {score}",
            held.index,
            held.kind,
            name(&held.outcome),
            found
        );
    }
    let states = ["passed", "failed", "split", "open"].map(|state| {
        let rounds = audit.rounds.iter().filter(|of| of.state == state);
        format!("{} {state}", rounds.count())
    });
    let _ = writeln!(
        text,
        "  rounds, by those who were assigned: {}",
        states.join(", ")
    );
    for finding in &audit.findings {
        let entries: Vec<_> = finding.entries.iter().map(u64::to_string).collect();
        let at = match entries.is_empty() {
            true => String::new(),
            false => format!(" (entry {})", entries.join(", ")),
        };
        let _ = writeln!(text, "  {}: {}{at}", name(&finding.oddity), finding.words);
    }
    for warning in &audit.warnings {
        let _ = writeln!(text, "  warning: {warning}");
    }
    if audit.rounds_void > 0 {
        let _ = writeln!(
            text,
            "  note: {} rounds are void for want of a value in time; by drand's own no check of the node was due in them",
            audit.rounds_void
        );
    }
    let _ = match audit.rounds_compared {
        0 => writeln!(
            text,
            "  note: no assignments were compared; gaps are of time alone"
        ),
        count => writeln!(
            text,
            "  the assignments of {count} rounds were worked out and compared with what is told"
        ),
    };
    text
}

const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Clean => "every entry was read, and nothing is odd",
        Verdict::Findings => "every entry was read, and there is something to look at",
        Verdict::NotLogged => "no log of the policy signed this checkpoint",
        Verdict::NotWitnessed => "too few witnesses of the policy saw this checkpoint",
        Verdict::Contradicted => "the log contradicts itself; do not rely on it",
    }
}
